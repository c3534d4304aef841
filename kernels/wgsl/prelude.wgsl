// What every kernel may use: the place of a workgroup, conversions of packed elements, special values, and reductions of
// a workgroup. The host adds the constants (THREADS), the bindings and their accessors; an entry brings what it reaches.

// The number of a workgroup: the host folds a long row of them into three dims.
fn block_index(group: vec3<u32>, groups: vec3<u32>) -> u32 {
    return (group.z * groups.y + group.y) * groups.x + group.x;
}

// Special values are made of bits at run time: a constant expression must not be infinite or NaN.
var<private> INF_BITS: u32 = 0x7f800000u;
fn inf() -> f32 { return bitcast<f32>(INF_BITS); }
fn nan() -> f32 { return bitcast<f32>(INF_BITS | 0x400000u); }
fn is_nan(x: f32) -> bool { return (bitcast<u32>(x) & 0x7fffffffu) > 0x7f800000u; }
fn is_inf(x: f32) -> bool { return (bitcast<u32>(x) & 0x7fffffffu) == 0x7f800000u; }
fn is_finite(x: f32) -> bool { return (bitcast<u32>(x) & 0x7f800000u) != 0x7f800000u; }
// The lowest finite value.
const NEG_LARGE: f32 = -0x1.fffffep127f;

// The low half of a word as binary16, exactly; subnormal values too, whatever the device does to those of f32.
fn f16_to_f32(half: u32) -> f32 {
    let sign = (half & 0x8000u) << 16u;
    let exponent = (half >> 10u) & 31u;
    let fraction = half & 0x3ffu;
    if (exponent == 0u) {
        let magnitude = f32(fraction) * 0x1p-24f;
        return bitcast<f32>(bitcast<u32>(magnitude) | sign);
    }
    let biased = select(exponent + 112u, 255u, exponent == 31u);
    return bitcast<f32>(sign | (biased << 23u) | (fraction << 13u));
}

// Rounded to the nearest binary16, ties to even.
fn f32_to_f16(x: f32) -> u32 {
    let bits = bitcast<u32>(x);
    let sign = (bits >> 16u) & 0x8000u;
    let magnitude = bits & 0x7fffffffu;
    if (magnitude > 0x7f800000u) { return sign | 0x7e00u; }
    // From 65520 on everything rounds to infinity.
    if (magnitude >= 0x477ff000u) { return sign | 0x7c00u; }
    if (magnitude < 0x38800000u) {
        // Subnormal: units of 2^-24. Below half of the least one nothing is left.
        if (magnitude <= 0x33000000u) { return sign; }
        let shift = 126u - (magnitude >> 23u);
        let whole = (magnitude & 0x7fffffu) | 0x800000u;
        let kept = whole >> shift;
        let rest = whole & ((1u << shift) - 1u);
        let half = 1u << (shift - 1u);
        return sign | (kept + u32(rest > half || (rest == half && (kept & 1u) == 1u)));
    }
    let rounded = magnitude + 0xfffu + ((magnitude >> 13u) & 1u);
    return sign | ((rounded - 0x38000000u) >> 13u);
}

// The low half of a word as bfloat16.
fn bf16_to_f32(half: u32) -> f32 { return bitcast<f32>(half << 16u); }

// Rounded to the nearest bfloat16, ties to even.
fn f32_to_bf16(x: f32) -> u32 {
    let bits = bitcast<u32>(x);
    if ((bits & 0x7fffffffu) > 0x7f800000u) { return (bits >> 16u) | 0x40u; }
    return (bits + 0x7fffu + ((bits >> 16u) & 1u)) >> 16u;
}

// Reports bad input: which value, which limit, and where. The first to report is kept.
fn report(value: i32, limit: i32, at: u32) {
    if (atomicOr(&fault_words[0], 0u) != 0u) { return; }
    let got = atomicCompareExchangeWeak(&fault_words[0], 0u, places[2][3]);
    if (!got.exchanged) { return; }
    atomicStore(&fault_words[1], bitcast<u32>(value));
    atomicStore(&fault_words[2], bitcast<u32>(limit));
    atomicStore(&fault_words[3], at);
}

var<workgroup> scratch: array<f32, THREADS>;
var<workgroup> scratch2: array<vec2<f32>, THREADS>;

// The sum of every invocation's x, for all of them: a tree, so that the error grows with its height alone.
fn block_sum(x: f32, thread: u32) -> f32 {
    scratch[thread] = x;
    workgroupBarrier();
    for (var step = THREADS / 2u; step > 0u; step >>= 1u) {
        if (thread < step) { scratch[thread] += scratch[thread + step]; }
        workgroupBarrier();
    }
    let sum = scratch[0];
    // Nobody writes again before all have read.
    workgroupBarrier();
    return sum;
}

fn block_sum2(x: vec2<f32>, thread: u32) -> vec2<f32> {
    scratch2[thread] = x;
    workgroupBarrier();
    for (var step = THREADS / 2u; step > 0u; step >>= 1u) {
        if (thread < step) { scratch2[thread] += scratch2[thread + step]; }
        workgroupBarrier();
    }
    let sum = scratch2[0];
    workgroupBarrier();
    return sum;
}

// NaN if one of them is.
fn block_max(x: f32, thread: u32) -> f32 {
    scratch[thread] = x;
    workgroupBarrier();
    for (var step = THREADS / 2u; step > 0u; step >>= 1u) {
        if (thread < step) {
            let own = scratch[thread];
            let other = scratch[thread + step];
            scratch[thread] = select(own, other, other > own || is_nan(other));
        }
        workgroupBarrier();
    }
    let largest = scratch[0];
    workgroupBarrier();
    return largest;
}

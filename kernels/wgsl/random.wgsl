// Arrays of random numbers: uniform, normal, integers, bernoulli; element i is a function of words of the stream.
// Formulas and twins: src/random.rs, src/cpu/random.rs, cuda/random.cu.
//
// The host's bits: each product and sum is rounded by itself (exact.wgsl), and so is the square root, whose precision
// WGSL leaves open. An invocation makes four elements.
// include: philox.wgsl
// include: exact.wgsl
// include: words.wgsl

// a and b as in src/random.rs; bounds of integers have 64 bits.
struct RandomParams {
    stream: Stream,
    low: vec2<u32>,
    range: vec2<u32>,
    a: f32,
    b: f32,
    // What a uniform number must be below, so that it is below b after it is rounded to the element type.
    bound: f32,
    threshold: u32,
    len: u32,
    zero: u32,
}
@group(1) @binding(1) var<uniform> p: RandomParams;

// y[i] = 1 with probability a, else 0.
@compute @workgroup_size(THREADS)
fn bernoulli(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
             @builtin(local_invocation_index) thread: u32) {
    let block = block_index(group, groups) * THREADS + thread;
    if (4u * block >= p.len) { return; }
    let words = random_block(p.stream, vec2<u32>(block, 0u));
    var values: array<Value_y, 4>;
    for (var i = 0u; i < 4u; i++) {
        values[i] = Value_y(select(0u, 1u, happens(words[i], p.threshold)));
    }
    store_four(4u * block, p.len, values);
}

// The upper 64 of the 128 bits of a product.
fn multiply_high(a: vec2<u32>, b: vec2<u32>) -> vec2<u32> {
    let cross_0 = multiply_words(a.y, b.x);
    let cross_1 = multiply_words(a.x, b.y);
    let middle = add_words(vec2<u32>(multiply_words(a.x, b.x).y, 0u), vec2<u32>(cross_0.x, 0u));
    let carried = add_words(middle, vec2<u32>(cross_1.x, 0u)).y;
    let high = add_words(multiply_words(a.y, b.y), vec2<u32>(cross_0.y, 0u));
    return add_words(add_words(high, vec2<u32>(cross_1.y, 0u)), vec2<u32>(carried, 0u));
}

// A signed number of 64 bits, rounded to the nearest, ties to even.
fn f32_of_words(number: vec2<u32>) -> f32 {
    let is_negative = number.y >> 31u == 1u;
    let size = select(number, add_words(~number, vec2<u32>(1u, 0u)), is_negative);
    let sign = select(0u, 0x80000000u, is_negative);
    if (size.y == 0u && size.x < 0x1000000u) { return bitcast<f32>(bitcast<u32>(f32(size.x)) | sign); }
    // 1. The number with its highest bit at bit 63.
    var top = size;
    let zeros = select(countLeadingZeros(size.y), 32u + countLeadingZeros(size.x), size.y == 0u);
    if (zeros >= 32u) { top = vec2<u32>(0u, size.x); }
    let shift = zeros % 32u;
    if (shift > 0u) { top = vec2<u32>(top.x << shift, top.y << shift | top.x >> (32u - shift)); }
    // 2. Its upper 24 bits, rounded by the 40 below; a carry out of them goes into the exponent.
    let rest = top.y & 0xffu;
    let is_up = rest > 0x80u || (rest == 0x80u && (top.x > 0u || (top.y >> 8u & 1u) == 1u));
    let bits = (190u - zeros << 23u) + (top.y >> 8u & 0x7fffffu) + select(0u, 1u, is_up);
    return bitcast<f32>(bits | sign);
}

// y[i] = low + (range * u >> 64).
@compute @workgroup_size(THREADS)
fn integers(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
            @builtin(local_invocation_index) thread: u32) {
    let first = 4u * (block_index(group, groups) * THREADS + thread);
    if (first >= p.len) { return; }
    var values: array<Value_y, 4>;
    for (var pair = 0u; pair < 2u; pair++) {
        let words = random_block(p.stream, vec2<u32>(first / 2u + pair, 0u));
        values[2u * pair] = elem_of_words(add_words(p.low, multiply_high(words.xy, p.range)));
        values[2u * pair + 1u] = elem_of_words(add_words(p.low, multiply_high(words.zw, p.range)));
    }
    store_four(first, p.len, values);
}

// y[i] = a + (b - a) n / 2^BITS, where BITS is what the element type holds; what rounds up to b becomes a.
@compute @workgroup_size(THREADS)
fn uniform_numbers(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
                   @builtin(local_invocation_index) thread: u32) {
    let block = block_index(group, groups) * THREADS + thread;
    if (4u * block >= p.len) { return; }
    let words = random_block(p.stream, vec2<u32>(block, 0u));
    let range = exact(p.b - p.a);
    var values: array<Value_y, 4>;
    for (var i = 0u; i < 4u; i++) {
        let u = f32(words[i] >> (32u - BITS)) * (1.0 / f32(1u << BITS));
        let value = add(p.a, mul(range, u));
        values[i] = select(p.a, value, value < p.bound);
    }
    store_four(4u * block, p.len, values);
}

// The square of a number of 25 bits at most is not above n.
fn square_fits(root: u32, n: vec2<u32>) -> bool {
    let square = multiply_words(root, root);
    return square.y < n.y || (square.y == n.y && square.x <= n.x);
}

// The root of a number that is 0 or normal, rounded to the nearest: x = n 2^-2e with n of 47 or 48 bits, and the built-in
// root is a few units from the whole one of n.
fn sqrt_rounded(x: f32) -> f32 {
    if (x == 0.0) { return x; }
    let bits = bitcast<u32>(x);
    let mantissa = bits & 0x7fffffu | 0x800000u;
    let exponent = i32(bits >> 23u) - 150;
    let shift = select(24u, 23u, (exponent & 1) != 0);
    let n = multiply_words(mantissa, 1u << shift);
    var root = u32(sqrt(f32(mantissa) * f32(1u << shift)));
    while (!square_fits(root, n)) { root--; }
    while (square_fits(root + 1u, n)) { root++; }
    // Above root + 1/2 where n is above root^2 + root.
    let beyond = n.x - multiply_words(root, root).x;
    root += select(0u, 1u, beyond > root);
    return f32(root) * bitcast<f32>(u32((exponent - i32(shift)) / 2 + 127) << 23u);
}

// ln((n + 1) / 2^24) for the upper 24 bits n of a word, after Cephes `logf`.
fn ln_of_unit(word: u32) -> f32 {
    let x = f32((word >> 8u) + 1u) * (1.0 / 16777216.0);
    // x = 2^e m with m in [sqrt(1/2), sqrt(2)).
    let bits = bitcast<u32>(x) - 0x3f3504f3u;
    let e = f32(bitcast<i32>(bits) >> 23u);
    let m = add(bitcast<f32>((bits & 0x007fffffu) + 0x3f3504f3u), -1.0);
    var q = 7.0376836e-2;
    q = add(mul(q, m), -1.151461e-1);
    q = add(mul(q, m), 1.1676999e-1);
    q = add(mul(q, m), -1.2420141e-1);
    q = add(mul(q, m), 1.4249323e-1);
    q = add(mul(q, m), -1.6668058e-1);
    q = add(mul(q, m), 2.0000715e-1);
    q = add(mul(q, m), -2.4999994e-1);
    q = add(mul(q, m), 3.333333e-1);
    let z = mul(m, m);
    let y = add(add(mul(mul(q, m), z), mul(e, -2.1219444e-4)), -mul(0.5, z));
    return add(add(m, y), mul(e, 0.6933594));
}

// cos and sin of at most an eighth of a turn either way, after Cephes `sinf`.
fn cos_sin(t: f32) -> vec2<f32> {
    let z = mul(t, t);
    var s = add(mul(add(mul(-1.9515296e-4, z), 8.332161e-3), z), -1.6666655e-1);
    s = add(mul(mul(s, z), t), t);
    var c = add(mul(add(mul(2.4433157e-5, z), -1.3887316e-3), z), 4.1666646e-2);
    c = add(add(mul(mul(c, z), z), -mul(0.5, z)), 1.0);
    return vec2<f32>(c, s);
}

// Two normal deviates from two words.
fn normal_pair(v: u32, w: u32) -> vec2<f32> {
    let root = sqrt_rounded(mul(-2.0, ln_of_unit(v)));
    let steps = i32((w & 0x3fffffffu) >> 6u) - (1i << 23u);
    let turned = cos_sin(mul(1.57079637, mul(add(f32(steps), 0.5), 1.0 / 16777216.0)));
    let r = select(root, -root, (w & 0x80000000u) != 0u);
    let is_odd = (w & 0x40000000u) != 0u;
    return vec2<f32>(mul(r, select(turned.x, -turned.y, is_odd)), mul(r, select(turned.y, turned.x, is_odd)));
}

// y = a + b z, four z from each block.
@compute @workgroup_size(THREADS)
fn normal(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
          @builtin(local_invocation_index) thread: u32) {
    let block = block_index(group, groups) * THREADS + thread;
    if (4u * block >= p.len) { return; }
    let words = random_block(p.stream, vec2<u32>(block, 0u));
    let z = vec4<f32>(normal_pair(words.x, words.y), normal_pair(words.z, words.w));
    var values: array<Value_y, 4>;
    for (var i = 0u; i < 4u; i++) {
        values[i] = add(p.a, mul(p.b, z[i]));
    }
    store_four(4u * block, p.len, values);
}

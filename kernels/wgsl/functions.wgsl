// Elementary functions of f32, to a few units of the last place: what WGSL guarantees for its own would not do. They hide
// the built-in ones of the same name. Methods and coefficients: src/cpu/math.rs; logarithms and the circular functions
// stay in f32 here, because there is nothing wider.

fn bits_sign(x: f32, y: f32) -> f32 {
    return bitcast<f32>((bitcast<u32>(x) & 0x7fffffffu) | (bitcast<u32>(y) & 0x80000000u));
}
fn bounded(x: f32, low: f32, high: f32) -> f32 {
    let top = select(x, high, x > high);
    return select(top, low, top < low);
}

// e^r - 1 for |r| up to half of ln 2.
fn expm1_reduced(r: f32) -> f32 {
    var p = 0.0013901103;
    p = p * r + 0.008363146;
    p = p * r + 0.041666854;
    p = p * r + 0.16666577;
    p = p * r + 0.5;
    return p * (r * r) + r;
}
fn power_of_two(n: f32) -> f32 { return bitcast<f32>(u32(i32(n) + 127) << 23u); }
// x = n ln 2 + r, as (n, r).
fn reduce_by_ln_2(x: f32) -> vec2<f32> {
    let n = round(x * 1.4426950408889634);
    return vec2<f32>(n, (x - n * 0.693359375) + n * 2.1219444e-4);
}
// (1 + p) 2^n in two steps, so that n may leave the range of exponents.
fn scaled(p: f32, n: f32) -> f32 {
    let half = round(n * 0.5);
    return ((1.0 + p) * power_of_two(half)) * power_of_two(n - half);
}
fn exp(x: f32) -> f32 {
    let parts = reduce_by_ln_2(bounded(x, -104.5, 89.0));
    return select(scaled(expm1_reduced(parts.y), parts.x), x, is_nan(x));
}
fn exp2(x: f32) -> f32 {
    let held = bounded(x, -151.0, 129.0);
    let n = round(held);
    return select(scaled(expm1_reduced((held - n) * 0.6931471805599453), n), x, is_nan(x));
}
fn expm1(x: f32) -> f32 {
    let parts = reduce_by_ln_2(bounded(x, -18.0, 89.0));
    let half = power_of_two(parts.x - 1.0);
    let y = 2.0 * (expm1_reduced(parts.y) * half + (half - 0.5));
    return select(y, x, x == 0.0 || is_nan(x));
}
fn tanh(x: f32) -> f32 {
    let parts = reduce_by_ln_2(2.0 * bounded(abs(x), 0.0, 10.0));
    let half = power_of_two(parts.x - 1.0);
    let e = expm1_reduced(parts.y) * half + (half - 0.5);
    return select(bits_sign(e / (e + 1.0), x), x, is_nan(x));
}
fn sigmoid(x: f32) -> f32 {
    let e = exp(-abs(x));
    return select(select(e, 1.0, x >= 0.0) / (1.0 + e), x, is_nan(x));
}
fn erf(x: f32) -> f32 {
    let a = bounded(x, -3.93, 3.93);
    let t = a * a;
    var p = 2.043794e-6;
    p = p * t + 2.8465506e-4;
    p = p * t + 0.0037713957;
    p = p * t + 0.05276467;
    p = p * t + 0.19058777;
    p = p * t + 1.1283791670955126;
    var q = 3.8015172e-5;
    q = q * t + 0.0011632886;
    q = q * t + 0.014980826;
    q = q * t + 0.11417679;
    q = q * t + 0.5022368;
    q = q * t + 1.0;
    return select(bounded(a * p / q, -1.0, 1.0), x, is_nan(x));
}

// x = 2^n m with m from sqrt(1/2) to sqrt(2), as (n, m), for finite positive x.
fn split(x: f32) -> vec2<f32> {
    let is_small = x < 0x1p-126f;
    let bits = bitcast<u32>(select(x, x * 0x1p24f, is_small)) + (0x3f800000u - 0x3f3504f3u);
    let n = f32(i32(bits >> 23u) - 127 - select(0, 24, is_small));
    return vec2<f32>(n, bitcast<f32>((bits & 0x7fffffu) + 0x3f3504f3u));
}
// ln(1 + f) - f for 1 + f from sqrt(1/2) to sqrt(2): s = f / (2 + f), ln(1 + f) = 2 atanh(s).
fn log_rest(f: f32) -> f32 {
    let s = f / (2.0 + f);
    let z = s * s;
    var p = 0.2222222222;
    p = p * z + 0.2857142857;
    p = p * z + 0.4;
    p = p * z + 0.6666666667;
    let half = 0.5 * f * f;
    return s * (half + p * z) - half;
}
// ln x where x is positive and finite; the limits of a logarithm elsewhere.
fn limits(x: f32, y: f32) -> f32 {
    if (is_nan(x) || x < 0.0) { return nan(); }
    if (x == 0.0) { return -inf(); }
    return select(y, x, is_inf(x));
}
fn log(x: f32) -> f32 {
    let parts = split(x);
    let f = parts.y - 1.0;
    return limits(x, parts.x * 0.693359375 + (f + (log_rest(f) - parts.x * 2.1219444e-4)));
}
fn log2(x: f32) -> f32 {
    let parts = split(x);
    let f = parts.y - 1.0;
    return limits(x, parts.x + (f * 1.4426950408889634 + log_rest(f) * 1.4426950408889634));
}
fn log10(x: f32) -> f32 {
    let parts = split(x);
    let f = parts.y - 1.0;
    let ln_m = f + log_rest(f);
    return limits(x, parts.x * 0.30102999566 + ln_m * 0.4342944819);
}
// What rounding takes from 1 + x is given back to first order; near 0 there is nothing to take.
fn log1p(x: f32) -> f32 {
    if (x > -0.29 && x < 0.41) { return select(x + log_rest(x), x, x == 0.0); }
    let u = 1.0 + x;
    let lost = (x - (u - 1.0)) / u;
    return log(u) + select(0.0, lost, u > 0.0 && is_finite(u));
}
fn softplus(x: f32) -> f32 { return select(select(x, 0.0, x < 0.0) + log1p(exp(-abs(x))), x, is_nan(x)); }

fn sinh(x: f32) -> f32 {
    let a = abs(x);
    // Half of e^a in two factors: e^a overflows before its half does.
    if (a > 80.0) { let root = exp(0.5 * a); return bits_sign(0.5 * root * root, x); }
    let e = expm1(a);
    return bits_sign(0.5 * (e + e / (e + 1.0)), x);
}
fn cosh(x: f32) -> f32 {
    let root = exp(0.5 * abs(x));
    let e = root * root;
    if (abs(x) > 80.0) { return 0.5 * root * root; }
    return select(0.5 * (e + 1.0 / e), x, is_nan(x));
}
fn asinh(x: f32) -> f32 {
    let a = abs(x);
    if (a > 0x1p60f) { return bits_sign(log(a) + 0.6931471805599453, x); }
    return bits_sign(log1p(a + a * a / (1.0 + sqrt(1.0 + a * a))), x);
}
fn acosh(x: f32) -> f32 {
    if (x > 0x1p60f) { return log(x) + 0.6931471805599453; }
    let t = x - 1.0;
    return select(nan(), log1p(t + sqrt(2.0 * t + t * t)), x >= 1.0);
}
fn atanh(x: f32) -> f32 {
    let a = abs(x);
    if (a > 1.0 || is_nan(x)) { return nan(); }
    return bits_sign(select(0.5 * log1p(2.0 * a / (1.0 - a)), inf(), a == 1.0), x);
}

// The 64 bits of 2 / pi after the first `word` words of 32 bits, which suffice for every exponent of f32.
const TWO_OVER_PI = array<u32, 7>(0xa2f9836eu, 0x4e441529u, 0xfc2757d1u, 0xf534ddc0u, 0xdb629599u, 0x3c439041u, 0xfe5163abu);
fn window(from_bit: u32) -> u32 {
    var table = TWO_OVER_PI;
    let word = from_bit / 32u;
    let shift = from_bit % 32u;
    let high = table[word];
    let low = table[word + 1u];
    return select(high << shift | low >> (32u - shift), high, shift == 0u);
}
fn mul_high(a: u32, b: u32) -> u32 {
    let al = a & 0xffffu; let ah = a >> 16u;
    let bl = b & 0xffffu; let bh = b >> 16u;
    let low = al * bl;
    let middle = ah * bl + (low >> 16u);
    let other = al * bh + (middle & 0xffffu);
    return ah * bh + (middle >> 16u) + (other >> 16u);
}
struct Quarter { quarter: u32, rest: f32 }
// |x| modulo a quarter turn (Payne and Hanek, 1983): x = m 2^e with a whole m of 24 bits; of m times 2 / pi only the bits
// around the binary point matter, the quarters above it and a fraction below.
fn quarter_turns(x: f32) -> Quarter {
    let a = abs(x);
    if (a < 0.7853981) { return Quarter(0u, a); }
    let bits = bitcast<u32>(a);
    let m = (bits & 0x7fffffu) | 0x800000u;
    // Bits of 2 / pi above weight 2^(2 - e) only give whole turns.
    let e = i32(bits >> 23u) - 150;
    let skipped = select(0u, u32(e - 2), e > 2);
    let align = select(0u, u32(2 - e), e < 2);
    let w0 = window(skipped); let w1 = window(skipped + 32u); let w2 = window(skipped + 64u);
    // The product m (w0 w1 w2) as 96 bits below its first 24, of which those at the top wrap away harmlessly.
    let p2 = mul_high(m, w2);
    let p1 = m * w1 + p2;
    let carry1 = u32(p1 < p2);
    let q1 = mul_high(m, w1) + carry1;
    let p0 = m * w0 + q1;
    let carry0 = u32(p0 < q1);
    let top = mul_high(m, w0) + carry0;
    // The point stands `align` bits below where it would if nothing were skipped: shift so that two bits are above it.
    // value = (top p0 p1) 2^-(32 + align - 2) quarters, with 30 bits of p0 below the point where align is 0.
    var hi: u32; var lo: u32;
    if (align == 0u) {
        hi = p0; lo = p1;
    } else if (align < 32u) {
        hi = top << (32u - align) | p0 >> align; lo = p0 << (32u - align) | p1 >> align;
    } else {
        hi = top >> (align - 32u); lo = select(top << (64u - align) | p0 >> (align - 32u), p0, align == 32u);
    }
    // Two bits are whole quarters, the rest is a fraction of one; the nearer quarter is taken.
    let fraction_hi = hi << 2u | lo >> 30u;
    let fraction_lo = lo << 2u;
    let up = fraction_hi >> 31u;
    let quarter = (hi >> 30u) + up;
    // The fraction as a signed one from -1/2 to 1/2, exactly in its 64 bits.
    var mh = fraction_hi; var ml = fraction_lo;
    if (up == 1u) { ml = ~ml + 1u; mh = ~mh + u32(ml == 0u); }
    let lead = countLeadingZeros(mh);
    if (lead > 0u && lead < 32u) { mh = mh << lead | ml >> (32u - lead); }
    if (lead == 32u) { mh = ml; }
    let magnitude = f32(mh >> 8u) * 0x1p-24f * power_of_two(-f32(lead));
    let rest = magnitude * 1.5707963267948966;
    return Quarter(quarter & 3u, select(rest, -rest, up == 1u));
}
fn sine_near(r: f32) -> f32 {
    let z = r * r;
    var s = 2.7557319e-6;
    s = s * z - 1.9841270e-4;
    s = s * z + 0.0083333333;
    s = s * z - 0.16666667;
    return s * z * r + r;
}
fn cosine_near(r: f32) -> f32 {
    let z = r * r;
    var q = -2.7557319e-7;
    q = q * z + 2.4801587e-5;
    q = q * z - 0.0013888889;
    q = q * z + 0.041666667;
    return q * z * z - 0.5 * z + 1.0;
}
fn sin(x: f32) -> f32 {
    if (!is_finite(x)) { return nan(); }
    let t = quarter_turns(x);
    let y = select(sine_near(t.rest), cosine_near(t.rest), (t.quarter & 1u) == 1u);
    let signed = select(y, -y, t.quarter >= 2u);
    return select(select(signed, -signed, x < 0.0), x, x == 0.0);
}
fn cos(x: f32) -> f32 {
    if (!is_finite(x)) { return nan(); }
    let t = quarter_turns(x);
    let y = select(cosine_near(t.rest), sine_near(t.rest), (t.quarter & 1u) == 1u);
    return select(y, -y, t.quarter == 1u || t.quarter == 2u);
}
fn tan(x: f32) -> f32 {
    if (!is_finite(x)) { return nan(); }
    let t = quarter_turns(x);
    let s = sine_near(t.rest);
    let k = cosine_near(t.rest);
    let y = select(s / k, -k / s, (t.quarter & 1u) == 1u);
    return select(select(y, -y, x < 0.0), x, x == 0.0);
}
// The arc whose tangent is t, from 0 to 1: about 0 or about 1, where the tangent of the difference is small.
fn atan_unit(t: f32) -> f32 {
    let is_large = t > 0.41421356;
    let u = select(t, (t - 1.0) / (t + 1.0), is_large);
    let z = u * u;
    var p = -0.0666666667;
    p = p * z + 0.0769230769;
    p = p * z - 0.0909090909;
    p = p * z + 0.1111111111;
    p = p * z - 0.1428571429;
    p = p * z + 0.2;
    p = p * z - 0.3333333333;
    let arc = p * z * u + u;
    return select(arc, arc + 0.7853981633974483, is_large);
}
fn atan(x: f32) -> f32 {
    let a = abs(x);
    let arc = select(atan_unit(a), 1.5707963267948966 - atan_unit(1.0 / a), a > 1.0);
    return select(bits_sign(arc, x), x, is_nan(x));
}
fn atan2(y: f32, x: f32) -> f32 {
    if (is_nan(x) || is_nan(y)) { return nan(); }
    let a = abs(x); let b = abs(y);
    let large = max(a, b); let small = min(a, b);
    var t = small / large;
    if (large == 0.0) { t = 0.0; }
    if (is_inf(small)) { t = 1.0; }
    var arc = atan_unit(t);
    if (b > a) { arc = 1.5707963267948966 - arc; }
    if ((bitcast<u32>(x) >> 31u) == 1u) { arc = 3.141592653589793 - arc; }
    return bits_sign(arc, y);
}
fn asin(x: f32) -> f32 {
    let a = abs(x);
    if (a > 1.0 || is_nan(x)) { return nan(); }
    return bits_sign(atan2(a, sqrt((1.0 - a) * (1.0 + a))), x);
}
fn acos(x: f32) -> f32 {
    if (abs(x) > 1.0 || is_nan(x)) { return nan(); }
    return atan2(sqrt((1.0 - x) * (1.0 + x)), x);
}

// The functions of the elementwise table for floats, beside those of functions.wgsl. Compute is f32.

fn c(value: f32) -> f32 { return value; }
fn sign(x: f32) -> f32 { return f32(x > 0.0) - f32(x < 0.0); }
fn round_ties_even(x: f32) -> f32 { return round(x); }
// Written so that NaN as the first operand stays.
fn max(x: f32, low: f32) -> f32 { return select(x, low, x < low); }
fn min(x: f32, high: f32) -> f32 { return select(x, high, x > high); }
// NaN if either is.
fn maximum(x: f32, y: f32) -> f32 { return select(y, x, x > y || is_nan(x)); }
fn minimum(x: f32, y: f32) -> f32 { return select(y, x, x < y || is_nan(x)); }

// Exact: each subtraction of a multiple by a power of two is.
fn fmod(x: f32, y: f32) -> f32 {
    if (is_nan(x) || is_nan(y) || is_inf(x) || y == 0.0) { return nan(); }
    var r = abs(x);
    let b = abs(y);
    if (is_inf(y) || r < b) { return x; }
    var n = i32(bitcast<u32>(r) >> 23u) - i32(bitcast<u32>(b) >> 23u);
    for (; n >= 0; n--) {
        // In two steps, because 2^n itself may overflow.
        let part = b * power_of_two(f32(n / 2)) * power_of_two(f32(n - n / 2));
        if (r >= part) { r -= part; }
    }
    return bits_sign(r, x);
}
// The remainder with the sign of the divisor.
fn rem(x: f32, y: f32) -> f32 {
    let remainder = fmod(x, y);
    let crosses = (remainder < 0.0) != (y < 0.0);
    return select(remainder, remainder + y, remainder != 0.0 && crosses);
}
// The floor of the exact quotient: x / y after rounding may be an integer above it.
fn floor_div(x: f32, y: f32) -> f32 {
    if (y == 0.0) { return x / y; }
    let remainder = fmod(x, y);
    let crosses = remainder != 0.0 && (remainder < 0.0) != (y < 0.0);
    let quotient = (x - remainder) / y - f32(crosses);
    if (quotient == 0.0) { return bits_sign(0.0, x / y); }
    let below = floor(quotient);
    return select(below, below + 1.0, quotient - below > 0.5);
}
// From the nearer end, so that both ends are exact.
fn lerp(x: f32, y: f32, w: f32) -> f32 { return select(y - (y - x) * (1.0 - w), x + w * (y - x), abs(w) < 0.5); }
fn gelu_tanh_backward(x: f32, dy: f32) -> f32 {
    let t = tanh(0.7978845608028654 * (x + 0.044715 * x * x * x));
    let slope = 0.7978845608028654 * (1.0 + 0.134145 * x * x);
    return dy * 0.5 * (1.0 + t + x * (1.0 - t * t) * slope);
}
// x^y with the special values of C's pow.
fn pow(x: f32, y: f32) -> f32 {
    if (y == 0.0 || x == 1.0) { return 1.0; }
    if (is_nan(x) || is_nan(y)) { return nan(); }
    let a = abs(x);
    var magnitude = 1.0;
    if (a == 0.0 || is_inf(a)) {
        magnitude = select(0.0, inf(), (a == 0.0) == (y < 0.0));
    } else if (a != 1.0) {
        magnitude = exp(y * log(a));
    }
    let integral = y == trunc(y);
    let odd = integral && y * 0.5 != trunc(y * 0.5);
    if (x < 0.0 && is_finite(x) && !integral) { return nan(); }
    return select(magnitude, bits_sign(magnitude, x), odd);
}

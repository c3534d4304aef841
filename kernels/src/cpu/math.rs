//! Elementary functions of `f32` that vectorise: straight-line code, so that a loop over them becomes vector code
//! inside [`vectorized`](super::simd::vectorized).
//!
//! `exp`, `exp2`, `expm1`, `tanh`, `sigmoid` and `erf` stay in `f32` throughout, because attention and activations
//! live on them. The others compute in `f64` and round once, which costs half of the lanes and saves all the care that
//! cancellation would need. No fused multiply-add: every vector width gives the same bits. Errors against `f64` are
//! measured by the tests below, in units of the last place.
//!
//! Methods: argument reduction by multiples of ln 2 or of a turn (Cody and Waite; for sine, exactly, as Payne and Hanek),
//! then a Taylor or minimax polynomial on what is left. The coefficients were fitted for this file.

use std::f64::consts::{FRAC_PI_2, LN_2, LOG2_E, LOG10_2, LOG10_E};

/// Adding and subtracting this rounds to the nearest integer, and leaves that integer in the low bits of the sum.
const ROUND: f32 = 12_582_912.0;
const ROUND_WIDE: f64 = 6_755_399_441_055_744.0;

/// ln 2 in two parts: multiples of the first by integers below 2^15 are exact.
const LN_2_HIGH: f32 = 355.0 / 512.0;
const LN_2_LOW: f32 = -2.121_944_4e-4;

/// e^r - 1 for |r| up to half of ln 2: r + r^2 p(r), where p is the minimax polynomial of degree 4.
#[inline(always)]
fn expm1_reduced(r: f32) -> f32 {
    let p = 0.001_390_110_3;
    let p = p * r + 0.008_363_146;
    let p = p * r + 0.041_666_854;
    let p = p * r + 0.166_665_77;
    let p = p * r + 0.5;
    p * (r * r) + r
}

/// 2^n of an integral n from -126 to 127.
#[inline(always)]
fn power_of_two(n: f32) -> f32 {
    f32::from_bits(((n + ROUND).to_bits() << 23).wrapping_add(127 << 23))
}

/// x = n ln 2 + r, as (n, r).
#[inline(always)]
fn reduce_by_ln_2(x: f32) -> (f32, f32) {
    let n = (x * std::f32::consts::LOG2_E + ROUND) - ROUND;
    (n, (x - n * LN_2_HIGH) - n * LN_2_LOW)
}

/// `x` held between two bounds, NaN left alone.
#[inline(always)]
fn bounded(x: f32, low: f32, high: f32) -> f32 {
    let x = if x > high { high } else { x };
    if x < low { low } else { x }
}

/// (1 + p) 2^n, in two steps so that n may leave the range of exponents: overflow gives infinity, and subnormal
/// results are rounded once.
#[inline(always)]
fn scaled(p: f32, n: f32) -> f32 {
    let half = (n * 0.5 + ROUND) - ROUND;
    ((1.0 + p) * power_of_two(half)) * power_of_two(n - half)
}

/// e^x.
#[inline(always)]
pub fn exp(x: f32) -> f32 {
    let (n, r) = reduce_by_ln_2(bounded(x, -104.5, 89.0));
    scaled(expm1_reduced(r), n)
}

/// 2^x.
#[inline(always)]
pub fn exp2(x: f32) -> f32 {
    let x = bounded(x, -151.0, 129.0);
    let n = (x + ROUND) - ROUND;
    scaled(expm1_reduced((x - n) * std::f32::consts::LN_2), n)
}

/// e^x - 1 without cancellation.
#[inline(always)]
pub fn expm1(x: f32) -> f32 {
    let (n, r) = reduce_by_ln_2(bounded(x, -18.0, 89.0));
    let half = power_of_two(n - 1.0);
    let y = 2.0 * (expm1_reduced(r) * half + (half - 0.5));
    if x == 0.0 { x } else { y }
}

/// The hyperbolic tangent: e / (e + 2) with e = e^2|x| - 1, which is exact to its last places near 0 too.
#[inline(always)]
pub fn tanh(x: f32) -> f32 {
    let (n, r) = reduce_by_ln_2(2.0 * bounded(x.abs(), 0.0, 10.0));
    let half = power_of_two(n - 1.0);
    let e = expm1_reduced(r) * half + (half - 0.5);
    (e / (e + 1.0)).copysign(x)
}

/// 1 / (1 + e^-x).
#[inline(always)]
pub fn sigmoid(x: f32) -> f32 {
    let e = exp(-x.abs());
    (if x >= 0.0 { 1.0 } else { e }) / (1.0 + e)
}

/// The error function: x P(x^2) / Q(x^2), a minimax quotient of degree 5 over 5, up to where it rounds to 1.
#[inline(always)]
pub fn erf(x: f32) -> f32 {
    let a = bounded(x, -3.93, 3.93);
    let t = a * a;
    let p = 2.043_794e-6;
    let p = p * t + 2.846_550_6e-4;
    let p = p * t + 0.003_771_395_7;
    let p = p * t + 0.052_764_67;
    let p = p * t + 0.190_587_77;
    let p = p * t + std::f32::consts::FRAC_2_SQRT_PI;
    let q = 3.801_517_2e-5;
    let q = q * t + 0.001_163_288_6;
    let q = q * t + 0.014_980_826;
    let q = q * t + 0.114_176_79;
    let q = q * t + 0.502_236_8;
    let q = q * t + 1.0;
    bounded(a * p / q, -1.0, 1.0)
}

/// e^x as (2^n, 2^n (e^r - 1)), good to 1e-13; |x| is held below 230, beyond every `f32` result.
#[inline(always)]
fn exp_parts_wide(x: f64) -> (f64, f64) {
    let x = if x > 230.0 { 230.0 } else { x };
    let x = if x < -230.0 { -230.0 } else { x };
    let biased = x * LOG2_E + ROUND_WIDE;
    let r = x - (biased - ROUND_WIDE) * LN_2;
    let p = 1.0 / 39_916_800.0;
    let p = p * r + 1.0 / 3_628_800.0;
    let p = p * r + 1.0 / 362_880.0;
    let p = p * r + 1.0 / 40_320.0;
    let p = p * r + 1.0 / 5_040.0;
    let p = p * r + 1.0 / 720.0;
    let p = p * r + 1.0 / 120.0;
    let p = p * r + 1.0 / 24.0;
    let p = p * r + 1.0 / 6.0;
    let p = p * r + 0.5;
    let scale = f64::from_bits((biased.to_bits() << 52).wrapping_add(1023 << 52));
    (scale, (p * (r * r) + r) * scale)
}

#[inline(always)]
fn exp_wide(x: f64) -> f64 {
    let (scale, rest) = exp_parts_wide(x);
    scale + rest
}

/// ln x as (n, ln m) with x = 2^n m and m from sqrt(1/2) to sqrt(2), good to 1e-13, for finite positive normal x.
#[inline(always)]
fn ln_parts_wide(x: f64) -> (f64, f64) {
    const SQRT_HALF: u64 = 0x3fe6_a09e_667f_3bcd;
    const ONE: u64 = 0x3ff0_0000_0000_0000;
    const TWO_52: u64 = 0x4330_0000_0000_0000;
    let shifted = x.to_bits().wrapping_add(ONE - SQRT_HALF);
    let exponent = shifted >> 52;
    let m = f64::from_bits((shifted & 0x000f_ffff_ffff_ffff).wrapping_add(SQRT_HALF));
    let n = f64::from_bits(TWO_52 | exponent) - (4_503_599_627_370_496.0 + 1023.0);
    // ln m = 2 atanh(s) with s = (m - 1) / (m + 1), |s| < 0.172.
    let s = (m - 1.0) / (m + 1.0);
    let z = s * s;
    let p = 2.0 / 17.0;
    let p = p * z + 2.0 / 15.0;
    let p = p * z + 2.0 / 13.0;
    let p = p * z + 2.0 / 11.0;
    let p = p * z + 2.0 / 9.0;
    let p = p * z + 2.0 / 7.0;
    let p = p * z + 2.0 / 5.0;
    let p = p * z + 2.0 / 3.0;
    (n, p * z * s + 2.0 * s)
}

/// n a + ln(m) b with the parts of x, and the limits of a logarithm at 0, at infinity and below 0.
#[inline(always)]
fn logarithm_wide(x: f64, a: f64, b: f64) -> f64 {
    let (n, ln_m) = ln_parts_wide(x);
    let y = if x < f64::INFINITY { n * a + ln_m * b } else { x };
    let y = if x == 0.0 { f64::NEG_INFINITY } else { y };
    if x < 0.0 { f64::NAN } else { y }
}

#[inline(always)]
fn ln_wide(x: f64) -> f64 {
    logarithm_wide(x, LN_2, 1.0)
}

/// ln(1 + x): what rounding takes from 1 + x is given back to first order.
#[inline(always)]
fn log1p_wide(x: f64) -> f64 {
    let u = 1.0 + x;
    let lost = (x - (u - 1.0)) / u;
    ln_wide(u) + if (u > 0.0) & (u < f64::INFINITY) { lost } else { 0.0 }
}

/// The natural logarithm.
#[inline(always)]
pub fn ln(x: f32) -> f32 {
    ln_wide(x.into()) as f32
}

/// The logarithm to base 2, exact at powers of 2.
#[inline(always)]
pub fn log2(x: f32) -> f32 {
    logarithm_wide(x.into(), 1.0, LOG2_E) as f32
}

/// The logarithm to base 10.
#[inline(always)]
pub fn log10(x: f32) -> f32 {
    logarithm_wide(x.into(), LOG10_2, LOG10_E) as f32
}

/// ln(1 + x) without cancellation.
#[inline(always)]
pub fn log1p(x: f32) -> f32 {
    if x == 0.0 { x } else { log1p_wide(x.into()) as f32 }
}

/// ln(1 + e^x).
#[inline(always)]
pub fn softplus(x: f32) -> f32 {
    let positive = if x < 0.0 { 0.0 } else { f64::from(x) };
    (positive + log1p_wide(exp_wide(-f64::from(x.abs())))) as f32
}

/// The hyperbolic sine.
#[inline(always)]
pub fn sinh(x: f32) -> f32 {
    let (scale, rest) = exp_parts_wide(x.abs().into());
    let e = rest + (scale - 1.0);
    ((0.5 * (e + e / (e + 1.0))) as f32).copysign(x)
}

/// The hyperbolic cosine.
#[inline(always)]
pub fn cosh(x: f32) -> f32 {
    let e = exp_wide(x.abs().into());
    (0.5 * (e + 1.0 / e)) as f32
}

/// x^y with the special values of C's `pow`.
#[inline(always)]
pub fn pow(x: f32, y: f32) -> f32 {
    let magnitude = exp_wide(f64::from(y) * ln_wide(x.abs().into())) as f32;
    // A power of exactly 1 is 1 even where the other argument is infinite or NaN.
    let magnitude = if (x.abs() == 1.0) & !y.is_nan() { 1.0 } else { magnitude };
    let integral = y == y.trunc();
    let odd = integral & (y * 0.5 != (y * 0.5).trunc());
    let signed = if odd { magnitude.copysign(x) } else { magnitude };
    let real = if (x < 0.0) & (x > f32::NEG_INFINITY) & !integral { f32::NAN } else { signed };
    if (y == 0.0) | (x == 1.0) { 1.0 } else { real }
}

/// 1 / (2 pi) in pieces of 28 bits, as many as the largest `f32` needs: a piece times an `f32` is exact in `f64`.
const PER_TURN: [f64; 7] = [
    piece(170_891_318, 30),
    piece(240_010_261, 58),
    piece(44_024_437, 86),
    piece(131_200_308, 114),
    piece(232_525_238, 142),
    piece(43_358_524, 170),
    piece(70_845_471, 198),
];

/// `digits` / 2^`shift`.
const fn piece(digits: u32, shift: u64) -> f64 {
    digits as f64 * f64::from_bits((1023 - shift) << 52)
}

/// x modulo a quarter turn: which quarter (-2 to 2), and the sine and cosine of the rest.
///
/// The whole turns of each exact product are dropped exactly, so the reduction is as good at 1e38 as at 1.
#[inline(always)]
fn quarter_turns(x: f64) -> (f64, f64, f64) {
    let mut turns = 0.0;
    for piece in PER_TURN {
        let product = x * piece;
        turns += product - product.round_ties_even();
    }
    let quarters = 4.0 * (turns - turns.round_ties_even());
    let nearest = quarters.round_ties_even();
    let r = (quarters - nearest) * FRAC_PI_2;
    let z = r * r;
    let s = -1.0 / 39_916_800.0;
    let s = s * z + 1.0 / 362_880.0;
    let s = s * z - 1.0 / 5_040.0;
    let s = s * z + 1.0 / 120.0;
    let s = s * z - 1.0 / 6.0;
    let c = -1.0 / 3_628_800.0;
    let c = c * z + 1.0 / 40_320.0;
    let c = c * z - 1.0 / 720.0;
    let c = c * z + 1.0 / 24.0;
    let c = c * z - 0.5;
    (nearest, s * z * r + r, c * z + 1.0)
}

/// The sine, for every finite x.
#[inline(always)]
pub fn sin(x: f32) -> f32 {
    let (quarter, s, c) = quarter_turns(x.into());
    let y = if quarter.abs() == 1.0 { c } else { s };
    let y = if (quarter == -1.0) | (quarter.abs() == 2.0) { -y } else { y };
    if x == 0.0 { x } else { y as f32 }
}

/// The cosine, for every finite x.
#[inline(always)]
pub fn cos(x: f32) -> f32 {
    let (quarter, s, c) = quarter_turns(x.into());
    let y = if quarter.abs() == 1.0 { s } else { c };
    (if (quarter == 1.0) | (quarter.abs() == 2.0) { -y } else { y }) as f32
}

/// The tangent, for every finite x.
#[inline(always)]
pub fn tan(x: f32) -> f32 {
    let (quarter, s, c) = quarter_turns(x.into());
    let y = if quarter.abs() == 1.0 { -c / s } else { s / c };
    if x == 0.0 { x } else { y as f32 }
}

#[cfg(test)]
mod tests;

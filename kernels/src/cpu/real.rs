//! The real types, `f32` and `f64`, with the functions that rows of the elementwise table are written in.

use std::ops::{Add, Div, Mul, Neg, Rem, Sub};

use super::math;
use crate::Compute;

/// `f32` or `f64` with elementary functions: for `f32` the vectorising ones of [`math`], for `f64` the standard
/// library's, because `f64` is there to check gradients.
pub trait Real:
    Compute
    + Add<Output = Self>
    + Sub<Output = Self>
    + Mul<Output = Self>
    + Div<Output = Self>
    + Rem<Output = Self>
    + Neg<Output = Self>
{
    /// A constant, rounded.
    fn c(value: f64) -> Self;
    /// Applies the function for `f32` or the one for `f64`.
    fn by(self, f32: impl FnOnce(f32) -> f32, f64: impl FnOnce(f64) -> f64) -> Self;
    /// Applies the function of two arguments for `f32` or the one for `f64`.
    fn by2(self, y: Self, f32: impl FnOnce(f32, f32) -> f32, f64: impl FnOnce(f64, f64) -> f64) -> Self;
    /// True for NaN.
    #[inline(always)]
    #[expect(clippy::eq_op, reason = "only NaN differs from itself, and this form vectorises")]
    fn is_nan(self) -> bool {
        self != self
    }
    /// 1 for true and 0 for false.
    #[inline(always)]
    fn flag(truth: bool) -> Self {
        Self::c(if truth { 1.0 } else { 0.0 })
    }
    /// e^x.
    #[inline(always)]
    fn exp(self) -> Self {
        self.by(math::exp, f64::exp)
    }
    /// 2^x.
    #[inline(always)]
    fn exp2(self) -> Self {
        self.by(math::exp2, f64::exp2)
    }
    /// e^x - 1.
    #[inline(always)]
    fn expm1(self) -> Self {
        self.by(math::expm1, f64::exp_m1)
    }
    /// The natural logarithm.
    #[inline(always)]
    fn ln(self) -> Self {
        self.by(math::ln, f64::ln)
    }
    /// The logarithm to base 2.
    #[inline(always)]
    fn log2(self) -> Self {
        self.by(math::log2, f64::log2)
    }
    /// The logarithm to base 10.
    #[inline(always)]
    fn log10(self) -> Self {
        self.by(math::log10, f64::log10)
    }
    /// ln(1 + x).
    #[inline(always)]
    fn log1p(self) -> Self {
        self.by(math::log1p, f64::ln_1p)
    }
    /// The square root.
    #[inline(always)]
    fn sqrt(self) -> Self {
        self.by(f32::sqrt, f64::sqrt)
    }
    /// The absolute value.
    #[inline(always)]
    fn abs(self) -> Self {
        self.by(f32::abs, f64::abs)
    }
    /// The largest integer not above x.
    #[inline(always)]
    fn floor(self) -> Self {
        self.by(f32::floor, f64::floor)
    }
    /// The smallest integer not below x.
    #[inline(always)]
    fn ceil(self) -> Self {
        self.by(f32::ceil, f64::ceil)
    }
    /// The nearest integer, ties to even.
    #[inline(always)]
    fn round(self) -> Self {
        self.by(f32::round_ties_even, f64::round_ties_even)
    }
    /// x without its fraction.
    #[inline(always)]
    fn trunc(self) -> Self {
        self.by(f32::trunc, f64::trunc)
    }
    /// The sine.
    #[inline(always)]
    fn sin(self) -> Self {
        self.by(math::sin, f64::sin)
    }
    /// The cosine.
    #[inline(always)]
    fn cos(self) -> Self {
        self.by(math::cos, f64::cos)
    }
    /// The tangent.
    #[inline(always)]
    fn tan(self) -> Self {
        self.by(math::tan, f64::tan)
    }
    /// The inverse sine.
    #[inline(always)]
    fn asin(self) -> Self {
        self.by(f32::asin, f64::asin)
    }
    /// The inverse cosine.
    #[inline(always)]
    fn acos(self) -> Self {
        self.by(f32::acos, f64::acos)
    }
    /// The inverse tangent.
    #[inline(always)]
    fn atan(self) -> Self {
        self.by(f32::atan, f64::atan)
    }
    /// The hyperbolic sine.
    #[inline(always)]
    fn sinh(self) -> Self {
        self.by(math::sinh, f64::sinh)
    }
    /// The hyperbolic cosine.
    #[inline(always)]
    fn cosh(self) -> Self {
        self.by(math::cosh, f64::cosh)
    }
    /// The hyperbolic tangent.
    #[inline(always)]
    fn tanh(self) -> Self {
        self.by(math::tanh, f64::tanh)
    }
    /// The inverse hyperbolic sine.
    #[inline(always)]
    fn asinh(self) -> Self {
        self.by(|x| f64::from(x).asinh() as f32, f64::asinh)
    }
    /// The inverse hyperbolic cosine.
    #[inline(always)]
    fn acosh(self) -> Self {
        self.by(|x| f64::from(x).acosh() as f32, f64::acosh)
    }
    /// The inverse hyperbolic tangent.
    #[inline(always)]
    fn atanh(self) -> Self {
        self.by(|x| f64::from(x).atanh() as f32, f64::atanh)
    }
    /// 1 / (1 + e^-x).
    #[inline(always)]
    fn sigmoid(self) -> Self {
        self.by(math::sigmoid, sigmoid)
    }
    /// ln(1 + e^x).
    #[inline(always)]
    fn softplus(self) -> Self {
        self.by(math::softplus, softplus)
    }
    /// The error function.
    #[inline(always)]
    fn erf(self) -> Self {
        self.by(math::erf, erf)
    }
    /// x^y.
    #[inline(always)]
    fn pow(self, y: Self) -> Self {
        self.by2(y, math::pow, f64::powf)
    }
    /// The angle of the point (y, x), with `self` as y.
    #[inline(always)]
    fn atan2(self, y: Self) -> Self {
        self.by2(y, f32::atan2, f64::atan2)
    }
    /// The magnitude of x with the sign of y.
    #[inline(always)]
    fn copysign(self, y: Self) -> Self {
        self.by2(y, f32::copysign, f64::copysign)
    }
}

impl Real for f32 {
    #[inline(always)]
    fn c(value: f64) -> f32 {
        value as f32
    }
    #[inline(always)]
    fn by(self, f32: impl FnOnce(f32) -> f32, _: impl FnOnce(f64) -> f64) -> f32 {
        f32(self)
    }
    #[inline(always)]
    fn by2(self, y: f32, f32: impl FnOnce(f32, f32) -> f32, _: impl FnOnce(f64, f64) -> f64) -> f32 {
        f32(self, y)
    }
}

impl Real for f64 {
    #[inline(always)]
    fn c(value: f64) -> f64 {
        value
    }
    #[inline(always)]
    fn by(self, _: impl FnOnce(f32) -> f32, f64: impl FnOnce(f64) -> f64) -> f64 {
        f64(self)
    }
    #[inline(always)]
    fn by2(self, y: f64, _: impl FnOnce(f32, f32) -> f32, f64: impl FnOnce(f64, f64) -> f64) -> f64 {
        f64(self, y)
    }
}

fn sigmoid(x: f64) -> f64 {
    let e = (-x.abs()).exp();
    (if x >= 0.0 { 1.0 } else { e }) / (1.0 + e)
}

fn softplus(x: f64) -> f64 {
    (if x < 0.0 { 0.0 } else { x }) + (-x.abs()).exp().ln_1p()
}

/// The error function to the last few places of an `f64`.
///
/// Below 2.5 the series 2/sqrt(pi) x e^(-x^2) sum (2x^2)^n / (1 3 5 ... (2n+1)), whose terms are all positive; above,
/// one minus Laplace's continued fraction for the complement, from its far end. (Abramowitz and Stegun 7.1.6, 7.1.14.)
pub(crate) fn erf(x: f64) -> f64 {
    const TWO_OVER_SQRT_PI: f64 = std::f64::consts::FRAC_2_SQRT_PI;
    let a = x.abs();
    if x.is_nan() || a > 6.0 {
        return if x.is_nan() { x } else { 1f64.copysign(x) };
    }
    let z = a * a;
    if a < 2.5 {
        let (mut term, mut sum, mut n) = (1.0, 1.0, 1.0);
        while term > sum * 1e-17 {
            term *= 2.0 * z / (2.0 * n + 1.0);
            sum += term;
            n += 1.0;
        }
        return TWO_OVER_SQRT_PI * x * (-z).exp() * sum;
    }
    let fraction = (1..=60).rev().fold(a, |tail, k| a + f64::from(k) / 2.0 / tail);
    (1.0 - 0.5 * TWO_OVER_SQRT_PI * (-z).exp() / fraction).copysign(x)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn erf_agrees_with_tables() {
        // Values to 16 digits, by multiple-precision arithmetic.
        let table = [
            (1e-300, 1.1283791670955126e-300),
            (1e-8, 1.1283791670955126e-8),
            (0.1, 0.1124629160182849),
            (0.5, 0.520_499_877_813_046_5),
            (1.0, 0.842_700_792_949_714_9),
            (2.0, 0.995_322_265_018_952_7),
            (2.4999, 0.999_592_830_099_666_6),
            (2.5, 0.999_593_047_982_555),
            (3.0, 0.999_977_909_503_001_4),
            (4.5, 0.999_999_999_803_383_9),
            (5.9, 0.999_999_999_999_999_9),
        ];
        for (x, wanted) in table {
            let got = erf(x);
            assert!((got - wanted).abs() <= 6e-16 * wanted, "{x}: {got} {wanted}");
            assert_eq!(erf(-x), -got);
        }
        assert!(erf(f64::NAN).is_nan());
        assert_eq!(erf(f64::INFINITY), 1.0);
    }
}

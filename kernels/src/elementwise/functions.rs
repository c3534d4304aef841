//! The rows of the table that take more than one expression.

use crate::cpu::real::Real;

/// x P(X <= x) for a standard normal X: x (1 + erf(x / sqrt 2)) / 2. (Hendrycks and Gimpel, 2016.)
#[inline(always)]
pub(super) fn gelu<R: Real>(x: R) -> R {
    x * normal_cdf(x)
}

#[inline(always)]
fn normal_cdf<R: Real>(x: R) -> R {
    ((x * R::c(std::f64::consts::FRAC_1_SQRT_2)).erf() + R::c(1.0)) * R::c(0.5)
}

/// dy (P(X <= x) + x p(x)) with the normal density p.
#[inline(always)]
pub(super) fn gelu_backward<R: Real>(x: R, dy: R) -> R {
    let density = (x * x * R::c(-0.5)).exp() * R::c(0.398_942_280_401_432_7);
    dy * (normal_cdf(x) + x * density)
}

/// sqrt(2 / pi)
const TANH_SCALE: f64 = 0.797_884_560_802_865_4;
const TANH_CUBIC: f64 = 0.044715;

/// x (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))) / 2.
#[inline(always)]
pub(super) fn gelu_tanh<R: Real>(x: R) -> R {
    let inner = (x * x * x * R::c(TANH_CUBIC) + x) * R::c(TANH_SCALE);
    x * R::c(0.5) * (inner.tanh() + R::c(1.0))
}

/// dy ((1 + t) / 2 + x (1 - t^2) u' / 2) with t = tanh(u), u as in [`gelu_tanh`].
#[inline(always)]
pub(super) fn gelu_tanh_backward<R: Real>(x: R, dy: R) -> R {
    let t = ((x * x * x * R::c(TANH_CUBIC) + x) * R::c(TANH_SCALE)).tanh();
    let slope = (x * x * R::c(3.0 * TANH_CUBIC) + R::c(1.0)) * R::c(TANH_SCALE);
    dy * R::c(0.5) * (t + R::c(1.0) + x * (R::c(1.0) - t * t) * slope)
}

/// dy s (1 + x (1 - s)) with s = sigmoid(x).
#[inline(always)]
pub(super) fn silu_backward<R: Real>(x: R, dy: R) -> R {
    let s = x.sigmoid();
    dy * s * (x * (R::c(1.0) - s) + R::c(1.0))
}

/// x tanh(softplus(x)), where tanh(ln(1 + w)) = n / (n + 2) with n = w (w + 2) and w = e^x. (Misra, 2019.)
#[inline(always)]
pub(super) fn mish<R: Real>(x: R) -> R {
    let w = (if x > R::c(20.0) { R::c(20.0) } else { x }).exp();
    let n = w * (w + R::c(2.0));
    x * (n / (n + R::c(2.0)))
}

/// -1, 0 or 1; 0 for NaN.
#[inline(always)]
pub(super) fn sign<R: Real>(x: R) -> R {
    R::flag(x > R::c(0.0)) - R::flag(x < R::c(0.0))
}

/// x between two bounds, the upper one if they cross; NaN stays.
#[inline(always)]
pub(super) fn clamp<R: Real>(x: R, low: R, high: R) -> R {
    let x = if x < low { low } else { x };
    if x > high { high } else { x }
}

/// The larger; NaN if either is.
#[inline(always)]
pub(super) fn maximum<R: Real>(x: R, y: R) -> R {
    if x > y || x.is_nan() { x } else { y }
}

/// The smaller; NaN if either is.
#[inline(always)]
pub(super) fn minimum<R: Real>(x: R, y: R) -> R {
    if x < y || x.is_nan() { x } else { y }
}

/// The remainder with the sign of the divisor, as Python's `%`.
#[inline(always)]
pub(super) fn rem<R: Real>(x: R, y: R) -> R {
    let remainder = x % y;
    let crosses = (remainder < R::c(0.0)) != (y < R::c(0.0));
    if remainder != R::c(0.0) && crosses { remainder + y } else { remainder }
}

/// The floor of the exact quotient: x / y after rounding may be an integer above it.
#[inline(always)]
pub(super) fn floor_div<R: Real>(x: R, y: R) -> R {
    let remainder = x % y;
    let crosses = remainder != R::c(0.0) && (remainder < R::c(0.0)) != (y < R::c(0.0));
    let quotient = (x - remainder) / y - R::flag(crosses);
    let floor = quotient.floor();
    let floor = if quotient - floor > R::c(0.5) { floor + R::c(1.0) } else { floor };
    let floor = if quotient == R::c(0.0) { R::c(0.0).copysign(x / y) } else { floor };
    if y == R::c(0.0) { x / y } else { floor }
}

/// x + w (y - x), from the nearer end so that both ends are exact.
#[inline(always)]
pub(super) fn lerp<R: Real>(x: R, y: R, w: R) -> R {
    if w.abs() < R::c(0.5) { x + w * (y - x) } else { y - (y - x) * (R::c(1.0) - w) }
}

/// The floored quotient of integers; 0 where the divisor is 0, which the engine reports.
#[inline(always)]
pub(super) fn int_floor_div(x: i64, y: i64) -> i64 {
    if y == 0 {
        return 0;
    }
    let crosses = x.wrapping_rem(y) != 0 && (x < 0) != (y < 0);
    x.wrapping_div(y).wrapping_sub(crosses.into())
}

/// The remainder of integers with the sign of the divisor; 0 where the divisor is 0, which the engine reports.
#[inline(always)]
pub(super) fn int_rem(x: i64, y: i64) -> i64 {
    if y == 0 {
        return 0;
    }
    let remainder = x.wrapping_rem(y);
    if remainder != 0 && (remainder < 0) != (y < 0) { remainder + y } else { remainder }
}

/// The remainder of integers with the sign of the dividend; 0 where the divisor is 0, which the engine reports.
#[inline(always)]
pub(super) fn int_fmod(x: i64, y: i64) -> i64 {
    if y == 0 { 0 } else { x.wrapping_rem(y) }
}

/// x^y, wrapping; negative powers are 0 but for those of 1 and -1.
#[inline(always)]
pub(super) fn int_pow(x: i64, y: i64) -> i64 {
    if y < 0 {
        return match x {
            1 => 1,
            -1 => 1 - 2 * (y & 1),
            _ => 0,
        };
    }
    let (mut power, mut base, mut exponent) = (1i64, x, y);
    while exponent > 0 {
        power = if exponent & 1 == 1 { power.wrapping_mul(base) } else { power };
        base = base.wrapping_mul(base);
        exponent >>= 1;
    }
    power
}

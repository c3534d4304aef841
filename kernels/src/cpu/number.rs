//! Arithmetic on the three compute types, as reductions, scans and scatters need it.

use crate::cpu::math;
use crate::{Bool, Compute, Stored, bf16, f16};

/// `f32`, `f64` and wrapping `i64`.
pub(crate) trait Number: Compute {
    const ZERO: Self;
    const ONE: Self;
    /// Nothing is less: minus infinity, or the least integer.
    const LOWEST: Self;
    /// Nothing is greater.
    const HIGHEST: Self;
    fn plus(self, other: Self) -> Self;
    fn minus(self, other: Self) -> Self;
    fn times(self, other: Self) -> Self;

    /// The greater; NaN where either is.
    #[inline(always)]
    fn greater(self, other: Self) -> Self {
        if self >= other || self.is_nan() { self } else { other }
    }

    /// The lesser; NaN where either is.
    #[inline(always)]
    fn lesser(self, other: Self) -> Self {
        if self <= other || self.is_nan() { self } else { other }
    }

    // NaN alone differs from itself, and the comparison vectorises.
    #[allow(clippy::eq_op)]
    #[inline(always)]
    fn is_nan(self) -> bool {
        self != self
    }
}

/// `f32` and `f64`.
pub(crate) trait Float: Number {
    fn abs(self) -> Self;
    fn sqrt(self) -> Self;
    fn exp(self) -> Self;
    fn ln(self) -> Self;
    fn powf(self, exponent: Self) -> Self;
    fn over(self, divisor: Self) -> Self;
}

impl Number for i64 {
    const ZERO: i64 = 0;
    const ONE: i64 = 1;
    const LOWEST: i64 = i64::MIN;
    const HIGHEST: i64 = i64::MAX;
    #[inline(always)]
    fn plus(self, other: i64) -> i64 {
        self.wrapping_add(other)
    }
    #[inline(always)]
    fn minus(self, other: i64) -> i64 {
        self.wrapping_sub(other)
    }
    #[inline(always)]
    fn times(self, other: i64) -> i64 {
        self.wrapping_mul(other)
    }
}

impl Number for f32 {
    const ZERO: f32 = 0.0;
    const ONE: f32 = 1.0;
    const LOWEST: f32 = f32::NEG_INFINITY;
    const HIGHEST: f32 = f32::INFINITY;
    #[inline(always)]
    fn plus(self, other: f32) -> f32 {
        self + other
    }
    #[inline(always)]
    fn minus(self, other: f32) -> f32 {
        self - other
    }
    #[inline(always)]
    fn times(self, other: f32) -> f32 {
        self * other
    }
}

impl Number for f64 {
    const ZERO: f64 = 0.0;
    const ONE: f64 = 1.0;
    const LOWEST: f64 = f64::NEG_INFINITY;
    const HIGHEST: f64 = f64::INFINITY;
    #[inline(always)]
    fn plus(self, other: f64) -> f64 {
        self + other
    }
    #[inline(always)]
    fn minus(self, other: f64) -> f64 {
        self - other
    }
    #[inline(always)]
    fn times(self, other: f64) -> f64 {
        self * other
    }
}

impl Float for f32 {
    #[inline(always)]
    fn abs(self) -> f32 {
        f32::abs(self)
    }
    #[inline(always)]
    fn sqrt(self) -> f32 {
        f32::sqrt(self)
    }
    #[inline(always)]
    fn exp(self) -> f32 {
        math::exp(self)
    }
    #[inline(always)]
    fn ln(self) -> f32 {
        math::ln(self)
    }
    #[inline(always)]
    fn powf(self, exponent: f32) -> f32 {
        math::pow(self, exponent)
    }
    #[inline(always)]
    fn over(self, divisor: f32) -> f32 {
        self / divisor
    }
}

impl Float for f64 {
    #[inline(always)]
    fn abs(self) -> f64 {
        f64::abs(self)
    }
    #[inline(always)]
    fn sqrt(self) -> f64 {
        f64::sqrt(self)
    }
    #[inline(always)]
    fn exp(self) -> f64 {
        f64::exp(self)
    }
    #[inline(always)]
    fn ln(self) -> f64 {
        f64::ln(self)
    }
    #[inline(always)]
    fn powf(self, exponent: f64) -> f64 {
        f64::powf(self, exponent)
    }
    #[inline(always)]
    fn over(self, divisor: f64) -> f64 {
        self / divisor
    }
}

/// What sums and products of a dtype are stored as, and the widest type to accumulate them in.
pub(crate) trait Summed: Stored {
    type Wide: Number;
    type Total: Stored;
}

impl Summed for f32 {
    type Wide = f64;
    type Total = f32;
}
impl Summed for f64 {
    type Wide = f64;
    type Total = f64;
}
impl Summed for f16 {
    type Wide = f64;
    type Total = f16;
}
impl Summed for bf16 {
    type Wide = f64;
    type Total = bf16;
}
impl Summed for i64 {
    type Wide = i64;
    type Total = i64;
}
impl Summed for i32 {
    type Wide = i64;
    type Total = i64;
}
impl Summed for u32 {
    type Wide = i64;
    type Total = i64;
}
impl Summed for u8 {
    type Wide = i64;
    type Total = i64;
}
impl Summed for Bool {
    type Wide = i64;
    type Total = i64;
}

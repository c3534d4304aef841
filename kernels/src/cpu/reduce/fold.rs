//! What a reduction does with one element: an accumulator, a step and a merge.
//!
//! Ops that look at their input twice (variance about a mean, exponentials below a maximum) fold twice; the second
//! fold gets the first one's result per output as its `Given`.

use crate::Stored;
use crate::cpu::number::{Float, Number};

/// One pass over elements of type `S`. `merge` must be associative up to rounding, and `start` its neutral element.
pub(crate) trait Fold<S: Stored>: Copy + Send + Sync {
    type Acc: Copy + Send + Sync;
    fn start(self) -> Self::Acc;
    /// Takes in element `x`, the `position`th of those reduced; `given` belongs to the output.
    fn step(self, acc: Self::Acc, x: S, given: S::Compute, position: i64) -> Self::Acc;
    fn merge(self, a: Self::Acc, b: Self::Acc) -> Self::Acc;
}

/// An accumulator of the compute type that needs nothing but the element: `step = merge(acc, map(x))`.
pub(crate) trait Simple: Copy + Send + Sync {
    fn neutral<C: Number>(self) -> C;
    fn join<C: Number>(self, a: C, b: C) -> C;
}

#[derive(Clone, Copy)]
pub(crate) struct Sum;
#[derive(Clone, Copy)]
pub(crate) struct Product;
#[derive(Clone, Copy)]
pub(crate) struct Greatest;
#[derive(Clone, Copy)]
pub(crate) struct Least;

impl Simple for Sum {
    #[inline(always)]
    fn neutral<C: Number>(self) -> C {
        C::ZERO
    }
    #[inline(always)]
    fn join<C: Number>(self, a: C, b: C) -> C {
        a.plus(b)
    }
}

impl Simple for Product {
    #[inline(always)]
    fn neutral<C: Number>(self) -> C {
        C::ONE
    }
    #[inline(always)]
    fn join<C: Number>(self, a: C, b: C) -> C {
        a.times(b)
    }
}

impl Simple for Greatest {
    #[inline(always)]
    fn neutral<C: Number>(self) -> C {
        C::LOWEST
    }
    #[inline(always)]
    fn join<C: Number>(self, a: C, b: C) -> C {
        a.greater(b)
    }
}

impl Simple for Least {
    #[inline(always)]
    fn neutral<C: Number>(self) -> C {
        C::HIGHEST
    }
    #[inline(always)]
    fn join<C: Number>(self, a: C, b: C) -> C {
        a.lesser(b)
    }
}

impl<S: Stored, F: Simple> Fold<S> for F
where
    S::Compute: Number,
{
    type Acc = S::Compute;
    #[inline(always)]
    fn start(self) -> S::Compute {
        self.neutral()
    }
    #[inline(always)]
    fn step(self, acc: S::Compute, x: S, _: S::Compute, _: i64) -> S::Compute {
        self.join(acc, x.widen())
    }
    #[inline(always)]
    fn merge(self, a: S::Compute, b: S::Compute) -> S::Compute {
        self.join(a, b)
    }
}

/// Whether any element's truth (`x != 0`, so false for -0.0 and true for NaN) is `wanted`. The accumulator counts them; it
/// may stop short of their number, but never returns to 0.
#[derive(Clone, Copy)]
pub(crate) struct AnyTruth {
    pub(crate) wanted: bool,
}

impl<S: Stored> Fold<S> for AnyTruth
where
    S::Compute: Number,
{
    type Acc = S::Compute;
    #[inline(always)]
    fn start(self) -> S::Compute {
        Number::ZERO
    }
    #[inline(always)]
    fn step(self, acc: S::Compute, x: S, _: S::Compute, _: i64) -> S::Compute {
        acc.plus(if (x != S::default()) == self.wanted { Number::ONE } else { Number::ZERO })
    }
    #[inline(always)]
    fn merge(self, a: S::Compute, b: S::Compute) -> S::Compute {
        a.plus(b)
    }
}

/// The first position whose element is the given one; NaN is taken to equal NaN. `i64::MAX` where there is none.
#[derive(Clone, Copy)]
pub(crate) struct FirstEqual;

impl<S: Stored> Fold<S> for FirstEqual
where
    S::Compute: Number,
{
    type Acc = i64;
    #[inline(always)]
    fn start(self) -> i64 {
        i64::MAX
    }
    #[inline(always)]
    fn step(self, acc: i64, x: S, given: S::Compute, position: i64) -> i64 {
        let x = x.widen();
        let found = (x == given) | (x.is_nan() & given.is_nan());
        acc.min(if found { position } else { i64::MAX })
    }
    #[inline(always)]
    fn merge(self, a: i64, b: i64) -> i64 {
        a.min(b)
    }
}

/// The sum of `map(x, given)`.
#[derive(Clone, Copy)]
pub(crate) struct SumOf<M>(pub(crate) M);

/// A function of an element and one number given per output, and perhaps of one number for all.
pub(crate) trait Map<C>: Copy + Send + Sync {
    fn map(self, x: C, given: C) -> C;
}

/// `x - given`.
#[derive(Clone, Copy)]
pub(crate) struct Deviation;
/// `(x - given)^2`.
#[derive(Clone, Copy)]
pub(crate) struct SquaredDeviation;
/// `exp(x - given)`.
#[derive(Clone, Copy)]
pub(crate) struct ExpBelow;
/// `|x|^p`; 1 for every x but 0 where p is 0.
#[derive(Clone, Copy)]
pub(crate) struct AbsolutePower(pub(crate) f64);

impl<C: Float> Map<C> for Deviation {
    #[inline(always)]
    fn map(self, x: C, given: C) -> C {
        x.minus(given)
    }
}

impl<C: Float> Map<C> for SquaredDeviation {
    #[inline(always)]
    fn map(self, x: C, given: C) -> C {
        let d = x.minus(given);
        d.times(d)
    }
}

impl<C: Float> Map<C> for ExpBelow {
    #[inline(always)]
    fn map(self, x: C, given: C) -> C {
        x.minus(given).exp()
    }
}

impl<C: Float> Map<C> for AbsolutePower {
    #[inline(always)]
    fn map(self, x: C, _: C) -> C {
        match self.0 {
            0.0 => C::from_i64((x != C::ZERO) as i64),
            p => x.abs().powf(C::from_f64(p)),
        }
    }
}

impl<S: Stored, M: Map<S::Compute>> Fold<S> for SumOf<M>
where
    S::Compute: Number,
{
    type Acc = S::Compute;
    #[inline(always)]
    fn start(self) -> S::Compute {
        S::Compute::ZERO
    }
    #[inline(always)]
    fn step(self, acc: S::Compute, x: S, given: S::Compute, _: i64) -> S::Compute {
        acc.plus(self.0.map(x.widen(), given))
    }
    #[inline(always)]
    fn merge(self, a: S::Compute, b: S::Compute) -> S::Compute {
        a.plus(b)
    }
}

/// A simple fold of `|x|`.
#[derive(Clone, Copy)]
pub(crate) struct OfAbsolute<F>(pub(crate) F);

impl<S: Stored, F: Simple> Fold<S> for OfAbsolute<F>
where
    S::Compute: Float,
{
    type Acc = S::Compute;
    #[inline(always)]
    fn start(self) -> S::Compute {
        self.0.neutral()
    }
    #[inline(always)]
    fn step(self, acc: S::Compute, x: S, _: S::Compute, _: i64) -> S::Compute {
        self.0.join(acc, x.widen().abs())
    }
    #[inline(always)]
    fn merge(self, a: S::Compute, b: S::Compute) -> S::Compute {
        self.0.join(a, b)
    }
}

//! Numbers to compute with, and how results are compared.

use chainrule_kernels::{Rng, Stored};

/// Multiples of 1/8 from -4 up to 4, as which every dtype has some of them.
pub(crate) fn numbers<S: Stored>(n: usize) -> Vec<S> {
    let mut rng = Rng::seed(1);
    (0..n).map(|_| S::from_f64(f64::from((rng.uniform() * 64.0).floor()) / 8.0 - 4.0)).collect()
}

/// Numbers that tie often, with NaN, infinities and both zeros among them where the dtype has them.
pub(crate) fn specials<S: Stored>(n: usize, seed: u64) -> Vec<S> {
    let mut rng = Rng::seed(seed);
    let special = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, -0.0, 0.0];
    let mut draw = || match rng.below(400) as usize {
        n if n < 5 => special[n],
        n => (n % 40) as f32 - 20.0,
    };
    (0..n).map(|_| S::from_f32(draw())).collect()
}

/// An error unless `got` is within `tolerance` of `want`, or both are NaN or the same infinity.
pub(crate) fn assert_close(got: f64, want: f64, tolerance: f64, what: impl Fn() -> String) {
    let same = got == want || got.is_nan() && want.is_nan();
    assert!(same || (got - want).abs() <= tolerance, "{}: {got} is not {want}", what());
}

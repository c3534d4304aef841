//! Vector instructions chosen at run time.

use crate::{Compute, DType};

/// Runs `f` compiled for the widest vectors that this processor has.
///
/// The closure, and what it calls through `#[inline(always)]`, is compiled three times: for AVX-512, for AVX2 and for the
/// target's baseline. Only the width differs: no instruction that rounds differently (such as a fused multiply-add) is
/// introduced by the compiler, so that all three give the same bits. Mark the closure `#[inline(always)]`.
#[inline(always)]
pub fn vectorized<R>(f: impl FnOnce() -> R) -> R {
    #[cfg(target_arch = "x86_64")]
    {
        if is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512dq")
            && is_x86_feature_detected!("avx512vl")
        {
            // SAFETY: the four features were just detected.
            return unsafe { avx512(f) };
        }
        if is_x86_feature_detected!("avx2") {
            // SAFETY: the feature was just detected.
            return unsafe { avx2(f) };
        }
    }
    f()
}

/// As [`vectorized`] if the arithmetic is in `f32`. The other types are not worth two more copies of the code: `f64` is
/// there to check gradients.
#[inline(always)]
pub(crate) fn wide<C: Compute, R>(f: impl FnOnce() -> R) -> R {
    if matches!(C::DTYPE, DType::F32) { vectorized(f) } else { f() }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2")]
fn avx512<R>(f: impl FnOnce() -> R) -> R {
    f()
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn avx2<R>(f: impl FnOnce() -> R) -> R {
    f()
}

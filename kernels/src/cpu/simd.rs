//! Vector instructions chosen at run time.

use crate::{Compute, DType};

/// Sets of vector instructions for which code is compiled, beyond the target's baseline.
pub(crate) enum Width {
    /// 512 bits, and fused multiply-add.
    #[cfg(target_arch = "x86_64")]
    Avx512,
    /// 256 bits, and fused multiply-add, which comes with them in all but name.
    #[cfg(target_arch = "x86_64")]
    Avx2,
    /// Whatever every processor of the target has.
    Baseline,
}

/// The widest that this processor has.
// Not inlined: the question is asked at hundreds of places.
#[inline(never)]
pub(crate) fn widest() -> Width {
    #[cfg(target_arch = "x86_64")]
    {
        if is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512dq")
            && is_x86_feature_detected!("avx512vl")
        {
            return Width::Avx512;
        }
        if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
            return Width::Avx2;
        }
    }
    Width::Baseline
}

/// Runs `f` compiled for the widest vectors that this processor has.
///
/// The closure, and what it calls through `#[inline(always)]`, is compiled three times: for AVX-512, for AVX2 and for the
/// target's baseline. Only the width differs: no instruction that rounds differently (such as a fused multiply-add) is
/// introduced by the compiler, so that all three give the same bits. Mark the closure `#[inline(always)]`.
#[inline(always)]
pub fn vectorized<R>(f: impl FnOnce() -> R) -> R {
    match widest() {
        // SAFETY: the processor has these instructions.
        #[cfg(target_arch = "x86_64")]
        Width::Avx512 => unsafe { avx512(f) },
        // SAFETY: as above.
        #[cfg(target_arch = "x86_64")]
        Width::Avx2 => unsafe { avx2(f) },
        Width::Baseline => f(),
    }
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

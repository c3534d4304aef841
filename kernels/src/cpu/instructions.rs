//! Instruction sets with fused multiply-add, for kernels whose inner loop is a product of tiles.
//!
//! Unlike [`crate::cpu::simd::vectorized`], results may differ in the last bits between processors: a fused
//! multiply-add rounds once where a multiplication and an addition round twice.

#[cfg(target_arch = "x86_64")]
use std::arch::x86_64::*;

use crate::cpu::real::Real;
use crate::cpu::simd::{Width, widest};
use crate::cpu::vector::Vector;

/// An instruction set: its registers, and how many of them a tile of sums should fill.
pub(crate) trait Instructions: Copy {
    /// A register of f32.
    type F32: Vector<f32>;
    /// A register of f64.
    type F64: Vector<f64>;
    /// `a * b + c`, rounded once where the instruction set can.
    fn mul_add<T: Lane>(a: T, b: T, c: T) -> T;
    /// Runs a part of a job as a function of its own, so that it is compiled once and not at each place that has it.
    ///
    /// # Safety
    /// The processor has the instruction set.
    unsafe fn call<J: Job>(part: J) -> J::Output;
}

/// Work that is compiled once for each instruction set. Mark `run` and all it calls `#[inline(always)]`.
pub(crate) trait Job {
    /// What it gives.
    type Output;
    /// Does it.
    fn run<I: Instructions>(self) -> Self::Output;
}

/// Runs `job` with the widest instructions that this processor has.
pub(crate) fn dispatch<J: Job>(job: J) -> J::Output {
    match widest() {
        // SAFETY: the processor has these instructions.
        #[cfg(target_arch = "x86_64")]
        Width::Avx512 => unsafe { run_avx512(job) },
        // SAFETY: as above.
        #[cfg(target_arch = "x86_64")]
        Width::Avx2 => unsafe { run_avx2(job) },
        Width::Baseline => run_portable(job),
    }
}

/// Runs a job with each instruction set that this processor has.
#[cfg(test)]
pub(crate) fn every_instruction_set<J: Job>(job: impl Fn() -> J) {
    run_portable(job());
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
        // SAFETY: the features were just detected.
        unsafe { run_avx2(job()) };
    }
    dispatch(job());
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
fn run_avx512<J: Job>(job: J) -> J::Output {
    job.run::<Avx512>()
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn run_avx2<J: Job>(job: J) -> J::Output {
    job.run::<Avx2>()
}

#[inline(never)]
fn run_portable<J: Job>(job: J) -> J::Output {
    job.run::<Portable>()
}

/// 512-bit registers.
#[cfg(target_arch = "x86_64")]
#[derive(Clone, Copy)]
struct Avx512;

/// 256-bit registers.
#[cfg(target_arch = "x86_64")]
#[derive(Clone, Copy)]
struct Avx2;

/// Whatever the compiler makes of arrays of four.
#[derive(Clone, Copy)]
struct Portable;

#[cfg(target_arch = "x86_64")]
impl Instructions for Avx512 {
    type F32 = __m512;
    type F64 = __m512d;
    #[inline(always)]
    fn mul_add<T: Lane>(a: T, b: T, c: T) -> T {
        a.fused_mul_add(b, c)
    }
    #[inline(always)]
    unsafe fn call<J: Job>(part: J) -> J::Output {
        // SAFETY: the caller has the instruction set.
        unsafe { run_avx512(part) }
    }
}

#[cfg(target_arch = "x86_64")]
impl Instructions for Avx2 {
    type F32 = __m256;
    type F64 = __m256d;
    #[inline(always)]
    fn mul_add<T: Lane>(a: T, b: T, c: T) -> T {
        a.fused_mul_add(b, c)
    }
    #[inline(always)]
    unsafe fn call<J: Job>(part: J) -> J::Output {
        // SAFETY: the caller has the instruction set.
        unsafe { run_avx2(part) }
    }
}

impl Instructions for Portable {
    type F32 = [f32; 4];
    type F64 = [f64; 4];
    #[inline(always)]
    fn mul_add<T: Lane>(a: T, b: T, c: T) -> T {
        a * b + c
    }
    #[inline(always)]
    unsafe fn call<J: Job>(part: J) -> J::Output {
        run_portable(part)
    }
}

/// The two types that tiles are multiplied in: a register is lanes of one of them.
pub(crate) trait Lane: Real + std::ops::AddAssign + std::ops::MulAssign {
    /// Negative infinity: the score of a key that is not seen.
    const NEG_INFINITY: Self;
    /// Zero.
    const ZERO: Self;
    /// One.
    const ONE: Self;
    /// The register of this type.
    type Register<I: Instructions>: Vector<Self>;
    /// `self * factor + sum` with one rounding: slow where the processor has no such instruction.
    fn fused_mul_add(self, factor: Self, sum: Self) -> Self;
    /// `e^self` for arguments up to 80; less than 1 in 10^38 is 0, NaN stays.
    fn fused_exp<I: Instructions>(self) -> Self;
    /// Rows and columns of a block exchanged.
    #[inline(always)]
    fn transposed(block: [[Self; 4]; 4]) -> [[Self; 4]; 4] {
        std::array::from_fn(|row| std::array::from_fn(|col| block[col][row]))
    }
    /// True for all but NaN and the infinities.
    fn is_finite(self) -> bool;
}

impl Lane for f32 {
    const NEG_INFINITY: f32 = f32::NEG_INFINITY;
    const ZERO: f32 = 0.0;
    const ONE: f32 = 1.0;
    type Register<I: Instructions> = I::F32;
    #[inline(always)]
    fn fused_mul_add(self, factor: f32, sum: f32) -> f32 {
        self.mul_add(factor, sum)
    }
    #[inline(always)]
    fn fused_exp<I: Instructions>(self) -> f32 {
        // e^x = 2^n e^r with n = round(x / ln 2) and |r| <= ln 2 / 2; adding 1.5 * 2^23 leaves n in the low bits.
        const SHIFT: f32 = 12_582_912.0;
        const LEAST: f32 = -87.0;
        let x = if self < LEAST { LEAST } else { self };
        let shifted = I::mul_add(x, std::f32::consts::LOG2_E, SHIFT);
        let n = shifted - SHIFT;
        let r = I::mul_add(n, -0.693_359_4, x);
        let r = I::mul_add(n, 2.121_944_4e-4, r);
        let mut sum = 1.0 / 720.0;
        for coefficient in [1.0 / 120.0, 1.0 / 24.0, 1.0 / 6.0, 0.5, 1.0, 1.0] {
            sum = I::mul_add(sum, r, coefficient);
        }
        let power = f32::from_bits((shifted.to_bits() << 23).wrapping_add(0x3f80_0000));
        if self < LEAST { 0.0 } else { sum * power }
    }
    #[cfg(target_arch = "x86_64")]
    #[inline(always)]
    fn transposed(block: [[f32; 4]; 4]) -> [[f32; 4]; 4] {
        // Left to itself, the compiler inserts sixteen elements one by one.
        let [a, b, c, d] = block.map(bytemuck::cast::<[f32; 4], __m128>);
        // SAFETY: SSE is part of every x86-64 processor.
        let rows = unsafe {
            let [ab_low, ab_high] = [_mm_unpacklo_ps(a, b), _mm_unpackhi_ps(a, b)];
            let [cd_low, cd_high] = [_mm_unpacklo_ps(c, d), _mm_unpackhi_ps(c, d)];
            [
                _mm_movelh_ps(ab_low, cd_low),
                _mm_movehl_ps(cd_low, ab_low),
                _mm_movelh_ps(ab_high, cd_high),
                _mm_movehl_ps(cd_high, ab_high),
            ]
        };
        rows.map(bytemuck::cast)
    }
    #[inline(always)]
    fn is_finite(self) -> bool {
        f32::is_finite(self)
    }
}

impl Lane for f64 {
    const NEG_INFINITY: f64 = f64::NEG_INFINITY;
    const ZERO: f64 = 0.0;
    const ONE: f64 = 1.0;
    type Register<I: Instructions> = I::F64;
    #[inline(always)]
    fn fused_mul_add(self, factor: f64, sum: f64) -> f64 {
        self.mul_add(factor, sum)
    }
    fn fused_exp<I: Instructions>(self) -> f64 {
        f64::exp(self)
    }
    #[inline(always)]
    fn is_finite(self) -> bool {
        f64::is_finite(self)
    }
}

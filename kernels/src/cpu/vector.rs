//! Registers of the processor as values: load, store, splat and fused multiply-add.

#[cfg(target_arch = "x86_64")]
use std::arch::x86_64::*;

use crate::cpu::instructions::Lane;

/// A register of elements.
///
/// # Safety
/// `load` reads and `store` writes exactly `LANES` elements, at any alignment.
pub(crate) unsafe trait Vector<T>: Copy {
    /// How many elements it holds.
    const LANES: usize;
    /// # Safety
    /// The processor has the instruction set.
    unsafe fn splat(value: T) -> Self;
    /// # Safety
    /// As `splat`, and `LANES` elements are readable at `from`.
    unsafe fn load(from: *const T) -> Self;
    /// # Safety
    /// As `splat`, and `LANES` elements are writable at `to`.
    unsafe fn store(self, to: *mut T);
    /// `self * factor + sum`.
    ///
    /// # Safety
    /// As `splat`.
    unsafe fn mul_add(self, factor: Self, sum: Self) -> Self;
}

// SAFETY: an array of four is read and written as such, at any alignment.
unsafe impl<T: Lane> Vector<T> for [T; 4] {
    const LANES: usize = 4;
    #[inline(always)]
    unsafe fn splat(value: T) -> Self {
        [value; 4]
    }
    #[inline(always)]
    unsafe fn load(from: *const T) -> Self {
        // SAFETY: the caller has four elements there.
        unsafe { from.cast::<[T; 4]>().read_unaligned() }
    }
    #[inline(always)]
    unsafe fn store(self, to: *mut T) {
        // SAFETY: the caller has four elements there.
        unsafe { to.cast::<[T; 4]>().write_unaligned(self) }
    }
    #[inline(always)]
    unsafe fn mul_add(self, factor: Self, sum: Self) -> Self {
        std::array::from_fn(|lane| self[lane] * factor[lane] + sum[lane])
    }
}

#[cfg(target_arch = "x86_64")]
// SAFETY: the intrinsics are those of this register and take any alignment.
unsafe impl Vector<f32> for __m512 {
    const LANES: usize = 16;
    #[inline(always)]
    unsafe fn splat(value: f32) -> Self {
        // SAFETY: the caller has the instruction set.
        unsafe { _mm512_set1_ps(value) }
    }
    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        // SAFETY: the caller has the instruction set and the elements.
        unsafe { _mm512_loadu_ps(from) }
    }
    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        // SAFETY: the caller has the instruction set and the elements.
        unsafe { _mm512_storeu_ps(to, self) }
    }
    #[inline(always)]
    unsafe fn mul_add(self, factor: Self, sum: Self) -> Self {
        // SAFETY: the caller has the instruction set.
        unsafe { _mm512_fmadd_ps(self, factor, sum) }
    }
}

#[cfg(target_arch = "x86_64")]
// SAFETY: the intrinsics are those of this register and take any alignment.
unsafe impl Vector<f64> for __m512d {
    const LANES: usize = 8;
    #[inline(always)]
    unsafe fn splat(value: f64) -> Self {
        // SAFETY: the caller has the instruction set.
        unsafe { _mm512_set1_pd(value) }
    }
    #[inline(always)]
    unsafe fn load(from: *const f64) -> Self {
        // SAFETY: the caller has the instruction set and the elements.
        unsafe { _mm512_loadu_pd(from) }
    }
    #[inline(always)]
    unsafe fn store(self, to: *mut f64) {
        // SAFETY: the caller has the instruction set and the elements.
        unsafe { _mm512_storeu_pd(to, self) }
    }
    #[inline(always)]
    unsafe fn mul_add(self, factor: Self, sum: Self) -> Self {
        // SAFETY: the caller has the instruction set.
        unsafe { _mm512_fmadd_pd(self, factor, sum) }
    }
}

#[cfg(target_arch = "x86_64")]
// SAFETY: the intrinsics are those of this register and take any alignment.
unsafe impl Vector<f32> for __m256 {
    const LANES: usize = 8;
    #[inline(always)]
    unsafe fn splat(value: f32) -> Self {
        // SAFETY: the caller has the instruction set.
        unsafe { _mm256_set1_ps(value) }
    }
    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        // SAFETY: the caller has the instruction set and the elements.
        unsafe { _mm256_loadu_ps(from) }
    }
    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        // SAFETY: the caller has the instruction set and the elements.
        unsafe { _mm256_storeu_ps(to, self) }
    }
    #[inline(always)]
    unsafe fn mul_add(self, factor: Self, sum: Self) -> Self {
        // SAFETY: the caller has the instruction set.
        unsafe { _mm256_fmadd_ps(self, factor, sum) }
    }
}

#[cfg(target_arch = "x86_64")]
// SAFETY: the intrinsics are those of this register and take any alignment.
unsafe impl Vector<f64> for __m256d {
    const LANES: usize = 4;
    #[inline(always)]
    unsafe fn splat(value: f64) -> Self {
        // SAFETY: the caller has the instruction set.
        unsafe { _mm256_set1_pd(value) }
    }
    #[inline(always)]
    unsafe fn load(from: *const f64) -> Self {
        // SAFETY: the caller has the instruction set and the elements.
        unsafe { _mm256_loadu_pd(from) }
    }
    #[inline(always)]
    unsafe fn store(self, to: *mut f64) {
        // SAFETY: the caller has the instruction set and the elements.
        unsafe { _mm256_storeu_pd(to, self) }
    }
    #[inline(always)]
    unsafe fn mul_add(self, factor: Self, sum: Self) -> Self {
        // SAFETY: the caller has the instruction set.
        unsafe { _mm256_fmadd_pd(self, factor, sum) }
    }
}

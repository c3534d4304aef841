//! Typed working memory of a kernel, from the caching allocator.

use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};

use crate::Result;
use crate::Stored;
use crate::cpu::memory::CpuMemory;

/// A slice of working memory; its contents are unspecified until written.
pub(crate) struct Scratch<T> {
    memory: CpuMemory,
    elements: PhantomData<T>,
}

impl<T: Stored> Scratch<T> {
    /// Room for `len` elements.
    ///
    /// # Errors
    /// [`crate::ErrorKind::OutOfMemory`].
    #[track_caller]
    pub(crate) fn new(len: usize) -> Result<Scratch<T>> {
        let len_bytes = len.saturating_mul(size_of::<T>());
        Ok(Scratch { memory: CpuMemory::allocate(len_bytes)?, elements: PhantomData })
    }

    /// Room for `len` elements, all zero.
    ///
    /// # Errors
    /// [`crate::ErrorKind::OutOfMemory`].
    #[track_caller]
    pub(crate) fn zeroed(len: usize) -> Result<Scratch<T>> {
        let mut scratch = Scratch::new(len)?;
        scratch.fill(T::default());
        Ok(scratch)
    }
}

impl<T: Stored> Deref for Scratch<T> {
    type Target = [T];
    fn deref(&self) -> &[T] {
        bytemuck::cast_slice(self.memory.bytes())
    }
}

impl<T: Stored> DerefMut for Scratch<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        bytemuck::cast_slice_mut(self.memory.bytes_mut())
    }
}

//! The sum of squares over many tensors in one launch, for the global norm of gradients.
//!
//! Squares are taken and added up in `f64`, within blocks that the lengths alone fix and then in the blocks' order, so
//! nothing overflows that the norm itself does not, and the result does not depend on the number of threads. A device
//! that has no `f64` takes them in `f32`.

use crate::{Buffer, DType, Kernel, Launch, Result, cpu};

/// `each tensor -> sum of squares [1]`; the parameters are the tensors' lengths, [`lens`].
pub static L2_NORM_SQUARED: Kernel = Kernel {
    name: "l2_norm",
    entry: "l2_norm_squared",
    cpu: cpu::l2_norm::squared,
    #[cfg(feature = "cuda")]
    cuda: crate::cuda::l2_norm::squared,
    #[cfg(feature = "wgpu")]
    wgpu: crate::wgpu::l2_norm::squared,
};

/// Elements that follow one another in a buffer.
#[derive(Clone, Copy)]
pub struct Span<'a> {
    /// Where they are.
    pub buffer: &'a Buffer,
    /// The first.
    pub offset: usize,
    /// How many.
    pub len: usize,
}

/// The tensors' lengths, from the parameters of a launch.
pub(crate) fn lens(params: &[u8]) -> Vec<usize> {
    params.as_chunks().0.iter().map(|&len| u64::from_ne_bytes(len) as usize).collect()
}

/// `out [1]`, of `f64` or `f32`, becomes the sum of the squares of all elements of all tensors, which have one dtype;
/// 0 where there are none.
///
/// # Errors
/// A dtype that is no float.
#[track_caller]
pub fn l2_norm_squared(tensors: &[Span<'_>], out: &mut Buffer) -> Result<()> {
    let lens: Vec<u64> = tensors.iter().map(|span| span.len as u64).collect();
    let elem = tensors.first().map_or(DType::F32, |span| span.buffer.dtype());
    debug_assert!(tensors.iter().all(|span| span.buffer.dtype() == elem));
    let mut launch = Launch::new(&L2_NORM_SQUARED, elem);
    launch.inputs.extend(tensors.iter().map(|span| (span.buffer, span.offset)));
    let elements = tensors.iter().map(|span| span.len).sum();
    launch.params = bytemuck::cast_slice(&lens);
    launch.output(out).grid([elements, 1, 1]).run()
}

//! The sum of squares over many tensors in one launch, for the global norm of gradients, and clipping by it in another.
//!
//! Squares are taken and added up in `f64`, within blocks that the lengths alone fix and then in the blocks' order, so
//! nothing overflows that the norm itself does not, and the result does not depend on the number of threads. A device
//! that has no `f64` takes them in `f32`.
//!
//! ```text
//! norm = sqrt(sum of squares)
//! x = x max_norm / (norm + 1e-6)      where that factor is below 1
//! ```
//!
//! The factor is computed where the sum is, so that nobody waits for the norm.

use bytemuck::{Pod, Zeroable};

use crate::{Buffer, DType, ErrorKind, Kernel, Launch, Result, cpu};

/// `each tensor -> sum of squares [1]`; the parameters are the tensors' lengths, u64 each.
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

/// Added to the norm before it divides, as PyTorch does.
pub(crate) const EPS: f64 = 1e-6;

/// What the clipping kernel reads beside its buffers.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Debug, Pod, Zeroable)]
pub struct ClipParams {
    /// The largest norm that is left as it is.
    pub max_norm: f64,
}

/// `sum of squares [1] -> each tensor, scaled in place`.
pub static L2_NORM_CLIP: Kernel = Kernel {
    name: "l2_norm",
    entry: "l2_norm_clip",
    cpu: cpu::l2_norm::clip,
    #[cfg(feature = "cuda")]
    cuda: crate::cuda::l2_norm::clip,
    #[cfg(feature = "wgpu")]
    wgpu: crate::wgpu::l2_norm::clip,
};

/// Scales tensors of one dtype, so that the norm of which `squared` (`[1]`, of `f64` or `f32`) is the square becomes
/// `max_norm` at most.
///
/// # Errors
/// A dtype that is no float, or a norm that is infinite or NaN: the tensors are then unchanged. A device that works
/// behind the host's back reports that one with the next read.
#[track_caller]
pub fn l2_norm_clip(squared: &Buffer, tensors: Vec<&mut Buffer>, max_norm: f64) -> Result<()> {
    let Some(elem) = tensors.first().map(|tensor| tensor.dtype()) else { return Ok(()) };
    debug_assert!(tensors.iter().all(|tensor| tensor.dtype() == elem));
    let elements = tensors.iter().map(|tensor| tensor.len()).sum();
    let params = ClipParams { max_norm };
    let mut launch = Launch::new(&L2_NORM_CLIP, elem).input(squared, 0).params(&params).grid([elements, 1, 1]);
    launch.outputs = tensors;
    launch.run()
}

/// What is wrong with a norm that no factor makes smaller.
pub(crate) fn not_finite(norm: f64) -> ErrorKind {
    ErrorKind::Model(format!("the norm of the gradients is {norm}: grads.audit(&model) names the parameters"))
}

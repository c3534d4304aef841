//! Softmax and log-softmax over one dim of a contiguous array `[outer, len, inner]`.
//!
//! With the sums over `len`:
//!
//! ```text
//! softmax       y = exp(x - max) / sum exp(x - max)            dx = y (dy - sum(y dy))
//! log_softmax   y = (x - max) - ln sum exp(x - max)            dx = dy - exp(y) sum(dy)
//! ```
//!
//! Subtracting the maximum makes every exponent at most 0, so nothing overflows. A row whose maximum is infinite (all
//! negative infinity, or any positive infinity) gives NaN, as in PyTorch; so does a NaN in the row.
//! Sums are taken in `f32`, in `f64` for `f64`.

use bytemuck::{Pod, Zeroable};

use crate::{Buffer, Kernel, Launch, Result, cpu};

/// What the softmax kernels read beside their buffers: the extents of the array.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Pod, Zeroable)]
pub struct SoftmaxParams {
    /// The product of the dims before the one that is normalised.
    pub outer: u64,
    /// The extent of the dim that is normalised.
    pub len: u64,
    /// The product of the dims after it.
    pub inner: u64,
}

/// `x -> y`.
pub static SOFTMAX_FORWARD: Kernel = Kernel {
    name: "softmax",
    entry: "softmax_forward",
    cpu: cpu::softmax::softmax_forward,
    #[cfg(feature = "cuda")]
    cuda: crate::cuda::softmax::forward,
    #[cfg(feature = "wgpu")]
    wgpu: crate::wgpu::softmax::forward,
};
/// `y, dy -> dx`.
pub static SOFTMAX_BACKWARD: Kernel = Kernel {
    name: "softmax",
    entry: "softmax_backward",
    cpu: cpu::softmax::softmax_backward,
    #[cfg(feature = "cuda")]
    cuda: crate::cuda::softmax::backward,
    #[cfg(feature = "wgpu")]
    wgpu: crate::wgpu::softmax::backward,
};
/// `x -> y`.
pub static LOG_SOFTMAX_FORWARD: Kernel = Kernel {
    name: "softmax",
    entry: "log_softmax_forward",
    cpu: cpu::softmax::log_softmax_forward,
    #[cfg(feature = "cuda")]
    cuda: crate::cuda::softmax::forward,
    #[cfg(feature = "wgpu")]
    wgpu: crate::wgpu::softmax::forward,
};
/// `y, dy -> dx`.
pub static LOG_SOFTMAX_BACKWARD: Kernel = Kernel {
    name: "softmax",
    entry: "log_softmax_backward",
    cpu: cpu::softmax::log_softmax_backward,
    #[cfg(feature = "cuda")]
    cuda: crate::cuda::softmax::backward,
    #[cfg(feature = "wgpu")]
    wgpu: crate::wgpu::softmax::backward,
};

/// `y = softmax(x)`. `x` starts at its element offset; `y` has `outer * len * inner` elements of the dtype of `x`.
///
/// # Errors
/// A dtype that is no float.
#[track_caller]
pub fn softmax_forward(x: (&Buffer, usize), y: &mut Buffer, params: SoftmaxParams) -> Result<()> {
    forward(&SOFTMAX_FORWARD, x, y, params)
}

/// `dx` of [`softmax_forward`] from its result `y` and the gradient `dy`.
///
/// # Errors
/// A dtype that is no float.
#[track_caller]
pub fn softmax_backward(
    y: (&Buffer, usize),
    dy: (&Buffer, usize),
    dx: &mut Buffer,
    params: SoftmaxParams,
) -> Result<()> {
    backward(&SOFTMAX_BACKWARD, y, dy, dx, params)
}

/// `y = log_softmax(x)`; buffers as in [`softmax_forward`].
///
/// # Errors
/// A dtype that is no float.
#[track_caller]
pub fn log_softmax_forward(x: (&Buffer, usize), y: &mut Buffer, params: SoftmaxParams) -> Result<()> {
    forward(&LOG_SOFTMAX_FORWARD, x, y, params)
}

/// `dx` of [`log_softmax_forward`] from its result `y` and the gradient `dy`.
///
/// # Errors
/// A dtype that is no float.
#[track_caller]
pub fn log_softmax_backward(
    y: (&Buffer, usize),
    dy: (&Buffer, usize),
    dx: &mut Buffer,
    params: SoftmaxParams,
) -> Result<()> {
    backward(&LOG_SOFTMAX_BACKWARD, y, dy, dx, params)
}

#[track_caller]
fn forward(kernel: &'static Kernel, x: (&Buffer, usize), y: &mut Buffer, params: SoftmaxParams) -> Result<()> {
    let elem = y.dtype();
    Launch::new(kernel, elem).input(x.0, x.1).output(y).params(&params).grid(grid(&params)).run()
}

#[track_caller]
fn backward(
    kernel: &'static Kernel,
    y: (&Buffer, usize),
    dy: (&Buffer, usize),
    dx: &mut Buffer,
    params: SoftmaxParams,
) -> Result<()> {
    let elem = dx.dtype();
    Launch::new(kernel, elem).input(y.0, y.1).input(dy.0, dy.1).output(dx).params(&params).grid(grid(&params)).run()
}

/// One unit of work normalises one run of `len` elements.
fn grid(params: &SoftmaxParams) -> [usize; 3] {
    [params.outer as usize, params.inner as usize, 1]
}

//! Stochastic gradient descent with momentum over many tensors in one launch, as PyTorch's `torch.optim.SGD`
//! (Nesterov's form: Sutskever et al., 2013).
//!
//! ```text
//! g = grad grad_scale + weight_decay p
//! b = momentum b + (1 - dampening) g          b = g in the first step
//! g = g + momentum b  (nesterov)   or   g = b
//! p = p - lr g
//! ```
//!
//! Parameters below 64 bits are updated in `f32` with `b` in `f32` and rounded once; `f64` in `f64`.

use bytemuck::{Pod, Zeroable};

use crate::{Buffer, Kernel, Launch, Result, cpu};

/// What the SGD kernel reads beside its buffers.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Debug, Pod, Zeroable)]
pub struct SgdParams {
    /// Learning rate.
    pub lr: f64,
    /// Decay of the momentum buffer.
    pub momentum: f64,
    /// What of the gradient does not enter the momentum buffer.
    pub dampening: f64,
    /// Weight decay, added to the gradient.
    pub weight_decay: f64,
    /// A factor for every gradient, 1 for none: clipping without another pass.
    pub grad_scale: f64,
    /// 1 for Nesterov's momentum.
    pub nesterov: u64,
    /// 1 in the first step, which fills the momentum buffers.
    pub first_step: u64,
    /// 1 where there are momentum buffers; set from them.
    pub has_momentum: u64,
}

/// `grad of each tensor -> param of each, [momentum buffer of each]`.
pub static SGD: Kernel = Kernel {
    name: "sgd",
    entry: "sgd",
    cpu: cpu::sgd::step,
    #[cfg(feature = "cuda")]
    cuda: crate::cuda::sgd::step,
    #[cfg(feature = "wgpu")]
    wgpu: crate::wgpu::sgd::step,
};

/// One parameter with its gradient and state; all have the same number of elements.
pub struct SgdTensor<'a> {
    /// The parameter.
    pub param: &'a mut Buffer,
    /// Its gradient, of the same dtype, and the element at which its data start.
    pub grad: (&'a Buffer, usize),
    /// `b`, of the compute dtype: for all tensors or, without momentum, for none.
    pub momentum_buffer: Option<&'a mut Buffer>,
}

/// One step for all tensors, which have one dtype.
///
/// # Errors
/// A dtype that is no float.
#[track_caller]
pub fn sgd_step(tensors: Vec<SgdTensor<'_>>, params: SgdParams) -> Result<()> {
    let Some(first) = tensors.first() else { return Ok(()) };
    let has_momentum = first.momentum_buffer.is_some();
    debug_assert!(tensors.iter().all(|tensor| tensor.momentum_buffer.is_some() == has_momentum));
    let params = SgdParams { has_momentum: has_momentum.into(), ..params };
    let mut launch = Launch::new(&SGD, first.param.dtype());
    let mut momentum_buffers = Vec::new();
    let mut elements = 0;
    for tensor in tensors {
        elements += tensor.param.len();
        launch.inputs.push(tensor.grad);
        launch.outputs.push(tensor.param);
        momentum_buffers.extend(tensor.momentum_buffer);
    }
    launch.outputs.extend(momentum_buffers);
    launch.params(&params).grid([elements, 1, 1]).run()
}

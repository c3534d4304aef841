//! AdamW over many tensors in one launch (Loshchilov and Hutter, 2019, arXiv:1711.05101; AMSGrad: Reddi, Kale and
//! Kumar, 2018, arXiv:1904.09237).
//!
//! In the order of PyTorch's `torch.optim.AdamW`, for the step that `bias_correction` counts:
//!
//! ```text
//! g = grad grad_scale
//! p = p (1 - lr weight_decay)
//! m = m + (1 - beta1) (g - m)
//! v = beta2 v + (1 - beta2) g g
//! v_max = max(v_max, v)                                           with amsgrad, and used for v below
//! p = p - lr / bias_correction1 m / (sqrt(v) / sqrt(bias_correction2) + eps)
//! ```
//!
//! where `bias_correction_i = 1 - beta_i^step`. Parameters below 64 bits are updated in `f32` with states in `f32` and
//! rounded once; `f64` in `f64`. (PyTorch keeps states in the dtype of the parameter.)

use bytemuck::{Pod, Zeroable};

use crate::{Buffer, Kernel, Launch, Result, cpu};

/// What the AdamW kernel reads beside its buffers.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Debug, Pod, Zeroable)]
pub struct AdamWParams {
    /// Learning rate.
    pub lr: f64,
    /// Decay of the mean of gradients.
    pub beta1: f64,
    /// Decay of the mean of squared gradients.
    pub beta2: f64,
    /// Added to the root of the mean of squares.
    pub eps: f64,
    /// Decoupled weight decay.
    pub weight_decay: f64,
    /// `1 - beta1^step`, steps counted from 1.
    pub bias_correction1: f64,
    /// `1 - beta2^step`.
    pub bias_correction2: f64,
    /// A factor for every gradient, 1 for none: clipping without another pass.
    pub grad_scale: f64,
    /// 1 to divide by the largest mean of squares so far; set from the buffers.
    pub amsgrad: u64,
}

/// `grad of each tensor -> param of each, exp_avg of each, exp_avg_sq of each, [max_exp_avg_sq of each]`.
pub static ADAMW: Kernel = Kernel {
    name: "adamw",
    entry: "adamw",
    cpu: cpu::adamw::step,
    #[cfg(feature = "cuda")]
    cuda: crate::cuda::adamw::step,
    #[cfg(feature = "wgpu")]
    wgpu: crate::wgpu::adamw::step,
};

/// One parameter with its gradient and states; all have the same number of elements.
pub struct AdamWTensor<'a> {
    /// The parameter.
    pub param: &'a mut Buffer,
    /// Its gradient, of the same dtype, and the element at which its data start.
    pub grad: (&'a Buffer, usize),
    /// `m`, of the compute dtype, zero before the first step.
    pub exp_avg: &'a mut Buffer,
    /// `v`, of the compute dtype, zero before the first step.
    pub exp_avg_sq: &'a mut Buffer,
    /// `v_max`, of the compute dtype, zero before the first step: for all tensors (AMSGrad) or for none.
    pub max_exp_avg_sq: Option<&'a mut Buffer>,
}

/// One step for all tensors, which have one dtype.
///
/// # Errors
/// A dtype that is no float.
#[track_caller]
pub fn adamw_step(tensors: Vec<AdamWTensor<'_>>, params: AdamWParams) -> Result<()> {
    let Some(first) = tensors.first() else { return Ok(()) };
    let amsgrad = first.max_exp_avg_sq.is_some();
    debug_assert!(tensors.iter().all(|tensor| tensor.max_exp_avg_sq.is_some() == amsgrad));
    let params = AdamWParams { amsgrad: amsgrad.into(), ..params };
    let mut launch = Launch::new(&ADAMW, first.param.dtype());
    let (mut exp_avg, mut exp_avg_sq, mut max_exp_avg_sq) = (Vec::new(), Vec::new(), Vec::new());
    let mut elements = 0;
    for tensor in tensors {
        elements += tensor.param.len();
        launch.inputs.push(tensor.grad);
        launch.outputs.push(tensor.param);
        exp_avg.push(tensor.exp_avg);
        exp_avg_sq.push(tensor.exp_avg_sq);
        max_exp_avg_sq.extend(tensor.max_exp_avg_sq);
    }
    launch.outputs.extend(exp_avg.into_iter().chain(exp_avg_sq).chain(max_exp_avg_sq));
    launch.params(&params).grid([elements, 1, 1]).run()
}

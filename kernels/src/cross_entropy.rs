//! Cross-entropy of `logits [rows, V]` with one label per row: log-softmax and negative log-likelihood in one kernel.
//!
//! With `t` the label of a row, `s` the label smoothing (Szegedy et al., 2015, arXiv:1512.00567), `w` the class
//! weights (1 where absent) and `logp_c = x_c - max - log_sum`, `log_sum = ln sum exp(x - max)`:
//!
//! ```text
//! loss     = -(1 - s) w_t logp_t - s / V sum_c w_c logp_c          0 where t is ignore_index
//! mean     = sum of loss / total_weight                            total_weight = sum of w_t
//! dlogits  = dy (p_c ((1 - s) w_t + s W / V) - s / V w_c - [c = t] (1 - s) w_t)       W = sum_c w_c
//! ```
//!
//! sums over rows leaving out those that are ignored. If all are, the mean is 0 / 0 = NaN, as in PyTorch. The
//! logarithm of the sum is kept apart from the maximum, so that logits with a large common offset lose no digits.
//! Sums over classes are taken in `f32` (`f64` for `f64`), those over rows in `f64`.
//! Differs from PyTorch: the gradient of an ignored row is 0 even if its logits are not finite.

use std::panic::Location;

use bytemuck::{Pod, Zeroable};

use crate::{Buffer, Kernel, Launch, Result, cpu};

/// How the losses of rows or elements become a result.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Reduction {
    /// One loss each.
    None,
    /// Their mean; with class weights the weighted mean.
    #[default]
    Mean,
    /// Their sum.
    Sum,
}

/// What the cross-entropy kernels read beside their buffers.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Debug, Pod, Zeroable)]
pub struct CrossEntropyParams {
    /// How many labels there are.
    pub rows: u64,
    /// V, the extent of the dim of classes.
    pub classes: u64,
    /// The label of rows that do not count.
    pub ignore_index: i64,
    /// The share of the target that is spread over all classes, 0 to 1.
    pub label_smoothing: f64,
    /// The reduction: 0 none, 1 mean, 2 sum.
    pub reduction: u64,
    /// 1 where class weights are the last input.
    pub has_weight: u64,
}

impl CrossEntropyParams {
    /// PyTorch's defaults: `ignore_index` -100, no smoothing. The functions below set `has_weight`.
    pub fn new(rows: usize, classes: usize, reduction: Reduction) -> CrossEntropyParams {
        CrossEntropyParams {
            rows: rows as u64,
            classes: classes as u64,
            ignore_index: -100,
            label_smoothing: 0.0,
            reduction: reduction as u64,
            has_weight: 0,
        }
    }
}

/// `logits, labels, [weight] -> loss, max, log_sum, total_weight`.
pub static CROSS_ENTROPY_FORWARD: Kernel = Kernel {
    name: "cross_entropy",
    entry: "cross_entropy_forward",
    cpu: cpu::cross_entropy::forward,
    #[cfg(feature = "cuda")]
    cuda: crate::cuda::cross_entropy::forward,
    #[cfg(feature = "wgpu")]
    wgpu: crate::wgpu::cross_entropy::forward,
};
/// `dy, logits, labels, max, log_sum, total_weight, [weight] -> dlogits`.
pub static CROSS_ENTROPY_BACKWARD: Kernel = Kernel {
    name: "cross_entropy",
    entry: "cross_entropy_backward",
    cpu: cpu::cross_entropy::backward,
    #[cfg(feature = "cuda")]
    cuda: crate::cuda::cross_entropy::backward,
    #[cfg(feature = "wgpu")]
    wgpu: crate::wgpu::cross_entropy::backward,
};

/// What both kernels read, each with the element at which its data start.
#[derive(Clone, Copy)]
pub struct CrossEntropyInputs<'a> {
    /// `[rows, V]`.
    pub logits: (&'a Buffer, usize),
    /// `[rows]`, of an integer dtype.
    pub labels: (&'a Buffer, usize),
    /// `[V]`, of the dtype of the logits.
    pub weight: Option<(&'a Buffer, usize)>,
}

/// What the forward kernel writes; all but `loss` are of the compute dtype.
pub struct CrossEntropyOutputs<'a> {
    /// `[rows]` without reduction, else `[1]`; of the dtype of the logits.
    pub loss: &'a mut Buffer,
    /// `[rows]`: the largest logit.
    pub max: &'a mut Buffer,
    /// `[rows]`: `ln sum exp(x - max)`.
    pub log_sum: &'a mut Buffer,
    /// `[1]`: what the mean divides by.
    pub total_weight: &'a mut Buffer,
}

/// What forward kept for backward, and the gradient `dy` of its loss.
#[derive(Clone, Copy)]
pub struct CrossEntropySaved<'a> {
    /// The gradient of `loss`, of its shape and dtype.
    pub dy: (&'a Buffer, usize),
    /// As forward gave it.
    pub max: (&'a Buffer, usize),
    /// As forward gave it.
    pub log_sum: (&'a Buffer, usize),
    /// As forward gave it.
    pub total_weight: (&'a Buffer, usize),
}

/// The loss, and what the backward kernel needs of it.
///
/// # Errors
/// A label that is neither a class nor `ignore_index`, before anything is written; a dtype that has no kernel.
#[track_caller]
pub fn cross_entropy_forward(
    inputs: CrossEntropyInputs<'_>,
    outputs: CrossEntropyOutputs<'_>,
    params: CrossEntropyParams,
) -> Result<()> {
    let location = Location::caller();
    let CrossEntropyInputs { logits, labels, weight } = inputs;
    let params = CrossEntropyParams { has_weight: weight.is_some().into(), ..params };
    let mut launch = Launch::new(&CROSS_ENTROPY_FORWARD, logits.0.dtype());
    launch.inputs.extend([logits, labels]);
    launch.inputs.extend(weight);
    launch.outputs.extend([outputs.loss, outputs.max, outputs.log_sum, outputs.total_weight]);
    launch.params(&params).grid([params.rows as usize, 1, 1]).run().map_err(|error| error.at(location))
}

/// `dlogits [rows, V]`, in one pass over the logits.
///
/// # Errors
/// As [`cross_entropy_forward`].
#[track_caller]
pub fn cross_entropy_backward(
    saved: CrossEntropySaved<'_>,
    inputs: CrossEntropyInputs<'_>,
    dlogits: &mut Buffer,
    params: CrossEntropyParams,
) -> Result<()> {
    let location = Location::caller();
    let CrossEntropyInputs { logits, labels, weight } = inputs;
    let CrossEntropySaved { dy, max, log_sum, total_weight } = saved;
    let params = CrossEntropyParams { has_weight: weight.is_some().into(), ..params };
    let mut launch = Launch::new(&CROSS_ENTROPY_BACKWARD, dlogits.dtype());
    launch.inputs.extend([dy, logits, labels, max, log_sum, total_weight]);
    launch.inputs.extend(weight);
    launch.output(dlogits).params(&params).grid([params.rows as usize, 1, 1]).run().map_err(|error| error.at(location))
}

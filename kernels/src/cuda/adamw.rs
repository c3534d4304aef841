//! AdamW on CUDA: formulas are in [`crate::adamw`].

use bytemuck::{Pod, Zeroable};

use super::CudaArgs;
use super::tensor_list::TensorList;
use crate::Result;
use crate::adamw::AdamWParams;

/// The scalars of a step, combined as PyTorch combines them: in `f64` before they are rounded.
#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct Scalars {
    grad_scale: f64,
    decay: f64,
    beta1: f64,
    one_minus_beta1: f64,
    beta2: f64,
    one_minus_beta2: f64,
    negative_step_size: f64,
    root_bias_correction2: f64,
    eps: f64,
    amsgrad: u64,
}

impl Scalars {
    fn new(p: &AdamWParams) -> Scalars {
        Scalars {
            grad_scale: p.grad_scale,
            decay: 1.0 - p.lr * p.weight_decay,
            beta1: p.beta1,
            one_minus_beta1: 1.0 - p.beta1,
            beta2: p.beta2,
            one_minus_beta2: 1.0 - p.beta2,
            negative_step_size: -(p.lr / p.bias_correction1),
            root_bias_correction2: p.bias_correction2.sqrt(),
            eps: p.eps,
            amsgrad: p.amsgrad,
        }
    }
}

#[track_caller]
pub(crate) fn step(args: &mut CudaArgs<'_>) -> Result<()> {
    args.floats_only()?;
    let list = TensorList::new(args)?;
    let [entries, count] = list.params();
    args.stage(args.kernel.entry)
        .blocks(list.chunks)
        .param(entries)
        .param(count)
        .param(Scalars::new(&args.params()))
        .run()
}

//! AdamW on wgpu: formulas are in [`crate::adamw`].

use bytemuck::{Pod, Zeroable};

use super::windows::ranges;
use super::{WgpuArgs, size};
use crate::Result;
use crate::adamw::AdamWParams;

/// The scalars of a step, combined as PyTorch combines them: in `f64` before they are rounded.
#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct Scalars {
    len: u32,
    grad_scale: f32,
    decay: f32,
    beta1: f32,
    one_minus_beta1: f32,
    beta2: f32,
    one_minus_beta2: f32,
    negative_step_size: f32,
    root_bias_correction2: f32,
    eps: f32,
}

impl Scalars {
    fn new(p: &AdamWParams) -> Scalars {
        Scalars {
            len: 0,
            grad_scale: p.grad_scale as f32,
            decay: (1.0 - p.lr * p.weight_decay) as f32,
            beta1: p.beta1 as f32,
            one_minus_beta1: (1.0 - p.beta1) as f32,
            beta2: p.beta2 as f32,
            one_minus_beta2: (1.0 - p.beta2) as f32,
            negative_step_size: -(p.lr / p.bias_correction1) as f32,
            root_bias_correction2: p.bias_correction2.sqrt() as f32,
            eps: p.eps as f32,
        }
    }
}

#[track_caller]
pub(crate) fn step(args: &mut WgpuArgs<'_>) -> Result<()> {
    args.floats_only()?;
    let params: AdamWParams = args.params();
    let scalars = Scalars::new(&params);
    let entry = if params.amsgrad == 1 { "adamw_amsgrad" } else { "adamw" };
    let tensors = args.n_inputs();
    for i in 0..tensors {
        let mut slots = vec![args.input(i)];
        slots.extend((i..args.n_outputs()).step_by(tensors).map(|output| args.output(output)));
        for (first, len) in ranges(&args.device.limits(), &slots, args.output(i).len) {
            let part = |number: usize| slots[number].part(first, len);
            let stage = args.stage(entry).read("grad", part(0)).words("param", part(1));
            let mut stage = stage.write("exp_avg", part(2)).write("exp_avg_sq", part(3));
            if params.amsgrad == 1 {
                stage = stage.write("max_exp_avg_sq", part(4));
            }
            let scalars = Scalars { len: size(len as u64)?, ..scalars };
            stage.params(&scalars).groups_for(len.div_ceil(4 / args.elem.size_bytes())).run()?;
        }
    }
    Ok(())
}

//! Stochastic gradient descent on wgpu: formulas are in [`crate::sgd`].

use bytemuck::{Pod, Zeroable};

use super::{WgpuArgs, size};
use crate::Result;
use crate::sgd::SgdParams;

/// The kernels' `SgdParams`.
#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct Params {
    len: u32,
    nesterov: u32,
    first_step: u32,
    negative_lr: f32,
    momentum: f32,
    fresh: f32,
    weight_decay: f32,
    grad_scale: f32,
}

#[track_caller]
pub(crate) fn step(args: &mut WgpuArgs<'_>) -> Result<()> {
    args.floats_only()?;
    let p: SgdParams = args.params();
    let tensors = args.n_inputs();
    for i in 0..tensors {
        let param = args.output(i);
        let params = Params {
            len: size(param.len as u64)?,
            nesterov: p.nesterov as u32,
            first_step: p.first_step as u32,
            negative_lr: -p.lr as f32,
            momentum: p.momentum as f32,
            fresh: (1.0 - p.dampening) as f32,
            weight_decay: p.weight_decay as f32,
            grad_scale: p.grad_scale as f32,
        };
        let entry = if p.has_momentum == 1 { "sgd_momentum" } else { "sgd" };
        let mut stage = args.stage(entry).read("grad", args.input(i)).words("param", param);
        if p.has_momentum == 1 {
            stage = stage.write("buffer", args.output(tensors + i));
        }
        stage.params(&params).groups_for(param.len.div_ceil(4 / args.elem.size_bytes())).run()?;
    }
    Ok(())
}

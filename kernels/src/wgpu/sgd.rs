//! Stochastic gradient descent on wgpu: formulas are in [`crate::sgd`].

use bytemuck::{Pod, Zeroable};

use super::windows::ranges;
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
    let entry = if p.has_momentum == 1 { "sgd_momentum" } else { "sgd" };
    for i in 0..tensors {
        let mut slots = vec![args.input(i)];
        slots.extend((i..args.n_outputs()).step_by(tensors).map(|output| args.output(output)));
        for (first, len) in ranges(&args.device.limits(), &slots, args.output(i).len) {
            let part = |number: usize| slots[number].part(first, len);
            let mut stage = args.stage(entry).read("grad", part(0)).words("param", part(1));
            if p.has_momentum == 1 {
                stage = stage.write("buffer", part(2));
            }
            stage.params(&params(&p, len)?).groups_for(len.div_ceil(4 / args.elem.size_bytes())).run()?;
        }
    }
    Ok(())
}

#[track_caller]
fn params(p: &SgdParams, len: usize) -> Result<Params> {
    Ok(Params {
        len: size(len as u64)?,
        nesterov: p.nesterov as u32,
        first_step: p.first_step as u32,
        negative_lr: -p.lr as f32,
        momentum: p.momentum as f32,
        fresh: (1.0 - p.dampening) as f32,
        weight_decay: p.weight_decay as f32,
        grad_scale: p.grad_scale as f32,
    })
}

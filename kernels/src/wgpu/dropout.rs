//! Dropout on wgpu; the formula is in [`crate::dropout`].

use bytemuck::{Pod, Zeroable};

use super::elements::elem;
use super::random::{threshold, words};
use super::{WgpuArgs, size};
use crate::Result;

/// The kernel's `DropoutParams`.
#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct Params {
    seed: [u32; 2],
    stream: [u32; 2],
    len: u32,
    threshold: u32,
    scale: f32,
    unused: u32,
}

#[track_caller]
pub(crate) fn forward(args: &mut WgpuArgs<'_>) -> Result<()> {
    args.floats_only()?;
    let crate::dropout::DropoutParams { seed, stream, p } = args.params();
    let scale = if p < 1.0 { 1.0 / (1.0 - p) } else { 0.0 };
    let y = args.output(0);
    // The draw of `fill_bernoulli` with probability 1 - p, as in attention.
    let params = Params {
        seed: words(seed),
        stream: words(stream),
        len: size(y.len as u64)?,
        threshold: threshold(1.0 - p),
        scale: scale as f32,
        unused: 0,
    };
    let stage = args.stage("dropout_forward").read("x", args.input(0)).words("y", y).text(elem(args.elem));
    stage.params(&params).groups_for(y.len.div_ceil(4)).run()
}

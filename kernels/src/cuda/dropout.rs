//! Dropout on CUDA; the formula is in [`crate::dropout`].

use super::CudaArgs;
use crate::Result;
use crate::dropout::DropoutParams;

/// Elements of a thread, at the least.
const PER_THREAD: usize = 4;

#[track_caller]
pub(crate) fn forward(args: &mut CudaArgs<'_>) -> Result<()> {
    args.floats_only()?;
    let DropoutParams { seed, stream, p } = args.params();
    // The draw of `fill_bernoulli` with probability 1 - p, as in attention.
    let below = ((1.0 - p) * 16_777_216.0).ceil() as u32;
    let scale = if p < 1.0 { 1.0 / (1.0 - p) } else { 0.0 };
    let (x, y) = (args.input(0), args.output(0));
    let n = if args.elem.size_bytes() == 2 { 2 * PER_THREAD } else { PER_THREAD };
    let aligned = x.address.is_multiple_of((n * args.elem.size_bytes()) as u64);
    let stage = args.stage("dropout_forward").blocks_for(y.len.div_ceil(PER_THREAD));
    let stage = stage.param(x.address).param(y.address).param(y.len as u64).param([seed, stream]);
    stage.param(below).param(scale).param(u32::from(aligned)).run()
}

//! Random arrays on CUDA: formulas are in [`crate::random`].

use super::CudaArgs;
use crate::Result;
use crate::random::{RandomIntegerParams, RandomParams};

/// Elements of a thread, at the least.
const PER_THREAD: usize = 2;

#[track_caller]
pub(crate) fn floats(args: &mut CudaArgs<'_>) -> Result<()> {
    args.floats_only()?;
    bernoulli(args)
}

#[track_caller]
pub(crate) fn bernoulli(args: &mut CudaArgs<'_>) -> Result<()> {
    let params: RandomParams = args.params();
    fill(args, params)
}

#[track_caller]
pub(crate) fn integers(args: &mut CudaArgs<'_>) -> Result<()> {
    let params: RandomIntegerParams = args.params();
    fill(args, params)
}

#[track_caller]
fn fill(args: &CudaArgs<'_>, params: impl bytemuck::Pod) -> Result<()> {
    let y = args.output(0);
    let stage = args.stage(args.kernel.entry).blocks_for(y.len.div_ceil(PER_THREAD));
    stage.param(y.address).param(y.len as u64).param(params).run()
}

//! The sum of squares over many tensors on CUDA, and clipping by it: method in [`crate::l2_norm`].

use super::CudaArgs;
use crate::l2_norm::{ClipParams, EPS, lens, not_finite};
use crate::{DType, Error, ErrorKind, Result};

/// Elements of a chunk: the kernels' `CHUNK`.
const CHUNK: usize = 8192;

/// Blocks of the first stage: enough for any device, few enough that one block adds up their sums.
const MAX_BLOCKS: usize = 2048;

#[track_caller]
pub(crate) fn squared(args: &mut CudaArgs<'_>) -> Result<()> {
    args.floats_only()?;
    let out = args.output(0);
    if !matches!(out.dtype, DType::F32 | DType::F64) {
        return Err(Error::new(ErrorKind::Unsupported { dtype: out.dtype, device: args.device.name().into() }));
    }
    let addresses: Vec<u64> = (0..args.n_inputs()).map(|index| args.input(index).address).collect();
    let blocks = blocks(args, addresses.len());
    let lens: Vec<u64> = lens(args.params).into_iter().map(|len| len as u64).collect();
    let (lens, tensors) = (args.table(&lens)?, args.table(&addresses)?);
    let partial = args.workspace(blocks * size_of::<f64>())?;
    args.stage(args.kernel.entry)
        .blocks(blocks)
        .param(lens.address())
        .param(tensors.address())
        .param(partial.address())
        .param(addresses.len() as u64)
        .param(blocks as u64)
        .run()?;
    args.stage("l2_norm_total")
        .param(partial.address())
        .param(out.address)
        .param(blocks as u64)
        .param(out.dtype as u32)
        .run()
}

#[track_caller]
pub(crate) fn clip(args: &mut CudaArgs<'_>) -> Result<()> {
    args.floats_only()?;
    let (squared, params): (_, ClipParams) = (args.input(0), args.params());
    let tensors = (0..args.n_outputs()).map(|index| args.output(index));
    let lens: Vec<u64> = tensors.clone().map(|tensor| tensor.len as u64).collect();
    let addresses: Vec<u64> = tensors.map(|tensor| tensor.address).collect();
    let blocks = blocks(args, lens.len());
    let (lens, addresses) = (args.table(&lens)?, args.table(&addresses)?);
    args.stage(args.kernel.entry)
        .blocks(blocks)
        .param(lens.address())
        .param(addresses.address())
        .param(squared.address)
        .param(args.n_outputs() as u64)
        .param(blocks as u64)
        .param(params.max_norm)
        .param(EPS)
        .param(squared.dtype as u32)
        .fault_param("clip_grad_norm", |norm, _, _| not_finite(f64::from_bits(norm as u64)))?
        .run()
}

/// A block for each chunk, or each some of them.
fn blocks(args: &CudaArgs<'_>, tensors: usize) -> usize {
    let elements: usize = args.grid.iter().product();
    (elements.div_ceil(CHUNK) + tensors).min(MAX_BLOCKS)
}

//! Reductions on CUDA: formulas are in [`crate::reduce`], the variants in `cuda/reduce.cu`.

use bytemuck::{Pod, Zeroable};

use super::args::{Stage, THREADS};
use super::{CudaArgs, CudaMemory};
use crate::Result;
use crate::reduce::ReduceParams;

/// Bytes of the largest accumulator: three f64.
const ACC_BYTES: usize = 24;
/// Elements that a thread should have at least before an output goes to several blocks.
const MIN_PER_THREAD: u64 = 16;
/// Parts of an output at most: a warp merges them.
const MAX_PARTS: u64 = 1024;
const WARP: u64 = 32;

/// How outputs and their elements are shared out, as the kernel reads it.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Pod, Zeroable)]
struct Split {
    lanes: u64,
    parts: u64,
    part_len: u64,
}

/// The entry point for a layout, and the split.
fn plan(params: &ReduceParams, size: u64, busy: u64) -> (&'static str, Split) {
    let (kept_len, kept_stride) = params.kept.innermost();
    let (reduced_len, reduced_stride) = params.reduced.innermost();
    let by_columns = kept_len > 1 && reduced_len > 1 && kept_stride.unsigned_abs() < reduced_stride.unsigned_abs();
    let contiguous = params.reduced.rank() == 1 && reduced_stride == 1;
    let threads = u64::from(THREADS);
    let (entry, lanes) = if by_columns {
        ("reduce_columns", threads / params.rows.next_power_of_two().clamp(2, WARP))
    } else if contiguous && params.cols * size >= 16 * WARP {
        // A warp has at most 16 packs for each of its lanes; a longer row is a block's.
        ("reduce_packs", if params.cols * size <= 16 * WARP * 16 { WARP } else { threads })
    } else if params.cols > WARP * MIN_PER_THREAD {
        ("reduce_rows", threads)
    } else {
        ("reduce_rows", params.cols.div_ceil(4).max(1).next_power_of_two().min(WARP))
    };
    let blocks = params.rows.div_ceil(threads / lanes).max(1);
    let parts = (busy / blocks).min(params.cols / (lanes * MIN_PER_THREAD)).clamp(1, MAX_PARTS);
    // Whole packs, so that parts of an aligned row are aligned.
    let part_len = params.cols.div_ceil(parts).next_multiple_of(16).max(1);
    (entry, Split { lanes, parts: params.cols.div_ceil(part_len).max(1), part_len })
}

/// Launches the stages of a reduction whose device code is `op`.
#[track_caller]
fn reduce(args: &CudaArgs<'_>, op: &'static str) -> Result<()> {
    let params: ReduceParams = args.params();
    let (x, y) = (args.input(0).address, args.output(0).address);
    let (rows, busy) = (params.rows as usize, 4 * args.device.multiprocessors());
    let (entry, split) = plan(&params, args.elem.size_bytes() as u64, busy as u64);
    let blocks = rows.div_ceil((u64::from(THREADS) / split.lanes) as usize) * split.parts as usize;
    // Places are found in 32 bits where they suffice.
    let far = params.rows.max(params.cols) > u64::from(u32::MAX);
    let stage = |entry: &'static str| -> Stage<'_> {
        let stage = args.stage(entry).define("OP", op);
        if far { stage.define("FAR", 1) } else { stage }
    };
    if split.parts == 1 {
        return stage(entry).blocks(blocks).param(x).param(y).param(params).param(split).run();
    }
    let accs: CudaMemory = args.workspace(rows * split.parts as usize * ACC_BYTES)?;
    stage(entry).blocks(blocks).param(x).param(accs.address()).param(params).param(split).run()?;
    let blocks = rows.div_ceil((u64::from(THREADS) / WARP) as usize);
    stage("reduce_parts").blocks(blocks).param(accs.address()).param(y).param(params).param(split.parts).run()
}

#[track_caller]
fn reduce_floats(args: &CudaArgs<'_>, op: &'static str) -> Result<()> {
    args.floats_only()?;
    reduce(args, op)
}

#[track_caller]
pub(crate) fn sum(args: &mut CudaArgs<'_>) -> Result<()> {
    reduce(args, "Total")
}

#[track_caller]
pub(crate) fn mean(args: &mut CudaArgs<'_>) -> Result<()> {
    reduce_floats(args, "Mean")
}

#[track_caller]
pub(crate) fn prod(args: &mut CudaArgs<'_>) -> Result<()> {
    reduce(args, "Product")
}

#[track_caller]
pub(crate) fn max(args: &mut CudaArgs<'_>) -> Result<()> {
    reduce(args, "Greatest")
}

#[track_caller]
pub(crate) fn min(args: &mut CudaArgs<'_>) -> Result<()> {
    reduce(args, "Least")
}

#[track_caller]
pub(crate) fn any(args: &mut CudaArgs<'_>) -> Result<()> {
    reduce(args, "Any")
}

#[track_caller]
pub(crate) fn all(args: &mut CudaArgs<'_>) -> Result<()> {
    reduce(args, "All")
}

#[track_caller]
pub(crate) fn argmax(args: &mut CudaArgs<'_>) -> Result<()> {
    reduce(args, "FirstGreatest")
}

#[track_caller]
pub(crate) fn argmin(args: &mut CudaArgs<'_>) -> Result<()> {
    reduce(args, "FirstLeast")
}

#[track_caller]
pub(crate) fn norm(args: &mut CudaArgs<'_>) -> Result<()> {
    let op = match args.params::<ReduceParams>().argument {
        f64::INFINITY => "AbsoluteGreatest",
        f64::NEG_INFINITY => "AbsoluteLeast",
        0.0 => "Count",
        1.0 => "AbsoluteTotal",
        2.0 => "Euclidean",
        _ => "PowerTotal",
    };
    reduce_floats(args, op)
}

#[track_caller]
pub(crate) fn logsumexp(args: &mut CudaArgs<'_>) -> Result<()> {
    reduce_floats(args, "LogSumExp")
}

#[track_caller]
pub(crate) fn var(args: &mut CudaArgs<'_>) -> Result<()> {
    reduce_floats(args, "Variance")
}

#[track_caller]
pub(crate) fn std(args: &mut CudaArgs<'_>) -> Result<()> {
    reduce_floats(args, "Deviation")
}

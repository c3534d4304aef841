//! Sorting on CUDA: the order is described in [`crate::sort`], the method in `cuda/sort.cu`.

use bytemuck::{Pod, Zeroable};

use super::args::Stage;
use super::{CudaArgs, CudaMemory};
use crate::sort::SortParams;
use crate::{DType, Result};

/// Elements that a block sorts or merges in shared memory.
const CHUNK: u64 = 2048;
/// Bytes of workspace beyond which long rows are sorted one group after the other.
const MAX_WORKSPACE: u64 = 1 << 29;

/// Where the runs of all rows are, as the kernel reads it.
#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct Runs {
    keys: u64,
    positions: u64,
    total: u64,
}

/// How runs are merged in one pass, as the kernel reads it.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Pod, Zeroable)]
struct Pass {
    run: u64,
    run_out: u64,
    pairs: u64,
    tiles: u64,
}

impl Pass {
    /// The pass over `total` elements in runs of `run`, of which no more than `k` in a row are wanted.
    fn new(total: u64, run: u64, k: u64) -> Pass {
        let run_out = (2 * run).min(k);
        Pass { run, run_out, pairs: total.div_ceil(2 * run), tiles: run_out.div_ceil(CHUNK) }
    }

    /// How many elements there are after it.
    fn total_out(&self, total: u64) -> u64 {
        let last = total - (self.pairs - 1) * 2 * self.run;
        (self.pairs - 1) * self.run_out + last.min(self.run_out)
    }
}

/// Bytes of a key and of a position.
fn sizes(args: &CudaArgs<'_>, cols: u64) -> (u64, u64) {
    let key = if matches!(args.elem, DType::F64 | DType::I64) { 8 } else { 4 };
    (key, if cols > u64::from(u32::MAX) { 8 } else { 4 })
}

/// A stage of the unit for rows of this length.
fn stage<'a>(args: &CudaArgs<'a>, entry: &'static str, cols: u64) -> Stage<'a> {
    let stage = args.stage(entry);
    if cols > u64::from(u32::MAX) { stage.define("POSITION", "u64") } else { stage }
}

#[track_caller]
pub(crate) fn sort(args: &mut CudaArgs<'_>) -> Result<()> {
    let params: SortParams = args.params();
    if params.k == 0 || params.rows == 0 {
        return Ok(());
    }
    if params.cols <= CHUNK {
        return short_rows(args, params);
    }
    let (key, position) = sizes(args, params.cols);
    let (x, values, indices) = (args.input(0).address, args.output(0).address, args.output(1).address);
    let elem = args.elem.size_bytes() as u64;
    let total = first_total(&params);
    let per_group = (MAX_WORKSPACE / (2 * total * (key + position))).clamp(1, params.rows);
    // Two sides, which the passes read and write by turns.
    let keys = args.workspace((2 * per_group * total * key) as usize)?;
    let positions = args.workspace((2 * per_group * total * position) as usize)?;
    for first in (0..params.rows).step_by(per_group as usize) {
        let group = SortParams { rows: per_group.min(params.rows - first), ..params };
        let x = x + first * params.cols * elem;
        let outputs = [values + first * params.k * elem, indices + first * params.k * 8];
        long_rows(args, group, x, outputs, [&keys, &positions])?;
    }
    Ok(())
}

/// How many elements of a row its chunks pass on.
fn first_total(params: &SortParams) -> u64 {
    let (chunks, run) = (params.cols.div_ceil(CHUNK), params.k.min(CHUNK));
    (chunks - 1) * run + (params.cols - (chunks - 1) * CHUNK).min(run)
}

#[track_caller]
fn short_rows(args: &CudaArgs<'_>, params: SortParams) -> Result<()> {
    let width = params.cols.next_power_of_two();
    let slots = width.saturating_mul(params.rows.next_power_of_two()).min(CHUNK);
    let stage = stage(args, "sort_rows", params.cols).blocks(params.rows.div_ceil(slots / width) as usize);
    let stage = stage.param(args.input(0).address).param(args.output(0).address).param(args.output(1).address);
    stage.param(params).param(slots).param(width).run()
}

/// Sorts chunks, and merges runs until each row is one.
#[track_caller]
fn long_rows(
    args: &CudaArgs<'_>,
    params: SortParams,
    x: u64,
    [values, indices]: [u64; 2],
    [keys, positions]: [&CudaMemory; 2],
) -> Result<()> {
    let (key, position) = sizes(args, params.cols);
    let (rows, mut total) = (params.rows, first_total(&params));
    let half = rows * total;
    let side = |odd: u64, total: u64| Runs {
        keys: keys.address() + odd * half * key,
        positions: positions.address() + odd * half * position,
        total,
    };
    let (chunks, mut run) = (params.cols.div_ceil(CHUNK), params.k.min(CHUNK));
    let chunk_stage = stage(args, "sort_chunks", params.cols).blocks((rows * chunks) as usize);
    chunk_stage.param(x).param(side(0, total)).param(params).param(chunks).param(run).run()?;
    for turn in 0.. {
        let pass = Pass::new(total, run, params.k);
        let from = side(turn % 2, total);
        let blocks = (rows * pass.pairs * pass.tiles) as usize;
        if pass.pairs == 1 {
            let last = stage(args, "sort_merge_last", params.cols).blocks(blocks).param(from);
            return last.param(x).param(values).param(indices).param(params).param(pass).run();
        }
        let to = side((turn + 1) % 2, pass.total_out(total));
        stage(args, "sort_merge", params.cols).blocks(blocks).param(from).param(to).param(rows).param(pass).run()?;
        (total, run) = (to.total, pass.run_out);
    }
    Ok(())
}

//! Scans on CUDA: formulas are in [`crate::scan`], the variants in `cuda/scan.cu`.

use bytemuck::{Pod, Zeroable};

use super::CudaArgs;
use super::args::{Stage, THREADS};
use crate::Result;
use crate::scan::ScanParams;

/// Bytes of the widest accumulator.
const WIDE_BYTES: usize = 8;
/// Elements that a block scans of a line in one go.
const TILE: u64 = 2048;
/// Elements of a column that a thread should have at least.
const MIN_PER_THREAD: u64 = 64;

/// How lines or columns are cut, as the kernel reads it.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Pod, Zeroable)]
struct Split {
    parts: u64,
    part_len: u64,
}

impl Split {
    /// `wanted` parts of whole multiples of `unit`, at most one for each thread of a block.
    fn new(len: u64, wanted: u64, unit: u64) -> Split {
        let wanted = wanted.min(len / unit).clamp(1, u64::from(THREADS));
        let part_len = len.div_ceil(wanted).next_multiple_of(unit);
        Split { parts: len.div_ceil(part_len), part_len }
    }
}

#[track_caller]
pub(crate) fn cumsum(args: &mut CudaArgs<'_>) -> Result<()> {
    scan(args, "Add")
}

#[track_caller]
pub(crate) fn cumprod(args: &mut CudaArgs<'_>) -> Result<()> {
    scan(args, "Multiply")
}

#[track_caller]
fn scan(args: &CudaArgs<'_>, op: &'static str) -> Result<()> {
    let params: ScanParams = args.params();
    let (x, y) = (args.input(0).address, args.output(0).address);
    let rows = params.outer * params.inner;
    if rows * params.len == 0 {
        return Ok(());
    }
    let busy = 8 * args.device.multiprocessors() as u64;
    // A short line is no work for a block: its thread finds it in the cache.
    let by_line = params.inner == 1 && params.len >= 64;
    let split = match by_line {
        true => Split::new(params.len, busy / rows, TILE),
        false => Split::new(params.len, busy * u64::from(THREADS) / rows, MIN_PER_THREAD),
    };
    let (totals, entry) = match by_line {
        true => ("scan_line_totals", "scan_lines"),
        false => ("scan_column_totals", "scan_columns"),
    };
    let units = (rows * split.parts) as usize;
    let stage = |entry: &'static str| -> Stage<'_> {
        let stage = args.stage(entry).define("OP", op);
        if by_line { stage.blocks(units) } else { stage.blocks_for(units) }
    };
    if split.parts == 1 {
        return stage(entry).param(x).param(y).param(0u64).param(params).param(split).run();
    }
    let carries = args.workspace(units * WIDE_BYTES)?;
    stage(totals).param(x).param(carries.address()).param(params).param(split).run()?;
    let stage_of_carries = stage("scan_carries").blocks(rows as usize);
    stage_of_carries.param(carries.address()).param(rows).param(split.parts).run()?;
    stage(entry).param(x).param(y).param(carries.address()).param(params).param(split).run()
}

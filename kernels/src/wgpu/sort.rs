//! Sorting on wgpu: the order is described in [`crate::sort`], the method in `wgsl/sort.wgsl`.

use bytemuck::{Pod, Zeroable};

use super::args::Workspace;
use super::{Slot, Stage, WgpuArgs, size};
use crate::sort::SortParams;
use crate::{DType, Result};

/// Elements that a workgroup sorts or merges in its memory.
const CHUNK: u32 = 1024;
/// Elements of workspace beyond which long rows are sorted one group after the other: enough to keep a GPU busy.
const MAX_WORKSPACE: u32 = 1 << 22;

/// The kernels' `SortParams`.
#[repr(C)]
#[derive(Clone, Copy, Default, Pod, Zeroable)]
struct Params {
    rows: u32,
    cols: u32,
    k: u32,
    descending: u32,
    slots: u32,
    width: u32,
    first_row: u32,
    chunks: u32,
    chunk_run: u32,
    run: u32,
    run_out: u32,
    pairs: u32,
    tiles: u32,
    total: u32,
    total_out: u32,
}

impl Params {
    /// The pass over rows of `total` elements in runs of `run`.
    fn pass(self, total: u32, run: u32) -> Params {
        let (run_out, pairs) = ((2 * run).min(self.k), total.div_ceil(2 * run));
        let last = total - (pairs - 1) * 2 * run;
        let total_out = (pairs - 1) * run_out + last.min(run_out);
        Params { run, run_out, pairs, tiles: run_out.div_ceil(CHUNK), total, total_out, ..self }
    }
}

/// How an element becomes an integer that orders as it does.
fn key(dtype: DType) -> &'static str {
    match dtype {
        DType::I32 => "fn ordered(x: i32) -> u32 { return ordered_i32(x); }",
        _ if dtype.is_float() => "fn ordered(x: f32) -> u32 { return ordered_f32(x); }",
        _ => "fn ordered(x: u32) -> u32 { return ordered_u32(x); }",
    }
}

#[track_caller]
pub(crate) fn sort(args: &mut WgpuArgs<'_>) -> Result<()> {
    let SortParams { rows, cols, k, descending } = args.params();
    if k == 0 || rows == 0 {
        return Ok(());
    }
    let [rows, cols, k, descending] = [size(rows)?, size(cols)?, size(k)?, size(descending)?];
    let params = Params { rows, cols, k, descending, ..Params::default() };
    let values = args.once(0)?;
    let outputs = [values.slot(), args.output(1)];
    match cols <= CHUNK {
        true => short_rows(args, params, outputs)?,
        false => long_rows(args, params, outputs)?,
    }
    values.finish()
}

/// A stage that reads elements.
fn stage<'a>(args: &WgpuArgs<'a>, entry: &'static str, params: &Params) -> Stage<'a> {
    args.stage(entry).read("x", args.input(0)).text(key(args.elem)).params(params)
}

#[track_caller]
fn short_rows(args: &WgpuArgs<'_>, params: Params, [values, indices]: [Slot; 2]) -> Result<()> {
    let width = params.cols.next_power_of_two();
    let slots = (u64::from(width) * u64::from(params.rows).next_power_of_two()).min(u64::from(CHUNK)) as u32;
    let params = Params { slots, width, ..params };
    let stage = stage(args, "sort_rows", &params).write("values", values).write("indices", indices);
    stage.groups(params.rows.div_ceil(slots / width) as usize).run()
}

/// The runs of all rows of a group.
struct Runs {
    keys: Workspace,
    positions: Workspace,
}

impl Runs {
    #[track_caller]
    fn new(args: &WgpuArgs<'_>, len: usize) -> Result<Runs> {
        Ok(Runs { keys: args.workspace(DType::U32, len)?, positions: args.workspace(DType::U32, len)? })
    }

    fn read<'a>(&self, stage: Stage<'a>) -> Stage<'a> {
        stage.read("keys_in", self.keys.slot()).read("positions_in", self.positions.slot())
    }

    fn write<'a>(&self, stage: Stage<'a>) -> Stage<'a> {
        stage.write("keys_out", self.keys.slot()).write("positions_out", self.positions.slot())
    }
}

#[track_caller]
fn long_rows(args: &WgpuArgs<'_>, params: Params, outputs: [Slot; 2]) -> Result<()> {
    let (chunks, chunk_run) = (params.cols.div_ceil(CHUNK), params.k.min(CHUNK));
    let last = (params.cols - (chunks - 1) * CHUNK).min(chunk_run);
    let params = Params { chunks, chunk_run, total: (chunks - 1) * chunk_run + last, ..params };
    let per_group = (MAX_WORKSPACE / params.total).clamp(1, params.rows);
    // Two sides, which the passes read and write by turns.
    let len = per_group as usize * params.total as usize;
    let mut sides = [Runs::new(args, len)?, Runs::new(args, len)?];
    for first_row in (0..params.rows).step_by(per_group as usize) {
        let rows = per_group.min(params.rows - first_row);
        row_group(args, Params { rows, first_row, ..params }, outputs, &mut sides)?;
    }
    Ok(())
}

/// Sorts the chunks of some rows, and merges runs until each row is one.
#[track_caller]
fn row_group(args: &WgpuArgs<'_>, params: Params, [values, indices]: [Slot; 2], sides: &mut [Runs; 2]) -> Result<()> {
    let chunks = sides[0].write(stage(args, "sort_chunks", &params));
    chunks.groups(params.rows as usize * params.chunks as usize).run()?;
    let mut params = params.pass(params.total, params.chunk_run);
    loop {
        let groups = params.rows as usize * params.pairs as usize * params.tiles as usize;
        let [from, to] = &*sides;
        if params.pairs == 1 {
            let last = from.read(stage(args, "sort_merge_last", &params));
            return last.write("values", values).write("indices", indices).groups(groups).run();
        }
        to.write(from.read(args.stage("sort_merge").params(&params))).groups(groups).run()?;
        params = params.pass(params.total_out, params.run_out);
        sides.swap(0, 1);
    }
}

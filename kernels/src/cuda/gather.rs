//! Gathering and scattering on CUDA: formulas are in [`crate::gather`].

use super::groups::{Groups, index_dtype, needs_long, outside, place_bytes, with_places, words};
use super::{CudaArgs, Stage};
use crate::gather::GatherParams;
use crate::{DType, Result};

/// Lines along the dim are walked by a thread each where they are at most this long, or at least this many; else
/// elements are sorted by their target, so that there is work for a whole GPU.
const SHORT: usize = 64;
const MANY: usize = 16_384;

/// The shared end of a stage's parameters.
struct Index {
    params: GatherParams,
    n: usize,
    dtype: u32,
}

impl Index {
    #[track_caller]
    fn new(args: &CudaArgs<'_>) -> Result<Index> {
        let params: GatherParams = args.params();
        Ok(Index { params, n: params.walk.len(), dtype: index_dtype(args.kernel.name, args, 1)? })
    }

    fn of<'a>(&self, stage: Stage<'a>) -> Stage<'a> {
        stage.param(self.params).param(self.n as u64).param(self.dtype)
    }
}

/// A stage of `gather.cu` for elements of `elem`.
fn stage<'a>(args: &CudaArgs<'a>, entry: &'static str, elem: DType) -> Stage<'a> {
    args.stage(entry).unit("gather", elem)
}

#[track_caller]
pub(crate) fn gather(args: &mut CudaArgs<'_>) -> Result<()> {
    direct(args)
}

#[track_caller]
pub(crate) fn scatter(args: &mut CudaArgs<'_>) -> Result<()> {
    let index = Index::new(args)?;
    if index.n == 0 || index.params.walk.standing().0 == 1 {
        return direct(args);
    }
    let (elem, name, y) = (words(args.elem), args.kernel.name, args.output(0));
    let long = needs_long(index.n);
    let winners = args.workspace(place_bytes(y.len, long))?;
    let (src, list) = (args.input(0).address, args.input(1).address);
    let on = |entry| with_places(stage(args, entry, elem), long).blocks_for(index.n);
    let clear = index.of(on("scatter_clear").param(list).param(winners.address()));
    clear.fault_param(name, outside)?.run()?;
    index.of(on("scatter_claim").param(list).param(winners.address())).run()?;
    let write = on("scatter_write").param(src).param(list).param(y.address).param(winners.address());
    index.of(write).run()
}

/// One thread for each element of the index.
#[track_caller]
fn direct(args: &CudaArgs<'_>) -> Result<()> {
    let index = Index::new(args)?;
    if index.n == 0 {
        return Ok(());
    }
    let stage = stage(args, args.kernel.entry, words(args.elem)).blocks_for(index.n);
    let stage = stage.param(args.input(0).address).param(args.input(1).address).param(args.output(0).address);
    index.of(stage).fault_param(args.kernel.name, outside)?.run()
}

#[track_caller]
pub(crate) fn scatter_add(args: &mut CudaArgs<'_>) -> Result<()> {
    let index = Index::new(args)?;
    let (len, inner) = index.params.walk.standing();
    let lines = index.n.checked_div(len).unwrap_or(0);
    match index.n {
        0 => Ok(()),
        _ if len <= SHORT || lines >= MANY => add_lines(args, &index, [lines, len, inner]),
        _ => add_groups(args, &index),
    }
}

#[track_caller]
fn add_lines(args: &CudaArgs<'_>, index: &Index, sizes: [usize; 3]) -> Result<()> {
    let y = args.output(0);
    // Rounding after each addition would lose small ones.
    let is_narrow = matches!(args.elem, DType::F16 | DType::BF16);
    let sums = args.workspace(if is_narrow { 4 * y.len } else { 0 })?;
    let (list, sums) = (args.input(1).address, sums.address());
    let convert = |entry| {
        let stage = stage(args, entry, args.elem).blocks_for(index.n);
        index.of(stage.param(list).param(y.address).param(sums)).run()
    };
    if is_narrow {
        convert("scatter_add_widen")?;
    }
    let lines = stage(args, "scatter_add_lines", args.elem).blocks_for(sizes[0]);
    let mut lines = lines.param(args.input(0).address).param(list).param(y.address).param(sums).param(index.params);
    for size in sizes {
        lines = lines.param(size as u64);
    }
    lines.param(index.dtype).fault_param("scatter_add", outside)?.run()?;
    if is_narrow { convert("scatter_add_round") } else { Ok(()) }
}

#[track_caller]
fn add_groups(args: &CudaArgs<'_>, index: &Index) -> Result<()> {
    let (n, y) = (index.n, args.output(0));
    let long = needs_long(n.max(y.len));
    let on = |entry| with_places(stage(args, entry, args.elem), long).blocks_for(n);
    // 1. The target of each element.
    let keys = args.workspace(place_bytes(n, long))?;
    let targets = on("scatter_add_keys").param(args.input(1).address).param(keys.address());
    let targets = targets.param(index.params).param(n as u64).param(y.len as u64).param(index.dtype);
    targets.fault_param("scatter_add", outside)?.run()?;
    // 2. The elements of each target, in order.
    let groups = Groups::new(args, keys, n, y.len, long)?;
    // 3. Their sums.
    let sums = on("scatter_add_groups").param(args.input(0).address).param(y.address);
    sums.param(groups.keys.address()).param(groups.order.address()).param(n as u64).param(y.len as u64).run()
}

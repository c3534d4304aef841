//! Rows by ids on CUDA: formulas are in [`crate::index`].

use super::groups::{Groups, index_dtype, needs_long, outside, place_bytes, with_places, words};
use super::{CudaArgs, Stage};
use crate::index::{IndexAddParams, IndexParams};
use crate::{DType, Result};

/// Rows added up before their sum goes into the total.
const RUN: usize = 64;

#[track_caller]
pub(crate) fn select(args: &mut CudaArgs<'_>) -> Result<()> {
    pick("index_select", args)
}

#[track_caller]
pub(crate) fn embedding(args: &mut CudaArgs<'_>) -> Result<()> {
    pick("embedding", args)
}

#[track_caller]
pub(crate) fn add(args: &mut CudaArgs<'_>) -> Result<()> {
    sums("index_add", args)
}

#[track_caller]
pub(crate) fn embedding_backward(args: &mut CudaArgs<'_>) -> Result<()> {
    sums("embedding_backward", args)
}

#[track_caller]
pub(crate) fn one_hot(args: &mut CudaArgs<'_>) -> Result<()> {
    let (params, dtype): (IndexParams, u32) = (args.params(), index_dtype("one_hot", args, 0)?);
    let units = (params.n * params.size.max(1)) as usize;
    if units == 0 {
        return Ok(());
    }
    let stage = stage(args, "one_hot", args.elem).blocks_for(units);
    let stage = stage.param(args.input(0).address).param(args.output(0).address).param(params).param(dtype);
    stage.fault_param("one_hot", outside)?.run()
}

/// A stage of `index.cu` for elements of `elem`.
fn stage<'a>(args: &CudaArgs<'a>, entry: &'static str, elem: DType) -> Stage<'a> {
    args.stage(entry).unit("index", elem)
}

#[track_caller]
fn pick(op: &'static str, args: &CudaArgs<'_>) -> Result<()> {
    let (mut params, dtype): (IndexParams, u32) = (args.params(), index_dtype(op, args, 1)?);
    let (x, ids, y) = (args.input(0).address, args.input(1).address, args.output(0).address);
    let row_bytes = params.inner * args.elem.size_bytes() as u64;
    let in_packs = row_bytes > 0 && [row_bytes, x, y].iter().all(|bytes| bytes.is_multiple_of(16));
    let (entry, elem) = if in_packs { ("pick_packs", DType::U8) } else { ("pick", words(args.elem)) };
    if in_packs {
        params.inner = row_bytes / 16;
    }
    // Ids are checked even where rows have no elements.
    let units = params.n * (params.outer * params.inner).max(1);
    if units == 0 {
        return Ok(());
    }
    let stage = stage(args, entry, elem).blocks_for(units as usize);
    stage.param(x).param(ids).param(y).param(params).param(dtype).fault_param(op, outside)?.run()
}

#[track_caller]
fn sums(op: &'static str, args: &CudaArgs<'_>) -> Result<()> {
    let (params, dtype): (IndexAddParams, u32) = (args.params(), index_dtype(op, args, 1)?);
    let [outer, size, n, inner] =
        [params.extents.outer, params.extents.size, params.extents.n, params.extents.inner].map(|size| size as usize);
    let long = needs_long(n.max(size));
    // 1. The places of each id in the list, in order.
    let keys = args.workspace(place_bytes(n, long))?;
    if n > 0 {
        let checked = with_places(stage(args, "index_keys", args.elem), long).blocks_for(n);
        let checked = checked.param(args.input(1).address).param(keys.address()).param(n as u64).param(size as u64);
        checked.param(dtype).fault_param(op, outside)?.run()?;
    }
    if outer * size * inner == 0 {
        return Ok(());
    }
    let groups = Groups::new(args, keys, n, size, long)?;
    let starts = groups.starts(args, n, size, long)?;
    // 2. The sums of runs of long groups.
    let (src, y) = (args.input(0).address, args.output(0).address);
    let vector = vector(args, inner);
    let cols = inner / vector;
    let on = |entry, units| {
        let stage = with_places(stage(args, entry, args.elem), long).blocks_for(units);
        if vector > 1 { stage.define("VECTOR", vector) } else { stage }
    };
    let slots = if n > RUN { 2 * n.div_ceil(RUN) } else { 0 };
    let runs = args.workspace(outer * slots * inner * args.elem.compute().size_bytes())?;
    let (order, starts, runs) = (groups.order.address(), starts.address(), runs.address());
    if slots > 0 {
        let stage = on("index_runs", outer * slots * cols).param(src).param(groups.keys.address());
        stage.param(order).param(starts).param(runs).param(params).run()?;
    }
    // 3. The sums of all groups.
    let stage = on("index_sums", outer * size * cols).param(src).param(order).param(starts).param(runs);
    stage.param(y).param(params).run()
}

/// How many elements of a row a thread takes: 16 bytes' worth of floats where all rows are aligned to that, else 1.
fn vector(args: &CudaArgs<'_>, inner: usize) -> usize {
    let n = 16 / args.elem.size_bytes();
    let aligned = args.input(0).address.is_multiple_of(16) && args.output(0).address.is_multiple_of(16);
    if args.elem.is_float() && aligned && inner.is_multiple_of(n) { n } else { 1 }
}

//! Rows by ids on wgpu: formulas are in [`crate::index`].

use bytemuck::{Pod, Zeroable};

use super::elements::{check_index, elem, outside, sum};
use super::groups::Groups;
use super::{Stage, WgpuArgs, size};
use crate::index::{IndexAddParams, IndexParams};
use crate::{DType, Result};

/// Rows added up before their sum goes into the total.
const RUN: usize = 64;

/// The kernels' `IndexParams`.
#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct Params {
    outer: u32,
    size: u32,
    n: u32,
    inner: u32,
    fresh: u32,
    padding: u32,
    len: u32,
}

impl Params {
    #[track_caller]
    fn new(args: &WgpuArgs<'_>, params: IndexParams) -> Result<Params> {
        Ok(Params {
            outer: size(params.outer)?,
            size: size(params.size)?,
            n: size(params.n)?,
            inner: size(params.inner)?,
            fresh: 0,
            padding: u32::MAX,
            len: size(args.output(0).len as u64)?,
        })
    }
}

#[track_caller]
pub(crate) fn select(args: &mut WgpuArgs<'_>) -> Result<()> {
    pick("index_select", args)
}

#[track_caller]
pub(crate) fn embedding(args: &mut WgpuArgs<'_>) -> Result<()> {
    pick("embedding", args)
}

#[track_caller]
pub(crate) fn add(args: &mut WgpuArgs<'_>) -> Result<()> {
    sums("index_add", args)
}

#[track_caller]
pub(crate) fn embedding_backward(args: &mut WgpuArgs<'_>) -> Result<()> {
    sums("embedding_backward", args)
}

/// A stage of `index.wgsl`.
fn stage<'a>(args: &WgpuArgs<'a>, entry: &'static str, params: &Params) -> Stage<'a> {
    args.stage(entry).file("index").text(elem(args.elem)).params(params)
}

/// How many words the output has.
fn words(args: &WgpuArgs<'_>) -> usize {
    args.output(0).len.div_ceil(4 / args.elem.size_bytes())
}

#[track_caller]
pub(crate) fn one_hot(args: &mut WgpuArgs<'_>) -> Result<()> {
    check_index("one_hot", args, 0)?;
    let params = Params::new(args, args.params())?;
    if params.len == 0 {
        return check_ids("one_hot", args, 0, &params);
    }
    let stage = stage(args, "one_hot", &params).read("ids", args.input(0)).words("y", args.output(0));
    stage.groups_for(words(args)).faults("one_hot", outside).run()
}

/// Rows without elements have ids too.
#[track_caller]
fn check_ids(op: &'static str, args: &WgpuArgs<'_>, input: usize, params: &Params) -> Result<()> {
    let stage = stage(args, "check_ids", params).read("ids", args.input(input));
    stage.groups_for(params.n as usize).faults(op, outside).run()
}

#[track_caller]
fn pick(op: &'static str, args: &WgpuArgs<'_>) -> Result<()> {
    check_index(op, args, 1)?;
    let params = Params::new(args, args.params())?;
    if params.len == 0 {
        return check_ids(op, args, 1, &params);
    }
    let stage = stage(args, "pick", &params).read("x", args.input(0)).read("ids", args.input(1));
    stage.words("y", args.output(0)).groups_for(words(args)).faults(op, outside).run()
}

#[track_caller]
fn sums(op: &'static str, args: &WgpuArgs<'_>) -> Result<()> {
    check_index(op, args, 1)?;
    let IndexAddParams { extents, fresh, padding } = args.params();
    let padding = if padding < 0 { u32::MAX } else { size(padding as u64)? };
    let params = Params { fresh: fresh as u32, padding, ..Params::new(args, extents)? };
    let [outer, rows, n, inner] = [params.outer, params.size, params.n, params.inner].map(|size| size as usize);
    // 1. The places of each id in the list, in order.
    let keys = args.workspace(DType::U32, n)?;
    let checked = stage(args, "index_keys", &params).read("ids", args.input(1)).write("keys", keys.slot());
    checked.groups_for(n).faults(op, outside).run()?;
    if outer * rows * inner == 0 {
        return Ok(());
    }
    let groups = Groups::new(args, keys, n, rows)?;
    let starts = groups.starts(args, n, rows)?;
    // 2. The sums of runs of long groups.
    let src = args.input(0);
    let slots = if n > RUN { 2 * n.div_ceil(RUN) } else { 0 };
    let runs = args.workspace(sum(args.elem), outer * slots * inner)?;
    let on = |entry| stage(args, entry, &params).read("src", src).read("order", groups.order.slot());
    if slots > 0 {
        let stage = on("index_runs").read("starts", starts.slot()).read("keys", groups.keys.slot());
        stage.write("runs", runs.slot()).groups_for(outer * slots * inner).run()?;
    }
    // 3. The sums of all groups.
    let y = if fresh == 0 { args.wide_kept(0)? } else { args.once(0)? };
    let stage = on("index_sums").read("starts", starts.slot()).read("runs", runs.slot());
    stage.write("y", y.slot()).groups_for(outer * rows * inner).run()?;
    y.finish()
}

//! Gathering and scattering on wgpu: formulas are in [`crate::gather`].

use bytemuck::{Pod, Zeroable};

use super::elements::{check_index, elem, outside, sizes, strides};
use super::groups::Groups;
use super::{Stage, WgpuArgs, place, size};
use crate::dims::MAX_RANK;
use crate::{DType, Result};

/// Lines along the dim are walked by an invocation each where they are at most this long, or at least this many; else
/// elements are sorted by their place, so that there is work for a whole GPU.
const SHORT: usize = 64;
const MANY: usize = 16_384;

/// The kernels' `GatherParams`.
#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct Params {
    shape: [u32; MAX_RANK],
    strides: [u32; MAX_RANK],
    rank: u32,
    stride: u32,
    size: u32,
    n: u32,
    lines: u32,
    len: u32,
    inner: u32,
    none: u32,
}

impl Params {
    #[track_caller]
    fn new(args: &WgpuArgs<'_>) -> Result<Params> {
        let params: crate::gather::GatherParams = args.params();
        check_index(args.kernel.name, args, 1)?;
        let (walk, n) = (params.walk, size(params.walk.len() as u64)?);
        let (shape, along) = walk.sizes_and_strides();
        let (len, inner) = walk.standing();
        Ok(Params {
            shape: sizes(shape)?,
            strides: strides(along)?,
            rank: walk.rank() as u32,
            stride: place(params.stride)? as u32,
            size: size(params.size)?,
            n,
            lines: n.checked_div(len as u32).unwrap_or(0),
            len: len as u32,
            inner: inner as u32,
            none: size(args.output(0).len as u64)?,
        })
    }
}

/// A stage with the index bound.
fn stage<'a>(args: &WgpuArgs<'a>, entry: &'static str, params: &Params) -> Stage<'a> {
    let stage = args.stage(entry).file("gather").text(elem(args.elem)).read("index", args.input(1));
    stage.params(params).groups_for(params.n as usize)
}

#[track_caller]
pub(crate) fn gather(args: &mut WgpuArgs<'_>) -> Result<()> {
    let (params, y) = (Params::new(args)?, args.output(0));
    let words = y.len.div_ceil(4 / args.elem.size_bytes());
    let stage = stage(args, "gather", &params).read("x", args.input(0)).words("y", y);
    stage.groups_for(words).faults("gather", outside).run()
}

#[track_caller]
pub(crate) fn scatter(args: &mut WgpuArgs<'_>) -> Result<()> {
    let params = Params::new(args)?;
    if params.n == 0 {
        return Ok(());
    }
    let (src, y) = (args.input(0), args.output(0));
    if params.len == 1 {
        return stage(args, "scatter", &params).read("src", src).scatter("y", y).faults("scatter", outside).run();
    }
    let winners = args.workspace(DType::U32, y.len)?;
    let clear = stage(args, "scatter_clear", &params).scatter("winners", winners.slot());
    clear.faults("scatter", outside).run()?;
    stage(args, "scatter_claim", &params).scatter("winners", winners.slot()).run()?;
    let write = stage(args, "scatter_write", &params).read("winners", winners.slot());
    write.read("src", src).scatter("y", y).run()
}

#[track_caller]
pub(crate) fn scatter_add(args: &mut WgpuArgs<'_>) -> Result<()> {
    let params = Params::new(args)?;
    match params.n {
        0 => Ok(()),
        _ if params.len as usize <= SHORT || params.lines as usize >= MANY => add_lines(args, &params),
        _ => add_groups(args, &params),
    }
}

#[track_caller]
fn add_lines(args: &WgpuArgs<'_>, params: &Params) -> Result<()> {
    let y = args.wide_kept(0)?;
    let lines = stage(args, "scatter_add_lines", params).read("src", args.input(0)).write("y", y.slot());
    lines.groups_for(params.lines as usize).faults("scatter_add", outside).run()?;
    y.finish()
}

#[track_caller]
fn add_groups(args: &WgpuArgs<'_>, params: &Params) -> Result<()> {
    let n = params.n as usize;
    // 1. The place of each element.
    let keys = args.workspace(DType::U32, n)?;
    stage(args, "scatter_add_keys", params).write("keys", keys.slot()).faults("scatter_add", outside).run()?;
    // 2. The elements of each place, in order.
    let groups = Groups::new(args, keys, n, args.output(0).len)?;
    // 3. Their sums.
    let y = args.wide_kept(0)?;
    let sums = args.stage("scatter_add_groups").file("gather").text(elem(args.elem)).params(params).groups_for(n);
    let sums = sums.read("keys", groups.keys.slot()).read("order", groups.order.slot());
    sums.read("src", args.input(0)).write("y", y.slot()).run()?;
    y.finish()
}

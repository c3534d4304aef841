//! Adding to strided elements on wgpu: the formula is in [`crate::copy::add_into`].

use bytemuck::{Pod, Zeroable};

use super::elements::{elem, sizes, strides};
use super::{Slot, WgpuArgs, place, size};
use crate::Result;
use crate::dims::MAX_RANK;
use crate::overlap::{Step, for_each_step};

/// From this many elements on for each element of `y`, a workgroup adds them up.
const MANY: u64 = 64;

/// The kernels' `AddParams`.
#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct Params {
    shape: [u32; MAX_RANK],
    x_strides: [u32; MAX_RANK],
    y_strides: [u32; MAX_RANK],
    inside_shape: [u32; MAX_RANK],
    inside_strides: [u32; MAX_RANK],
    len: u32,
    rank: u32,
    inside_rank: u32,
    n_inside: u32,
    x_offset: u32,
    y_offset: u32,
}

#[track_caller]
pub(crate) fn add_into(args: &mut WgpuArgs<'_>) -> Result<()> {
    let args = &*args;
    let y = args.wide_kept(0)?;
    for_each_step(&args.params(), |step| launch(args, y.slot(), step))?;
    y.finish()
}

/// Adds one step: an invocation or a workgroup for each element of `y`.
#[track_caller]
fn launch(args: &WgpuArgs<'_>, y: Slot, Step { threads, inside, x: x_offset, y: y_offset }: Step<'_>) -> Result<()> {
    let len = threads.iter().map(|dim| dim.len).product::<u64>();
    let n_inside = inside.iter().map(|dim| dim.len).product::<u64>();
    let params = Params {
        shape: sizes(threads.iter().map(|dim| dim.len))?,
        x_strides: strides(threads.iter().map(|dim| dim.x))?,
        y_strides: strides(threads.iter().map(|dim| dim.y))?,
        inside_shape: sizes(inside.iter().map(|dim| dim.len))?,
        inside_strides: strides(inside.iter().map(|dim| dim.x))?,
        len: size(len)?,
        rank: threads.len() as u32,
        inside_rank: inside.len() as u32,
        n_inside: size(n_inside)?,
        x_offset: place(x_offset)? as u32,
        y_offset: place(y_offset)? as u32,
    };
    let stage = match n_inside < MANY {
        true => args.stage("add_into").groups_for(len as usize),
        false => args.stage("add_into_rows").groups(len as usize),
    };
    stage.file("add_into").text(elem(args.elem)).read("x", args.input(0)).write("y", y).params(&params).run()
}

//! Softmax and log-softmax on wgpu: formulas are in [`crate::softmax`].

use bytemuck::{Pod, Zeroable};

use super::rows::row_threads;
use super::wide::Wide;
use super::{Stage, WgpuArgs, size};
use crate::Result;
use crate::softmax::SoftmaxParams;

/// The kernels' `SoftmaxParams`.
#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct Params {
    outer: u32,
    len: u32,
    inner: u32,
    width: u32,
}

#[track_caller]
pub(crate) fn forward(args: &mut WgpuArgs<'_>) -> Result<()> {
    args.floats_only()?;
    let is_log = args.kernel.entry.starts_with("log");
    let columns = if is_log { "log_softmax_forward_columns" } else { "softmax_forward_columns" };
    let y = results(args)?;
    stage(args, columns)?.read("x", args.input(0)).write("y", y.slot()).run()?;
    y.finish()
}

#[track_caller]
pub(crate) fn backward(args: &mut WgpuArgs<'_>) -> Result<()> {
    args.floats_only()?;
    let is_log = args.kernel.entry.starts_with("log");
    let columns = if is_log { "log_softmax_backward_columns" } else { "softmax_backward_columns" };
    let dx = results(args)?;
    stage(args, columns)?.read("y", args.input(0)).read("dy", args.input(1)).write("dx", dx.slot()).run()?;
    dx.finish()
}

/// The output: rows, or columns whose elements are written one by one.
#[track_caller]
fn results<'a>(args: &WgpuArgs<'a>) -> Result<Wide<'a>> {
    let SoftmaxParams { len, inner, .. } = args.params();
    args.runs(0, if inner == 1 { len as usize } else { 1 })
}

/// The kernel's entry where the dim is the last, else the one for columns.
#[track_caller]
fn stage<'a>(args: &WgpuArgs<'a>, columns: &'static str) -> Result<Stage<'a>> {
    let SoftmaxParams { outer, len, inner } = args.params();
    let (outer, len, inner) = (size(outer)?, size(len)?, size(inner)?);
    let outer_if_any = if len == 0 { 0 } else { outer as usize };
    if inner == 1 {
        let stage = args.stage(args.kernel.entry).threads(row_threads(len));
        return Ok(stage.params(&Params { outer, len, inner, width: 1 }).groups(outer_if_any));
    }
    // Neighbouring threads read neighbouring columns; a few columns leave threads for more rows of each.
    let width = inner.next_power_of_two().min(32);
    let groups = outer_if_any * inner.div_ceil(width) as usize;
    Ok(args.stage(columns).params(&Params { outer, len, inner, width }).groups(groups))
}

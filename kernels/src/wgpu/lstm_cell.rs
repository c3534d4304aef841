//! The LSTM cell on wgpu: formulas are in [`crate::lstm_cell`].

use bytemuck::{Pod, Zeroable};

use super::wide::Wide;
use super::{Stage, WgpuArgs, size};
use crate::Result;
use crate::lstm_cell::LstmCellParams;

/// The kernels' `LstmCellParams`.
#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct Params {
    rows: u32,
    cols: u32,
}

#[track_caller]
pub(crate) fn forward(args: &mut WgpuArgs<'_>) -> Result<()> {
    args.floats_only()?;
    let of: LstmCellParams = args.params();
    let [h, c_next] = results(args, &of)?;
    stage(args, &of, h.lanes())?
        .read("gates", args.input(0))
        .read("c", args.input(1))
        .optional("gates_h", (of.has_gates_h != 0).then(|| args.input(2)))
        .write("h", h.slot())
        .write("c_next", c_next.slot())
        .run()?;
    h.finish()?;
    c_next.finish()
}

#[track_caller]
pub(crate) fn backward(args: &mut WgpuArgs<'_>) -> Result<()> {
    args.floats_only()?;
    let of: LstmCellParams = args.params();
    let mut rest = 2..;
    let mut optional = |flag: u64| if flag != 0 { rest.next().map(|index| args.input(index)) } else { None };
    let [gates_h, dh, dc_next] = [of.has_gates_h, of.has_dh, of.has_dc_next].map(&mut optional);
    let [dgates, dc] = results(args, &of)?;
    stage(args, &of, dc.lanes())?
        .read("gates", args.input(0))
        .read("c", args.input(1))
        .optional("gates_h", gates_h)
        .optional("dh", dh)
        .optional("dc_next", dc_next)
        .write("dgates", dgates.slot())
        .write("dc", dc.slot())
        .run()?;
    dgates.finish()?;
    dc.finish()
}

/// The outputs, whose rows are one or several times those of the state.
#[track_caller]
fn results<'a>(args: &WgpuArgs<'a>, of: &LstmCellParams) -> Result<[Wide<'a>; 2]> {
    Ok([args.runs(0, of.cols as usize)?, args.runs(1, of.cols as usize)?])
}

/// The kernel's entry, with an invocation for each `lanes` elements of the state.
#[track_caller]
fn stage<'a>(args: &WgpuArgs<'a>, of: &LstmCellParams, lanes: usize) -> Result<Stage<'a>> {
    let params = Params { rows: size(of.rows)?, cols: size(of.cols)? };
    // The gates are four times as many, and have numbers too.
    let units = size(4 * of.rows * of.cols)? / 4;
    Ok(args.stage(args.kernel.entry).params(&params).groups_for(units as usize / lanes))
}

//! The LSTM cell on CUDA: formulas are in [`crate::lstm_cell`].

use super::{CudaArgs, Stage};
use crate::Result;
use crate::lstm_cell::LstmCellParams;

#[track_caller]
pub(crate) fn forward(args: &mut CudaArgs<'_>) -> Result<()> {
    args.floats_only()?;
    let params: LstmCellParams = args.params();
    let (gates, c) = (args.input(0).address, args.input(1).address);
    let gates_h = if params.has_gates_h != 0 { args.input(2).address } else { 0 };
    let (h, c_next) = (args.output(0).address, args.output(1).address);
    launch(args, params, &[gates, c, gates_h, h, c_next])
}

#[track_caller]
pub(crate) fn backward(args: &mut CudaArgs<'_>) -> Result<()> {
    args.floats_only()?;
    let params: LstmCellParams = args.params();
    let (gates, c) = (args.input(0).address, args.input(1).address);
    let mut rest = 2..;
    let mut optional = |flag: u64| if flag != 0 { rest.next().map_or(0, |at| args.input(at).address) } else { 0 };
    let [gates_h, dh, dc_next] = [params.has_gates_h, params.has_dh, params.has_dc_next].map(&mut optional);
    let (dgates, dc) = (args.output(0).address, args.output(1).address);
    launch(args, params, &[gates, c, gates_h, dh, dc_next, dgates, dc])
}

/// Launches the kernel's entry on these arrays, 0 where there is none.
#[track_caller]
fn launch(args: &CudaArgs<'_>, params: LstmCellParams, arrays: &[u64]) -> Result<()> {
    let units = params.rows * params.cols;
    if units == 0 {
        return Ok(());
    }
    // Sixteen bytes at once where every quarter of a row starts aligned.
    let pack = 16 / args.elem.size_bytes() as u64;
    let is_packed = params.cols.is_multiple_of(pack) && arrays.iter().all(|address| address.is_multiple_of(16));
    let vector = if is_packed { pack } else { 1 };
    let stage = args.stage(args.kernel.entry).blocks_for((units / vector) as usize);
    let stage = if is_packed { stage.define("VECTOR", vector) } else { stage };
    arrays.iter().fold(stage, |stage: Stage<'_>, &address| stage.param(address)).param(params).run()
}

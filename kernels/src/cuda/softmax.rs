//! Softmax and log-softmax on CUDA: formulas are in [`crate::softmax`].

use super::rows::RowPlan;
use super::{CudaArgs, Stage};
use crate::Result;
use crate::softmax::SoftmaxParams;

#[track_caller]
pub(crate) fn forward(args: &mut CudaArgs<'_>) -> Result<()> {
    args.floats_only()?;
    let arrays = [args.input(0).address, args.output(0).address];
    if args.kernel.entry.starts_with("log") {
        run(args, "log_softmax_forward", "log_softmax_forward_columns", &arrays)
    } else {
        run(args, "softmax_forward", "softmax_forward_columns", &arrays)
    }
}

#[track_caller]
pub(crate) fn backward(args: &mut CudaArgs<'_>) -> Result<()> {
    args.floats_only()?;
    let arrays = [args.input(0).address, args.input(1).address, args.output(0).address];
    if args.kernel.entry.starts_with("log") {
        run(args, "log_softmax_backward", "log_softmax_backward_columns", &arrays)
    } else {
        run(args, "softmax_backward", "softmax_backward_columns", &arrays)
    }
}

/// Rows where the dim is the last, else columns.
#[track_caller]
fn run(args: &CudaArgs<'_>, rows: &'static str, columns: &'static str, arrays: &[u64]) -> Result<()> {
    let params: SoftmaxParams = args.params();
    let SoftmaxParams { outer, len, inner } = params;
    if outer == 0 || len == 0 || inner == 0 {
        return Ok(());
    }
    if inner == 1 {
        let stage = RowPlan::new(args.elem, len as usize, arrays).stage(args, rows, outer as usize);
        return with_arrays(stage, arrays).param(params).run();
    }
    // Neighbouring threads read neighbouring columns; a few columns leave threads for more rows of each.
    let width = inner.next_power_of_two().min(32);
    let blocks = outer as usize * inner.div_ceil(width) as usize;
    with_arrays(args.stage(columns).blocks(blocks), arrays).param(params).param(width as u32).run()
}

fn with_arrays<'a>(stage: Stage<'a>, arrays: &[u64]) -> Stage<'a> {
    arrays.iter().fold(stage, |stage, &address| stage.param(address))
}

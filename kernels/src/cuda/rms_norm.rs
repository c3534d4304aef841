//! Root-mean-square normalisation on CUDA: formulas are in [`crate::rms_norm`].

use super::CudaArgs;
use super::rows::{ColumnSums, RowPlan};
use crate::Result;
use crate::rms_norm::RmsNormParams;

#[track_caller]
pub(crate) fn forward(args: &mut CudaArgs<'_>) -> Result<()> {
    args.floats_only()?;
    let params: RmsNormParams = args.params();
    let (x, weight) = (args.input(0).address, args.optional_input(1));
    let [y, rstd] = [0, 1].map(|index| args.output(index).address);
    RowPlan::new(args.elem, params.cols as usize, &[x, weight, y])
        .stage(args, args.kernel.entry, params.rows as usize)
        .param(x)
        .param(weight)
        .param(y)
        .param(rstd)
        .param(params)
        .run()
}

#[track_caller]
pub(crate) fn backward(args: &mut CudaArgs<'_>) -> Result<()> {
    args.floats_only()?;
    let params: RmsNormParams = args.params();
    let (rows, cols) = (params.rows as usize, params.cols as usize);
    if cols == 0 {
        return Ok(());
    }
    let [dy, x, rstd] = [0, 1, 2].map(|index| args.input(index).address);
    let weight = args.optional_input(3);
    let dx = args.output(0).address;
    let plan = RowPlan::with_sums(args.elem, cols, &[dy, x, weight, dx]);
    let sums = ColumnSums::new(args, &plan, rows, cols, params.has_dweight as usize)?;
    plan.stage(args, args.kernel.entry, sums.groups)
        .param(dy)
        .param(x)
        .param(rstd)
        .param(weight)
        .param(dx)
        .param(sums.address())
        .param(params)
        .param(sums.groups as u64)
        .run()?;
    sums.finish(args)
}

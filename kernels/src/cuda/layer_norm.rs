//! Layer normalisation on CUDA: formulas are in [`crate::layer_norm`].

use super::CudaArgs;
use super::rows::{ColumnSums, RowPlan};
use crate::Result;
use crate::layer_norm::LayerNormParams;

#[track_caller]
pub(crate) fn forward(args: &mut CudaArgs<'_>) -> Result<()> {
    args.floats_only()?;
    let params: LayerNormParams = args.params();
    let (has_weight, has_bias) = (params.has_weight != 0, params.has_bias != 0);
    let x = args.input(0).address;
    let weight = if has_weight { args.input(1).address } else { 0 };
    let bias = if has_bias { args.input(1 + usize::from(has_weight)).address } else { 0 };
    let [y, mean, rstd] = [0, 1, 2].map(|index| args.output(index).address);
    RowPlan::new(args.elem, params.cols as usize, &[x, weight, bias, y])
        .stage(args, args.kernel.entry, params.rows as usize)
        .param(x)
        .param(weight)
        .param(bias)
        .param(y)
        .param(mean)
        .param(rstd)
        .param(params)
        .run()
}

#[track_caller]
pub(crate) fn backward(args: &mut CudaArgs<'_>) -> Result<()> {
    args.floats_only()?;
    let params: LayerNormParams = args.params();
    let (rows, cols) = (params.rows as usize, params.cols as usize);
    if cols == 0 {
        return Ok(());
    }
    let [dy, x, mean, rstd] = [0, 1, 2, 3].map(|index| args.input(index).address);
    let weight = args.optional_input(4);
    let dx = args.output(0).address;
    let plan = RowPlan::with_sums(args.elem, cols, &[dy, x, weight, dx]);
    let sums = ColumnSums::new(args, &plan, rows, cols, (params.has_dweight + params.has_dbias) as usize)?;
    plan.stage(args, args.kernel.entry, sums.groups)
        .param(dy)
        .param(x)
        .param(mean)
        .param(rstd)
        .param(weight)
        .param(dx)
        .param(sums.address())
        .param(params)
        .param(sums.groups as u64)
        .run()?;
    sums.finish(args)
}

//! Root-mean-square normalisation on wgpu: formulas are in [`crate::rms_norm`].

use bytemuck::{Pod, Zeroable};

use super::rows::{ColumnSums, row_threads};
use super::{WgpuArgs, size};
use crate::Result;
use crate::rms_norm::RmsNormParams;

/// The kernels' `RmsNormParams`.
#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct Params {
    rows: u32,
    cols: u32,
    eps: f32,
    has_weight: u32,
    groups: u32,
}

impl Params {
    #[track_caller]
    fn new(params: &RmsNormParams) -> Result<Params> {
        let RmsNormParams { rows, cols, eps, has_weight, .. } = *params;
        Ok(Params { rows: size(rows)?, cols: size(cols)?, eps: eps as f32, has_weight: has_weight as u32, groups: 0 })
    }
}

#[track_caller]
pub(crate) fn forward(args: &mut WgpuArgs<'_>) -> Result<()> {
    args.floats_only()?;
    let of: RmsNormParams = args.params();
    let params = Params::new(&of)?;
    let y = args.runs(0, params.cols as usize)?;
    args.stage("rms_norm_forward")
        .read("x", args.input(0))
        .optional("weight", (of.has_weight != 0).then(|| args.input(1)))
        .write("y", y.slot())
        .write("rstd_out", args.output(1))
        .threads(row_threads(params.cols))
        .params(&params)
        .groups(params.rows as usize)
        .run()?;
    y.finish()
}

#[track_caller]
pub(crate) fn backward(args: &mut WgpuArgs<'_>) -> Result<()> {
    args.floats_only()?;
    let of: RmsNormParams = args.params();
    let params = Params::new(&of)?;
    if params.cols == 0 {
        return Ok(());
    }
    let [dy, x, rstd] = [0, 1, 2].map(|index| args.input(index));
    let weight = (of.has_weight != 0).then(|| args.input(3));
    let dx = args.runs(0, params.cols as usize)?;
    args.stage("rms_norm_backward")
        .read("dy", dy)
        .read("x", x)
        .read("rstd", rstd)
        .optional("weight", weight)
        .write("dx", dx.slot())
        .threads(row_threads(params.cols))
        .params(&params)
        .groups(params.rows as usize)
        .run()?;
    dx.finish()?;
    let sums = ColumnSums::new(args, params.rows, params.cols, of.has_dweight as u32)?;
    args.stage("rms_norm_backward_sums")
        .read("dy", dy)
        .read("x", x)
        .read("rstd", rstd)
        .write("partial", sums.slot())
        .params(&Params { groups: sums.groups, ..params })
        .groups(sums.workgroups())
        .run()?;
    sums.finish(args)
}

//! Layer normalisation on wgpu: formulas are in [`crate::layer_norm`].

use bytemuck::{Pod, Zeroable};

use super::rows::{ColumnSums, row_threads};
use super::{WgpuArgs, size};
use crate::Result;
use crate::layer_norm::LayerNormParams;

/// The kernels' `LayerNormParams`.
#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct Params {
    rows: u32,
    cols: u32,
    eps: f32,
    has_weight: u32,
    has_dweight: u32,
    has_dbias: u32,
    groups: u32,
}

impl Params {
    #[track_caller]
    fn new(params: &LayerNormParams) -> Result<Params> {
        Ok(Params {
            rows: size(params.rows)?,
            cols: size(params.cols)?,
            eps: params.eps as f32,
            has_weight: params.has_weight as u32,
            has_dweight: params.has_dweight as u32,
            has_dbias: params.has_dbias as u32,
            groups: 0,
        })
    }
}

#[track_caller]
pub(crate) fn forward(args: &mut WgpuArgs<'_>) -> Result<()> {
    args.floats_only()?;
    let of: LayerNormParams = args.params();
    let params = Params::new(&of)?;
    let mut rest = 1..;
    let mut optional = |flag: u64| if flag != 0 { rest.next().map(|index| args.input(index)) } else { None };
    let [weight, bias] = [of.has_weight, of.has_bias].map(&mut optional);
    let y = args.runs(0, params.cols as usize)?;
    args.stage("layer_norm_forward")
        .read("x", args.input(0))
        .optional("weight", weight)
        .optional("bias", bias)
        .write("y", y.slot())
        .write("mean_out", args.output(1))
        .write("rstd_out", args.output(2))
        .threads(row_threads(params.cols))
        .params(&params)
        .groups(params.rows as usize)
        .run()?;
    y.finish()
}

#[track_caller]
pub(crate) fn backward(args: &mut WgpuArgs<'_>) -> Result<()> {
    args.floats_only()?;
    let of: LayerNormParams = args.params();
    let params = Params::new(&of)?;
    if params.cols == 0 {
        return Ok(());
    }
    let [dy, x, mean, rstd] = [0, 1, 2, 3].map(|index| args.input(index));
    let weight = (of.has_weight != 0).then(|| args.input(4));
    let dx = args.runs(0, params.cols as usize)?;
    args.stage("layer_norm_backward")
        .read("dy", dy)
        .read("x", x)
        .read("mean", mean)
        .read("rstd", rstd)
        .optional("weight", weight)
        .write("dx", dx.slot())
        .threads(row_threads(params.cols))
        .params(&params)
        .groups(params.rows as usize)
        .run()?;
    dx.finish()?;
    let sums = ColumnSums::new(args, params.rows, params.cols, params.has_dweight + params.has_dbias)?;
    args.stage("layer_norm_backward_sums")
        .read("dy", dy)
        .read("x", x)
        .read("mean", mean)
        .read("rstd", rstd)
        .write("partial", sums.slot())
        .params(&Params { groups: sums.groups, ..params })
        .groups(sums.workgroups())
        .run()?;
    sums.finish(args)
}

//! Layer normalisation of each row of a contiguous `x [rows, cols]` (Ba, Kiros and Hinton, 2016, arXiv:1607.06450).
//!
//! ```text
//! mean = sum(x) / cols      rstd = 1 / sqrt(sum((x - mean)^2) / cols + eps)
//! xhat = (x - mean) rstd    y = xhat weight + bias
//!
//! g = dy weight             dx = rstd (g - sum(g) / cols - xhat sum(g xhat) / cols)
//! dweight = sum over rows of dy xhat                          dbias = sum over rows of dy
//! ```
//!
//! The variance takes a second pass over the row, and the mean is corrected by the mean of what is left after it is
//! subtracted, so that a mean much larger than the deviation costs no digits. Sums are taken in `f32`, in `f64` for
//! `f64`; those over rows in blocks that the shape alone fixes.

use bytemuck::{Pod, Zeroable};

use crate::{Buffer, Kernel, Launch, Result, cpu};

/// What the layer-norm kernels read beside their buffers.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Debug, Pod, Zeroable)]
pub struct LayerNormParams {
    /// How many rows are normalised, each by itself.
    pub rows: u64,
    /// The elements of a row.
    pub cols: u64,
    /// Added to the variance.
    pub eps: f64,
    /// 1 where a weight is the input after `x`.
    pub has_weight: u64,
    /// Forward: 1 where a bias is the input after those.
    pub has_bias: u64,
    /// Backward: 1 where the gradient of the weight is the output after `dx`.
    pub has_dweight: u64,
    /// Backward: 1 where the gradient of the bias is the output after those.
    pub has_dbias: u64,
}

impl LayerNormParams {
    /// Extents and `eps`; the functions below set the flags from the buffers that they are given.
    pub fn new(rows: usize, cols: usize, eps: f64) -> LayerNormParams {
        LayerNormParams { rows: rows as u64, cols: cols as u64, eps, ..LayerNormParams::zeroed() }
    }
}

/// `x, [weight], [bias] -> y, mean, rstd`.
pub static LAYER_NORM_FORWARD: Kernel = Kernel {
    name: "layer_norm",
    entry: "layer_norm_forward",
    cpu: cpu::layer_norm::forward,
    #[cfg(feature = "cuda")]
    cuda: crate::cuda::layer_norm::forward,
    #[cfg(feature = "wgpu")]
    wgpu: crate::wgpu::layer_norm::forward,
};
/// `dy, x, mean, rstd, [weight] -> dx, [dweight], [dbias]`.
pub static LAYER_NORM_BACKWARD: Kernel = Kernel {
    name: "layer_norm",
    entry: "layer_norm_backward",
    cpu: cpu::layer_norm::backward,
    #[cfg(feature = "cuda")]
    cuda: crate::cuda::layer_norm::backward,
    #[cfg(feature = "wgpu")]
    wgpu: crate::wgpu::layer_norm::backward,
};

/// What the forward kernel reads, each with the element at which its data start.
#[derive(Clone, Copy)]
pub struct LayerNormInputs<'a> {
    /// `[rows, cols]`.
    pub x: (&'a Buffer, usize),
    /// `[cols]`; ones where absent.
    pub weight: Option<(&'a Buffer, usize)>,
    /// `[cols]`; zeros where absent.
    pub bias: Option<(&'a Buffer, usize)>,
}

/// What the forward kernel writes.
pub struct LayerNormOutputs<'a> {
    /// `[rows, cols]`, of the dtype of `x`.
    pub y: &'a mut Buffer,
    /// `[rows]`, of the compute dtype.
    pub mean: &'a mut Buffer,
    /// `[rows]`, of the compute dtype.
    pub rstd: &'a mut Buffer,
}

/// What the backward kernel reads, each with the element at which its data start.
#[derive(Clone, Copy)]
pub struct LayerNormSaved<'a> {
    /// The gradient of `y`, `[rows, cols]`.
    pub dy: (&'a Buffer, usize),
    /// As in forward.
    pub x: (&'a Buffer, usize),
    /// As forward gave it.
    pub mean: (&'a Buffer, usize),
    /// As forward gave it.
    pub rstd: (&'a Buffer, usize),
    /// As in forward.
    pub weight: Option<(&'a Buffer, usize)>,
}

/// What the backward kernel writes; gradients that are not wanted are left out.
pub struct LayerNormGradients<'a> {
    /// `[rows, cols]`.
    pub dx: &'a mut Buffer,
    /// `[cols]`.
    pub dweight: Option<&'a mut Buffer>,
    /// `[cols]`.
    pub dbias: Option<&'a mut Buffer>,
}

/// `y`, `mean` and `rstd` from `x`, `weight` and `bias`, which have one dtype.
///
/// # Errors
/// A dtype that is no float.
#[track_caller]
pub fn layer_norm_forward(
    inputs: LayerNormInputs<'_>,
    outputs: LayerNormOutputs<'_>,
    params: LayerNormParams,
) -> Result<()> {
    let LayerNormInputs { x, weight, bias } = inputs;
    let params = LayerNormParams { has_weight: weight.is_some().into(), has_bias: bias.is_some().into(), ..params };
    let mut launch = Launch::new(&LAYER_NORM_FORWARD, outputs.y.dtype()).input(x.0, x.1);
    launch.inputs.extend(weight);
    launch.inputs.extend(bias);
    launch
        .output(outputs.y)
        .output(outputs.mean)
        .output(outputs.rstd)
        .params(&params)
        .grid([params.rows as usize, 1, 1])
        .run()
}

/// `dx`, and the gradients of weight and bias where wanted.
///
/// # Errors
/// A dtype that is no float.
#[track_caller]
pub fn layer_norm_backward(
    saved: LayerNormSaved<'_>,
    gradients: LayerNormGradients<'_>,
    params: LayerNormParams,
) -> Result<()> {
    let LayerNormSaved { dy, x, mean, rstd, weight } = saved;
    let LayerNormGradients { dx, dweight, dbias } = gradients;
    let params = LayerNormParams {
        has_weight: weight.is_some().into(),
        has_dweight: dweight.is_some().into(),
        has_dbias: dbias.is_some().into(),
        ..params
    };
    let mut launch = Launch::new(&LAYER_NORM_BACKWARD, dx.dtype());
    launch.inputs.extend([dy, x, mean, rstd]);
    launch.inputs.extend(weight);
    launch.outputs.push(dx);
    launch.outputs.extend(dweight);
    launch.outputs.extend(dbias);
    launch.params(&params).grid([params.rows as usize, 1, 1]).run()
}

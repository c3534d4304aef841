//! Root-mean-square normalisation of each row of a contiguous `x [rows, cols]` (Zhang and Sennrich, 2019,
//! arXiv:1910.07467).
//!
//! ```text
//! rstd = 1 / sqrt(sum(x^2) / cols + eps)      xhat = x rstd      y = xhat weight
//!
//! g = dy weight      dx = rstd (g - xhat sum(g xhat) / cols)     dweight = sum over rows of dy xhat
//! ```
//!
//! Sums are taken in `f32`, in `f64` for `f64`; those over rows in blocks that the shape alone fixes. Where the sum of
//! squares overflows, it is taken of the row divided by its largest magnitude, so any finite row has a finite result.

use bytemuck::{Pod, Zeroable};

use crate::{Buffer, Kernel, Launch, Result, cpu};

/// What the rms-norm kernels read beside their buffers.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Debug, Pod, Zeroable)]
pub struct RmsNormParams {
    /// How many rows are normalised, each by itself.
    pub rows: u64,
    /// The elements of a row.
    pub cols: u64,
    /// Added to the mean of squares.
    pub eps: f64,
    /// 1 where a weight is the last input.
    pub has_weight: u64,
    /// Backward: 1 where the gradient of the weight is the output after `dx`.
    pub has_dweight: u64,
}

impl RmsNormParams {
    /// Extents and `eps`; the functions below set the flags from the buffers that they are given.
    pub fn new(rows: usize, cols: usize, eps: f64) -> RmsNormParams {
        RmsNormParams { rows: rows as u64, cols: cols as u64, eps, ..RmsNormParams::zeroed() }
    }
}

/// `x, [weight] -> y, rstd`.
pub static RMS_NORM_FORWARD: Kernel = Kernel {
    name: "rms_norm",
    entry: "rms_norm_forward",
    cpu: cpu::rms_norm::forward,
    #[cfg(feature = "cuda")]
    cuda: crate::cuda::rms_norm::forward,
    #[cfg(feature = "wgpu")]
    wgpu: crate::wgpu::rms_norm::forward,
};
/// `dy, x, rstd, [weight] -> dx, [dweight]`.
pub static RMS_NORM_BACKWARD: Kernel = Kernel {
    name: "rms_norm",
    entry: "rms_norm_backward",
    cpu: cpu::rms_norm::backward,
    #[cfg(feature = "cuda")]
    cuda: crate::cuda::rms_norm::backward,
    #[cfg(feature = "wgpu")]
    wgpu: crate::wgpu::rms_norm::backward,
};

/// `y [rows, cols]` of the dtype of `x` and `rstd [rows]` of the compute dtype, from `x [rows, cols]` and
/// `weight [cols]`, ones where absent.
///
/// # Errors
/// A dtype that is no float.
#[track_caller]
pub fn rms_norm_forward(
    x: (&Buffer, usize),
    weight: Option<(&Buffer, usize)>,
    y: &mut Buffer,
    rstd: &mut Buffer,
    params: RmsNormParams,
) -> Result<()> {
    let params = RmsNormParams { has_weight: weight.is_some().into(), ..params };
    let mut launch = Launch::new(&RMS_NORM_FORWARD, y.dtype()).input(x.0, x.1);
    launch.inputs.extend(weight);
    launch.output(y).output(rstd).params(&params).grid([params.rows as usize, 1, 1]).run()
}

/// What the backward kernel reads, each with the element at which its data start.
#[derive(Clone, Copy)]
pub struct RmsNormSaved<'a> {
    /// The gradient of `y`, `[rows, cols]`.
    pub dy: (&'a Buffer, usize),
    /// As in forward.
    pub x: (&'a Buffer, usize),
    /// As forward gave it.
    pub rstd: (&'a Buffer, usize),
    /// As in forward.
    pub weight: Option<(&'a Buffer, usize)>,
}

/// `dx [rows, cols]`, and `dweight [cols]` where wanted.
///
/// # Errors
/// A dtype that is no float.
#[track_caller]
pub fn rms_norm_backward(
    saved: RmsNormSaved<'_>,
    dx: &mut Buffer,
    dweight: Option<&mut Buffer>,
    params: RmsNormParams,
) -> Result<()> {
    let RmsNormSaved { dy, x, rstd, weight } = saved;
    let params = RmsNormParams { has_weight: weight.is_some().into(), has_dweight: dweight.is_some().into(), ..params };
    let mut launch = Launch::new(&RMS_NORM_BACKWARD, dx.dtype());
    launch.inputs.extend([dy, x, rstd]);
    launch.inputs.extend(weight);
    let mut outputs = vec![dx];
    outputs.extend(dweight);
    launch.outputs = outputs;
    launch.params(&params).grid([params.rows as usize, 1, 1]).run()
}

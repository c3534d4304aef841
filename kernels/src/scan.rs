//! Cumulative sums and products along one dim of a contiguous array `[outer, len, inner]`.
//!
//! ```text
//! cumsum   y[o, t, i] = x[o, 0, i] + ... + x[o, t, i]         reversed: x[o, t, i] + ... + x[o, len - 1, i]
//! cumprod  y[o, t, i] = x[o, 0, i] * ... * x[o, t, i]         reversed likewise
//! ```
//!
//! Every float accumulates in f64 on the host, because one after another in f32 the errors of a long scan add up
//! (PyTorch does the same); integers and bool in wrapping i64, which is also what they are stored as. wgpu has neither: it
//! accumulates in pairs of f32 and in 32 bits.

use bytemuck::{Pod, Zeroable};

use crate::{Buffer, DType, Device, Kernel, Launch, Result, cpu};

/// Which scan.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ScanOp {
    /// The cumulative sum.
    Sum,
    /// The cumulative product.
    Prod,
}

/// The extents of the array, and where the scan starts.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Pod, Zeroable)]
pub struct ScanParams {
    /// The product of the dims before the one that is scanned.
    pub outer: u64,
    /// The extent of the dim that is scanned.
    pub len: u64,
    /// The product of the dims after it.
    pub inner: u64,
    /// 1 to start from the end, 0 else.
    pub reversed: u64,
}

/// Cumulative sums.
pub static CUMSUM: Kernel = Kernel {
    name: "scan",
    entry: "cumsum",
    cpu: cpu::scan::cumsum,
    #[cfg(feature = "cuda")]
    cuda: crate::cuda::scan::cumsum,
    #[cfg(feature = "wgpu")]
    wgpu: crate::wgpu::scan::cumsum,
};
/// Cumulative products.
pub static CUMPROD: Kernel = Kernel {
    name: "scan",
    entry: "cumprod",
    cpu: cpu::scan::cumprod,
    #[cfg(feature = "cuda")]
    cuda: crate::cuda::scan::cumprod,
    #[cfg(feature = "wgpu")]
    wgpu: crate::wgpu::scan::cumprod,
};

impl ScanOp {
    /// The dtype of the output for inputs of `dtype` on `device`: integers and bool give [`Device::sum_dtype`].
    pub fn output_dtype(self, dtype: DType, device: &Device) -> DType {
        if dtype.is_float() { dtype } else { device.sum_dtype(dtype) }
    }
}

/// Scans the contiguous `x` into `y`, whose dtype is [`ScanOp::output_dtype`].
#[track_caller]
pub fn scan(op: ScanOp, x: (&Buffer, usize), params: ScanParams, y: &mut Buffer) -> Result<()> {
    debug_assert_eq!(y.dtype(), op.output_dtype(x.0.dtype(), &y.device()));
    debug_assert_eq!(y.len() as u64, params.outer * params.len * params.inner);
    let kernel = match op {
        ScanOp::Sum => &CUMSUM,
        ScanOp::Prod => &CUMPROD,
    };
    let grid = [params.outer as usize, params.inner as usize, 1];
    Launch::new(kernel, x.0.dtype()).input(x.0, x.1).output(y).params(&params).grid(grid).run()
}

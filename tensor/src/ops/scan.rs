//! Cumulative sums and products along a dim.

use chainrule_kernels::scan::{self, ScanOp, ScanParams};

use crate::{Result, Tensor};

impl Tensor {
    #[track_caller]
    fn scan(&self, name: &'static str, op: ScanOp, dim: isize) -> Result<Tensor> {
        let [outer, len, inner] = self.around(name, dim)?.map(|size| size as u64);
        let x = self.contiguous()?;
        Tensor::build(&self.device(), op.output_dtype(self.dtype(), &self.device()), *self.shape(), |y| {
            scan::scan(op, x.place(), ScanParams { outer, len, inner, reversed: 0 }, y)
        })
    }

    /// The sums of all elements up to each one along a dim: `y_t = x_0 + ... + x_t`. Integers and bool give
    /// [`Device::sum_dtype`](crate::Device::sum_dtype), which is i64 but on wgpu.
    ///
    /// Floats add up in f64 (in pairs of f32 on wgpu), so long scans do not drift.
    ///
    /// # Errors
    /// A dim that does not exist.
    ///
    /// ```
    /// use chainrule_tensor::{Device, Tensor};
    /// let x = Tensor::new([1.0f32, 2.0, 3.0], &Device::Cpu)?;
    /// assert_eq!(x.cumsum(0)?.to_vec::<f32>()?, [1.0, 3.0, 6.0]);
    /// # Ok::<(), chainrule_tensor::Error>(())
    /// ```
    ///
    /// Source: `torch.cumsum`.
    #[track_caller]
    pub fn cumsum(&self, dim: isize) -> Result<Tensor> {
        self.scan("cumsum", ScanOp::Sum, dim)
    }

    /// The products of all elements up to each one along a dim: `y_t = x_0 * ... * x_t`. Integers and bool give
    /// [`Device::sum_dtype`](crate::Device::sum_dtype).
    ///
    /// Floats are multiplied in f64, in pairs of f32 on wgpu.
    ///
    /// # Errors
    /// A dim that does not exist.
    ///
    /// ```
    /// use chainrule_tensor::{Device, Tensor};
    /// let x = Tensor::new([2.0f32, 3.0, 4.0], &Device::Cpu)?;
    /// assert_eq!(x.cumprod(0)?.to_vec::<f32>()?, [2.0, 6.0, 24.0]);
    /// # Ok::<(), chainrule_tensor::Error>(())
    /// ```
    ///
    /// Source: `torch.cumprod`.
    #[track_caller]
    pub fn cumprod(&self, dim: isize) -> Result<Tensor> {
        self.scan("cumprod", ScanOp::Prod, dim)
    }
}

//! Variance, norms and logarithms of sums. Formulas and methods are those of [`chainrule_kernels::reduce`].

use chainrule_kernels::reduce::ReduceOp;

use crate::{Dims, Result, Tensor};

impl Tensor {
    /// The variance over some dims: `y = sum_i (x_i - mean)^2 / max(0, n - correction)`.
    ///
    /// `correction` 1 estimates the variance of what the elements were drawn from, 0 is that of the elements
    /// themselves. Two passes, in f32 (f64 for f64), so a large mean does no harm. NaN where there is nothing to
    /// divide by.
    ///
    /// # Errors
    /// Integers and bool; a dim that does not exist or is named twice.
    ///
    /// ```
    /// use chainrule_tensor::{Device, Tensor};
    /// let x = Tensor::new([1.0f32, 2.0, 3.0, 6.0], &Device::Cpu)?;
    /// assert_eq!(x.var(.., 0.0, false)?.item::<f32>()?, 3.5);
    /// # Ok::<(), chainrule_tensor::Error>(())
    /// ```
    ///
    /// Source: `torch.var`.
    #[track_caller]
    pub fn var(&self, dims: impl Into<Dims>, correction: f64, keepdim: bool) -> Result<Tensor> {
        self.reduce_floats("var", ReduceOp::Var { correction }, dims.into(), keepdim)
    }

    /// The standard deviation over some dims: the square root of [`Tensor::var`].
    ///
    /// ```
    /// use chainrule_tensor::{Device, Tensor};
    /// let x = Tensor::new([1.0f32, 5.0], &Device::Cpu)?;
    /// assert_eq!(x.std(.., 0.0, false)?.item::<f32>()?, 2.0);
    /// # Ok::<(), chainrule_tensor::Error>(())
    /// ```
    ///
    /// Source: `torch.std`.
    #[track_caller]
    pub fn std(&self, dims: impl Into<Dims>, correction: f64, keepdim: bool) -> Result<Tensor> {
        self.reduce_floats("std", ReduceOp::Std { correction }, dims.into(), keepdim)
    }

    /// The norm of order `p` over some dims: `y = (sum_i |x_i|^p)^(1/p)`; the count of elements that are not 0 for
    /// `p = 0`, the greatest (least) `|x_i|` for `p` infinite (minus infinite). 0 of nothing.
    ///
    /// # Errors
    /// Integers and bool; a dim that does not exist or is named twice.
    ///
    /// ```
    /// use chainrule_tensor::{Device, Tensor};
    /// let x = Tensor::new([3.0f32, -4.0], &Device::Cpu)?;
    /// assert_eq!(x.norm(2.0, .., false)?.item::<f32>()?, 5.0);
    /// assert_eq!(x.norm(f64::INFINITY, .., false)?.item::<f32>()?, 4.0);
    /// # Ok::<(), chainrule_tensor::Error>(())
    /// ```
    ///
    /// # Differences
    /// PyTorch refuses the infinite norms of nothing.
    ///
    /// Source: `torch.linalg.vector_norm`.
    #[track_caller]
    pub fn norm(&self, p: f64, dims: impl Into<Dims>, keepdim: bool) -> Result<Tensor> {
        self.reduce_floats("norm", ReduceOp::Norm { p }, dims.into(), keepdim)
    }

    /// `y = ln(sum_i exp(x_i))` over some dims, taken relative to the greatest so that nothing overflows; minus infinity
    /// of nothing.
    ///
    /// # Errors
    /// Integers and bool; a dim that does not exist or is named twice.
    ///
    /// ```
    /// use chainrule_tensor::{Device, Tensor};
    /// let x = Tensor::new([1000.0f64, 1000.0], &Device::Cpu)?;
    /// assert_eq!(x.logsumexp(.., false)?.item::<f64>()?, 1000.0 + 2f64.ln());
    /// # Ok::<(), chainrule_tensor::Error>(())
    /// ```
    ///
    /// # Differences
    /// PyTorch takes integers and gives f32.
    ///
    /// Source: `torch.logsumexp`.
    #[track_caller]
    pub fn logsumexp(&self, dims: impl Into<Dims>, keepdim: bool) -> Result<Tensor> {
        self.reduce_floats("logsumexp", ReduceOp::LogSumExp, dims.into(), keepdim)
    }
}

//! Softmax and log-softmax over one dim, and their backward passes.

use chainrule_kernels::softmax::{self, SoftmaxParams};

use crate::{DType, Error, Result, Shape, Tensor, resolve_dim};

/// The array as the kernels see it: `[outer, len, inner]` with the dim in the middle.
fn params(shape: &Shape, dim: usize) -> SoftmaxParams {
    let product = |sizes: &[usize]| sizes.iter().product::<usize>() as u64;
    match shape.get(dim) {
        Some(&len) => {
            SoftmaxParams { outer: product(&shape[..dim]), len: len as u64, inner: product(&shape[dim + 1..]) }
        }
        None => SoftmaxParams { outer: 1, len: 1, inner: 1 },
    }
}

impl Tensor {
    /// `y_i = exp(x_i) / sum_j exp(x_j)`, with the sum over one dim.
    ///
    /// The maximum is subtracted first, so nothing overflows. A run that is all negative infinity, or that holds
    /// positive infinity or NaN, gives NaN. Sums are taken in `f32`, in `f64` for `f64`.
    ///
    /// # Errors
    /// A dim that does not exist, or a dtype that is no float.
    ///
    /// ```
    /// use chainrule_tensor::{Device, Tensor};
    /// let x = Tensor::new([0.0f64, 0.0, 3f64.ln()], &Device::Cpu)?;
    /// let y = x.softmax(-1)?.to_vec::<f64>()?;
    /// assert!(y.iter().zip([0.2, 0.2, 0.6]).all(|(y, want)| (y - want).abs() < 1e-15));
    /// # Ok::<(), chainrule_tensor::Error>(())
    /// ```
    ///
    /// Source: `torch.softmax`.
    #[track_caller]
    pub fn softmax(&self, dim: isize) -> Result<Tensor> {
        let (dim, x) = (resolve_dim("softmax", dim, self.shape())?, self.float_rows("softmax")?);
        Tensor::build(&x.device(), x.dtype(), *x.shape(), |y| {
            softmax::softmax_forward((x.buffer(), x.layout().offset()), y, params(x.shape(), dim))
        })
    }

    /// `dx = y (dy - sum(y dy))` of [`Tensor::softmax`], from its result (this tensor) and the gradient of it.
    ///
    /// # Errors
    /// Another shape or dtype of `dy`.
    #[track_caller]
    pub fn softmax_backward(&self, dy: &Tensor, dim: isize) -> Result<Tensor> {
        let (y, dy, params) = self.with_gradient("softmax", dy, dim)?;
        Tensor::build(&y.device(), y.dtype(), *y.shape(), |dx| {
            let (y, dy) = ((y.buffer(), y.layout().offset()), (dy.buffer(), dy.layout().offset()));
            softmax::softmax_backward(y, dy, dx, params)
        })
    }

    /// `y_i = x_i - ln sum_j exp(x_j)`, with the sum over one dim: the logarithm of [`Tensor::softmax`], without its
    /// loss of digits where that is small.
    ///
    /// # Errors
    /// A dim that does not exist, or a dtype that is no float.
    ///
    /// ```
    /// use chainrule_tensor::{Device, Tensor};
    /// let x = Tensor::new([1000.0f64, 1000.0], &Device::Cpu)?;
    /// assert_eq!(x.log_softmax(0)?.to_vec::<f64>()?, [-2f64.ln(), -2f64.ln()]);
    /// # Ok::<(), chainrule_tensor::Error>(())
    /// ```
    ///
    /// Source: `torch.log_softmax`.
    #[track_caller]
    pub fn log_softmax(&self, dim: isize) -> Result<Tensor> {
        let (dim, x) = (resolve_dim("log_softmax", dim, self.shape())?, self.float_rows("log_softmax")?);
        Tensor::build(&x.device(), x.dtype(), *x.shape(), |y| {
            softmax::log_softmax_forward((x.buffer(), x.layout().offset()), y, params(x.shape(), dim))
        })
    }

    /// `dx = dy - exp(y) sum(dy)` of [`Tensor::log_softmax`], from its result (this tensor) and the gradient of it.
    ///
    /// # Errors
    /// Another shape or dtype of `dy`.
    #[track_caller]
    pub fn log_softmax_backward(&self, dy: &Tensor, dim: isize) -> Result<Tensor> {
        let (y, dy, params) = self.with_gradient("log_softmax", dy, dim)?;
        Tensor::build(&y.device(), y.dtype(), *y.shape(), |dx| {
            let (y, dy) = ((y.buffer(), y.layout().offset()), (dy.buffer(), dy.layout().offset()));
            softmax::log_softmax_backward(y, dy, dx, params)
        })
    }

    /// This tensor and its gradient, both row-major, and the extents around `dim`.
    #[track_caller]
    fn with_gradient(&self, op: &'static str, dy: &Tensor, dim: isize) -> Result<(Tensor, Tensor, SoftmaxParams)> {
        let dim = resolve_dim(op, dim, self.shape())?;
        let dy = dy.gradient_of(op, self.shape(), self.dtype())?;
        self.same_device(op, &dy)?;
        Ok((self.float_rows(op)?, dy, params(self.shape(), dim)))
    }

    /// This tensor in row-major order.
    ///
    /// # Errors
    /// A dtype that is no float.
    #[track_caller]
    pub(crate) fn float_rows(&self, op: &'static str) -> Result<Tensor> {
        if !self.dtype().is_float() {
            return Err(Error::dtype(op, format!("got {}, expected a float: cast with to_dtype", self.dtype())));
        }
        self.contiguous()
    }

    /// This tensor in row-major order, as the gradient of a result of the shape and dtype given.
    #[track_caller]
    pub(crate) fn gradient_of(&self, op: &'static str, shape: &Shape, dtype: DType) -> Result<Tensor> {
        if self.shape() != shape || self.dtype() != dtype {
            let got = format!("the gradient is {} of {}", self.shape(), self.dtype());
            return Err(Error::shape(op, format!("{got}, expected {shape} of {dtype}, as the result")));
        }
        self.contiguous()
    }
}

//! Matrix products: one kernel, reached by PyTorch's rules for 1-d to n-d operands.

use chainrule_kernels::matmul::{self, Epilogue, MatmulParams, Precision, Then};

use crate::ops::linear::{LinearForward, LinearOptions, LinearThen};
use crate::{Buffer, DType, Error, Result, Shape, Tensor};

impl Tensor {
    /// The matrix product over the last two dims: `c[.., m, n] = sum over k of a[.., m, k] b[.., k, n]`.
    ///
    /// a `[.., M, K]`, b `[.., K, N]`, result `[.., M, N]`; the leading dims broadcast. A 1-d `a` is a row `[1, K]` and a
    /// 1-d `b` a column `[K, 1]`, and that dim is absent from the result, so two 1-d tensors give their dot product.
    /// Operands of any strides are read in place: no transposed, sliced or broadcast operand is copied. f16, bf16 and f32
    /// accumulate in f32 and round once, f64 in f64, integers in wrapping 64-bit arithmetic.
    ///
    /// # Errors
    /// A 0-d operand, sizes K that differ, leading dims that do not broadcast, bool, different dtypes or devices.
    ///
    /// ```
    /// use chainrule_tensor::{Device, Tensor};
    /// let a = Tensor::new([[1.0f32, 2.0], [3.0, 4.0]], &Device::Cpu)?;
    /// let x = Tensor::new([10.0f32, 1.0], &Device::Cpu)?;
    /// assert_eq!(a.matmul(&x)?.to_vec::<f32>()?, [12.0, 34.0]);
    /// assert_eq!(a.matmul(&a)?.to_vec::<f32>()?, [7.0, 10.0, 15.0, 22.0]);
    /// # Ok::<(), chainrule_tensor::Error>(())
    /// ```
    ///
    /// Source: `torch.matmul`.
    #[track_caller]
    pub fn matmul(&self, other: &Tensor) -> Result<Tensor> {
        self.matmul_with(other, Precision::Full)
    }

    /// As [`Tensor::matmul`], with f32 multiplied as precisely as is said.
    ///
    /// # Errors
    /// As [`Tensor::matmul`].
    #[track_caller]
    pub fn matmul_with(&self, other: &Tensor, precision: Precision) -> Result<Tensor> {
        self.check_operand("matmul", "the second operand", other)?;
        let (rows, cols) = (self.rank() > 1, other.rank() > 1);
        if self.rank() == 0 || other.rank() == 0 {
            let message = format!("needs at least 1 dim each, got shapes {} and {}", self.shape(), other.shape());
            return Err(Error::shape("matmul", message + ": use mul for numbers"));
        }
        let (k, other_k) = (self.size(-1)?, other.size(if cols { -2 } else { -1 })?);
        if k != other_k {
            let message = format!(
                "shapes {} and {}: the last dim of the first ({k}) and the {}dim of the second ({other_k}) differ",
                self.shape(),
                other.shape(),
                if cols { "second-last " } else { "" }
            );
            return Err(Error::shape("matmul", message));
        }
        let a = if rows { self.clone() } else { self.unsqueeze(0)? };
        let b = if cols { other.clone() } else { other.unsqueeze(-1)? };
        let c = a.product("matmul", &b, &LinearOptions { precision, ..LinearOptions::default() })?.y;
        match (rows, cols) {
            (true, true) => Ok(c),
            (false, true) => c.squeeze(-2),
            (true, false) => c.squeeze(-1),
            (false, false) => c.squeeze([-2, -1]),
        }
    }

    /// `sum over i of a[i] b[i]` of two 1-d tensors, as a 0-d tensor. Accumulates as [`Tensor::matmul`].
    ///
    /// # Errors
    /// Operands that are not 1-d and of one length, different dtypes or devices.
    ///
    /// ```
    /// use chainrule_tensor::{Device, Tensor};
    /// let x = Tensor::new([1.0f32, 2.0, 3.0], &Device::Cpu)?;
    /// assert_eq!(x.dot(&x)?.item::<f32>()?, 14.0);
    /// # Ok::<(), chainrule_tensor::Error>(())
    /// ```
    ///
    /// Source: `torch.dot`.
    #[track_caller]
    pub fn dot(&self, other: &Tensor) -> Result<Tensor> {
        if self.rank() != 1 || self.shape() != other.shape() {
            let message = format!("got shapes {} and {}, expected [N] both", self.shape(), other.shape());
            return Err(Error::shape("dot", message));
        }
        self.matmul(other).map_err(|error| error.in_op("dot"))
    }

    /// `c[i, j] = a[i] b[j]` of two 1-d tensors: `[M]` and `[N]` give `[M, N]`.
    ///
    /// # Errors
    /// Operands that are not 1-d, different devices.
    ///
    /// ```
    /// use chainrule_tensor::{Device, Tensor};
    /// let x = Tensor::new([1.0f32, 2.0], &Device::Cpu)?;
    /// assert_eq!(x.outer(&x)?.to_vec::<f32>()?, [1.0, 2.0, 2.0, 4.0]);
    /// # Ok::<(), chainrule_tensor::Error>(())
    /// ```
    ///
    /// Source: `torch.outer`.
    #[track_caller]
    pub fn outer(&self, other: &Tensor) -> Result<Tensor> {
        if self.rank() != 1 || other.rank() != 1 {
            let message = format!("got shapes {} and {}, expected [M] and [N]", self.shape(), other.shape());
            return Err(Error::shape("outer", message));
        }
        self.unsqueeze(-1)?.mul(other)
    }

    /// Refuses an operand of another dtype or device, and dtypes without a product.
    #[track_caller]
    pub(crate) fn check_operand(&self, op: &'static str, name: &str, other: &Tensor) -> Result<()> {
        self.same_device(op, other)?;
        if other.dtype() != self.dtype() {
            let message = format!("{name} is {}, expected {} as the first operand", other.dtype(), self.dtype());
            return Err(Error::dtype(op, message + ": cast one with to_dtype"));
        }
        if self.dtype() == DType::Bool {
            return Err(Error::dtype(op, "is not defined for bool: cast with to_dtype"));
        }
        Ok(())
    }

    /// The product of `[.., M, K]` and `[.., K, N]`, whose sizes K agree, and what the options say of it: a bias is `[N]`,
    /// a residual has as many elements as the result.
    #[track_caller]
    pub(crate) fn product(
        &self,
        op: &'static str,
        other: &Tensor,
        options: &LinearOptions<'_>,
    ) -> Result<LinearForward> {
        let (rank_a, rank_b) = (self.rank(), other.rank());
        let (m, k, n) = (self.shape()[rank_a - 2], self.shape()[rank_a - 1], other.shape()[rank_b - 1]);
        let leading = |x: &Tensor| Shape::new(&x.shape()[..x.rank() - 2]);
        let batch = Shape::broadcast(op, &leading(self)?, &leading(other)?)?;
        let full = |rows: usize, cols: usize| Shape::new(&[&batch[..], &[rows, cols]].concat());
        let (a, b) = (self.layout().expand(op, full(m, k)?)?, other.layout().expand(op, full(k, n)?)?);
        let last_two = |strides: &[isize]| [strides[batch.rank()] as i64, strides[batch.rank() + 1] as i64];
        let params = MatmulParams {
            a_strides: last_two(a.strides()),
            b_strides: last_two(b.strides()),
            bias_stride: options.bias.map_or(0, |bias| bias.layout().strides()[0] as i64),
            ..MatmulParams::new(m, n, k).with_precision(options.precision)
        };
        let dims: Vec<(usize, i64, i64)> =
            (0..batch.rank()).map(|dim| (batch[dim], a.strides()[dim] as i64, b.strides()[dim] as i64)).collect();
        let too_many = || Error::shape(op, format!("{batch} are more leading dims than the kernel takes: reshape"));
        let params = params.with_batch(&dims).ok_or_else(too_many)?;
        let (a, b) = ((self.buffer(), a.offset()), (other.buffer(), b.offset()));
        self.finished(full(m, n)?, options, |c, epilogue| matmul::matmul(a, b, epilogue, c, &params))
    }

    /// What `multiply` writes, given the result's buffer and what it is finished with.
    #[track_caller]
    fn finished(
        &self,
        shape: Shape,
        options: &LinearOptions<'_>,
        multiply: impl FnOnce(&mut Buffer, Epilogue<'_>) -> Result<()>,
    ) -> Result<LinearForward> {
        let keeps_pre = matches!(options.then, LinearThen::Gelu { keeps_pre: true, .. });
        let allocate = || Buffer::allocate(&self.device(), self.dtype(), shape.elements());
        let mut pre = keeps_pre.then(allocate).transpose()?;
        let residual = match options.then {
            LinearThen::Add(residual) => Some(residual.contiguous()?),
            _ => None,
        };
        let y = Tensor::build(&self.device(), self.dtype(), shape, |c| {
            let then = match (options.then, &residual) {
                (LinearThen::Gelu { form, .. }, _) => Then::Gelu { form, pre: pre.as_mut() },
                (_, Some(residual)) => Then::Add { residual: (residual.buffer(), residual.layout().offset()) },
                _ => Then::Store,
            };
            let bias = options.bias.map(|bias| (bias.buffer(), bias.layout().offset()));
            multiply(c, Epilogue { bias, then })
        })?;
        Ok(LinearForward { y, pre: pre.map(|pre| Tensor::from_buffer(pre, shape)) })
    }
}

//! Matrix products: one kernel, reached by PyTorch's rules for 1-d to n-d operands.

use chainrule_kernels::matmul::{self, MatmulParams};

use crate::{DType, Error, Result, Shape, Tensor};

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
        let c = a.product("matmul", &b, None)?;
        match (rows, cols) {
            (true, true) => Ok(c),
            (false, true) => c.squeeze(-2),
            (true, false) => c.squeeze(-1),
            (false, false) => c.squeeze([-2, -1]),
        }
    }

    /// `y = x weight^T + bias`, in one pass.
    ///
    /// x `[.., in]`, weight `[out, in]`, bias `[out]`, y `[.., out]`. Accumulates as [`Tensor::matmul`].
    ///
    /// # Errors
    /// Shapes that are not these, different dtypes or devices.
    ///
    /// ```
    /// use chainrule_tensor::{Device, Tensor};
    /// let x = Tensor::new([1.0f32, 2.0], &Device::Cpu)?;
    /// let weight = Tensor::new([[1.0f32, 0.0], [0.0, 1.0], [1.0, 1.0]], &Device::Cpu)?;
    /// let bias = Tensor::new([10.0f32, 20.0, 30.0], &Device::Cpu)?;
    /// assert_eq!(x.linear(&weight, Some(&bias))?.to_vec::<f32>()?, [11.0, 22.0, 33.0]);
    /// # Ok::<(), chainrule_tensor::Error>(())
    /// ```
    ///
    /// Source: `torch.nn.functional.linear`.
    #[track_caller]
    pub fn linear(&self, weight: &Tensor, bias: Option<&Tensor>) -> Result<Tensor> {
        self.check_operand("linear", "weight", weight)?;
        let &[outputs, inputs] = &weight.shape()[..] else {
            return Err(Error::shape("linear", format!("weight has shape {}, expected [out, in]", weight.shape())));
        };
        if self.rank() == 0 || self.size(-1)? != inputs {
            let message = format!(
                "weight has shape {}, expected [{outputs}, {}]",
                weight.shape(),
                self.shape().last().copied().unwrap_or(0)
            );
            return Err(Error::shape("linear", format!("{message} to match the last dim of x {}", self.shape())));
        }
        if let Some(bias) = bias {
            self.check_operand("linear", "bias", bias)?;
            if bias.shape()[..] != [outputs] {
                let message = format!("bias has shape {}, expected [{outputs}]", bias.shape());
                return Err(Error::shape("linear", format!("{message} to match weight {}", weight.shape())));
            }
        }
        let x = if self.rank() == 1 { self.unsqueeze(0)? } else { self.clone() };
        let y = x.product("linear", &weight.transpose(0, 1)?, bias)?;
        if self.rank() == 1 { y.squeeze(0) } else { Ok(y) }
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
    fn check_operand(&self, op: &'static str, name: &str, other: &Tensor) -> Result<()> {
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

    /// The product of `[.., M, K]` and `[.., K, N]`, whose sizes K agree, with a bias `[N]` added to each row.
    #[track_caller]
    fn product(&self, op: &'static str, other: &Tensor, bias: Option<&Tensor>) -> Result<Tensor> {
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
            bias_stride: bias.map_or(0, |bias| bias.layout().strides()[0] as i64),
            ..MatmulParams::new(m, n, k)
        };
        let dims: Vec<(usize, i64, i64)> =
            (0..batch.rank()).map(|dim| (batch[dim], a.strides()[dim] as i64, b.strides()[dim] as i64)).collect();
        let too_many = || Error::shape(op, format!("{batch} are more leading dims than the kernel takes: reshape"));
        let params = params.with_batch(&dims).ok_or_else(too_many)?;
        let bias = bias.map(|bias| (bias.buffer(), bias.layout().offset()));
        Tensor::build(&self.device(), self.dtype(), full(m, n)?, |c| {
            matmul::matmul((self.buffer(), a.offset()), (other.buffer(), b.offset()), bias, c, &params)
        })
    }
}

//! Fully connected layers: the product of `matmul.rs` with what follows it in one pass.

use chainrule_kernels::matmul::{Gelu, Precision};

use crate::{Error, Result, Shape, Tensor};

/// What [`Tensor::linear_forward`] does beside the product. The default is nothing.
#[derive(Clone, Copy, Default)]
pub struct LinearOptions<'a> {
    /// `[out]`, added to every row.
    pub bias: Option<&'a Tensor>,
    /// What follows.
    pub then: LinearThen<'a>,
    /// How precisely f32 is multiplied.
    pub precision: Precision,
}

/// What follows the product and its bias.
#[derive(Clone, Copy, Default)]
pub enum LinearThen<'a> {
    /// Nothing.
    #[default]
    Nothing,
    /// The GELU.
    Gelu {
        /// Which.
        form: Gelu,
        /// Whether the pre-activation, its operand, is given too.
        keeps_pre: bool,
    },
    /// The sum with a tensor of the result's shape.
    Add(&'a Tensor),
}

/// What [`Tensor::linear_forward`] gives.
pub struct LinearForward {
    /// The result.
    pub y: Tensor,
    /// What its GELU was taken of, where that was asked for.
    pub pre: Option<Tensor>,
}

impl LinearOptions<'_> {
    /// The op that these options make of a linear layer, for messages.
    fn op(&self) -> &'static str {
        match self.then {
            LinearThen::Nothing => "linear",
            LinearThen::Gelu { .. } => "linear_gelu",
            LinearThen::Add(_) => "linear_add",
        }
    }
}

impl Tensor {
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
        Ok(self.linear_forward(weight, &LinearOptions { bias, ..LinearOptions::default() })?.y)
    }

    /// `y = gelu(x weight^T + bias)`, in one pass on a GPU, with the bits of [`Tensor::linear`] and [`Tensor::gelu`] (or
    /// [`Tensor::gelu_tanh`]) one after the other.
    ///
    /// x `[.., in]`, weight `[out, in]`, bias `[out]`, y `[.., out]`, all of one float dtype. The sum accumulates as
    /// [`Tensor::matmul`] and is rounded before its GELU, which is computed in f32 (f64 in f64) and rounded again.
    ///
    /// # Errors
    /// As [`Tensor::linear`]; a dtype that is no float.
    ///
    /// ```
    /// use chainrule_tensor::{Device, Gelu, Tensor};
    /// let x = Tensor::new([1.0f32, 2.0], &Device::Cpu)?;
    /// let weight = Tensor::new([[2.0f32, -1.0], [30.0, 30.0], [-30.0, -30.0]], &Device::Cpu)?;
    /// // Far from zero the GELU is the identity or zero.
    /// assert_eq!(x.linear_gelu(&weight, None, Gelu::Exact)?.to_vec::<f32>()?, [0.0, 90.0, 0.0]);
    /// # Ok::<(), chainrule_tensor::Error>(())
    /// ```
    ///
    /// Source: `torch.nn.functional.gelu` of `torch.nn.functional.linear`, where `approximate` is `none` or `tanh`.
    #[track_caller]
    pub fn linear_gelu(&self, weight: &Tensor, bias: Option<&Tensor>, form: Gelu) -> Result<Tensor> {
        let then = LinearThen::Gelu { form, keeps_pre: false };
        Ok(self.linear_forward(weight, &LinearOptions { bias, then, ..LinearOptions::default() })?.y)
    }

    /// `y = x weight^T + bias + residual`, in one pass.
    ///
    /// x `[.., in]`, weight `[out, in]`, bias `[out]`, residual and y `[.., out]`. Accumulates as [`Tensor::matmul`] and
    /// rounds once, after the residual. A residual that is not contiguous is copied first.
    ///
    /// # Errors
    /// As [`Tensor::linear`]; a residual that has not the shape of the result.
    ///
    /// ```
    /// use chainrule_tensor::{Device, Tensor};
    /// let x = Tensor::new([1.0f32, 2.0], &Device::Cpu)?;
    /// let weight = Tensor::new([[1.0f32, 0.0], [1.0, 1.0]], &Device::Cpu)?;
    /// let residual = Tensor::new([0.5f32, 0.25], &Device::Cpu)?;
    /// assert_eq!(x.linear_add(&weight, None, &residual)?.to_vec::<f32>()?, [1.5, 3.25]);
    /// # Ok::<(), chainrule_tensor::Error>(())
    /// ```
    ///
    /// Source: `residual + torch.nn.functional.linear(x, weight, bias)`.
    #[track_caller]
    pub fn linear_add(&self, weight: &Tensor, bias: Option<&Tensor>, residual: &Tensor) -> Result<Tensor> {
        let then = LinearThen::Add(residual);
        Ok(self.linear_forward(weight, &LinearOptions { bias, then, ..LinearOptions::default() })?.y)
    }

    /// [`Tensor::linear`], [`Tensor::linear_gelu`] or [`Tensor::linear_add`], by the options, with what a backward pass
    /// needs of it.
    ///
    /// # Errors
    /// As these.
    #[track_caller]
    pub fn linear_forward(&self, weight: &Tensor, options: &LinearOptions<'_>) -> Result<LinearForward> {
        self.check_linear(weight, options)?;
        let x = if self.rank() == 1 { self.unsqueeze(0)? } else { self.clone() };
        let LinearForward { y, pre } = x.product(options.op(), &weight.transpose(0, 1)?, options)?;
        let squeeze = |y: Tensor| if self.rank() == 1 { y.squeeze(0) } else { Ok(y) };
        Ok(LinearForward { y: squeeze(y)?, pre: pre.map(squeeze).transpose()? })
    }

    /// Refuses operands that do not fit.
    #[track_caller]
    fn check_linear(&self, weight: &Tensor, options: &LinearOptions<'_>) -> Result<()> {
        let op = options.op();
        self.check_operand(op, "weight", weight)?;
        let &[outputs, inputs] = &weight.shape()[..] else {
            return Err(Error::shape(op, format!("weight has shape {}, expected [out, in]", weight.shape())));
        };
        if self.rank() == 0 || self.size(-1)? != inputs {
            let message = format!(
                "weight has shape {}, expected [{outputs}, {}]",
                weight.shape(),
                self.shape().last().copied().unwrap_or(0)
            );
            return Err(Error::shape(op, format!("{message} to match the last dim of x {}", self.shape())));
        }
        if let Some(bias) = options.bias {
            self.check_operand(op, "bias", bias)?;
            if bias.shape()[..] != [outputs] {
                let message = format!("bias has shape {}, expected [{outputs}]", bias.shape());
                return Err(Error::shape(op, format!("{message} to match weight {}", weight.shape())));
            }
        }
        match options.then {
            LinearThen::Nothing => Ok(()),
            LinearThen::Gelu { .. } if self.dtype().is_float() => Ok(()),
            LinearThen::Gelu { .. } => {
                Err(Error::dtype(op, format!("got {}, expected a float: cast with to_dtype", self.dtype())))
            }
            LinearThen::Add(residual) => {
                self.check_operand(op, "residual", residual)?;
                let result = Shape::new(&[&self.shape()[..self.rank() - 1], &[outputs]].concat())?;
                if *residual.shape() == result {
                    return Ok(());
                }
                let message = format!("residual has shape {}, expected {result}", residual.shape());
                Err(Error::shape(op, format!("{message}, that of the result")))
            }
        }
    }
}

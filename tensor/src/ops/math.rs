//! Elementary functions, element by element. Floats keep their dtype; integers give f32 where the function has no
//! integer form.

use chainrule_kernels::elementwise::UnaryOp;

use crate::{Result, Tensor};

impl Tensor {
    /// `-x`.
    ///
    /// ```
    /// use chainrule_tensor::{Device, Tensor};
    /// let x = Tensor::new([1.0f32, -2.0], &Device::Cpu)?;
    /// assert_eq!(x.neg()?.to_vec::<f32>()?, [-1.0, 2.0]);
    /// # Ok::<(), chainrule_tensor::Error>(())
    /// ```
    ///
    /// Source: `torch.neg`.
    #[track_caller]
    pub fn neg(&self) -> Result<Tensor> {
        self.unary(UnaryOp::Neg, [0.0; 2])
    }

    /// `|x|`.
    ///
    /// Of the smallest integer, itself: integers wrap.
    ///
    /// ```
    /// use chainrule_tensor::{Device, Tensor};
    /// let x = Tensor::new([-1.5f32, 2.0], &Device::Cpu)?;
    /// assert_eq!(x.abs()?.to_vec::<f32>()?, [1.5, 2.0]);
    /// # Ok::<(), chainrule_tensor::Error>(())
    /// ```
    ///
    /// Source: `torch.abs`.
    #[track_caller]
    pub fn abs(&self) -> Result<Tensor> {
        self.unary(UnaryOp::Abs, [0.0; 2])
    }

    /// -1, 0 or 1, as `x` is negative, zero or positive; 0 for NaN.
    ///
    /// ```
    /// use chainrule_tensor::{Device, Tensor};
    /// let x = Tensor::new([-3.0f32, 0.0], &Device::Cpu)?;
    /// assert_eq!(x.sign()?.to_vec::<f32>()?, [-1.0, 0.0]);
    /// # Ok::<(), chainrule_tensor::Error>(())
    /// ```
    ///
    /// Source: `torch.sign`.
    #[track_caller]
    pub fn sign(&self) -> Result<Tensor> {
        self.unary(UnaryOp::Sign, [0.0; 2])
    }

    /// `x * x`.
    ///
    /// ```
    /// use chainrule_tensor::{Device, Tensor};
    /// let x = Tensor::new([3.0f32, -2.0], &Device::Cpu)?;
    /// assert_eq!(x.square()?.to_vec::<f32>()?, [9.0, 4.0]);
    /// # Ok::<(), chainrule_tensor::Error>(())
    /// ```
    ///
    /// Source: `torch.square`.
    #[track_caller]
    pub fn square(&self) -> Result<Tensor> {
        self.unary(UnaryOp::Square, [0.0; 2])
    }

    /// `e^x`.
    ///
    /// ```
    /// use chainrule_tensor::{Device, Tensor};
    /// let x = Tensor::new([0.0f32], &Device::Cpu)?;
    /// assert_eq!(x.exp()?.to_vec::<f32>()?, [1.0]);
    /// # Ok::<(), chainrule_tensor::Error>(())
    /// ```
    ///
    /// Source: `torch.exp`.
    #[track_caller]
    pub fn exp(&self) -> Result<Tensor> {
        self.unary(UnaryOp::Exp, [0.0; 2])
    }

    /// `2^x`.
    ///
    /// ```
    /// use chainrule_tensor::{Device, Tensor};
    /// let x = Tensor::new([3.0f32], &Device::Cpu)?;
    /// assert_eq!(x.exp2()?.to_vec::<f32>()?, [8.0]);
    /// # Ok::<(), chainrule_tensor::Error>(())
    /// ```
    ///
    /// Source: `torch.exp2`.
    #[track_caller]
    pub fn exp2(&self) -> Result<Tensor> {
        self.unary(UnaryOp::Exp2, [0.0; 2])
    }

    /// `e^x - 1`, precise near 0.
    ///
    /// ```
    /// use chainrule_tensor::{Device, Tensor};
    /// let x = Tensor::new([0.0f32], &Device::Cpu)?;
    /// assert_eq!(x.expm1()?.to_vec::<f32>()?, [0.0]);
    /// # Ok::<(), chainrule_tensor::Error>(())
    /// ```
    ///
    /// Source: `torch.expm1`.
    #[track_caller]
    pub fn expm1(&self) -> Result<Tensor> {
        self.unary(UnaryOp::Expm1, [0.0; 2])
    }

    /// `ln(x)`, NaN below 0 and -inf at 0.
    ///
    /// ```
    /// use chainrule_tensor::{Device, Tensor};
    /// let x = Tensor::new([1.0f32], &Device::Cpu)?;
    /// assert_eq!(x.log()?.to_vec::<f32>()?, [0.0]);
    /// # Ok::<(), chainrule_tensor::Error>(())
    /// ```
    ///
    /// Source: `torch.log`.
    #[track_caller]
    pub fn log(&self) -> Result<Tensor> {
        self.unary(UnaryOp::Log, [0.0; 2])
    }

    /// `log2(x)`.
    ///
    /// ```
    /// use chainrule_tensor::{Device, Tensor};
    /// let x = Tensor::new([8.0f32], &Device::Cpu)?;
    /// assert_eq!(x.log2()?.to_vec::<f32>()?, [3.0]);
    /// # Ok::<(), chainrule_tensor::Error>(())
    /// ```
    ///
    /// Source: `torch.log2`.
    #[track_caller]
    pub fn log2(&self) -> Result<Tensor> {
        self.unary(UnaryOp::Log2, [0.0; 2])
    }

    /// `log10(x)`.
    ///
    /// ```
    /// use chainrule_tensor::{Device, Tensor};
    /// let x = Tensor::new([1.0f32], &Device::Cpu)?;
    /// assert_eq!(x.log10()?.to_vec::<f32>()?, [0.0]);
    /// # Ok::<(), chainrule_tensor::Error>(())
    /// ```
    ///
    /// Source: `torch.log10`.
    #[track_caller]
    pub fn log10(&self) -> Result<Tensor> {
        self.unary(UnaryOp::Log10, [0.0; 2])
    }

    /// `ln(1 + x)`, precise near 0.
    ///
    /// ```
    /// use chainrule_tensor::{Device, Tensor};
    /// let x = Tensor::new([0.0f32], &Device::Cpu)?;
    /// assert_eq!(x.log1p()?.to_vec::<f32>()?, [0.0]);
    /// # Ok::<(), chainrule_tensor::Error>(())
    /// ```
    ///
    /// Source: `torch.log1p`.
    #[track_caller]
    pub fn log1p(&self) -> Result<Tensor> {
        self.unary(UnaryOp::Log1p, [0.0; 2])
    }

    /// `x^(1/2)`, NaN below 0.
    ///
    /// ```
    /// use chainrule_tensor::{Device, Tensor};
    /// let x = Tensor::new([9.0f32], &Device::Cpu)?;
    /// assert_eq!(x.sqrt()?.to_vec::<f32>()?, [3.0]);
    /// # Ok::<(), chainrule_tensor::Error>(())
    /// ```
    ///
    /// Source: `torch.sqrt`.
    #[track_caller]
    pub fn sqrt(&self) -> Result<Tensor> {
        self.unary(UnaryOp::Sqrt, [0.0; 2])
    }

    /// `x^(-1/2)`.
    ///
    /// ```
    /// use chainrule_tensor::{Device, Tensor};
    /// let x = Tensor::new([4.0f32], &Device::Cpu)?;
    /// assert_eq!(x.rsqrt()?.to_vec::<f32>()?, [0.5]);
    /// # Ok::<(), chainrule_tensor::Error>(())
    /// ```
    ///
    /// Source: `torch.rsqrt`.
    #[track_caller]
    pub fn rsqrt(&self) -> Result<Tensor> {
        self.unary(UnaryOp::Rsqrt, [0.0; 2])
    }

    /// `1 / x`.
    ///
    /// ```
    /// use chainrule_tensor::{Device, Tensor};
    /// let x = Tensor::new([4.0f32], &Device::Cpu)?;
    /// assert_eq!(x.reciprocal()?.to_vec::<f32>()?, [0.25]);
    /// # Ok::<(), chainrule_tensor::Error>(())
    /// ```
    ///
    /// Source: `torch.reciprocal`.
    #[track_caller]
    pub fn reciprocal(&self) -> Result<Tensor> {
        self.unary(UnaryOp::Reciprocal, [0.0; 2])
    }

    /// The error function, `2/sqrt(pi)` times the integral of `exp(-t^2)` from 0 to `x`.
    ///
    /// ```
    /// use chainrule_tensor::{Device, Tensor};
    /// let x = Tensor::new([0.0f32], &Device::Cpu)?;
    /// assert_eq!(x.erf()?.to_vec::<f32>()?, [0.0]);
    /// # Ok::<(), chainrule_tensor::Error>(())
    /// ```
    ///
    /// Source: `torch.erf`.
    #[track_caller]
    pub fn erf(&self) -> Result<Tensor> {
        self.unary(UnaryOp::Erf, [0.0; 2])
    }

    /// The largest integer that is not above `x`.
    ///
    /// ```
    /// use chainrule_tensor::{Device, Tensor};
    /// let x = Tensor::new([1.5f32, -1.5], &Device::Cpu)?;
    /// assert_eq!(x.floor()?.to_vec::<f32>()?, [1.0, -2.0]);
    /// # Ok::<(), chainrule_tensor::Error>(())
    /// ```
    ///
    /// Source: `torch.floor`.
    #[track_caller]
    pub fn floor(&self) -> Result<Tensor> {
        self.unary(UnaryOp::Floor, [0.0; 2])
    }

    /// The smallest integer that is not below `x`.
    ///
    /// ```
    /// use chainrule_tensor::{Device, Tensor};
    /// let x = Tensor::new([1.5f32, -1.5], &Device::Cpu)?;
    /// assert_eq!(x.ceil()?.to_vec::<f32>()?, [2.0, -1.0]);
    /// # Ok::<(), chainrule_tensor::Error>(())
    /// ```
    ///
    /// Source: `torch.ceil`.
    #[track_caller]
    pub fn ceil(&self) -> Result<Tensor> {
        self.unary(UnaryOp::Ceil, [0.0; 2])
    }

    /// The nearest integer, the even one of two that are equally near.
    ///
    /// ```
    /// use chainrule_tensor::{Device, Tensor};
    /// let x = Tensor::new([0.5f32, 1.5], &Device::Cpu)?;
    /// assert_eq!(x.round()?.to_vec::<f32>()?, [0.0, 2.0]);
    /// # Ok::<(), chainrule_tensor::Error>(())
    /// ```
    ///
    /// Source: `torch.round`.
    #[track_caller]
    pub fn round(&self) -> Result<Tensor> {
        self.unary(UnaryOp::Round, [0.0; 2])
    }

    /// `x` without its fraction.
    ///
    /// ```
    /// use chainrule_tensor::{Device, Tensor};
    /// let x = Tensor::new([1.5f32, -1.5], &Device::Cpu)?;
    /// assert_eq!(x.trunc()?.to_vec::<f32>()?, [1.0, -1.0]);
    /// # Ok::<(), chainrule_tensor::Error>(())
    /// ```
    ///
    /// Source: `torch.trunc`.
    #[track_caller]
    pub fn trunc(&self) -> Result<Tensor> {
        self.unary(UnaryOp::Trunc, [0.0; 2])
    }
}

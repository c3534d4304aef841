//! Trigonometric and hyperbolic functions and their inverses, element by element.

use chainrule_kernels::elementwise::UnaryOp;

use crate::{Result, Tensor};

impl Tensor {
    /// `sin(x)`, x in radians.
    ///
    /// ```
    /// use chainrule_tensor::{Device, Tensor};
    /// let x = Tensor::new([0.0f32], &Device::Cpu)?;
    /// assert_eq!(x.sin()?.to_vec::<f32>()?, [0.0]);
    /// # Ok::<(), chainrule_tensor::Error>(())
    /// ```
    ///
    /// Source: `torch.sin`.
    #[track_caller]
    pub fn sin(&self) -> Result<Tensor> {
        self.unary(UnaryOp::Sin, [0.0; 2])
    }

    /// `cos(x)`, x in radians.
    ///
    /// ```
    /// use chainrule_tensor::{Device, Tensor};
    /// let x = Tensor::new([0.0f32], &Device::Cpu)?;
    /// assert_eq!(x.cos()?.to_vec::<f32>()?, [1.0]);
    /// # Ok::<(), chainrule_tensor::Error>(())
    /// ```
    ///
    /// Source: `torch.cos`.
    #[track_caller]
    pub fn cos(&self) -> Result<Tensor> {
        self.unary(UnaryOp::Cos, [0.0; 2])
    }

    /// `tan(x)`, x in radians.
    ///
    /// ```
    /// use chainrule_tensor::{Device, Tensor};
    /// let x = Tensor::new([0.0f32], &Device::Cpu)?;
    /// assert_eq!(x.tan()?.to_vec::<f32>()?, [0.0]);
    /// # Ok::<(), chainrule_tensor::Error>(())
    /// ```
    ///
    /// Source: `torch.tan`.
    #[track_caller]
    pub fn tan(&self) -> Result<Tensor> {
        self.unary(UnaryOp::Tan, [0.0; 2])
    }

    /// The angle in -pi/2..pi/2 whose sine is `x`.
    ///
    /// ```
    /// use chainrule_tensor::{Device, Tensor};
    /// let x = Tensor::new([0.0f32], &Device::Cpu)?;
    /// assert_eq!(x.asin()?.to_vec::<f32>()?, [0.0]);
    /// # Ok::<(), chainrule_tensor::Error>(())
    /// ```
    ///
    /// Source: `torch.asin`.
    #[track_caller]
    pub fn asin(&self) -> Result<Tensor> {
        self.unary(UnaryOp::Asin, [0.0; 2])
    }

    /// The angle in 0..pi whose cosine is `x`.
    ///
    /// ```
    /// use chainrule_tensor::{Device, Tensor};
    /// let x = Tensor::new([1.0f32], &Device::Cpu)?;
    /// assert_eq!(x.acos()?.to_vec::<f32>()?, [0.0]);
    /// # Ok::<(), chainrule_tensor::Error>(())
    /// ```
    ///
    /// Source: `torch.acos`.
    #[track_caller]
    pub fn acos(&self) -> Result<Tensor> {
        self.unary(UnaryOp::Acos, [0.0; 2])
    }

    /// The angle in -pi/2..pi/2 whose tangent is `x`.
    ///
    /// ```
    /// use chainrule_tensor::{Device, Tensor};
    /// let x = Tensor::new([0.0f32], &Device::Cpu)?;
    /// assert_eq!(x.atan()?.to_vec::<f32>()?, [0.0]);
    /// # Ok::<(), chainrule_tensor::Error>(())
    /// ```
    ///
    /// Source: `torch.atan`.
    #[track_caller]
    pub fn atan(&self) -> Result<Tensor> {
        self.unary(UnaryOp::Atan, [0.0; 2])
    }

    /// `(e^x - e^-x) / 2`.
    ///
    /// ```
    /// use chainrule_tensor::{Device, Tensor};
    /// let x = Tensor::new([0.0f32], &Device::Cpu)?;
    /// assert_eq!(x.sinh()?.to_vec::<f32>()?, [0.0]);
    /// # Ok::<(), chainrule_tensor::Error>(())
    /// ```
    ///
    /// Source: `torch.sinh`.
    #[track_caller]
    pub fn sinh(&self) -> Result<Tensor> {
        self.unary(UnaryOp::Sinh, [0.0; 2])
    }

    /// `(e^x + e^-x) / 2`.
    ///
    /// ```
    /// use chainrule_tensor::{Device, Tensor};
    /// let x = Tensor::new([0.0f32], &Device::Cpu)?;
    /// assert_eq!(x.cosh()?.to_vec::<f32>()?, [1.0]);
    /// # Ok::<(), chainrule_tensor::Error>(())
    /// ```
    ///
    /// Source: `torch.cosh`.
    #[track_caller]
    pub fn cosh(&self) -> Result<Tensor> {
        self.unary(UnaryOp::Cosh, [0.0; 2])
    }

    /// `(e^x - e^-x) / (e^x + e^-x)`.
    ///
    /// ```
    /// use chainrule_tensor::{Device, Tensor};
    /// let x = Tensor::new([0.0f32], &Device::Cpu)?;
    /// assert_eq!(x.tanh()?.to_vec::<f32>()?, [0.0]);
    /// # Ok::<(), chainrule_tensor::Error>(())
    /// ```
    ///
    /// Source: `torch.tanh`.
    #[track_caller]
    pub fn tanh(&self) -> Result<Tensor> {
        self.unary(UnaryOp::Tanh, [0.0; 2])
    }

    /// `ln(x + sqrt(x^2 + 1))`.
    ///
    /// ```
    /// use chainrule_tensor::{Device, Tensor};
    /// let x = Tensor::new([0.0f32], &Device::Cpu)?;
    /// assert_eq!(x.asinh()?.to_vec::<f32>()?, [0.0]);
    /// # Ok::<(), chainrule_tensor::Error>(())
    /// ```
    ///
    /// Source: `torch.asinh`.
    #[track_caller]
    pub fn asinh(&self) -> Result<Tensor> {
        self.unary(UnaryOp::Asinh, [0.0; 2])
    }

    /// `ln(x + sqrt(x^2 - 1))`, NaN below 1.
    ///
    /// ```
    /// use chainrule_tensor::{Device, Tensor};
    /// let x = Tensor::new([1.0f32], &Device::Cpu)?;
    /// assert_eq!(x.acosh()?.to_vec::<f32>()?, [0.0]);
    /// # Ok::<(), chainrule_tensor::Error>(())
    /// ```
    ///
    /// Source: `torch.acosh`.
    #[track_caller]
    pub fn acosh(&self) -> Result<Tensor> {
        self.unary(UnaryOp::Acosh, [0.0; 2])
    }

    /// `ln((1 + x) / (1 - x)) / 2`.
    ///
    /// ```
    /// use chainrule_tensor::{Device, Tensor};
    /// let x = Tensor::new([0.0f32], &Device::Cpu)?;
    /// assert_eq!(x.atanh()?.to_vec::<f32>()?, [0.0]);
    /// # Ok::<(), chainrule_tensor::Error>(())
    /// ```
    ///
    /// Source: `torch.atanh`.
    #[track_caller]
    pub fn atanh(&self) -> Result<Tensor> {
        self.unary(UnaryOp::Atanh, [0.0; 2])
    }
}

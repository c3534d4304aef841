//! Trigonometric and hyperbolic functions. Their derivatives are the table in `elementwise.rs`.

use chainrule_tensor::{Result, UnaryOp};

use crate::Var;

impl Var {
    /// `sin(x)`, x in radians; see [`Tensor::sin`](chainrule_tensor::Tensor::sin).
    ///
    /// Gradient: `cos(x) dy`.
    ///
    /// ```
    /// # use chainrule_autograd::value_and_grad;
    /// # use chainrule_tensor::{Device, Tensor};
    /// let x = Tensor::new(0.0f64, &Device::Cpu)?;
    /// let (y, dx) = value_and_grad(|x| x[0].sin(), &[x])?;
    /// assert_eq!((y.item::<f64>()?, dx[0].item::<f64>()?), (0.0, 1.0));
    /// # Ok::<(), chainrule_tensor::Error>(())
    /// ```
    #[track_caller]
    pub fn sin(&self) -> Result<Var> {
        self.unary(UnaryOp::Sin, [0.0; 2], |x| x.sin())
    }

    /// `cos(x)`, x in radians; see [`Tensor::cos`](chainrule_tensor::Tensor::cos).
    ///
    /// Gradient: `-sin(x) dy`.
    ///
    /// ```
    /// # use chainrule_autograd::value_and_grad;
    /// # use chainrule_tensor::{Device, Tensor};
    /// let x = Tensor::new(0.0f64, &Device::Cpu)?;
    /// let (y, dx) = value_and_grad(|x| x[0].cos(), &[x])?;
    /// assert_eq!((y.item::<f64>()?, dx[0].item::<f64>()?), (1.0, 0.0));
    /// # Ok::<(), chainrule_tensor::Error>(())
    /// ```
    #[track_caller]
    pub fn cos(&self) -> Result<Var> {
        self.unary(UnaryOp::Cos, [0.0; 2], |x| x.cos())
    }

    /// `tan(x)`, x in radians; see [`Tensor::tan`](chainrule_tensor::Tensor::tan).
    ///
    /// Gradient: `(1 + y^2) dy`.
    ///
    /// ```
    /// # use chainrule_autograd::value_and_grad;
    /// # use chainrule_tensor::{Device, Tensor};
    /// let x = Tensor::new(0.0f64, &Device::Cpu)?;
    /// let (y, dx) = value_and_grad(|x| x[0].tan(), &[x])?;
    /// assert_eq!((y.item::<f64>()?, dx[0].item::<f64>()?), (0.0, 1.0));
    /// # Ok::<(), chainrule_tensor::Error>(())
    /// ```
    #[track_caller]
    pub fn tan(&self) -> Result<Var> {
        self.unary(UnaryOp::Tan, [0.0; 2], |x| x.tan())
    }

    /// The angle in -pi/2..pi/2 whose sine is `x`; see [`Tensor::asin`](chainrule_tensor::Tensor::asin).
    ///
    /// Gradient: `dy / sqrt(1 - x^2)`.
    ///
    /// ```
    /// # use chainrule_autograd::value_and_grad;
    /// # use chainrule_tensor::{Device, Tensor};
    /// let x = Tensor::new(0.0f64, &Device::Cpu)?;
    /// let (y, dx) = value_and_grad(|x| x[0].asin(), &[x])?;
    /// assert_eq!((y.item::<f64>()?, dx[0].item::<f64>()?), (0.0, 1.0));
    /// # Ok::<(), chainrule_tensor::Error>(())
    /// ```
    #[track_caller]
    pub fn asin(&self) -> Result<Var> {
        self.unary(UnaryOp::Asin, [0.0; 2], |x| x.asin())
    }

    /// The angle in 0..pi whose cosine is `x`; see [`Tensor::acos`](chainrule_tensor::Tensor::acos).
    ///
    /// Gradient: `-dy / sqrt(1 - x^2)`.
    ///
    /// ```
    /// # use chainrule_autograd::value_and_grad;
    /// # use chainrule_tensor::{Device, Tensor};
    /// let x = Tensor::new(0.0f64, &Device::Cpu)?;
    /// let (y, dx) = value_and_grad(|x| x[0].acos(), &[x])?;
    /// assert_eq!((y.item::<f64>()?, dx[0].item::<f64>()?), (std::f64::consts::FRAC_PI_2, -1.0));
    /// # Ok::<(), chainrule_tensor::Error>(())
    /// ```
    #[track_caller]
    pub fn acos(&self) -> Result<Var> {
        self.unary(UnaryOp::Acos, [0.0; 2], |x| x.acos())
    }

    /// The angle in -pi/2..pi/2 whose tangent is `x`; see [`Tensor::atan`](chainrule_tensor::Tensor::atan).
    ///
    /// Gradient: `dy / (1 + x^2)`.
    ///
    /// ```
    /// # use chainrule_autograd::value_and_grad;
    /// # use chainrule_tensor::{Device, Tensor};
    /// let x = Tensor::new(1.0f64, &Device::Cpu)?;
    /// let (y, dx) = value_and_grad(|x| x[0].atan(), &[x])?;
    /// assert_eq!((y.item::<f64>()?, dx[0].item::<f64>()?), (std::f64::consts::FRAC_PI_4, 0.5));
    /// # Ok::<(), chainrule_tensor::Error>(())
    /// ```
    #[track_caller]
    pub fn atan(&self) -> Result<Var> {
        self.unary(UnaryOp::Atan, [0.0; 2], |x| x.atan())
    }

    /// `(e^x - e^-x) / 2`; see [`Tensor::sinh`](chainrule_tensor::Tensor::sinh).
    ///
    /// Gradient: `cosh(x) dy`.
    ///
    /// ```
    /// # use chainrule_autograd::value_and_grad;
    /// # use chainrule_tensor::{Device, Tensor};
    /// let x = Tensor::new(0.0f64, &Device::Cpu)?;
    /// let (y, dx) = value_and_grad(|x| x[0].sinh(), &[x])?;
    /// assert_eq!((y.item::<f64>()?, dx[0].item::<f64>()?), (0.0, 1.0));
    /// # Ok::<(), chainrule_tensor::Error>(())
    /// ```
    #[track_caller]
    pub fn sinh(&self) -> Result<Var> {
        self.unary(UnaryOp::Sinh, [0.0; 2], |x| x.sinh())
    }

    /// `(e^x + e^-x) / 2`; see [`Tensor::cosh`](chainrule_tensor::Tensor::cosh).
    ///
    /// Gradient: `sinh(x) dy`.
    ///
    /// ```
    /// # use chainrule_autograd::value_and_grad;
    /// # use chainrule_tensor::{Device, Tensor};
    /// let x = Tensor::new(0.0f64, &Device::Cpu)?;
    /// let (y, dx) = value_and_grad(|x| x[0].cosh(), &[x])?;
    /// assert_eq!((y.item::<f64>()?, dx[0].item::<f64>()?), (1.0, 0.0));
    /// # Ok::<(), chainrule_tensor::Error>(())
    /// ```
    #[track_caller]
    pub fn cosh(&self) -> Result<Var> {
        self.unary(UnaryOp::Cosh, [0.0; 2], |x| x.cosh())
    }

    /// `(e^x - e^-x) / (e^x + e^-x)`; see [`Tensor::tanh`](chainrule_tensor::Tensor::tanh).
    ///
    /// Gradient: `(1 - y^2) dy`.
    ///
    /// ```
    /// # use chainrule_autograd::value_and_grad;
    /// # use chainrule_tensor::{Device, Tensor};
    /// let x = Tensor::new(0.0f64, &Device::Cpu)?;
    /// let (y, dx) = value_and_grad(|x| x[0].tanh(), &[x])?;
    /// assert_eq!((y.item::<f64>()?, dx[0].item::<f64>()?), (0.0, 1.0));
    /// # Ok::<(), chainrule_tensor::Error>(())
    /// ```
    #[track_caller]
    pub fn tanh(&self) -> Result<Var> {
        self.unary(UnaryOp::Tanh, [0.0; 2], |x| x.tanh())
    }

    /// `ln(x + sqrt(x^2 + 1))`; see [`Tensor::asinh`](chainrule_tensor::Tensor::asinh).
    ///
    /// Gradient: `dy / sqrt(x^2 + 1)`.
    ///
    /// ```
    /// # use chainrule_autograd::value_and_grad;
    /// # use chainrule_tensor::{Device, Tensor};
    /// let x = Tensor::new(0.0f64, &Device::Cpu)?;
    /// let (y, dx) = value_and_grad(|x| x[0].asinh(), &[x])?;
    /// assert_eq!((y.item::<f64>()?, dx[0].item::<f64>()?), (0.0, 1.0));
    /// # Ok::<(), chainrule_tensor::Error>(())
    /// ```
    #[track_caller]
    pub fn asinh(&self) -> Result<Var> {
        self.unary(UnaryOp::Asinh, [0.0; 2], |x| x.asinh())
    }

    /// `ln(x + sqrt(x^2 - 1))`, NaN below 1; see [`Tensor::acosh`](chainrule_tensor::Tensor::acosh).
    ///
    /// Gradient: `dy / sqrt(x^2 - 1)`.
    ///
    /// ```
    /// # use chainrule_autograd::value_and_grad;
    /// # use chainrule_tensor::{Device, Tensor};
    /// let x = Tensor::new(1.25f64, &Device::Cpu)?;
    /// let (y, dx) = value_and_grad(|x| x[0].acosh(), &[x])?;
    /// assert_eq!((y.item::<f64>()?, dx[0].item::<f64>()?), (std::f64::consts::LN_2, 1.0 / 0.75));
    /// # Ok::<(), chainrule_tensor::Error>(())
    /// ```
    #[track_caller]
    pub fn acosh(&self) -> Result<Var> {
        self.unary(UnaryOp::Acosh, [0.0; 2], |x| x.acosh())
    }

    /// `ln((1 + x) / (1 - x)) / 2`; see [`Tensor::atanh`](chainrule_tensor::Tensor::atanh).
    ///
    /// Gradient: `dy / (1 - x^2)`.
    ///
    /// ```
    /// # use chainrule_autograd::value_and_grad;
    /// # use chainrule_tensor::{Device, Tensor};
    /// let x = Tensor::new(0.0f64, &Device::Cpu)?;
    /// let (y, dx) = value_and_grad(|x| x[0].atanh(), &[x])?;
    /// assert_eq!((y.item::<f64>()?, dx[0].item::<f64>()?), (0.0, 1.0));
    /// # Ok::<(), chainrule_tensor::Error>(())
    /// ```
    #[track_caller]
    pub fn atanh(&self) -> Result<Var> {
        self.unary(UnaryOp::Atanh, [0.0; 2], |x| x.atanh())
    }
}

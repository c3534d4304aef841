//! Powers, logarithms, roundings and their like. Their derivatives are the table in `elementwise.rs`.

use chainrule_tensor::{Result, UnaryOp};

use crate::Var;

impl Var {
    /// `-x`; see [`Tensor::neg`](chainrule_tensor::Tensor::neg).
    ///
    /// Gradient: `-dy`.
    ///
    /// ```
    /// # use chainrule_autograd::value_and_grad;
    /// # use chainrule_tensor::{Device, Tensor};
    /// let x = Tensor::new(3.0f64, &Device::Cpu)?;
    /// let (y, dx) = value_and_grad(|x| x[0].neg(), &[x])?;
    /// assert_eq!((y.item::<f64>()?, dx[0].item::<f64>()?), (-3.0, -1.0));
    /// # Ok::<(), chainrule_tensor::Error>(())
    /// ```
    #[track_caller]
    pub fn neg(&self) -> Result<Var> {
        self.unary(UnaryOp::Neg, [0.0; 2], |x| x.neg())
    }

    /// `|x|`; see [`Tensor::abs`](chainrule_tensor::Tensor::abs).
    ///
    /// Gradient: `dy * sign(x)`, 0 at 0.
    ///
    /// ```
    /// # use chainrule_autograd::value_and_grad;
    /// # use chainrule_tensor::{Device, Tensor};
    /// let x = Tensor::new(-3.0f64, &Device::Cpu)?;
    /// let (y, dx) = value_and_grad(|x| x[0].abs(), &[x])?;
    /// assert_eq!((y.item::<f64>()?, dx[0].item::<f64>()?), (3.0, -1.0));
    /// # Ok::<(), chainrule_tensor::Error>(())
    /// ```
    #[track_caller]
    pub fn abs(&self) -> Result<Var> {
        self.unary(UnaryOp::Abs, [0.0; 2], |x| x.abs())
    }

    /// -1, 0 or 1, as `x` is negative, zero or positive; 0 for NaN; see [`Tensor::sign`](chainrule_tensor::Tensor::sign).
    ///
    /// Gradient: 0.
    ///
    /// ```
    /// # use chainrule_autograd::value_and_grad;
    /// # use chainrule_tensor::{Device, Tensor};
    /// let x = Tensor::new(-3.0f64, &Device::Cpu)?;
    /// let (y, dx) = value_and_grad(|x| x[0].sign(), &[x])?;
    /// assert_eq!((y.item::<f64>()?, dx[0].item::<f64>()?), (-1.0, 0.0));
    /// # Ok::<(), chainrule_tensor::Error>(())
    /// ```
    #[track_caller]
    pub fn sign(&self) -> Result<Var> {
        self.unary(UnaryOp::Sign, [0.0; 2], |x| x.sign())
    }

    /// `x * x`; see [`Tensor::square`](chainrule_tensor::Tensor::square).
    ///
    /// Gradient: `2 x dy`.
    ///
    /// ```
    /// # use chainrule_autograd::value_and_grad;
    /// # use chainrule_tensor::{Device, Tensor};
    /// let x = Tensor::new(3.0f64, &Device::Cpu)?;
    /// let (y, dx) = value_and_grad(|x| x[0].square(), &[x])?;
    /// assert_eq!((y.item::<f64>()?, dx[0].item::<f64>()?), (9.0, 6.0));
    /// # Ok::<(), chainrule_tensor::Error>(())
    /// ```
    #[track_caller]
    pub fn square(&self) -> Result<Var> {
        self.unary(UnaryOp::Square, [0.0; 2], |x| x.square())
    }

    /// `e^x`; see [`Tensor::exp`](chainrule_tensor::Tensor::exp).
    ///
    /// Gradient: `y dy`.
    ///
    /// ```
    /// # use chainrule_autograd::value_and_grad;
    /// # use chainrule_tensor::{Device, Tensor};
    /// let x = Tensor::new(0.0f64, &Device::Cpu)?;
    /// let (y, dx) = value_and_grad(|x| x[0].exp(), &[x])?;
    /// assert_eq!((y.item::<f64>()?, dx[0].item::<f64>()?), (1.0, 1.0));
    /// # Ok::<(), chainrule_tensor::Error>(())
    /// ```
    #[track_caller]
    pub fn exp(&self) -> Result<Var> {
        self.unary(UnaryOp::Exp, [0.0; 2], |x| x.exp())
    }

    /// `2^x`; see [`Tensor::exp2`](chainrule_tensor::Tensor::exp2).
    ///
    /// Gradient: `ln(2) y dy`.
    ///
    /// ```
    /// # use chainrule_autograd::value_and_grad;
    /// # use chainrule_tensor::{Device, Tensor};
    /// let x = Tensor::new(3.0f64, &Device::Cpu)?;
    /// let (y, dx) = value_and_grad(|x| x[0].exp2(), &[x])?;
    /// assert_eq!((y.item::<f64>()?, dx[0].item::<f64>()?), (8.0, 8.0 * std::f64::consts::LN_2));
    /// # Ok::<(), chainrule_tensor::Error>(())
    /// ```
    #[track_caller]
    pub fn exp2(&self) -> Result<Var> {
        self.unary(UnaryOp::Exp2, [0.0; 2], |x| x.exp2())
    }

    /// `e^x - 1`, precise near 0; see [`Tensor::expm1`](chainrule_tensor::Tensor::expm1).
    ///
    /// Gradient: `(y + 1) dy`.
    ///
    /// ```
    /// # use chainrule_autograd::value_and_grad;
    /// # use chainrule_tensor::{Device, Tensor};
    /// let x = Tensor::new(0.0f64, &Device::Cpu)?;
    /// let (y, dx) = value_and_grad(|x| x[0].expm1(), &[x])?;
    /// assert_eq!((y.item::<f64>()?, dx[0].item::<f64>()?), (0.0, 1.0));
    /// # Ok::<(), chainrule_tensor::Error>(())
    /// ```
    #[track_caller]
    pub fn expm1(&self) -> Result<Var> {
        self.unary(UnaryOp::Expm1, [0.0; 2], |x| x.expm1())
    }

    /// `ln(x)`, NaN below 0 and -inf at 0; see [`Tensor::log`](chainrule_tensor::Tensor::log).
    ///
    /// Gradient: `dy / x`.
    ///
    /// ```
    /// # use chainrule_autograd::value_and_grad;
    /// # use chainrule_tensor::{Device, Tensor};
    /// let x = Tensor::new(1.0f64, &Device::Cpu)?;
    /// let (y, dx) = value_and_grad(|x| x[0].log(), &[x])?;
    /// assert_eq!((y.item::<f64>()?, dx[0].item::<f64>()?), (0.0, 1.0));
    /// # Ok::<(), chainrule_tensor::Error>(())
    /// ```
    #[track_caller]
    pub fn log(&self) -> Result<Var> {
        self.unary(UnaryOp::Log, [0.0; 2], |x| x.log())
    }

    /// `log2(x)`; see [`Tensor::log2`](chainrule_tensor::Tensor::log2).
    ///
    /// Gradient: `dy / (x ln 2)`.
    ///
    /// ```
    /// # use chainrule_autograd::value_and_grad;
    /// # use chainrule_tensor::{Device, Tensor};
    /// let x = Tensor::new(1.0f64, &Device::Cpu)?;
    /// let (y, dx) = value_and_grad(|x| x[0].log2(), &[x])?;
    /// assert_eq!((y.item::<f64>()?, dx[0].item::<f64>()?), (0.0, 1.0 / std::f64::consts::LN_2));
    /// # Ok::<(), chainrule_tensor::Error>(())
    /// ```
    #[track_caller]
    pub fn log2(&self) -> Result<Var> {
        self.unary(UnaryOp::Log2, [0.0; 2], |x| x.log2())
    }

    /// `log10(x)`; see [`Tensor::log10`](chainrule_tensor::Tensor::log10).
    ///
    /// Gradient: `dy / (x ln 10)`.
    ///
    /// ```
    /// # use chainrule_autograd::value_and_grad;
    /// # use chainrule_tensor::{Device, Tensor};
    /// let x = Tensor::new(1.0f64, &Device::Cpu)?;
    /// let (y, dx) = value_and_grad(|x| x[0].log10(), &[x])?;
    /// assert_eq!((y.item::<f64>()?, dx[0].item::<f64>()?), (0.0, 1.0 / std::f64::consts::LN_10));
    /// # Ok::<(), chainrule_tensor::Error>(())
    /// ```
    #[track_caller]
    pub fn log10(&self) -> Result<Var> {
        self.unary(UnaryOp::Log10, [0.0; 2], |x| x.log10())
    }

    /// `ln(1 + x)`, precise near 0; see [`Tensor::log1p`](chainrule_tensor::Tensor::log1p).
    ///
    /// Gradient: `dy / (1 + x)`.
    ///
    /// ```
    /// # use chainrule_autograd::value_and_grad;
    /// # use chainrule_tensor::{Device, Tensor};
    /// let x = Tensor::new(0.0f64, &Device::Cpu)?;
    /// let (y, dx) = value_and_grad(|x| x[0].log1p(), &[x])?;
    /// assert_eq!((y.item::<f64>()?, dx[0].item::<f64>()?), (0.0, 1.0));
    /// # Ok::<(), chainrule_tensor::Error>(())
    /// ```
    #[track_caller]
    pub fn log1p(&self) -> Result<Var> {
        self.unary(UnaryOp::Log1p, [0.0; 2], |x| x.log1p())
    }

    /// `x^(1/2)`, NaN below 0; see [`Tensor::sqrt`](chainrule_tensor::Tensor::sqrt).
    ///
    /// Gradient: `dy / (2 y)`, infinite at 0.
    ///
    /// ```
    /// # use chainrule_autograd::value_and_grad;
    /// # use chainrule_tensor::{Device, Tensor};
    /// let x = Tensor::new(4.0f64, &Device::Cpu)?;
    /// let (y, dx) = value_and_grad(|x| x[0].sqrt(), &[x])?;
    /// assert_eq!((y.item::<f64>()?, dx[0].item::<f64>()?), (2.0, 0.25));
    /// # Ok::<(), chainrule_tensor::Error>(())
    /// ```
    #[track_caller]
    pub fn sqrt(&self) -> Result<Var> {
        self.unary(UnaryOp::Sqrt, [0.0; 2], |x| x.sqrt())
    }

    /// `x^(-1/2)`; see [`Tensor::rsqrt`](chainrule_tensor::Tensor::rsqrt).
    ///
    /// Gradient: `-y^3 dy / 2`.
    ///
    /// ```
    /// # use chainrule_autograd::value_and_grad;
    /// # use chainrule_tensor::{Device, Tensor};
    /// let x = Tensor::new(4.0f64, &Device::Cpu)?;
    /// let (y, dx) = value_and_grad(|x| x[0].rsqrt(), &[x])?;
    /// assert_eq!((y.item::<f64>()?, dx[0].item::<f64>()?), (0.5, -0.0625));
    /// # Ok::<(), chainrule_tensor::Error>(())
    /// ```
    #[track_caller]
    pub fn rsqrt(&self) -> Result<Var> {
        self.unary(UnaryOp::Rsqrt, [0.0; 2], |x| x.rsqrt())
    }

    /// `1 / x`; see [`Tensor::reciprocal`](chainrule_tensor::Tensor::reciprocal).
    ///
    /// Gradient: `-y^2 dy`.
    ///
    /// ```
    /// # use chainrule_autograd::value_and_grad;
    /// # use chainrule_tensor::{Device, Tensor};
    /// let x = Tensor::new(2.0f64, &Device::Cpu)?;
    /// let (y, dx) = value_and_grad(|x| x[0].reciprocal(), &[x])?;
    /// assert_eq!((y.item::<f64>()?, dx[0].item::<f64>()?), (0.5, -0.25));
    /// # Ok::<(), chainrule_tensor::Error>(())
    /// ```
    #[track_caller]
    pub fn reciprocal(&self) -> Result<Var> {
        self.unary(UnaryOp::Reciprocal, [0.0; 2], |x| x.reciprocal())
    }

    /// The error function, `2/sqrt(pi)` times the integral of `exp(-t^2)` from 0 to `x`; see [`Tensor::erf`](chainrule_tensor::Tensor::erf).
    ///
    /// Gradient: `2/sqrt(pi) exp(-x^2) dy`.
    ///
    /// ```
    /// # use chainrule_autograd::value_and_grad;
    /// # use chainrule_tensor::{Device, Tensor};
    /// let x = Tensor::new(0.0f64, &Device::Cpu)?;
    /// let (y, dx) = value_and_grad(|x| x[0].erf(), &[x])?;
    /// assert_eq!((y.item::<f64>()?, dx[0].item::<f64>()?), (0.0, std::f64::consts::FRAC_2_SQRT_PI));
    /// # Ok::<(), chainrule_tensor::Error>(())
    /// ```
    #[track_caller]
    pub fn erf(&self) -> Result<Var> {
        self.unary(UnaryOp::Erf, [0.0; 2], |x| x.erf())
    }

    /// The largest integer that is not above `x`; see [`Tensor::floor`](chainrule_tensor::Tensor::floor).
    ///
    /// Gradient: 0.
    ///
    /// ```
    /// # use chainrule_autograd::value_and_grad;
    /// # use chainrule_tensor::{Device, Tensor};
    /// let x = Tensor::new(-1.5f64, &Device::Cpu)?;
    /// let (y, dx) = value_and_grad(|x| x[0].floor(), &[x])?;
    /// assert_eq!((y.item::<f64>()?, dx[0].item::<f64>()?), (-2.0, 0.0));
    /// # Ok::<(), chainrule_tensor::Error>(())
    /// ```
    #[track_caller]
    pub fn floor(&self) -> Result<Var> {
        self.unary(UnaryOp::Floor, [0.0; 2], |x| x.floor())
    }

    /// The smallest integer that is not below `x`; see [`Tensor::ceil`](chainrule_tensor::Tensor::ceil).
    ///
    /// Gradient: 0.
    ///
    /// ```
    /// # use chainrule_autograd::value_and_grad;
    /// # use chainrule_tensor::{Device, Tensor};
    /// let x = Tensor::new(-1.5f64, &Device::Cpu)?;
    /// let (y, dx) = value_and_grad(|x| x[0].ceil(), &[x])?;
    /// assert_eq!((y.item::<f64>()?, dx[0].item::<f64>()?), (-1.0, 0.0));
    /// # Ok::<(), chainrule_tensor::Error>(())
    /// ```
    #[track_caller]
    pub fn ceil(&self) -> Result<Var> {
        self.unary(UnaryOp::Ceil, [0.0; 2], |x| x.ceil())
    }

    /// The nearest integer, the even one of two that are equally near; see [`Tensor::round`](chainrule_tensor::Tensor::round).
    ///
    /// Gradient: 0.
    ///
    /// ```
    /// # use chainrule_autograd::value_and_grad;
    /// # use chainrule_tensor::{Device, Tensor};
    /// let x = Tensor::new(2.5f64, &Device::Cpu)?;
    /// let (y, dx) = value_and_grad(|x| x[0].round(), &[x])?;
    /// assert_eq!((y.item::<f64>()?, dx[0].item::<f64>()?), (2.0, 0.0));
    /// # Ok::<(), chainrule_tensor::Error>(())
    /// ```
    #[track_caller]
    pub fn round(&self) -> Result<Var> {
        self.unary(UnaryOp::Round, [0.0; 2], |x| x.round())
    }

    /// `x` without its fraction; see [`Tensor::trunc`](chainrule_tensor::Tensor::trunc).
    ///
    /// Gradient: 0.
    ///
    /// ```
    /// # use chainrule_autograd::value_and_grad;
    /// # use chainrule_tensor::{Device, Tensor};
    /// let x = Tensor::new(-1.5f64, &Device::Cpu)?;
    /// let (y, dx) = value_and_grad(|x| x[0].trunc(), &[x])?;
    /// assert_eq!((y.item::<f64>()?, dx[0].item::<f64>()?), (-1.0, 0.0));
    /// # Ok::<(), chainrule_tensor::Error>(())
    /// ```
    #[track_caller]
    pub fn trunc(&self) -> Result<Var> {
        self.unary(UnaryOp::Trunc, [0.0; 2], |x| x.trunc())
    }

    /// `x` brought into `low..=high`; see [`Tensor::clamp`](chainrule_tensor::Tensor::clamp).
    ///
    /// Gradient: `dy` strictly inside the bounds, 0 elsewhere.
    ///
    /// ```
    /// # use chainrule_autograd::value_and_grad;
    /// # use chainrule_tensor::{Device, Tensor};
    /// let x = Tensor::new([-2.0f64, 0.5, 3.0], &Device::Cpu)?;
    /// let (y, dx) = value_and_grad(|x| x[0].clamp(-1.0, 1.0)?.sum(.., false), &[x])?;
    /// assert_eq!((y.item::<f64>()?, dx[0].to_vec::<f64>()?), (0.5, vec![0.0, 1.0, 0.0]));
    /// # Ok::<(), chainrule_tensor::Error>(())
    /// ```
    #[track_caller]
    pub fn clamp(&self, low: f64, high: f64) -> Result<Var> {
        self.unary(UnaryOp::Clamp, [low, high], |x| x.clamp(low, high))
    }
}

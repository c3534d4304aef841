//! Elementwise functions of one variable. Their derivatives are the table in `elementwise.rs`.

use chainrule_tensor::{Result, UnaryOp};

use crate::Var;

impl Var {
    /// `-x`; see [`Tensor::neg`](chainrule_tensor::Tensor::neg).
    ///
    /// Gradient: `-dy`.
    #[track_caller]
    pub fn neg(&self) -> Result<Var> {
        self.unary(UnaryOp::Neg, [0.0; 2], |x| x.neg())
    }

    /// `|x|`; see [`Tensor::abs`](chainrule_tensor::Tensor::abs).
    ///
    /// Gradient: `dy * sign(x)`, 0 at 0.
    #[track_caller]
    pub fn abs(&self) -> Result<Var> {
        self.unary(UnaryOp::Abs, [0.0; 2], |x| x.abs())
    }

    /// -1, 0 or 1, as `x` is negative, zero or positive; 0 for NaN; see [`Tensor::sign`](chainrule_tensor::Tensor::sign).
    ///
    /// Gradient: 0.
    #[track_caller]
    pub fn sign(&self) -> Result<Var> {
        self.unary(UnaryOp::Sign, [0.0; 2], |x| x.sign())
    }

    /// `x * x`; see [`Tensor::square`](chainrule_tensor::Tensor::square).
    ///
    /// Gradient: `2 x dy`.
    #[track_caller]
    pub fn square(&self) -> Result<Var> {
        self.unary(UnaryOp::Square, [0.0; 2], |x| x.square())
    }

    /// `e^x`; see [`Tensor::exp`](chainrule_tensor::Tensor::exp).
    ///
    /// Gradient: `y dy`.
    #[track_caller]
    pub fn exp(&self) -> Result<Var> {
        self.unary(UnaryOp::Exp, [0.0; 2], |x| x.exp())
    }

    /// `2^x`; see [`Tensor::exp2`](chainrule_tensor::Tensor::exp2).
    ///
    /// Gradient: `ln(2) y dy`.
    #[track_caller]
    pub fn exp2(&self) -> Result<Var> {
        self.unary(UnaryOp::Exp2, [0.0; 2], |x| x.exp2())
    }

    /// `e^x - 1`, precise near 0; see [`Tensor::expm1`](chainrule_tensor::Tensor::expm1).
    ///
    /// Gradient: `(y + 1) dy`.
    #[track_caller]
    pub fn expm1(&self) -> Result<Var> {
        self.unary(UnaryOp::Expm1, [0.0; 2], |x| x.expm1())
    }

    /// `ln(x)`, NaN below 0 and -inf at 0; see [`Tensor::log`](chainrule_tensor::Tensor::log).
    ///
    /// Gradient: `dy / x`.
    #[track_caller]
    pub fn log(&self) -> Result<Var> {
        self.unary(UnaryOp::Log, [0.0; 2], |x| x.log())
    }

    /// `log2(x)`; see [`Tensor::log2`](chainrule_tensor::Tensor::log2).
    ///
    /// Gradient: `dy / (x ln 2)`.
    #[track_caller]
    pub fn log2(&self) -> Result<Var> {
        self.unary(UnaryOp::Log2, [0.0; 2], |x| x.log2())
    }

    /// `log10(x)`; see [`Tensor::log10`](chainrule_tensor::Tensor::log10).
    ///
    /// Gradient: `dy / (x ln 10)`.
    #[track_caller]
    pub fn log10(&self) -> Result<Var> {
        self.unary(UnaryOp::Log10, [0.0; 2], |x| x.log10())
    }

    /// `ln(1 + x)`, precise near 0; see [`Tensor::log1p`](chainrule_tensor::Tensor::log1p).
    ///
    /// Gradient: `dy / (1 + x)`.
    #[track_caller]
    pub fn log1p(&self) -> Result<Var> {
        self.unary(UnaryOp::Log1p, [0.0; 2], |x| x.log1p())
    }

    /// `x^(1/2)`, NaN below 0; see [`Tensor::sqrt`](chainrule_tensor::Tensor::sqrt).
    ///
    /// Gradient: `dy / (2 y)`, infinite at 0.
    #[track_caller]
    pub fn sqrt(&self) -> Result<Var> {
        self.unary(UnaryOp::Sqrt, [0.0; 2], |x| x.sqrt())
    }

    /// `x^(-1/2)`; see [`Tensor::rsqrt`](chainrule_tensor::Tensor::rsqrt).
    ///
    /// Gradient: `-y^3 dy / 2`.
    #[track_caller]
    pub fn rsqrt(&self) -> Result<Var> {
        self.unary(UnaryOp::Rsqrt, [0.0; 2], |x| x.rsqrt())
    }

    /// `1 / x`; see [`Tensor::reciprocal`](chainrule_tensor::Tensor::reciprocal).
    ///
    /// Gradient: `-y^2 dy`.
    #[track_caller]
    pub fn reciprocal(&self) -> Result<Var> {
        self.unary(UnaryOp::Reciprocal, [0.0; 2], |x| x.reciprocal())
    }

    /// `sin(x)`, x in radians; see [`Tensor::sin`](chainrule_tensor::Tensor::sin).
    ///
    /// Gradient: `cos(x) dy`.
    #[track_caller]
    pub fn sin(&self) -> Result<Var> {
        self.unary(UnaryOp::Sin, [0.0; 2], |x| x.sin())
    }

    /// `cos(x)`, x in radians; see [`Tensor::cos`](chainrule_tensor::Tensor::cos).
    ///
    /// Gradient: `-sin(x) dy`.
    #[track_caller]
    pub fn cos(&self) -> Result<Var> {
        self.unary(UnaryOp::Cos, [0.0; 2], |x| x.cos())
    }

    /// `tan(x)`, x in radians; see [`Tensor::tan`](chainrule_tensor::Tensor::tan).
    ///
    /// Gradient: `(1 + y^2) dy`.
    #[track_caller]
    pub fn tan(&self) -> Result<Var> {
        self.unary(UnaryOp::Tan, [0.0; 2], |x| x.tan())
    }

    /// The angle in -pi/2..pi/2 whose sine is `x`; see [`Tensor::asin`](chainrule_tensor::Tensor::asin).
    ///
    /// Gradient: `dy / sqrt(1 - x^2)`.
    #[track_caller]
    pub fn asin(&self) -> Result<Var> {
        self.unary(UnaryOp::Asin, [0.0; 2], |x| x.asin())
    }

    /// The angle in 0..pi whose cosine is `x`; see [`Tensor::acos`](chainrule_tensor::Tensor::acos).
    ///
    /// Gradient: `-dy / sqrt(1 - x^2)`.
    #[track_caller]
    pub fn acos(&self) -> Result<Var> {
        self.unary(UnaryOp::Acos, [0.0; 2], |x| x.acos())
    }

    /// The angle in -pi/2..pi/2 whose tangent is `x`; see [`Tensor::atan`](chainrule_tensor::Tensor::atan).
    ///
    /// Gradient: `dy / (1 + x^2)`.
    #[track_caller]
    pub fn atan(&self) -> Result<Var> {
        self.unary(UnaryOp::Atan, [0.0; 2], |x| x.atan())
    }

    /// `(e^x - e^-x) / 2`; see [`Tensor::sinh`](chainrule_tensor::Tensor::sinh).
    ///
    /// Gradient: `cosh(x) dy`.
    #[track_caller]
    pub fn sinh(&self) -> Result<Var> {
        self.unary(UnaryOp::Sinh, [0.0; 2], |x| x.sinh())
    }

    /// `(e^x + e^-x) / 2`; see [`Tensor::cosh`](chainrule_tensor::Tensor::cosh).
    ///
    /// Gradient: `sinh(x) dy`.
    #[track_caller]
    pub fn cosh(&self) -> Result<Var> {
        self.unary(UnaryOp::Cosh, [0.0; 2], |x| x.cosh())
    }

    /// `(e^x - e^-x) / (e^x + e^-x)`; see [`Tensor::tanh`](chainrule_tensor::Tensor::tanh).
    ///
    /// Gradient: `(1 - y^2) dy`.
    #[track_caller]
    pub fn tanh(&self) -> Result<Var> {
        self.unary(UnaryOp::Tanh, [0.0; 2], |x| x.tanh())
    }

    /// `ln(x + sqrt(x^2 + 1))`; see [`Tensor::asinh`](chainrule_tensor::Tensor::asinh).
    ///
    /// Gradient: `dy / sqrt(x^2 + 1)`.
    #[track_caller]
    pub fn asinh(&self) -> Result<Var> {
        self.unary(UnaryOp::Asinh, [0.0; 2], |x| x.asinh())
    }

    /// `ln(x + sqrt(x^2 - 1))`, NaN below 1; see [`Tensor::acosh`](chainrule_tensor::Tensor::acosh).
    ///
    /// Gradient: `dy / sqrt(x^2 - 1)`.
    #[track_caller]
    pub fn acosh(&self) -> Result<Var> {
        self.unary(UnaryOp::Acosh, [0.0; 2], |x| x.acosh())
    }

    /// `ln((1 + x) / (1 - x)) / 2`; see [`Tensor::atanh`](chainrule_tensor::Tensor::atanh).
    ///
    /// Gradient: `dy / (1 - x^2)`.
    #[track_caller]
    pub fn atanh(&self) -> Result<Var> {
        self.unary(UnaryOp::Atanh, [0.0; 2], |x| x.atanh())
    }

    /// The error function, `2/sqrt(pi)` times the integral of `exp(-t^2)` from 0 to `x`; see [`Tensor::erf`](chainrule_tensor::Tensor::erf).
    ///
    /// Gradient: `2/sqrt(pi) exp(-x^2) dy`.
    #[track_caller]
    pub fn erf(&self) -> Result<Var> {
        self.unary(UnaryOp::Erf, [0.0; 2], |x| x.erf())
    }

    /// The largest integer that is not above `x`; see [`Tensor::floor`](chainrule_tensor::Tensor::floor).
    ///
    /// Gradient: 0.
    #[track_caller]
    pub fn floor(&self) -> Result<Var> {
        self.unary(UnaryOp::Floor, [0.0; 2], |x| x.floor())
    }

    /// The smallest integer that is not below `x`; see [`Tensor::ceil`](chainrule_tensor::Tensor::ceil).
    ///
    /// Gradient: 0.
    #[track_caller]
    pub fn ceil(&self) -> Result<Var> {
        self.unary(UnaryOp::Ceil, [0.0; 2], |x| x.ceil())
    }

    /// The nearest integer, the even one of two that are equally near; see [`Tensor::round`](chainrule_tensor::Tensor::round).
    ///
    /// Gradient: 0.
    #[track_caller]
    pub fn round(&self) -> Result<Var> {
        self.unary(UnaryOp::Round, [0.0; 2], |x| x.round())
    }

    /// `x` without its fraction; see [`Tensor::trunc`](chainrule_tensor::Tensor::trunc).
    ///
    /// Gradient: 0.
    #[track_caller]
    pub fn trunc(&self) -> Result<Var> {
        self.unary(UnaryOp::Trunc, [0.0; 2], |x| x.trunc())
    }

    /// `max(x, 0)`; NaN stays; see [`Tensor::relu`](chainrule_tensor::Tensor::relu).
    ///
    /// Gradient: `dy` where `x > 0`, 0 elsewhere.
    #[track_caller]
    pub fn relu(&self) -> Result<Var> {
        self.unary(UnaryOp::Relu, [0.0; 2], |x| x.relu())
    }

    /// `1 / (1 + e^-x)`; see [`Tensor::sigmoid`](chainrule_tensor::Tensor::sigmoid).
    ///
    /// Gradient: `y (1 - y) dy`.
    #[track_caller]
    pub fn sigmoid(&self) -> Result<Var> {
        self.unary(UnaryOp::Sigmoid, [0.0; 2], |x| x.sigmoid())
    }

    /// `ln(1 / (1 + e^-x))`, without overflow; see [`Tensor::log_sigmoid`](chainrule_tensor::Tensor::log_sigmoid).
    ///
    /// Gradient: `sigmoid(-x) dy`.
    #[track_caller]
    pub fn log_sigmoid(&self) -> Result<Var> {
        self.unary(UnaryOp::LogSigmoid, [0.0; 2], |x| x.log_sigmoid())
    }

    /// `x / 2 (1 + erf(x / sqrt 2))`: the Gaussian error linear unit; see [`Tensor::gelu`](chainrule_tensor::Tensor::gelu).
    ///
    /// Gradient: `(Phi(x) + x phi(x)) dy` with the normal distribution `Phi` and density `phi`.
    #[track_caller]
    pub fn gelu(&self) -> Result<Var> {
        self.unary(UnaryOp::Gelu, [0.0; 2], |x| x.gelu())
    }

    /// `x / 2 (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3)))`: the approximation of [`gelu`](Self::gelu) that GPT-2 uses; see [`Tensor::gelu_tanh`](chainrule_tensor::Tensor::gelu_tanh).
    ///
    /// Gradient: the derivative of the approximation.
    #[track_caller]
    pub fn gelu_tanh(&self) -> Result<Var> {
        self.unary(UnaryOp::GeluTanh, [0.0; 2], |x| x.gelu_tanh())
    }

    /// `x / (1 + e^-x)`, also called swish; see [`Tensor::silu`](chainrule_tensor::Tensor::silu).
    ///
    /// Gradient: `s (1 + x (1 - s)) dy` with `s = sigmoid(x)`.
    #[track_caller]
    pub fn silu(&self) -> Result<Var> {
        self.unary(UnaryOp::Silu, [0.0; 2], |x| x.silu())
    }

    /// `ln(1 + e^x)`, without overflow; see [`Tensor::softplus`](chainrule_tensor::Tensor::softplus).
    ///
    /// Gradient: `sigmoid(x) dy`.
    #[track_caller]
    pub fn softplus(&self) -> Result<Var> {
        self.unary(UnaryOp::Softplus, [0.0; 2], |x| x.softplus())
    }

    /// `x tanh(softplus(x))`; see [`Tensor::mish`](chainrule_tensor::Tensor::mish).
    ///
    /// Gradient: `(t + x (1 - t^2) sigmoid(x)) dy` with `t = tanh(softplus(x))`.
    #[track_caller]
    pub fn mish(&self) -> Result<Var> {
        self.unary(UnaryOp::Mish, [0.0; 2], |x| x.mish())
    }

    /// `x` above 0, `slope * x` elsewhere; see [`Tensor::leaky_relu`](chainrule_tensor::Tensor::leaky_relu).
    ///
    /// Gradient: `dy` above 0, `slope * dy` elsewhere.
    #[track_caller]
    pub fn leaky_relu(&self, slope: f64) -> Result<Var> {
        self.unary(UnaryOp::LeakyRelu, [slope, 0.0], |x| x.leaky_relu(slope))
    }

    /// `x` above 0, `alpha (e^x - 1)` elsewhere; see [`Tensor::elu`](chainrule_tensor::Tensor::elu).
    ///
    /// Gradient: `dy` above 0, `alpha e^x dy` elsewhere.
    #[track_caller]
    pub fn elu(&self, alpha: f64) -> Result<Var> {
        self.unary(UnaryOp::Elu, [alpha, 0.0], |x| x.elu(alpha))
    }

    /// `x` brought into `low..=high`; see [`Tensor::clamp`](chainrule_tensor::Tensor::clamp).
    ///
    /// Gradient: `dy` strictly inside the bounds, 0 elsewhere.
    #[track_caller]
    pub fn clamp(&self, low: f64, high: f64) -> Result<Var> {
        self.unary(UnaryOp::Clamp, [low, high], |x| x.clamp(low, high))
    }
}

//! Activations. Their derivatives are the table in `elementwise.rs`.

use chainrule_tensor::{Result, UnaryOp};

use crate::Var;

impl Var {
    /// `max(x, 0)`; NaN stays; see [`Tensor::relu`](chainrule_tensor::Tensor::relu).
    ///
    /// Gradient: `dy` where `x > 0`, 0 elsewhere.
    ///
    /// ```
    /// # use chainrule_autograd::value_and_grad;
    /// # use chainrule_tensor::{Device, Tensor};
    /// let x = Tensor::new([-1.0f64, 2.0], &Device::Cpu)?;
    /// let (y, dx) = value_and_grad(|x| x[0].relu()?.sum(.., false), &[x])?;
    /// assert_eq!((y.item::<f64>()?, dx[0].to_vec::<f64>()?), (2.0, vec![0.0, 1.0]));
    /// # Ok::<(), chainrule_tensor::Error>(())
    /// ```
    #[track_caller]
    pub fn relu(&self) -> Result<Var> {
        self.unary(UnaryOp::Relu, [0.0; 2], |x| x.relu())
    }

    /// `1 / (1 + e^-x)`; see [`Tensor::sigmoid`](chainrule_tensor::Tensor::sigmoid).
    ///
    /// Gradient: `y (1 - y) dy`.
    ///
    /// ```
    /// # use chainrule_autograd::value_and_grad;
    /// # use chainrule_tensor::{Device, Tensor};
    /// let x = Tensor::new(0.0f64, &Device::Cpu)?;
    /// let (y, dx) = value_and_grad(|x| x[0].sigmoid(), &[x])?;
    /// assert_eq!((y.item::<f64>()?, dx[0].item::<f64>()?), (0.5, 0.25));
    /// # Ok::<(), chainrule_tensor::Error>(())
    /// ```
    #[track_caller]
    pub fn sigmoid(&self) -> Result<Var> {
        self.unary(UnaryOp::Sigmoid, [0.0; 2], |x| x.sigmoid())
    }

    /// `ln(1 / (1 + e^-x))`, without overflow; see [`Tensor::log_sigmoid`](chainrule_tensor::Tensor::log_sigmoid).
    ///
    /// Gradient: `sigmoid(-x) dy`.
    ///
    /// ```
    /// # use chainrule_autograd::value_and_grad;
    /// # use chainrule_tensor::{Device, Tensor};
    /// let x = Tensor::new(0.0f64, &Device::Cpu)?;
    /// let (y, dx) = value_and_grad(|x| x[0].log_sigmoid(), &[x])?;
    /// assert_eq!((y.item::<f64>()?, dx[0].item::<f64>()?), (-std::f64::consts::LN_2, 0.5));
    /// # Ok::<(), chainrule_tensor::Error>(())
    /// ```
    #[track_caller]
    pub fn log_sigmoid(&self) -> Result<Var> {
        self.unary(UnaryOp::LogSigmoid, [0.0; 2], |x| x.log_sigmoid())
    }

    /// `x / 2 (1 + erf(x / sqrt 2))`: the Gaussian error linear unit; see [`Tensor::gelu`](chainrule_tensor::Tensor::gelu).
    ///
    /// Gradient: `(Phi(x) + x phi(x)) dy` with the normal distribution `Phi` and density `phi`.
    ///
    /// ```
    /// # use chainrule_autograd::value_and_grad;
    /// # use chainrule_tensor::{Device, Tensor};
    /// let x = Tensor::new(0.0f64, &Device::Cpu)?;
    /// let (y, dx) = value_and_grad(|x| x[0].gelu(), &[x])?;
    /// assert_eq!((y.item::<f64>()?, dx[0].item::<f64>()?), (0.0, 0.5));
    /// # Ok::<(), chainrule_tensor::Error>(())
    /// ```
    #[track_caller]
    pub fn gelu(&self) -> Result<Var> {
        self.unary(UnaryOp::Gelu, [0.0; 2], |x| x.gelu())
    }

    /// `x / 2 (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3)))`: the approximation of [`gelu`](Self::gelu) that GPT-2 uses; see [`Tensor::gelu_tanh`](chainrule_tensor::Tensor::gelu_tanh).
    ///
    /// Gradient: the derivative of the approximation.
    ///
    /// ```
    /// # use chainrule_autograd::value_and_grad;
    /// # use chainrule_tensor::{Device, Tensor};
    /// let x = Tensor::new(0.0f64, &Device::Cpu)?;
    /// let (y, dx) = value_and_grad(|x| x[0].gelu_tanh(), &[x])?;
    /// assert_eq!((y.item::<f64>()?, dx[0].item::<f64>()?), (0.0, 0.5));
    /// # Ok::<(), chainrule_tensor::Error>(())
    /// ```
    #[track_caller]
    pub fn gelu_tanh(&self) -> Result<Var> {
        self.unary(UnaryOp::GeluTanh, [0.0; 2], |x| x.gelu_tanh())
    }

    /// `x / (1 + e^-x)`, also called swish; see [`Tensor::silu`](chainrule_tensor::Tensor::silu).
    ///
    /// Gradient: `s (1 + x (1 - s)) dy` with `s = sigmoid(x)`.
    ///
    /// ```
    /// # use chainrule_autograd::value_and_grad;
    /// # use chainrule_tensor::{Device, Tensor};
    /// let x = Tensor::new(0.0f64, &Device::Cpu)?;
    /// let (y, dx) = value_and_grad(|x| x[0].silu(), &[x])?;
    /// assert_eq!((y.item::<f64>()?, dx[0].item::<f64>()?), (0.0, 0.5));
    /// # Ok::<(), chainrule_tensor::Error>(())
    /// ```
    #[track_caller]
    pub fn silu(&self) -> Result<Var> {
        self.unary(UnaryOp::Silu, [0.0; 2], |x| x.silu())
    }

    /// `ln(1 + e^x)`, without overflow; see [`Tensor::softplus`](chainrule_tensor::Tensor::softplus).
    ///
    /// Gradient: `sigmoid(x) dy`.
    ///
    /// ```
    /// # use chainrule_autograd::value_and_grad;
    /// # use chainrule_tensor::{Device, Tensor};
    /// let x = Tensor::new(0.0f64, &Device::Cpu)?;
    /// let (y, dx) = value_and_grad(|x| x[0].softplus(), &[x])?;
    /// assert_eq!((y.item::<f64>()?, dx[0].item::<f64>()?), (std::f64::consts::LN_2, 0.5));
    /// # Ok::<(), chainrule_tensor::Error>(())
    /// ```
    #[track_caller]
    pub fn softplus(&self) -> Result<Var> {
        self.unary(UnaryOp::Softplus, [0.0; 2], |x| x.softplus())
    }

    /// `x tanh(softplus(x))`; see [`Tensor::mish`](chainrule_tensor::Tensor::mish).
    ///
    /// Gradient: `(t + x (1 - t^2) sigmoid(x)) dy` with `t = tanh(softplus(x))`.
    ///
    /// ```
    /// # use chainrule_autograd::value_and_grad;
    /// # use chainrule_tensor::{Device, Tensor};
    /// let x = Tensor::new(0.0f64, &Device::Cpu)?;
    /// let (y, dx) = value_and_grad(|x| x[0].mish(), &[x])?;
    /// assert_eq!(y.item::<f64>()?, 0.0);
    /// assert!((dx[0].item::<f64>()? - 0.6).abs() < 1e-15); // tanh(ln 2)
    /// # Ok::<(), chainrule_tensor::Error>(())
    /// ```
    #[track_caller]
    pub fn mish(&self) -> Result<Var> {
        self.unary(UnaryOp::Mish, [0.0; 2], |x| x.mish())
    }

    /// `x` above 0, `slope * x` elsewhere; see [`Tensor::leaky_relu`](chainrule_tensor::Tensor::leaky_relu).
    ///
    /// Gradient: `dy` above 0, `slope * dy` elsewhere.
    ///
    /// ```
    /// # use chainrule_autograd::value_and_grad;
    /// # use chainrule_tensor::{Device, Tensor};
    /// let x = Tensor::new([-2.0f64, 2.0], &Device::Cpu)?;
    /// let (y, dx) = value_and_grad(|x| x[0].leaky_relu(0.25)?.sum(.., false), &[x])?;
    /// assert_eq!((y.item::<f64>()?, dx[0].to_vec::<f64>()?), (1.5, vec![0.25, 1.0]));
    /// # Ok::<(), chainrule_tensor::Error>(())
    /// ```
    #[track_caller]
    pub fn leaky_relu(&self, slope: f64) -> Result<Var> {
        self.unary(UnaryOp::LeakyRelu, [slope, 0.0], |x| x.leaky_relu(slope))
    }

    /// `x` above 0, `alpha (e^x - 1)` elsewhere; see [`Tensor::elu`](chainrule_tensor::Tensor::elu).
    ///
    /// Gradient: `dy` above 0, `alpha e^x dy` elsewhere.
    ///
    /// ```
    /// # use chainrule_autograd::value_and_grad;
    /// # use chainrule_tensor::{Device, Tensor};
    /// let x = Tensor::new(0.0f64, &Device::Cpu)?;
    /// let (y, dx) = value_and_grad(|x| x[0].elu(2.0), &[x])?;
    /// assert_eq!((y.item::<f64>()?, dx[0].item::<f64>()?), (0.0, 2.0));
    /// # Ok::<(), chainrule_tensor::Error>(())
    /// ```
    #[track_caller]
    pub fn elu(&self, alpha: f64) -> Result<Var> {
        self.unary(UnaryOp::Elu, [alpha, 0.0], |x| x.elu(alpha))
    }
}

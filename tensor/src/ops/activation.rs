//! Activation functions, element by element.

use chainrule_kernels::elementwise::UnaryOp;

use crate::{Result, Tensor};

impl Tensor {
    /// `max(x, 0)`; NaN stays.
    ///
    /// ```
    /// use chainrule_tensor::{Device, Tensor};
    /// let x = Tensor::new([-1.0f32, 2.0], &Device::Cpu)?;
    /// assert_eq!(x.relu()?.to_vec::<f32>()?, [0.0, 2.0]);
    /// # Ok::<(), chainrule_tensor::Error>(())
    /// ```
    ///
    /// Source: `torch.relu`.
    #[track_caller]
    pub fn relu(&self) -> Result<Tensor> {
        self.unary(UnaryOp::Relu, [0.0; 2])
    }

    /// `1 / (1 + e^-x)`.
    ///
    /// ```
    /// use chainrule_tensor::{Device, Tensor};
    /// let x = Tensor::new([0.0f32], &Device::Cpu)?;
    /// assert_eq!(x.sigmoid()?.to_vec::<f32>()?, [0.5]);
    /// # Ok::<(), chainrule_tensor::Error>(())
    /// ```
    ///
    /// Source: `torch.sigmoid`.
    #[track_caller]
    pub fn sigmoid(&self) -> Result<Tensor> {
        self.unary(UnaryOp::Sigmoid, [0.0; 2])
    }

    /// `ln(1 / (1 + e^-x))`, without overflow.
    ///
    /// ```
    /// use chainrule_tensor::{Device, Tensor};
    /// let x = Tensor::new([0.0f64], &Device::Cpu)?;
    /// assert_eq!(x.log_sigmoid()?.to_vec::<f64>()?, [-std::f64::consts::LN_2]);
    /// # Ok::<(), chainrule_tensor::Error>(())
    /// ```
    ///
    /// Source: `torch.nn.functional.logsigmoid`.
    #[track_caller]
    pub fn log_sigmoid(&self) -> Result<Tensor> {
        self.unary(UnaryOp::LogSigmoid, [0.0; 2])
    }

    /// `x / 2 (1 + erf(x / sqrt 2))`: the Gaussian error linear unit.
    ///
    /// ```
    /// use chainrule_tensor::{Device, Tensor};
    /// let x = Tensor::new([0.0f32], &Device::Cpu)?;
    /// assert_eq!(x.gelu()?.to_vec::<f32>()?, [0.0]);
    /// # Ok::<(), chainrule_tensor::Error>(())
    /// ```
    ///
    /// Source: Hendrycks and Gimpel, Gaussian Error Linear Units (2016), section 2; torch.nn.functional.gelu.
    #[track_caller]
    pub fn gelu(&self) -> Result<Tensor> {
        self.unary(UnaryOp::Gelu, [0.0; 2])
    }

    /// `x / 2 (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3)))`: the approximation of [`gelu`](Self::gelu) that GPT-2 uses.
    ///
    /// ```
    /// use chainrule_tensor::{Device, Tensor};
    /// let x = Tensor::new([0.0f32], &Device::Cpu)?;
    /// assert_eq!(x.gelu_tanh()?.to_vec::<f32>()?, [0.0]);
    /// # Ok::<(), chainrule_tensor::Error>(())
    /// ```
    ///
    /// Source: Hendrycks and Gimpel (2016), section 2; torch.nn.functional.gelu with approximate="tanh".
    #[track_caller]
    pub fn gelu_tanh(&self) -> Result<Tensor> {
        self.unary(UnaryOp::GeluTanh, [0.0; 2])
    }

    /// `x / (1 + e^-x)`, also called swish.
    ///
    /// ```
    /// use chainrule_tensor::{Device, Tensor};
    /// let x = Tensor::new([0.0f32], &Device::Cpu)?;
    /// assert_eq!(x.silu()?.to_vec::<f32>()?, [0.0]);
    /// # Ok::<(), chainrule_tensor::Error>(())
    /// ```
    ///
    /// Source: `torch.nn.functional.silu`.
    #[track_caller]
    pub fn silu(&self) -> Result<Tensor> {
        self.unary(UnaryOp::Silu, [0.0; 2])
    }

    /// `ln(1 + e^x)`, without overflow.
    ///
    /// # Differences
    /// PyTorch returns `x` itself above a threshold of 20; the values agree to f32 precision.
    ///
    /// ```
    /// use chainrule_tensor::{Device, Tensor};
    /// let x = Tensor::new([0.0f64], &Device::Cpu)?;
    /// assert_eq!(x.softplus()?.to_vec::<f64>()?, [std::f64::consts::LN_2]);
    /// # Ok::<(), chainrule_tensor::Error>(())
    /// ```
    ///
    /// Source: torch.nn.functional.softplus with beta 1.
    #[track_caller]
    pub fn softplus(&self) -> Result<Tensor> {
        self.unary(UnaryOp::Softplus, [0.0; 2])
    }

    /// `x tanh(softplus(x))`.
    ///
    /// ```
    /// use chainrule_tensor::{Device, Tensor};
    /// let x = Tensor::new([0.0f32], &Device::Cpu)?;
    /// assert_eq!(x.mish()?.to_vec::<f32>()?, [0.0]);
    /// # Ok::<(), chainrule_tensor::Error>(())
    /// ```
    ///
    /// Source: Misra, Mish (2019); torch.nn.functional.mish.
    #[track_caller]
    pub fn mish(&self) -> Result<Tensor> {
        self.unary(UnaryOp::Mish, [0.0; 2])
    }

    /// `x` above 0, `slope * x` elsewhere.
    ///
    /// ```
    /// use chainrule_tensor::{Device, Tensor};
    /// let x = Tensor::new([-2.0f64, 2.0], &Device::Cpu)?;
    /// assert_eq!(x.leaky_relu(0.25)?.to_vec::<f64>()?, [-0.5, 2.0]);
    /// # Ok::<(), chainrule_tensor::Error>(())
    /// ```
    ///
    /// Source: `torch.nn.functional.leaky_relu`.
    #[track_caller]
    pub fn leaky_relu(&self, slope: f64) -> Result<Tensor> {
        self.unary(UnaryOp::LeakyRelu, [slope, 0.0])
    }

    /// `x` above 0, `alpha (e^x - 1)` elsewhere.
    ///
    /// ```
    /// use chainrule_tensor::{Device, Tensor};
    /// let x = Tensor::new([0.0f64, 2.0], &Device::Cpu)?;
    /// assert_eq!(x.elu(1.5)?.to_vec::<f64>()?, [0.0, 2.0]);
    /// # Ok::<(), chainrule_tensor::Error>(())
    /// ```
    ///
    /// Source: Clevert et al., Exponential Linear Units (2015); `torch.nn.functional.elu`.
    #[track_caller]
    pub fn elu(&self, alpha: f64) -> Result<Tensor> {
        self.unary(UnaryOp::Elu, [alpha, 0.0])
    }

    /// `x` brought into `low..=high`; infinite bounds leave that side open. NaN stays.
    ///
    /// ```
    /// use chainrule_tensor::{Device, Tensor};
    /// let x = Tensor::new([-2.0f32, 0.5, 2.0], &Device::Cpu)?;
    /// assert_eq!(x.clamp(-1.0, 1.0)?.to_vec::<f32>()?, [-1.0, 0.5, 1.0]);
    /// # Ok::<(), chainrule_tensor::Error>(())
    /// ```
    ///
    /// Source: `torch.clamp` with numbers.
    #[track_caller]
    pub fn clamp(&self, low: f64, high: f64) -> Result<Tensor> {
        self.unary(UnaryOp::Clamp, [low, high])
    }
}

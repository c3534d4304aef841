//! The fully connected layer.

use chainrule_autograd::{Param, Var};
use chainrule_tensor::{Result, Rng};

use crate::{Activation, Dropout, Module, init};

/// `y = x Wᵀ + b` over the last dim: `[..., in] -> [..., out]`.
///
/// ```
/// use chainrule_autograd::{Param, Var};
/// use chainrule_nn::Linear;
/// use chainrule_tensor::{Device, Tensor};
/// let weight = Param::new(Tensor::new([[1.0f32, 2.0], [0.0, -1.0]], &Device::Cpu)?);
/// let layer = Linear { weight, bias: None };
/// let x = Var::from(Tensor::new([3.0f32, 4.0], &Device::Cpu)?);
/// assert_eq!(layer.forward(&x)?.to_vec::<f32>()?, [11.0, -4.0]);
/// # Ok::<(), chainrule_tensor::Error>(())
/// ```
///
/// Source: `torch.nn.Linear`.
#[derive(Clone, Debug, Module)]
pub struct Linear {
    /// `[out, in]`
    pub weight: Param,
    /// `[out]`
    pub bias: Option<Param>,
}

impl Linear {
    /// A layer with bias. Both are drawn evenly from `±1 / sqrt(in)`, PyTorch's default.
    ///
    /// # Errors
    /// Sizes that are too large.
    #[track_caller]
    pub fn new(inputs: usize, outputs: usize, rng: &mut Rng) -> Result<Linear> {
        let bound = 1.0 / (inputs.max(1) as f64).sqrt();
        let layer = Linear::without_bias(inputs, outputs, rng)?;
        Ok(Linear { bias: Some(Param::new(init::uniform([outputs], -bound, bound, rng)?)), ..layer })
    }

    /// A layer without bias. The weight is drawn evenly from `±1 / sqrt(in)`, PyTorch's default.
    ///
    /// # Errors
    /// Sizes that are too large.
    #[track_caller]
    pub fn without_bias(inputs: usize, outputs: usize, rng: &mut Rng) -> Result<Linear> {
        // PyTorch writes this bound as kaiming_uniform with the gain of a leaky ReLU of slope sqrt(5).
        let weight = init::kaiming_uniform([outputs, inputs], (1.0f64 / 3.0).sqrt(), init::Fan::In, rng)?;
        Ok(Linear { weight: Param::new(weight), bias: None })
    }

    /// A layer with a normal weight of deviation `std`, and a bias of zeros if `bias`.
    ///
    /// # Errors
    /// Sizes that are too large.
    #[track_caller]
    pub fn normal(inputs: usize, outputs: usize, std: f64, bias: bool, rng: &mut Rng) -> Result<Linear> {
        let weight = Param::new(init::normal([outputs, inputs], 0.0, std, rng)?);
        let bias = bias.then(|| init::constant([outputs], 0.0)).transpose()?.map(Param::new);
        Ok(Linear { weight, bias })
    }

    /// `x Wᵀ + b`: `[..., in] -> [..., out]`.
    ///
    /// # Errors
    /// A last dim other than `in`.
    #[track_caller]
    pub fn forward(&self, x: &Var) -> Result<Var> {
        x.linear(&self.weight, self.bias.as_deref())
    }

    /// `activation(x Wᵀ + b)`, in one pass on a GPU where the activation is a GELU: `[..., in] -> [..., out]`.
    ///
    /// # Errors
    /// A last dim other than `in`.
    #[track_caller]
    pub fn forward_activated(&self, x: &Var, activation: Activation) -> Result<Var> {
        match activation.gelu() {
            Some(form) => x.linear_gelu(&self.weight, self.bias.as_deref(), form),
            None => activation.forward(&self.forward(x)?),
        }
    }

    /// `residual + dropout(x Wᵀ + b)`, in one pass where nothing is dropped: `[..., in] -> [..., out]`.
    ///
    /// # Errors
    /// A last dim other than `in`, a residual of another shape than the result.
    #[track_caller]
    pub fn forward_add(&self, x: &Var, dropout: &Dropout, residual: &Var) -> Result<Var> {
        if dropout.drops(x) {
            return residual.add(dropout.forward(&self.forward(x)?)?);
        }
        x.linear_add(&self.weight, self.bias.as_deref(), residual)
    }
}

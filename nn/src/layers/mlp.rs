//! The feed-forward part of a transformer block.

use chainrule_autograd::Var;
use chainrule_tensor::{Result, Rng};

use crate::{Activation, Dropout, Linear, Module};

/// `y = c_proj(activation(c_fc(x)))`, named as in GPT-2.
#[derive(Clone, Debug, Module)]
pub struct Mlp {
    /// `[hidden, width]`
    pub c_fc: Linear,
    /// `[width, hidden]`
    pub c_proj: Linear,
    /// Between the two.
    pub activation: Activation,
    /// After the second.
    pub dropout: Dropout,
}

impl Mlp {
    /// Layers with biases and PyTorch's default weights, GELU in the tanh form and no dropout.
    ///
    /// # Errors
    /// Sizes that are too large.
    #[track_caller]
    pub fn new(width: usize, hidden: usize, rng: &mut Rng) -> Result<Mlp> {
        let (c_fc, c_proj) = (Linear::new(width, hidden, rng)?, Linear::new(hidden, width, rng)?);
        Ok(Mlp { c_fc, c_proj, activation: Activation::GeluTanh, dropout: Dropout::new(0.0)? })
    }

    /// `[..., width] -> [..., width]`.
    ///
    /// # Errors
    /// A last dim other than `width`.
    #[track_caller]
    pub fn forward(&self, x: &Var) -> Result<Var> {
        let hidden = self.c_fc.forward_activated(x, self.activation)?;
        self.dropout.forward(&self.c_proj.forward(&hidden)?)
    }

    /// `residual + forward(x)`, in fewer passes: `[..., width] -> [..., width]`.
    ///
    /// # Errors
    /// A last dim other than `width`, a residual of another shape than `x`.
    #[track_caller]
    pub fn forward_add(&self, x: &Var, residual: &Var) -> Result<Var> {
        let hidden = self.c_fc.forward_activated(x, self.activation)?;
        self.c_proj.forward_add(&hidden, &self.dropout, residual)
    }
}

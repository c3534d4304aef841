//! Activation functions by name.

use chainrule_autograd::Var;
use chainrule_tensor::{Gelu, Result};
use serde::{Deserialize, Serialize};

/// An elementwise function between layers.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Activation {
    /// `max(x, 0)`
    #[default]
    Relu,
    /// `x Φ(x)`
    Gelu,
    /// `x Φ(x)` with `Φ` approximated by a tanh
    GeluTanh,
    /// `x σ(x)`
    Silu,
    /// `tanh(x)`
    Tanh,
    /// `σ(x) = 1 / (1 + exp(-x))`
    Sigmoid,
}

impl Activation {
    /// The function of every element.
    ///
    /// # Errors
    /// A dtype without the function.
    #[track_caller]
    pub fn forward(&self, x: &Var) -> Result<Var> {
        match self {
            Activation::Relu => x.relu(),
            Activation::Gelu => x.gelu(),
            Activation::GeluTanh => x.gelu_tanh(),
            Activation::Silu => x.silu(),
            Activation::Tanh => x.tanh(),
            Activation::Sigmoid => x.sigmoid(),
        }
    }

    /// The form of GELU that this is, if it is one: a linear layer computes it in the same pass.
    pub fn gelu(&self) -> Option<Gelu> {
        match self {
            Activation::Gelu => Some(Gelu::Exact),
            Activation::GeluTanh => Some(Gelu::Tanh),
            _ => None,
        }
    }
}

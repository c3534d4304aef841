//! Optimisers, schedules and gradient clipping.

mod adamw;
mod clip;
mod group;
mod schedule;
mod sgd;
mod state;
mod steps;
mod values;

use chainrule_autograd::Gradients;
use chainrule_tensor::{Result, Tensor};

use crate::Module;

pub use adamw::AdamW;
pub use clip::{clip_grad_norm, clip_grad_value};
pub use group::Group;
pub use schedule::{Constant, Cosine, Linear, Schedule, Step, WarmupCosine};
pub use sgd::Sgd;

/// What changes parameters given their gradients.
pub trait Optimizer {
    /// Changes every parameter that has a gradient and is not frozen; a tied one once.
    ///
    /// # Errors
    /// In the first step, a parameter without a gradient that is not frozen: with the op that cut it off. In any step, a
    /// gradient that does not fit its parameter; no parameter is then changed.
    #[track_caller]
    fn step(&mut self, model: &mut dyn Module, grads: &Gradients) -> Result<()>;

    /// The learning rate.
    fn lr(&self) -> f64;

    /// Sets the learning rate; a [`Schedule`] says to what.
    fn set_lr(&mut self, lr: f64);

    /// All there is to know to continue, as tensors named after the parameters of `model`.
    ///
    /// # Errors
    /// What the device reports.
    #[track_caller]
    fn state(&self, model: &dyn Module) -> Result<Vec<(String, Tensor)>>;

    /// Continues from what [`Optimizer::state`] gave, for a model with the same names.
    ///
    /// # Errors
    /// Names or shapes that do not fit; nothing is then changed.
    #[track_caller]
    fn load_state(&mut self, model: &dyn Module, state: Vec<(String, Tensor)>) -> Result<()>;
}

//! Stochastic gradient descent.

use chainrule_autograd::Gradients;
use chainrule_tensor::updates::{SgdParams, SgdSlot, sgd_step};
use chainrule_tensor::{Result, Tensor};

use crate::Module;
use crate::optim::Optimizer;
use crate::optim::group::{Group, Settings};
use crate::optim::state::States;
use crate::optim::values::{change_values, launches, trained};

/// Stochastic gradient descent with momentum, fused over all parameters and in place.
///
/// ```text
/// g = g + weight_decay p
/// b = momentum b + (1 - dampening) g      b = g in the first step
/// p = p - lr b        or, with Nesterov's momentum,        p = p - lr (g + momentum b)
/// ```
///
/// Source: `torch.optim.SGD`.
///
/// # Differences
/// Momentum buffers of f16 and bf16 parameters are f32. A parameter without a gradient is refused in the first step.
#[derive(Clone, Debug)]
pub struct Sgd {
    lr: f64,
    momentum: f64,
    dampening: f64,
    nesterov: bool,
    weight_decay: f64,
    groups: Vec<Group>,
    states: States,
}

impl Sgd {
    /// Plain descent: no momentum, no weight decay.
    pub fn new(lr: f64) -> Sgd {
        let (groups, states) = (Vec::new(), States::default());
        Sgd { lr, momentum: 0.0, dampening: 0.0, nesterov: false, weight_decay: 0.0, groups, states }
    }

    /// Sets the decay of the momentum buffer.
    pub fn momentum(mut self, momentum: f64) -> Sgd {
        self.momentum = momentum;
        self
    }

    /// Sets what of the gradient does not enter the momentum buffer.
    pub fn dampening(mut self, dampening: f64) -> Sgd {
        self.dampening = dampening;
        self
    }

    /// Uses Nesterov's momentum.
    pub fn nesterov(mut self, nesterov: bool) -> Sgd {
        self.nesterov = nesterov;
        self
    }

    /// Sets the weight decay, which is added to the gradient.
    pub fn weight_decay(mut self, weight_decay: f64) -> Sgd {
        self.weight_decay = weight_decay;
        self
    }

    /// Other settings for some parameters.
    pub fn group(mut self, group: Group) -> Sgd {
        self.groups.push(group);
        self
    }

    fn fields(&self) -> &'static [&'static str] {
        if self.momentum == 0.0 { &[] } else { &["momentum_buffer"] }
    }

    fn params(&self, settings: Settings, is_first_step: bool) -> SgdParams {
        SgdParams {
            lr: settings.lr,
            momentum: self.momentum,
            dampening: self.dampening,
            weight_decay: settings.weight_decay,
            grad_scale: 1.0,
            nesterov: self.nesterov.into(),
            first_step: is_first_step.into(),
            has_momentum: (self.momentum != 0.0).into(),
        }
    }
}

impl Optimizer for Sgd {
    #[track_caller]
    fn step(&mut self, model: &mut dyn Module, grads: &Gradients) -> Result<()> {
        let trained = trained(model, grads, self.states.is_empty())?;
        change_values(model, &trained, |values| {
            let mut states = self.states.take(&trained, values, self.fields().len())?;
            let base = Settings { lr: self.lr, weight_decay: self.weight_decay };
            let slots = trained.iter().zip(values).zip(&mut states).map(|((param, value), state)| {
                state.step += 1;
                let settings = base.for_param(&self.groups, &param.name, value);
                let momentum_buffer = state.tensors.first_mut();
                ((settings, state.step == 1), SgdSlot { param: value, grad: &param.grad, momentum_buffer })
            });
            for ((settings, is_first_step), slots) in launches(slots) {
                sgd_step(slots, self.params(settings, is_first_step))?;
            }
            self.states.put(&trained, states);
            Ok(())
        })
    }

    fn lr(&self) -> f64 {
        self.lr
    }

    fn set_lr(&mut self, lr: f64) {
        self.lr = lr;
    }

    #[track_caller]
    fn state(&self, model: &dyn Module) -> Result<Vec<(String, Tensor)>> {
        self.states.named(model, self.fields())
    }

    #[track_caller]
    fn load_state(&mut self, model: &dyn Module, state: Vec<(String, Tensor)>) -> Result<()> {
        self.states = States::from_named(model, self.fields(), state)?;
        Ok(())
    }
}

//! Stochastic gradient descent.

use chainrule_autograd::Gradients;
use chainrule_tensor::updates::{SgdParams, SgdSlot, sgd_step};
use chainrule_tensor::{Result, Tensor};

use crate::Module;
use crate::optim::Optimizer;
use crate::optim::group::{Group, Settings};
use crate::optim::state::States;
use crate::optim::steps::{Slot, Steps};

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
    rule: Rule,
    steps: Steps,
}

/// What is the same for all parameters.
#[derive(Clone, Copy, Debug)]
struct Rule {
    momentum: f64,
    dampening: f64,
    nesterov: bool,
}

impl Sgd {
    /// Plain descent: no momentum, no weight decay.
    pub fn new(lr: f64) -> Sgd {
        Sgd { rule: Rule { momentum: 0.0, dampening: 0.0, nesterov: false }, steps: Steps::new(lr, 0.0) }
    }

    /// Sets the decay of the momentum buffer.
    pub fn momentum(mut self, momentum: f64) -> Sgd {
        self.rule.momentum = momentum;
        self
    }

    /// Sets what of the gradient does not enter the momentum buffer.
    pub fn dampening(mut self, dampening: f64) -> Sgd {
        self.rule.dampening = dampening;
        self
    }

    /// Uses Nesterov's momentum.
    pub fn nesterov(mut self, nesterov: bool) -> Sgd {
        self.rule.nesterov = nesterov;
        self
    }

    /// Sets the weight decay, which is added to the gradient.
    pub fn weight_decay(mut self, weight_decay: f64) -> Sgd {
        self.steps.settings.weight_decay = weight_decay;
        self
    }

    /// Other settings for some parameters.
    pub fn group(mut self, group: Group) -> Sgd {
        self.steps.groups.push(group);
        self
    }
}

impl Rule {
    fn fields(self) -> &'static [&'static str] {
        if self.momentum == 0.0 { &[] } else { &["momentum_buffer"] }
    }

    fn params(self, settings: Settings, step: u64) -> SgdParams {
        SgdParams {
            lr: settings.lr,
            momentum: self.momentum,
            dampening: self.dampening,
            weight_decay: settings.weight_decay,
            grad_scale: 1.0,
            nesterov: self.nesterov.into(),
            first_step: (step == 1).into(),
            has_momentum: (self.momentum != 0.0).into(),
        }
    }
}

impl Optimizer for Sgd {
    #[track_caller]
    fn step(&mut self, model: &mut dyn Module, grads: &Gradients) -> Result<()> {
        let rule = self.rule;
        self.steps.step(model, grads, rule.fields().len(), |settings, step, slots| {
            let slot = |Slot { param, grad, states }| SgdSlot { param, grad, momentum_buffer: states.first_mut() };
            sgd_step(slots.into_iter().map(slot).collect(), rule.params(settings, step))
        })
    }

    fn lr(&self) -> f64 {
        self.steps.settings.lr
    }

    fn set_lr(&mut self, lr: f64) {
        self.steps.settings.lr = lr;
    }

    #[track_caller]
    fn state(&self, model: &dyn Module) -> Result<Vec<(String, Tensor)>> {
        self.steps.states.named(model, self.rule.fields())
    }

    #[track_caller]
    fn load_state(&mut self, model: &dyn Module, state: Vec<(String, Tensor)>) -> Result<()> {
        self.steps.states = States::from_named(model, self.rule.fields(), state)?;
        Ok(())
    }
}

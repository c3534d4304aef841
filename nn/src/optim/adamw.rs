//! Adam with decoupled weight decay.

use chainrule_autograd::Gradients;
use chainrule_tensor::updates::{AdamWParams, AdamWSlot, adamw_step};
use chainrule_tensor::{Result, Tensor};

use crate::Module;
use crate::optim::Optimizer;
use crate::optim::group::{Group, Settings};
use crate::optim::state::States;
use crate::optim::steps::{Slot, Steps};

/// AdamW, fused over all parameters and in place.
///
/// ```text
/// p = p (1 - lr weight_decay)
/// m = beta1 m + (1 - beta1) g,  v = beta2 v + (1 - beta2) g²
/// p = p - lr m / (1 - beta1^t) / (sqrt(v / (1 - beta2^t)) + eps)
/// ```
///
/// Parameters below 64 bits are updated in f32 with states in f32.
///
/// ```
/// use chainrule_autograd::Tape;
/// use chainrule_nn::{AdamW, Linear, Module, Optimizer};
/// use chainrule_tensor::{Device, Rng, Tensor};
/// let mut model = Linear::new(2, 1, &mut Rng::seed(0))?;
/// let before = model.weight.to_vec::<f32>()?;
/// let mut adam = AdamW::new(0.1);
/// let x = Tensor::new([[1.0f32, -1.0]], &Device::Cpu)?;
/// let grads = model.on(&Tape::new()).forward(&x.into())?.sum(.., false)?.backward()?;
/// adam.step(&mut model, &grads)?;
/// // The first step is the sign of the gradient times the learning rate.
/// let after = model.weight.to_vec::<f32>()?;
/// assert!((after[0] - (before[0] * 0.999 - 0.1)).abs() < 1e-6);
/// # Ok::<(), chainrule_tensor::Error>(())
/// ```
///
/// Source: Loshchilov and Hutter, 2019, arXiv:1711.05101; `torch.optim.AdamW`.
///
/// # Differences
/// States of f16 and bf16 parameters are f32. A parameter without a gradient is refused in the first step.
#[derive(Clone, Debug)]
pub struct AdamW {
    rule: Rule,
    steps: Steps,
}

/// What is the same for all parameters.
#[derive(Clone, Copy, Debug)]
struct Rule {
    betas: (f64, f64),
    eps: f64,
    amsgrad: bool,
}

const FIELDS: [&str; 3] = ["exp_avg", "exp_avg_sq", "max_exp_avg_sq"];

impl AdamW {
    /// PyTorch's defaults: betas 0.9 and 0.999, eps 1e-8, weight decay 0.01, no AMSGrad.
    pub fn new(lr: f64) -> AdamW {
        AdamW { rule: Rule { betas: (0.9, 0.999), eps: 1e-8, amsgrad: false }, steps: Steps::new(lr, 0.01) }
    }

    /// Sets the decays of the means of gradients and of their squares.
    pub fn betas(mut self, beta1: f64, beta2: f64) -> AdamW {
        self.rule.betas = (beta1, beta2);
        self
    }

    /// Sets what is added to the root of the mean of squares.
    pub fn eps(mut self, eps: f64) -> AdamW {
        self.rule.eps = eps;
        self
    }

    /// Sets the decoupled weight decay.
    pub fn weight_decay(mut self, weight_decay: f64) -> AdamW {
        self.steps.settings.weight_decay = weight_decay;
        self
    }

    /// Divides by the largest mean of squares so far (Reddi, Kale and Kumar, 2018).
    pub fn amsgrad(mut self, amsgrad: bool) -> AdamW {
        self.rule.amsgrad = amsgrad;
        self
    }

    /// Other settings for some parameters.
    pub fn group(mut self, group: Group) -> AdamW {
        self.steps.groups.push(group);
        self
    }

    /// No weight decay for parameters of fewer dims: 2 exempts biases and norms.
    pub fn no_decay_below_rank(self, rank: usize) -> AdamW {
        self.group(Group::new(move |_, param| param.rank() < rank).weight_decay(0.0))
    }
}

impl Rule {
    fn fields(self) -> &'static [&'static str] {
        &FIELDS[..if self.amsgrad { 3 } else { 2 }]
    }

    fn params(self, settings: Settings, step: u64) -> AdamWParams {
        AdamWParams {
            lr: settings.lr,
            beta1: self.betas.0,
            beta2: self.betas.1,
            eps: self.eps,
            weight_decay: settings.weight_decay,
            bias_correction1: 1.0 - self.betas.0.powf(step as f64),
            bias_correction2: 1.0 - self.betas.1.powf(step as f64),
            grad_scale: 1.0,
            amsgrad: self.amsgrad.into(),
        }
    }
}

impl Optimizer for AdamW {
    #[track_caller]
    fn step(&mut self, model: &mut dyn Module, grads: &Gradients) -> Result<()> {
        let rule = self.rule;
        self.steps.step(model, grads, rule.fields().len(), |settings, step, slots| {
            adamw_step(slots.into_iter().filter_map(slot).collect(), rule.params(settings, step))
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

/// A state has two tensors, or three with AMSGrad.
fn slot(Slot { param, grad, states }: Slot<'_>) -> Option<AdamWSlot<'_>> {
    let [exp_avg, exp_avg_sq, rest @ ..] = states else { return None };
    Some(AdamWSlot { param, grad, exp_avg, exp_avg_sq, max_exp_avg_sq: rest.first_mut() })
}

//! What the optimisers share: settings, states, and the walk over all parameters of a step.

use chainrule_autograd::Gradients;
use chainrule_tensor::{Result, Tensor};

use crate::Module;
use crate::optim::group::{Group, Settings};
use crate::optim::state::States;
use crate::optim::values::{change_values, launches, trained};

/// An optimiser's settings, those of groups of parameters, and what it remembers.
#[derive(Clone, Debug)]
pub(crate) struct Steps {
    pub(crate) settings: Settings,
    pub(crate) groups: Vec<Group>,
    pub(crate) states: States,
}

/// One parameter in a step, with its states in the order of the optimiser's fields.
pub(crate) struct Slot<'a> {
    pub(crate) param: &'a mut Tensor,
    pub(crate) grad: &'a Tensor,
    pub(crate) states: &'a mut [Tensor],
}

impl Steps {
    pub(crate) fn new(lr: f64, weight_decay: f64) -> Steps {
        Steps { settings: Settings { lr, weight_decay }, groups: Vec::new(), states: States::default() }
    }

    /// One step: calls `update(settings, step, slots)` for each set of parameters with equal settings and equally many
    /// steps, this one counted. States start as `fields` tensors of zeros.
    #[track_caller]
    pub(crate) fn step(
        &mut self,
        model: &mut dyn Module,
        grads: &Gradients,
        fields: usize,
        update: impl Fn(Settings, u64, Vec<Slot<'_>>) -> Result<()>,
    ) -> Result<()> {
        let trained = trained(model, grads, self.states.is_empty())?;
        change_values(model, &trained, |values| {
            let mut states = self.states.take(&trained, values, fields)?;
            let slots = trained.iter().zip(values).zip(&mut states).map(|((param, value), state)| {
                let settings = self.settings.for_param(&self.groups, &param.name, value);
                ((settings, state.step + 1), Slot { param: value, grad: &param.grad, states: &mut state.tensors })
            });
            let updated =
                launches(slots).into_iter().try_for_each(|((settings, step), slots)| update(settings, step, slots));
            // Also where an update failed: what was remembered is not lost with it.
            states.iter_mut().for_each(|state| state.step += u64::from(updated.is_ok()));
            self.states.put(&trained, states);
            updated
        })
    }
}

#[cfg(test)]
mod tests {
    use chainrule_autograd::Tape;
    use chainrule_tensor::{Device, Error, Rng};

    use super::*;
    use crate::Linear;

    #[test]
    fn states_survive_an_update_that_fails() {
        let mut model = Linear::new(3, 2, &mut Rng::seed(1)).unwrap();
        let x = Tensor::ones([1, 3], chainrule_tensor::DType::F32, &Device::Cpu).unwrap();
        let loss = model.on(&Tape::new()).forward(&x.into()).and_then(|y| y.sum(.., false)).unwrap();
        let grads = loss.backward().unwrap();
        let mut steps = Steps::new(0.1, 0.0);
        let mark = |_, step: u64, slots: Vec<Slot<'_>>| {
            slots.into_iter().try_for_each(|slot| {
                slot.states[0] = slot.states[0].add(step as f64)?;
                Ok(())
            })
        };
        let (weight, fields) = (model.weight.to_vec::<f32>().unwrap(), ["mark"]);
        steps.step(&mut model, &grads, 1, mark).unwrap();
        let before = steps.states.named(&model, &fields).unwrap();
        let failed = steps.step(&mut model, &grads, 1, |_, _, _| Err(Error::argument("step", "no room")));
        assert!(failed.unwrap_err().to_string().contains("no room"));
        let bytes = |named: &[(String, Tensor)]| {
            named.iter().map(|(name, x)| (name.clone(), x.to_bytes().unwrap())).collect::<Vec<_>>()
        };
        assert_eq!(bytes(&steps.states.named(&model, &fields).unwrap()), bytes(&before));
        assert_eq!(model.weight.to_vec::<f32>().unwrap(), weight);
        // The next step is the second.
        steps.step(&mut model, &grads, 1, mark).unwrap();
        let after = steps.states.named(&model, &fields).unwrap();
        let mark = after.iter().find(|(name, _)| name == "weight.mark").unwrap().1.to_vec::<f32>().unwrap();
        assert_eq!(mark, [3.0; 6]);
    }
}

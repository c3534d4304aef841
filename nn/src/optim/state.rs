//! What an optimiser remembers of each parameter.

use std::collections::{BTreeMap, HashMap};

use chainrule_autograd::ParamId;
use chainrule_tensor::updates::state_like;
use chainrule_tensor::{Device, Error, ErrorKind, Result, Tensor};

use crate::Module;
use crate::module::each_param;
use crate::optim::values::Trained;

/// One parameter's steps so far, and its tensors in the order of the optimiser's fields.
#[derive(Clone, Default, Debug)]
pub(crate) struct State {
    pub(crate) step: u64,
    pub(crate) tensors: Vec<Tensor>,
}

/// The states of all parameters.
#[derive(Clone, Default, Debug)]
pub(crate) struct States {
    by_id: HashMap<ParamId, State>,
}

impl States {
    pub(crate) fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }

    /// Takes the states of parameters out, in their order; zeros before the first step.
    ///
    /// # Errors
    /// No room for the zeros; nothing is then taken out.
    #[track_caller]
    pub(crate) fn take(&mut self, trained: &[Trained], values: &[Tensor], fields: usize) -> Result<Vec<State>> {
        let mut missing = Vec::new();
        for (param, value) in trained.iter().zip(values).filter(|(param, _)| !self.by_id.contains_key(&param.id)) {
            let tensors = (0..fields).map(|_| state_like(value)).collect::<Result<_>>()?;
            missing.push((param.id, State { step: 0, tensors }));
        }
        self.by_id.extend(missing);
        Ok(trained.iter().map(|param| self.by_id.remove(&param.id).unwrap_or_default()).collect())
    }

    pub(crate) fn put(&mut self, trained: &[Trained], states: Vec<State>) {
        self.by_id.extend(trained.iter().map(|param| param.id).zip(states));
    }

    /// `NAME.FIELD` for each parameter and field, and `NAME.step`.
    #[track_caller]
    pub(crate) fn named(&self, model: &dyn Module, fields: &[&str]) -> Result<Vec<(String, Tensor)>> {
        let mut named = BTreeMap::new();
        let mut failed = None;
        each_param(model, &mut |name, param, _| {
            let Some(state) = self.by_id.get(&param.id()) else { return };
            // The second name of a tied parameter would say the same again.
            if named.values().any(|(id, _)| *id == Some(param.id())) {
                return;
            }
            match Tensor::from_vec(vec![state.step as i64], (), &Device::Cpu) {
                Ok(step) => drop(named.insert(format!("{name}.step"), (Some(param.id()), step))),
                Err(error) => failed = Some(error),
            }
            for (field, tensor) in fields.iter().zip(&state.tensors) {
                named.insert(format!("{name}.{field}"), (None, tensor.clone()));
            }
        });
        let named = named.into_iter().map(|(name, (_, tensor))| (name, tensor)).collect();
        failed.map_or(Ok(named), Err)
    }

    /// The states that [`States::named`] gave.
    #[track_caller]
    pub(crate) fn from_named(model: &dyn Module, fields: &[&str], named: Vec<(String, Tensor)>) -> Result<States> {
        let mut given: HashMap<String, Tensor> = named.into_iter().collect();
        let mut states = States::default();
        let mut misfits = Vec::new();
        each_param(model, &mut |name, param, _| {
            let Some(step) = given.remove(&format!("{name}.step")) else { return };
            let mut tensors = Vec::new();
            for field in fields {
                match given.remove(&format!("{name}.{field}")) {
                    Some(tensor) if tensor.shape() == param.shape() => match tensor.to_device(&param.device()) {
                        Ok(tensor) => tensors.push(tensor),
                        Err(error) => misfits.push(format!("{name}.{field}: {error}")),
                    },
                    Some(tensor) => misfits.push(format!("{name}.{field}: {} for {}", tensor.shape(), param.shape())),
                    None => misfits.push(format!("{name}.{field}: missing")),
                }
            }
            match step.item::<i64>() {
                Ok(step) => drop(states.by_id.insert(param.id(), State { step: step.max(0) as u64, tensors })),
                Err(error) => misfits.push(format!("{name}.step: {error}")),
            }
        });
        misfits.extend(given.into_keys().map(|name| format!("{name}: of no parameter")));
        if misfits.is_empty() {
            return Ok(states);
        }
        misfits.sort_unstable();
        let message = format!("the optimiser's state does not fit the model:\n  {}", misfits.join("\n  "));
        Err(Error::new(ErrorKind::Model(message)).in_op("load_state"))
    }
}

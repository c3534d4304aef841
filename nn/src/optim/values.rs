//! Taking the values out of a model for a step, and putting them back.
//!
//! While the model holds a value, its buffer has two owners and a step would have to copy it. So the values are taken out,
//! every occurrence of a tied one, changed in place, and put back.

use std::collections::{HashMap, HashSet};
use std::fmt::Write;

use chainrule_autograd::{Gradients, ParamId};
use chainrule_tensor::{DType, Device, Error, ErrorKind, Result, Tensor};

use crate::Module;
use crate::audit::describe;
use crate::module::{each_param, each_param_mut};

/// A parameter that a step changes.
pub(crate) struct Trained {
    pub(crate) id: ParamId,
    pub(crate) name: String,
    pub(crate) grad: Tensor,
}

/// The parameters with a gradient that are not frozen, tied ones once, in the order of the model.
///
/// # Errors
/// With `all_needed`, a parameter without a gradient.
#[track_caller]
pub(crate) fn trained(model: &dyn Module, grads: &Gradients, all_needed: bool) -> Result<Vec<Trained>> {
    let mut seen = HashSet::new();
    let mut trained = Vec::new();
    let (mut cut_off, mut misfit) = (String::new(), None);
    each_param(model, &mut |name, param, is_frozen| {
        let id = param.id();
        if is_frozen || !seen.insert(id) {
            return;
        }
        match grads.param(id) {
            Some(grad) if grad.shape() == param.shape() && grad.dtype() == param.dtype() => {
                trained.push(Trained { id, name: name.to_string(), grad: grad.clone() });
            }
            Some(grad) => {
                let got = format!("the gradient of {name} is {} {}", grad.dtype(), grad.shape());
                let message = format!("{got}, expected {} {}", param.dtype(), param.shape());
                misfit = misfit.take().or(Some(Error::shape("step", message)));
            }
            // Writing to a string does not fail.
            None => drop(write!(cut_off, "\n  {name}: {}", describe(grads.cut(id)))),
        }
    });
    if let Some(error) = misfit {
        return Err(error);
    }
    if !all_needed || cut_off.is_empty() {
        return Ok(trained);
    }
    let message = format!("parameters without a gradient; freeze those that are not to be trained:{cut_off}");
    Err(Error::new(ErrorKind::Model(message)).in_op("step"))
}

/// Runs `change` on the values of the parameters, in their order and taken out of the model, and puts them back, also
/// where it fails.
#[track_caller]
pub(crate) fn change_values(
    model: &mut dyn Module,
    trained: &[Trained],
    change: impl FnOnce(&mut [Tensor]) -> Result<()>,
) -> Result<()> {
    let placeholder = Tensor::zeros([0], DType::F32, &Device::Cpu)?;
    let places: HashMap<ParamId, usize> = trained.iter().enumerate().map(|(place, param)| (param.id, place)).collect();
    let mut values = vec![placeholder.clone(); trained.len()];
    let mut is_taken = vec![false; trained.len()];
    each_param_mut(model, &mut |_, param, _| {
        if let Some(&place) = places.get(&param.id()) {
            let value = param.replace(placeholder.clone());
            if !std::mem::replace(&mut is_taken[place], true) {
                values[place] = value;
            }
        }
    });
    let changed = change(&mut values);
    each_param_mut(model, &mut |_, param, _| {
        if let Some(&place) = places.get(&param.id()) {
            param.set(values[place].clone());
        }
    });
    changed
}

/// The items in groups of equal keys, each in the order given: what one launch can do.
pub(crate) fn launches<K: PartialEq, T>(items: impl Iterator<Item = (K, T)>) -> Vec<(K, Vec<T>)> {
    let mut groups: Vec<(K, Vec<T>)> = Vec::new();
    for (key, item) in items {
        match groups.iter_mut().find(|(other, _)| *other == key) {
            Some((_, group)) => group.push(item),
            None => groups.push((key, vec![item])),
        }
    }
    groups
}

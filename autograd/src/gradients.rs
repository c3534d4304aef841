//! What a backward pass gives.

use std::collections::HashMap;
use std::sync::Arc;

use chainrule_tensor::{Error, ErrorKind, Result, Tensor};

use crate::tape::Node;
use crate::{ParamId, Tape, Var};

/// The gradients of one backward pass: by parameter identity, and by place on the tape for other leaves.
///
/// They can be looked up, scaled, clipped, added to those of another pass, and audited.
#[derive(Clone, Default)]
pub struct Gradients {
    params: HashMap<ParamId, Tensor>,
    leaves: HashMap<usize, Tensor>,
    tape: u64,
    /// For each parameter on the tape, the last op on the way to the loss if no gradient arrived.
    cuts: HashMap<ParamId, Cut>,
    leaf_slots: Vec<(usize, Option<ParamId>)>,
}

/// Why a parameter has no gradient.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Cut {
    /// No op used the parameter.
    Unused,
    /// `detach` cut the graph, at this place of the caller's code.
    Detached(String),
    /// Ops used it, but the loss does not depend on the last of them.
    NotInLoss(String),
}

impl Gradients {
    /// What must be known of the nodes after they are gone.
    pub(crate) fn summarize(tape: &Tape, nodes: &[Arc<Node>], loss: usize) -> Gradients {
        let leaves = nodes.iter().filter(|node| node.op == "leaf");
        let leaf_slots = leaves.map(|node| (node.outputs.start, node.param.as_ref().map(|(id, _)| *id))).collect();
        let mut grads = Gradients { tape: tape.id(), leaf_slots, ..Gradients::default() };
        let reaching = reaches(nodes, loss);
        for &(slot, id) in &grads.leaf_slots {
            if let (Some(id), false) = (id, reaching.get(slot).copied().unwrap_or(false)) {
                grads.cuts.insert(id, find_cut(nodes, slot));
            }
        }
        grads
    }

    /// Files the gradients of the walk, indexed by slot.
    pub(crate) fn with(mut self, mut grads: Vec<Option<Var>>) -> Gradients {
        for (slot, id) in std::mem::take(&mut self.leaf_slots) {
            if let Some(grad) = grads.get_mut(slot).and_then(Option::take) {
                match id {
                    Some(id) => self.params.insert(id, grad.into_value()),
                    None => self.leaves.insert(slot, grad.into_value()),
                };
            }
        }
        self
    }

    /// The gradient of a leaf made by [`Tape::leaf`].
    ///
    /// # Errors
    /// A variable that is no leaf of the tape, or that the loss does not depend on.
    #[track_caller]
    pub fn get(&self, leaf: &Var) -> Result<&Tensor> {
        let here = leaf.place().filter(|place| place.tape.id() == self.tape);
        here.and_then(|place| self.leaves.get(&place.slot)).ok_or_else(|| {
            let message = "no gradient for this variable: it is no leaf of the tape, or the loss does not depend on it";
            Error::new(ErrorKind::Tape(message.into())).in_op("Gradients::get")
        })
    }

    /// The gradient of a parameter; `None` where the loss does not depend on it.
    pub fn param(&self, id: ParamId) -> Option<&Tensor> {
        self.params.get(&id)
    }

    /// Sets or replaces the gradient of a parameter.
    pub fn insert(&mut self, id: ParamId, grad: Tensor) {
        self.params.insert(id, grad);
    }

    /// Takes the gradient of a parameter out.
    pub fn remove(&mut self, id: ParamId) -> Option<Tensor> {
        self.params.remove(&id)
    }

    /// The identities that have a gradient, in a fixed order.
    pub fn ids(&self) -> Vec<ParamId> {
        let mut ids: Vec<ParamId> = self.params.keys().copied().collect();
        ids.sort_unstable();
        ids
    }

    /// How many parameters have a gradient.
    pub fn len(&self) -> usize {
        self.params.len()
    }

    /// True where no parameter has a gradient.
    pub fn is_empty(&self) -> bool {
        self.params.is_empty()
    }

    /// Why a parameter that was on the tape got no gradient.
    pub fn cut(&self, id: ParamId) -> Option<&Cut> {
        self.cuts.get(&id)
    }

    /// All parameter gradients multiplied by a factor.
    #[track_caller]
    pub fn scale(&mut self, factor: f64) -> Result<()> {
        for grad in self.params.values_mut() {
            *grad = grad.mul(factor)?;
        }
        Ok(())
    }

    /// Adds the gradients of another pass, as for a batch computed in parts.
    #[track_caller]
    pub fn accumulate(&mut self, other: &Gradients) -> Result<()> {
        for (id, grad) in &other.params {
            let sum = match self.params.remove(id) {
                Some(sum) => Tensor::add_owned(sum, grad)?,
                None => grad.clone(),
            };
            self.params.insert(*id, sum);
        }
        self.cuts.retain(|id, _| other.cuts.contains_key(id));
        Ok(())
    }
}

/// For each slot, whether `loss` is computed from it.
fn reaches(nodes: &[Arc<Node>], loss: usize) -> Vec<bool> {
    let mut reaching = vec![false; nodes.last().map_or(0, |node| node.outputs.end)];
    reaching[loss] = true;
    for node in nodes.iter().rev().filter(|node| node.rule.is_some()) {
        if node.outputs.clone().any(|slot| reaching[slot]) {
            for &slot in node.inputs.iter().flatten() {
                reaching[slot] = true;
            }
        }
    }
    reaching
}

/// The op at which what was computed from `slot` stops.
fn find_cut(nodes: &[Arc<Node>], slot: usize) -> Cut {
    let mut derived = vec![false; nodes.last().map_or(0, |node| node.outputs.end)];
    derived[slot] = true;
    let mut last = None;
    for node in nodes {
        if !node.inputs.iter().flatten().any(|&slot| derived[slot]) {
            continue;
        }
        let place = format!("{} at {}:{}", node.op, node.location.file(), node.location.line());
        if node.op == "detach" {
            return Cut::Detached(place);
        }
        last = Some(place);
        derived[node.outputs.clone()].fill(true);
    }
    last.map_or(Cut::Unused, Cut::NotInLoss)
}

//! The backward pass: the tape walked from the loss to its leaves.

use std::sync::Arc;

use chainrule_tensor::{Error, ErrorKind, Result, Tensor};

use crate::gradients::Gradients;
use crate::tape::Node;
use crate::var::Place;
use crate::{Pull, Tape, Var};

/// What becomes of the tape in a backward pass.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum After {
    /// Each node is dropped as soon as it is walked, with the tensors that it saved.
    Free,
    /// The tape stays and can be walked again.
    Retain,
    /// The tape stays and records the pass itself, so that gradients can be differentiated.
    Record,
}

impl Var {
    /// The gradients of this scalar with respect to every leaf of its tape, which is freed.
    ///
    /// For a loss `L` and a leaf `x`, `grads.get(&x)` is `dL/dx`, of the shape of `x`, by the chain rule applied to the
    /// recorded ops in reverse order.
    ///
    /// # Errors
    /// A variable that is on no tape, has more than one element, or whose tape was freed.
    ///
    /// ```
    /// # use chainrule_autograd::Tape;
    /// # use chainrule_tensor::{Device, Tensor};
    /// let tape = Tape::new();
    /// let x = tape.leaf(Tensor::new([1.0f64, 2.0], &Device::Cpu)?);
    /// let loss = x.square()?.sum(.., false)?;
    /// assert_eq!(loss.backward()?.get(&x)?.to_vec::<f64>()?, [2.0, 4.0]);
    /// assert!(loss.backward().is_err()); // The tape is gone.
    /// # Ok::<(), chainrule_tensor::Error>(())
    /// ```
    ///
    /// Source: reverse-mode automatic differentiation, Griewank and Walther, Evaluating Derivatives (2008), chapter 3.
    #[track_caller]
    pub fn backward(&self) -> Result<Gradients> {
        self.leaf_gradients(After::Free)
    }

    /// As [`Var::backward`], but the tape stays, so that a second loss that shares a part of it can be walked too.
    ///
    /// ```
    /// # use chainrule_autograd::Tape;
    /// # use chainrule_tensor::{Device, Tensor};
    /// let tape = Tape::new();
    /// let x = tape.leaf(Tensor::new(3.0f64, &Device::Cpu)?);
    /// let shared = x.square()?;
    /// let (a, b) = (shared.mul(2.0)?, shared.mul(10.0)?);
    /// assert_eq!(a.backward_retain()?.get(&x)?.item::<f64>()?, 12.0);
    /// assert_eq!(b.backward()?.get(&x)?.item::<f64>()?, 60.0);
    /// # Ok::<(), chainrule_tensor::Error>(())
    /// ```
    #[track_caller]
    pub fn backward_retain(&self) -> Result<Gradients> {
        self.leaf_gradients(After::Retain)
    }

    #[track_caller]
    fn leaf_gradients(&self, after: After) -> Result<Gradients> {
        if self.elements() != 1 {
            let message = format!("needs a single number, got shape {}: reduce it with sum or mean", self.shape());
            return Err(Error::shape("backward", message));
        }
        let place = self.tracked("backward")?;
        let dy = Var::from(self.value().ones_like()?);
        let nodes = take_nodes(&place.tape, after, "backward")?;
        let summary = Gradients::summarize(&place.tape, &nodes, place.slot);
        let grads = walk(&place.tape, nodes, vec![(place.slot, dy)], None, after)?;
        Ok(summary.with(grads))
    }

    /// The place on the tape.
    #[track_caller]
    pub(crate) fn tracked(&self, op: &'static str) -> Result<&Place> {
        self.place().ok_or_else(|| {
            let message = "the value is on no tape: compute it from a leaf of a Tape, as in model.on(&tape)";
            Error::new(ErrorKind::Tape(message.into())).in_op(op)
        })
    }
}

/// The nodes of a tape; freed from it for [`After::Free`].
#[track_caller]
pub(crate) fn take_nodes(tape: &Tape, after: After, op: &'static str) -> Result<Vec<Arc<Node>>> {
    tape.check_usable(op)?;
    let mut graph = tape.graph();
    Ok(match after {
        After::Free => {
            graph.is_consumed = true;
            graph.params.clear();
            std::mem::take(&mut graph.nodes)
        }
        After::Retain | After::Record => graph.nodes.clone(),
    })
}

/// Walks `nodes` from the last to the first, from the seeds (slot and gradient). Gives the gradient of each slot that
/// is a leaf or one of `targets`; with `targets`, only what they need is computed.
#[track_caller]
pub(crate) fn walk(
    tape: &Tape,
    mut nodes: Vec<Arc<Node>>,
    seeds: Vec<(usize, Var)>,
    targets: Option<&[usize]>,
    after: After,
) -> Result<Vec<Option<Var>>> {
    let slots = nodes.last().map_or(0, |node| node.outputs.end);
    let mut grads: Vec<Option<Var>> = vec![None; slots];
    for (slot, dy) in seeds {
        accumulate(&mut grads[slot], dy)?;
    }
    let leads = targets.map(|targets| leads_from(&nodes, targets, slots));
    let is_target = |slot: usize| targets.is_some_and(|targets| targets.contains(&slot));
    while let Some(node) = nodes.pop() {
        let Some(rule) = &node.rule else { continue };
        let outputs = node.outputs.clone();
        let keep = |slot: usize, grad: &mut Option<Var>| if is_target(slot) { grad.clone() } else { grad.take() };
        let dys: Vec<Option<Var>> = outputs.map(|slot| keep(slot, &mut grads[slot])).collect();
        let wanted = |slot: usize| leads.as_ref().is_none_or(|leads| leads[slot]);
        let wants: Vec<bool> = node.inputs.iter().map(|slot| slot.is_some_and(wanted)).collect();
        if dys.iter().all(Option::is_none) || !wants.contains(&true) {
            continue;
        }
        let recording = (after == After::Record).then_some(tape);
        let dxs = rule(&Pull { dys, wants: &wants, tape: recording, node: &node })
            .map_err(|error| in_backward(error, &node))?;
        for ((slot, dx), wanted) in node.inputs.iter().zip(dxs).zip(wants) {
            if let (Some(slot), Some(dx), true) = (*slot, dx, wanted) {
                check(tape, &node, slot, &dx)?;
                accumulate(&mut grads[slot], dx)?;
            }
        }
    }
    Ok(grads)
}

/// For each slot, whether it is computed from one of the targets.
fn leads_from(nodes: &[Arc<Node>], targets: &[usize], slots: usize) -> Vec<bool> {
    let mut leads = vec![false; slots];
    for &target in targets {
        leads[target] = true;
    }
    for node in nodes {
        if node.inputs.iter().flatten().any(|&slot| leads[slot]) {
            leads[node.outputs.clone()].fill(true);
        }
    }
    leads
}

/// Adds a gradient to what a slot has received: gradients of a value used several times add up.
fn accumulate(grad: &mut Option<Var>, dx: Var) -> Result<()> {
    *grad = Some(match grad.take() {
        None => dx,
        Some(sum) if sum.is_tracked() || dx.is_tracked() => sum.add(&dx)?,
        Some(sum) => Var::from(Tensor::add_owned(sum.into_value(), dx.value())?),
    });
    Ok(())
}

/// A gradient must have the shape and dtype of its value: a rule that breaks this is found here, not three ops later.
fn check(tape: &Tape, node: &Node, slot: usize, dx: &Var) -> Result<()> {
    let expected = tape.graph().slots[slot];
    if *dx.shape() == expected.shape && dx.dtype() == expected.dtype {
        return Ok(());
    }
    let got = format!("the gradient has shape {} and dtype {}", dx.shape(), dx.dtype());
    let message = format!("{got}, expected {} and {}", expected.shape, expected.dtype);
    Err(in_backward(Error::shape(node.op, message), node))
}

fn in_backward(error: Error, node: &Node) -> Error {
    error.in_op(node.op).at(node.location)
}

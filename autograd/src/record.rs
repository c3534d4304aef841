//! How an op gets onto the tape, and what its rule sees in the backward pass.

use std::panic::Location;

use chainrule_tensor::{Error, ErrorKind, Result, Tensor};

use crate::tape::{Node, Rule};
use crate::var::Saved;
use crate::{Tape, Var};

/// One step of a backward pass, as a rule sees it.
pub(crate) struct Pull<'a> {
    /// The gradient of each output; `None` where the loss does not depend on it.
    pub(crate) dys: Vec<Option<Var>>,
    /// For each input, whether its gradient is wanted.
    pub(crate) wants: &'a [bool],
    /// The tape to record on, where a gradient of the gradient may be asked for.
    pub(crate) tape: Option<&'a Tape>,
    /// The op that is walked.
    pub(crate) node: &'a Node,
}

impl Pull<'_> {
    /// The gradient of the only output.
    pub(crate) fn dy(&self) -> Result<&Var> {
        self.dys.first().and_then(Option::as_ref).ok_or_else(|| missing("an upstream gradient"))
    }

    /// The only output, for ops recorded with [`record_keeping_output`].
    pub(crate) fn y(&self) -> Result<Var> {
        let kept = self.node.kept.clone().ok_or_else(|| missing("its output"))?;
        Ok(self.var(&Saved::new(kept, Some(self.node.outputs.start))))
    }

    /// A saved variable, tracked where the pass records.
    pub(crate) fn var(&self, saved: &Saved) -> Var {
        saved.restore(self.tape)
    }

    /// True where the pass records, so that fused backward kernels cannot be used.
    pub(crate) fn records(&self) -> bool {
        self.tape.is_some()
    }

    /// The gradient of input `index`, computed where it is wanted.
    pub(crate) fn when(&self, index: usize, gradient: impl FnOnce() -> Result<Var>) -> Result<Option<Var>> {
        if self.wants[index] { gradient().map(Some) } else { Ok(None) }
    }
}

fn missing(what: &str) -> Error {
    Error::new(ErrorKind::Tape(format!("the op did not keep {what}")))
}

/// Computes one output and, where an input is tracked, records `rule`: one gradient for each input.
///
/// There is no way to make a tracked variable without a rule.
#[track_caller]
pub(crate) fn record<const N: usize>(
    op: &'static str,
    inputs: [&Var; N],
    forward: impl FnOnce([&Tensor; N]) -> Result<Tensor>,
    rule: impl Fn(&Pull<'_>) -> Result<[Option<Var>; N]> + Send + Sync + 'static,
) -> Result<Var> {
    one(op, &inputs, forward(inputs.map(Var::value)), false, Box::new(move |pull| Ok(rule(pull)?.into())))
}

/// As [`record`], for rules written in terms of the output, `pull.y()`.
#[track_caller]
pub(crate) fn record_keeping_output<const N: usize>(
    op: &'static str,
    inputs: [&Var; N],
    forward: impl FnOnce([&Tensor; N]) -> Result<Tensor>,
    rule: impl Fn(&Pull<'_>) -> Result<[Option<Var>; N]> + Send + Sync + 'static,
) -> Result<Var> {
    one(op, &inputs, forward(inputs.map(Var::value)), true, Box::new(move |pull| Ok(rule(pull)?.into())))
}

/// As [`record`], for any number of inputs.
#[track_caller]
pub(crate) fn record_all(
    op: &'static str,
    inputs: &[&Var],
    forward: impl FnOnce(&[&Tensor]) -> Result<Tensor>,
    rule: impl Fn(&Pull<'_>) -> Result<Vec<Option<Var>>> + Send + Sync + 'static,
) -> Result<Var> {
    let values: Vec<&Tensor> = inputs.iter().map(|x| x.value()).collect();
    one(op, inputs, forward(&values), false, Box::new(rule))
}

#[track_caller]
fn one(op: &'static str, inputs: &[&Var], y: Result<Tensor>, keep: bool, rule: Box<Rule>) -> Result<Var> {
    let location = Location::caller();
    let y = y.map_err(|error| locate(error, op, inputs, location))?;
    let outputs = record_outputs(op, inputs, vec![y], keep, rule)?;
    outputs.into_iter().next().ok_or_else(|| missing("any output"))
}

/// Puts computed outputs on the inputs' tape, if there is one.
#[track_caller]
pub(crate) fn record_outputs(
    op: &'static str,
    inputs: &[&Var],
    outputs: Vec<Tensor>,
    keep: bool,
    rule: Box<Rule>,
) -> Result<Vec<Var>> {
    let Some(tape) = Var::common_tape(op, inputs)? else { return Ok(outputs.into_iter().map(Var::from).collect()) };
    let kept = outputs.first().filter(|_| keep).cloned();
    let node = Node { rule: Some(rule), kept, ..Node::new(op, inputs.iter().map(|x| x.slot()).collect()) };
    let first = tape.push(node, &outputs);
    let on_tape = |(i, y)| Var::on_tape(y, tape.clone(), first + i, None);
    Ok(outputs.into_iter().enumerate().map(on_tape).collect())
}

/// An error of the tensor op as the user should see it: the op called, the caller's line, the module's path.
pub(crate) fn locate(error: Error, op: &'static str, inputs: &[&Var], location: &'static Location<'static>) -> Error {
    let error = error.in_op(op).at(location);
    match inputs.iter().find_map(|x| x.name()).and_then(|name| name.rsplit_once('.')) {
        Some((module, _)) if error.module().is_none() => error.in_module(module),
        _ => error,
    }
}

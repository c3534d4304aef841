//! Fused and user-defined ops: a forward and a backward of their own, and a definition made of other ops.

use std::panic::Location;
use std::sync::Arc;

use chainrule_tensor::{Error, ErrorKind, Result, Tensor};

use crate::backward::{After, walk};
use crate::record::{locate, record_outputs};
use crate::var::Saved;
use crate::{Pull, Tape, Var};

/// An op with its own forward and backward, any number of inputs and outputs, and a reference.
///
/// The library's fused ops (layer_norm, attention, cross_entropy, ...) are written this way and so can yours be. No
/// method has a default: an op without a gradient does not compile.
///
/// ```
/// use chainrule_autograd::{Op, Tape, Var, apply};
/// use chainrule_tensor::{Device, Result, Tensor};
///
/// /// y = x^3
/// struct Cube;
///
/// struct Saved { x: Tensor }
///
/// impl Op for Cube {
///     type Saved = Saved;
///     fn name(&self) -> &'static str { "cube" }
///     fn forward(&self, inputs: &[Tensor]) -> Result<(Vec<Tensor>, Saved)> {
///         let x = &inputs[0];
///         Ok((vec![x.mul(x)?.mul(x)?], Saved { x: x.clone() }))
///     }
///     fn backward(&self, saved: &Saved, dys: &[Option<Tensor>], _: &[bool]) -> Result<Vec<Option<Tensor>>> {
///         let Some(dy) = &dys[0] else { return Ok(vec![None]) };
///         Ok(vec![Some(saved.x.mul(&saved.x)?.mul(3.0)?.mul(dy)?)])
///     }
///     fn reference(&self, inputs: &[Var]) -> Result<Vec<Var>> {
///         let x = &inputs[0];
///         Ok(vec![x.mul(x)?.mul(x)?])
///     }
/// }
///
/// let tape = Tape::new();
/// let x = tape.leaf(Tensor::new([2.0f64], &Device::Cpu)?);
/// let y = apply(Cube, &[&x])?.remove(0);
/// assert_eq!(y.sum(.., false)?.backward()?.get(&x)?.to_vec::<f64>()?, [12.0]);
/// # Ok::<(), chainrule_tensor::Error>(())
/// ```
pub trait Op: Send + Sync + 'static {
    /// What the backward needs, as named fields.
    type Saved: Send + Sync + 'static;

    /// The name in messages and on the tape.
    fn name(&self) -> &'static str;

    /// The outputs, and what the backward needs.
    ///
    /// # Errors
    /// Inputs that do not fit.
    fn forward(&self, inputs: &[Tensor]) -> Result<(Vec<Tensor>, Self::Saved)>;

    /// One gradient for each input that `wants` marks, given the gradient of each output the loss depends on.
    ///
    /// An input that can have no gradient (indices, masks) gives `None`.
    ///
    /// # Errors
    /// What the kernels report.
    fn backward(&self, saved: &Self::Saved, dys: &[Option<Tensor>], wants: &[bool]) -> Result<Vec<Option<Tensor>>>;

    /// The same function of the same inputs, composed of other ops: the definition, the oracle of the tests, and what
    /// is differentiated where a gradient of a gradient is asked for.
    ///
    /// # Errors
    /// As `forward`.
    fn reference(&self, inputs: &[Var]) -> Result<Vec<Var>>;
}

/// Applies an op to inputs and records it where one of them is on a tape.
///
/// # Errors
/// What the op reports, with its name and the caller's place.
#[track_caller]
pub fn apply<O: Op>(op: O, inputs: &[&Var]) -> Result<Vec<Var>> {
    let values: Vec<Tensor> = inputs.iter().map(|x| x.value().clone()).collect();
    let name = op.name();
    let location = Location::caller();
    let (outputs, saved) = op.forward(&values).map_err(|error| locate(error, name, inputs, location))?;
    let kept: Vec<Saved> = inputs.iter().map(|x| x.save()).collect();
    let rule = move |pull: &Pull<'_>| match pull.tape {
        None => {
            let dys: Vec<Option<Tensor>> = pull.dys.iter().map(|dy| dy.as_ref().map(|dy| dy.value().clone())).collect();
            let dxs = op.backward(&saved, &dys, pull.wants)?;
            Ok(dxs.into_iter().map(|dx| dx.map(Var::from)).collect())
        }
        Some(tape) => through_reference(&op, &kept, pull, tape),
    };
    record_outputs(name, inputs, outputs, false, Box::new(rule))
}

/// As [`apply`], for an op with one output.
#[track_caller]
pub(crate) fn apply_one<O: Op>(op: O, inputs: &[&Var]) -> Result<Var> {
    let name = op.name();
    let no_output = || Error::new(ErrorKind::Argument("gave no output".into())).in_op(name);
    apply(op, inputs)?.into_iter().next().ok_or_else(no_output)
}

/// The rule where the pass is recorded: the reference is put on the tape and its own rules are walked, recorded.
fn through_reference<O: Op>(op: &O, kept: &[Saved], pull: &Pull<'_>, tape: &Tape) -> Result<Vec<Option<Var>>> {
    let inputs: Vec<Var> = kept.iter().map(|saved| pull.var(saved)).collect();
    // The reference reads copies of the inputs, so that walking it ends at them instead of going on to the leaves.
    let copies = inputs.iter().map(|x| if x.is_tracked() { x.identity() } else { Ok(x.clone()) });
    let copies = copies.collect::<Result<Vec<_>>>()?;
    let first = tape.graph().nodes.len();
    let outputs = op.reference(&copies)?;
    let nodes: Vec<Arc<_>> = tape.graph().nodes[first..].to_vec();
    let seeds = outputs.iter().zip(&pull.dys).filter_map(|(y, dy)| Some((y.slot()?, dy.clone()?))).collect();
    let targets: Vec<usize> = copies.iter().filter_map(Var::slot).collect();
    let mut grads = walk(tape, nodes, seeds, Some(&targets), After::Record)?;
    Ok(copies
        .iter()
        .zip(pull.wants)
        .map(|(x, &wanted)| x.slot().filter(|_| wanted).and_then(|slot| grads[slot].take()))
        .collect())
}

//! Gradient checkpointing: a part of the graph is computed twice instead of being remembered.

use chainrule_tensor::{Error, ErrorKind, Result, Rng, Tensor};

use crate::backward::{After, take_nodes, walk};
use crate::record::record_outputs;
use crate::var::Saved;
use crate::{Pull, Tape, Var};

/// Computes `f(inputs)` and remembers the inputs only; the backward pass computes `f` again, on a tape of its own.
///
/// Everything tracked that `f` reads must come in through `inputs`, parameters included. Dropout inside `f` draws the
/// same numbers both times.
///
/// # Errors
/// What `f` reports, or an `f` that reads a tracked variable from outside.
///
/// ```
/// use chainrule_autograd::{Tape, checkpoint};
/// use chainrule_tensor::{Device, Tensor};
/// let tape = Tape::new();
/// let x = tape.leaf(Tensor::new([2.0f64], &Device::Cpu)?);
/// let y = checkpoint(&[&x], |v| v[0].exp()?.sin())?;
/// let dx = y.sum(.., false)?.backward()?.get(&x)?.item::<f64>()?;
/// let e = 2f64.exp();
/// assert!((dx - e * e.cos()).abs() < 1e-12);
/// # Ok::<(), chainrule_tensor::Error>(())
/// ```
///
/// Source: Chen et al., Training Deep Nets with Sublinear Memory Cost (2016).
#[track_caller]
pub fn checkpoint(inputs: &[&Var], f: impl Fn(&[Var]) -> Result<Var> + Send + Sync + 'static) -> Result<Var> {
    let Some(tape) = Var::common_tape("checkpoint", inputs)? else {
        return f(&inputs.iter().map(|x| (*x).clone()).collect::<Vec<_>>());
    };
    let context = tape.sibling();
    let values: Vec<Tensor> = inputs.iter().map(|x| x.value().clone()).collect();
    // The first run is on a tape too, so that training mode holds, but on one that is dropped at once.
    let y = run(&f, &context.sibling(), &values)?.1;
    if y.tape().is_some_and(|other| other.is(&tape)) {
        let message = "the function reads a tracked variable that is not among its inputs: pass it as an input";
        return Err(Error::new(ErrorKind::Tape(message.into())).in_op("checkpoint"));
    }
    let drawn = y.tape().and_then(Tape::rng_state);
    if let Some(rng) = drawn {
        tape.with_rng(|stream| *stream = rng);
    }
    let kept: Vec<Saved> = inputs.iter().map(|x| x.save()).collect();
    let rule = move |pull: &Pull<'_>| {
        let dy = pull.dy()?.clone();
        let inputs: Vec<Var> = kept.iter().map(|saved| pull.var(saved)).collect();
        if let Some(tape) = pull.tape {
            return recorded(&f, &inputs, dy, pull.wants, (tape, &context));
        }
        let values: Vec<Tensor> = inputs.into_iter().map(Var::into_value).collect();
        let (leaves, y) = run(&f, &context.sibling(), &values)?;
        let Some(place) = y.place() else { return Ok(vec![None; values.len()]) };
        let nodes = take_nodes(&place.tape, After::Free, "checkpoint")?;
        let mut grads = walk(&place.tape, nodes, vec![(place.slot, dy)], None, After::Free)?;
        Ok(leaves.iter().map(|leaf| leaf.slot().and_then(|slot| grads[slot].take())).collect())
    };
    let outputs = record_outputs("checkpoint", inputs, vec![y.into_value()], false, Box::new(rule))?;
    outputs.into_iter().next().ok_or_else(|| Error::argument("checkpoint", "gave no output"))
}

fn run(f: &impl Fn(&[Var]) -> Result<Var>, tape: &Tape, values: &[Tensor]) -> Result<(Vec<Var>, Var)> {
    let leaves: Vec<Var> = values.iter().map(|x| tape.leaf(x.clone())).collect();
    let y = f(&leaves)?;
    Ok((leaves, y))
}

/// The rule where the pass is recorded: the function goes onto the tape as if it had not been checkpointed.
fn recorded(
    f: &impl Fn(&[Var]) -> Result<Var>,
    inputs: &[Var],
    dy: Var,
    wants: &[bool],
    (tape, context): (&Tape, &Tape),
) -> Result<Vec<Option<Var>>> {
    let copies = inputs.iter().map(|x| if x.is_tracked() { x.identity() } else { Ok(x.clone()) });
    let copies = copies.collect::<Result<Vec<_>>>()?;
    let first = tape.graph().nodes.len();
    let rewind = |to: Option<Rng>| to.and_then(|to| tape.with_rng(|stream| std::mem::replace(stream, to)));
    let now = rewind(context.rng_state());
    let y = f(&copies);
    rewind(now);
    let Some(slot) = y?.slot() else { return Ok(vec![None; inputs.len()]) };
    let nodes = tape.graph().nodes[first..].to_vec();
    let targets: Vec<usize> = copies.iter().filter_map(Var::slot).collect();
    let mut grads = walk(tape, nodes, vec![(slot, dy)], Some(&targets), After::Record)?;
    Ok(copies
        .iter()
        .zip(wants)
        .map(|(x, &wanted)| x.slot().filter(|_| wanted).and_then(|slot| grads[slot].take()))
        .collect())
}

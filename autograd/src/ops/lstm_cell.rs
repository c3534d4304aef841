//! The pointwise part of a step of an LSTM, fused forward and backward.

use chainrule_tensor::{Error, Result, Tensor};

use crate::Var;
use crate::op::{Op, apply};
use crate::ops::matmul::autocast;

/// `lstm_cell` of `gates, c, [gates_h]`.
struct LstmCell;

/// The inputs in row-major order: the backward computes the activations again.
struct Saved {
    gates: Tensor,
    c: Tensor,
    gates_h: Option<Tensor>,
}

impl Op for LstmCell {
    type Saved = Saved;

    fn name(&self) -> &'static str {
        "lstm_cell"
    }

    fn forward(&self, inputs: &[Tensor]) -> Result<(Vec<Tensor>, Saved)> {
        let gates_h = inputs.get(2).map(Tensor::contiguous).transpose()?;
        let saved = Saved { gates: inputs[0].contiguous()?, c: inputs[1].contiguous()?, gates_h };
        let (h, c_next) = saved.gates.lstm_cell(&saved.c, saved.gates_h.as_ref())?;
        Ok((vec![h, c_next], saved))
    }

    fn backward(&self, saved: &Saved, dys: &[Option<Tensor>], wants: &[bool]) -> Result<Vec<Option<Tensor>>> {
        let [dh, dc_next] = [0, 1].map(|output| dys.get(output).and_then(Option::as_ref));
        if dh.is_none() && dc_next.is_none() {
            return Ok(vec![None; wants.len()]);
        }
        let Saved { gates, c, gates_h } = saved;
        let (dgates, dc) = gates.lstm_cell_backward(c, gates_h.as_ref(), dh, dc_next)?;
        let all = [Some(dgates.clone()), Some(dc), Some(dgates)];
        Ok(all.into_iter().take(wants.len()).collect())
    }

    fn reference(&self, inputs: &[Var]) -> Result<Vec<Var>> {
        let (h, c_next) = reference(&inputs[0], &inputs[1], inputs.get(2))?;
        Ok(vec![h, c_next])
    }
}

/// The step composed of other ops: what [`Var::lstm_cell`] computes.
fn reference(gates: &Var, c: &Var, gates_h: Option<&Var>) -> Result<(Var, Var)> {
    let gates = gates_h.map_or_else(|| Ok(gates.clone()), |gates_h| gates.add(gates_h))?;
    let width = c.size(-1)? as isize;
    let gate = |number: isize| gates.narrow(-1, (number * width) as usize, width as usize);
    let (i, f, g, o) = (gate(0)?.sigmoid()?, gate(1)?.sigmoid()?, gate(2)?.tanh()?, gate(3)?.sigmoid()?);
    let c_next = f.mul(c)?.add(i.mul(&g)?)?;
    Ok((o.mul(c_next.tanh()?)?, c_next))
}

impl Var {
    /// One step of an LSTM from its gates before the activations (this): `(h', c')` with `c' = f c + i g` and
    /// `h' = o tanh(c')`; see [`Tensor::lstm_cell`] for shapes and formula. Computes in the tape's autocast dtype, if it
    /// has one.
    ///
    /// Gradient: one pass of the fused kernel gives those of `gates` and `c`; `gates_h` has that of `gates`.
    ///
    /// ```
    /// # use chainrule_autograd::value_and_grad;
    /// # use chainrule_tensor::{DType, Device, Tensor};
    /// let gates = Tensor::zeros([1, 4], DType::F64, &Device::Cpu)?;
    /// let c = Tensor::new([[2.0f64]], &Device::Cpu)?;
    /// // At zero a sigmoid is a half with slope a quarter, and tanh is zero with slope one.
    /// let (c, grads) = value_and_grad(|x| x[0].lstm_cell(&x[1], None)?.1.sum(.., false), &[gates, c])?;
    /// assert_eq!((c.item::<f64>()?, grads[0].to_vec::<f64>()?), (1.0, vec![0.0, 0.5, 0.5, 0.0]));
    /// assert_eq!(grads[1].to_vec::<f64>()?, [0.5]);
    /// # Ok::<(), chainrule_tensor::Error>(())
    /// ```
    ///
    /// Source: `torch.nn.LSTMCell`.
    #[track_caller]
    pub fn lstm_cell(&self, c: &Var, gates_h: Option<&Var>) -> Result<(Var, Var)> {
        let mut inputs = vec![self, c];
        inputs.extend(gates_h);
        let inputs = autocast(&inputs)?;
        let outputs: [Var; 2] = apply(LstmCell, &inputs.iter().collect::<Vec<_>>())?
            .try_into()
            .map_err(|_| Error::argument("lstm_cell", "gave another number of outputs than two"))?;
        Ok(outputs.into())
    }
}

#[cfg(feature = "samples")]
mod declared {
    use super::*;
    use crate::samples::{Array, ErrorSample, Sample, uniform};
    use chainrule_tensor::{DType, Device};

    fn sigmoid(x: f64) -> f64 {
        1.0 / (1.0 + (-x).exp())
    }

    /// `h'` and `c'` side by side in the last dim, `[..., 2 H]`.
    fn stepped(inputs: &[Array]) -> Array {
        let c = &inputs[1];
        let (rank, width) = (c.shape.len(), c.shape[c.shape.len() - 1]);
        let mut shape = c.shape.clone();
        shape[rank - 1] *= 2;
        Array::build(&shape, |index| {
            let mut at = index.to_vec();
            at[rank - 1] %= width;
            let c = c.at(&at);
            let mut gate = |number: usize| {
                at[rank - 1] = number * width + index[rank - 1] % width;
                inputs[0].at(&at) + inputs.get(2).map_or(0.0, |gates_h| gates_h.at(&at))
            };
            let (i, f, g, o) = (sigmoid(gate(0)), sigmoid(gate(1)), gate(2).tanh(), sigmoid(gate(3)));
            let c_next = f * c + i * g;
            if index[rank - 1] < width { o * c_next.tanh() } else { c_next }
        })
    }

    fn both(x: &[Var]) -> Result<Var> {
        let (h, c) = x[0].lstm_cell(&x[1], x.get(2))?;
        Var::cat(&[&h, &c], -1)
    }

    /// Gates, the state of the cell and, if `is_split`, further gates.
    fn inputs(lead: &[usize], width: usize, is_split: bool, bound: f64) -> Result<Vec<Tensor>> {
        let (gates, c) = ([lead, &[4 * width]].concat(), [lead, &[width]].concat());
        let mut inputs = vec![uniform(&gates, -bound, bound, 31)?, uniform(&c, -2.0, 2.0, 32)?];
        if is_split {
            inputs.push(uniform(&gates, -1.0, 1.0, 33)?);
        }
        Ok(inputs)
    }

    pub(crate) fn samples() -> Result<Vec<Sample>> {
        let sample = |case: &str, lead: &[usize], width: usize, is_split: bool| -> Result<Sample> {
            Ok(Sample::new("lstm_cell", case, inputs(lead, width, is_split, 3.0)?, both).plain(stepped))
        };
        let one = |case: &str, call: fn(&[Var]) -> Result<Var>| -> Result<Sample> {
            Ok(Sample::new("lstm_cell", case, inputs(&[2], 5, false, 3.0)?, call))
        };
        Ok(vec![
            sample("a batch", &[3], 5, false)?,
            sample("gates in two parts", &[3], 5, true)?,
            sample("whole vectors", &[2], 16, true)?,
            sample("wider than a vector", &[2], 33, false)?,
            sample("width one", &[4], 1, true)?,
            sample("no batch dim", &[], 6, false)?,
            sample("two leading dims", &[2, 3], 4, true)?,
            sample("no rows", &[0], 3, true)?,
            sample("no columns", &[3], 0, false)?,
            one("hidden state alone", |x| Ok(x[0].lstm_cell(&x[1], None)?.0))?
                .composed(|x| Ok(reference(&x[0], &x[1], None)?.0)),
            one("cell state alone", |x| Ok(x[0].lstm_cell(&x[1], None)?.1))?
                .composed(|x| Ok(reference(&x[0], &x[1], None)?.1)),
            one("two steps", |x| {
                let (h, c) = x[0].lstm_cell(&x[1], None)?;
                let gates_h = Var::cat(&[&h, &h, &h, &h], -1)?;
                Ok(x[0].lstm_cell(&c, Some(&gates_h))?.0)
            })?
            .composed(|x| {
                let (h, c) = reference(&x[0], &x[1], None)?;
                let gates_h = Var::cat(&[&h, &h, &h, &h], -1)?;
                Ok(reference(&x[0], &c, Some(&gates_h))?.0)
            }),
            // Exponentials of these overflow every dtype; all gates but those near zero are open or shut.
            Sample::new("lstm_cell", "extreme gates", inputs(&[4], 6, false, 2000.0)?, both).plain(stepped),
            sample("recurrent step", &[64], 512, true)?.bench(),
        ])
    }

    pub(crate) fn error_samples() -> Result<Vec<ErrorSample>> {
        let error = |shapes: &[&[usize]], call: fn(&[Var]) -> Result<Var>, message| -> Result<ErrorSample> {
            let inputs = shapes.iter().map(|shape| uniform(shape, -1.0, 1.0, 1)).collect::<Result<Vec<_>>>()?;
            Ok(ErrorSample::new("lstm_cell", inputs, call, message))
        };
        let integers = vec![Tensor::new([[1i32; 4]], &Device::Cpu)?, Tensor::new([[1i32]], &Device::Cpu)?];
        Ok(vec![
            error(
                &[&[2, 6], &[2, 1]],
                both,
                "lstm_cell: gates have shape [2, 6], expected [..., 4 H]: the gates i, f, g, o side by side",
            )?,
            error(&[&[], &[1]], both, "lstm_cell: gates have shape [], expected [..., 4 H]")?,
            error(&[&[2, 8], &[2, 3]], both, "lstm_cell: c has shape [2, 3], expected [2, 2] to match gates [2, 8]")?,
            error(
                &[&[2, 8], &[2, 2], &[1, 8]],
                both,
                "lstm_cell: gates_h has shape [1, 8], expected [2, 8] to match gates [2, 8]",
            )?,
            error(
                &[&[2, 8], &[2, 2]],
                |x| both(&[x[0].to_dtype(DType::F16)?, x[1].to_dtype(DType::F32)?]),
                "lstm_cell: c is f32, expected f16 as gates: cast with to_dtype",
            )?,
            ErrorSample::new("lstm_cell", integers, both, "lstm_cell: got i32, expected a float: cast with to_dtype"),
        ])
    }
}

#[cfg(feature = "samples")]
pub(crate) use declared::{error_samples, samples};

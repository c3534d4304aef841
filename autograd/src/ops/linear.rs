//! Fully connected layers, with a GELU or a residual in the same pass.

use std::panic::Location;

use chainrule_tensor::{Error, Gelu, LinearOptions, LinearThen, Precision, Result, Tensor};

use crate::op::{Op, apply_one};
use crate::ops::matmul::{autocast, precision, product};
use crate::record::{locate, record_all};
use crate::{Pull, Tape, Var};

impl Var {
    /// `x weight^T + bias` with weight `[out, in]` and bias `[out]`; see [`chainrule_tensor::Tensor::linear`].
    ///
    /// Gradient: `dx = dy weight`, `dweight = dy^T x` and `dbias = sum of dy`, over all leading dims. Computes in the
    /// tape's autocast dtype, if it has one, and with the tape's [`precision`](Tape::precision).
    ///
    /// ```
    /// # use chainrule_autograd::value_and_grad;
    /// # use chainrule_tensor::{Device, Tensor};
    /// let [x, weight] = [Tensor::new([1.0f64, 2.0], &Device::Cpu)?, Tensor::new([[3.0f64, 4.0]], &Device::Cpu)?];
    /// let bias = Tensor::new([5.0f64], &Device::Cpu)?;
    /// let (y, grads) = value_and_grad(|v| v[0].linear(&v[1], Some(&v[2]))?.sum(.., false), &[x, weight, bias])?;
    /// assert_eq!((y.item::<f64>()?, grads[2].to_vec::<f64>()?), (16.0, vec![1.0]));
    /// assert_eq!((grads[0].to_vec::<f64>()?, grads[1].to_vec::<f64>()?), (vec![3.0, 4.0], vec![1.0, 2.0]));
    /// # Ok::<(), chainrule_tensor::Error>(())
    /// ```
    #[track_caller]
    pub fn linear(&self, weight: &Var, bias: Option<&Var>) -> Result<Var> {
        let inputs = autocast(&[&[self, weight][..], bias.as_slice()].concat())?;
        layer("linear", &inputs.iter().collect::<Vec<_>>(), false)
    }

    /// `x weight^T + bias + residual`, with a residual of the shape of the result; see
    /// [`chainrule_tensor::Tensor::linear_add`].
    ///
    /// Gradient: as [`Var::linear`], and `dresidual = dy`. On a tape with an autocast dtype the product is computed in that,
    /// and added to a residual of another dtype in a pass of its own, so that a stream of f32 stays f32.
    ///
    /// ```
    /// # use chainrule_autograd::value_and_grad;
    /// # use chainrule_tensor::{Device, Tensor};
    /// let [x, weight] = [Tensor::new([1.0f64, 2.0], &Device::Cpu)?, Tensor::new([[3.0f64, 4.0]], &Device::Cpu)?];
    /// let residual = Tensor::new([5.0f64], &Device::Cpu)?;
    /// let (y, grads) = value_and_grad(|v| v[0].linear_add(&v[1], None, &v[2])?.sum(.., false), &[x, weight, residual])?;
    /// assert_eq!((y.item::<f64>()?, grads[2].to_vec::<f64>()?), (16.0, vec![1.0]));
    /// assert_eq!((grads[0].to_vec::<f64>()?, grads[1].to_vec::<f64>()?), (vec![3.0, 4.0], vec![1.0, 2.0]));
    /// # Ok::<(), chainrule_tensor::Error>(())
    /// ```
    #[track_caller]
    pub fn linear_add(&self, weight: &Var, bias: Option<&Var>, residual: &Var) -> Result<Var> {
        let operands = [&[self, weight][..], bias.as_slice()].concat();
        let casts = operands.iter().find_map(|x| x.tape()).and_then(Tape::autocast_dtype).is_some();
        let operands = autocast(&operands)?;
        let mut inputs: Vec<&Var> = operands.iter().collect();
        if casts && operands[0].dtype() != residual.dtype() {
            return layer("linear", &inputs, false)?.add(residual);
        }
        inputs.push(residual);
        layer("linear_add", &inputs, true)
    }

    /// `gelu(x weight^T + bias)` in one pass on a GPU, with the bits of [`Var::linear`] and [`Var::gelu`] (or
    /// [`Var::gelu_tanh`]) one after the other; see [`chainrule_tensor::Tensor::linear_gelu`].
    ///
    /// Gradient: as [`Var::linear`], of `dy` times the derivative of the GELU at the pre-activation. That is kept for it
    /// where an input is on a tape, and is not written at all elsewhere. Computes in the tape's autocast dtype, if it has
    /// one, and with the tape's [`precision`](Tape::precision).
    ///
    /// ```
    /// # use chainrule_autograd::value_and_grad;
    /// # use chainrule_tensor::{Device, Gelu, Tensor};
    /// let [x, weight] = [Tensor::new([2.0f64, 1.0], &Device::Cpu)?, Tensor::new([[1.0f64, -2.0]], &Device::Cpu)?];
    /// let (y, grads) = value_and_grad(|v| v[0].linear_gelu(&v[1], None, Gelu::Exact)?.sum(.., false), &[x, weight])?;
    /// // At zero the GELU is zero with slope one half.
    /// assert_eq!((y.item::<f64>()?, grads[0].to_vec::<f64>()?), (0.0, vec![0.5, -1.0]));
    /// assert_eq!(grads[1].to_vec::<f64>()?, [1.0, 0.5]);
    /// # Ok::<(), chainrule_tensor::Error>(())
    /// ```
    #[track_caller]
    pub fn linear_gelu(&self, weight: &Var, bias: Option<&Var>, form: Gelu) -> Result<Var> {
        let inputs = autocast(&[&[self, weight][..], bias.as_slice()].concat())?;
        let inputs: Vec<&Var> = inputs.iter().collect();
        let op = LinearGelu { form, precision: precision(&inputs) };
        if inputs.iter().any(|x| x.is_tracked()) {
            return apply_one(op, &inputs);
        }
        let location = Location::caller();
        let y = op.compute(&inputs.iter().map(|x| x.value().clone()).collect::<Vec<_>>(), false);
        Ok(y.map_err(|error| locate(error, op.name(), &inputs, location))?.0.into())
    }
}

/// A linear layer of inputs x, weight, perhaps a bias and, where it `adds`, a residual.
#[track_caller]
fn layer(op: &'static str, inputs: &[&Var], adds: bool) -> Result<Var> {
    let precision = precision(inputs);
    let has_bias = inputs.len() - usize::from(adds) > 2;
    let (saved_x, saved_weight) = (inputs[0].save(), inputs[1].save());
    let rule = move |pull: &Pull<'_>| {
        let (dy, x, weight) = (pull.dy()?, pull.var(&saved_x), pull.var(&saved_weight));
        let [outputs, inputs] = weight.dims()?;
        let rows = x.shape()[..x.rank() - 1].iter().product();
        let mut grads = vec![
            pull.when(0, || product("matmul", dy, &weight, precision))?,
            pull.when(1, || {
                let (dy, x) = (dy.reshape([rows, outputs])?, x.reshape([rows, inputs])?);
                product("matmul", &dy.transpose(0, 1)?, &x, precision)
            })?,
        ];
        if has_bias {
            grads.push(pull.when(2, || dy.reshape([rows, outputs])?.sum(0, false))?);
        }
        if adds {
            grads.push(pull.when(grads.len(), || Ok(dy.clone()))?);
        }
        Ok(grads)
    };
    let forward = |x: &[&Tensor]| {
        let then = if adds { LinearThen::Add(x[x.len() - 1]) } else { LinearThen::Nothing };
        let options = LinearOptions { bias: has_bias.then(|| x[2]), then, precision };
        Ok(x[0].linear_forward(x[1], &options)?.y)
    };
    record_all(op, inputs, forward, rule)
}

/// The GELU of a linear layer of inputs x, weight and, if there are three, a bias.
struct LinearGelu {
    form: Gelu,
    precision: Precision,
}

struct Saved {
    x: Tensor,
    weight: Tensor,
    pre: Tensor,
}

impl LinearGelu {
    /// The result, and its pre-activation where that is to be kept.
    #[track_caller]
    fn compute(&self, inputs: &[Tensor], keeps_pre: bool) -> Result<(Tensor, Option<Tensor>)> {
        let then = LinearThen::Gelu { form: self.form, keeps_pre };
        let options = LinearOptions { bias: inputs.get(2), then, precision: self.precision };
        let forward = inputs[0].linear_forward(&inputs[1], &options)?;
        Ok((forward.y, forward.pre))
    }
}

impl Op for LinearGelu {
    type Saved = Saved;

    fn name(&self) -> &'static str {
        "linear_gelu"
    }

    fn forward(&self, inputs: &[Tensor]) -> Result<(Vec<Tensor>, Saved)> {
        let (y, pre) = self.compute(inputs, true)?;
        let pre = pre.ok_or_else(|| Error::argument("linear_gelu", "gave no pre-activation"))?;
        Ok((vec![y], Saved { x: inputs[0].clone(), weight: inputs[1].clone(), pre }))
    }

    fn backward(&self, saved: &Saved, dys: &[Option<Tensor>], wants: &[bool]) -> Result<Vec<Option<Tensor>>> {
        let Saved { x, weight, pre } = saved;
        let Some(dy) = &dys[0] else { return Ok(vec![None; wants.len()]) };
        let dpre = Tensor::binary(self.form.backward_op(), pre.into(), dy.into())?;
        let [outputs, inputs] = weight.dims()?;
        let rows = x.shape()[..x.rank() - 1].iter().product();
        let dpre_rows = dpre.reshape([rows, outputs])?;
        let dx = wants[0].then(|| dpre.matmul_with(weight, self.precision)).transpose()?;
        let dweight = || dpre_rows.transpose(0, 1)?.matmul_with(&x.reshape([rows, inputs])?, self.precision);
        let mut grads = vec![dx, wants[1].then(dweight).transpose()?];
        if let Some(&wants_bias) = wants.get(2) {
            grads.push(wants_bias.then(|| dpre_rows.sum(0, false)).transpose()?);
        }
        Ok(grads)
    }

    fn reference(&self, inputs: &[Var]) -> Result<Vec<Var>> {
        let pre = layer("linear", &inputs.iter().collect::<Vec<_>>(), false)?;
        Ok(vec![match self.form {
            Gelu::Exact => pre.gelu()?,
            Gelu::Tanh => pre.gelu_tanh()?,
        }])
    }
}

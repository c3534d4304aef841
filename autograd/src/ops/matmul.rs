//! Matrix products. Their gradients are matrix products too, so derivatives of every order follow.

use chainrule_tensor::{DType, Precision, Result, Shape};

use crate::record::record;
use crate::{Pull, Tape, Var};

impl Var {
    /// The matrix product over the last two dims; see [`chainrule_tensor::Tensor::matmul`].
    ///
    /// Gradient: `dy b^T` and `a^T dy`, summed over the dims along which an operand was broadcast; those sums are part
    /// of one larger product and take no memory of their own. Computes in the tape's autocast dtype, if it has one, and
    /// with the tape's [`precision`](Tape::precision).
    ///
    /// ```
    /// # use chainrule_autograd::value_and_grad;
    /// # use chainrule_tensor::{Device, Tensor};
    /// let [a, b] = [Tensor::new([[1.0f64, 2.0]], &Device::Cpu)?, Tensor::new([[3.0f64], [4.0]], &Device::Cpu)?];
    /// let (y, grads) = value_and_grad(|x| x[0].matmul(&x[1])?.sum(.., false), &[a, b])?;
    /// assert_eq!(y.item::<f64>()?, 11.0);
    /// assert_eq!((grads[0].to_vec::<f64>()?, grads[1].to_vec::<f64>()?), (vec![3.0, 4.0], vec![1.0, 2.0]));
    /// # Ok::<(), chainrule_tensor::Error>(())
    /// ```
    #[track_caller]
    pub fn matmul(&self, other: &Var) -> Result<Var> {
        let inputs = autocast(&[self, other])?;
        product("matmul", &inputs[0], &inputs[1], precision(&[self, other]))
    }

    /// `sum over i of a[i] b[i]` of two 1-d variables; see [`chainrule_tensor::Tensor::dot`].
    ///
    /// Gradient: `b dy` and `a dy`.
    ///
    /// ```
    /// # use chainrule_autograd::value_and_grad;
    /// # use chainrule_tensor::{Device, Tensor};
    /// let [a, b] = [Tensor::new([1.0f64, 2.0], &Device::Cpu)?, Tensor::new([3.0f64, 4.0], &Device::Cpu)?];
    /// let (y, grads) = value_and_grad(|x| x[0].dot(&x[1]), &[a, b])?;
    /// assert_eq!((y.item::<f64>()?, grads[0].to_vec::<f64>()?), (11.0, vec![3.0, 4.0]));
    /// # Ok::<(), chainrule_tensor::Error>(())
    /// ```
    #[track_caller]
    pub fn dot(&self, other: &Var) -> Result<Var> {
        let (a, b) = (self.save(), other.save());
        let rule = move |pull: &Pull<'_>| {
            let dy = pull.dy()?;
            Ok([pull.when(0, || pull.var(&b).mul(dy))?, pull.when(1, || pull.var(&a).mul(dy))?])
        };
        record("dot", [self, other], |[a, b]| a.dot(b), rule)
    }

    /// `c[i, j] = a[i] b[j]` of two 1-d variables; see [`chainrule_tensor::Tensor::outer`].
    ///
    /// Gradient: `dy b` and `a dy`.
    ///
    /// ```
    /// # use chainrule_autograd::value_and_grad;
    /// # use chainrule_tensor::{Device, Tensor};
    /// let [a, b] = [Tensor::new([1.0f64, 2.0], &Device::Cpu)?, Tensor::new([3.0f64], &Device::Cpu)?];
    /// let (y, grads) = value_and_grad(|x| x[0].outer(&x[1])?.sum(.., false), &[a, b])?;
    /// assert_eq!(y.item::<f64>()?, 9.0);
    /// assert_eq!((grads[0].to_vec::<f64>()?, grads[1].to_vec::<f64>()?), (vec![3.0, 3.0], vec![3.0]));
    /// # Ok::<(), chainrule_tensor::Error>(())
    /// ```
    #[track_caller]
    pub fn outer(&self, other: &Var) -> Result<Var> {
        let (a, b) = (self.save(), other.save());
        let rule = move |pull: &Pull<'_>| {
            let dy = pull.dy()?;
            Ok([
                pull.when(0, || product("matmul", dy, &pull.var(&b), Precision::Full))?,
                pull.when(1, || product("matmul", &pull.var(&a), dy, Precision::Full))?,
            ])
        };
        record("outer", [self, other], |[a, b]| a.outer(b), rule)
    }
}

/// The variables in the autocast dtype of the tape they are on, if it has one; f64 and integers stay as they are.
///
/// Source: the rule of `torch.autocast` for matrix products.
#[track_caller]
pub(crate) fn autocast(inputs: &[&Var]) -> Result<Vec<Var>> {
    let precision = inputs.iter().find_map(|x| x.tape()).and_then(|tape| tape.autocast_dtype());
    let cast = |x: &&Var| match precision {
        Some(dtype) if x.dtype().is_float() && x.dtype() != DType::F64 && x.dtype() != dtype => x.to_dtype(dtype),
        _ => Ok((*x).clone()),
    };
    inputs.iter().map(cast).collect()
}

/// How precisely the tape that the variables are on multiplies f32.
pub(crate) fn precision(inputs: &[&Var]) -> Precision {
    inputs.iter().find_map(|x| x.tape()).map_or(Precision::Full, Tape::precision)
}

/// The matrix product, and its gradients, in the precision given: a backward pass that is not recorded has no tape to ask.
#[track_caller]
pub(super) fn product(op: &'static str, a: &Var, b: &Var, precision: Precision) -> Result<Var> {
    let saved = (a.save(), b.save());
    let rule = move |pull: &Pull<'_>| {
        let (a, b) = (pull.var(&saved.0), pull.var(&saved.1));
        let (shape_a, shape_b) = (*a.shape(), *b.shape());
        // Vectors as the matrices that they stand for, and dy with the dims that the result lacks for them.
        let a = if a.rank() == 1 { a.unsqueeze(0)? } else { a };
        let b = if b.rank() == 1 { b.unsqueeze(-1)? } else { b };
        let batch = Shape::broadcast("matmul", &leading(&a)?, &leading(&b)?)?;
        let rows_cols = [a.size(-2)?, b.size(-1)?];
        let dy = pull.dy()?.reshape([&batch[..], &rows_cols].concat())?;
        Ok([
            pull.when(0, || {
                let summed = broadcast_dims(&a, &batch);
                let (dy, b) = (fold_into_last(&dy, &summed, -1)?, fold_into_last(&b, &summed, -1)?);
                product("matmul", &dy, &b.transpose(-2, -1)?, precision)?.reshape(shape_a)
            })?,
            pull.when(1, || {
                let summed = broadcast_dims(&b, &batch);
                let (a, dy) = (fold_into_last(&a, &summed, -2)?, fold_into_last(&dy, &summed, -2)?);
                product("matmul", &a.transpose(-2, -1)?, &dy, precision)?.reshape(shape_b)
            })?,
        ])
    };
    record(op, [a, b], |[a, b]| a.matmul_with(b, precision), rule)
}

fn leading(x: &Var) -> Result<Shape> {
    Shape::new(&x.shape()[..x.rank() - 2])
}

/// For each batch dim, whether `x` is broadcast along it, so that its gradient is a sum over that dim.
fn broadcast_dims(x: &Var, batch: &[usize]) -> Vec<bool> {
    let missing = batch.len() + 2 - x.rank();
    let is_broadcast = |dim: usize| dim < missing || x.shape()[dim - missing] == 1;
    (0..batch.len()).map(|dim| batch[dim] != 1 && is_broadcast(dim)).collect()
}

/// `x [batch.., rows, cols]` with the `summed` batch dims made part of its rows (`dim` -2) or columns (-1).
///
/// A sum over a batch dim of products is one product whose inner dim is that much longer: the weight gradient of
/// `x [B, T, C]` is one product `[C, B T] [B T, N]`. Where the dims follow one another in memory this is a view.
#[track_caller]
fn fold_into_last(x: &Var, summed: &[bool], dim: isize) -> Result<Var> {
    if !summed.contains(&true) {
        return Ok(x.clone());
    }
    let missing = summed.len() + 2 - x.rank();
    let x = if missing == 0 { x.clone() } else { x.reshape([&vec![1; missing][..], x.shape()].concat())? };
    let rank = x.rank();
    let (folded, kept): (Vec<usize>, Vec<usize>) = (0..rank - 2).partition(|&dim| summed[dim]);
    let (rows, cols) = (rank - 2, rank - 1);
    let order: Vec<usize> = match dim {
        -2 => [&kept[..], &folded, &[rows, cols]].concat(),
        _ => [&kept[..], &[rows], &folded, &[cols]].concat(),
    };
    let count: usize = folded.iter().map(|&dim| x.shape()[dim]).product();
    let mut sizes: Vec<usize> = kept.iter().map(|&dim| x.shape()[dim]).collect();
    match dim {
        -2 => sizes.extend([count * x.shape()[rows], x.shape()[cols]]),
        _ => sizes.extend([x.shape()[rows], count * x.shape()[cols]]),
    }
    x.permute(order.iter().map(|&dim| dim as isize).collect::<Vec<_>>())?.reshape(sizes)
}

//! Derivatives as functions: of any order, with respect to anything.

use chainrule_tensor::{Error, Result, Tensor};

use crate::backward::{After, take_nodes, walk};
use crate::{Tape, Var};

/// The gradients of a scalar with respect to variables on its tape, as variables on the same tape: they can be
/// differentiated again. The tape stays. A variable that `loss` does not depend on gets zeros.
///
/// ```
/// use chainrule_autograd::{Tape, grad};
/// use chainrule_tensor::{Device, Tensor};
/// let tape = Tape::new();
/// let x = tape.leaf(Tensor::new(2.0f64, &Device::Cpu)?);
/// let y = x.mul(&x)?.mul(&x)?;              // x^3
/// let first = grad(&y, &[&x])?.remove(0);   // 3 x^2
/// let second = grad(&first, &[&x])?.remove(0); // 6 x
/// assert_eq!((first.item::<f64>()?, second.item::<f64>()?), (12.0, 12.0));
/// # Ok::<(), chainrule_tensor::Error>(())
/// ```
///
/// # Errors
/// A loss of more than one element, or variables that are not on its tape.
///
/// Source: `torch.autograd.grad` with `create_graph=True, materialize_grads=True`.
#[track_caller]
pub fn grad(loss: &Var, wrt: &[&Var]) -> Result<Vec<Var>> {
    if loss.elements() != 1 {
        return Err(Error::shape("grad", format!("needs a single number, got shape {}", loss.shape())));
    }
    let dy = Var::from(loss.value().ones_like()?);
    vector_jacobian_product(loss, wrt, &dy)
}

/// As [`grad`], for an output of any shape and a cotangent `dy` of the same shape: `sum_i dy_i * d(y_i)/dx`.
///
/// # Errors
/// A cotangent of another shape, or variables that are not on the tape of `y`.
///
/// Source: `torch.autograd.grad` with `grad_outputs`.
#[track_caller]
pub fn vector_jacobian_product(y: &Var, wrt: &[&Var], dy: &Var) -> Result<Vec<Var>> {
    let place = y.tracked("grad")?;
    if y.shape() != dy.shape() {
        return Err(Error::shape("grad", format!("the cotangent has shape {}, expected {}", dy.shape(), y.shape())));
    }
    Var::common_tape("grad", &[y, dy])?;
    let mut targets = Vec::with_capacity(wrt.len());
    for x in wrt {
        Var::common_tape("grad", &[y, x])?;
        targets.push(x.tracked("grad")?.slot);
    }
    let nodes = take_nodes(&place.tape, After::Record, "grad")?;
    let grads = walk(&place.tape, nodes, vec![(place.slot, dy.clone())], Some(&targets), After::Record)?;
    let zeros = |x: &Var| Ok(Var::from(x.value().zeros_like()?));
    wrt.iter().zip(targets).map(|(x, slot)| grads[slot].clone().map_or_else(|| zeros(x), Ok)).collect()
}

/// The value of `f` and its gradient with respect to each input.
///
/// # Errors
/// What `f` reports, or a value of more than one element.
///
/// ```
/// use chainrule_autograd::value_and_grad;
/// use chainrule_tensor::{Device, Tensor};
/// let x = Tensor::new([1.0f64, 2.0], &Device::Cpu)?;
/// let (value, grads) = value_and_grad(|v| v[0].mul(&v[0])?.sum(.., false), &[x])?;
/// assert_eq!(value.item::<f64>()?, 5.0);
/// assert_eq!(grads[0].to_vec::<f64>()?, [2.0, 4.0]);
/// # Ok::<(), chainrule_tensor::Error>(())
/// ```
///
/// Source: `jax.value_and_grad`.
#[track_caller]
pub fn value_and_grad(f: impl Fn(&[Var]) -> Result<Var>, inputs: &[Tensor]) -> Result<(Tensor, Vec<Tensor>)> {
    let tape = Tape::new();
    let leaves: Vec<Var> = inputs.iter().map(|x| tape.leaf(x.clone())).collect();
    let loss = f(&leaves)?;
    let value = loss.value().clone();
    if !loss.is_tracked() {
        return Ok((value, inputs.iter().map(Tensor::zeros_like).collect::<Result<_>>()?));
    }
    let grads = loss.backward()?;
    let zeros_or = |(leaf, x): (&Var, &Tensor)| grads.get(leaf).cloned().or_else(|_| x.zeros_like());
    Ok((value, leaves.iter().zip(inputs).map(zeros_or).collect::<Result<_>>()?))
}

/// The product of the Hessian of a scalar function at `x` with a vector of the shape of `x`.
///
/// `H v = d/dx (grad f(x) . v)`: two passes, and no matrix of second derivatives.
///
/// # Errors
/// What `f` reports, or a vector of another shape.
///
/// ```
/// use chainrule_autograd::hessian_vector_product;
/// use chainrule_tensor::{Device, Tensor};
/// let x = Tensor::new([1.0f64, 2.0], &Device::Cpu)?;
/// let v = Tensor::new([1.0f64, 0.0], &Device::Cpu)?;
/// // f = x0^2 x1: the first column of its Hessian is [2 x1, 2 x0].
/// let f = |x: &chainrule_autograd::Var| x.select(0, 0)?.square()?.mul(&x.select(0, 1)?);
/// assert_eq!(hessian_vector_product(f, &x, &v)?.to_vec::<f64>()?, [4.0, 2.0]);
/// # Ok::<(), chainrule_tensor::Error>(())
/// ```
///
/// Source: Pearlmutter, Fast Exact Multiplication by the Hessian (1994).
#[track_caller]
pub fn hessian_vector_product(f: impl Fn(&Var) -> Result<Var>, x: &Tensor, v: &Tensor) -> Result<Tensor> {
    let tape = Tape::new();
    let leaf = tape.leaf(x.clone());
    let gradient = grad(&f(&leaf)?, &[&leaf])?.remove(0);
    if !gradient.is_tracked() {
        return x.zeros_like();
    }
    let product = vector_jacobian_product(&gradient, &[&leaf], &Var::from(v))?.remove(0);
    Ok(product.into_value())
}

/// All first derivatives of a function: element `[i, j]` is the derivative of output `i` with respect to input `j`,
/// both counted in row-major order; the shape is that of the output followed by that of the input.
///
/// One backward pass for each output element.
///
/// # Errors
/// What `f` reports.
///
/// Source: `torch.func.jacrev`.
#[track_caller]
pub fn jacobian(f: impl Fn(&Var) -> Result<Var>, x: &Tensor) -> Result<Tensor> {
    let tape = Tape::new();
    let leaf = tape.leaf(x.clone());
    let y = f(&leaf)?;
    let sizes: Vec<usize> = y.shape().iter().chain(x.shape().iter()).copied().collect();
    if !y.is_tracked() || y.elements() == 0 {
        return Tensor::zeros(sizes, x.dtype(), &x.device());
    }
    let flat = y.reshape([y.elements()])?;
    let row = |i| {
        let place = flat.tracked("jacobian")?;
        let dy = unit_vector(i, &flat)?;
        let nodes = take_nodes(&place.tape, After::Retain, "jacobian")?;
        let slot = leaf.tracked("jacobian")?.slot;
        let grads = walk(&place.tape, nodes, vec![(place.slot, dy.into())], Some(&[slot]), After::Retain)?;
        grads[slot].clone().map_or_else(|| x.zeros_like(), |dx| Ok(dx.into_value()))
    };
    let rows = (0..flat.elements()).map(row).collect::<Result<Vec<_>>>()?;
    Tensor::stack(&rows.iter().collect::<Vec<_>>(), 0)?.reshape(sizes)
}

fn unit_vector(index: usize, like: &Var) -> Result<Tensor> {
    let mut values = vec![0.0f64; like.elements()];
    values[index] = 1.0;
    Tensor::from_vec(values, like.shape(), &like.device())?.to_dtype(like.dtype())
}

//! Checking gradients against finite differences.

use chainrule_tensor::{DType, Error, ErrorKind, Result, Rng, Tensor};

use crate::backward::{After, take_nodes, walk};
use crate::{Tape, Var, vector_jacobian_product};

/// How gradients are checked.
#[derive(Clone, Copy, Debug)]
pub struct CheckOptions {
    /// The step of the central difference.
    pub step: f64,
    /// The allowed difference, relative to `1 + |derivative|`.
    pub tolerance: f64,
    /// The seed of the random directions and cotangents.
    pub seed: u64,
    /// How many random directions are tried.
    pub directions: usize,
}

impl Default for CheckOptions {
    /// In f64 a central difference with step `1e-5` has a truncation error near `1e-10` and a rounding error near
    /// `1e-11` for values near 1; the tolerance of `1e-6` leaves room for larger third derivatives.
    fn default() -> CheckOptions {
        CheckOptions { step: 1e-5, tolerance: 1e-6, seed: 0, directions: 2 }
    }
}

/// Checks the gradients of `f` at `inputs` against central differences, in f64.
///
/// With a random cotangent `u` and a random direction `v`, the number `u . (f(x + h v) - f(x - h v)) / 2h` must agree
/// with `(J^T u) . v`. The cotangent is random so that a rule that ignores its upstream gradient is found, and `f` may
/// have any output shape. Floating inputs are differentiated (give them as f64); others are constants.
///
/// # Errors
/// A disagreement, told with the input's number and both values; a missing gradient; what `f` reports.
///
/// ```
/// use chainrule_autograd::{CheckOptions, check_gradients};
/// use chainrule_tensor::{Device, Tensor};
/// let x = Tensor::new([0.3f64, -0.7], &Device::Cpu)?;
/// check_gradients(|v| v[0].tanh(), &[x], CheckOptions::default())?;
/// # Ok::<(), chainrule_tensor::Error>(())
/// ```
///
/// Source: the scheme of `check_grads` in HIPS autograd.
#[track_caller]
pub fn check_gradients(f: impl Fn(&[Var]) -> Result<Var>, inputs: &[Tensor], options: CheckOptions) -> Result<()> {
    let mut rng = Rng::seed(options.seed);
    for _ in 0..options.directions {
        for (index, x) in inputs.iter().enumerate().filter(|(_, x)| x.dtype().is_float()) {
            check_input(&f, inputs, index, x, &mut rng, options)?;
        }
    }
    Ok(())
}

/// Checks the gradients of the gradients of `f`: those of the function that maps the inputs to `J^T u`.
///
/// # Errors
/// As [`check_gradients`].
#[track_caller]
pub fn check_second_order(f: impl Fn(&[Var]) -> Result<Var>, inputs: &[Tensor], options: CheckOptions) -> Result<()> {
    let mut rng = Rng::seed(options.seed ^ 0x5eed);
    let plain: Vec<Var> = inputs.iter().map(Var::from).collect();
    let u = random_like(f(&plain)?.value(), &mut rng)?;
    for (index, x) in inputs.iter().enumerate().filter(|(_, x)| x.dtype().is_float()) {
        let pulled = |v: &[Var]| -> Result<Var> {
            let tape = Tape::new();
            let on_tape = |x: &Var| if x.is_tracked() { x.clone() } else { tape.leaf(x.value().clone()) };
            let leaves: Vec<Var> =
                if v.iter().any(Var::is_tracked) { v.to_vec() } else { v.iter().map(on_tape).collect() };
            let y = f(&leaves)?;
            if !y.is_tracked() || !leaves[index].is_tracked() {
                return Ok(Var::from(x.zeros_like()?));
            }
            Ok(vector_jacobian_product(&y, &[&leaves[index]], &Var::from(&u))?.remove(0))
        };
        check_gradients(pulled, inputs, options).map_err(|error| {
            let message = format!("second order, gradient of input {index}: {}", error.kind());
            Error::new(ErrorKind::Argument(message)).with_source(error)
        })?;
    }
    Ok(())
}

fn check_input(
    f: &impl Fn(&[Var]) -> Result<Var>,
    inputs: &[Tensor],
    index: usize,
    x: &Tensor,
    rng: &mut Rng,
    options: CheckOptions,
) -> Result<()> {
    if x.dtype() != DType::F64 {
        return Err(Error::dtype("check_gradients", format!("input {index} is {}, expected f64", x.dtype())));
    }
    let tape = Tape::new();
    let leaf_or_constant = |x: &Tensor| if x.dtype().is_float() { tape.leaf(x.clone()) } else { Var::from(x) };
    let vars: Vec<Var> = inputs.iter().map(leaf_or_constant).collect();
    let y = f(&vars)?;
    let (u, v) = (random_like(y.value(), rng)?, random_like(x, rng)?);
    let exact = if y.is_tracked() { dot(&plain_gradient(&y, &vars[index], &u)?, &v)? } else { 0.0 };
    let at = |h: f64| -> Result<f64> {
        let mut moved: Vec<Var> = inputs.iter().map(Var::from).collect();
        moved[index] = Var::from(x.add(&v.mul(h)?)?);
        dot(f(&moved)?.value(), &u)
    };
    let numeric = (at(options.step)? - at(-options.step)?) / (2.0 * options.step);
    let allowed = options.tolerance * (1.0 + exact.abs().max(numeric.abs()));
    // Written so that a NaN on either side is a failure.
    if (exact - numeric).abs() <= allowed {
        return Ok(());
    }
    let message = format!(
        "gradient of input {index} (shape {}): backward gives {exact:.10}, finite differences {numeric:.10}",
        x.shape()
    );
    Err(Error::argument("check_gradients", message))
}

/// `J^T u` by the walk that training takes, with the backward kernels of fused ops; the second-order check takes the
/// other one, through their references.
fn plain_gradient(y: &Var, x: &Var, u: &Tensor) -> Result<Tensor> {
    let (place, slot) = (y.tracked("check_gradients")?, x.tracked("check_gradients")?.slot);
    let nodes = take_nodes(&place.tape, After::Retain, "check_gradients")?;
    let grads = walk(&place.tape, nodes, vec![(place.slot, Var::from(u))], Some(&[slot]), After::Retain)?;
    grads[slot].clone().map_or_else(|| x.value().zeros_like(), |dx| Ok(dx.into_value()))
}

fn random_like(x: &Tensor, rng: &mut Rng) -> Result<Tensor> {
    let values: Vec<f64> = (0..x.elements()).map(|_| f64::from(rng.uniform()) * 2.0 - 1.0).collect();
    Tensor::from_vec(values, x.shape(), &x.device())
}

fn dot(a: &Tensor, b: &Tensor) -> Result<f64> {
    Ok(a.to_f64_vec()?.into_iter().zip(b.to_f64_vec()?).map(|(a, b)| a * b).sum())
}

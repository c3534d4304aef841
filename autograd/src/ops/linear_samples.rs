//! Samples of fully connected layers. Their oracles are sums written index by index, and GELU in f64.

use chainrule_tensor::{DType, Device, Gelu, Result, Tensor};

use crate::samples::{Array, ErrorSample, Sample, uniform};
use crate::{Tape, Var};

/// `x weight^T + bias + residual` of inputs x, weight, perhaps a bias and, where there is one, the residual last.
fn linear(a: &[Array], has_bias: bool, adds: bool) -> Array {
    let (x, weight) = (&a[0], &a[1]);
    let mut shape = x.shape.clone();
    let last = shape.len() - 1;
    shape[last] = weight.shape[0];
    Array::build(&shape, |i| {
        let sum: f64 =
            (0..weight.shape[1]).map(|k| x.at(&[&i[..last], &[k]].concat()) * weight.at(&[i[last], k])).sum();
        let bias = if has_bias { a[2].at(&[i[last]]) } else { 0.0 };
        sum + bias + if adds { a[a.len() - 1].at(i) } else { 0.0 }
    })
}

/// `x / 2 (1 + erf(x / sqrt 2))`, with erf by a series of positive terms. (Abramowitz and Stegun 7.1.6.)
fn gelu(x: f64) -> f64 {
    let z = x / 2f64.sqrt();
    let (mut term, mut sum) = (z, z);
    for n in 1..300 {
        term *= 2.0 * z * z / f64::from(2 * n + 1);
        sum += term;
    }
    x / 2.0 * (1.0 + 2.0 / std::f64::consts::PI.sqrt() * (-z * z).exp() * sum)
}

fn gelu_tanh(x: f64) -> f64 {
    x / 2.0 * (1.0 + ((2.0 / std::f64::consts::PI).sqrt() * (x + 0.044715 * x.powi(3))).tanh())
}

fn random(shapes: &[&[usize]]) -> Result<Vec<Tensor>> {
    shapes.iter().zip(1..).map(|(shape, seed)| uniform(shape, -1.0, 1.0, seed)).collect()
}

/// The shapes of x, weight and bias. That of the result is the one of x with its last size exchanged.
const LAYERS: &[(&str, [&[usize]; 3])] = &[
    ("rows", [&[4, 3], &[2, 3], &[2]]),
    ("one vector", [&[3], &[2, 3], &[2]]),
    ("two leading dims", [&[2, 3, 4], &[5, 4], &[5]]),
    ("one output", [&[4, 3], &[1, 3], &[1]]),
    ("no inputs", [&[2, 0], &[3, 0], &[3]]),
    ("no rows", [&[0, 2, 3], &[2, 3], &[2]]),
    ("cut edges", [&[9, 33], &[17, 33], &[17]]),
    ("whole tiles", [&[16, 16], &[32, 16], &[32]]),
];

pub(super) fn samples() -> Result<Vec<Sample>> {
    let mut samples = Vec::new();
    for (case, shapes) in LAYERS {
        let plain = format!("{case}, no bias");
        let result = [&shapes[0][..shapes[0].len() - 1], shapes[2]].concat();
        let with_bias = random(&[&shapes[..], &[&result]].concat())?;
        let without = vec![with_bias[0].clone(), with_bias[1].clone(), with_bias[3].clone()];
        samples.extend([
            Sample::new("linear_gelu", *case, with_bias[..3].to_vec(), |x| {
                x[0].linear_gelu(&x[1], Some(&x[2]), Gelu::Exact)
            })
            .plain(|a| linear(a, true, false).map(gelu)),
            Sample::new("linear_gelu", format!("{case}, tanh"), with_bias[..3].to_vec(), |x| {
                x[0].linear_gelu(&x[1], Some(&x[2]), Gelu::Tanh)
            })
            .plain(|a| linear(a, true, false).map(gelu_tanh)),
            Sample::new("linear_gelu", plain.clone(), without[..2].to_vec(), |x| {
                x[0].linear_gelu(&x[1], None, Gelu::Exact)
            })
            .plain(|a| linear(a, false, false).map(gelu)),
            Sample::new("linear_add", *case, with_bias, |x| x[0].linear_add(&x[1], Some(&x[2]), &x[3]))
                .plain(|a| linear(a, true, true)),
            Sample::new("linear_add", plain, without, |x| x[0].linear_add(&x[1], None, &x[2]))
                .plain(|a| linear(a, false, true)),
        ]);
    }
    samples.extend([
        Sample::new("linear_add", "of its own input", random(&[&[4, 3], &[3, 3]])?, |x| {
            x[0].linear_add(&x[1], None, &x[0])
        })
        .plain(|a| linear(&[a[0].clone(), a[1].clone(), a[0].clone()], false, true)),
        // An operand is off by up to 2^-11 of itself where a device makes use of the permission: 2^13 epsilons of f32, of
        // the two together.
        Sample::new("linear", "tf32 allowed", random(&[&[24, 40], &[32, 40], &[32]])?, |x| {
            let tape = Tape::new().allow_tf32();
            let [input, weight, bias] = [0, 1, 2].map(|i| tape.leaf(x[i].detach()));
            input.linear(&weight, Some(&bias))
        })
        .plain(|a| linear(a, true, false))
        .dtypes(&[DType::F32])
        .tolerance(8192.0)
        .no_gradient(),
        Sample::new("linear_gelu", "1024 rows", random(&[&[8, 128, 256], &[1024, 256], &[1024]])?, |x| {
            x[0].linear_gelu(&x[1], Some(&x[2]), Gelu::Tanh)
        })
        .bench(),
        Sample::new(
            "linear_add",
            "1024 rows",
            random(&[&[8, 128, 1024], &[256, 1024], &[256], &[8, 128, 256]])?,
            |x| x[0].linear_add(&x[1], Some(&x[2]), &x[3]),
        )
        .bench(),
    ]);
    Ok(samples)
}

pub(super) fn error_samples() -> Result<Vec<ErrorSample>> {
    let gelu = |shapes: [&[usize]; 3], message| {
        let call = |x: &[Var]| x[0].linear_gelu(&x[1], Some(&x[2]), Gelu::Exact);
        Ok(ErrorSample::new("linear_gelu", random(&shapes)?, call, message))
    };
    let add = |shapes: [&[usize]; 3], message| {
        let call = |x: &[Var]| x[0].linear_add(&x[1], None, &x[2]);
        Ok(ErrorSample::new("linear_add", random(&shapes)?, call, message))
    };
    let integers = || Tensor::from_vec(vec![1i64; 6], [2, 3], &Device::Cpu);
    Ok(vec![
        gelu(
            [&[4, 3], &[2, 4], &[2]],
            "linear_gelu: weight has shape [2, 4], expected [2, 3] to match the last dim of x [4, 3]",
        )?,
        gelu([&[4, 3], &[3], &[2]], "linear_gelu: weight has shape [3], expected [out, in]")?,
        gelu([&[4, 3], &[2, 3], &[3]], "linear_gelu: bias has shape [3], expected [2] to match weight [2, 3]")?,
        ErrorSample::new(
            "linear_gelu",
            vec![integers()?, integers()?],
            |x| x[0].linear_gelu(&x[1], None, Gelu::Tanh),
            "linear_gelu: got i64, expected a float: cast with to_dtype",
        ),
        add([&[4, 3], &[2, 3], &[4, 3]], "linear_add: residual has shape [4, 3], expected [4, 2], that of the result")?,
        add([&[4, 3], &[2, 3], &[2]], "linear_add: residual has shape [2], expected [4, 2], that of the result")?,
        add([&[3], &[2, 3], &[1, 2]], "linear_add: residual has shape [1, 2], expected [2], that of the result")?,
        add(
            [&[], &[2, 3], &[2]],
            "linear_add: weight has shape [2, 3], expected [2, 0] to match the last dim of x []",
        )?,
        ErrorSample::new(
            "linear_add",
            random(&[&[4, 3], &[2, 3]])?,
            |x| x[0].linear_add(&x[1], None, &x[0].to_dtype(DType::F32)?),
            "linear_add: residual is f32, expected f64 as the first operand: cast one with to_dtype",
        ),
    ])
}

//! Samples of matrix products, linear layers and dropout. Their oracles are sums written index by index.

use chainrule_tensor::{DType, Device, Result, Stream, Tensor};

use crate::Var;
use crate::samples::{Array, ErrorSample, Sample, uniform};

const STREAM: Stream = Stream { seed: 11, number: 4 };

/// `[.., M, K]` by `[.., K, N]`, with 1-d operands as rows and columns.
fn product(a: &Array, b: &Array) -> Array {
    let (row, column) = (a.shape.len() == 1, b.shape.len() == 1);
    let a = if row { Array { shape: vec![1, a.shape[0]], data: a.data.clone() } } else { a.clone() };
    let b = if column { Array { shape: vec![b.shape[0], 1], data: b.data.clone() } } else { b.clone() };
    let batch = a.shape.len().max(b.shape.len()) - 2;
    let size = |x: &Array, dim: usize| (dim + x.shape.len()).checked_sub(batch + 2).map_or(1, |dim| x.shape[dim]);
    let mut shape: Vec<usize> =
        (0..batch).map(|dim| if size(&a, dim) == 1 { size(&b, dim) } else { size(&a, dim) }).collect();
    let k = a.shape[a.shape.len() - 1];
    shape.extend([a.shape[a.shape.len() - 2], b.shape[b.shape.len() - 1]]);
    let element = |i: &[usize]| {
        let (m, n) = (i[batch], i[batch + 1]);
        (0..k).map(|k| a.at(&[&i[..batch], &[m, k]].concat()) * b.at(&[&i[..batch], &[k, n]].concat())).sum()
    };
    let mut c = Array::build(&shape, element);
    if column {
        c.shape.remove(batch + 1);
    }
    if row {
        c.shape.remove(batch);
    }
    c
}

fn linear(a: &[Array]) -> Array {
    let (x, weight) = (&a[0], &a[1]);
    let mut shape = x.shape.clone();
    let last = shape.len() - 1;
    shape[last] = weight.shape[0];
    Array::build(&shape, |i| {
        let sum: f64 =
            (0..weight.shape[1]).map(|k| x.at(&[&i[..last], &[k]].concat()) * weight.at(&[i[last], k])).sum();
        sum + a.get(2).map_or(0.0, |bias| bias.at(&[i[last]]))
    })
}

fn random(shapes: &[&[usize]]) -> Result<Vec<Tensor>> {
    shapes.iter().zip(1..).map(|(shape, seed)| uniform(shape, -1.0, 1.0, seed)).collect()
}

pub(super) fn samples() -> Result<Vec<Sample>> {
    let mut samples = vec![
        Sample::new("matmul", "integers", vec![integers(&[2, 3])?, integers(&[3, 2])?], |x| x[0].matmul(&x[1]))
            .plain(|a| product(&a[0], &a[1]))
            .no_gradient(),
        Sample::new("matmul", "with itself", random(&[&[3, 3]])?, |x| x[0].matmul(&x[0]))
            .plain(|a| product(&a[0], &a[0])),
        Sample::new("matmul", "256 by 256", random(&[&[256, 256], &[256, 256]])?, |x| x[0].matmul(&x[1])).bench(),
        Sample::new("linear", "1024 rows", random(&[&[8, 128, 256], &[256, 256], &[256]])?, |x| {
            x[0].linear(&x[1], Some(&x[2]))
        })
        .bench(),
        Sample::new("dot", "7", random(&[&[7], &[7]])?, |x| x[0].dot(&x[1])).plain(|a| product(&a[0], &a[1])),
        Sample::new("dot", "nothing", random(&[&[0], &[0]])?, |x| x[0].dot(&x[1])).plain(|a| product(&a[0], &a[1])),
        Sample::new("outer", "3 by 4", random(&[&[3], &[4]])?, |x| x[0].outer(&x[1]))
            .plain(|a| Array::build(&[3, 4], |i| a[0].at(&i[..1]) * a[1].at(&i[1..]))),
        Sample::new("dropout", "a third", random(&[&[3, 25]])?, |x| x[0].dropout_with(0.3, STREAM)).plain(|a| {
            let factor = |i: usize| if f64::from(STREAM.uniform(i as u64)) < 1.0 - 0.3 { 1.0 / 0.7 } else { 0.0 };
            Array::build(&[3, 25], |i| a[0].at(i) * factor(i[0] * 25 + i[1]))
        }),
        Sample::new("dropout", "off a training tape", random(&[&[5]])?, |x| x[0].dropout(0.5)?.mul(2.0))
            .plain(|a| a[0].clone().map(|x| 2.0 * x)),
        Sample::new("dropout", "all", random(&[&[5]])?, |x| x[0].dropout_with(1.0, STREAM))
            .plain(|a| a[0].clone().map(|_| 0.0)),
    ];
    let products: &[(&str, [&[usize]; 2])] = &[
        ("matrices", [&[3, 5], &[5, 4]]),
        ("1 by 1", [&[1, 1], &[1, 1]]),
        ("uneven", [&[31, 7], &[7, 2]]),
        ("vectors", [&[5], &[5]]),
        ("matrix and vector", [&[3, 5], &[5]]),
        ("vector and matrix", [&[5], &[5, 3]]),
        ("batch and vector", [&[2, 3, 5], &[5]]),
        ("vector and batch", [&[5], &[2, 5, 3]]),
        ("batches", [&[2, 3, 4], &[2, 4, 2]]),
        ("batch and matrix", [&[2, 3, 4], &[4, 2]]),
        ("matrix and batch", [&[3, 4], &[2, 4, 2]]),
        ("batches broadcast both ways", [&[2, 1, 2, 3], &[1, 3, 3, 2]]),
        ("inner batch dim broadcast", [&[2, 2, 2, 3], &[2, 1, 3, 2]]),
        ("outer batch dim broadcast", [&[2, 3, 2, 3], &[3, 3, 2]]),
        ("no inner dim", [&[2, 3, 0], &[2, 0, 2]]),
        ("no rows", [&[0, 3], &[3, 2]]),
        ("no columns", [&[2, 3], &[3, 0]]),
        ("no batch", [&[0, 2, 3], &[3, 2]]),
        ("six dims", [&[1, 2, 1, 2, 2, 3], &[2, 1, 2, 1, 3, 2]]),
    ];
    for (case, shapes) in products {
        samples.push(
            Sample::new("matmul", *case, random(shapes)?, |x| x[0].matmul(&x[1])).plain(|a| product(&a[0], &a[1])),
        );
    }
    let layers: &[(&str, [&[usize]; 3])] = &[
        ("rows", [&[4, 3], &[2, 3], &[2]]),
        ("one vector", [&[3], &[2, 3], &[2]]),
        ("two leading dims", [&[2, 3, 4], &[5, 4], &[5]]),
        ("one output", [&[4, 3], &[1, 3], &[1]]),
        ("no inputs", [&[2, 0], &[3, 0], &[3]]),
        ("no rows", [&[0, 2, 3], &[2, 3], &[2]]),
    ];
    for (case, shapes) in layers {
        let biased = |x: &[Var]| x[0].linear(&x[1], Some(&x[2]));
        samples.push(Sample::new("linear", *case, random(shapes)?, biased).plain(linear));
        let plain =
            Sample::new("linear", format!("{case}, no bias"), random(&shapes[..2])?, |x| x[0].linear(&x[1], None));
        samples.push(plain.plain(linear));
    }
    Ok(samples)
}

fn integers(shape: &[usize]) -> Result<Tensor> {
    Tensor::from_vec((0..shape.iter().product::<usize>() as i64).collect(), shape, &Device::Cpu)
}

pub(super) fn error_samples() -> Result<Vec<ErrorSample>> {
    let matmul = |a: &[usize], b: &[usize], message| {
        Ok(ErrorSample::new("matmul", random(&[a, b])?, |x| x[0].matmul(&x[1]), message))
    };
    let linear = |shapes: [&[usize]; 3], message| {
        Ok(ErrorSample::new("linear", random(&shapes)?, |x| x[0].linear(&x[1], Some(&x[2])), message))
    };
    Ok(vec![
        matmul(
            &[2, 3],
            &[4, 2],
            "shapes [2, 3] and [4, 2]: the last dim of the first (3) and the second-last dim of the second (4) differ",
        )?,
        matmul(
            &[2, 3],
            &[2],
            "shapes [2, 3] and [2]: the last dim of the first (3) and the dim of the second (2) differ",
        )?,
        matmul(&[], &[2], "needs at least 1 dim each, got shapes [] and [2]: use mul for numbers")?,
        matmul(&[2, 2, 3], &[3, 3, 2], "shapes [2] and [3] do not broadcast")?,
        ErrorSample::new(
            "matmul",
            random(&[&[2, 2]])?,
            |x| x[0].matmul(&x[0].to_dtype(DType::F32)?),
            "the second operand is f32, expected f64 as the first operand: cast one with to_dtype",
        ),
        ErrorSample::new(
            "matmul",
            random(&[&[2, 2]])?,
            |x| {
                let bool = Var::from(x[0].gt(0.0)?);
                bool.matmul(&bool)
            },
            "is not defined for bool",
        ),
        linear([&[4, 3], &[2, 4], &[2]], "weight has shape [2, 4], expected [2, 3] to match the last dim of x [4, 3]")?,
        linear([&[4, 3], &[3], &[2]], "weight has shape [3], expected [out, in]")?,
        linear([&[4, 3], &[2, 3], &[3]], "bias has shape [3], expected [2] to match weight [2, 3]")?,
        ErrorSample::new(
            "dot",
            random(&[&[2], &[3]])?,
            |x| x[0].dot(&x[1]),
            "got shapes [2] and [3], expected [N] both",
        ),
        ErrorSample::new(
            "outer",
            random(&[&[2], &[3, 1]])?,
            |x| x[0].outer(&x[1]),
            "got shapes [2] and [3, 1], expected [M] and [N]",
        ),
        ErrorSample::new(
            "dropout",
            random(&[&[2]])?,
            |x| x[0].dropout(1.5),
            "the dropout probability is 1.5, expected 0 to 1",
        ),
    ])
}

//! Samples of the normalisations. Their oracles walk the rows in f64.

use chainrule_tensor::{DType, Device, Result, Tensor};

use crate::Var;
use crate::samples::{Array, ErrorSample, Sample, uniform};

const EPS: f64 = 1e-5;

/// Rows of `cols` elements mapped by `f`, then multiplied by `weight` and shifted by `bias`, both of `cols` elements.
fn by_row(x: &Array, cols: usize, f: fn(&[f64]) -> Vec<f64>, weight: Option<&Array>, bias: Option<&Array>) -> Array {
    let at = |affine: Option<&Array>, default: f64, col: usize| affine.map_or(default, |affine| affine.data[col]);
    let scaled = |row: &[f64]| {
        let row = f(row).into_iter().enumerate();
        row.map(|(col, y)| y * at(weight, 1.0, col) + at(bias, 0.0, col)).collect::<Vec<_>>()
    };
    Array { shape: x.shape.clone(), data: x.data.chunks(cols.max(1)).flat_map(scaled).collect() }
}

fn layer_norm(row: &[f64]) -> Vec<f64> {
    let n = row.len() as f64;
    let mean = row.iter().sum::<f64>() / n;
    let variance = row.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / n;
    row.iter().map(|x| (x - mean) / (variance + EPS).sqrt()).collect()
}

fn rms_norm(row: &[f64]) -> Vec<f64> {
    let square = row.iter().map(|x| x * x).sum::<f64>() / row.len() as f64;
    row.iter().map(|x| x / (square + EPS).sqrt()).collect()
}

/// `x [N, C, ...]` in `groups` groups of channels.
fn group_norm(x: &Array, groups: usize, weight: Option<&Array>, bias: Option<&Array>) -> Array {
    let inner: usize = x.shape[2..].iter().product();
    let mut y = by_row(x, x.shape[1] / groups * inner, layer_norm, None, None);
    for (i, y) in y.data.iter_mut().enumerate() {
        let channel = i / inner % x.shape[1];
        *y = *y * weight.map_or(1.0, |w| w.data[channel]) + bias.map_or(0.0, |b| b.data[channel]);
    }
    y
}

fn inputs(shapes: &[&[usize]]) -> Result<Vec<Tensor>> {
    shapes.iter().enumerate().map(|(seed, shape)| uniform(shape, -2.0, 2.0, 20 + seed as u64)).collect()
}

fn layer_norms() -> Result<Vec<Sample>> {
    let both = |case: &str, shapes: &[&[usize]]| -> Result<Sample> {
        let cols = shapes[1].iter().product();
        Ok(Sample::new("layer_norm", case, inputs(shapes)?, |x| x[0].layer_norm(Some(&x[1]), Some(&x[2]), EPS))
            .plain(move |a| by_row(&a[0], cols, layer_norm, Some(&a[1]), Some(&a[2]))))
    };
    let large = uniform(&[3, 8], -2.0, 2.0, 4)?.add(1e4)?;
    // Squares of 1e37 overflow f32, and so does the square of what the rounding of their mean leaves.
    let huge = uniform(&[3, 33], -3e37, 3e37, 5)?;
    Ok(vec![
        both("last dim", &[&[2, 3, 7], &[7], &[7]])?,
        both("wider than a vector", &[&[3, 33], &[33], &[33]])?,
        both("last two dims", &[&[3, 2, 4], &[2, 4], &[2, 4]])?,
        both("one row, 1-d", &[&[6], &[6], &[6]])?,
        both("no rows", &[&[0, 5], &[5], &[5]])?,
        both("no columns", &[&[3, 0], &[0], &[0]])?,
        both("gpt block", &[&[768, 128], &[128], &[128]])?.bench(),
        Sample::new("layer_norm", "weight only", inputs(&[&[4, 5], &[5]])?, |x| {
            x[0].layer_norm(Some(&x[1]), None, EPS)
        })
        .plain(|a| by_row(&a[0], 5, layer_norm, Some(&a[1]), None)),
        Sample::new("layer_norm", "bias only", inputs(&[&[4, 5], &[5]])?, |x| x[0].layer_norm(None, Some(&x[1]), EPS))
            .plain(|a| by_row(&a[0], 5, layer_norm, None, Some(&a[1]))),
        // The gradient is not compared: the mean that forward keeps is rounded to a thousandth in f32.
        Sample::new("layer_norm", "large mean", vec![large], |x| x[0].layer_norm(None, None, EPS))
            .plain(|a| by_row(&a[0], 8, layer_norm, None, None))
            .dtypes(&[DType::F64, DType::F32])
            .no_gradient(),
        // The gradient is some 1e-37, less than any tolerance.
        Sample::new("layer_norm", "huge values", vec![huge], |x| x[0].layer_norm(None, None, EPS))
            .plain(|a| by_row(&a[0], 33, layer_norm, None, None))
            .dtypes(&[DType::F64, DType::F32, DType::BF16])
            .no_gradient(),
        Sample::new("layer_norm", "constant rows", vec![Tensor::full([2, 3], 0.5, DType::F64, &Device::Cpu)?], |x| {
            x[0].layer_norm(None, None, EPS)
        })
        .plain(|a| a[0].clone().map(|_| 0.0))
        .no_gradient(),
        Sample::new("layer_norm_over", "all dims", inputs(&[&[3, 4]])?, |x| {
            x[0].layer_norm_over([3, 4], None, None, EPS)
        })
        .plain(|a| by_row(&a[0], 12, layer_norm, None, None)),
        Sample::new("layer_norm_over", "as its reference", inputs(&[&[3, 4], &[4]])?, |x| {
            x[0].layer_norm_over([4], Some(&x[1]), None, EPS)
        })
        .composed(|x| {
            let centred = x[0].sub(x[0].sum(-1, true)?.div(4.0)?)?;
            let variance = centred.square()?.sum(-1, true)?.div(4.0)?;
            centred.mul(variance.add(EPS)?.rsqrt()?)?.mul(&x[1])
        }),
    ])
}

fn rms_norms() -> Result<Vec<Sample>> {
    let weighted = |case: &str, shapes: &[&[usize]]| -> Result<Sample> {
        let cols = shapes[1].iter().product();
        Ok(Sample::new("rms_norm", case, inputs(shapes)?, |x| x[0].rms_norm(Some(&x[1]), EPS))
            .plain(move |a| by_row(&a[0], cols, rms_norm, Some(&a[1]), None)))
    };
    // 1e30 squared overflows f32.
    let large = uniform(&[2, 5], 1e30, 2e30, 3)?;
    Ok(vec![
        weighted("last dim", &[&[2, 3, 7], &[7]])?,
        weighted("wider than a vector", &[&[3, 33], &[33]])?,
        weighted("last two dims", &[&[3, 2, 4], &[2, 4]])?,
        weighted("no rows", &[&[0, 5], &[5]])?,
        weighted("no columns", &[&[3, 0], &[0]])?,
        weighted("gpt block", &[&[768, 128], &[128]])?.bench(),
        Sample::new("rms_norm", "plain", inputs(&[&[4, 5]])?, |x| x[0].rms_norm(None, EPS))
            .plain(|a| by_row(&a[0], 5, rms_norm, None, None)),
        Sample::new("rms_norm", "large values", vec![large], |x| x[0].rms_norm(None, EPS))
            .plain(|a| by_row(&a[0], 5, rms_norm, None, None))
            .dtypes(&[DType::F64, DType::F32])
            .no_gradient(),
        Sample::new("rms_norm", "zeros", vec![Tensor::zeros([2, 3], DType::F64, &Device::Cpu)?], |x| {
            x[0].rms_norm(None, EPS)
        })
        .plain(|a| a[0].clone())
        .no_gradient(),
        Sample::new("rms_norm_over", "all dims", inputs(&[&[3, 4]])?, |x| x[0].rms_norm_over([3, 4], None, EPS))
            .plain(|a| by_row(&a[0], 12, rms_norm, None, None)),
    ])
}

pub(crate) fn samples() -> Result<Vec<Sample>> {
    let groups = [
        Sample::new("group_norm", "two of three channels", inputs(&[&[2, 6, 3], &[6], &[6]])?, |x| {
            x[0].group_norm(2, Some(&x[1]), Some(&x[2]), EPS)
        })
        .plain(|a| group_norm(&a[0], 2, Some(&a[1]), Some(&a[2]))),
        Sample::new("group_norm", "plain, each channel, images", inputs(&[&[2, 3, 2, 5]])?, |x| {
            x[0].group_norm(3, None, None, EPS)
        })
        .plain(|a| group_norm(&a[0], 3, None, None)),
        Sample::new("group_norm", "no spatial dims", inputs(&[&[3, 4], &[4]])?, |x| {
            x[0].group_norm(1, Some(&x[1]), None, EPS)
        })
        .plain(|a| group_norm(&a[0], 1, Some(&a[1]), None)),
    ];
    Ok([layer_norms()?, rms_norms()?, groups.into()].concat())
}

pub(crate) fn error_samples() -> Result<Vec<ErrorSample>> {
    let error = |op, shapes: &[&[usize]], call: fn(&[Var]) -> Result<Var>, message| -> Result<ErrorSample> {
        Ok(ErrorSample::new(op, inputs(shapes)?, call, message))
    };
    let integers = vec![Tensor::new([[1i32, 2]], &Device::Cpu)?];
    Ok(vec![
        error(
            "layer_norm",
            &[&[2, 3, 4], &[5]],
            |x| x[0].layer_norm(Some(&x[1]), None, EPS),
            "layer_norm: weight has shape [5], expected [4] to match the last dim of x [2, 3, 4]",
        )?,
        error(
            "layer_norm",
            &[&[2, 3, 4], &[3, 4], &[4]],
            |x| x[0].layer_norm(Some(&x[1]), Some(&x[2]), EPS),
            "layer_norm: bias has shape [4], expected [3, 4] to match the last dims of x [2, 3, 4]",
        )?,
        error(
            "layer_norm",
            &[&[]],
            |x| x[0].layer_norm(None, None, EPS),
            "layer_norm: normalises over [], expected the last dims of x []",
        )?,
        error(
            "layer_norm",
            &[&[2, 3], &[3]],
            |x| x[0].to_dtype(DType::F16)?.layer_norm(Some(&x[1].to_dtype(DType::F32)?), None, EPS),
            "layer_norm: weight is f32, expected f16 as x: cast with to_dtype",
        )?,
        ErrorSample::new(
            "layer_norm",
            integers.clone(),
            |x| x[0].layer_norm(None, None, EPS),
            "layer_norm: got i32, expected a float: cast with to_dtype",
        ),
        error(
            "layer_norm_over",
            &[&[2, 3, 4]],
            |x| x[0].layer_norm_over([3], None, None, EPS),
            "layer_norm: normalises over [3], expected the last dims of x [2, 3, 4]",
        )?,
        error(
            "rms_norm",
            &[&[2, 3], &[2]],
            |x| x[0].rms_norm(Some(&x[1]), EPS),
            "rms_norm: weight has shape [2], expected [3] to match the last dim of x [2, 3]",
        )?,
        error(
            "rms_norm_over",
            &[&[2, 3]],
            |x| x[0].rms_norm_over([2], None, EPS),
            "rms_norm: normalises over [2], expected the last dims of x [2, 3]",
        )?,
        ErrorSample::new("rms_norm", integers, |x| x[0].rms_norm(None, EPS), "rms_norm: got i32, expected a float"),
        error(
            "group_norm",
            &[&[2, 6, 3]],
            |x| x[0].group_norm(4, None, None, EPS),
            "group_norm: 4 groups do not divide the 6 channels of x [2, 6, 3]",
        )?,
        error(
            "group_norm",
            &[&[2, 6, 3], &[3]],
            |x| x[0].group_norm(2, Some(&x[1]), None, EPS),
            "group_norm: weight has shape [3], expected [6], the channels of x [2, 6, 3]",
        )?,
        error(
            "group_norm",
            &[&[6]],
            |x| x[0].group_norm(2, None, None, EPS),
            "group_norm: needs at least 2 dims, got x [6]",
        )?,
    ])
}

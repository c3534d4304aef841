//! Samples of the losses. Their oracles are the formulas in f64, element by element.

use chainrule_tensor::{CrossEntropy, DType, Device, Reduction, Result, Tensor};

use crate::samples::{Array, ErrorSample, Sample, indices, on_device_of, uniform};
use crate::{BinaryCrossEntropy, Var};

const NONE: Reduction = Reduction::None;
const MEAN: Reduction = Reduction::Mean;
const SUM: Reduction = Reduction::Sum;

fn reduced(losses: Array, reduction: Reduction) -> Array {
    let (sum, n) = (losses.data.iter().sum::<f64>(), losses.data.len() as f64);
    match reduction {
        Reduction::None => losses,
        Reduction::Mean => Array { shape: vec![], data: vec![sum / n] },
        Reduction::Sum => Array { shape: vec![], data: vec![sum] },
    }
}

/// `f` of each element of the first two arrays.
fn pairs(a: &[Array], f: impl Fn(f64, f64) -> f64) -> Array {
    Array::build(&a[0].shape, |i| f(a[0].at(i), a[1].at(i)))
}

fn huber(e: f64, delta: f64) -> f64 {
    if e.abs() <= delta { 0.5 * e * e } else { delta * (e.abs() - 0.5 * delta) }
}

fn regression() -> Result<Vec<Sample>> {
    let two = |shape: &[usize]| -> Result<Vec<Tensor>> {
        Ok(vec![uniform(shape, -2.0, 2.0, 31)?, uniform(shape, -2.0, 2.0, 32)?])
    };
    let mut samples = Vec::new();
    for reduction in [NONE, MEAN, SUM] {
        let case = format!("{reduction:?}");
        let shape = &[3, 4];
        samples.extend([
            Sample::new("mse_loss", &*case, two(shape)?, move |x| x[0].mse_loss(&x[1], reduction))
                .plain(move |a| reduced(pairs(a, |x, t| (x - t).powi(2)), reduction)),
            Sample::new("l1_loss", &*case, two(shape)?, move |x| x[0].l1_loss(&x[1], reduction))
                .plain(move |a| reduced(pairs(a, |x, t| (x - t).abs()), reduction)),
            Sample::new("smooth_l1_loss", &*case, two(shape)?, move |x| x[0].smooth_l1_loss(&x[1], 0.5, reduction))
                .plain(move |a| reduced(pairs(a, |x, t| huber(x - t, 0.5) / 0.5), reduction)),
            Sample::new("huber_loss", &*case, two(shape)?, move |x| x[0].huber_loss(&x[1], 1.5, reduction))
                .plain(move |a| reduced(pairs(a, |x, t| huber(x - t, 1.5)), reduction)),
        ]);
    }
    let same = vec![uniform(&[4], -1.0, 1.0, 1)?, uniform(&[4], -1.0, 1.0, 1)?];
    samples.extend([
        Sample::new("smooth_l1_loss", "beta 0", two(&[5])?, |x| x[0].smooth_l1_loss(&x[1], 0.0, MEAN))
            .plain(|a| reduced(pairs(a, |x, t| (x - t).abs()), MEAN)),
        Sample::new("huber_loss", "no error", same, |x| x[0].huber_loss(&x[1], 1.0, SUM))
            .plain(|_| Array { shape: vec![], data: vec![0.0] }),
        Sample::new("mse_loss", "0-d", two(&[])?, |x| x[0].mse_loss(&x[1], MEAN))
            .plain(|a| pairs(a, |x, t| (x - t).powi(2))),
        Sample::new("mse_loss", "mean of nothing", two(&[0, 2])?, |x| x[0].mse_loss(&x[1], MEAN))
            .plain(|a| reduced(pairs(a, |x, t| x - t), MEAN))
            .no_gradient(),
    ]);
    Ok(samples)
}

fn binary() -> Result<Vec<Sample>> {
    let inputs = |low, high| -> Result<Vec<Tensor>> {
        Ok(vec![uniform(&[3, 4], low, high, 33)?, uniform(&[3, 4], 0.05, 0.95, 34)?])
    };
    let loss = |p: f64, t: f64| -(t * p.ln() + (1.0 - t) * (1.0 - p).ln());
    let sigmoid = |x: f64| 1.0 / (1.0 + (-x).exp());
    let mut samples = Vec::new();
    for reduction in [NONE, MEAN, SUM] {
        let case = format!("{reduction:?}");
        let options = BinaryCrossEntropy { reduction, ..BinaryCrossEntropy::default() };
        samples.extend([
            Sample::new("binary_cross_entropy", &*case, inputs(0.1, 0.9)?, move |x| {
                x[0].binary_cross_entropy(&x[1], None, reduction)
            })
            .plain(move |a| reduced(pairs(a, loss), reduction)),
            Sample::new("binary_cross_entropy_with_logits", &*case, inputs(-3.0, 3.0)?, move |x| {
                x[0].binary_cross_entropy_with_logits(&x[1], &options)
            })
            .plain(move |a| reduced(pairs(a, |x, t| loss(sigmoid(x), t)), reduction)),
        ]);
    }
    let edges = vec![
        Tensor::new([0.0f64, 0.0, 1.0, 1.0, 0.5], &Device::Cpu)?,
        Tensor::new([0.0f64, 1.0, 0.0, 1.0, 0.25], &Device::Cpu)?,
    ];
    let large = vec![
        Tensor::new([1000.0f64, -1000.0, 1000.0, -1000.0], &Device::Cpu)?,
        Tensor::new([0.0f64, 1.0, 1.0, 0.0], &Device::Cpu)?,
    ];
    let weights = |seed| uniform(&[4], 0.5, 2.0, seed);
    // The weights are part of the call, so they keep the dtype of the case.
    let (weight, expected) = (weights(35)?, weights(35)?.to_vec::<f64>()?);
    let options = BinaryCrossEntropy { reduction: NONE, weight: Some(weight.clone()), pos_weight: Some(weights(36)?) };
    let pos_weight = weights(36)?.to_vec::<f64>()?;
    let weighted = expected.clone();
    samples.extend([
        Sample::new("binary_cross_entropy", "weight", inputs(0.1, 0.9)?, move |x| {
            x[0].binary_cross_entropy(&x[1], Some(&weight.to_device(&x[0].device())?), NONE)
        })
        .plain(move |a| Array::build(&a[0].shape, |i| expected[i[1]] * loss(a[0].at(i), a[1].at(i))))
        .dtypes(&[DType::F64]),
        Sample::new("binary_cross_entropy_with_logits", "both weights", inputs(-3.0, 3.0)?, move |x| {
            let (weight, pos_weight) = (on_device_of(&options.weight, x)?, on_device_of(&options.pos_weight, x)?);
            let options = BinaryCrossEntropy { weight, pos_weight, ..options.clone() };
            x[0].binary_cross_entropy_with_logits(&x[1], &options)
        })
        .plain(move |a| {
            Array::build(&a[0].shape, |i| {
                let (p, t) = (sigmoid(a[0].at(i)), a[1].at(i));
                -weighted[i[1]] * (pos_weight[i[1]] * t * p.ln() + (1.0 - t) * (1.0 - p).ln())
            })
        })
        .dtypes(&[DType::F64]),
        Sample::new("binary_cross_entropy", "sure", edges, |x| x[0].binary_cross_entropy(&x[1], None, NONE))
            .plain(|_| Array { shape: vec![5], data: vec![0.0, 100.0, 100.0, 0.0, 2f64.ln()] })
            .no_gradient(),
        Sample::new("binary_cross_entropy_with_logits", "saturated", large, |x| {
            let options = BinaryCrossEntropy { reduction: NONE, ..BinaryCrossEntropy::default() };
            x[0].binary_cross_entropy_with_logits(&x[1], &options)
        })
        .plain(|_| Array { shape: vec![4], data: vec![1000.0, 1000.0, 0.0, 0.0] }),
    ]);
    Ok(samples)
}

fn classes() -> Result<Vec<Sample>> {
    let x = |shape: &[usize], seed| uniform(shape, -3.0, -0.1, seed);
    let labels = Tensor::new([2i64, -100, 0, 3], &Device::Cpu)?;
    let weight = uniform(&[4], 0.5, 2.0, 38)?;
    let weights = weight.to_vec::<f64>()?;
    let options = CrossEntropy { weight: Some(weight), ..CrossEntropy::default() };
    let target = uniform(&[2, 3, 4], 0.0, 1.0, 39)?;
    let smooth = CrossEntropy { label_smoothing: 0.2, ..CrossEntropy::default() };
    let log_softmax = |a: &Array, i: &[usize]| {
        let sum = (0..a.shape[1]).map(|class| a.at(&[&i[..1], &[class], &i[2..]].concat()).exp()).sum::<f64>();
        a.at(i) - sum.ln()
    };
    Ok(vec![
        Sample::new("nll_loss", "mean", vec![x(&[3, 5], 1)?, indices(&[3], 5, 2)?], |x| {
            x[0].nll_loss(&x[1].detach(), &CrossEntropy::default())
        })
        .plain(|a| reduced(Array::build(&[3], |i| -a[0].at(&[i[0], a[1].at(i) as usize])), MEAN)),
        Sample::new("nll_loss", "weight and an ignored row", vec![x(&[4, 4], 1)?, labels], move |x| {
            x[0].nll_loss(
                &x[1].detach(),
                &CrossEntropy { weight: on_device_of(&options.weight, x)?, ..options.clone() },
            )
        })
        .plain(move |a| {
            let rows = (0..4).filter(|&row| a[1].data[row] >= 0.0).map(|row| (row, a[1].data[row] as usize));
            let (sum, total) = rows.fold((0.0, 0.0), |(sum, total), (row, label)| {
                (sum - weights[label] * a[0].at(&[row, label]), total + weights[label])
            });
            Array { shape: vec![], data: vec![sum / total] }
        })
        .dtypes(&[DType::F64]),
        Sample::new("nll_loss", "classes in dim 1", vec![x(&[2, 3, 2], 1)?, indices(&[2, 2], 3, 2)?], |x| {
            x[0].nll_loss(&x[1].detach(), &CrossEntropy { reduction: NONE, ..CrossEntropy::default() })
        })
        .plain(|a| Array::build(&[2, 2], |i| -a[0].at(&[i[0], a[1].at(i) as usize, i[1]]))),
        Sample::new("cross_entropy_soft", "classes in dim 1, smoothing", vec![x(&[2, 3, 4], 3)?, target], move |x| {
            x[0].cross_entropy_soft(&x[1], &smooth)
        })
        .plain(move |a| {
            let losses = Array::build(&a[0].shape, |i| -(0.8 * a[1].at(i) + 0.2 / 3.0) * log_softmax(&a[0], i));
            Array { shape: vec![], data: vec![losses.data.iter().sum::<f64>() / 8.0] }
        }),
        Sample::new("cross_entropy_soft", "no reduction", vec![x(&[3, 2], 3)?, uniform(&[3, 2], 0.0, 1.0, 4)?], |x| {
            x[0].cross_entropy_soft(&x[1], &CrossEntropy { reduction: NONE, ..CrossEntropy::default() })
        })
        .plain(move |a| {
            let at = |i: usize, class: usize| -a[1].at(&[i, class]) * log_softmax(&a[0], &[i, class]);
            Array::build(&[3], |i| at(i[0], 0) + at(i[0], 1))
        }),
    ])
}

fn distributions() -> Result<Vec<Sample>> {
    let log = || uniform(&[3, 4], -3.0, -0.1, 40);
    let positive = || uniform(&[3, 4], 0.05, 1.0, 41);
    let zeros = Tensor::new([0.0f64, 0.5, 0.0, 1.0], &Device::Cpu)?;
    let two = |a: &[usize], b: &[usize]| -> Result<Vec<Tensor>> {
        Ok(vec![uniform(a, -2.0, 2.0, 42)?, uniform(b, -2.0, 2.0, 43)?])
    };
    let cosine = |x: &[f64], y: &[f64]| {
        let dot = |x: &[f64], y: &[f64]| x.iter().zip(y).map(|(x, y)| x * y).sum::<f64>();
        dot(x, y) / (dot(x, x).sqrt().max(1e-8) * dot(y, y).sqrt().max(1e-8))
    };
    Ok(vec![
        Sample::new("kl_div", "mean", vec![log()?, positive()?], |x| x[0].kl_div(&x[1], false, MEAN))
            .plain(|a| reduced(pairs(a, |x, t| t * (t.ln() - x)), MEAN)),
        Sample::new("kl_div", "logarithm of the target", vec![log()?, log()?.mul(0.5)?], |x| {
            x[0].kl_div(&x[1], true, NONE)
        })
        .plain(|a| pairs(a, |x, t| t.exp() * (t - x))),
        Sample::new("kl_div", "target with zeros", vec![uniform(&[4], -3.0, -0.1, 4)?, zeros], |x| {
            x[0].kl_div(&x[1], false, SUM)
        })
        .plain(|a| reduced(pairs(a, |x, t| if t == 0.0 { 0.0 } else { t * (t.ln() - x) }), SUM))
        .no_gradient(),
        Sample::new("cosine_similarity", "last dim", two(&[3, 5], &[3, 5])?, |x| {
            x[0].cosine_similarity(&x[1], -1, 1e-8)
        })
        .plain(move |a| Array::build(&[3], |i| cosine(&a[0].data[i[0] * 5..][..5], &a[1].data[i[0] * 5..][..5]))),
        Sample::new("cosine_similarity", "one against many", two(&[4, 3], &[3])?, |x| {
            x[0].cosine_similarity(&x[1], 1, 1e-8)
        })
        .plain(move |a| Array::build(&[4], |i| cosine(&a[0].data[i[0] * 3..][..3], &a[1].data))),
    ])
}

pub(crate) fn samples() -> Result<Vec<Sample>> {
    Ok([regression()?, binary()?, classes()?, distributions()?].concat())
}

pub(crate) fn error_samples() -> Result<Vec<ErrorSample>> {
    let two = |a: &[usize], b: &[usize]| -> Result<Vec<Tensor>> {
        Ok(vec![uniform(a, 0.1, 0.9, 1)?, uniform(b, 0.1, 0.9, 2)?])
    };
    let error = |op, call: fn(&[Var]) -> Result<Var>, message| -> Result<ErrorSample> {
        Ok(ErrorSample::new(op, two(&[4, 1], &[4])?, call, message))
    };
    let standard = BinaryCrossEntropy::default;
    let (other, bad_label) = (uniform(&[2, 3], -1.0, 0.0, 1)?, Tensor::new([0i64, 3], &Device::Cpu)?);
    Ok(vec![
        error(
            "mse_loss",
            |x| x[0].mse_loss(&x[1], MEAN),
            "mse_loss: target has shape [4], expected [4, 1] as the input: reshape or expand it",
        )?,
        error("l1_loss", |x| x[0].l1_loss(&x[1], MEAN), "l1_loss: target has shape [4]")?,
        error("huber_loss", |x| x[0].huber_loss(&x[1], 1.0, MEAN), "huber_loss: target has shape [4]")?,
        error("huber_loss", |x| x[0].huber_loss(&x[0], 0.0, MEAN), "huber_loss: delta is 0, expected above 0")?,
        error("smooth_l1_loss", |x| x[0].smooth_l1_loss(&x[1], 1.0, MEAN), "smooth_l1_loss: target has shape [4]")?,
        error(
            "smooth_l1_loss",
            |x| x[0].smooth_l1_loss(&x[0], -1.0, MEAN),
            "smooth_l1_loss: beta is -1, expected at least 0",
        )?,
        error("kl_div", |x| x[0].kl_div(&x[1], false, MEAN), "kl_div: target has shape [4], expected [4, 1]")?,
        error(
            "binary_cross_entropy",
            |x| x[0].binary_cross_entropy(&x[1], None, MEAN),
            "binary_cross_entropy: target has shape [4], expected [4, 1]",
        )?,
        ErrorSample::new(
            "binary_cross_entropy_with_logits",
            two(&[4, 1], &[4])?,
            move |x| x[0].binary_cross_entropy_with_logits(&x[1], &standard()),
            "binary_cross_entropy_with_logits: target has shape [4], expected [4, 1]",
        ),
        error(
            "cross_entropy_soft",
            |x| x[0].cross_entropy_soft(&x[1], &CrossEntropy::default()),
            "cross_entropy_soft: target has shape [4], expected [4, 1]",
        )?,
        ErrorSample::new(
            "nll_loss",
            vec![other, bad_label],
            |x| x[0].nll_loss(&x[1].detach(), &CrossEntropy::default()),
            "nll_loss: row 1 has label 3, expected 0 <= label < 3, the number of classes, or ignore_index -100",
        ),
        error(
            "nll_loss",
            |x| x[0].nll_loss(&x[1].detach(), &CrossEntropy::default()),
            "expected integers: cast with to_dtype",
        )?,
        error(
            "cosine_similarity",
            |x| x[0].cosine_similarity(&x[1], 0, 0.0),
            "cosine_similarity: eps is 0, expected above 0",
        )?,
    ])
}

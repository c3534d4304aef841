//! Samples of reductions and sorting.

use chainrule_tensor::{Device, Dims, Result, Tensor};

use crate::Var;
use crate::samples::{Array, ErrorSample, Sample, uniform};

/// The reduced elements of each output for the middle of three dims.
fn middle(a: &Array, f: impl Fn(&[f64]) -> f64) -> Array {
    let (shape, n) = ([a.shape[0], a.shape[2]], a.shape[1]);
    Array::build(&shape, |i| f(&(0..n).map(|t| a.at(&[i[0], t, i[1]])).collect::<Vec<_>>()))
}

/// The same for the outer two of three dims, kept with size 1.
fn outer(a: &Array, f: impl Fn(&[f64]) -> f64) -> Array {
    let [p, q, n] = [a.shape[0], a.shape[1], a.shape[2]];
    Array::build(&[1, 1, n], |i| f(&(0..p * q).map(|flat| a.at(&[flat / q, flat % q, i[2]])).collect::<Vec<_>>()))
}

fn all(a: &Array, f: impl Fn(&[f64]) -> f64) -> Array {
    Array { shape: vec![], data: vec![f(&a.data)] }
}

type Fold = fn(&[f64]) -> f64;

fn variance(x: &[f64], correction: f64) -> f64 {
    let mean = x.iter().sum::<f64>() / x.len() as f64;
    x.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / (x.len() as f64 - correction)
}

fn best(x: &[f64], better: fn(f64, f64) -> bool) -> usize {
    (0..x.len()).fold(0, |best, i| if better(x[i], x[best]) { i } else { best })
}

type Call = fn(&Var, Dims, bool) -> Result<Var>;

/// One op over the middle dim, over the outer dims, over all dims, of a 0-d input and without outputs.
fn every_way(op: &'static str, call: Call, fold: Fold) -> Result<Vec<Sample>> {
    let x = || Ok(vec![uniform(&[3, 4, 5], 0.5, 1.5, 7)?]);
    Ok(vec![
        Sample::new(op, "middle", x()?, move |x| call(&x[0], 1.into(), false)).plain(move |a| middle(&a[0], fold)),
        Sample::new(op, "outer, kept", x()?, move |x| call(&x[0], [0, 1].into(), true))
            .plain(move |a| outer(&a[0], fold)),
        Sample::new(op, "all", x()?, move |x| call(&x[0], (..).into(), false)).plain(move |a| all(&a[0], fold)),
        Sample::new(op, "no outputs", vec![uniform(&[0, 4], 0.5, 1.5, 7)?], move |x| call(&x[0], 1.into(), false))
            .plain(|_| Array { shape: vec![0], data: vec![] }),
    ])
}

/// The same where a result for one element exists.
fn every_way_and_0d(op: &'static str, call: Call, fold: Fold) -> Result<Vec<Sample>> {
    let scalar = Sample::new(op, "0-d", vec![uniform(&[], 0.5, 1.5, 7)?], move |x| call(&x[0], (-1).into(), true));
    Ok([every_way(op, call, fold)?, vec![scalar.plain(move |a| all(&a[0], fold))]].concat())
}

/// A given vector, reduced whole.
fn vector(op: &'static str, case: &str, x: &[f64], call: Call, fold: Fold) -> Result<Sample> {
    let x = Tensor::from_slice(x, [x.len()], &Device::Cpu)?;
    Ok(Sample::new(op, case, vec![x], move |x| call(&x[0], 0.into(), false)).plain(move |a| all(&a[0], fold)))
}

fn power_norm(x: &[f64], p: f64) -> f64 {
    x.iter().map(|x| x.abs().powf(p)).sum::<f64>().powf(1.0 / p)
}

fn greatest(x: &[f64]) -> f64 {
    x.iter().copied().fold(f64::NEG_INFINITY, f64::max)
}

fn least(x: &[f64]) -> f64 {
    x.iter().copied().fold(f64::INFINITY, f64::min)
}

fn log_of_sum(x: &[f64]) -> f64 {
    x.iter().map(|x| x.exp()).sum::<f64>().ln()
}

pub(crate) fn samples() -> Result<Vec<Sample>> {
    Ok([sums()?, extremes()?, spreads()?, norms()?, truths()?, sorted()?].concat())
}

fn sums() -> Result<Vec<Sample>> {
    let product: Call = |x, dims, keep| x.prod(dims, keep);
    let times: Fold = |x| x.iter().product();
    // A product of 60 factors carries the rounding of each.
    let products = every_way_and_0d("prod", product, times)?.into_iter().map(|sample| sample.tolerance(80.0));
    Ok([
        every_way_and_0d("sum", |x, dims, keep| x.sum(dims, keep), |x| x.iter().sum())?,
        every_way_and_0d("mean", |x, dims, keep| x.mean(dims, keep), |x| x.iter().sum::<f64>() / x.len() as f64)?,
        products.collect(),
        vec![
            vector("sum", "nothing", &[], |x, dims, keep| x.sum(dims, keep), |_| 0.0)?,
            vector("mean", "nothing", &[], |x, dims, keep| x.mean(dims, keep), |_| f64::NAN)?.no_gradient(),
            vector("prod", "nothing", &[], product, |_| 1.0)?,
            vector("prod", "one zero", &[0.5, 0.0, -2.0, 1.5], product, times)?,
            vector("prod", "two zeros", &[0.5, 0.0, -2.0, 0.0], product, times)?,
            vector("prod", "three zeros", &[0.0, 0.0, -2.0, 0.0], product, times)?,
            Sample::new("sum", "1024 x 1024 by rows", vec![uniform(&[1024, 1024], -1.0, 1.0, 1)?], |x| {
                x[0].sum(1, false)
            })
            .bench(),
            Sample::new("sum", "1024 x 1024 by columns", vec![uniform(&[1024, 1024], -1.0, 1.0, 1)?], |x| {
                x[0].sum(0, false)
            })
            .bench(),
        ],
    ]
    .concat())
}

fn extremes() -> Result<Vec<Sample>> {
    let max: Call = |x, dims, keep| x.max(dims, keep);
    let argmax: Call = |x, dims, keep| Ok(x.argmax(dims, keep)?.into());
    let argmin: Call = |x, dims, keep| Ok(x.argmin(dims, keep)?.into());
    let flat = |samples: Vec<Sample>| samples.into_iter().map(Sample::no_gradient).collect::<Vec<_>>();
    let x = || Ok(vec![uniform(&[3, 4, 5], -1.0, 1.0, 3)?]);
    Ok([
        every_way_and_0d("max", max, greatest)?,
        every_way_and_0d("min", |x, dims, keep| x.min(dims, keep), least)?,
        flat(every_way_and_0d("argmax", argmax, |x| best(x, |a, b| a > b) as f64)?),
        flat(every_way_and_0d("argmin", argmin, |x| best(x, |a, b| a < b) as f64)?),
        vec![
            vector("max", "not a number", &[1.0, f64::NAN, 2.0], max, |_| f64::NAN)?.no_gradient(),
            vector("max", "infinite", &[f64::NEG_INFINITY; 2], max, greatest)?.no_gradient(),
            vector("argmax", "not a number", &[1.0, f64::NAN, 2.0, f64::NAN], argmax, |_| 1.0)?.no_gradient(),
            vector("argmax", "ties", &[1.0, 2.0, 2.0], argmax, |_| 1.0)?.no_gradient(),
            Sample::new("max_with_index", "middle", x()?, |x| Ok(x[0].max_with_index(1, false)?.0))
                .plain(|a| middle(&a[0], greatest)),
            Sample::new("min_with_index", "middle, kept", x()?, |x| x[0].min_with_index(1, true)?.0.squeeze(1))
                .plain(|a| middle(&a[0], least)),
            Sample::new("max_with_index", "index", x()?, |x| Ok(x[0].max_with_index(1, false)?.1.into()))
                .plain(|a| middle(&a[0], |x| best(x, |a, b| a > b) as f64))
                .no_gradient(),
            Sample::new("max_with_index", "0-d", vec![uniform(&[], -1.0, 1.0, 3)?], |x| {
                Ok(x[0].max_with_index(0, false)?.0)
            })
            .plain(|a| a[0].clone()),
        ],
    ]
    .concat())
}

fn spreads() -> Result<Vec<Sample>> {
    let large = [1000.0, 1001.0, 1003.0, 1000.0, 1002.0];
    let var: Call = |x, dims, keep| x.var(dims, 1.0, keep);
    Ok([
        every_way("var", var, |x| variance(x, 1.0))?,
        every_way("std", |x, dims, keep| x.std(dims, 0.0, keep), |x| variance(x, 0.0).sqrt())?,
        every_way_and_0d("logsumexp", |x, dims, keep| x.logsumexp(dims, keep), log_of_sum)?,
        vec![
            vector("var", "large mean", &large, var, |x| variance(x, 1.0))?,
            vector("var", "one element", &[2.0], var, |_| f64::NAN)?.no_gradient(),
            vector("std", "no spread", &[2.0, 2.0], |x, dims, keep| x.std(dims, 1.0, keep), |_| 0.0)?.no_gradient(),
            vector("logsumexp", "nothing", &[], |x, dims, keep| x.logsumexp(dims, keep), |_| f64::NEG_INFINITY)?
                .no_gradient(),
            vector(
                "logsumexp",
                "large",
                &[1000.0, 1001.0],
                |x, dims, keep| x.logsumexp(dims, keep),
                |x| 1000.0 + log_of_sum(&[x[0] - 1000.0, x[1] - 1000.0]),
            )?,
        ],
    ]
    .concat())
}

fn norms() -> Result<Vec<Sample>> {
    let infinite: Call = |x, dims, keep| x.norm(f64::INFINITY, dims, keep);
    let mixed = [0.5, -2.0, 0.0, 1.5];
    let euclid: Call = |x, dims, keep| x.norm(2.0, dims, keep);
    let flat: Call = |x, dims, keep| x.norm(0.0, dims, keep);
    Ok([
        every_way_and_0d("norm", euclid, |x| power_norm(x, 2.0))?,
        every_way_and_0d("norm", |x, dims, keep| x.norm(1.0, dims, keep), |x| power_norm(x, 1.0))?,
        every_way_and_0d("norm", |x, dims, keep| x.norm(3.0, dims, keep), |x| power_norm(x, 3.0))?,
        every_way_and_0d("norm", |x, dims, keep| x.norm(1.5, dims, keep), |x| power_norm(x, 1.5))?,
        every_way_and_0d("norm", infinite, greatest)?,
        every_way_and_0d("norm", |x, dims, keep| x.norm(f64::NEG_INFINITY, dims, keep), least)?,
        vec![
            vector("norm", "euclidean, signs and a zero", &mixed, euclid, |x| power_norm(x, 2.0))?,
            vector("norm", "infinite, signs", &mixed, infinite, |_| 2.0)?,
            vector("norm", "count", &[0.5, 0.0, -2.0], flat, |_| 2.0)?.no_gradient(),
            vector("norm", "zero", &[0.0, 0.0], euclid, |_| 0.0)?.no_gradient(),
        ],
    ]
    .concat())
}

fn truths() -> Result<Vec<Sample>> {
    let any: Call = |x, dims, keep| Ok(x.any(dims, keep)?.into());
    let every: Call = |x, dims, keep| Ok(x.all(dims, keep)?.into());
    let samples = [
        every_way_and_0d("any", any, |x| f64::from(x.iter().any(|&x| x != 0.0)))?,
        every_way_and_0d("all", every, |x| f64::from(x.iter().all(|&x| x != 0.0)))?,
        vec![
            vector("any", "nothing", &[], any, |_| 0.0)?,
            vector("all", "nothing", &[], every, |_| 1.0)?,
            vector("any", "a negative zero", &[0.0, -0.0], any, |_| 0.0)?,
            vector("all", "not a number", &[f64::NAN, 1.0], every, |_| 1.0)?,
            vector("all", "a zero", &[0.0, 1.0], every, |_| 0.0)?,
        ],
    ];
    Ok(samples.concat().into_iter().map(Sample::no_gradient).collect())
}

/// The middle of three dims in order, its first `k`.
fn ordered(a: &Array, k: usize, descending: bool, values: bool) -> Array {
    Array::build(&[a.shape[0], k, a.shape[2]], |i| {
        let mut line: Vec<(f64, usize)> = (0..a.shape[1]).map(|t| (a.at(&[i[0], t, i[2]]), t)).collect();
        line.sort_by(|x, y| if descending { y.0.total_cmp(&x.0) } else { x.0.total_cmp(&y.0) });
        if values { line[i[1]].0 } else { line[i[1]].1 as f64 }
    })
}

fn sorted() -> Result<Vec<Sample>> {
    let x = || Ok(vec![uniform(&[2, 5, 3], -1.0, 1.0, 3)?]);
    Ok(vec![
        Sample::new("sort", "ascending", x()?, |x| Ok(x[0].sort(1, false)?.0))
            .plain(|a| ordered(&a[0], 5, false, true)),
        Sample::new("sort", "descending", x()?, |x| Ok(x[0].sort(1, true)?.0)).plain(|a| ordered(&a[0], 5, true, true)),
        Sample::new("sort", "0-d", vec![uniform(&[], -1.0, 1.0, 3)?], |x| Ok(x[0].sort(-1, true)?.0))
            .plain(|a| a[0].clone()),
        Sample::new("sort", "empty", vec![uniform(&[2, 0, 3], -1.0, 1.0, 3)?], |x| Ok(x[0].sort(1, false)?.0))
            .plain(|a| a[0].clone()),
        Sample::new("sort", "64 x 1000", vec![uniform(&[64, 1000], -1.0, 1.0, 3)?], |x| Ok(x[0].sort(1, false)?.0))
            .bench(),
        Sample::new("argsort", "descending", x()?, |x| Ok(x[0].argsort(1, true)?.into()))
            .plain(|a| ordered(&a[0], 5, true, false))
            .no_gradient(),
        Sample::new("topk", "greatest", x()?, |x| Ok(x[0].topk(2, 1, true)?.0))
            .plain(|a| ordered(&a[0], 2, true, true)),
        Sample::new("topk", "least", x()?, |x| Ok(x[0].topk(3, 1, false)?.0)).plain(|a| ordered(&a[0], 3, false, true)),
        Sample::new("topk", "indices", x()?, |x| Ok(x[0].topk(2, 1, true)?.1.into()))
            .plain(|a| ordered(&a[0], 2, true, false))
            .no_gradient(),
        Sample::new("topk", "none", x()?, |x| Ok(x[0].topk(0, 1, true)?.0)).plain(|a| ordered(&a[0], 0, true, true)),
    ])
}

pub(crate) fn error_samples() -> Result<Vec<ErrorSample>> {
    let x = || Ok(vec![uniform(&[3, 4], -1.0, 1.0, 1)?]);
    let empty = || Ok(vec![uniform(&[3, 0], -1.0, 1.0, 1)?]);
    let integers = || Ok(vec![Tensor::new([1i32, 2], &Device::Cpu)?]);
    let no_elements = "dim 1 of shape [3, 0] has no elements, needs at least one";
    Ok(vec![
        ErrorSample::new("sum", x()?, |x| x[0].sum([0, -2], false), "sum: dim -2 is named twice in [0, -2]"),
        ErrorSample::new("sum_to", x()?, |x| x[0].sum_to([2]), "sum_to: shape [2] does not expand to [3, 4]"),
        ErrorSample::new("prod", x()?, |x| x[0].prod(2, false), "prod: there is no dim 2 in shape [3, 4]"),
        ErrorSample::new(
            "mean",
            integers()?,
            |x| x[0].mean(0, false),
            "mean: is not defined for i32: cast to a float first",
        ),
        ErrorSample::new("var", integers()?, |x| x[0].var(0, 1.0, false), "var: is not defined for i32"),
        ErrorSample::new("std", integers()?, |x| x[0].std(0, 1.0, false), "std: is not defined for i32"),
        ErrorSample::new("norm", integers()?, |x| x[0].norm(2.0, 0, false), "norm: is not defined for i32"),
        ErrorSample::new("logsumexp", integers()?, |x| x[0].logsumexp(0, false), "logsumexp: is not defined for i32"),
        ErrorSample::new("max", empty()?, |x| x[0].max(.., false), no_elements),
        ErrorSample::new("min", empty()?, |x| x[0].min(1, false), no_elements),
        ErrorSample::new("argmax", empty()?, |x| Ok(x[0].argmax(1, false)?.into()), no_elements),
        ErrorSample::new("argmin", empty()?, |x| Ok(x[0].argmin(1, false)?.into()), no_elements),
        ErrorSample::new("max_with_index", empty()?, |x| Ok(x[0].max_with_index(1, false)?.0), no_elements),
        ErrorSample::new("any", x()?, |x| Ok(x[0].any(2, false)?.into()), "any: there is no dim 2 in shape [3, 4]"),
        ErrorSample::new("sort", x()?, |x| Ok(x[0].sort(2, false)?.0), "sort: there is no dim 2 in shape [3, 4]"),
        ErrorSample::new("topk", x()?, |x| Ok(x[0].topk(5, 1, true)?.0), "topk: k is 5, dim 1 of shape [3, 4] has 4"),
    ])
}

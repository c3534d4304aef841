//! Samples of attention. The oracle is the formula, one query at a time.

use std::sync::Arc;

use chainrule_tensor::{AttentionOptions, Device, Result, Stream, Tensor};

use crate::op::apply_one;
use crate::ops::attention::{Fused, reference};
use crate::samples::{Array, ErrorSample, Sample, on_device_of, uniform};
use crate::{Attention, Var};

/// Whether query i of batch b and head h sees key j: `seen(b, h, i, j)`.
type Seen = fn([usize; 4]) -> bool;

/// `softmax(scale q k^T + bias) v` over the keys that are seen; zero where there are none.
fn attend(a: &[Array], scale: Option<f64>, seen: Seen) -> Array {
    let (q, k, v) = (&a[0], &a[1], &a[2]);
    let (head_dim, group) = (q.shape[3], q.shape[1] / k.shape[1].max(1));
    let scale = scale.unwrap_or(1.0 / (head_dim as f64).sqrt());
    Array::build(&[q.shape[0], q.shape[1], q.shape[2], v.shape[3]], |at| {
        let [b, h, i] = [at[0], at[1], at[2]];
        let keys: Vec<usize> = (0..k.shape[2]).filter(|&j| seen([b, h, i, j])).collect();
        let score = |j: usize| {
            let dot: f64 = (0..head_dim).map(|d| q.at(&[b, h, i, d]) * k.at(&[b, h / group, j, d])).sum();
            scale * dot + a.get(3).map_or(0.0, |bias| bias.at(&[b, h, i, j]))
        };
        let weights: Vec<f64> = keys.iter().map(|&j| score(j).exp()).collect();
        let total: f64 = weights.iter().sum();
        let sum: f64 = keys.iter().zip(&weights).map(|(&j, w)| w * v.at(&[b, h / group, j, at[3]])).sum();
        if keys.is_empty() { 0.0 } else { sum / total }
    })
}

fn random(shapes: &[&[usize]]) -> Result<Vec<Tensor>> {
    shapes.iter().zip(1..).map(|(shape, seed)| uniform(shape, -1.0, 1.0, seed)).collect()
}

/// A mask `[B, H, Tq, Tk]`, or less, from what it says of each place.
fn mask(shape: [usize; 4], seen: Seen) -> Result<Option<Tensor>> {
    let values = Array::build(&shape, |i| f64::from(u8::from(seen([i[0], i[1], i[2], i[3]]))));
    Tensor::from_vec(values.data.iter().map(|&x| x != 0.0).collect(), shape, &Device::Cpu).map(Some)
}

/// The options with their tensors on the device of the inputs.
fn beside(options: &Attention, x: &[Var]) -> Result<Attention> {
    let like_x = |bias: &Var| bias.to_dtype(x[0].dtype())?.to_device(&x[0].device());
    let bias = options.bias.as_ref().map(like_x).transpose()?;
    let (mask, key_lengths) = (on_device_of(&options.mask, x)?, on_device_of(&options.key_lengths, x)?);
    Ok(Attention { bias, mask, key_lengths, ..options.clone() })
}

fn sample(case: &str, inputs: &[&[usize]], options: Attention, seen: Seen) -> Result<Sample> {
    let scale = options.scale;
    let options = Arc::new(options);
    let call = move |x: &[Var]| match x.get(3) {
        Some(bias) => x[0].attention(&x[1], &x[2], &Attention { bias: Some(bias.clone()), ..beside(&options, x)? }),
        None => x[0].attention(&x[1], &x[2], &beside(&options, x)?),
    };
    Ok(Sample::new("attention", case, random(inputs)?, call).plain(move |a| attend(a, scale, seen)))
}

pub(super) fn samples() -> Result<Vec<Sample>> {
    let none = Attention::default;
    let (q, k) = (&[2, 2, 3, 4][..], &[2, 2, 5, 4][..]);
    let bottom_right = Attention { causal_offset: Some(2), ..Attention::causal() };
    let lengths = Some(Tensor::new([3i64, 0], &Device::Cpu)?);
    Ok(vec![
        sample("plain", &[q, k, k], none(), |_| true)?,
        sample("causal, aligned at the first", &[q, k, k], Attention::causal(), |[_, _, i, j]| j <= i)?,
        sample("causal, aligned at the last", &[q, k, k], bottom_right, |[_, _, i, j]| j <= i + 2)?,
        sample("causal, more queries than keys", &[k, q, q], Attention::causal(), |[_, _, i, j]| j <= i)?,
        sample(
            "causal, first queries see nothing",
            &[q, k, k],
            Attention { causal_offset: Some(-2), ..Attention::causal() },
            |[_, _, i, j]| j + 2 <= i,
        )?,
        sample("values of another width", &[&[1, 1, 2, 3], &[1, 1, 3, 3], &[1, 1, 3, 5]], none(), |_| true)?,
        sample("own scale", &[q, k, k], Attention { scale: Some(-0.3), ..none() }, |_| true)?,
        sample(
            "grouped queries",
            &[&[2, 4, 3, 2], &[2, 2, 3, 2], &[2, 2, 3, 2]],
            Attention::causal(),
            |[_, _, i, j]| j <= i,
        )?,
        sample("one key head", &[&[1, 3, 2, 2], &[1, 1, 3, 2], &[1, 1, 3, 2]], none(), |_| true)?,
        sample("bias for each head", &[q, k, k, &[1, 2, 1, 5]], none(), |_| true)?,
        sample("bias of all scores, causal", &[q, k, k, &[2, 2, 3, 5]], Attention::causal(), |[_, _, i, j]| j <= i)?,
        sample("bias for queries and keys", &[q, k, k, &[3, 5]], none(), |_| true)?,
        sample(
            "mask with an empty row",
            &[q, k, k],
            Attention { mask: mask([1, 1, 3, 5], |[_, _, i, j]| i != 1 && i + j != 4)?, ..none() },
            |[_, _, i, j]| i != 1 && i + j != 4,
        )?,
        sample(
            "mask of batch and head, causal",
            &[q, k, k],
            Attention { mask: mask([2, 2, 1, 5], |[b, h, _, j]| b + h != j)?, ..Attention::causal() },
            |[b, h, i, j]| b + h != j && j <= i,
        )?,
        sample(
            "key lengths, one of them 0",
            &[q, k, k],
            Attention { key_lengths: lengths, ..none() },
            |[b, _, _, j]| b == 0 && j < 3,
        )?,
        sample("no keys", &[q, &[2, 2, 0, 4], &[2, 2, 0, 4]], none(), |_| true)?,
        sample("no queries", &[&[2, 2, 0, 4], k, k], none(), |_| true)?,
        sample("no batch", &[&[0, 2, 3, 4], &[0, 2, 5, 4], &[0, 2, 5, 4]], none(), |_| true)?,
        sample(
            "longer than a block",
            &[&[1, 1, 67, 2], &[1, 1, 65, 2], &[1, 1, 65, 2]],
            Attention::causal(),
            |[_, _, i, j]| j <= i,
        )?,
        // Heads that devices multiply on tensor cores, where rows are multiples of 16 elements.
        sample("heads of 16", &[&[1, 2, 5, 16], &[1, 2, 7, 16], &[1, 2, 7, 32]], none(), |_| true)?,
        sample(
            "heads of 64",
            &[&[1, 2, 3, 64], &[1, 1, 3, 64], &[1, 1, 3, 64]],
            Attention::causal(),
            |[_, _, i, j]| j <= i,
        )?,
        sample("heads of 128", &[&[1, 1, 3, 128], &[1, 1, 5, 128], &[1, 1, 5, 128]], none(), |_| true)?,
        Sample::new("attention", "1024 tokens", random(&[&[1, 4, 1024, 32]])?, |x| {
            x[0].attention(&x[0], &x[0], &Attention::causal())
        })
        .bench(),
        packed()?,
        with_everything()?,
        nan_in_hidden_keys()?,
    ])
}

/// q, k and v as views of one projection `[B, T, 3, H, D]`.
fn packed() -> Result<Sample> {
    let part = |x: &Var, index| x.select(2, index)?.transpose(1, 2);
    let call = move |x: &[Var]| part(&x[0], 0)?.attention(&part(&x[0], 1)?, &part(&x[0], 2)?, &Attention::causal());
    let sample = Sample::new("attention", "views of one projection", random(&[&[2, 3, 3, 2, 4]])?, call);
    Ok(sample.plain(|a| {
        let part = |index| Array::build(&[2, 2, 3, 4], |i| a[0].at(&[i[0], i[2], index, i[1], i[3]]));
        attend(&[part(0), part(1), part(2)], None, |[_, _, i, j]| j <= i)
    }))
}

/// All features at once, dropout too, against the reference.
fn with_everything() -> Result<Sample> {
    let options = AttentionOptions {
        causal_offset: Some(1),
        mask: mask([2, 1, 3, 5], |[b, _, i, j]| b + i + j != 3)?,
        key_lengths: Some(Tensor::new([5i64, 4], &Device::Cpu)?),
        scale: Some(0.7),
        dropout: Some((0.4, Stream { seed: 3, number: 2 })),
    };
    let oracle_options = options.clone();
    let inputs = random(&[&[2, 4, 3, 4], &[2, 2, 5, 4], &[2, 2, 5, 3], &[4, 1, 5]])?;
    let call = move |x: &[Var]| {
        let (mask, key_lengths) = (on_device_of(&options.mask, x)?, on_device_of(&options.key_lengths, x)?);
        let options = AttentionOptions { mask, key_lengths, ..options.clone() };
        apply_one(Fused { options }, &[&x[0], &x[1], &x[2], &x[3]])
    };
    Ok(Sample::new("attention", "everything, dropout too", inputs, call)
        .composed(move |x| reference(&x[0], &x[1], &x[2], Some(&x[3]), &oracle_options)))
}

/// What hidden keys hold reaches neither results nor gradients.
fn nan_in_hidden_keys() -> Result<Sample> {
    let options = Attention { mask: mask([1, 1, 1, 4], |[_, _, _, j]| j != 1)?, ..Attention::default() };
    let options = Arc::new(options);
    let call = move |x: &[Var]| {
        let nan = Tensor::full([1, 1, 1, 3], f64::NAN, x[0].dtype(), &x[0].device())?.into();
        let spoiled = |y: &Var| Var::cat(&[&y.narrow(2, 0, 1)?, &nan, &y.narrow(2, 1, 2)?], 2);
        x[0].attention(&spoiled(&x[1])?, &spoiled(&x[2])?, &beside(&options, x)?)
    };
    let sample =
        Sample::new("attention", "NaN in a hidden key", random(&[&[1, 1, 2, 3], &[1, 1, 3, 3], &[1, 1, 3, 3]])?, call);
    // The gradient of the gradient goes through the reference, in which 0 * NaN is NaN.
    Ok(sample.plain(|a| attend(a, None, |_| true)).no_gradient())
}

pub(super) fn error_samples() -> Result<Vec<ErrorSample>> {
    let fails = |shapes: [&[usize]; 3], options: Attention, message| {
        let options = Arc::new(options);
        let call = move |x: &[Var]| x[0].attention(&x[1], &x[2], &beside(&options, x)?);
        Ok(ErrorSample::new("attention", random(&shapes)?, call, message))
    };
    let none = Attention::default;
    let (q, k) = (&[2, 2, 3, 4][..], &[2, 2, 5, 4][..]);
    Ok(vec![
        fails(
            [&[3, 4], k, k],
            none(),
            "got q [3, 4], k [2, 2, 5, 4] and v [2, 2, 5, 4], expected [B, H, Tq, D], [B, Hkv, Tk, D] and [B, Hkv, Tk, Dv]",
        )?,
        fails([q, &[2, 2, 5, 3], k], none(), "expected q and k of equal last dims")?,
        fails([q, k, &[2, 2, 4, 4]], none(), "expected k and v of equal heads and lengths")?,
        fails([q, &[1, 2, 5, 4], k], none(), "expected equal batches")?,
        fails([&[2, 3, 3, 4], k, k], none(), "expected query heads that are a multiple of the key heads")?,
        fails(
            [q, k, k],
            Attention { bias: Some(uniform(&[4, 5], 0.0, 1.0, 1)?.into()), ..none() },
            "bias has shape [4, 5], expected one that broadcasts to [2, 2, 3, 5]",
        )?,
        fails(
            [q, k, k],
            Attention { mask: Some(uniform(&[3, 5], 0.0, 1.0, 1)?), ..none() },
            "the condition is f64, expected bool",
        )?,
        fails(
            [q, k, k],
            Attention { mask: mask([1, 1, 3, 4], |_| true)?, ..none() },
            "mask has shape [1, 1, 3, 4], expected one that broadcasts to [2, 2, 3, 5]",
        )?,
        fails(
            [q, k, k],
            Attention { key_lengths: Some(Tensor::new([1i64], &Device::Cpu)?), ..none() },
            "key_lengths have shape [1], expected [2]",
        )?,
        fails([q, k, k], Attention { dropout: -0.1, ..none() }, "the dropout probability is -0.1, expected 0 to 1")?,
        fails([q, k, k], Attention { causal_offset: Some(2), ..none() }, "got causal_offset 2 without is_causal")?,
    ])
}

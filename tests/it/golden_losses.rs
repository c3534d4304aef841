//! Losses, normalisations, activations and attention against PyTorch: values and gradients, in f64 and f32.

use std::collections::HashMap;

use chainrule::prelude::*;
use chainrule::{Attention, BinaryCrossEntropy, CrossEntropy, Reduction, vector_jacobian_product};

use crate::golden_optimizers::golden;

type Golden = HashMap<String, Tensor>;

/// The largest error in f64 relative to `1 + |expected|`: a few dozen roundings of 1e-16, in another order.
const F64: f64 = 1e-13;
/// As much in f32: a few dozen roundings of 6e-8.
const F32: f64 = 4e-6;

/// Fails unless every element agrees; NaN and infinities agree with themselves only.
fn agree(name: &str, got: &Tensor, expected: &Tensor, tolerance: f64) {
    assert_eq!(got.shape(), expected.shape(), "{name}");
    let pairs = got.to_f64_vec().unwrap().into_iter().zip(expected.to_f64_vec().unwrap());
    for (index, (got, expected)) in pairs.enumerate() {
        let agrees = got == expected
            || (got.is_nan() && expected.is_nan())
            || (got - expected).abs() <= tolerance * (1.0 + expected.abs());
        assert!(agrees, "{name}, element {index}: got {got:e}, PyTorch {expected:e}");
    }
}

/// Runs `f` on inputs of a case and compares its value with `<prefix>.y` and its gradients with `<prefix>.d<input>`,
/// for every input that has one there.
pub(crate) fn check(
    golden: &Golden,
    prefix: &str,
    inputs: &[(&str, &Tensor)],
    (dtype, tolerance): (DType, f64),
    f: impl Fn(&[Var]) -> Result<Var>,
) {
    let name = format!("{prefix} in {dtype}");
    let tape = Tape::new();
    let leaves: Vec<Var> = inputs.iter().map(|(_, x)| tape.leaf(x.to_dtype(dtype).unwrap())).collect();
    let y = f(&leaves).unwrap_or_else(|error| panic!("{name}: {error}"));
    agree(&format!("{name}: y"), &y.detach(), &golden[&format!("{prefix}.y")], tolerance);
    let dy = Var::from(golden[&format!("{prefix}.dy")].to_dtype(dtype).unwrap());
    let grads = vector_jacobian_product(&y, &leaves.iter().collect::<Vec<_>>(), &dy);
    // The pass above is recorded and goes through the references; this one through the backward kernels.
    let fused = y.mul(&dy).and_then(|y| y.sum(.., false)).and_then(|y| y.backward());
    let (grads, fused) = (grads.unwrap(), fused.unwrap());
    for (((input, _), leaf), grad) in inputs.iter().zip(&leaves).zip(grads) {
        let Some(expected) = golden.get(&format!("{prefix}.d{input}")) else { continue };
        agree(&format!("{name}: d{input}, reference"), &grad.detach(), expected, tolerance);
        agree(&format!("{name}: d{input}"), fused.get(leaf).unwrap(), expected, tolerance);
    }
}

/// As [`check`], in both dtypes.
fn check_both(golden: &Golden, prefix: &str, inputs: &[(&str, &Tensor)], f: impl Fn(&[Var]) -> Result<Var>) {
    for precision in [(DType::F64, F64), (DType::F32, F32)] {
        check(golden, prefix, inputs, precision, &f);
    }
}

const REDUCTIONS: [(&str, Reduction); 3] =
    [("none", Reduction::None), ("mean", Reduction::Mean), ("sum", Reduction::Sum)];

/// Checks a loss of `input` and `target` under every reduction.
fn check_loss(golden: &Golden, case: &str, f: impl Fn(&Var, &Var, Reduction) -> Result<Var>) {
    let (input, target) = (&golden[&format!("{case}.input")], &golden[&format!("{case}.target")]);
    for (name, reduction) in REDUCTIONS {
        for precision in [(DType::F64, F64), (DType::F32, F32)] {
            let inputs = [("input", input), ("target", target)];
            // `check` reads inputs of a case and results of a reduction under one prefix.
            check(golden, &format!("{case}.{name}"), &inputs, precision, |x| f(&x[0], &x[1], reduction));
        }
    }
}

/// A constant of a case in the dtype of an input.
fn constant(golden: &Golden, name: &str, like: &Var) -> Result<Option<Tensor>> {
    golden.get(name).map(|x| x.to_dtype(like.dtype())).transpose()
}

/// Checks a loss of `input` with labels under every reduction.
fn check_labels(
    golden: &Golden,
    case: &str,
    options: &CrossEntropy,
    f: impl Fn(&Var, &Tensor, &CrossEntropy) -> Result<Var>,
) {
    let (input, labels) = (&golden[&format!("{case}.input")], &golden[&format!("{case}.target")]);
    for (name, reduction) in REDUCTIONS {
        check_both(golden, &format!("{case}.{name}"), &[("input", input)], |x| {
            let weight = constant(golden, &format!("{case}.weight"), &x[0])?;
            f(&x[0], labels, &CrossEntropy { reduction, weight, ..options.clone() })
        });
    }
}

#[test]
fn cross_entropy() {
    let golden = golden("losses");
    let smooth = CrossEntropy { label_smoothing: 0.1, ..CrossEntropy::default() };
    let cases = [
        ("plain", CrossEntropy::default()),
        ("ignore_index", CrossEntropy::default()),
        ("ignore_index_2", CrossEntropy { ignore_index: 2, ..CrossEntropy::default() }),
        ("all_ignored", CrossEntropy::default()),
        ("label_smoothing", smooth.clone()),
        ("weight", CrossEntropy::default()),
        ("weight_smoothing", smooth.clone()),
        ("weight_smoothing_ignore", smooth),
        ("extreme", CrossEntropy::default()),
        ("minus_infinity", CrossEntropy::default()),
        ("class_in_dim_1", CrossEntropy::default()),
    ];
    for (case, options) in cases {
        check_labels(&golden, &format!("cross_entropy.{case}"), &options, Var::cross_entropy_with);
    }
    check_loss(&golden, "cross_entropy.probabilities", |x, target, reduction| {
        x.cross_entropy_soft(target, &CrossEntropy { reduction, ..CrossEntropy::default() })
    });
}

#[test]
fn negative_log_likelihood() {
    let golden = golden("losses");
    for case in ["plain", "ignore_index", "weight"] {
        check_labels(&golden, &format!("nll.{case}"), &CrossEntropy::default(), Var::nll_loss);
    }
}

#[test]
fn binary_cross_entropy() {
    let golden = golden("losses");
    for case in ["bce.plain", "bce.weight", "bce.edges"] {
        check_loss(&golden, case, |x, target, reduction| {
            let weight = constant(&golden, &format!("{case}.weight"), x)?;
            x.binary_cross_entropy(target, weight.as_ref(), reduction)
        });
    }
    for case in ["plain", "weight", "pos_weight", "extreme"].map(|case| format!("bce_with_logits.{case}")) {
        check_loss(&golden, &case, |x, target, reduction| {
            let weight = constant(&golden, &format!("{case}.weight"), x)?;
            let pos_weight = constant(&golden, &format!("{case}.pos_weight"), x)?;
            x.binary_cross_entropy_with_logits(target, &BinaryCrossEntropy { reduction, weight, pos_weight })
        });
    }
}

#[test]
fn regression() {
    let golden = golden("losses");
    check_loss(&golden, "mse", |x, target, reduction| x.mse_loss(target, reduction));
    check_loss(&golden, "l1", |x, target, reduction| x.l1_loss(target, reduction));
    for (case, size) in [("1.0", 1.0), ("0.5", 0.5)] {
        check_loss(&golden, &format!("smooth_l1.beta_{case}"), |x, t, reduction| x.smooth_l1_loss(t, size, reduction));
        check_loss(&golden, &format!("huber.delta_{case}"), |x, t, reduction| x.huber_loss(t, size, reduction));
    }
}

#[test]
fn divergence_and_similarity() {
    let golden = golden("losses");
    for (case, is_log) in [("kl_div.target", false), ("kl_div.log_target", true)] {
        check_loss(&golden, case, |x, target, reduction| x.kl_div(target, is_log, reduction));
        let inputs = [("input", &golden[&format!("{case}.input")]), ("target", &golden[&format!("{case}.target")])];
        check_both(&golden, &format!("{case}.batchmean"), &inputs, |x| {
            x[0].kl_div(&x[1], is_log, Reduction::Sum)?.div(x[0].size(0)? as f64)
        });
    }
    for (case, dim) in [("dim_1", 1), ("dim_0", 0), ("zero_row", 1)] {
        let case = format!("cosine_similarity.{case}");
        let inputs = [("x1", &golden[&format!("{case}.x1")]), ("x2", &golden[&format!("{case}.x2")])];
        check_both(&golden, &case, &inputs, |x| x[0].cosine_similarity(&x[1], dim, 1e-8));
    }
}

/// Checks a case of `x` and, where the file has them, `weight` and `bias`.
pub(crate) fn check_layer(golden: &Golden, case: &str, precisions: &[(DType, f64)], f: impl Fn(&[Var]) -> Result<Var>) {
    let named = |name| Some((name, golden.get(&format!("{case}.{name}"))?));
    let inputs: Vec<(&str, &Tensor)> = ["x", "weight", "bias"].into_iter().filter_map(named).collect();
    for &precision in precisions {
        check(golden, case, &inputs, precision, &f);
    }
}

pub(crate) const BOTH: &[(DType, f64)] = &[(DType::F64, F64), (DType::F32, F32)];

#[test]
fn normalisations() {
    let golden = golden("layers");
    let layer_norm = |x: &[Var]| x[0].layer_norm(x.get(1), x.get(2), 1e-5);
    check_layer(&golden, "layer_norm", BOTH, layer_norm);
    check_layer(&golden, "layer_norm_plain", BOTH, layer_norm);
    check_layer(&golden, "layer_norm_constant_row", BOTH, layer_norm);
    // The mean is subtracted from values far larger than the deviation, so f64 keeps fewer digits and f32 none worth
    // comparing in the gradient, whose rows take the mean as rounded.
    check_layer(&golden, "layer_norm_large_mean", &[(DType::F64, 1e-9)], layer_norm);
    let rms_norm = |x: &[Var]| x[0].rms_norm(x.get(1), 1e-6);
    check_layer(&golden, "rms_norm", BOTH, rms_norm);
    check_layer(&golden, "rms_norm_plain", BOTH, rms_norm);
    check_layer(&golden, "rms_norm_zero_row", BOTH, rms_norm);
    check_layer(&golden, "group_norm", BOTH, |x| x[0].group_norm(3, Some(&x[1]), Some(&x[2]), 1e-5));
}

#[test]
fn activations() {
    let golden = golden("layers");
    check_layer(&golden, "gelu", BOTH, |x| x[0].gelu());
    check_layer(&golden, "gelu_tanh", BOTH, |x| x[0].gelu_tanh());
    check_layer(&golden, "silu", BOTH, |x| x[0].silu());
    check_layer(&golden, "softmax", BOTH, |x| x[0].softmax(-1));
    check_layer(&golden, "log_softmax", BOTH, |x| x[0].log_softmax(-1));
}

#[test]
fn attention() {
    let golden = golden("layers");
    // PyTorch aligns the causal triangle at the top left.
    let causal = Attention { causal_offset: Some(0), ..Attention::causal() };
    let cases = [
        ("plain", Attention::default()),
        ("scale", Attention { scale: Some(0.3), ..Attention::default() }),
        ("causal", causal.clone()),
        ("causal_wide", causal.clone()),
        ("causal_tall", causal),
        ("bias", Attention::default()),
        ("bias_broadcast", Attention::default()),
        ("mask", Attention::default()),
        ("masked_row", Attention::default()),
        ("key_lengths", Attention::default()),
        ("grouped_query", Attention::default()),
    ];
    for (case, options) in cases {
        let case = format!("attention.{case}");
        let named = |name| Some((name, golden.get(&format!("{case}.{name}"))?));
        let inputs: Vec<(&str, &Tensor)> = ["q", "k", "v", "bias"].into_iter().filter_map(named).collect();
        let mask = golden.get(&format!("{case}.mask")).cloned();
        check_both(&golden, &case, &inputs, |x| {
            let options = Attention { bias: x.get(3).cloned(), mask: mask.clone(), ..options.clone() };
            x[0].attention(&x[1], &x[2], &options)
        });
    }
    // The lengths themselves, instead of the mask that they amount to.
    let inputs = ["q", "k", "v"].map(|name| (name, &golden[&format!("attention.key_lengths.{name}")]));
    check_both(&golden, "attention.key_lengths", &inputs, |x| {
        let key_lengths = Some(Tensor::new([4i64, 7], &Device::Cpu)?);
        x[0].attention(&x[1], &x[2], &Attention { key_lengths, ..Attention::default() })
    });
}

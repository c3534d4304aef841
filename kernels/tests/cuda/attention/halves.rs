//! Attention in f16 and bf16 on tensor cores against the host in f64, which gets the same rounded inputs.

use chainrule_kernels::{DType, Device, Stored, bf16, f16};

use super::{Case, NAMES, Tensor};

#[derive(Clone, Copy)]
enum Feature {
    Causal,
    Bias,
    Mask,
    KeyLengths,
    Groups,
    Dropout,
}

use Feature::{Bias, Causal, Dropout, Groups, KeyLengths, Mask};

const FEATURES: [Feature; 6] = [Causal, Bias, Mask, KeyLengths, Groups, Dropout];

fn rounded<S: Stored>(tensor: &Tensor) -> Tensor {
    let values = tensor.values.iter().map(|&value| S::from_f64(value).to_f64()).collect();
    Tensor { values, ..tensor.clone() }
}

/// Half a unit in the last place of 1, which is what one rounding to `S` costs at most.
fn rounding<S: Stored>() -> f64 {
    if S::DTYPE == DType::F16 { 0.5f64.powi(11) } else { 0.5f64.powi(8) }
}

/// How far results may be from those in f64, in roundings of `1 + |x|`. Products and lse are in f32, but each weight and
/// each gradient of a score is rounded before it is multiplied, o is before delta is taken from it, and so is what is
/// stored. Of sums of many terms these errors mostly cancel: the worst here is 2.3, of dbias where delta is all there is.
const ROUNDINGS: f64 = 3.0;

fn check<S: Stored>(case: &Case) {
    let exact = Case {
        q: rounded::<S>(&case.q),
        k: rounded::<S>(&case.k),
        v: rounded::<S>(&case.v),
        d_o: rounded::<S>(&case.d_o),
        bias: case.bias.as_ref().map(rounded::<S>),
        ..case.clone()
    };
    let got = case.run::<S>(&super::super::device());
    let expected = exact.run::<f64>(&Device::Cpu);
    for (name, (got, expected)) in NAMES.iter().zip(got.iter().zip(&expected)) {
        assert_eq!(got.len(), expected.len());
        let tolerance = if *name == "lse" { 1e-5 } else { ROUNDINGS * rounding::<S>() };
        for (at, (got, expected)) in got.iter().zip(expected).enumerate() {
            let is_close = got == expected || (got - expected).abs() <= tolerance * (1.0 + expected.abs());
            assert!(is_close, "{} {name}[{at}]: {got} is not {expected}, {:?}", S::DTYPE, case.sizes);
        }
    }
}

fn with(feature: Feature, [tq, tk]: [usize; 2], d: usize) -> Case {
    let case = Case::new([1, 2, if matches!(feature, Groups) { 1 } else { 2 }, tq, tk, d, d]);
    match feature {
        Causal => case.causal(tk as i64 - tq as i64),
        Bias => case.bias([0, 1, 1, 1]),
        Mask => case.mask([1, 0, 1, 1]),
        KeyLengths => case.key_lengths(&[tk as i64 / 2]),
        Groups => case,
        Dropout => case.dropout(0.3).causal(3),
    }
}

/// Eleven head dims, which take every size of tiles, by lengths that leave tiles uneven; each dtype meets each feature.
#[test]
fn head_dims_lengths_and_features() {
    let lengths = [[65, 100], [31, 33], [100, 31], [1, 65], [33, 1]];
    for (i, d) in [32, 40, 48, 64, 72, 80, 96, 128, 160, 192, 256].into_iter().enumerate() {
        check::<bf16>(&with(FEATURES[i % 6], lengths[i % 5], d));
        check::<f16>(&with(FEATURES[(i + 3) % 6], lengths[(i + 2) % 5], d));
    }
}

#[test]
fn several_blocks_and_value_dims_of_their_own() {
    for (d, dv) in [(16, 16), (32, 64), (96, 80), (128, 128), (256, 32)] {
        let case = Case::new([1, 2, 1, 140, 70, d, dv]);
        check::<bf16>(&case);
        check::<f16>(&case.causal(-60).dropout(0.2));
    }
}

#[test]
fn features_together() {
    let case = Case::new([2, 2, 2, 33, 70, 16, 16]).causal(40);
    check::<f16>(&case.clone().bias([1, 0, 1, 1]).mask([1, 1, 1, 1]));
    check::<bf16>(&case.key_lengths(&[64, 0]).dropout(0.5));
}

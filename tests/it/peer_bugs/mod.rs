//! Bugs that other libraries had, each of which no other test here would see. docs/peer-bugs.md says for every one which
//! test covers it.

mod attention;
mod graph;
mod numbers;
mod sizes;

use chainrule::prelude::*;

fn values(x: &Tensor) -> Vec<f64> {
    x.to_f64_vec().unwrap()
}

fn tensor(values: &[f64]) -> Tensor {
    Tensor::from_slice(values, [values.len()], &Device::Cpu).unwrap()
}

fn normal(shape: &[usize], dtype: DType, seed: u64) -> Tensor {
    Tensor::randn(shape, dtype, &Device::Cpu, &mut Rng::seed(seed)).unwrap()
}

fn close(got: &Tensor, expected: &Tensor, tolerance: f64, what: &str) {
    assert_eq!(got.shape(), expected.shape(), "{what}");
    for (got, expected) in values(got).into_iter().zip(values(expected)) {
        assert!((got - expected).abs() <= tolerance * (1.0 + expected.abs()), "{what}: {got}, expected {expected}");
    }
}

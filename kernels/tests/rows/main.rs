//! The row kernels against naive loops in f64, through the functions that launch them.
//!
//! Tolerances are units of the dtype's epsilon: results are rounded once on store, and `f32` sums of a few thousand
//! terms in blocks stay within a few dozen units of the largest term.

mod cross_entropy;
mod norms;
mod optimisers;
mod softmax;

use chainrule_kernels::{Buffer, DType, Device, bf16, f16};

/// The dtypes that the row kernels have.
const DTYPES: [DType; 4] = [DType::F32, DType::F64, DType::F16, DType::BF16];

/// Uneven lengths of a row, on both sides of a vector and of a block of sums.
const COLS: [usize; 5] = [1, 31, 33, 1000, 4099];

fn buffer(dtype: DType, values: &[f64]) -> Buffer {
    match dtype {
        DType::F64 => Buffer::from_slice(&Device::Cpu, values),
        DType::F32 => Buffer::from_slice(&Device::Cpu, &values.iter().map(|&x| x as f32).collect::<Vec<_>>()),
        DType::F16 => Buffer::from_slice(&Device::Cpu, &values.iter().map(|&x| f16::from_f64(x)).collect::<Vec<_>>()),
        DType::BF16 => Buffer::from_slice(&Device::Cpu, &values.iter().map(|&x| bf16::from_f64(x)).collect::<Vec<_>>()),
        other => panic!("no floats in {other}"),
    }
    .unwrap()
}

fn empty(dtype: DType, len: usize) -> Buffer {
    buffer(dtype, &vec![-77.0; len])
}

fn values(buffer: &Buffer) -> Vec<f64> {
    match buffer.dtype() {
        DType::F64 => buffer.to_vec::<f64>().unwrap(),
        DType::F32 => buffer.to_vec::<f32>().unwrap().into_iter().map(f64::from).collect(),
        DType::F16 => buffer.to_vec::<f16>().unwrap().into_iter().map(f64::from).collect(),
        DType::BF16 => buffer.to_vec::<bf16>().unwrap().into_iter().map(f64::from).collect(),
        other => panic!("no floats in {other}"),
    }
}

/// `len` numbers of about unit size, rounded to `dtype`, from a linear congruential generator.
fn noise(dtype: DType, len: usize, seed: u64) -> Vec<f64> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 11) as f64 / (1u64 << 53) as f64
    };
    let uniform: Vec<f64> = (0..len).map(|_| 2.0 * (next() + next() + next()) - 3.0).collect();
    values(&buffer(dtype, &uniform))
}

/// Asserts that values agree within `units` epsilons of `dtype`, relative to the larger of 1 and `want`.
#[track_caller]
fn assert_close(dtype: DType, got: &[f64], want: &[f64], units: f64, what: &str) {
    assert_eq!(got.len(), want.len(), "{what} {dtype}");
    // The naive loop itself is no more exact than an f64 kernel.
    let units = if dtype == DType::F64 { 4.0 * units } else { units };
    for (i, (&got, &want)) in got.iter().zip(want).enumerate() {
        let tolerance = units * dtype.epsilon() * want.abs().max(1.0);
        let same = got == want || (got.is_nan() && want.is_nan()) || (got - want).abs() <= tolerance;
        assert!(same, "{what} {dtype} [{i}]: got {got:e}, expected {want:e}, tolerance {tolerance:e}");
    }
}

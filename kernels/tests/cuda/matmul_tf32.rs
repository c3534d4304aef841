//! Products of f32 on tensor cores, where tf32 is allowed.
//!
//! Small integers over eight are exact in tf32, so that results are equal to the host's bit for bit; numbers that are not
//! show that operands are rounded, to the nearest, and only where that is allowed.

use chainrule_kernels::matmul::{Gelu, Precision};
use chainrule_kernels::{DType, Device, Rng};

use crate::device;
use crate::matmul::{ALIGNED, Case, Last, layouts, values};

fn tf32(batch: usize, sizes: [usize; 3], [a, b]: [usize; 2]) -> Case<f32> {
    let [m, n, k] = sizes;
    let mut case = Case::new(batch, sizes, layouts(batch, m, k)[a], layouts(batch, k, n)[b]);
    case.params = case.params.with_precision(Precision::Tf32);
    case
}

/// True where tensor cores have multiplied f32, or cannot on this device.
fn uses_tensor_cores() -> bool {
    let Device::Cuda(device) = device() else { return true };
    let is_used = device.units().iter().any(|unit| unit.name == "matmul_tensor" && unit.elem == DType::F32);
    is_used || device.architecture().number < 80
}

#[test]
fn exact_numbers_in_every_layout() {
    // One mma, tiles of 64 and 128 with cut edges, k that ends within a chunk, more than all stages.
    for (batch, sizes) in [(1, [16, 16, 8]), (2, [70, 100, 40]), (1, [130, 70, 50]), (1, [33, 9, 201])] {
        for pair in ALIGNED {
            tf32(batch, sizes, pair).check();
        }
    }
    for pair in [[0, 0], [7, 0], [0, 7], [3, 0], [4, 5]] {
        tf32(3, [20, 24, 72], pair).check();
    }
    assert!(uses_tensor_cores());
}

#[test]
fn a_divided_k_and_what_follows() {
    for sizes in [[24, 40, 16], [24, 36, 1096]] {
        let mut case = tf32(1, sizes, [0, 0]);
        case.bias = Some(values(sizes[1], 4));
        for last in [Last::Store, Last::Gelu { form: Gelu::Tanh, keeps_pre: true }, Last::Add { offset: 4 }] {
            case.last = last;
            (case.params.alpha, case.params.beta) = (0.5, 2.0);
            case.check();
        }
    }
    // One NaN and one infinity reach their row and their column, and nothing else.
    let mut case = tf32(1, [24, 40, 64], [0, 0]);
    case.a.0[3 * 64 + 7] = f32::NAN;
    case.b.0[9 * 40 + 7] = f32::INFINITY;
    case.check();
}

/// The nearest number with ten bits behind the point, ties away from zero.
fn rounded(x: f32) -> f64 {
    let unit = f64::from(x.abs()).log2().floor().exp2() * 2f64.powi(-10);
    (f64::from(x) / unit).round() * unit
}

#[test]
fn operands_are_rounded_to_the_nearest_and_only_where_that_is_allowed() {
    let (sizes, mut rng) = ([40, 48, 96], Rng::seed(3));
    let [m, n, k] = sizes;
    for pair in ALIGNED {
        let mut case = tf32(1, sizes, pair);
        for value in case.a.0.iter_mut().chain(&mut case.b.0) {
            // Far from zero, so that no sum is small by cancellation.
            *value = 0.5 + rng.uniform();
        }
        let at = |operand: &(Vec<f32>, usize), strides: [i64; 2], i: usize, j: usize| {
            operand.0[operand.1 + i * strides[0] as usize + j * strides[1] as usize]
        };
        let sum = |round: fn(f32) -> f64, i: usize, j: usize| -> f64 {
            let product =
                |l| round(at(&case.a, case.params.a_strides, i, l)) * round(at(&case.b, case.params.b_strides, l, j));
            (0..k).map(product).sum()
        };
        let [reduced, _] = case.on(&device());
        let [host, _] = case.on(&Device::Cpu);
        let full = Case {
            params: case.params.with_precision(Precision::Full),
            a: case.a.clone(),
            b: case.b.clone(),
            ..tf32(1, sizes, pair)
        };
        let [full, _] = full.on(&device());
        let mut differs = false;
        for index in 0..m * n {
            let (i, j) = (index / n, index % n);
            let exact = sum(f64::from, i, j);
            // Sums of positive numbers: each of k steps adds at most one unit of the last place of f32.
            let tolerance = k as f64 * f64::from(f32::EPSILON) * exact;
            let near = |got: f32, want: f64, tolerance: f64| (f64::from(got) - want).abs() <= tolerance;
            assert!(near(full[index], exact, tolerance) && near(host[index], exact, tolerance), "{pair:?} at {index}");
            let on_tensor_cores = near(reduced[index], sum(rounded, i, j), tolerance);
            assert!(on_tensor_cores || matches!(device(), Device::Cpu), "{pair:?}: {} at {index}", reduced[index]);
            // Each operand is off by at most 2^-11 of itself.
            assert!(near(reduced[index], exact, 2f64.powi(-10) * 1.001 * exact + tolerance));
            differs |= reduced[index] != full[index];
        }
        assert!(differs || matches!(device(), Device::Cpu), "{pair:?}: tf32 gave the bits of f32");
    }
}

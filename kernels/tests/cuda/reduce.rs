//! Every reduction of every layout that has a variant of its own.

use chainrule_kernels::reduce::{ReduceDims, ReduceOp, reduce};
use chainrule_kernels::{Bool, Buffer, DType, Device, ErrorKind, Result, Stored, bf16, f16};

use super::device;
use super::values::{assert_close, numbers, specials};

/// Sizes and strides of kept dims, those of reduced dims, and the offset.
type Case = (&'static [usize], &'static [isize], &'static [usize], &'static [isize], usize);

const CASES: &[Case] = &[
    (&[], &[], &[], &[], 0),
    // One long output: parts, with elements before the first full sixteen bytes and after the last.
    (&[], &[], &[9999], &[1], 3),
    // Some lanes, a warp and a block for each output.
    (&[33], &[31], &[31], &[1], 0),
    (&[9], &[301], &[300], &[1], 1),
    (&[9], &[1100], &[1100], &[1], 0),
    (&[2], &[-9000], &[4501], &[-2], 18_001),
    // Neighbouring outputs; few of them in parts.
    (&[31], &[1], &[33], &[31], 0),
    (&[3], &[1], &[3000], &[3], 2),
    (&[300], &[1], &[70], &[300], 0),
    // Several dims of each kind.
    (&[3, 40], &[800, 1], &[20], &[40], 0),
    (&[20], &[40], &[3, 40], &[800, 1], 0),
    (&[2, 2, 3], &[54, 27, 3], &[3, 3, 2], &[1, 9, 108], 0),
    // Repeated elements.
    (&[20], &[1], &[40], &[0], 0),
    (&[0], &[4], &[4], &[1], 0),
];

/// The output as `O`, for which a device without 64-bit numbers has one of 32.
fn run<S: Stored, O: Stored>(device: &Device, op: ReduceOp, case: Case, x: &[S]) -> Result<Vec<O>> {
    let (kept_shape, kept_strides, reduced_shape, reduced_strides, offset) = case;
    let x = Buffer::from_slice(device, x)?;
    let mut y = Buffer::allocate(device, op.output_dtype(S::DTYPE, device), kept_shape.iter().product())?;
    let dims = ReduceDims { kept_shape, kept_strides, reduced_shape, reduced_strides };
    reduce(op, (&x, offset), dims, &mut y)?;
    match y.dtype() {
        dtype if dtype == O::DTYPE => y.to_vec(),
        DType::I32 => Ok(y.to_vec::<i32>()?.into_iter().map(|y| O::from_i64(y.into())).collect()),
        _ => Ok(y.to_vec::<u32>()?.into_iter().map(|y| O::from_i64(y.into())).collect()),
    }
}

/// What the host gives, as a number of `dtype`: sums of integers wrap.
fn wrapped<O: Stored>(want: &O, dtype: DType) -> f64 {
    match dtype {
        DType::I32 => f64::from(want.to_i64() as i32),
        DType::U32 => f64::from(want.to_i64() as u32),
        _ => want.to_f64(),
    }
}

/// Compares with the host. Rounding: of the stored type, and of sums of up to 10_000 terms in different orders, which
/// both sides keep within a few units of the accumulator's last place, of the sum of the terms' sizes.
fn check<S: Stored, O: Stored>(ops: &[ReduceOp], cases: &[Case], x: &[S], tolerance: f64) {
    let (cpu, device) = (Device::Cpu, device());
    if !device.supports(S::DTYPE) {
        return;
    }
    for (&op, &case) in ops.iter().flat_map(|op| cases.iter().map(move |case| (op, case))) {
        let want: Vec<O> = run(&cpu, op, case, x).unwrap();
        let got: Vec<O> = run(&device, op, case, x).unwrap();
        assert_eq!(got.len(), want.len());
        let cols = case.2.iter().product::<usize>() as f64;
        for (got, want) in got.iter().zip(&want) {
            let want = wrapped(want, op.output_dtype(S::DTYPE, &device));
            let size = if op == ReduceOp::Sum { 4.0 * cols } else { want.abs() };
            assert_close(got.to_f64(), want, tolerance * (size + 1.0), || format!("{} {op:?} {case:?}", S::DTYPE));
        }
    }
}

const SUMS: &[ReduceOp] = &[ReduceOp::Sum, ReduceOp::Prod];
const EXTREMES: &[ReduceOp] = &[ReduceOp::Max, ReduceOp::Min];
const PLACES: &[ReduceOp] = &[ReduceOp::ArgMax, ReduceOp::ArgMin];
const TRUTHS: &[ReduceOp] = &[ReduceOp::Any, ReduceOp::All];
const FLOAT_OPS: &[ReduceOp] = &[
    ReduceOp::Sum,
    ReduceOp::Mean,
    ReduceOp::Norm { p: 0.0 },
    ReduceOp::Norm { p: 1.0 },
    ReduceOp::Norm { p: 2.0 },
    ReduceOp::Norm { p: 3.5 },
    ReduceOp::Norm { p: f64::INFINITY },
    ReduceOp::Norm { p: f64::NEG_INFINITY },
    ReduceOp::LogSumExp,
    ReduceOp::Var { correction: 1.0 },
    ReduceOp::Std { correction: 0.0 },
];
/// For dtypes whose arithmetic is that of f32: loading and storing is what may differ.
const NARROW_OPS: &[ReduceOp] = &[ReduceOp::Mean, ReduceOp::LogSumExp, ReduceOp::Var { correction: 1.0 }];

#[test]
fn f32_of_any_layout() {
    let x = numbers::<f32>(21_000);
    check::<f32, f32>(FLOAT_OPS, CASES, &x, 1e-6);
    check::<f32, f32>(EXTREMES, CASES, &x, 0.0);
    check::<f32, i64>(PLACES, CASES, &x, 0.0);
    check::<f32, Bool>(TRUTHS, CASES, &x, 0.0);
    // Factors near 1, so that products neither overflow nor vanish.
    let factors: Vec<f32> = x.iter().map(|x| 1.0 + x / 256.0).collect();
    check::<f32, f32>(&[ReduceOp::Prod], CASES, &factors, 1e-4);
}

#[test]
fn other_dtypes() {
    let few = [CASES[1], CASES[3], CASES[4], CASES[7], CASES[10]];
    check::<f64, f64>(&FLOAT_OPS[1..], &few, &numbers(20_000), 1e-14);
    check::<f16, f16>(NARROW_OPS, &few, &numbers(20_000), f64::from(f16::EPSILON));
    check::<bf16, bf16>(NARROW_OPS, &few, &numbers(20_000), f64::from(bf16::EPSILON));
    check::<bf16, bf16>(EXTREMES, &few, &specials(20_000, 1), 0.0);
    check::<i64, i64>(
        SUMS,
        &few,
        &(0..20_000).map(|i: i64| i.wrapping_mul(0x9e37_79b9_7f4a_7c15_u64 as i64)).collect::<Vec<_>>(),
        0.0,
    );
    check::<i32, i64>(SUMS, &few, &numbers::<i32>(20_000), 0.0);
    check::<i32, i64>(PLACES, &few, &numbers::<i32>(20_000), 0.0);
    check::<i64, i64>(EXTREMES, &few, &specials::<i64>(20_000, 2), 0.0);
    check::<u32, u32>(EXTREMES, &few, &[7, u32::MAX, 0, 1 << 31].repeat(5000), 0.0);
    check::<u8, i64>(&SUMS[..1], &few, &(0..20_000).map(|i| (i * 7) as u8).collect::<Vec<_>>(), 0.0);
    check::<u8, u8>(&EXTREMES[..1], &few, &(0..20_000).map(|i| (i * 7) as u8).collect::<Vec<_>>(), 0.0);
    check::<Bool, Bool>(TRUTHS, &few, &(0..20_000).map(|i| Bool((i % 100 == 0).into())).collect::<Vec<_>>(), 0.0);
    check::<Bool, i64>(&SUMS[..1], &few, &(0..20_000).map(|i| Bool((i % 3) as u8)).collect::<Vec<_>>(), 0.0);
}

#[test]
fn nan_infinities_and_ties() {
    let rows: &[Case] =
        &[(&[1000], &[20], &[20], &[1], 0), (&[40], &[1], &[500], &[40], 0), (&[30], &[600], &[600], &[1], 0)];
    let x = specials::<f32>(20_000, 3);
    check::<f32, f32>(EXTREMES, rows, &x, 0.0);
    check::<f32, i64>(PLACES, rows, &x, 0.0);
    check::<f32, Bool>(TRUTHS, rows, &x, 0.0);
    check::<f32, f32>(&[ReduceOp::LogSumExp, ReduceOp::Var { correction: 1.0 }], rows, &x, 1e-6);
    for x in [f32::INFINITY, f32::NEG_INFINITY, -1e4, 1e4] {
        check::<f32, f32>(&[ReduceOp::LogSumExp], rows, &vec![x; 20_000], 1e-6);
    }
}

#[test]
fn nothing_to_reduce() {
    let empty: &[Case] = &[(&[3], &[1], &[0], &[1], 0)];
    check::<f32, f32>(FLOAT_OPS, empty, &[1.0; 3], 0.0);
    check::<i32, i64>(SUMS, empty, &[1; 3], 0.0);
    check::<f32, Bool>(TRUTHS, empty, &[1.0; 3], 0.0);
}

/// A large mean does not swallow the variance: d is exact here, so what remains is the rounding of means, about
/// 2^-24 of 1e4, which enters squared.
#[test]
fn variance_about_a_large_mean() {
    let x: Vec<f32> = (0..9000).map(|i| 1e4 + (i % 5) as f32).collect();
    for case in [(&[][..], &[][..], &[9000][..], &[1][..], 0), (&[30], &[1], &[300], &[30], 0)] {
        let device = device();
        for var in run::<f32, f32>(&device, ReduceOp::Var { correction: 0.0 }, case, &x).unwrap() {
            let want = if case.0.is_empty() { 2.0 } else { 0.0 };
            assert_close(var.into(), want, 1e-5, || format!("{case:?}"));
        }
    }
}

/// Squares that overflow give infinity, not NaN.
#[test]
fn variance_beyond_the_largest_number() {
    let x: Vec<f32> = (0..9000).map(|i| ((i % 7) as f32 - 2.9) * 1e37).collect();
    let rows: &[Case] =
        &[(&[], &[], &[9000], &[1], 0), (&[30], &[300], &[300], &[1], 0), (&[30], &[1], &[300], &[30], 0)];
    check::<f32, f32>(&[ReduceOp::Var { correction: 1.0 }, ReduceOp::Std { correction: 0.0 }], rows, &x, 0.0);
}

#[test]
fn integers_have_no_mean() {
    let device = device();
    for op in NARROW_OPS {
        let error = run::<i32, i32>(&device, *op, CASES[3], &numbers(20_000)).unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::Unsupported { .. }), "{error}");
    }
}

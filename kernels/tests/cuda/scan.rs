//! Scans of lines and columns, whole and in parts.

use chainrule_kernels::scan::{ScanOp, ScanParams, scan};
use chainrule_kernels::{Bool, Buffer, Device, Stored, bf16, f16};

use crate::{assert_close, devices, numbers, specials};

fn run<S: Stored, O: Stored>(device: &Device, op: ScanOp, x: &[S], params: ScanParams) -> Vec<O> {
    let x = Buffer::from_slice(device, x).unwrap();
    let len = (params.outer * params.len * params.inner) as usize;
    let mut y = Buffer::allocate(device, op.output_dtype(S::DTYPE, device), len).unwrap();
    scan(op, (&x, x.len() - len), params, &mut y).unwrap();
    y.to_vec().unwrap()
}

/// Outer, len, inner: short lines, lines of a few tiles, one long line, and columns; then columns in parts.
const SHAPES: &[[u64; 3]] = &[
    [3, 31, 1],
    [33, 1, 7],
    [40, 100, 1],
    [1, 9000, 1],
    [2, 2049, 1],
    [2, 33, 300],
    [1, 1000, 3],
    [3, 0, 5],
    [0, 3, 1],
];

/// Both sides round once to the stored type; f16 and bf16 add up in f32 here and in f64 on the host.
fn check<S: Stored, O: Stored>(op: ScanOp, x: &[S], shapes: &[[u64; 3]], tolerance: f64) {
    let [cpu, emulator] = devices();
    for &[outer, len, inner] in shapes {
        for reversed in [0, 1] {
            let params = ScanParams { outer, len, inner, reversed };
            let want: Vec<O> = run(&cpu, op, x, params);
            let got: Vec<O> = run(&emulator, op, x, params);
            assert_eq!(got.len(), want.len());
            for (got, want) in got.iter().zip(&want) {
                let want = want.to_f64();
                assert_close(got.to_f64(), want, tolerance * want.abs(), || format!("{op:?} {} {params:?}", S::DTYPE));
            }
        }
    }
}

#[test]
fn sums_of_every_dtype() {
    let few = &[SHAPES[3], SHAPES[5]];
    check::<f32, f32>(ScanOp::Sum, &numbers(20_001), SHAPES, f64::from(f32::EPSILON));
    check::<f64, f64>(ScanOp::Sum, &numbers(20_001), SHAPES, 0.0);
    check::<f16, f16>(ScanOp::Sum, &numbers(20_001), few, f64::from(f16::EPSILON));
    check::<bf16, bf16>(ScanOp::Sum, &numbers(20_001), few, f64::from(bf16::EPSILON));
    check::<i64, i64>(ScanOp::Sum, &vec![i64::MAX / 3; 20_001], few, 0.0);
    check::<i32, i64>(ScanOp::Sum, &numbers::<i32>(20_001), few, 0.0);
    check::<u32, i64>(ScanOp::Sum, &vec![u32::MAX; 20_001], few, 0.0);
    check::<u8, i64>(ScanOp::Sum, &vec![200u8; 20_001], few, 0.0);
    check::<Bool, i64>(ScanOp::Sum, &vec![Bool(2); 20_001], few, 0.0);
}

#[test]
fn products() {
    // Factors near 1, so that products neither overflow nor vanish; f64 has rounding errors of its own.
    let factors: Vec<f32> = numbers::<f32>(20_001).iter().map(|x| 1.0 + x / 256.0).collect();
    check::<f32, f32>(ScanOp::Prod, &factors, SHAPES, f64::from(f32::EPSILON));
    check::<i64, i64>(ScanOp::Prod, &(0..20_001).map(|i| 2 * i + 1).collect::<Vec<i64>>(), &SHAPES[2..5], 0.0);
}

#[test]
fn nan_and_infinities_stay() {
    check::<f32, f32>(ScanOp::Sum, &specials(20_001, 4), SHAPES, f64::from(f32::EPSILON));
}

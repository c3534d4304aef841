//! Scans of lines and columns, whole and in parts.

use chainrule_kernels::scan::{ScanOp, ScanParams, scan};
use chainrule_kernels::{Bool, Buffer, Device, Rng, Stored, bf16, f16};

use crate::device;
use crate::indexing::values;

fn run<S: Stored>(device: &Device, op: ScanOp, x: &[S], params: ScanParams) -> Vec<f64> {
    let x = Buffer::from_slice(device, x).unwrap();
    let len = (params.outer * params.len * params.inner) as usize;
    let mut y = Buffer::allocate(device, op.output_dtype(S::DTYPE, device), len).unwrap();
    scan(op, (&x, x.len() - len), params, &mut y).unwrap();
    values(&y).unwrap()
}

/// Outer, len, inner: short lines, lines of a few tiles, one long line, and columns; then columns in parts.
const SHAPES: &[[u64; 3]] = &[
    [3, 31, 1],
    [33, 1, 7],
    [40, 100, 1],
    [1, 20_000, 1],
    [2, 2049, 1],
    [2, 33, 300],
    [1, 1000, 3],
    [3, 0, 5],
    [0, 3, 1],
];

/// Floats: both sides accumulate in more bits than f32 has and round once. Integers wrap at 64 bits on the host and at
/// 32 here.
fn check<S: Stored>(op: ScanOp, x: &[S], shapes: &[[u64; 3]]) {
    let tolerance = if S::DTYPE.is_float() { S::DTYPE.epsilon() } else { 0.0 };
    for &[outer, len, inner] in shapes {
        for reversed in [0, 1] {
            let params = ScanParams { outer, len, inner, reversed };
            let (want, got) = (run(&Device::Cpu, op, x, params), run(&device(), op, x, params));
            assert_eq!(got.len(), want.len());
            for (i, (&got, want)) in got.iter().zip(want).enumerate() {
                let wrapped = if S::DTYPE.is_float() { got } else { got as i64 as u32 as f64 };
                let want = if S::DTYPE.is_float() { want } else { want as i64 as u32 as f64 };
                let same = wrapped == want || got.is_nan() && want.is_nan();
                let close = (wrapped - want).abs() <= tolerance * want.abs();
                assert!(same || close, "{op:?} {} {params:?} [{i}]: {got} is not {want}", S::DTYPE);
            }
        }
    }
}

/// Numbers between -4 and 4 of which no prefix sum is exact in f32.
fn noise<S: Stored>(n: usize) -> Vec<S> {
    let mut rng = Rng::seed(1);
    (0..n).map(|_| S::from_f64(f64::from(rng.uniform()) * 8.0 - 4.0)).collect()
}

#[test]
fn sums_of_every_dtype() {
    let few = &[SHAPES[3], SHAPES[5]];
    check::<f32>(ScanOp::Sum, &noise::<f32>(20_001).iter().map(|x| x.abs()).collect::<Vec<_>>(), SHAPES);
    check::<f16>(ScanOp::Sum, &noise::<f16>(20_001), few);
    check::<bf16>(ScanOp::Sum, &noise::<bf16>(20_001), few);
    check::<i32>(ScanOp::Sum, &vec![i32::MAX / 3; 20_001], few);
    check::<u32>(ScanOp::Sum, &vec![u32::MAX; 20_001], few);
    check::<u8>(ScanOp::Sum, &vec![200u8; 20_001], few);
    check::<Bool>(ScanOp::Sum, &vec![Bool(2); 20_001], few);
}

#[test]
fn products() {
    // Factors near 1, so that products neither overflow nor vanish.
    let factors: Vec<f32> = noise::<f32>(20_001).iter().map(|x| 1.0 + x / 256.0).collect();
    check(ScanOp::Prod, &factors, SHAPES);
    check(ScanOp::Prod, &[3i32, -1, 1, 5, 1].repeat(20), &[[2, 20, 1], [1, 10, 3]]);
}

#[test]
fn nan_and_infinities_stay() {
    for special in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let mut x = noise::<f32>(20_001).iter().map(|x| x.abs()).collect::<Vec<_>>();
        x[18_000] = special;
        check(ScanOp::Sum, &x, SHAPES);
    }
}

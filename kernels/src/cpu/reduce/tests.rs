use crate::reduce::{ReduceDims, ReduceOp, reduce};
use crate::{Bool, Buffer, DType, Device, Rng, Stored, bf16, f16};

/// An input as nested dims: sizes, strides, whether each is kept.
struct Case {
    shape: &'static [usize],
    strides: &'static [isize],
    kept: &'static [bool],
    offset: usize,
}

const CASES: &[Case] = &[
    Case { shape: &[], strides: &[], kept: &[], offset: 0 },
    Case { shape: &[1000], strides: &[1], kept: &[false], offset: 3 },
    Case { shape: &[70000], strides: &[1], kept: &[false], offset: 0 },
    Case { shape: &[33, 31], strides: &[31, 1], kept: &[true, false], offset: 0 },
    Case { shape: &[300, 129], strides: &[129, 1], kept: &[true, false], offset: 0 },
    Case { shape: &[33, 31], strides: &[31, 1], kept: &[false, true], offset: 0 },
    Case { shape: &[260, 300], strides: &[300, 1], kept: &[false, true], offset: 0 },
    Case { shape: &[9000, 7], strides: &[7, 1], kept: &[false, true], offset: 0 },
    Case { shape: &[33, 31], strides: &[1, 33], kept: &[true, false], offset: 5 },
    Case { shape: &[3, 20, 40], strides: &[800, 40, 1], kept: &[true, false, true], offset: 0 },
    Case { shape: &[3, 20, 40], strides: &[800, 40, 1], kept: &[false, true, false], offset: 0 },
    Case { shape: &[3, 20, 40], strides: &[1600, 80, 2], kept: &[true, true, false], offset: 1 },
    Case { shape: &[3, 20, 40], strides: &[1600, 80, 2], kept: &[false, false, true], offset: 1 },
    Case { shape: &[20, 40], strides: &[-40, -1], kept: &[true, false], offset: 799 },
    Case { shape: &[20, 40], strides: &[-40, 1], kept: &[false, true], offset: 760 },
    Case { shape: &[20, 40], strides: &[0, 1], kept: &[false, true], offset: 0 },
    Case { shape: &[20, 40], strides: &[1, 0], kept: &[true, false], offset: 0 },
    Case {
        shape: &[2, 3, 2, 3, 2, 3],
        strides: &[54, 1, 27, 9, 108, 3],
        kept: &[true, false, true, false, false, true],
        offset: 0,
    },
    Case { shape: &[4, 0], strides: &[0, 1], kept: &[true, false], offset: 0 },
    Case { shape: &[0, 4], strides: &[4, 1], kept: &[true, false], offset: 0 },
];

impl Case {
    fn pick<T: Copy>(&self, of: &[T], kept: bool) -> Vec<T> {
        of.iter().zip(self.kept).filter(|&(_, &k)| k == kept).map(|(&v, _)| v).collect()
    }

    /// The places in memory of each output's elements.
    fn places(&self) -> Vec<Vec<usize>> {
        let kept = walk(&self.pick(self.shape, true), &self.pick(self.strides, true));
        let reduced = walk(&self.pick(self.shape, false), &self.pick(self.strides, false));
        kept.iter().map(|k| reduced.iter().map(|r| (self.offset as isize + k + r) as usize).collect()).collect()
    }

    fn run<S: Stored, O: Stored>(&self, op: ReduceOp, x: &[S]) -> Vec<O> {
        let x = Buffer::from_slice(&Device::Cpu, x).unwrap();
        let rows = self.pick(self.shape, true).iter().product();
        let mut y = Buffer::allocate(&Device::Cpu, op.output_dtype(S::DTYPE, &Device::Cpu), rows).unwrap();
        let dims = ReduceDims {
            kept_shape: &self.pick(self.shape, true),
            kept_strides: &self.pick(self.strides, true),
            reduced_shape: &self.pick(self.shape, false),
            reduced_strides: &self.pick(self.strides, false),
        };
        reduce(op, (&x, self.offset), dims, &mut y).unwrap();
        y.to_vec().unwrap()
    }
}

fn walk(shape: &[usize], strides: &[isize]) -> Vec<isize> {
    let mut offsets = vec![0];
    for (&size, &stride) in shape.iter().zip(strides) {
        offsets = offsets.iter().flat_map(|o| (0..size).map(move |i| o + i as isize * stride)).collect();
    }
    offsets
}

fn numbers(n: usize) -> Vec<f64> {
    let mut rng = Rng::seed(1);
    (0..n).map(|_| f64::from((rng.uniform() * 64.0).floor()) / 8.0 - 4.0).collect()
}

fn naive(op: ReduceOp, x: &[f64]) -> f64 {
    let n = x.len() as f64;
    let var = |correction: f64| {
        let mean = x.iter().sum::<f64>() / n;
        x.iter().map(|v| (v - mean) * (v - mean)).sum::<f64>() / (n - correction).max(0.0)
    };
    let first = |best: f64| x.iter().position(|&v| v == best).unwrap() as f64;
    let max = x.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let min = x.iter().copied().fold(f64::INFINITY, f64::min);
    match op {
        ReduceOp::Sum => x.iter().sum(),
        ReduceOp::Mean => x.iter().sum::<f64>() / n,
        ReduceOp::Prod => x.iter().product(),
        ReduceOp::Max => max,
        ReduceOp::Min => min,
        ReduceOp::Any => x.iter().any(|&v| v != 0.0) as u8 as f64,
        ReduceOp::All => x.iter().all(|&v| v != 0.0) as u8 as f64,
        ReduceOp::ArgMax => first(max),
        ReduceOp::ArgMin => first(min),
        ReduceOp::Norm { p: 0.0 } => x.iter().filter(|&&v| v != 0.0).count() as f64,
        ReduceOp::Norm { p: f64::INFINITY } => x.iter().fold(0.0, |a, v| v.abs().max(a)),
        ReduceOp::Norm { p } => x.iter().map(|v| v.abs().powf(p)).sum::<f64>().powf(1.0 / p),
        ReduceOp::LogSumExp => x.iter().map(|v| v.exp()).sum::<f64>().ln(),
        ReduceOp::Var { correction } => var(correction),
        ReduceOp::Std { correction } => var(correction).sqrt(),
    }
}

const FLOAT_OPS: &[ReduceOp] = &[
    ReduceOp::Sum,
    ReduceOp::Mean,
    ReduceOp::Norm { p: 0.0 },
    ReduceOp::Norm { p: 1.0 },
    ReduceOp::Norm { p: 2.0 },
    ReduceOp::Norm { p: 3.5 },
    ReduceOp::LogSumExp,
    ReduceOp::Var { correction: 1.0 },
    ReduceOp::Std { correction: 0.0 },
];
const EXTREMES: &[ReduceOp] = &[ReduceOp::Max, ReduceOp::Min, ReduceOp::Norm { p: f64::INFINITY }];

/// Compares every layout with a loop in f64. One rounding of the stored type, and a few of the accumulator, which for
/// these lengths stay below 1e-6, or 1e-13 in f64.
fn check_floats<S: Stored>(tolerance: f64) {
    let x = numbers(80_000);
    let stored: Vec<S> = x.iter().map(|&v| S::from_f64(v)).collect();
    for (index, case) in CASES.iter().enumerate() {
        let places = case.places();
        let empty = places.first().is_some_and(Vec::is_empty);
        for &op in FLOAT_OPS.iter().chain(if empty { &[] } else { EXTREMES }) {
            let y: Vec<S> = case.run(op, &stored);
            assert_eq!(y.len(), places.len());
            for (y, places) in y.iter().zip(&places) {
                let row: Vec<f64> = places.iter().map(|&place| x[place]).collect();
                let (got, want) = (y.to_f64(), naive(op, &row));
                // Sums of both signs may cancel, so they are compared with the size of what was added.
                let size = if op == ReduceOp::Sum { row.iter().map(|v| v.abs()).sum() } else { 1.0 + want.abs() };
                let close = (got - want).abs() <= tolerance * size || got.to_bits() == want.to_bits();
                let same = got.is_nan() && want.is_nan() || got == want || want.abs() > 65504.0 && got.is_infinite();
                assert!(close || same, "{op:?} case {index}: {got} is not {want}");
            }
        }
    }
}

#[test]
fn floats_of_any_layout() {
    check_floats::<f32>(1e-6);
    check_floats::<f64>(1e-13);
    check_floats::<f16>(f64::from(f16::EPSILON));
    check_floats::<bf16>(f64::from(bf16::EPSILON));
}

#[test]
fn places_truth_and_integers_of_any_layout() {
    let x = numbers(80_000);
    let ints: Vec<i32> = x.iter().map(|&v| v as i32).collect();
    for case in CASES {
        let places = case.places();
        let rows: Vec<Vec<f64>> = places.iter().map(|p| p.iter().map(|&i| f64::from(ints[i])).collect()).collect();
        let want = |op| rows.iter().map(|row| naive(op, row) as i64).collect::<Vec<i64>>();
        assert_eq!(case.run::<_, i64>(ReduceOp::Sum, &ints), want(ReduceOp::Sum));
        let truth = |op| case.run::<_, Bool>(op, &ints).iter().map(|b| i64::from(b.0)).collect::<Vec<_>>();
        assert_eq!(truth(ReduceOp::Any), want(ReduceOp::Any));
        assert_eq!(truth(ReduceOp::All), want(ReduceOp::All));
        if rows.first().is_some_and(|row| !row.is_empty()) {
            let extreme = |op| case.run::<_, i32>(op, &ints).iter().map(|&v| v.into()).collect::<Vec<i64>>();
            assert_eq!(extreme(ReduceOp::Max), want(ReduceOp::Max));
            assert_eq!(extreme(ReduceOp::Min), want(ReduceOp::Min));
            assert_eq!(case.run::<_, i64>(ReduceOp::ArgMax, &ints), want(ReduceOp::ArgMax));
            assert_eq!(case.run::<_, i64>(ReduceOp::ArgMin, &ints), want(ReduceOp::ArgMin));
        }
    }
}

fn row<S: Stored, O: Stored>(op: ReduceOp, x: &[S]) -> O {
    let case = Case { shape: Box::leak(Box::new([x.len()])), strides: &[1], kept: &[false], offset: 0 };
    case.run::<S, O>(op, x)[0]
}

#[test]
fn empty_reductions_give_the_neutral_element() {
    assert_eq!(row::<f32, f32>(ReduceOp::Sum, &[]), 0.0);
    assert_eq!(row::<f32, f32>(ReduceOp::Prod, &[]), 1.0);
    assert_eq!(row::<u8, i64>(ReduceOp::Prod, &[]), 1);
    assert_eq!(row::<f32, f32>(ReduceOp::LogSumExp, &[]), f32::NEG_INFINITY);
    assert!(row::<f32, f32>(ReduceOp::Mean, &[]).is_nan());
    assert_eq!(row::<f32, Bool>(ReduceOp::Any, &[]), Bool(0));
    assert_eq!(row::<f32, Bool>(ReduceOp::All, &[]), Bool(1));
}

#[test]
fn nan_is_the_extreme_and_ties_take_the_first() {
    let mut x = vec![0.5f32; 100];
    x[40] = 2.0;
    x[77] = 2.0;
    assert_eq!(row::<f32, i64>(ReduceOp::ArgMax, &x), 40);
    assert_eq!(row::<f32, i64>(ReduceOp::ArgMin, &x), 0);
    x[60] = f32::NAN;
    x[90] = f32::NAN;
    for op in [ReduceOp::Max, ReduceOp::Min] {
        assert!(row::<f32, f32>(op, &x).is_nan());
    }
    assert_eq!(row::<f32, i64>(ReduceOp::ArgMax, &x), 60);
    assert_eq!(row::<f32, i64>(ReduceOp::ArgMin, &x), 60);
}

#[test]
fn truth_of_signed_zero_and_nan() {
    assert_eq!(row::<f32, Bool>(ReduceOp::Any, &[-0.0, 0.0]), Bool(0));
    assert_eq!(row::<f16, Bool>(ReduceOp::All, &[f16::NEG_ZERO, f16::ONE]), Bool(0));
    assert_eq!(row::<f32, Bool>(ReduceOp::Any, &[f32::NAN]), Bool(1));
    assert_eq!(row::<Bool, Bool>(ReduceOp::All, &[Bool(1), Bool(2)]), Bool(1));
}

#[test]
fn integers_keep_their_range() {
    assert_eq!(row::<i64, i64>(ReduceOp::Max, &[i64::MIN, i64::MIN + 1]), i64::MIN + 1);
    assert_eq!(row::<i64, i64>(ReduceOp::Min, &[i64::MAX, i64::MAX - 1]), i64::MAX - 1);
    assert_eq!(row::<i64, i64>(ReduceOp::ArgMax, &[1 << 60, (1 << 60) + 1]), 1);
    assert_eq!(row::<u8, i64>(ReduceOp::Sum, &[255; 1000]), 255_000);
    assert_eq!(row::<Bool, i64>(ReduceOp::Sum, &[Bool(1); 77]), 77);
    assert_eq!(row::<i32, i64>(ReduceOp::Prod, &[1 << 20, 1 << 20]), 1 << 40);
}

#[test]
fn half_precision_accumulates_in_f32() {
    let mean = row::<f16, f16>(ReduceOp::Mean, &[f16::from_f32(60000.0); 4096]);
    assert_eq!(mean, f16::from_f32(60000.0));
    assert_eq!(row::<bf16, bf16>(ReduceOp::Sum, &[bf16::ONE; 4096]), bf16::from_f32(4096.0));
    // Two squares of 300 overflow f16, their root does not.
    let norm = row::<f16, f16>(ReduceOp::Norm { p: 2.0 }, &[f16::from_f32(300.0), f16::from_f32(400.0)]);
    assert_eq!(norm, f16::from_f32(500.0));
}

#[test]
fn long_sums_do_not_drift() {
    let n = 1 << 22;
    // A running f32 sum of tenths is off by a percent here. Pairwise, a few roundings of the total remain.
    let sum = row::<f32, f32>(ReduceOp::Sum, &vec![0.1f32; n]);
    assert!((f64::from(sum) / (f64::from(0.1f32) * n as f64) - 1.0).abs() < 1e-6, "{sum}");
    let columns = Case { shape: &[1 << 20, 4], strides: &[4, 1], kept: &[false, true], offset: 0 };
    for sum in columns.run::<f32, f32>(ReduceOp::Sum, &vec![0.1f32; n]) {
        assert!((f64::from(sum) / (f64::from(0.1f32) * (n / 4) as f64) - 1.0).abs() < 1e-6, "{sum}");
    }
}

#[test]
fn variance_holds_under_a_large_mean() {
    // 1e6 - 1 and 1e6 + 1 in turn: deviations of 1 about a mean of 1e6, where the mean of squares has lost them.
    let x: Vec<f32> = (0..1000).map(|i| if i % 2 == 0 { 999_999.0 } else { 1_000_001.0 }).collect();
    assert_eq!(row::<f32, f32>(ReduceOp::Var { correction: 0.0 }, &x), 1.0);
    assert!((row::<f32, f32>(ReduceOp::Std { correction: 1.0 }, &x) - (1000f32 / 999.0).sqrt()).abs() < 1e-6);
    assert!(row::<f32, f32>(ReduceOp::Var { correction: 1.0 }, &[3.0]).is_nan());
    assert_eq!(row::<f32, f32>(ReduceOp::Var { correction: 0.0 }, &[3.0]), 0.0);
}

#[test]
fn variance_beyond_the_largest_number_is_infinite() {
    // What the rounding of the mean leaves overflows, too, when it is squared: infinity less infinity would be NaN.
    let x: Vec<f32> = (0..1000).map(|i| ((i % 7) as f32 - 2.9) * 1e37).collect();
    assert_eq!(row::<f32, f32>(ReduceOp::Var { correction: 0.0 }, &x), f32::INFINITY);
    assert_eq!(row::<f32, f32>(ReduceOp::Std { correction: 1.0 }, &x), f32::INFINITY);
}

#[test]
fn logsumexp_of_infinities_and_large_numbers() {
    let (inf, log) = (f32::INFINITY, ReduceOp::LogSumExp);
    assert_eq!(row::<f32, f32>(log, &[-inf, -inf]), -inf);
    assert_eq!(row::<f32, f32>(log, &[inf, 0.0, -inf]), inf);
    assert!((row::<f32, f32>(log, &[1000.0, 1000.0]) - 1000.6931).abs() < 1e-4);
    assert!(row::<f32, f32>(log, &[f32::NAN, 0.0]).is_nan());
}

#[test]
fn integers_have_no_mean() {
    let x = Buffer::from_slice(&Device::Cpu, &[1i64]).unwrap();
    let mut y = Buffer::allocate(&Device::Cpu, DType::I64, 1).unwrap();
    let dims = ReduceDims { kept_shape: &[], kept_strides: &[], reduced_shape: &[1], reduced_strides: &[1] };
    assert!(reduce(ReduceOp::Mean, (&x, 0), dims, &mut y).unwrap_err().is_unsupported());
}

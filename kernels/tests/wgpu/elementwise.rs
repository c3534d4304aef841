//! Every row of the table, over the range of its samples and far beyond it.

use chainrule_kernels::elementwise::{BinaryOp, ElementwiseOp, UnaryOp, View, binary, unary};
use chainrule_kernels::{Buffer, Device, Operand, Stored, f16};

use super::{device, numbers};

/// Values at which functions have their limits, and large and small ones between them; none whose exponential is
/// subnormal, which a driver may take for 0.
const SPECIAL: [f32; 22] = [
    0.0,
    -0.0,
    1.0,
    -1.0,
    0.5,
    -0.5,
    2.0,
    -2.0,
    3.5,
    -2.5,
    1e-6,
    -1e-6,
    88.0,
    -80.0,
    1e4,
    -1e4,
    123456.7,
    1e30,
    -1e30,
    f32::INFINITY,
    f32::NEG_INFINITY,
    f32::NAN,
];

/// Errors allowed of a function on the device, in units of f32's last place of `1 + |y|`, or relative to y where the
/// values are large: functions amplify the rounding of their argument's reduction.
const TOLERANCE: f64 = 16.0 * f32::EPSILON as f64;

fn agrees(got: f32, want: f32) -> bool {
    let (got, want) = (f64::from(got), f64::from(want));
    got == want || got.is_nan() && want.is_nan() || (got - want).abs() <= TOLERANCE * (1.0 + want.abs())
}

fn run_unary<S: Stored, R: Stored>(device: &Device, op: UnaryOp, x: &[S]) -> Vec<R> {
    let x = Buffer::from_slice(device, x).unwrap();
    let mut y = Buffer::allocate(device, R::DTYPE, x.len()).unwrap();
    let view = View { buffer: &x, offset: 0, strides: &[1] };
    unary(op, Operand::View(view), &[x.len()], [0.5, 1.5], &mut y).unwrap();
    y.to_vec().unwrap()
}

#[test]
fn functions_of_one_operand_agree_with_the_host_at_their_limits_too() {
    let device = device();
    let mut failures = Vec::new();
    for &op in UnaryOp::ALL {
        let drawn = numbers(100, op.sample_range()).into_iter().map(|x| x as f32);
        let x: Vec<f32> = drawn.chain(SPECIAL).collect();
        let result = |device| match op.output_dtype(chainrule_kernels::DType::F32) {
            chainrule_kernels::DType::Bool => run_unary::<_, chainrule_kernels::Bool>(device, op, &x)
                .into_iter()
                .map(|y| f32::from(u8::from(y.0 != 0)))
                .collect(),
            _ => run_unary::<_, f32>(device, op, &x),
        };
        let (got, want) = (result(&device), result(&Device::Cpu));
        for ((x, got), want) in x.iter().zip(got).zip(want) {
            if !agrees(got, want) {
                failures.push(format!("{}({x}) is {got}, expected {want}", op.name()));
            }
        }
    }
    assert!(failures.is_empty(), "{} failures\n{}", failures.len(), failures.join("\n"));
}

#[test]
fn functions_of_two_operands_agree_with_the_host_at_their_limits_too() {
    let device = device();
    let mut failures = Vec::new();
    for &op in BinaryOp::ALL {
        let range = op.sample_range();
        let drawn = numbers(20, range.clone()).into_iter().map(|x| x as f32);
        let all: Vec<f32> = drawn.chain(SPECIAL).collect();
        let pairs: Vec<(f32, f32)> = all.iter().flat_map(|&x| all.iter().map(move |&y| (x, y))).collect();
        let run = |device: &Device| -> Vec<f32> {
            let (x, y): (Vec<f32>, Vec<f32>) = pairs.iter().copied().unzip();
            let (x, y) = (Buffer::from_slice(device, &x).unwrap(), Buffer::from_slice(device, &y).unwrap());
            let [x, y] = [&x, &y].map(|buffer| Operand::View(View { buffer, offset: 0, strides: &[1] }));
            let dtype = op.output_dtype(chainrule_kernels::DType::F32);
            let mut z = Buffer::allocate(device, dtype, pairs.len()).unwrap();
            binary(op, x, y, &[pairs.len()], &mut z).unwrap();
            match dtype {
                chainrule_kernels::DType::Bool => {
                    let bools: Vec<chainrule_kernels::Bool> = z.to_vec().unwrap();
                    bools.into_iter().map(|z| f32::from(u8::from(z.0 != 0))).collect()
                }
                _ => z.to_vec().unwrap(),
            }
        };
        for ((pair, got), want) in pairs.iter().zip(run(&device)).zip(run(&Device::Cpu)) {
            // A power with a large exponent amplifies the rounding of the logarithm by it.
            let amplified = op == BinaryOp::Pow && (f64::from(pair.1) * f64::from(pair.0.abs()).ln()).abs() > 8.0;
            let close = amplified && (f64::from(got) / f64::from(want) - 1.0).abs() < 1e-4;
            if !agrees(got, want) && !close {
                failures.push(format!("{}{pair:?} is {got}, expected {want}", op.name()));
            }
        }
    }
    assert!(failures.is_empty(), "{} failures\n{}", failures.len(), failures.join("\n"));
}

#[test]
fn halves_are_widened_exactly_and_rounded_to_even() {
    let device = device();
    // Every binary16, times one: nothing may change; and halves of them, where the last bit is a tie or subnormal.
    let all: Vec<f16> = (0..=u16::MAX).map(f16::from_bits).collect();
    for op in [UnaryOp::Abs, UnaryOp::Square, UnaryOp::Sqrt] {
        let (got, want): (Vec<f16>, Vec<f16>) = (run_unary(&device, op, &all), run_unary(&Device::Cpu, op, &all));
        for ((x, got), want) in all.iter().zip(got).zip(want) {
            let same = got.to_bits() == want.to_bits() || got.is_nan() && want.is_nan();
            // The square root is good to its last place in f32 only: a tie may go the other way.
            let near = op == UnaryOp::Sqrt && got.to_bits().abs_diff(want.to_bits()) <= 1;
            assert!(same || near, "{}({x}) is {got:?}, expected {want:?}", op.name());
        }
    }
}

#[test]
fn bfloats_are_rounded_to_even() {
    use chainrule_kernels::bf16;
    let device = device();
    let all: Vec<bf16> =
        (0..=u16::MAX).map(bf16::from_bits).filter(|x| x.is_nan() || x.to_f32().abs() > 1e-15).collect();
    let (got, want): (Vec<bf16>, Vec<bf16>) =
        (run_unary(&device, UnaryOp::Square, &all), run_unary(&Device::Cpu, UnaryOp::Square, &all));
    for ((x, got), want) in all.iter().zip(got).zip(want) {
        assert!(got.to_bits() == want.to_bits() || got.is_nan() && want.is_nan(), "{x}: {got:?}, expected {want:?}");
    }
}

//! The engine against loops over indices, and every row in `f32` against itself in `f64`.

use super::*;
use crate::{Bool, Device, Stored, bf16, f16};

fn buffer<S: Stored>(values: &[S]) -> Buffer {
    Buffer::from_slice(&Device::Cpu, values).unwrap()
}

fn empty(dtype: DType, len: usize) -> Buffer {
    Buffer::allocate(&Device::Cpu, dtype, len).unwrap()
}

fn view<'a>(buffer: &'a Buffer, offset: usize, strides: &'a [isize]) -> Operand<'a> {
    Operand::View(View { buffer, offset, strides })
}

/// Values spread over a range, in no order.
fn spread(range: std::ops::Range<f64>, len: usize, seed: usize) -> Vec<f64> {
    let at = |i: usize| ((i * 7919 + seed * 104_729) % 10_007) as f64 / 10_007.0;
    (0..len).map(|i| f64::from((range.start + (range.end - range.start) * at(i)) as f32)).collect()
}

fn run<O: ElementwiseOp>(op: O, operands: &[Vec<f64>], dtype: DType) -> Vec<f64> {
    let buffers: Vec<Buffer> = operands
        .iter()
        .map(|values| {
            let mut typed = empty(dtype, values.len());
            let exact = buffer(values);
            crate::copy::cast(View { buffer: &exact, offset: 0, strides: &[1] }, &[values.len()], &mut typed).unwrap();
            typed
        })
        .collect();
    let mut y = empty(op.output_dtype(dtype), operands[0].len());
    let operand = |i: usize| buffers.get(i).map(|buffer| view(buffer, 0, &[1]));
    launch(op, [operand(0), operand(1), operand(2)], &[operands[0].len()], [0.5, 1.5], &mut y).unwrap();
    let mut exact = empty(DType::F64, y.len());
    crate::copy::cast(View { buffer: &y, offset: 0, strides: &[1] }, &[y.len()], &mut exact).unwrap();
    exact.to_vec().unwrap()
}

fn check_all<O: ElementwiseOp + std::fmt::Debug>() {
    for &op in O::ALL {
        for len in [1, 31, 1000, 3001] {
            let operands: Vec<_> = (0..O::ARITY).map(|i| spread(op.sample_range(), len, i)).collect();
            let exact = run(op, &operands, DType::F64);
            for (i, (got, wanted)) in run(op, &operands, DType::F32).into_iter().zip(&exact).enumerate() {
                // A few rounding errors of f32, taken through formulas whose terms are near 1.
                assert!((got - wanted).abs() <= 4e-6 * wanted.abs().max(1.0), "{op:?} {i}: {got} {wanted}");
            }
        }
    }
}

#[test]
fn every_row_agrees_with_itself_in_f64() {
    check_all::<UnaryOp>();
    check_all::<BinaryOp>();
    check_all::<TernaryOp>();
}

#[test]
fn names_are_unique_and_kernels_are_named() {
    let mut all: Vec<_> = UnaryOp::ALL.iter().map(|op| op.name()).collect();
    all.extend(BinaryOp::ALL.iter().map(|op| op.name()));
    all.extend(TernaryOp::ALL.iter().map(|op| op.name()));
    let count = all.len();
    all.sort_unstable();
    all.dedup();
    assert_eq!(all.len(), count);
    for (i, op) in BinaryOp::ALL.iter().enumerate() {
        assert_eq!((op.index(), op.row().kernel.name), (i, "elementwise"));
        assert!(op.expression().contains('x') && op.expression().contains('y'));
    }
}

/// a - 3 b over views of every kind, against index arithmetic; two dtypes that must be converted.
#[test]
fn strides_offsets_and_conversions() {
    type Strides = (&'static [isize], usize);
    let cases: [(&[usize], [Strides; 2]); 8] = [
        (&[5, 7], [(&[7, 1], 0), (&[1, 5], 2)]),
        (&[400, 300], [(&[300, 1], 0), (&[0, 1], 2)]),
        (&[400, 300], [(&[1, 400], 0), (&[1, 0], 2)]),
        (&[13, 3, 50], [(&[-150, 50, 1], 1800), (&[1, 13, 39], 0)]),
        (&[50, 30, 20], [(&[0, 0, 0], 7), (&[-600, -20, -1], 29_999)]),
        (&[2000], [(&[1], 33), (&[1], 5)]),
        (&[1, 1], [(&[1, 1], 33), (&[1, 1], 5)]),
        (&[], [(&[], 33), (&[], 5)]),
    ];
    let a: Vec<f32> = (0..130_000).map(|i| i as f32 * 0.5).collect();
    let b: Vec<f16> = (0..130_000).map(|i| f16::from_f32((i % 2048) as f32)).collect();
    let (a32, b16, b32) = (buffer(&a), buffer(&b), buffer(&b.iter().map(|b| b.to_f32()).collect::<Vec<_>>()));
    for (shape, [(a_strides, a_offset), (b_strides, b_offset)]) in cases {
        let len = shape.iter().product::<usize>();
        let at = |strides: &[isize], offset: usize, mut linear: usize| {
            let mut position = offset as isize;
            for (&len, &stride) in shape.iter().zip(strides).rev() {
                position += (linear % len) as isize * stride;
                linear /= len;
            }
            position as usize
        };
        for b_buffer in [&b16, &b32] {
            let mut y = empty(DType::F32, len);
            let operands = (view(&a32, a_offset, a_strides), view(b_buffer, b_offset, b_strides));
            binary(BinaryOp::Sub, operands.0, operands.1, shape, &mut y).unwrap();
            for (i, got) in y.to_vec::<f32>().unwrap().into_iter().enumerate() {
                let wanted = a[at(a_strides, a_offset, i)] - b[at(b_strides, b_offset, i)].to_f32();
                assert_eq!(got, wanted, "{shape:?} {i}");
            }
            binary_in_place(BinaryOp::Add, &mut y, operands.1, shape).unwrap();
            binary_in_place(BinaryOp::Mul, &mut y, 2.0f64.into(), shape).unwrap();
            for (i, got) in y.to_vec::<f32>().unwrap().into_iter().enumerate() {
                let (a, b) = (a[at(a_strides, a_offset, i)], b[at(b_strides, b_offset, i)].to_f32());
                assert_eq!(got, (a - b + b) * 2.0, "{shape:?} {i}");
            }
        }
    }
}

#[test]
fn integers() {
    let a = buffer(&[7i64, -7, 7, -7, i64::MIN, 0]);
    let b = buffer(&[2i64, 2, -2, -2, -1, 5]);
    let run = |op: BinaryOp| {
        let mut y = empty(op.output_dtype(DType::I64), 6);
        binary(op, view(&a, 0, &[1]), view(&b, 0, &[1]), &[6], &mut y).map(|()| y)
    };
    assert_eq!(run(BinaryOp::FloorDiv).unwrap().to_vec::<i64>().unwrap(), [3, -4, -4, 3, i64::MIN, 0]);
    assert_eq!(run(BinaryOp::Rem).unwrap().to_vec::<i64>().unwrap(), [1, 1, -1, -1, 0, 0]);
    assert_eq!(run(BinaryOp::Fmod).unwrap().to_vec::<i64>().unwrap(), [1, -1, 1, -1, 0, 0]);
    assert_eq!(run(BinaryOp::Div).unwrap().to_vec::<f32>().unwrap()[..2], [3.5, -3.5]);
    assert_eq!(run(BinaryOp::Lt).unwrap().to_vec::<Bool>().unwrap()[..2], [Bool(0), Bool(1)]);
    assert_eq!(run(BinaryOp::Pow).unwrap().to_vec::<i64>().unwrap(), [49, 49, 0, 0, 0, 0]);
    let mut y = empty(DType::I64, 6);
    unary(UnaryOp::Abs, view(&a, 0, &[1]), &[6], [0.0; 2], &mut y).unwrap();
    assert_eq!(y.to_vec::<i64>().unwrap(), [7, 7, 7, 7, i64::MIN, 0]);
    for op in [BinaryOp::FloorDiv, BinaryOp::Rem, BinaryOp::Fmod] {
        let error = binary(op, view(&b, 0, &[1]), view(&a, 0, &[1]), &[6], &mut y).unwrap_err();
        assert!(error.to_string().contains("division of an integer by zero"), "{error}");
        let error = binary(op, view(&b, 0, &[1]), 0i64.into(), &[6], &mut y).unwrap_err();
        assert!(error.to_string().contains(op.name()), "{error}");
    }
    let bytes = buffer(&[200u8, 100]);
    let mut y = empty(DType::U8, 2);
    binary(BinaryOp::Add, view(&bytes, 0, &[1]), 100i64.into(), &[2], &mut y).unwrap();
    assert_eq!(y.to_vec::<u8>().unwrap(), [44, 200]);
    let mut y = empty(DType::F32, 2);
    unary(UnaryOp::Sqrt, view(&bytes, 1, &[-1]), &[2], [0.0; 2], &mut y).unwrap();
    assert_eq!(y.to_vec::<f32>().unwrap(), [10.0, 200f32.sqrt()]);
}

#[test]
fn truth_values() {
    let a = buffer(&[Bool(1), Bool(0), Bool(1), Bool(0)]);
    let b = buffer(&[Bool(1), Bool(1), Bool(0), Bool(0)]);
    for (op, wanted) in
        [(BinaryOp::Add, [1, 1, 1, 0]), (BinaryOp::Mul, [1, 0, 0, 0]), (BinaryOp::LogicalXor, [0, 1, 1, 0])]
    {
        let mut y = empty(DType::Bool, 4);
        binary(op, view(&a, 0, &[1]), view(&b, 0, &[1]), &[4], &mut y).unwrap();
        assert_eq!(y.to_vec::<Bool>().unwrap(), wanted.map(Bool));
    }
    let mut y = empty(DType::Bool, 4);
    let error = binary(BinaryOp::Sub, view(&a, 0, &[1]), view(&b, 0, &[1]), &[4], &mut y).unwrap_err();
    assert!(error.to_string().starts_with("sub: got bool"), "{error}");
    let mut y = empty(DType::BF16, 4);
    let values = buffer(&[bf16::from_f32(2.0); 4]);
    ternary(TernaryOp::Where, [view(&a, 0, &[1]), view(&values, 0, &[1]), (-1.0).into()], &[4], 0.0, &mut y).unwrap();
    assert_eq!(y.to_vec::<bf16>().unwrap(), [2.0, -1.0, 2.0, -1.0].map(bf16::from_f32));
    let mut counts = buffer(&[1i64, 2]);
    let error = binary_in_place(BinaryOp::Add, &mut counts, 0.5.into(), &[2]).unwrap_err();
    assert!(error.to_string().contains("the result is f32, which i64 cannot hold"), "{error}");
}

fn nans(y: &Buffer) -> Vec<bool> {
    y.to_vec::<f32>().unwrap().into_iter().map(f32::is_nan).collect()
}

#[test]
fn not_a_number() {
    let nan = f32::NAN;
    let (a, b) = (buffer(&[nan, 1.0, nan, -2.5f32]), buffer(&[1.0, nan, nan, 2.0f32]));
    for op in [BinaryOp::Maximum, BinaryOp::Minimum] {
        let mut y = empty(DType::F32, 4);
        binary(op, view(&a, 0, &[1]), view(&b, 0, &[1]), &[4], &mut y).unwrap();
        assert_eq!(nans(&y), [true, true, true, false]);
    }
    for op in
        [UnaryOp::Relu, UnaryOp::Clamp, UnaryOp::Tanh, UnaryOp::Gelu, UnaryOp::Exp, UnaryOp::Sigmoid, UnaryOp::Erf]
    {
        let mut y = empty(DType::F32, 4);
        unary(op, view(&a, 0, &[1]), &[4], [-1.0, 1.0], &mut y).unwrap();
        assert_eq!(nans(&y), [true, false, true, false], "{op:?}");
    }
    let mut y = empty(DType::F32, 4);
    let x = buffer(&[0.5f32, 1.5, -0.5, 2.5]);
    unary(UnaryOp::Round, view(&x, 0, &[1]), &[4], [0.0; 2], &mut y).unwrap();
    assert_eq!(y.to_vec::<f32>().unwrap(), [0.0, 2.0, 0.0, 2.0]);
    binary(BinaryOp::Rem, view(&x, 0, &[1]), (-1.0).into(), &[4], &mut y).unwrap();
    assert_eq!(y.to_vec::<f32>().unwrap(), [-0.5; 4]);
    binary(BinaryOp::FloorDiv, view(&x, 0, &[1]), (-1.0).into(), &[4], &mut y).unwrap();
    assert_eq!(y.to_vec::<f32>().unwrap(), [-1.0, -2.0, 0.0, -3.0]);
}

/// Large transposed operands take a copy on the way.
#[test]
fn transposed_operands() {
    let (rows, cols) = (260usize, 270usize);
    let x = buffer(&(0..rows * cols).map(|i| i as i32).collect::<Vec<_>>());
    let mut y = empty(DType::I32, rows * cols);
    let strides = [1, rows as isize];
    binary(BinaryOp::Add, view(&x, 0, &strides), view(&x, 0, &[0, 1]), &[rows, cols], &mut y).unwrap();
    for (i, got) in y.to_vec::<i32>().unwrap().into_iter().enumerate() {
        assert_eq!(got as usize, i / cols + i % cols * rows + i % cols);
    }
}

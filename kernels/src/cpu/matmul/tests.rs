//! The product against a triple loop in f64, over sizes, strides, dtypes and epilogues.

use crate::matmul::{Epilogue, Gelu, MatmulParams, Then, matmul};
use crate::{Buffer, Device, Stored, bf16, f16};

/// Small integers over eight, so that short sums are exact even in bf16.
fn values<S: Stored>(len: usize, seed: u64) -> Vec<S> {
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        ((state >> 33) % 17) as i64 - 8
    };
    (0..len).map(|_| if S::DTYPE.is_float() { S::from_f64(next() as f64 / 8.0) } else { S::from_i64(next()) }).collect()
}

struct Operand {
    len: usize,
    offset: usize,
    strides: [i64; 2],
    batch_stride: i64,
}

/// `rows * cols` matrices in layouts that views make: row-major, transposed, stepped, reversed, expanded, broadcast.
fn layouts(batch: usize, rows: usize, cols: usize) -> Vec<Operand> {
    let (r, c) = (rows as i64, cols as i64);
    let whole = batch * rows * cols;
    vec![
        Operand { len: whole, offset: 0, strides: [c, 1], batch_stride: r * c },
        Operand { len: whole, offset: 0, strides: [1, r], batch_stride: r * c },
        Operand { len: 2 * whole + 3, offset: 3, strides: [2 * c, 2], batch_stride: 2 * r * c },
        Operand { len: whole, offset: whole.saturating_sub(1), strides: [-c, -1], batch_stride: -r * c },
        Operand { len: whole + 1, offset: 1, strides: [0, 1], batch_stride: c },
        Operand { len: rows * cols, offset: 0, strides: [c, 1], batch_stride: 0 },
    ]
}

fn check<S: Stored>(batch: usize, m: usize, n: usize, k: usize, tolerance: f64, epilogue: (f64, f64, bool)) {
    let (alpha, beta, with_bias) = epilogue;
    for a_layout in layouts(batch, m, k) {
        for b_layout in layouts(batch, k, n) {
            let (a, b) = (values::<S>(a_layout.len, 1), values::<S>(b_layout.len, 2));
            let (old, bias) = (values::<S>(batch * m * n, 3), values::<S>(n, 4));
            let at = |operand: &Operand, item: usize, row: usize, col: usize| {
                let step = item as i64 * operand.batch_stride;
                (operand.offset as i64 + step + row as i64 * operand.strides[0] + col as i64 * operand.strides[1])
                    as usize
            };
            let mut params = MatmulParams::new(m, n, k);
            (params.a_strides, params.b_strides) = (a_layout.strides, b_layout.strides);
            (params.alpha, params.beta) = (alpha, beta);
            let params = params.with_batch(&[(batch, a_layout.batch_stride, b_layout.batch_stride)]).unwrap();
            let buffer = |values: &[S]| Buffer::from_slice(&Device::Cpu, values).unwrap();
            let (a_buffer, b_buffer, bias_buffer, mut c) = (buffer(&a), buffer(&b), buffer(&bias), buffer(&old));
            let epilogue = Epilogue { bias: with_bias.then_some((&bias_buffer, 0)), then: Then::Store };
            matmul((&a_buffer, a_layout.offset), (&b_buffer, b_layout.offset), epilogue, &mut c, &params).unwrap();
            for (index, got) in c.to_vec::<S>().unwrap().into_iter().enumerate() {
                let (item, row, col) = (index / (m * n), index / n % m, index % n);
                let sum: f64 = (0..k)
                    .map(|l| a[at(&a_layout, item, row, l)].to_f64() * b[at(&b_layout, item, l, col)].to_f64())
                    .sum();
                let bias = if with_bias { bias[col].to_f64() } else { 0.0 };
                let expected = alpha * sum + beta * old[index].to_f64() + bias;
                let got = got.to_f64();
                assert!((got - expected).abs() <= tolerance * (1.0 + expected.abs()), "{got} is not {expected}");
            }
        }
    }
}

#[test]
fn agrees_with_a_triple_loop() {
    // Inputs are eighths, so f32 and f64 sums are exact; f16 and bf16 round once, by at most half their epsilon.
    for [batch, m, n, k] in
        [[1, 1, 1, 1], [1, 5, 7, 3], [2, 31, 33, 17], [3, 1, 40, 9], [2, 40, 1, 9], [1, 65, 17, 64], [1, 100, 90, 80]]
    {
        check::<f32>(batch, m, n, k, 0.0, (1.0, 0.0, false));
        check::<f64>(batch, m, n, k, 0.0, (1.0, 0.0, false));
        check::<f16>(batch, m, n, k, 4.9e-4, (1.0, 0.0, false));
        check::<bf16>(batch, m, n, k, 4e-3, (1.0, 0.0, false));
        check::<i64>(batch, m, n, k, 0.0, (1.0, 0.0, false));
        check::<i32>(batch, m, n, k, 0.0, (1.0, 0.0, false));
    }
}

#[test]
fn scales_accumulates_and_adds_a_bias() {
    for epilogue in [(0.5, 2.0, false), (2.0, 0.0, true), (1.0, 1.0, true), (0.0, 0.5, true)] {
        check::<f32>(2, 9, 20, 5, 0.0, epilogue);
        check::<f64>(2, 9, 20, 5, 0.0, epilogue);
        check::<bf16>(2, 9, 20, 5, 4e-3, epilogue);
    }
    check::<i64>(2, 9, 20, 5, 0.0, (3.0, 2.0, true));
}

/// C of a product of this case with an epilogue, and the value before its GELU.
fn finish<S: Stored>(params: &MatmulParams, last: Option<(Gelu, bool)>, adds: bool) -> [Vec<S>; 2] {
    let (m, n, k) = (params.m as usize, params.n as usize, params.k as usize);
    let len = params.batch() * m * n;
    let buffer = |len: usize, seed: u64| Buffer::from_slice(&Device::Cpu, &values::<S>(len, seed)).unwrap();
    let (a, b, bias, residual) =
        (buffer(params.batch() * m * k, 1), buffer(n * k, 2), buffer(n, 4), buffer(len + 3, 5));
    let (mut c, mut pre) = (buffer(len, 3), buffer(len, 3));
    let then = match last {
        Some((form, keeps_pre)) => Then::Gelu { form, pre: keeps_pre.then_some(&mut pre) },
        None if adds => Then::Add { residual: (&residual, 3) },
        None => Then::Store,
    };
    matmul((&a, 0), (&b, 0), Epilogue { bias: Some((&bias, 0)), then }, &mut c, params).unwrap();
    [c.to_vec().unwrap(), pre.to_vec().unwrap()]
}

fn check_what_follows<S: Stored>(batch: usize, [m, n, k]: [usize; 3], beta: f64, epsilon: f64) {
    let mut params = MatmulParams { beta, ..MatmulParams::new(m, n, k) };
    // Columns of A lie closest, so that the batch cannot be one taller matrix.
    params.a_strides = [1, m as i64];
    let params = params.with_batch(&[(batch, (m * k) as i64, 0)]).unwrap();
    let [plain, _] = finish::<S>(&params, None, false);
    let residual = &values::<S>(plain.len() + 3, 5)[3..];
    let [sum, _] = finish::<S>(&params, None, true);
    for ((plain, residual), sum) in plain.iter().zip(residual).zip(&sum) {
        let expected = plain.to_f64() + residual.to_f64();
        assert!((sum.to_f64() - expected).abs() <= epsilon * expected.abs().max(1.0), "{sum:?} is not {expected}");
    }
    if !S::DTYPE.is_float() {
        return;
    }
    for form in [Gelu::Exact, Gelu::Tanh] {
        let [with, pre] = finish::<S>(&params, Some((form, true)), false);
        let [without, _] = finish::<S>(&params, Some((form, false)), false);
        assert!(pre == plain && with == without);
        for (x, y) in plain.iter().zip(&with) {
            let x = x.to_f64();
            let inner = match form {
                Gelu::Exact => crate::cpu::real::erf(x / 2f64.sqrt()),
                Gelu::Tanh => ((2.0 / std::f64::consts::PI).sqrt() * (x + 0.044715 * x.powi(3))).tanh(),
            };
            let expected = x / 2.0 * (1.0 + inner);
            assert!((y.to_f64() - expected).abs() <= 4.0 * epsilon * x.abs().max(1.0), "{y:?} is not {expected}");
        }
    }
}

#[test]
fn a_gelu_or_a_residual_follows() {
    // One product, many small ones, one of several threads, a matrix with a vector, panels of f16, nothing to sum.
    for (batch, sizes) in
        [(1, [5, 7, 3]), (9, [40, 33, 20]), (2, [170, 160, 170]), (1, [1, 700, 600]), (1, [300, 40, 9]), (2, [3, 4, 0])]
    {
        for beta in [0.0, 2.0] {
            check_what_follows::<f32>(batch, sizes, beta, f64::from(f32::EPSILON));
            check_what_follows::<f64>(batch, sizes, beta, f64::EPSILON);
            check_what_follows::<f16>(batch, sizes, beta, 2f64.powi(-10));
            check_what_follows::<bf16>(batch, sizes, beta, 2f64.powi(-7));
            check_what_follows::<i32>(batch, sizes, beta, 0.0);
        }
    }
}

#[test]
fn an_epilogue_that_does_not_fit_is_an_error() {
    let x = Buffer::from_slice(&Device::Cpu, &[1.0f32; 6]).unwrap();
    let [mut c, mut short] = [6, 5].map(|len| Buffer::allocate(&Device::Cpu, crate::DType::F32, len).unwrap());
    let params = MatmulParams::new(2, 3, 2);
    let message = |then, c: &mut Buffer| {
        let operands = ((&x, 0), (&x, 0));
        matmul(operands.0, operands.1, Epilogue { bias: None, then }, c, &params).unwrap_err().to_string()
    };
    let error = message(Then::Gelu { form: Gelu::Exact, pre: Some(&mut short) }, &mut c);
    assert!(error.contains("the value before the GELU has 5 elements, expected 6, as C"), "{error}");
    let error = message(Then::Add { residual: (&x, 1) }, &mut c);
    assert!(error.contains("the residual has 5 elements, expected 6, as C"), "{error}");
    let mut integers = Buffer::from_slice(&Device::Cpu, &[0i64; 6]).unwrap();
    let error = message(Then::Gelu { form: Gelu::Exact, pre: None }, &mut integers);
    assert!(error.contains("the GELU of i64 is not defined"), "{error}");
}

#[test]
fn sums_over_nothing_are_zero_and_results_of_no_elements_are_fine() {
    for [batch, m, n, k] in [[2, 3, 4, 0], [2, 0, 4, 3], [2, 3, 0, 4], [0, 3, 4, 5], [1, 0, 0, 0]] {
        let params = MatmulParams::new(m, n, k).with_batch(&[(batch, (m * k) as i64, (k * n) as i64)]).unwrap();
        let device = Device::Cpu;
        let a = Buffer::from_slice(&device, &vec![1.0f32; batch * m * k]).unwrap();
        let b = Buffer::from_slice(&device, &vec![1.0f32; batch * k * n]).unwrap();
        let mut c = Buffer::from_slice(&device, &vec![f32::NAN; batch * m * n]).unwrap();
        matmul((&a, 0), (&b, 0), Epilogue::default(), &mut c, &params).unwrap();
        assert!(c.to_vec::<f32>().unwrap().iter().all(|value| *value == k as f32));
    }
}

#[test]
fn many_products_and_large_ones_have_the_bits_of_one_thread() {
    let run = |threads: usize, m: usize, n: usize, k: usize, batch: usize, b_strides: [i64; 2]| {
        let noise = |len: usize| values::<f32>(len, 5).iter().map(|x| x * 1.1).collect::<Vec<_>>();
        let a = Buffer::from_slice(&Device::Cpu, &noise(batch * m * k)).unwrap();
        let b = Buffer::from_slice(&Device::Cpu, &noise(batch * n * k)).unwrap();
        let mut c = Buffer::allocate(&Device::Cpu, crate::DType::F32, batch * m * n).unwrap();
        let mut params = MatmulParams::new(m, n, k);
        params.b_strides = b_strides;
        let params = params.with_batch(&[(batch, (m * k) as i64, (n * k) as i64)]).unwrap();
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| matmul((&a, 0), (&b, 0), Epilogue::default(), &mut c, &params)).unwrap();
        c.to_vec::<f32>().unwrap().into_iter().map(f32::to_bits).collect::<Vec<_>>()
    };
    for [m, n, k, batch] in
        [[200, 150, 160, 1], [1, 700, 700, 1], [700, 1, 700, 1], [40, 40, 40, 30], [170, 160, 170, 3]]
    {
        for b_strides in [[n as i64, 1], [1, k as i64]] {
            let expected = run(1, m, n, k, batch, b_strides);
            assert!(run(2, m, n, k, batch, b_strides) == expected, "{m} {n} {k} {batch}");
            assert!(run(5, m, n, k, batch, b_strides) == expected, "{m} {n} {k} {batch}");
        }
    }
}

#[test]
fn strides_that_leave_the_buffer_are_an_error() {
    let x = Buffer::from_slice(&Device::Cpu, &[1.0f32; 5]).unwrap();
    let mut c = Buffer::allocate(&Device::Cpu, crate::DType::F32, 4).unwrap();
    assert!(matmul((&x, 0), (&x, 2), Epilogue::default(), &mut c, &MatmulParams::new(2, 2, 2)).is_err());
}

//! Matrix products on wgpu: every tile and its edges, layouts that views make, epilogues, divided k, all dtypes.
//!
//! Inputs are small integers over eight, so that every product and sum is exact in f32: results are equal to the host's
//! bit for bit, and a term that is lost, doubled or rounded too early shows.

use chainrule_kernels::matmul::{Epilogue, Gelu, MatmulParams, Then, matmul};
use chainrule_kernels::{Buffer, DType, Device, Stored, Stream, bf16, f16};

use crate::device;

fn values<S: Stored>(len: usize, seed: u64) -> Vec<S> {
    let stream = Stream { seed, number: 0 };
    let number = |at: usize| i64::from(stream.word(at as u64) % 17) - 8;
    let value = |n: i64| if S::DTYPE.is_float() { S::from_f64(n as f64 / 8.0) } else { S::from_i64(n) };
    (0..len).map(|at| value(number(at))).collect()
}

/// Where the elements of an operand are: `len` of them, from `offset` on.
#[derive(Clone, Copy)]
struct Operand {
    len: usize,
    offset: usize,
    strides: [i64; 2],
    batch_stride: i64,
}

/// `rows * cols` matrices: row-major, transposed, with padded rows, shifted by one, stepped, reversed, expanded, shared.
fn layouts(batch: usize, rows: usize, cols: usize) -> [Operand; 8] {
    let (r, c) = (rows as i64, cols as i64);
    let whole = batch * rows * cols;
    let new = |len, offset, strides, batch_stride| Operand { len, offset, strides, batch_stride };
    [
        new(whole, 0, [c, 1], r * c),
        new(whole, 0, [1, r], r * c),
        new(batch * rows * (cols + 5) + 8, 8, [c + 5, 1], r * (c + 5)),
        new(whole + 1, 1, [c, 1], r * c),
        new(2 * whole + 3, 3, [2 * c, 2], 2 * r * c),
        new(whole, whole.saturating_sub(1), [-c, -1], -r * c),
        new(batch * cols + 1, 1, [0, 1], c),
        new(rows * cols, 0, [c, 1], 0),
    ]
}

/// What follows a product; a residual starts at this element of its buffer.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Last {
    Store,
    Gelu { form: Gelu, keeps_pre: bool },
    Add { offset: usize },
}

struct Case<S> {
    a: (Vec<S>, usize),
    b: (Vec<S>, usize),
    bias: Option<Vec<S>>,
    c: Vec<S>,
    last: Last,
    params: MatmulParams,
}

impl<S: Stored> Case<S> {
    fn new(batch: usize, [m, n, k]: [usize; 3], a: Operand, b: Operand) -> Self {
        let mut params = MatmulParams::new(m, n, k);
        (params.a_strides, params.b_strides) = (a.strides, b.strides);
        let params = params.with_batch(&[(batch, a.batch_stride, b.batch_stride)]).unwrap();
        let [a, b] = [(values(a.len, 1), a.offset), (values(b.len, 2), b.offset)];
        Case { a, b, bias: None, c: values(batch * m * n, 3), last: Last::Store, params }
    }

    fn dense(sizes: [usize; 3]) -> Self {
        let [m, n, k] = sizes;
        Case::new(1, sizes, layouts(1, m, k)[0], layouts(1, k, n)[0])
    }

    /// C, and what the value before a GELU is written to.
    fn on(&self, device: &Device) -> [Vec<S>; 2] {
        let buffer = |values: &[S]| Buffer::from_slice(device, values).unwrap();
        let (a, b, mut c, mut pre) = (buffer(&self.a.0), buffer(&self.b.0), buffer(&self.c), buffer(&self.c));
        let (bias, residual) = (self.bias.as_deref().map(buffer), buffer(&values(self.c.len() + 8, 6)));
        let then = match self.last {
            Last::Store => Then::Store,
            Last::Gelu { form, keeps_pre } => Then::Gelu { form, pre: keeps_pre.then_some(&mut pre) },
            Last::Add { offset } => Then::Add { residual: (&residual, offset) },
        };
        let epilogue = Epilogue { bias: bias.as_ref().map(|bias| (bias, 0)), then };
        matmul((&a, self.a.1), (&b, self.b.1), epilogue, &mut c, &self.params).unwrap();
        [c.to_vec().unwrap(), pre.to_vec().unwrap()]
    }

    /// Results are the host's bits, but for the two sides' erf and tanh: a few units of the last place, and then perhaps
    /// another rounding.
    #[track_caller]
    fn check(&self) {
        let epsilon = match S::DTYPE {
            DType::F16 => 2f64.powi(-10),
            DType::BF16 => 2f64.powi(-7),
            _ => f64::from(f32::EPSILON),
        };
        let units = if matches!(self.last, Last::Gelu { .. }) { 8.0 } else { 0.0 };
        let (expected, got) = (self.on(&Device::Cpu), self.on(&device()));
        for (output, (expected, got)) in expected.iter().zip(&got).enumerate() {
            for (index, (expected, got)) in expected.iter().zip(got).enumerate() {
                let (expected, got) = (expected.to_f64(), got.to_f64());
                let tolerance = if output == 0 { units * epsilon * expected.abs().max(1.0) } else { 0.0 };
                let is_same = expected == got || expected.is_nan() && got.is_nan();
                let is_close = is_same || (expected - got).abs() <= tolerance;
                let what = (S::DTYPE, output, self.last, self.params);
                assert!(is_close, "{got:?} at {index}, not {expected:?}; {what:?}");
            }
        }
    }
}

fn check_layouts<S: Stored>(batch: usize, sizes: [usize; 3], pairs: &[[usize; 2]]) {
    let [m, n, k] = sizes;
    for &[a, b] in pairs {
        Case::<S>::new(batch, sizes, layouts(batch, m, k)[a], layouts(batch, k, n)[b]).check();
    }
}

fn check_epilogues<S: Stored>(sizes: [usize; 3]) {
    for (alpha, beta, bias_stride) in
        [(0.5, 2.0, None), (2.0, 0.0, Some(1)), (1.0, 1.0, Some(2)), (0.0, 0.5, Some(0)), (3.0, -1.0, None)]
    {
        let mut case = Case::<S>::dense(sizes);
        (case.params.alpha, case.params.beta) = (alpha, beta);
        case.params.bias_stride = bias_stride.unwrap_or(1);
        case.bias = bias_stride.map(|_| values(2 * sizes[1], 4));
        case.check();
    }
}

/// Neighbours along k lie closest in both, in neither, and in one of them.
const FAST: [[usize; 2]; 4] = [[0, 1], [1, 0], [0, 0], [1, 1]];

#[test]
fn small_products_in_every_layout() {
    let pairs: Vec<[usize; 2]> = (0..8).flat_map(|a| (0..8).map(move |b| [a, b])).collect();
    check_layouts::<f32>(2, [31, 33, 17], &pairs);
    for (batch, sizes) in [(1, [1, 1, 1]), (1, [9, 11, 3]), (2, [32, 36, 24])] {
        check_layouts::<f32>(batch, sizes, &FAST);
    }
}

/// Tiles of 64 and 128 are taken from 64 of them on: there are 8 x 9 here, of which the last ones are cut.
#[test]
fn every_tile_and_its_edges() {
    for sizes in [[500, 570, 37], [1000, 1100, 19]] {
        check_layouts::<f32>(1, sizes, &FAST);
        check_layouts::<bf16>(1, sizes, &FAST[..1]);
    }
    check_layouts::<f16>(1, [512, 578, 32], &FAST[2..]);
    check_layouts::<i32>(9, [150, 190, 20], &[[2, 3], [4, 5]]);
}

#[test]
fn a_few_vectors_read_the_matrix_once() {
    // From one to eight rows or columns; a matrix that ends within a workgroup's share; long k.
    for sizes in [[1, 300, 70], [300, 1, 70], [3, 40, 1300], [40, 3, 1300], [8, 37, 64], [37, 7, 64], [1, 1, 5000]] {
        check_layouts::<f32>(1, sizes, &[[0, 0], [1, 1], [2, 2], [4, 5]]);
        check_layouts::<bf16>(1, sizes, &[[2, 2], [0, 1]]);
    }
    check_layouts::<i32>(2, [40, 5, 33], &[[0, 0], [1, 2]]);
    check_epilogues::<f32>([3, 40, 1300]);
    check_epilogues::<f16>([40, 2, 30]);
    check_epilogues::<u8>([40, 2, 30]);
}

#[test]
fn every_dtype() {
    let pairs = [[0, 0], [1, 1], [2, 2], [4, 5], [7, 6]];
    for n in [33, 34, 36] {
        check_layouts::<f16>(2, [31, n, 17], &pairs);
        check_layouts::<bf16>(2, [31, n, 17], &pairs);
        check_layouts::<u8>(2, [9, n, 17], &pairs[..2]);
    }
    check_layouts::<i32>(2, [9, 10, 17], &pairs);
    check_layouts::<u32>(2, [9, 10, 17], &pairs[..2]);
    let device = device();
    let x = Buffer::from_bytes(&device, DType::Bool, &[1; 4]).unwrap();
    let mut c = Buffer::allocate(&device, DType::Bool, 4).unwrap();
    assert!(matmul((&x, 0), (&x, 0), Epilogue::default(), &mut c, &MatmulParams::new(2, 2, 2)).is_err());
}

#[test]
fn integers_wrap() {
    let mut case = Case::<i32>::dense([9, 9, 5]);
    case.a.0.fill(i32::MAX - 6);
    (case.params.alpha, case.params.beta) = (-3.0, 5.0);
    case.check();
    let mut case = Case::<u32>::dense([9, 9, 5]);
    case.a.0.fill(u32::MAX / 3);
    case.check();
}

#[test]
fn scales_accumulates_and_adds_a_bias() {
    for sizes in [[9, 20, 5], [9, 21, 5], [20, 30, 1100]] {
        check_epilogues::<f32>(sizes);
        check_epilogues::<bf16>(sizes);
        check_epilogues::<i32>(sizes);
    }
}

#[test]
fn ends_in_a_gelu_or_a_residual() {
    let lasts = [
        Last::Gelu { form: Gelu::Exact, keeps_pre: false },
        Last::Gelu { form: Gelu::Tanh, keeps_pre: true },
        Last::Add { offset: 0 },
        Last::Add { offset: 3 },
    ];
    // In tiles, with rows that share words, as vectors, and with a divided k.
    for sizes in [[20, 36, 40], [20, 33, 40], [3, 40, 70], [20, 30, 1100]] {
        for last in lasts {
            check_last::<f32>(sizes, last);
            check_last::<f16>(sizes, last);
            check_last::<bf16>(sizes, last);
        }
        check_last::<i32>(sizes, Last::Add { offset: 1 });
    }
}

fn check_last<S: Stored>(sizes: [usize; 3], last: Last) {
    let mut case = Case::<S>::dense(sizes);
    (case.last, case.bias, case.params.alpha) = (last, Some(values(sizes[1], 4)), 0.5);
    case.check();
    (case.bias, case.params.beta) = (None, 2.0);
    case.check();
}

#[test]
fn a_long_k_is_divided_and_summed_in_order() {
    for sizes in [[20, 30, 1100], [9, 33, 4100], [40, 33, 800]] {
        check_layouts::<f32>(1, sizes, &FAST[..2]);
        check_layouts::<f16>(1, sizes, &FAST[2..3]);
        check_layouts::<i32>(1, sizes, &FAST[3..]);
    }
}

#[test]
fn several_batch_dims_with_broadcasting() {
    let (m, n, k) = (9, 10, 5);
    let [a, b] = [(m * k) as i64, (k * n) as i64];
    let dims = [(2, 3 * a, 0), (3, 0, b), (2, a, 3 * b), (1, 9, 9), (2, 0, 6 * b)];
    let params = MatmulParams::new(m, n, k).with_batch(&dims).unwrap();
    let c = values(params.batch() * m * n, 3);
    let [a, b] = [(values(7 * m * k, 1), 0), (values(15 * k * n, 2), 0)];
    Case::<f32> { a, b, bias: Some(values(n, 5)), c, last: Last::Store, params }.check();
}

#[test]
fn sums_over_nothing_are_zero_and_results_of_no_elements_are_fine() {
    for (batch, sizes) in [(2, [9, 12, 0]), (2, [3, 4, 0]), (2, [0, 4, 3]), (2, [3, 0, 4]), (0, [3, 4, 5])] {
        check_layouts::<f32>(batch, sizes, &[[0, 0]]);
        check_layouts::<bf16>(batch, sizes, &[[0, 0]]);
    }
}

#[test]
fn what_is_not_a_number_goes_where_it_belongs() {
    for sizes in [[10, 12, 20], [16, 24, 600], [2, 24, 30]] {
        // What C held is not read where beta is 0.
        let mut case = Case::<f32>::dense(sizes);
        case.c.fill(f32::NAN);
        case.check();
        // One NaN and one infinity reach their row and their column, and nothing else.
        case.a.0[sizes[2] + 4] = f32::NAN;
        case.b.0[5 * sizes[1] + 7] = f32::INFINITY;
        case.check();
        // A product that is scaled by 0 is not looked at.
        case.params.alpha = 0.0;
        case.check();
        assert!(case.on(&device())[0].iter().all(|value| *value == 0.0));
    }
}

#[test]
fn bits_do_not_depend_on_the_run() {
    let mut case = Case::<f32>::dense([40, 33, 3000]);
    case.a.0.iter_mut().enumerate().for_each(|(at, value)| *value += 1.0 / (at + 3) as f32);
    let first = case.on(&device());
    assert_eq!(first, case.on(&device()));
}

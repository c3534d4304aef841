//! Matrix products: sizes around the tiles' edges, layouts that views make, epilogues, divided k, all dtypes.
//!
//! Inputs are small integers over eight, so that every product and sum is exact in f32: results are equal to the
//! host's bit for bit, and a term that is lost, doubled or rounded too early shows.

use chainrule_kernels::matmul::{Epilogue, Gelu, MatmulParams, Then, matmul};
use chainrule_kernels::{Buffer, DType, Device, Stored, bf16, f16};

use crate::{assert_close, device};

pub(crate) fn values<S: Stored>(len: usize, seed: u64) -> Vec<S> {
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        ((state >> 33) % 17) as i64 - 8
    };
    (0..len).map(|_| if S::DTYPE.is_float() { S::from_f64(next() as f64 / 8.0) } else { S::from_i64(next()) }).collect()
}

#[derive(Clone, Copy)]
pub(crate) struct Operand {
    len: usize,
    offset: usize,
    strides: [i64; 2],
    batch_stride: i64,
}

/// `rows * cols` matrices: row-major, transposed, with padded rows, shifted by one, stepped, reversed, expanded, shared,
/// transposed with padded rows. The third and the last have their rows aligned to 16 bytes in f16.
pub(crate) fn layouts(batch: usize, rows: usize, cols: usize) -> [Operand; 9] {
    let (r, c) = (rows as i64, cols as i64);
    let whole = batch * rows * cols;
    let [padded, padded_rows] = [cols, rows].map(|len| len.next_multiple_of(8) + 8);
    let new = |len, offset, strides, batch_stride| Operand { len, offset, strides, batch_stride };
    [
        new(whole, 0, [c, 1], r * c),
        new(whole, 0, [1, r], r * c),
        new(batch * rows * padded + 8, 8, [padded as i64, 1], (rows * padded) as i64),
        new(whole + 1, 1, [c, 1], r * c),
        new(2 * whole + 3, 3, [2 * c, 2], 2 * r * c),
        new(whole, whole.saturating_sub(1), [-c, -1], -r * c),
        new(batch * cols + 1, 1, [0, 1], c),
        new(rows * cols, 0, [c, 1], 0),
        new(batch * cols * padded_rows + 8, 8, [1, padded_rows as i64], (cols * padded_rows) as i64),
    ]
}

/// What follows a product; a residual starts at this element of its buffer.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) enum Last {
    Store,
    Gelu { form: Gelu, keeps_pre: bool },
    Add { offset: usize },
}

/// What a product is made of, on any device.
pub(crate) struct Case<S> {
    pub(crate) a: (Vec<S>, usize),
    pub(crate) b: (Vec<S>, usize),
    pub(crate) bias: Option<Vec<S>>,
    pub(crate) c: Vec<S>,
    pub(crate) last: Last,
    pub(crate) params: MatmulParams,
}

impl<S: Stored> Case<S> {
    pub(crate) fn new(batch: usize, [m, n, k]: [usize; 3], a: Operand, b: Operand) -> Self {
        let mut params = MatmulParams::new(m, n, k);
        (params.a_strides, params.b_strides) = (a.strides, b.strides);
        let params = params.with_batch(&[(batch, a.batch_stride, b.batch_stride)]).unwrap();
        Case {
            a: (values(a.len, 1), a.offset),
            b: (values(b.len, 2), b.offset),
            bias: None,
            c: values(batch * m * n, 3),
            last: Last::Store,
            params,
        }
    }

    pub(crate) fn dense(sizes: [usize; 3]) -> Self {
        let [m, n, k] = sizes;
        Case::new(1, sizes, layouts(1, m, k)[0], layouts(1, k, n)[0])
    }

    /// C, and what the value before a GELU is written to.
    pub(crate) fn on(&self, device: &Device) -> [Vec<S>; 2] {
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

    #[track_caller]
    pub(crate) fn check(&self) {
        let ([expected, expected_pre], [got, got_pre]) = (self.on(&Device::Cpu), self.on(&device()));
        // The two sides' erf and tanh differ by a few units of the last place, and then perhaps in how they are rounded.
        let units = if matches!(self.last, Last::Gelu { .. }) { 8.0 } else { 0.0 };
        for (index, (expected, got)) in expected.iter().zip(&got).enumerate() {
            let (expected, got) = (expected.to_f64(), got.to_f64());
            let tolerance = units * epsilon(S::DTYPE) * expected.abs().max(1.0);
            assert_close(got, expected, tolerance, || {
                format!("{} at {index}, {:?}, {:?}", S::DTYPE, self.last, self.params)
            });
        }
        for (index, (expected, got)) in expected_pre.iter().zip(&got_pre).enumerate() {
            let what = || format!("{} before the GELU at {index}, {:?}", S::DTYPE, self.params);
            assert_close(got.to_f64(), expected.to_f64(), 0.0, what);
        }
    }
}

fn epsilon(dtype: DType) -> f64 {
    match dtype {
        DType::F16 => 2f64.powi(-10),
        DType::BF16 => 2f64.powi(-7),
        DType::F64 => f64::EPSILON,
        _ => f64::from(f32::EPSILON),
    }
}

fn check_layouts<S: Stored>(batch: usize, sizes: [usize; 3], pairs: &[[usize; 2]]) {
    let [m, n, k] = sizes;
    for &[a, b] in pairs {
        Case::<S>::new(batch, sizes, layouts(batch, m, k)[a], layouts(batch, k, n)[b]).check();
    }
}

fn all_pairs() -> Vec<[usize; 2]> {
    (0..8).flat_map(|a| (0..8).map(move |b| [a, b])).collect()
}

/// Both ways that either operand can lie for tensor cores.
pub(crate) const ALIGNED: [[usize; 2]; 4] = [[2, 2], [2, 8], [8, 2], [8, 8]];

/// True where a file of kernels has been used, or cannot be on this device.
fn uses(unit: &str) -> bool {
    let Device::Cuda(device) = device() else { return false };
    unit == "matmul_tensor" && device.architecture().number < 80
        || device.units().iter().any(|known| known.name == unit)
}

#[test]
fn tensor_cores_in_every_layout() {
    // One mma wide and deep, tiles of 64 and 128 with cut edges, more than one step of k and more than all stages.
    for (batch, sizes) in [(1, [16, 16, 16]), (2, [70, 100, 40]), (1, [130, 70, 50]), (1, [33, 9, 200])] {
        check_layouts::<bf16>(batch, sizes, &ALIGNED);
    }
    check_layouts::<f16>(1, [130, 70, 50], &ALIGNED[1..3]);
    check_layouts::<f16>(3, [20, 24, 72], &[[0, 0], [7, 0], [0, 7], [3, 0]]);
    assert!(uses("matmul_tensor"));
}

#[test]
fn tensor_cores_with_epilogues_and_a_divided_k() {
    for sizes in [[24, 40, 16], [24, 33, 1096]] {
        check_epilogues::<bf16>(sizes);
        check_epilogues::<f16>(sizes);
    }
    check_layouts::<bf16>(1, [20, 30, 1100], &ALIGNED);
    let mut case = Case::<bf16>::dense([24, 40, 1096]);
    case.a.0[3 * 1096 + 700] = bf16::NAN;
    case.b.0[900 * 40 + 7] = bf16::INFINITY;
    case.c.fill(bf16::NAN);
    case.check();
}

#[test]
fn a_few_vectors_read_the_matrix_once() {
    // From one to eight rows or columns; a matrix that ends within a warp's or a block's share; long k.
    for sizes in [[1, 300, 70], [300, 1, 70], [3, 40, 1300], [40, 3, 1300], [8, 37, 64], [37, 7, 64], [1, 1, 5000]] {
        check_layouts::<f32>(1, sizes, &[[0, 0], [1, 1], [2, 2], [8, 8], [4, 5]]);
        check_layouts::<bf16>(1, sizes, &[[2, 2], [8, 8], [0, 1]]);
    }
    check_layouts::<f64>(2, [5, 40, 33], &[[0, 0], [8, 8], [2, 8]]);
    check_layouts::<i64>(2, [40, 5, 33], &[[0, 0], [8, 8], [2, 8]]);
    check_epilogues::<f32>([3, 40, 1300]);
    check_epilogues::<f32>([40, 2, 30]);
    check_epilogues::<u8>([40, 2, 30]);
    assert!(uses("matmul_vector"));
}

#[test]
fn small_products_in_every_layout() {
    for (batch, sizes) in [(1, [1, 1, 1]), (1, [5, 7, 3]), (2, [31, 33, 17]), (2, [32, 36, 20])] {
        check_layouts::<f32>(batch, sizes, &all_pairs());
    }
    for sizes in [[1, 40, 9], [40, 1, 9], [9, 3, 40]] {
        check_layouts::<f32>(3, sizes, &[[0, 0], [1, 1], [7, 2], [2, 7]]);
    }
}

#[test]
fn every_tile_and_its_edges() {
    // Of these the second and third dim of 64 and 128 wide tiles are cut, and k ends within a step.
    for sizes in [[65, 66, 30], [64, 128, 32], [130, 70, 50], [129, 260, 9]] {
        check_layouts::<f32>(1, sizes, &[[0, 0], [1, 1], [2, 2], [4, 5]]);
    }
    check_layouts::<f64>(1, [65, 66, 30], &[[0, 0], [1, 1], [0, 1]]);
    // Nine rows of tiles: more than one group of them.
    check_layouts::<f32>(1, [290, 40, 5], &[[0, 0]]);
}

#[test]
fn every_dtype() {
    let pairs = [[0, 0], [1, 1], [2, 2], [4, 5], [7, 6]];
    check_layouts::<f64>(2, [31, 33, 17], &pairs);
    check_layouts::<f16>(2, [31, 33, 17], &pairs);
    check_layouts::<bf16>(2, [31, 33, 17], &pairs);
    check_layouts::<i64>(2, [31, 33, 17], &pairs);
    check_layouts::<i32>(2, [9, 10, 17], &pairs[..2]);
    check_layouts::<u32>(2, [9, 10, 17], &pairs[..2]);
    check_layouts::<u8>(2, [9, 10, 17], &pairs[..2]);
    let device = device();
    let x = Buffer::from_bytes(&device, DType::Bool, &[1; 4]).unwrap();
    let mut c = Buffer::allocate(&device, DType::Bool, 4).unwrap();
    assert!(matmul((&x, 0), (&x, 0), Epilogue::default(), &mut c, &MatmulParams::new(2, 2, 2)).is_err());
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

#[test]
fn scales_accumulates_and_adds_a_bias() {
    for sizes in [[9, 20, 5], [9, 21, 5], [20, 30, 1100]] {
        check_epilogues::<f32>(sizes);
        check_epilogues::<bf16>(sizes);
        check_epilogues::<i64>(sizes);
    }
}

#[test]
fn a_long_k_is_divided_and_summed_in_order() {
    for sizes in [[20, 30, 1100], [3, 5, 513], [40, 33, 800]] {
        check_layouts::<f32>(1, sizes, &[[0, 0], [1, 1]]);
        check_layouts::<f64>(1, sizes, &[[0, 1]]);
        check_layouts::<i64>(1, sizes, &[[0, 1]]);
    }
}

#[test]
fn several_batch_dims_with_broadcasting() {
    let (m, n, k) = (6, 7, 5);
    let [a, b] = [(m * k) as i64, (k * n) as i64];
    let dims = [(2, 3 * a, 0), (3, 0, b), (2, a, 3 * b), (1, 9, 9), (2, 0, 6 * b)];
    let params = MatmulParams::new(m, n, k).with_batch(&dims).unwrap();
    let batch = params.batch();
    let case = Case::<f32> {
        a: (values(7 * m * k, 1), 0),
        b: (values(15 * k * n, 2), 0),
        bias: Some(values(n, 5)),
        c: values(batch * m * n, 3),
        last: Last::Store,
        params,
    };
    case.check();
}

#[test]
fn sums_over_nothing_are_zero_and_results_of_no_elements_are_fine() {
    for (batch, sizes) in [(2, [3, 4, 0]), (2, [0, 4, 3]), (2, [3, 0, 4]), (0, [3, 4, 5]), (1, [0, 0, 0])] {
        check_layouts::<f32>(batch, sizes, &[[0, 0]]);
        check_layouts::<bf16>(batch, sizes, &[[0, 0]]);
    }
}

#[test]
fn what_is_not_a_number_goes_where_it_belongs() {
    for sizes in [[10, 12, 20], [16, 24, 600]] {
        // What C held is not read where beta is 0.
        let mut case = Case::<f32>::dense(sizes);
        case.c.fill(f32::NAN);
        case.check();
        // One NaN and one infinity reach their row and their column, and nothing else.
        case.a.0[3 * sizes[2] + 4] = f32::NAN;
        case.b.0[5 * sizes[1] + 7] = f32::INFINITY;
        case.check();
        // A product that is scaled by 0 is not looked at.
        case.params.alpha = 0.0;
        case.check();
        assert!(case.on(&device())[0].iter().all(|value| *value == 0.0));
    }
}

//! The row kernels. Tolerances are units of the dtype's epsilon, relative to the larger of 1 and the value: both sides
//! sum in blocks but in different orders, and exponentials differ by a few units of the last place of f32, of which the
//! half-width types show one rounding.

use chainrule_kernels::cross_entropy::{self, CrossEntropyParams, Reduction};
use chainrule_kernels::layer_norm::{self, LayerNormParams};
use chainrule_kernels::rms_norm::{self, RmsNormParams};
use chainrule_kernels::softmax::{self, SoftmaxParams};
use chainrule_kernels::{Buffer, DType, Device, Result, bf16, f16};

use super::device;

pub(crate) const DTYPES: [DType; 4] = [DType::F32, DType::F64, DType::F16, DType::BF16];

/// Every way in which a row is shared out: a warp or a block, single elements or packs, rows that are kept or read again.
const SHAPES: [(DType, usize, usize); 14] = [
    (DType::F32, 5, 1),
    (DType::F32, 9, 31),
    (DType::F32, 300, 33),
    (DType::F32, 11, 256),
    (DType::F32, 9, 1000),
    (DType::F32, 20, 1300),
    (DType::F32, 3, 4099),
    (DType::F32, 3, 8200),
    (DType::F64, 9, 33),
    (DType::F64, 3, 4100),
    (DType::F16, 9, 33),
    (DType::F16, 9, 1304),
    (DType::BF16, 9, 64),
    (DType::BF16, 3, 8200),
];

pub(crate) fn buffer(device: &Device, dtype: DType, values: &[f64]) -> Buffer {
    match dtype {
        DType::F64 => Buffer::from_slice(device, values),
        DType::F32 => Buffer::from_slice(device, &values.iter().map(|&x| x as f32).collect::<Vec<_>>()),
        DType::F16 => Buffer::from_slice(device, &values.iter().map(|&x| f16::from_f64(x)).collect::<Vec<_>>()),
        _ => Buffer::from_slice(device, &values.iter().map(|&x| bf16::from_f64(x)).collect::<Vec<_>>()),
    }
    .unwrap()
}

pub(crate) fn empty(device: &Device, dtype: DType, len: usize) -> Buffer {
    buffer(device, dtype, &vec![-77.0; len])
}

pub(crate) fn values(buffer: &Buffer) -> Vec<f64> {
    match buffer.dtype() {
        DType::F64 => buffer.to_vec::<f64>().unwrap(),
        DType::F32 => buffer.to_vec::<f32>().unwrap().into_iter().map(f64::from).collect(),
        DType::F16 => buffer.to_vec::<f16>().unwrap().into_iter().map(f64::from).collect(),
        _ => buffer.to_vec::<bf16>().unwrap().into_iter().map(f64::from).collect(),
    }
}

/// `len` numbers between -3 and 3.
pub(crate) fn noise(len: usize, seed: u64) -> Vec<f64> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 11) as f64 / (1u64 << 53) as f64
    };
    (0..len).map(|_| 2.0 * (next() + next() + next()) - 3.0).collect()
}

/// Runs `f` on both devices and compares all buffers that it gives.
#[track_caller]
pub(crate) fn compare(units: f64, what: &str, f: impl Fn(&Device) -> Vec<Buffer>) {
    for (index, (got, want)) in f(&device()).iter().zip(&f(&Device::Cpu)).enumerate() {
        let dtype = want.dtype();
        let units = if matches!(dtype, DType::F16 | DType::BF16) { 2.0 } else { units };
        for (i, (got, want)) in values(got).into_iter().zip(values(want)).enumerate() {
            let tolerance = units * dtype.epsilon() * want.abs().max(1.0);
            let same = got == want || (got.is_nan() && want.is_nan()) || (got - want).abs() <= tolerance;
            assert!(
                same,
                "{what}: output {index} {dtype} [{i}]: got {got:e}, the host {want:e}, tolerance {tolerance:e}"
            );
        }
    }
}

/// All four kernels of softmax, with `x` at `offset`.
fn softmaxes(dtype: DType, x: &[f64], [outer, len, inner]: [usize; 3], offset: usize) {
    if !device().supports(dtype) {
        return;
    }
    let params = SoftmaxParams { outer: outer as u64, len: len as u64, inner: inner as u64 };
    let (n, dy) = (outer * len * inner, noise(outer * len * inner + offset, 7));
    compare(32.0, &format!("softmax {dtype} {outer} {len} {inner}"), |device| {
        let (x, dy) = (buffer(device, dtype, x), buffer(device, dtype, &dy));
        let [mut y, mut log_y, mut dx, mut log_dx] = [(); 4].map(|()| empty(device, dtype, n));
        softmax::softmax_forward((&x, offset), &mut y, params).unwrap();
        softmax::softmax_backward((&y, 0), (&dy, offset), &mut dx, params).unwrap();
        softmax::log_softmax_forward((&x, offset), &mut log_y, params).unwrap();
        softmax::log_softmax_backward((&log_y, 0), (&dy, offset), &mut log_dx, params).unwrap();
        vec![y, dx, log_y, log_dx]
    });
}

#[test]
fn softmax_of_rows_and_columns() {
    for (dtype, rows, cols) in SHAPES {
        softmaxes(dtype, &noise(rows * cols, 3), [rows, cols, 1], 0);
    }
    softmaxes(DType::F32, &noise(4 * 64 + 1, 3), [4, 64, 1], 1);
    for (dtype, shape) in [(DType::F32, [1, 5, 3]), (DType::F32, [3, 31, 33]), (DType::F32, [2, 300, 2])]
        .into_iter()
        .chain(DTYPES.map(|dtype| (dtype, [2, 17, 40])))
    {
        softmaxes(dtype, &noise(shape.iter().product::<usize>() + 1, 5), shape, 1);
    }
    for shape in [[0, 5, 1], [5, 0, 1], [5, 3, 0]] {
        softmaxes(DType::F32, &[], shape, 0);
    }
    let integers = Buffer::from_slice(&device(), &[1i32]).unwrap();
    let mut y = Buffer::from_slice(&device(), &[1i32]).unwrap();
    let params = SoftmaxParams { outer: 1, len: 1, inner: 1 };
    assert!(softmax::softmax_forward((&integers, 0), &mut y, params).unwrap_err().is_unsupported());
}

#[test]
fn softmax_of_infinities_and_nan() {
    let (inf, nan) = (f64::INFINITY, f64::NAN);
    // Each row has one odd element, in a place that another thread reads than the first; or a part of negative infinity.
    for cols in [2, 1300, 8200] {
        let mut x = noise(6 * cols, 1);
        x[..cols].fill(-inf);
        x[cols + cols / 2] = inf;
        x[2 * cols + cols - 1] = nan;
        x[3 * cols..4 * cols - 1].fill(-inf);
        x[4 * cols..5 * cols].fill(-inf);
        x[5 * cols - 1] = nan;
        softmaxes(DType::F32, &x, [6, cols, 1], 0);
        if cols < 8200 {
            // The same as columns, two of each.
            let columns: Vec<f64> = (0..6).flat_map(|r| x[r * cols..][..cols].iter().flat_map(|&v| [v, v])).collect();
            softmaxes(DType::F32, &columns, [6, cols, 2], 0);
        }
    }
    let far: Vec<f64> = noise(4 * 8200, 1).iter().map(|x| x + 1e4).collect();
    softmaxes(DType::F32, &far, [4, 8200, 1], 0);
}

struct Norm<'a> {
    dtype: DType,
    rows: usize,
    cols: usize,
    x: &'a [f64],
    affine: [bool; 2],
    offset: usize,
    units: f64,
}

impl Norm<'_> {
    fn layer_norm(&self) {
        let &Norm { dtype, rows, cols, x, affine: [has_weight, has_bias], offset, units } = self;
        if !device().supports(dtype) {
            return;
        }
        let params = LayerNormParams::new(rows, cols, 1e-5);
        let (dy, weight, bias) = (noise(rows * cols, 2), noise(cols + offset, 3), noise(cols + offset, 4));
        compare(units, &format!("layer_norm {dtype} {rows} {cols}"), |device| {
            let [x, dy, weight, bias] = [x, &dy, &weight, &bias].map(|v| buffer(device, dtype, v));
            let [mut y, mut dx] = [(); 2].map(|()| empty(device, dtype, rows * cols));
            let [mut mean, mut rstd] = [(); 2].map(|()| empty(device, dtype.compute(), rows));
            let [mut dweight, mut dbias] = [(); 2].map(|()| empty(device, dtype, cols));
            let weight = has_weight.then_some((&weight, offset));
            let bias = has_bias.then_some((&bias, offset));
            let inputs = layer_norm::LayerNormInputs { x: (&x, offset), weight, bias };
            let outputs = layer_norm::LayerNormOutputs { y: &mut y, mean: &mut mean, rstd: &mut rstd };
            layer_norm::layer_norm_forward(inputs, outputs, params).unwrap();
            let [mean, rstd] = [mean, rstd].map(|saved| buffer(device, dtype.compute(), &values(&saved)));
            let saved = layer_norm::LayerNormSaved {
                dy: (&dy, 0),
                x: (&x, offset),
                mean: (&mean, 0),
                rstd: (&rstd, 0),
                weight,
            };
            let gradients = layer_norm::LayerNormGradients {
                dx: &mut dx,
                dweight: has_weight.then_some(&mut dweight),
                dbias: has_bias.then_some(&mut dbias),
            };
            layer_norm::layer_norm_backward(saved, gradients, params).unwrap();
            vec![y, mean, rstd, dx, dweight, dbias]
        });
    }

    fn rms_norm(&self) {
        let &Norm { dtype, rows, cols, x, affine: [has_weight, _], offset, units } = self;
        if !device().supports(dtype) {
            return;
        }
        let params = RmsNormParams::new(rows, cols, 1e-5);
        let (dy, weight) = (noise(rows * cols, 2), noise(cols + offset, 3));
        compare(units, &format!("rms_norm {dtype} {rows} {cols}"), |device| {
            let [x, dy, weight] = [x, &dy, &weight].map(|v| buffer(device, dtype, v));
            let [mut y, mut dx] = [(); 2].map(|()| empty(device, dtype, rows * cols));
            let mut rstd = empty(device, dtype.compute(), rows);
            let mut dweight = empty(device, dtype, cols);
            let weight = has_weight.then_some((&weight, offset));
            rms_norm::rms_norm_forward((&x, offset), weight, &mut y, &mut rstd, params).unwrap();
            let saved = rms_norm::RmsNormSaved { dy: (&dy, 0), x: (&x, offset), rstd: (&rstd, 0), weight };
            rms_norm::rms_norm_backward(saved, &mut dx, has_weight.then_some(&mut dweight), params).unwrap();
            vec![y, rstd, dx, dweight]
        });
    }
}

/// A row of one element has rstd = 1 / sqrt(eps), by which rounding is magnified.
fn units(cols: usize) -> f64 {
    if cols == 1 { 20_000.0 } else { 256.0 }
}

#[test]
fn layer_norm_with_and_without_weight_and_bias() {
    for (i, (dtype, rows, cols)) in SHAPES.into_iter().enumerate() {
        let affine = if cols == 31 { [true, false] } else { [i != 3, i != 3] };
        Norm { dtype, rows, cols, x: &noise(rows * cols, 1), affine, offset: 0, units: units(cols) }.layer_norm();
    }
    let base = Norm {
        dtype: DType::F32,
        rows: 7,
        cols: 64,
        x: &noise(449, 1),
        affine: [false, true],
        offset: 1,
        units: 256.0,
    };
    base.layer_norm();
    Norm { rows: 0, x: &[0.0], ..base }.layer_norm();
    Norm { cols: 0, x: &[0.0], ..base }.layer_norm();
}

#[test]
fn rms_norm_with_and_without_weight() {
    for (i, (dtype, rows, cols)) in SHAPES.into_iter().enumerate() {
        let affine = [i != 3, false];
        Norm { dtype, rows, cols, x: &noise(rows * cols, 1), affine, offset: 0, units: units(cols) }.rms_norm();
    }
    let base = Norm {
        dtype: DType::F32,
        rows: 7,
        cols: 64,
        x: &noise(449, 1),
        affine: [true, false],
        offset: 1,
        units: 256.0,
    };
    base.rms_norm();
    Norm { rows: 0, x: &[0.0], ..base }.rms_norm();
    Norm { cols: 0, x: &[0.0], ..base }.rms_norm();
}

#[test]
fn norms_of_extreme_rows() {
    for cols in [33, 1300, 8200] {
        let mut x = noise(4 * cols, 1);
        // The squares of the first overflow, the second is constant, the others have a NaN and an infinity.
        x[..cols].iter_mut().for_each(|x| *x *= 1e19);
        x[cols..2 * cols].fill(3.0);
        x[3 * cols - 1] = f64::NAN;
        x[4 * cols - 1] = f64::INFINITY;
        let norm = Norm { dtype: DType::F32, rows: 4, cols, x: &x, affine: [false, false], offset: 0, units: 20_000.0 };
        norm.layer_norm();
        norm.rms_norm();
    }
}

pub(crate) struct CrossEntropy<'a> {
    pub(crate) dtype: DType,
    pub(crate) x: &'a [f64],
    pub(crate) labels: &'a [i64],
    pub(crate) weighs: bool,
    pub(crate) params: CrossEntropyParams,
}

impl CrossEntropy<'_> {
    pub(crate) fn run(&self, device: &Device, label_dtype: DType) -> Result<Vec<Buffer>> {
        let &CrossEntropy { dtype, x, labels, weighs, params } = self;
        let (rows, classes) = (labels.len(), params.classes as usize);
        let losses = if params.reduction == Reduction::None as u64 { rows } else { 1 };
        let weight: Vec<f64> = noise(classes, 2).iter().map(|x| x.abs()).collect();
        let [x, dy, weight] = [x, &noise(losses, 9), &weight].map(|v| buffer(device, dtype, v));
        let labels = match label_dtype {
            DType::I64 if device.supports(DType::I64) => Buffer::from_slice(device, labels)?,
            DType::U32 => Buffer::from_slice(device, &labels.iter().map(|&x| x as u32).collect::<Vec<_>>())?,
            DType::U8 => Buffer::from_slice(device, &labels.iter().map(|&x| x as u8).collect::<Vec<_>>())?,
            DType::F32 => Buffer::from_slice(device, &labels.iter().map(|&x| x as f32).collect::<Vec<_>>())?,
            _ => Buffer::from_slice(device, &labels.iter().map(|&x| x as i32).collect::<Vec<_>>())?,
        };
        let inputs = cross_entropy::CrossEntropyInputs {
            logits: (&x, 0),
            labels: (&labels, 0),
            weight: weighs.then_some((&weight, 0)),
        };
        let (mut loss, mut dlogits) = (empty(device, dtype, losses), empty(device, dtype, rows * classes));
        let [mut max, mut log_sum, mut total_weight] = [rows, rows, 1].map(|len| empty(device, dtype.compute(), len));
        let outputs = cross_entropy::CrossEntropyOutputs {
            loss: &mut loss,
            max: &mut max,
            log_sum: &mut log_sum,
            total_weight: &mut total_weight,
        };
        cross_entropy::cross_entropy_forward(inputs, outputs, params)?;
        let saved = cross_entropy::CrossEntropySaved {
            dy: (&dy, 0),
            max: (&max, 0),
            log_sum: (&log_sum, 0),
            total_weight: (&total_weight, 0),
        };
        cross_entropy::cross_entropy_backward(saved, inputs, &mut dlogits, params)?;
        Ok(vec![loss, max, log_sum, total_weight, dlogits])
    }

    fn check(&self, label_dtype: DType) {
        if !device().supports(self.dtype) {
            return;
        }
        let what = format!("cross_entropy {} {:?}", self.dtype, self.params);
        compare(64.0, &what, |device| self.run(device, label_dtype).unwrap());
    }
}

#[test]
fn cross_entropy_of_every_kind() {
    let kinds = [
        (Reduction::Mean, false, 0.0, DType::I64),
        (Reduction::None, true, 0.3, DType::I32),
        (Reduction::Sum, false, 0.1, DType::U32),
        (Reduction::Mean, true, 0.0, DType::U8),
    ];
    for (dtype, rows, classes) in SHAPES {
        let x = noise(rows * classes, 1);
        let ignored = (classes / 2) as i64;
        let labels: Vec<i64> =
            (0..rows).map(|row| if row % 4 == 3 { ignored } else { (row * 7 % classes.min(200)) as i64 }).collect();
        for (reduction, weighs, label_smoothing, label_dtype) in kinds {
            if label_dtype == DType::U8 && classes > 300 || rows > 100 && label_dtype == DType::U32 {
                continue;
            }
            let mut params = CrossEntropyParams::new(rows, classes, reduction);
            params.label_smoothing = label_smoothing;
            params.ignore_index = if classes > 1 { ignored } else { -100 };
            CrossEntropy { dtype, x: &x, labels: &labels, weighs, params }.check(label_dtype);
        }
    }
}

#[test]
fn cross_entropy_at_the_edges() {
    let base = |rows, classes, reduction| CrossEntropyParams::new(rows, classes, reduction);
    let inf = f64::INFINITY;
    let masked = [0.0, -inf, 0.0, 1.0, 1.0, -inf];
    for reduction in [Reduction::None, Reduction::Mean, Reduction::Sum] {
        // All rows ignored, masked classes, no rows.
        let mut case = CrossEntropy {
            dtype: DType::F32,
            x: &[f64::NAN, 1.0],
            labels: &[-100],
            weighs: true,
            params: base(1, 2, reduction),
        };
        case.check(DType::I64);
        (case.x, case.labels, case.params) = (&masked, &[0, 1], base(2, 3, reduction));
        case.check(DType::I32);
        (case.x, case.labels, case.params) = (&[], &[], base(0, 3, reduction));
        case.check(DType::I64);
        // More rows than one block adds up.
        let (x, labels) = (noise(16_500, 1), vec![0; 16_500]);
        let params = base(16_500, 1, reduction);
        if reduction == Reduction::Sum {
            CrossEntropy { dtype: DType::F32, x: &x, labels: &labels, weighs: false, params }.check(DType::I64);
        }
    }
}

#[test]
fn labels_that_are_no_integers_are_refused() {
    let params = CrossEntropyParams::new(1, 3, Reduction::Mean);
    let case = CrossEntropy { dtype: DType::F32, x: &[0.0; 3], labels: &[1], weighs: false, params };
    assert!(case.run(&device(), DType::F32).err().is_some_and(|error| error.is_unsupported()));
}

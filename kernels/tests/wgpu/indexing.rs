//! Indexing and strided sums: the values of the host, bit by bit where sums are taken in the same order.

use chainrule_kernels::copy::add_into;
use chainrule_kernels::gather::{self, GatherParams};
use chainrule_kernels::index::{self, IndexParams};
use chainrule_kernels::{Buffer, DType, Device, Result, Rng, Stored, View, with_dtype};

/// The dtypes of the device.
pub(crate) const DTYPES: [DType; 7] =
    [DType::Bool, DType::U8, DType::U32, DType::I32, DType::F16, DType::BF16, DType::F32];
pub(crate) const FLOATS: [DType; 3] = [DType::F32, DType::F16, DType::BF16];
const INDEX_DTYPES: [DType; 3] = [DType::U32, DType::I32, DType::U8];

/// A buffer of `dtype` with these values, converted.
pub(crate) fn buffer(device: &Device, dtype: DType, values: &[f64]) -> Buffer {
    with_dtype!(dtype, E => {
        Buffer::from_slice(device, &values.iter().map(|&x| E::from_f64(x)).collect::<Vec<E>>()).unwrap()
    })
}

/// What a buffer holds.
pub(crate) fn values(buffer: &Buffer) -> Result<Vec<f64>> {
    with_dtype!(buffer.dtype(), E => Ok(buffer.to_vec::<E>()?.iter().map(|x| x.to_f64()).collect()))
}

/// `len` numbers in -4..4 in steps that no dtype below f32 holds, so that each rounding shows.
pub(crate) fn noise(len: usize, seed: u64) -> Vec<f64> {
    let mut rng = Rng::seed(seed);
    (0..len).map(|_| f64::from(rng.uniform()) * 8.0 - 4.0).collect()
}

/// Indices below `size`, a third of them the same one.
fn ids(len: usize, size: usize, seed: u64) -> Vec<f64> {
    let mut rng = Rng::seed(seed);
    let often = rng.below(size as u64);
    (0..len).map(|_| if rng.below(3) == 0 { often } else { rng.below(size as u64) } as f64).collect()
}

/// Runs `f` on the host and on the device, which must agree to `tolerance`.
#[track_caller]
pub(crate) fn same(what: &str, tolerance: f64, f: impl Fn(&Device) -> Result<Buffer>) {
    let [want, got] = [Device::Cpu, crate::device()].map(|device| values(&f(&device).unwrap()).unwrap());
    assert_eq!(got.len(), want.len(), "{what}");
    for (i, (got, want)) in got.iter().zip(&want).enumerate() {
        let close =
            got == want || got.is_nan() && want.is_nan() || (got - want).abs() <= tolerance * want.abs().max(1.0);
        assert!(close, "{what} [{i}]: {got:e} on wgpu, {want:e} on the host");
    }
}

fn row_major(shape: &[usize]) -> Vec<isize> {
    (0..shape.len()).map(|dim| shape[dim + 1..].iter().product::<usize>() as isize).collect()
}

type Write = fn((&Buffer, usize), (&Buffer, usize), GatherParams, &mut Buffer) -> Result<()>;

fn gathers(dtype: DType, index_dtype: DType, index_shape: &[usize], shape: &[usize], dim: usize) {
    let what = format!("{dtype} by {index_dtype} {index_shape:?} {shape:?} {dim}");
    let n = index_shape.iter().product();
    let params = GatherParams::new(index_shape, shape, &row_major(shape), dim).unwrap();
    let (x, src) = (noise(3 + shape.iter().product::<usize>(), 1), noise(n, 2));
    let list = ids(n + 1, shape[dim].min(250), 3);
    let index = |device: &Device| buffer(device, index_dtype, &list);
    same(&format!("gather {what}"), 0.0, |device| {
        let mut y = Buffer::allocate(device, dtype, n)?;
        gather::gather((&buffer(device, dtype, &x), 3), (&index(device), 1), params, &mut y)?;
        Ok(y)
    });
    for (name, op) in [("scatter", gather::scatter as Write), ("scatter_add", gather::scatter_add)] {
        same(&format!("{name} {what}"), 0.0, |device| {
            let mut y = buffer(device, dtype, &x[3..]);
            op((&buffer(device, dtype, &src), 0), (&index(device), 1), params, &mut y)?;
            Ok(y)
        });
    }
}

#[test]
fn gather_and_scatter_along_every_dim() {
    let cases: &[(&[usize], &[usize], usize)] = &[
        (&[5], &[9], 0),
        (&[4, 31], &[4, 7], 1),
        (&[4, 31], &[6, 31], 0),
        (&[3, 8, 5], &[4, 6, 5], 1),
        (&[3, 1, 5], &[3, 9, 5], 1),
        // Long lines, which are sorted: less than a tile, and several with keys of five digits.
        (&[100, 3], &[7, 3], 0),
        (&[5000], &[70_000], 0),
        (&[2, 0], &[2, 3], 1),
    ];
    for (at, (index_shape, shape, dim)) in cases.iter().enumerate() {
        for dtype in [DType::F32, DType::BF16, DType::I32] {
            gathers(dtype, INDEX_DTYPES[at % 3], index_shape, shape, *dim);
        }
    }
    for dtype in DTYPES {
        gathers(dtype, DType::U32, &[70, 2], &[33, 2], 0);
    }
}

#[test]
fn gather_reads_through_strides() {
    let params = GatherParams::new(&[3, 4], &[3, 2], &[-1, 3], 1).unwrap();
    same("gather", 0.0, |device| {
        let mut y = Buffer::allocate(device, DType::F16, 12)?;
        let list = [1., 0., 1., 1., 0., 0., 1., 0., 1., 0., 0., 1.];
        let (x, index) = (buffer(device, DType::F16, &noise(7, 1)), buffer(device, DType::U8, &list));
        gather::gather((&x, 3), (&index, 0), params, &mut y)?;
        Ok(y)
    });
}

fn rows(dtype: DType, index_dtype: DType, [outer, size, n, inner]: [usize; 4]) {
    let what = format!("{dtype} by {index_dtype} [{outer}, {size}, {n}, {inner}]");
    let params = IndexParams { outer: outer as u64, size: size as u64, n: n as u64, inner: inner as u64 };
    let (x, src, list) = (noise(outer * size * inner, 1), noise(outer * n * inner + 1, 2), ids(n, size.min(250), 3));
    let index = |device: &Device| buffer(device, index_dtype, &list);
    same(&format!("index_select {what}"), 0.0, |device| {
        let mut y = Buffer::allocate(device, dtype, outer * n * inner)?;
        index::index_select((&buffer(device, dtype, &x), 0), (&index(device), 0), params, &mut y)?;
        Ok(y)
    });
    same(&format!("index_add {what}"), 0.0, |device| {
        let mut y = buffer(device, dtype, &x);
        index::index_add((&buffer(device, dtype, &src), 1), (&index(device), 0), params, &mut y)?;
        Ok(y)
    });
    for padding in [None, list.first().map(|id| *id as usize)].into_iter().take(if outer == 1 { 2 } else { 0 }) {
        same(&format!("embedding {what} padding {padding:?}"), 0.0, |device| {
            let mut dweight = buffer(device, dtype, &vec![f64::NAN; size * inner]);
            let dy = buffer(device, dtype, &src);
            index::embedding_backward((&dy, 0), (&index(device), 0), params, padding, &mut dweight)?;
            Ok(dweight)
        });
    }
}

#[test]
fn rows_by_ids() {
    let cases = [[1, 5, 9, 31], [3, 7, 1, 1], [2, 300, 33, 40], [1, 2, 1000, 8], [2, 3, 0, 4], [1, 70_000, 2100, 1]];
    for (at, sizes) in cases.into_iter().enumerate() {
        for dtype in [DType::F32, DType::BF16] {
            rows(dtype, INDEX_DTYPES[at % 3], sizes);
        }
    }
    for dtype in DTYPES {
        rows(dtype, DType::U32, [2, 4, 200, 8]);
        rows(dtype, DType::I32, [1, 4, 201, 3]);
        same(&format!("one_hot {dtype}"), 0.0, |device| {
            let mut y = Buffer::allocate(device, dtype, 33 * 11)?;
            let params = IndexParams { outer: 1, size: 11, n: 33, inner: 1 };
            index::one_hot((&buffer(device, DType::I32, &ids(33, 11, 5)), 0), params, &mut y)?;
            Ok(y)
        });
    }
}

#[test]
fn sums_into_places_that_meet() {
    // Shape, strides of x, strides of y, where y starts, elements of y.
    type Case<'a> = (&'a [usize], &'a [isize], &'a [isize], usize, usize);
    let cases: &[Case<'_>] = &[
        (&[7, 5], &[5, 1], &[5, 1], 3, 40),
        (&[7, 5], &[1, 7], &[-5, -1], 39, 40),
        // Broadcast along one dim and both, with few and with many elements for each.
        (&[7, 5], &[5, 1], &[0, 2], 1, 12),
        (&[33, 5, 31], &[155, 31, 1], &[0, 1, 0], 0, 5),
        (&[100], &[1], &[0], 2, 3),
        // Windows: with a hop that divides their length, one that does not, of 1, and in two dims.
        (&[9, 6], &[6, 1], &[3, 1], 0, 30),
        (&[9, 7], &[7, 1], &[3, 1], 2, 33),
        (&[5, 4], &[4, 1], &[1, 1], 0, 8),
        (&[4, 3, 4, 3], &[36, 12, 3, 1], &[12, 6, 2, 1], 0, 70),
        (&[3, 4], &[4, 1], &[3, 2], 0, 13),
        (&[], &[], &[], 4, 5),
        (&[0, 3], &[3, 1], &[3, 1], 0, 5),
    ];
    for &(shape, x_strides, y_strides, offset, len) in cases {
        for dtype in DTYPES {
            let x = noise(1 + shape.iter().product::<usize>(), 1);
            // The host rounds each sum to the dtype, the device once and in another order: as many roundings as sums
            // of up to 1023 numbers that stay below 512.
            let tolerance = if dtype.is_float() { 512.0 * dtype.epsilon() } else { 0.0 };
            same(&format!("add_into {dtype} {shape:?} {y_strides:?}"), tolerance, |device| {
                let mut y = buffer(device, dtype, &noise(len, 2));
                let x = buffer(device, dtype, &x);
                add_into(View { buffer: &x, offset: 1, strides: x_strides }, shape, &mut y, offset, y_strides)?;
                Ok(y)
            });
        }
    }
}

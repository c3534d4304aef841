//! Random numbers, dropout and the rotary embedding: random bits are the same on both devices.

use chainrule_kernels::dropout::dropout;
use chainrule_kernels::random::{fill_bernoulli, fill_integers, fill_normal, fill_uniform};
use chainrule_kernels::rope::{RopeParams, rope};
use chainrule_kernels::{Buffer, DType, Device, Result, Stream};

use crate::indexing::{buffer, noise, same, same_error};

const FLOATS: [DType; 4] = [DType::F32, DType::F64, DType::F16, DType::BF16];
const LENS: [usize; 5] = [0, 1, 31, 33, 1000];
const STREAM: Stream = Stream { seed: 0x0123_4567_89ab_cdef, number: 7 << 33 | 5 };

/// Fills buffers of several lengths on both devices.
#[track_caller]
fn same_draws(what: &str, dtype: DType, tolerance: f64, draw: impl Fn(&mut Buffer) -> Result<()>) {
    for len in LENS {
        same(&format!("{what} {dtype} {len}"), tolerance, |device| {
            let mut y = Buffer::allocate(device, dtype, len)?;
            draw(&mut y)?;
            Ok(y)
        });
    }
}

#[test]
fn draws_have_the_bits_of_the_host() {
    for dtype in DType::ALL {
        for p in [0.0, 0.3, 1.0] {
            same_draws("bernoulli", dtype, 0.0, |y| fill_bernoulli(STREAM, p, y));
        }
        for (low, high) in [(0, 200), (-7, 7), (i64::MIN, i64::MAX), (3, 3)] {
            same_draws("integers", dtype, 0.0, |y| fill_integers(STREAM, low, high, y));
        }
    }
    for dtype in FLOATS {
        same_draws("uniform", dtype, 0.0, |y| fill_uniform(STREAM, -1.7, 0.9, y));
        // f64 has the logarithm and the sine of the device, which differ in their last bits.
        let tolerance = if dtype == DType::F64 { 1e-14 } else { 0.0 };
        same_draws("normal", dtype, tolerance, |y| fill_normal(STREAM, 0.3, 1.9, y));
    }
    let mut y = Buffer::allocate(&crate::device(), DType::I64, 1).unwrap();
    assert!(fill_uniform(STREAM, 0.0, 1.0, &mut y).unwrap_err().is_unsupported());
    assert!(fill_normal(STREAM, 0.0, 1.0, &mut y).unwrap_err().is_unsupported());
}

#[test]
fn dropout_drops_the_same() {
    for dtype in FLOATS {
        for (len, offset) in LENS.into_iter().flat_map(|len| [(len, 0), (len, 1)]) {
            for p in [0.0, 0.1, 1.0] {
                let mut x = noise(len + 1, 3);
                x[len] = f64::INFINITY;
                same(&format!("dropout {dtype} {len} {offset} {p}"), 0.0, |device| {
                    let mut y = Buffer::allocate(device, dtype, len)?;
                    dropout((&buffer(device, dtype, &x), offset), p, STREAM, &mut y)?;
                    Ok(y)
                });
            }
        }
    }
}

/// The embedding of x `[B, T, H, D]` seen as `[B, H, T, D]`, into y `[B, H, T, D]`.
fn rotate(
    device: &Device,
    dtype: DType,
    params: RopeParams,
    positions: Option<&[f64]>,
    offset: usize,
) -> Result<Buffer> {
    let [b, h, t, d] = [params.batch, params.heads, params.len, params.dim].map(|size| size as usize);
    let (h_stride, t_stride) = (d as i64, (h * d) as i64);
    let params = RopeParams { x_strides: [t as i64 * t_stride, h_stride, t_stride, 1], ..params };
    let len = b * h * t * d;
    let x = buffer(device, dtype, &noise(len + offset, 1));
    let angles = noise(params.table_rows as usize * params.table_stride as usize, 2);
    let tables = [f64::cos, f64::sin].map(|f| angles.iter().map(|&a| f(a)).collect::<Vec<_>>());
    let tables = tables.map(|table| buffer(device, dtype.compute(), &table));
    let positions = positions.map(|positions| buffer(device, DType::I64, positions));
    let mut y = Buffer::allocate(device, dtype, len)?;
    let positions = positions.as_ref().map(|positions| (positions, 0));
    rope((&x, offset), [(&tables[0], 0), (&tables[1], 0)], positions, &mut y, &params)?;
    Ok(y)
}

#[test]
fn rope_turns_alike() {
    let positions = [3.0, 0.0, 19.0, 7.0, 7.0, 1.0, 2.0];
    for dtype in FLOATS {
        // Pairs singly, and several together: rows of 48 elements of which 32 are turned.
        for (dim, rotary) in [(10, 10), (10, 6), (48, 32), (48, 0)] {
            for (interleaved, inverse, offset) in [(0, 0, 0), (1, 0, 0), (0, 1, 1), (1, 1, 0)] {
                let mut params = RopeParams::new([2, 3, 7, dim], 20);
                (params.rotary_dim, params.table_stride) = (rotary as u64, dim as i64 / 2);
                (params.interleaved, params.inverse, params.first_position) = (interleaved, inverse, 13);
                let what = format!("rope {dtype} {dim} {rotary} {interleaved} {inverse}");
                // Products and sums may be fused: one rounding of f32 or of the dtype.
                let tolerance = 4.0 * dtype.epsilon();
                same(&what, tolerance, |device| rotate(device, dtype, params, Some(&positions), offset));
                same(&what, tolerance, |device| rotate(device, dtype, params, None, offset));
            }
        }
    }
}

#[test]
fn positions_outside_are_the_same_errors() {
    let params = RopeParams { position_strides: [0, 1], ..RopeParams::new([2, 1, 4, 6], 3) };
    same_error(|device| rotate(device, DType::F32, params, None, 0));
    same_error(|device| rotate(device, DType::F32, RopeParams { first_position: 9, ..params }, None, 0));
    let once = RopeParams { batch: 1, ..params };
    same_error(|device| rotate(device, DType::F32, once, Some(&[2.0, 0.0, -1.0, 1.0]), 0));
    same_error(|device| rotate(device, DType::F32, once, Some(&[2.0, 0.0, 1.0, 3.0]), 0));
}

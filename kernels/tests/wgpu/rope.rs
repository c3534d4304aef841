//! The rotary embedding: strides, positions, and both pairings.

use chainrule_kernels::rope::{RopeParams, rope};
use chainrule_kernels::{Buffer, DType, Device, Result};

use crate::indexing::{FLOATS, buffer, noise, same};

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
    let tables = tables.map(|table| buffer(device, DType::F32, &table));
    let positions = positions.map(|positions| buffer(device, device.index_dtype(), positions));
    let mut y = Buffer::allocate(device, dtype, len)?;
    let positions = positions.as_ref().map(|positions| (positions, 0));
    rope((&x, offset), [(&tables[0], 0), (&tables[1], 0)], positions, &mut y, &params)?;
    Ok(y)
}

#[test]
fn rope_turns_alike() {
    let positions = [3.0, 0.0, 19.0, 7.0, 7.0, 1.0, 2.0];
    for dtype in FLOATS {
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

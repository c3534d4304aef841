//! The host's body of the rotary position embedding: `y1 = x1 cos - x2 sin, y2 = x2 cos + x1 sin`, row by row.

use crate::cpu::matrix_view::MatrixView;
use crate::cpu::parallel;
use crate::cpu::real::Real;
use crate::cpu::shared_rows::SharedRows;
use crate::cpu::simd::wide;
use crate::cpu::widen::run_widened;
use crate::rope::RopeParams;
use crate::{CpuArgs, Error, ErrorKind, Kernel, Result, Stored, with_dtype};

/// The rotary position embedding, both directions: inputs x, cos, sin and perhaps positions; output y.
pub static ROPE_FORWARD: Kernel = Kernel {
    name: "rope",
    entry: "rope_forward",
    cpu: forward,
    #[cfg(feature = "cuda")]
    cuda: crate::cuda::rope::forward,
    #[cfg(feature = "wgpu")]
    wgpu: crate::wgpu::rope::forward,
};

fn forward(args: &mut CpuArgs<'_>) -> Result<()> {
    run_widened(args, &|args: &mut CpuArgs<'_>| {
        with_dtype!(args.elem, real E => forward_as::<E, <E as Stored>::Compute>(args),
        else Err(Error::new(ErrorKind::Unsupported { dtype: args.elem, device: "cpu".into() })))
    })
}

fn forward_as<S: Stored<Compute = T>, T: Real>(args: &mut CpuArgs<'_>) -> Result<()> {
    let params: RopeParams = args.params();
    let [batch, heads, len, dim] = [params.batch, params.heads, params.len, params.dim].map(|size| size as usize);
    let y = SharedRows::new(args.output::<S>(0), [batch, heads, len, dim], params.y_strides)?;
    if batch * heads * len == 0 {
        return Ok(());
    }
    let (x, x_offset, [b, h, t, d]) = (args.whole_input::<S>(0), args.offset(0) as i64, params.x_strides);
    let heads_of_x: Vec<MatrixView<'_, S>> = (0..batch * heads)
        .map(|at| MatrixView::new(x, x_offset + (at / heads) as i64 * b + (at % heads) as i64 * h, [len, dim], [t, d]))
        .collect::<Result<_>>()?;
    let table_sizes = [params.table_rows as usize, params.rotary_dim as usize / 2];
    let table = |input: usize| {
        let offset = args.offset(input) as i64;
        MatrixView::new(args.whole_input::<T>(input), offset, table_sizes, [params.table_stride, 1])
    };
    let (cos, sin) = (table(1)?, table(2)?);
    let positions = positions(args, &params)?;
    let sign = if params.inverse == 1 { T::c(-1.0) } else { T::c(1.0) };
    let rotate = if params.interleaved == 1 { rotate_neighbours::<T> } else { rotate_halves::<T> };
    parallel::for_each_range(batch * heads * len, 2 * dim, |rows| {
        let mut values = vec![T::default(); dim];
        for row in rows {
            let (head, at) = (row / len, row % len);
            heads_of_x[head].widen_row(at, &mut values);
            let position = positions[head / heads * len + at];
            let (Some(cos), Some(sin)) = (cos.row_slice(position), sin.row_slice(position)) else { continue };
            rotate(&mut values[..2 * table_sizes[1]], cos, sin, sign);
            // SAFETY: ranges do not overlap, so each row is written by one task.
            unsafe { y.write([head / heads, head % heads, at], 0, &values) };
        }
    });
    Ok(())
}

/// The position of every (b, t), each within the tables.
fn positions(args: &CpuArgs<'_>, params: &RopeParams) -> Result<Vec<usize>> {
    let [batch, len] = [params.batch, params.len].map(|size| size as usize);
    let rows = params.table_rows;
    let checked = |position: i64| match u64::try_from(position) {
        Ok(at) if at < rows => Ok(at as usize),
        _ => Err(Error::index("rope", format!("position {position} is outside tables of {rows} positions"))),
    };
    if params.has_positions == 0 {
        return (0..batch * len).map(|at| checked((params.first_position + (at % len) as u64) as i64)).collect();
    }
    let view =
        MatrixView::new(args.whole_input::<i64>(3), args.offset(3) as i64, [batch, len], params.position_strides)?;
    (0..batch * len).map(|at| checked(view.get(at / len, at % len))).collect()
}

/// Pairs (i, i + R / 2).
fn rotate_halves<T: Real>(values: &mut [T], cos: &[T], sin: &[T], sign: T) {
    let (first, second) = values.split_at_mut(values.len() / 2);
    wide::<T, _>(
        #[inline(always)]
        || {
            for (((x1, x2), cos), sin) in first.iter_mut().zip(second).zip(cos).zip(sin) {
                let sin = sign * *sin;
                (*x1, *x2) = (*x1 * *cos - *x2 * sin, *x2 * *cos + *x1 * sin);
            }
        },
    );
}

/// Pairs (2 i, 2 i + 1).
fn rotate_neighbours<T: Real>(values: &mut [T], cos: &[T], sin: &[T], sign: T) {
    wide::<T, _>(
        #[inline(always)]
        || {
            for ((pair, cos), sin) in values.as_chunks_mut::<2>().0.iter_mut().zip(cos).zip(sin) {
                let ([x1, x2], sin) = (*pair, sign * *sin);
                *pair = [x1 * *cos - x2 * sin, x2 * *cos + x1 * sin];
            }
        },
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rope::rope;
    use crate::{Buffer, Device, bf16};

    fn noise(len: usize, seed: u64) -> Vec<f64> {
        let stream = crate::philox::Stream { seed, number: 0 };
        (0..len).map(|at| 2.0 * f64::from(stream.uniform(at as u64)) - 1.0).collect()
    }

    fn buffer<S: Stored>(values: &[f64]) -> Buffer {
        Buffer::from_slice(&Device::Cpu, &values.iter().map(|x| S::from_f64(*x)).collect::<Vec<_>>()).unwrap()
    }

    fn check<S: Stored>(interleaved: bool, rotary: usize, tolerance: f64) {
        let [b, h, t, d] = [2usize, 3, 7, 10];
        let x: Vec<f64> = noise(b * h * t * d, 1).into_iter().map(|x| S::from_f64(x).to_f64()).collect();
        let angles: Vec<f64> = noise(20 * rotary / 2, 2).into_iter().map(|x| 3.0 * x).collect();
        let [cos, sin] = [f64::cos, f64::sin].map(|f| angles.iter().map(|a| f(*a)).collect::<Vec<f64>>());
        let positions = [3i64, 0, 19, 7, 7, 1, 2];
        let mut params = RopeParams::new([b, h, t, d], 20);
        (params.rotary_dim, params.table_stride) = (rotary as u64, rotary as i64 / 2);
        params.interleaved = interleaved.into();
        // x is [B, T, H, D], y is [B, H, T, D].
        params.x_strides = [(t * h * d) as i64, d as i64, (h * d) as i64, 1];
        let (x_buffer, tables) = (buffer::<S>(&x), [buffer::<S::Compute>(&cos), buffer::<S::Compute>(&sin)]);
        let tables = [(&tables[0], 0), (&tables[1], 0)];
        let position_buffer = Buffer::from_slice(&Device::Cpu, &positions).unwrap();
        let mut y = Buffer::allocate(&Device::Cpu, S::DTYPE, x.len()).unwrap();
        rope((&x_buffer, 0), tables, Some((&position_buffer, 0)), &mut y, &params).unwrap();
        let got = y.to_vec::<S>().unwrap();
        for (at, got) in got.iter().enumerate() {
            let [b, h, t, d] = [at / (3 * 7 * 10), at / 70 % 3, at / 10 % 7, at % 10];
            let read = |d: usize| x[((b * 7 + t) * 3 + h) * 10 + d];
            let half = rotary / 2;
            let (pair, other, is_first) = match interleaved {
                true => (d / 2, d ^ 1, d % 2 == 0),
                false => (d % half, if d < half { d + half } else { d.wrapping_sub(half) }, d < half),
            };
            let expected = if d >= rotary {
                read(d)
            } else {
                let angle = angles[positions[t] as usize * half + pair];
                let (sin, cos) = angle.sin_cos();
                read(d) * cos + if is_first { -sin } else { sin } * read(other)
            };
            assert!((got.to_f64() - expected).abs() <= tolerance, "{got:?} is not {expected}");
        }
        // Turned back, it is what it was.
        let mut back = Buffer::allocate(&Device::Cpu, S::DTYPE, x.len()).unwrap();
        let y_strides = params.y_strides;
        let params = RopeParams { inverse: 1, x_strides: y_strides, y_strides: params.x_strides, ..params };
        rope((&y, 0), tables, Some((&position_buffer, 0)), &mut back, &params).unwrap();
        for (back, x) in back.to_vec::<S>().unwrap().iter().zip(&x) {
            assert!((back.to_f64() - x).abs() <= 2.0 * tolerance);
        }
    }

    #[test]
    fn turns_pairs_by_their_angle_and_back() {
        for rotary in [10, 6] {
            for interleaved in [false, true] {
                check::<f32>(interleaved, rotary, 4e-7);
                check::<f64>(interleaved, rotary, 1e-15);
                check::<bf16>(interleaved, rotary, 8e-3);
            }
        }
    }

    #[test]
    fn positions_outside_the_tables_are_an_error() {
        let (x, table) = (buffer::<f32>(&[1.0; 8]), buffer::<f32>(&[1.0; 2]));
        let mut y = Buffer::allocate(&Device::Cpu, crate::DType::F32, 8).unwrap();
        let params = RopeParams::new([1, 1, 4, 2], 2);
        let error = rope((&x, 0), [(&table, 0), (&table, 0)], None, &mut y, &params).unwrap_err();
        assert!(error.to_string().contains("position 2 is outside tables of 2 positions"), "{error}");
    }
}

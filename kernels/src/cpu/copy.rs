//! Copies on the host. Elements of one size are moved alike, whatever their dtype.
//!
//! Runs that are contiguous on both sides are moved as bytes. Where the input is contiguous along another dim than the
//! output (a transpose), the two dims are walked in square tiles, so that each cache line is used up while it is near.

use super::elementwise::BLOCK;
use super::parallel::{for_each_chunk, for_each_part, items_per_chunk};
use super::strided::{Cursor, Layout, gather_from, store_to};
use crate::copy::{CopyParams, FillParams};
use crate::elementwise::MAX_RANK;
use crate::{Compute, CpuArgs, DType, Result, Stored, with_dtype};

/// The side of a tile: a cache line of `f32`, or two of `f64`.
const TILE: usize = 16;

/// The body of [`crate::copy::COPY`].
pub(crate) fn copy(args: &mut CpuArgs<'_>) -> Result<()> {
    match args.elem.size_bytes() {
        1 => copy_elements::<u8>(args),
        2 => copy_elements::<u16>(args),
        4 => copy_elements::<u32>(args),
        _ => copy_elements::<u64>(args),
    }
    Ok(())
}

/// One side's view of the parameters.
fn layout(params: &CopyParams, strides: [i64; MAX_RANK]) -> Layout {
    Layout {
        rank: params.rank as usize,
        shape: params.shape.map(|len| len as usize),
        strides: strides.map(|stride| stride as isize),
    }
}

fn copy_elements<T: bytemuck::Pod + Send + Sync>(args: &mut CpuArgs<'_>) {
    let params: CopyParams = args.params();
    let (input, output) = (args.raw_input(0), std::mem::take(&mut args.outputs[0].bytes));
    let x: &[T] = bytemuck::cast_slice(input.bytes);
    let y: &mut [T] = &mut bytemuck::cast_slice_mut(output)[params.y_offset as usize..];
    let (from, to) = (layout(&params, params.x_strides), layout(&params, params.y_strides));
    if !to.is_contiguous() {
        return copy_outer(x, input.offset, &from, y, &to);
    }
    let y = &mut y[..params.len as usize];
    match transposed_dim(&from) {
        Some(dim) => copy_tiles(x, input.offset, &from, dim, y),
        None => for_each_chunk(y, 1, 1, |start, chunk| {
            copy_runs(x, &from, &mut from.cursor(input.offset, start), chunk);
        }),
    }
}

/// The body of [`crate::copy::ADD_INTO`]. On one thread, because two elements may go to one place.
pub(crate) fn add_into(args: &mut CpuArgs<'_>) -> Result<()> {
    with_dtype!(args.elem, E => add_elements::<E>(args));
    Ok(())
}

fn add_elements<E: Stored>(args: &mut CpuArgs<'_>) {
    let params: CopyParams = args.params();
    let (x, x_offset) = (args.whole_input::<E>(0), args.offset(0));
    let y = args.output::<E>(0);
    let (from, to) = (layout(&params, params.x_strides), layout(&params, params.y_strides));
    let (mut source, mut target) = (from.cursor(x_offset, 0), to.cursor(params.y_offset as usize, 0));
    let mut left = params.len as usize;
    while left > 0 {
        let run = from.run_len(&source).min(left);
        let (mut at_x, mut at_y) = (source.position, target.position);
        for _ in 0..run {
            y[at_y as usize] = y[at_y as usize].widen().accumulate(x[at_x as usize].widen()).store();
            (at_x, at_y) = (at_x + from.inner_stride(), at_y + to.inner_stride());
        }
        from.advance(&mut source, run);
        to.advance(&mut target, run);
        left -= run;
    }
}

/// Fills contiguous elements from a cursor on.
fn copy_runs<T: Copy>(x: &[T], from: &Layout, cursor: &mut Cursor, y: &mut [T]) {
    let stride = from.inner_stride();
    from.for_each_run(cursor, y.len(), |range, position| {
        let (run, first) = (&mut y[range], position as usize);
        match stride {
            1 => run.copy_from_slice(&x[first..first + run.len()]),
            0 => run.fill(x[first]),
            _ => {
                for (i, value) in run.iter_mut().enumerate() {
                    *value = x[(position + i as isize * stride) as usize];
                }
            }
        }
    });
}

/// Writes into a block of a larger tensor: run by run, in parallel over the first dim, whose slices of the output do not
/// overlap.
fn copy_outer<T: Copy + Send + Sync>(x: &[T], offset: usize, from: &Layout, y: &mut [T], to: &Layout) {
    let (rows, row_len) = (to.shape[0], to.shape[1..to.rank].iter().product::<usize>());
    let (pitch, step) = (to.strides[0] as usize, to.inner_stride() as usize);
    let copy_rows = |first: usize, chunk: &mut [T]| {
        let mut source = from.cursor(offset, first * row_len);
        let len = chunk.len().div_ceil(pitch) * row_len;
        to.for_each_run(&mut to.cursor(0, 0), len, |range, position| {
            let run = &mut chunk[position as usize..];
            if step == 1 {
                return copy_runs(x, from, &mut source, &mut run[..range.len()]);
            }
            for value in run.iter_mut().step_by(step).take(range.len()) {
                *value = x[source.position as usize];
                from.advance(&mut source, 1);
            }
        });
    };
    // The last row ends with its last element, not with its pitch.
    let row_span: usize = (1..to.rank).map(|dim| (to.shape[dim] - 1) * to.strides[dim] as usize).sum();
    let y = &mut y[..(rows - 1) * pitch + row_span + 1];
    let per_chunk = items_per_chunk(rows, row_len);
    if per_chunk >= rows {
        return copy_rows(0, y);
    }
    for_each_part(y, per_chunk * pitch, |i, chunk| copy_rows(i * per_chunk, chunk));
}

/// The dim along which the input lies close together while its last dim is spread out, if there is one.
pub(crate) fn transposed_dim(from: &Layout) -> Option<usize> {
    let inner = from.inner_stride().unsigned_abs();
    (0..from.rank - 1)
        .filter(|&dim| from.shape[dim] >= 4 && from.strides[dim] != 0 && inner >= TILE)
        .min_by_key(|&dim| from.strides[dim].unsigned_abs())
        .filter(|&dim| from.strides[dim].unsigned_abs() < inner)
}

/// Copies with the roles of `dim` and the last dim exchanged, in tiles. A row is what follows one index of `dim`.
fn copy_tiles<T: bytemuck::Pod + Send + Sync>(x: &[T], offset: usize, from: &Layout, dim: usize, y: &mut [T]) {
    let (rows, row_len) = (from.shape[..=dim].iter().product(), from.shape[dim + 1..from.rank].iter().product());
    let cols = from.shape[from.rank - 1];
    let per_chunk = items_per_chunk(rows, row_len).next_multiple_of(TILE);
    for_each_part(y, per_chunk * row_len, |i, chunk| {
        let mut first = i * per_chunk;
        let mut rest = chunk;
        while !rest.is_empty() {
            let height = TILE.min(rest.len() / row_len).min(from.shape[dim] - first % from.shape[dim]);
            let (band, after) = std::mem::take(&mut rest).split_at_mut(height * row_len);
            for start in (0..row_len).step_by(cols) {
                let position = from.cursor(offset, first * row_len + start).position;
                copy_band(x, position, [from.strides[dim], from.inner_stride()], &mut band[start..], row_len, cols);
            }
            (first, rest) = (first + height, after);
        }
    });
}

/// Copies up to [`TILE`] rows of `cols` elements, `row_len` apart in `band`; the input's strides are given for a step
/// to the next row and to the next column.
fn copy_band<T: bytemuck::Pod>(
    x: &[T],
    position: isize,
    [down, right]: [isize; 2],
    band: &mut [T],
    row_len: usize,
    cols: usize,
) {
    let mut tile = [[T::zeroed(); TILE]; TILE];
    let height = band.len().div_ceil(row_len).min(TILE);
    for left in (0..cols).step_by(TILE) {
        let width = TILE.min(cols - left);
        for (i, column) in tile[..width].iter_mut().enumerate() {
            let top = position + (left + i) as isize * right;
            if down == 1 {
                column[..height].copy_from_slice(&x[top as usize..top as usize + height]);
            } else {
                (0..height).for_each(|j| column[j] = x[(top + j as isize * down) as usize]);
            }
        }
        for (j, row) in band.chunks_mut(row_len).enumerate().take(height) {
            for (value, column) in row[left..left + width].iter_mut().zip(&tile) {
                *value = column[j];
            }
        }
    }
}

/// The body of [`crate::copy::CAST`].
pub(crate) fn cast(args: &mut CpuArgs<'_>) -> Result<()> {
    match args.elem.compute() {
        DType::F32 => cast_through::<f32>(args),
        DType::F64 => cast_through::<f64>(args),
        _ => cast_through::<i64>(args),
    }
    Ok(())
}

/// Reads blocks in the input's compute type and rounds them to the output's dtype.
fn cast_through<C: Compute>(args: &mut CpuArgs<'_>) {
    let params: CopyParams = args.params();
    let (input, from) = (args.raw_input(0), layout(&params, params.x_strides));
    let dtype = args.output_dtype(0);
    let (gather, store, size) = (gather_from::<C>(input.dtype), store_to::<C>(dtype), dtype.size_bytes());
    let output = std::mem::take(&mut args.outputs[0].bytes);
    for_each_chunk(output, BLOCK * size, BLOCK, |first, chunk| {
        let mut cursor = from.cursor(input.offset, first * BLOCK);
        let mut block = [C::default(); BLOCK];
        for bytes in chunk.chunks_mut(BLOCK * size) {
            let block = &mut block[..bytes.len() / size];
            gather(input.bytes, &from, &mut cursor, block);
            store(block, bytes);
        }
    });
}

/// The body of [`crate::copy::FILL`].
pub(crate) fn fill(args: &mut CpuArgs<'_>) -> Result<()> {
    let params: FillParams = args.params();
    with_dtype!(args.elem, S => {
        let value = if S::DTYPE.is_int() { S::from_i64(params.integer) } else { S::from_f64(params.value) };
        for_each_chunk(args.output::<S>(0), 1, 1, |_, chunk| chunk.fill(value));
    });
    Ok(())
}

//! What the row kernels share: sums whose error does not grow with the length of a row, and splits of rows over threads.
//!
//! Sums run in `LANES` accumulators that are flushed every `BLOCK` elements, so that a rounding error is carried
//! through at most `BLOCK / LANES` additions of a block and one per block. The order depends on the length alone.

use std::ops::Range;

use super::parallel;
use super::real::Real;
use super::scratch::Scratch;
use super::simd::wide;
use crate::{DType, Error, ErrorKind, Result, Stored};

/// How many partial sums a loop keeps: four of the widest vectors of `f32`, to hide the latency of an addition.
const LANES: usize = 64;

/// After how many elements the partial sums are flushed.
const BLOCK: usize = 32 * LANES;

/// After how many rows the accumulators of a column are flushed.
pub(crate) const ROW_BLOCK: usize = 128;

/// The error of a kernel that has no body for `dtype`.
#[track_caller]
pub(crate) fn unsupported(dtype: DType) -> Error {
    Error::new(ErrorKind::Unsupported { dtype, device: "cpu".into() })
}

/// Adds the lanes in a fixed tree.
#[inline(always)]
fn fold<C: Real>(mut lanes: [C; LANES]) -> C {
    let mut width = LANES / 2;
    while width > 0 {
        for lane in 0..width {
            lanes[lane] = lanes[lane] + lanes[lane + width];
        }
        width /= 2;
    }
    lanes[0]
}

/// `N` sums of `f(x, y, z)` over three slices of one length.
#[inline(always)]
pub(crate) fn sums<S: Copy, T: Copy, U: Copy, C: Real, const N: usize>(
    (x, y, z): (&[S], &[T], &[U]),
    f: impl Fn(S, T, U) -> [C; N],
) -> [C; N] {
    debug_assert!(x.len() == y.len() && x.len() == z.len());
    let mut total = [[C::c(0.0); LANES]; N];
    for ((x, y), z) in x.chunks(BLOCK).zip(y.chunks(BLOCK)).zip(z.chunks(BLOCK)) {
        let (x_groups, x_rest) = x.as_chunks::<LANES>();
        let (y_groups, y_rest) = y.as_chunks::<LANES>();
        let (z_groups, z_rest) = z.as_chunks::<LANES>();
        let mut lanes = [[C::c(0.0); LANES]; N];
        for ((x, y), z) in x_groups.iter().zip(y_groups).zip(z_groups) {
            for lane in 0..LANES {
                let terms = f(x[lane], y[lane], z[lane]);
                for n in 0..N {
                    lanes[n][lane] = lanes[n][lane] + terms[n];
                }
            }
        }
        for (lane, ((&x, &y), &z)) in x_rest.iter().zip(y_rest).zip(z_rest).enumerate() {
            let terms = f(x, y, z);
            for n in 0..N {
                lanes[n][lane] = lanes[n][lane] + terms[n];
            }
        }
        for n in 0..N {
            for lane in 0..LANES {
                total[n][lane] = total[n][lane] + lanes[n][lane];
            }
        }
    }
    total.map(fold)
}

/// `sum of f(x)`.
#[inline(always)]
pub(crate) fn sum<S: Copy, C: Real>(x: &[S], f: impl Fn(S) -> C) -> C {
    let [sum] = sums((x, x, x), |x, _, _| [f(x)]);
    sum
}

/// `sum of f(x, y)` over two slices of one length.
#[inline(always)]
pub(crate) fn sum2<S: Copy, T: Copy, C: Real>(x: &[S], y: &[T], f: impl Fn(S, T) -> C) -> C {
    let [sum] = sums((x, y, y), |x, y, _| [f(x, y)]);
    sum
}

/// The largest `f(x)`; negative infinity for none. NaN is passed over: a sum that follows meets it again.
#[inline(always)]
pub(crate) fn max<S: Copy, C: Real>(x: &[S], f: impl Fn(S) -> C) -> C {
    let larger = |a: C, b: C| if b > a { b } else { a };
    let (groups, rest) = x.as_chunks::<LANES>();
    let mut lanes = [C::c(f64::NEG_INFINITY); LANES];
    for group in groups {
        for lane in 0..LANES {
            lanes[lane] = larger(lanes[lane], f(group[lane]));
        }
    }
    for (lane, &x) in lanes.iter_mut().zip(rest) {
        *lane = larger(*lane, f(x));
    }
    lanes.into_iter().fold(C::c(f64::NEG_INFINITY), larger)
}

/// `x` in the compute type: `x` itself where it is stored in that type, else converted into `scratch`.
#[inline(always)]
pub(crate) fn widened<'a, E: Stored>(x: &'a [E], scratch: &'a mut [E::Compute]) -> &'a [E::Compute] {
    if E::DTYPE == E::Compute::DTYPE {
        return bytemuck::cast_slice(x);
    }
    for (out, x) in scratch.iter_mut().zip(x) {
        *out = x.widen();
    }
    scratch
}

/// `out += x`.
#[inline(always)]
pub(crate) fn add_to<C: Real>(out: &mut [C], x: &[C]) {
    for (out, &x) in out.iter_mut().zip(x) {
        *out = *out + x;
    }
}

/// The work on a range of rows, with their parts of three outputs.
type RowsBody<'f, A, B> = dyn Fn(Range<usize>, &mut [A], &mut [B], &mut [B]) + Sync + 'f;

/// The work on rows from the given one on, which adds to sums over all rows.
type SumsBody<'f, E, C> = dyn Fn(usize, &mut [E], &mut [C]) + Sync + 'f;

/// Calls `f(first..last, a, b, c)` for consecutive ranges of `rows`, with the parts of three outputs that belong to
/// them; an output has the same number of elements in each row, which may be none. `cost` is the work of one row.
pub(crate) fn for_each_rows<A: Send, B: Send>(
    rows: usize,
    cost: usize,
    outputs: (&mut [A], &mut [B], &mut [B]),
    f: &RowsBody<'_, A, B>,
) {
    let (mut a, mut b, mut c) = outputs;
    let per_task = parallel::items_per_chunk(rows, cost);
    if per_task >= rows {
        return f(0..rows, a, b, c);
    }
    let (a_len, b_len, c_len) = (a.len() / rows, b.len() / rows, c.len() / rows);
    let mut tasks = Vec::with_capacity(rows.div_ceil(per_task));
    for first in (0..rows).step_by(per_task) {
        let last = (first + per_task).min(rows);
        let n = last - first;
        tasks.push((first..last, take(&mut a, n * a_len), take(&mut b, n * b_len), take(&mut c, n * c_len)));
    }
    parallel::for_each_item(&mut tasks, |_, (range, a, b, c)| f(range.clone(), a, b, c));
}

/// Splits off the first `n` elements, or what there is.
pub(crate) fn take<'a, T>(slice: &mut &'a mut [T], n: usize) -> &'a mut [T] {
    slice.split_off_mut(..n.min(slice.len())).unwrap_or_default()
}

/// Calls `f(first row, rows of out, sums)` for consecutive runs of rows of `out`, where `f` adds each row's share to
/// `sums`, and gives the total of `sums` over all rows. Runs are blocks fixed by the work, summed in order, so the
/// result does not depend on the threads.
pub(crate) fn for_each_rows_summed<E: Stored<Compute: Real>>(
    out: &mut [E],
    cols: usize,
    n_sums: usize,
    f: &SumsBody<'_, E, E::Compute>,
) -> Result<Vec<E::Compute>> {
    let zero = E::Compute::c(0.0);
    if cols == 0 || out.is_empty() {
        return Ok(vec![zero; n_sums]);
    }
    let rows = out.len() / cols;
    let per_block = parallel::items_per_chunk(rows, cols * 4).max(8);
    let block = |index: usize, out: &mut [E], total: &mut [E::Compute]| {
        let mut sums = vec![zero; n_sums];
        for (run, out) in out.chunks_mut(ROW_BLOCK * cols).enumerate() {
            sums.fill(zero);
            f(index * per_block + run * ROW_BLOCK, out, &mut sums);
            add_to(total, &sums);
        }
    };
    if n_sums == 0 {
        parallel::for_each_chunk(out, cols, cols * 4, |first, out| f(first, out, &mut []));
        return Ok(Vec::new());
    }
    let mut total = vec![zero; n_sums];
    if rows <= per_block {
        block(0, out, &mut total);
        return Ok(total);
    }
    let mut partial = Scratch::zeroed(rows.div_ceil(per_block) * n_sums)?;
    let mut blocks: Vec<_> = out.chunks_mut(per_block * cols).zip(partial.chunks_mut(n_sums)).collect();
    parallel::for_each_item(&mut blocks, |index, (out, total)| block(index, out, total));
    wide::<E::Compute, _>(
        #[inline(always)]
        || {
            for partial in partial.chunks_exact(n_sums) {
                add_to(&mut total, partial);
            }
        },
    );
    Ok(total)
}

/// `1 / sqrt(squares / n + eps)`, where `squares` is the sum of `f(x)^2`. Where that overflowed, it is taken again of
/// `f(x) / max |f(x)|`; `eps` is then far below the last digit.
#[inline(always)]
pub(crate) fn inverse_rms<C: Real>(x: &[C], f: impl Fn(C) -> C, squares: C, eps: C) -> C {
    let n = C::from_i64(x.len() as i64);
    if squares == C::c(f64::INFINITY) {
        let largest = max(x, |x| f(x).abs());
        if largest < C::c(f64::INFINITY) {
            let scaled = sum(x, |x| (f(x) / largest) * (f(x) / largest));
            return C::c(1.0) / (largest * (scaled / n).sqrt());
        }
    }
    C::c(1.0) / (squares / n + eps).sqrt()
}

/// An optional vector of `cols` elements in the compute type; `absent` in each place where there is none.
pub(crate) fn widened_or<E: Stored<Compute: Real>>(
    x: Option<&[E]>,
    cols: usize,
    absent: E::Compute,
) -> Vec<E::Compute> {
    match x {
        Some(x) => x[..cols].iter().map(|x| x.widen()).collect(),
        None => vec![absent; cols],
    }
}

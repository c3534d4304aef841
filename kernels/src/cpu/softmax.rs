//! Softmax and log-softmax on the host; formulas in `crate::softmax`.
//!
//! Over the last dim a row is read once into scratch memory of the compute type. Over another dim the `inner` columns
//! are the vector: one pass takes the statistics of each column, a second one writes, without transposing.

use std::ops::Range;

use super::parallel;
use super::real::Real;
use super::rows::{ROW_BLOCK, add_to, for_each_rows, max, sum, sum2, take, unsupported, widened};
use super::scratch::Scratch;
use super::simd::wide;
use crate::cpu::widen::run_widened;
use crate::softmax::SoftmaxParams;
use crate::{Compute, CpuArgs, Result, Stored, with_dtype};

/// The work of an element with its exponential, in units of an addition.
const COST: usize = 8;

/// Columns whose statistics are kept in the first-level cache while `len` rows go by.
const TILE: usize = 512;

/// The host body of `SOFTMAX_FORWARD`.
pub(crate) fn softmax_forward(args: &mut CpuArgs<'_>) -> Result<()> {
    run_widened(
        args,
        &|args: &mut CpuArgs<'_>| with_dtype!(args.elem, real E => forward::<E, false>(args), else Err(unsupported(args.elem))),
    )
}

/// The host body of `LOG_SOFTMAX_FORWARD`.
pub(crate) fn log_softmax_forward(args: &mut CpuArgs<'_>) -> Result<()> {
    run_widened(
        args,
        &|args: &mut CpuArgs<'_>| with_dtype!(args.elem, real E => forward::<E, true>(args), else Err(unsupported(args.elem))),
    )
}

/// The host body of `SOFTMAX_BACKWARD`.
pub(crate) fn softmax_backward(args: &mut CpuArgs<'_>) -> Result<()> {
    run_widened(
        args,
        &|args: &mut CpuArgs<'_>| with_dtype!(args.elem, real E => backward::<E, false>(args), else Err(unsupported(args.elem))),
    )
}

/// The host body of `LOG_SOFTMAX_BACKWARD`.
pub(crate) fn log_softmax_backward(args: &mut CpuArgs<'_>) -> Result<()> {
    run_widened(
        args,
        &|args: &mut CpuArgs<'_>| with_dtype!(args.elem, real E => backward::<E, true>(args), else Err(unsupported(args.elem))),
    )
}

fn forward<E: Stored<Compute: Real>, const LOG: bool>(args: &mut CpuArgs<'_>) -> Result<()> {
    let SoftmaxParams { outer, len, inner } = args.params();
    let (outer, len, inner) = (outer as usize, len as usize, inner as usize);
    let (x, y) = (args.input::<E>(0), args.output::<E>(0));
    let x = &x[..y.len()];
    debug_assert_eq!(y.len(), outer * len * inner);
    if y.is_empty() {
        return Ok(());
    }
    if inner > 1 {
        return forward_columns::<E, LOG>(x, y, len, inner);
    }
    parallel::for_each_chunk(y, len, len * COST, |first, y| {
        let mut scratch = vec![E::Compute::c(0.0); len];
        wide::<E::Compute, _>(
            #[inline(always)]
            || {
                for (x, y) in x[first * len..].chunks_exact(len).zip(y.chunks_exact_mut(len)) {
                    forward_row::<E, LOG>(x, y, &mut scratch);
                }
            },
        );
    });
    Ok(())
}

#[inline(always)]
fn forward_row<E: Stored<Compute: Real>, const LOG: bool>(x: &[E], y: &mut [E], scratch: &mut [E::Compute]) {
    if LOG {
        let x = widened(x, scratch);
        // 1. The maximum.
        let max = max(x, |x| x);
        // 2. The logarithm of the sum of exponentials.
        let log_sum = sum(x, |x| (x - max).exp()).ln();
        // 3. Subtract the maximum first: both differences are small where x is large.
        for (y, &x) in y.iter_mut().zip(x) {
            *y = E::Compute::store(x - max - log_sum);
        }
    } else {
        // 1. The maximum.
        let max = max(x, |x| x.widen());
        // 2. The exponentials and their sum.
        for (e, x) in scratch.iter_mut().zip(x) {
            *e = (x.widen() - max).exp();
        }
        let scale = E::Compute::c(1.0) / sum(scratch, |e| e);
        // 3. Normalise.
        for (y, &e) in y.iter_mut().zip(scratch.iter()) {
            *y = E::Compute::store(e * scale);
        }
    }
}

fn backward<E: Stored<Compute: Real>, const LOG: bool>(args: &mut CpuArgs<'_>) -> Result<()> {
    let SoftmaxParams { outer, len, inner } = args.params();
    let (outer, len, inner) = (outer as usize, len as usize, inner as usize);
    let (y, dy, dx) = (args.input::<E>(0), args.input::<E>(1), args.output::<E>(0));
    let (y, dy) = (&y[..dx.len()], &dy[..dx.len()]);
    debug_assert_eq!(dx.len(), outer * len * inner);
    if dx.is_empty() {
        return Ok(());
    }
    if inner > 1 {
        return backward_columns::<E, LOG>(y, dy, dx, len, inner);
    }
    parallel::for_each_chunk(dx, len, len * if LOG { COST } else { 2 }, |first, dx| {
        wide::<E::Compute, _>(
            #[inline(always)]
            || {
                let rows = y[first * len..].chunks_exact(len).zip(dy[first * len..].chunks_exact(len));
                for ((y, dy), dx) in rows.zip(dx.chunks_exact_mut(len)) {
                    let total =
                        if LOG { sum(dy, |dy| dy.widen()) } else { sum2(y, dy, |y, dy| y.widen() * dy.widen()) };
                    for (dx, (&y, &dy)) in dx.iter_mut().zip(y.iter().zip(dy)) {
                        *dx = E::Compute::store(gradient::<_, LOG>(y.widen(), dy.widen(), total));
                    }
                }
            },
        );
    });
    Ok(())
}

/// `dx` from `y`, `dy` and the row's total.
#[inline(always)]
fn gradient<C: Real, const LOG: bool>(y: C, dy: C, total: C) -> C {
    if LOG { dy - y.exp() * total } else { y * (dy - total) }
}

/// Calls `f(index of the first element, a, b)` for tiles of neighbouring columns of `[outer, len, inner]`, where `a`
/// and `b` are the tile's parts of two arrays `[outer, inner]`.
fn for_each_tile<C: Real>(
    (len, inner): (usize, usize),
    a: &mut [C],
    b: &mut [C],
    f: impl Fn(usize, &mut [C], &mut [C]) + Send + Sync,
) {
    let tile = |columns: Range<usize>, _: &mut [C], mut a: &mut [C], mut b: &mut [C]| {
        let mut column = columns.start;
        while column < columns.end {
            let (o, i) = (column / inner, column % inner);
            let width = TILE.min(inner - i).min(columns.end - column);
            f(o * len * inner + i, take(&mut a, width), take(&mut b, width));
            column += width;
        }
    };
    for_each_rows(a.len().max(b.len()), len * COST, (&mut [], a, b), &tile);
}

/// Calls `f(o, row, out)` for each row `[o, l]` of `[outer, len, inner]`, where `row` is where its elements are.
fn for_each_inner_row<E: Stored>(
    out: &mut [E],
    (len, inner): (usize, usize),
    f: impl Fn(usize, Range<usize>, &mut [E]) + Send + Sync,
) {
    parallel::for_each_chunk(out, inner, inner * COST, |first, out| {
        wide::<E::Compute, _>(
            #[inline(always)]
            || {
                for (row, out) in (first..).zip(out.chunks_exact_mut(inner)) {
                    f(row / len, row * inner..(row + 1) * inner, out);
                }
            },
        );
    });
}

/// Adds up `len` rows of at most `TILE` columns; `add(l, sums)` adds row `l`.
#[inline(always)]
fn sum_rows<C: Real>(total: &mut [C], len: usize, add: impl Fn(usize, &mut [C])) {
    let mut block = [C::c(0.0); TILE];
    let block = &mut block[..total.len()];
    for first in (0..len).step_by(ROW_BLOCK) {
        block.fill(C::c(0.0));
        for l in first..(first + ROW_BLOCK).min(len) {
            add(l, block);
        }
        add_to(total, block);
    }
}

fn forward_columns<E: Stored<Compute: Real>, const LOG: bool>(
    x: &[E],
    y: &mut [E],
    len: usize,
    inner: usize,
) -> Result<()> {
    let columns = y.len() / len;
    let mut max = Scratch::new(columns)?;
    let mut norm = Scratch::zeroed(columns)?;
    // 1. and 2. The maximum and the sum of exponentials of each column.
    for_each_tile((len, inner), &mut max, &mut norm, |start, max, norm| {
        wide::<E::Compute, _>(
            #[inline(always)]
            || column_statistics::<E, LOG>(&x[start..], inner, len, max, norm),
        );
    });
    // 3. Normalise.
    for_each_inner_row(
        y,
        (len, inner),
        #[inline(always)]
        |o, row, y| {
            let statistics = max[o * inner..].iter().zip(&norm[o * inner..]);
            for ((y, x), (&max, &norm)) in y.iter_mut().zip(&x[row]).zip(statistics) {
                let shifted = x.widen() - max;
                *y = E::Compute::store(if LOG { shifted - norm } else { shifted.exp() * norm });
            }
        },
    );
    Ok(())
}

/// For each column of a tile, its maximum and the logarithm (`LOG`) or reciprocal of its sum of exponentials.
#[inline(always)]
fn column_statistics<E: Stored<Compute: Real>, const LOG: bool>(
    x: &[E],
    inner: usize,
    len: usize,
    max: &mut [E::Compute],
    norm: &mut [E::Compute],
) {
    let width = max.len();
    max.fill(E::Compute::c(f64::NEG_INFINITY));
    let row = |l: usize| &x[l * inner..][..width];
    for l in 0..len {
        for (max, x) in max.iter_mut().zip(row(l)) {
            let x = x.widen();
            *max = if x > *max { x } else { *max };
        }
    }
    sum_rows(
        norm,
        len,
        #[inline(always)]
        |l, sums| {
            for ((sum, x), &max) in sums.iter_mut().zip(row(l)).zip(max.iter()) {
                *sum = *sum + (x.widen() - max).exp();
            }
        },
    );
    for norm in norm {
        *norm = if LOG { norm.ln() } else { E::Compute::c(1.0) / *norm };
    }
}

fn backward_columns<E: Stored<Compute: Real>, const LOG: bool>(
    y: &[E],
    dy: &[E],
    dx: &mut [E],
    len: usize,
    inner: usize,
) -> Result<()> {
    let mut total = Scratch::zeroed(dx.len() / len)?;
    for_each_tile((len, inner), &mut total, &mut [], |start, total, _| {
        let width = total.len();
        wide::<E::Compute, _>(
            #[inline(always)]
            || {
                sum_rows(
                    total,
                    len,
                    #[inline(always)]
                    |l, sums| {
                        let from = start + l * inner;
                        for ((sum, y), dy) in sums.iter_mut().zip(&y[from..from + width]).zip(&dy[from..from + width]) {
                            *sum = *sum + if LOG { dy.widen() } else { y.widen() * dy.widen() };
                        }
                    },
                );
            },
        );
    });
    for_each_inner_row(
        dx,
        (len, inner),
        #[inline(always)]
        |o, row, dx| {
            let gradients = y[row.clone()].iter().zip(&dy[row]).zip(&total[o * inner..]);
            for (dx, ((y, dy), &total)) in dx.iter_mut().zip(gradients) {
                *dx = E::Compute::store(gradient::<_, LOG>(y.widen(), dy.widen(), total));
            }
        },
    );
    Ok(())
}

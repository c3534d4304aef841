//! Layer normalisation on the host; formulas in `crate::layer_norm`.
//!
//! A row is read from memory once, into scratch memory of the compute type that stays in the nearest cache.

use super::real::Real;
use super::rows::{
    add_to, for_each_rows, for_each_rows_summed, inverse_rms, sum, sums, unsupported, widened, widened_or,
};
use super::simd::wide;
use crate::cpu::widen::run_widened;
use crate::layer_norm::LayerNormParams;
use crate::{Compute, CpuArgs, Result, Stored, with_dtype};

/// The host body of `LAYER_NORM_FORWARD`.
pub(crate) fn forward(args: &mut CpuArgs<'_>) -> Result<()> {
    run_widened(
        args,
        &|args: &mut CpuArgs<'_>| with_dtype!(args.elem, real E => forward_rows::<E>(args), else Err(unsupported(args.elem))),
    )
}

/// The host body of `LAYER_NORM_BACKWARD`.
pub(crate) fn backward(args: &mut CpuArgs<'_>) -> Result<()> {
    run_widened(
        args,
        &|args: &mut CpuArgs<'_>| with_dtype!(args.elem, real E => backward_rows::<E>(args), else Err(unsupported(args.elem))),
    )
}

fn forward_rows<E: Stored<Compute: Real>>(args: &mut CpuArgs<'_>) -> Result<()> {
    let params: LayerNormParams = args.params();
    let (rows, cols) = (params.rows as usize, params.cols as usize);
    let (has_weight, has_bias) = (params.has_weight != 0, params.has_bias != 0);
    let x = args.input::<E>(0);
    let weight = widened_or(has_weight.then(|| args.input::<E>(1)), cols, E::Compute::c(1.0));
    let bias = widened_or(has_bias.then(|| args.input::<E>(1 + usize::from(has_weight))), cols, E::Compute::c(0.0));
    let (y, mean, rstd) = (args.output::<E>(0), args.output::<E::Compute>(1), args.output::<E::Compute>(2));
    debug_assert_eq!((y.len(), mean.len(), rstd.len()), (rows * cols, rows, rows));
    let eps = E::Compute::c(params.eps);
    if cols == 0 {
        mean.fill(E::Compute::c(f64::NAN));
        rstd.fill(E::Compute::c(f64::NAN));
        return Ok(());
    }
    for_each_rows(rows, cols * 6, (y, mean, rstd), &|range, y, mean, rstd| {
        let mut scratch = vec![E::Compute::c(0.0); cols];
        wide::<E::Compute, _>(
            #[inline(always)]
            || {
                let rows = x[range.start * cols..].chunks_exact(cols).zip(y.chunks_exact_mut(cols));
                for ((x, y), (mean, rstd)) in rows.zip(mean.iter_mut().zip(rstd)) {
                    (*mean, *rstd) = forward_row(x, (&weight, &bias), y, &mut scratch, eps);
                }
            },
        );
    });
    Ok(())
}

/// Writes `y` and gives `mean` and `rstd`.
#[inline(always)]
fn forward_row<E: Stored<Compute: Real>>(
    x: &[E],
    (weight, bias): (&[E::Compute], &[E::Compute]),
    y: &mut [E],
    scratch: &mut [E::Compute],
    eps: E::Compute,
) -> (E::Compute, E::Compute) {
    let n = E::Compute::from_i64(x.len() as i64);
    let x = widened(x, scratch);
    // 1. The mean.
    let mean = sum(x, |x| x) / n;
    // 2. The variance, and the correction of the mean by what is left after it is subtracted.
    let [rest, squares] = sums((x, x, x), |x, _, _| [x - mean, (x - mean) * (x - mean)]);
    let rest = rest / n;
    // Where the squares overflowed, so may the square of the rest.
    let overflowed = squares == E::Compute::c(f64::INFINITY);
    let squares = if overflowed { squares } else { squares - n * rest * rest };
    let rstd = inverse_rms(x, |x| x - mean, squares, eps);
    // 3. Normalise.
    for ((y, &x), (&weight, &bias)) in y.iter_mut().zip(x).zip(weight.iter().zip(bias)) {
        *y = E::Compute::store(((x - mean) - rest) * rstd * weight + bias);
    }
    (mean + rest, rstd)
}

fn backward_rows<E: Stored<Compute: Real>>(args: &mut CpuArgs<'_>) -> Result<()> {
    let params: LayerNormParams = args.params();
    let cols = params.cols as usize;
    let (has_dweight, has_dbias) = (params.has_dweight != 0, params.has_dbias != 0);
    let (dy, x) = (args.input::<E>(0), args.input::<E>(1));
    let (mean, rstd) = (args.input::<E::Compute>(2), args.input::<E::Compute>(3));
    let weight = widened_or((params.has_weight != 0).then(|| args.input::<E>(4)), cols, E::Compute::c(1.0));
    let dx = args.output::<E>(0);
    debug_assert_eq!(dx.len(), params.rows as usize * cols);
    let n_sums = cols * (usize::from(has_dweight) + usize::from(has_dbias));
    let sums = for_each_rows_summed(dx, cols, n_sums, &|first, dx, sums| {
        let mut scratch = vec![E::Compute::c(0.0); 3 * cols];
        let (dweight, dbias) = sums.split_at_mut(if has_dweight { cols } else { 0 });
        wide::<E::Compute, _>(
            #[inline(always)]
            || {
                let rows = dy[first * cols..].chunks_exact(cols).zip(x[first * cols..].chunks_exact(cols));
                let saved = mean[first..].iter().zip(&rstd[first..]);
                for ((dx, (dy, x)), (&mean, &rstd)) in dx.chunks_exact_mut(cols).zip(rows).zip(saved) {
                    backward_row((dy, x, mean, rstd), &weight, dx, (dweight, dbias), &mut scratch);
                }
            },
        );
    })?;
    let mut sums = sums.chunks_exact(cols.max(1));
    for output in 1..1 + usize::from(has_dweight) + usize::from(has_dbias) {
        for (out, &sum) in args.output::<E>(output).iter_mut().zip(sums.next().unwrap_or_default()) {
            *out = E::Compute::store(sum);
        }
    }
    Ok(())
}

/// Writes `dx` and adds to `dweight` and `dbias`, which are empty where not wanted.
#[inline(always)]
fn backward_row<E: Stored<Compute: Real>>(
    (dy, x, mean, rstd): (&[E], &[E], E::Compute, E::Compute),
    weight: &[E::Compute],
    dx: &mut [E],
    (dweight, dbias): (&mut [E::Compute], &mut [E::Compute]),
    scratch: &mut [E::Compute],
) {
    let cols = x.len();
    let n = E::Compute::from_i64(cols as i64);
    let (xhat, rest) = scratch.split_at_mut(cols);
    let (x_scratch, dy_scratch) = rest.split_at_mut(cols);
    let (x, dy) = (widened(x, x_scratch), widened(dy, dy_scratch));
    // 1. Recompute the normalised row.
    for (xhat, &x) in xhat.iter_mut().zip(x) {
        *xhat = (x - mean) * rstd;
    }
    // 2. The shares of weight and bias.
    add_to(dbias, dy);
    for ((dweight, &dy), &xhat) in dweight.iter_mut().zip(dy).zip(xhat.iter()) {
        *dweight = *dweight + dy * xhat;
    }
    // 3. What of the normalised row's gradient only shifts or scales the row.
    let [shift, scale] = sums((dy, weight, xhat), |dy, weight, xhat| [dy * weight, dy * weight * xhat]);
    let (shift, scale) = (shift / n, scale / n);
    // 4. The rest of it.
    for ((dx, &dy), (&weight, &xhat)) in dx.iter_mut().zip(dy).zip(weight.iter().zip(xhat.iter())) {
        *dx = E::Compute::store(rstd * (dy * weight - shift - xhat * scale));
    }
}

//! Root-mean-square normalisation on the host; formulas in `crate::rms_norm`.
//!
//! A row is read from memory once, into scratch memory of the compute type that stays in the nearest cache.

use super::real::Real;
use super::rows::{for_each_rows, for_each_rows_summed, inverse_rms, sum, sums, unsupported, widened, widened_or};
use super::simd::wide;
use crate::cpu::widen::run_widened;
use crate::rms_norm::RmsNormParams;
use crate::{Compute, CpuArgs, Result, Stored, with_dtype};

/// The host body of `RMS_NORM_FORWARD`.
pub(crate) fn forward(args: &mut CpuArgs<'_>) -> Result<()> {
    run_widened(
        args,
        &|args: &mut CpuArgs<'_>| with_dtype!(args.elem, real E => forward_rows::<E>(args), else Err(unsupported(args.elem))),
    )
}

/// The host body of `RMS_NORM_BACKWARD`.
pub(crate) fn backward(args: &mut CpuArgs<'_>) -> Result<()> {
    run_widened(
        args,
        &|args: &mut CpuArgs<'_>| with_dtype!(args.elem, real E => backward_rows::<E>(args), else Err(unsupported(args.elem))),
    )
}

fn forward_rows<E: Stored<Compute: Real>>(args: &mut CpuArgs<'_>) -> Result<()> {
    let params: RmsNormParams = args.params();
    let (rows, cols) = (params.rows as usize, params.cols as usize);
    let x = args.input::<E>(0);
    let weight = widened_or((params.has_weight != 0).then(|| args.input::<E>(1)), cols, E::Compute::c(1.0));
    let (y, rstd) = (args.output::<E>(0), args.output::<E::Compute>(1));
    debug_assert_eq!((y.len(), rstd.len()), (rows * cols, rows));
    let eps = E::Compute::c(params.eps);
    if cols == 0 {
        rstd.fill(E::Compute::c(f64::NAN));
        return Ok(());
    }
    for_each_rows(rows, cols * 4, (y, rstd, &mut []), &|range, y, rstd, _| {
        let mut scratch = vec![E::Compute::c(0.0); cols];
        wide::<E::Compute, _>(
            #[inline(always)]
            || {
                let rows = x[range.start * cols..].chunks_exact(cols).zip(y.chunks_exact_mut(cols));
                for ((x, y), rstd) in rows.zip(rstd) {
                    let x = widened(x, &mut scratch);
                    *rstd = inverse_rms(x, |x| x, sum(x, |x| x * x), eps);
                    for ((y, &x), &weight) in y.iter_mut().zip(x).zip(&weight) {
                        *y = E::Compute::store(x * *rstd * weight);
                    }
                }
            },
        );
    });
    Ok(())
}

fn backward_rows<E: Stored<Compute: Real>>(args: &mut CpuArgs<'_>) -> Result<()> {
    let params: RmsNormParams = args.params();
    let cols = params.cols as usize;
    let has_dweight = params.has_dweight != 0;
    let (dy, x, rstd) = (args.input::<E>(0), args.input::<E>(1), args.input::<E::Compute>(2));
    let weight = widened_or((params.has_weight != 0).then(|| args.input::<E>(3)), cols, E::Compute::c(1.0));
    let dx = args.output::<E>(0);
    debug_assert_eq!(dx.len(), params.rows as usize * cols);
    let sums = for_each_rows_summed(dx, cols, if has_dweight { cols } else { 0 }, &|first, dx, dweight| {
        let mut scratch = vec![E::Compute::c(0.0); 3 * cols];
        wide::<E::Compute, _>(
            #[inline(always)]
            || {
                let rows = dy[first * cols..].chunks_exact(cols).zip(x[first * cols..].chunks_exact(cols));
                for ((dx, (dy, x)), &rstd) in dx.chunks_exact_mut(cols).zip(rows).zip(&rstd[first..]) {
                    backward_row((dy, x, rstd), &weight, dx, dweight, &mut scratch);
                }
            },
        );
    })?;
    if has_dweight {
        for (out, &sum) in args.output::<E>(1).iter_mut().zip(&sums) {
            *out = E::Compute::store(sum);
        }
    }
    Ok(())
}

/// Writes `dx` and adds to `dweight`, which is empty where not wanted.
#[inline(always)]
fn backward_row<E: Stored<Compute: Real>>(
    (dy, x, rstd): (&[E], &[E], E::Compute),
    weight: &[E::Compute],
    dx: &mut [E],
    dweight: &mut [E::Compute],
    scratch: &mut [E::Compute],
) {
    let cols = x.len();
    let n = E::Compute::from_i64(cols as i64);
    let (xhat, rest) = scratch.split_at_mut(cols);
    let (x_scratch, dy_scratch) = rest.split_at_mut(cols);
    let (x, dy) = (widened(x, x_scratch), widened(dy, dy_scratch));
    // 1. Recompute the normalised row.
    for (xhat, &x) in xhat.iter_mut().zip(x) {
        *xhat = x * rstd;
    }
    // 2. The share of the weight.
    for ((dweight, &dy), &xhat) in dweight.iter_mut().zip(dy).zip(xhat.iter()) {
        *dweight = *dweight + dy * xhat;
    }
    // 3. What of the normalised row's gradient only scales the row.
    let [scale] = sums((dy, weight, xhat), |dy, weight, xhat| [dy * weight * xhat]);
    let scale = scale / n;
    // 4. The rest of it.
    for ((dx, &dy), (&weight, &xhat)) in dx.iter_mut().zip(dy).zip(weight.iter().zip(xhat.iter())) {
        *dx = E::Compute::store(rstd * (dy * weight - xhat * scale));
    }
}

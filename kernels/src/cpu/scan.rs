//! Scans on the host: formulas are in [`crate::scan`].

use crate::cpu::number::{Number, Summed};
use crate::cpu::parallel::for_each_chunk;
use crate::cpu::simd::wide;
use crate::cpu::widen::run_widened;
use crate::scan::ScanParams;
use crate::{Compute, CpuArgs, Result, with_dtype};

/// Columns that are scanned side by side.
const STRIP: usize = 256;

pub(crate) fn cumsum(args: &mut CpuArgs<'_>) -> Result<()> {
    scan(args, false)
}

pub(crate) fn cumprod(args: &mut CpuArgs<'_>) -> Result<()> {
    scan(args, true)
}

fn scan(args: &mut CpuArgs<'_>, is_product: bool) -> Result<()> {
    run_widened(args, &|args: &mut CpuArgs<'_>| {
        with_dtype!(args.elem, compute E => match is_product {
            true => arrays::<E>(args, Number::ONE, Number::times),
            false => arrays::<E>(args, Number::ZERO, Number::plus),
        }, else return Err(crate::cpu::rows::unsupported(args.elem)));
        Ok(())
    })
}

fn arrays<S: Summed>(args: &mut CpuArgs<'_>, start: S::Wide, join: impl Fn(S::Wide, S::Wide) -> S::Wide + Send + Sync) {
    let params: ScanParams = args.params();
    let (len, inner, reversed) = (params.len as usize, params.inner as usize, params.reversed != 0);
    let (x, y) = (args.input::<S>(0), args.output::<S::Total>(0));
    let size = len * inner;
    for_each_chunk(y, size, size, |first, y| {
        for (array, y) in y.chunks_exact_mut(size).enumerate() {
            let x = &x[(first + array) * size..][..size];
            if inner == 1 {
                line(x, y, reversed, start, &join);
            } else {
                wide::<S::Compute, _>(
                    #[inline(always)]
                    || columns(x, y, inner, reversed, start, &join),
                );
            }
        }
    });
}

/// Scans one line of neighbours.
fn line<S: Summed>(
    x: &[S],
    y: &mut [S::Total],
    reversed: bool,
    start: S::Wide,
    join: &impl Fn(S::Wide, S::Wide) -> S::Wide,
) {
    let mut acc = start;
    let step = |(y, &x): (&mut S::Total, &S)| {
        acc = join(acc, S::Wide::load(x));
        *y = acc.store();
    };
    if reversed {
        y.iter_mut().zip(x).rev().for_each(step);
    } else {
        y.iter_mut().zip(x).for_each(step);
    }
}

/// Scans the columns of `[len, inner]`, a strip of them side by side.
#[inline(always)]
fn columns<S: Summed>(
    x: &[S],
    y: &mut [S::Total],
    inner: usize,
    reversed: bool,
    start: S::Wide,
    join: &impl Fn(S::Wide, S::Wide) -> S::Wide,
) {
    let len = x.len() / inner;
    for first in (0..inner).step_by(STRIP) {
        let width = STRIP.min(inner - first);
        let mut accs = [start; STRIP];
        for t in 0..len {
            let row = if reversed { len - 1 - t } else { t } * inner + first;
            for ((acc, y), &x) in accs.iter_mut().zip(&mut y[row..row + width]).zip(&x[row..row + width]) {
                *acc = join(*acc, S::Wide::load(x));
                *y = acc.store();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::scan::{ScanOp, ScanParams, scan};
    use crate::{Bool, Buffer, Device, Rng, Stored, bf16, f16};

    fn run<S: Stored, O: Stored>(op: ScanOp, x: &[S], [outer, len, inner]: [u64; 3], reversed: bool) -> Vec<O> {
        let x = Buffer::from_slice(&Device::Cpu, x).unwrap();
        let mut y = Buffer::allocate(&Device::Cpu, op.output_dtype(S::DTYPE, &Device::Cpu), x.len()).unwrap();
        scan(op, (&x, 0), ScanParams { outer, len, inner, reversed: reversed.into() }, &mut y).unwrap();
        y.to_vec().unwrap()
    }

    #[test]
    fn small_scans_by_hand() {
        assert_eq!(run::<i32, i64>(ScanOp::Sum, &[1, 2, 3, 4], [1, 4, 1], false), [1, 3, 6, 10]);
        assert_eq!(run::<i32, i64>(ScanOp::Sum, &[1, 2, 3, 4], [1, 4, 1], true), [10, 9, 7, 4]);
        assert_eq!(run::<f32, f32>(ScanOp::Prod, &[1.0, 2.0, 3.0, 4.0], [1, 2, 2], false), [1.0, 2.0, 3.0, 8.0]);
        assert_eq!(run::<f32, f32>(ScanOp::Prod, &[1.0, 2.0, 3.0, 4.0], [1, 2, 2], true), [3.0, 8.0, 3.0, 4.0]);
        assert_eq!(run::<Bool, i64>(ScanOp::Sum, &[Bool(1); 3], [1, 3, 1], false), [1, 2, 3]);
        assert!(run::<f32, f32>(ScanOp::Sum, &[], [3, 0, 5], false).is_empty());
    }

    /// One rounding of the stored type on top of f64.
    fn check<S: Stored>(tolerance: f64) {
        let mut rng = Rng::seed(2);
        for shape in [[3, 31, 1], [1, 1000, 1], [33, 1, 7], [2, 33, 300], [40, 31, 33]] {
            let [outer, len, inner] = shape.map(|n| n as usize);
            let x: Vec<S> =
                (0..outer * len * inner).map(|_| S::from_f32((rng.uniform() * 16.0).floor() / 8.0)).collect();
            for reversed in [false, true] {
                let y: Vec<S> = run(ScanOp::Sum, &x, shape, reversed);
                for (o, i) in (0..outer).flat_map(|o| (0..inner).map(move |i| (o, i))) {
                    let mut sum = 0.0;
                    for t in 0..len {
                        let at = (o * len + if reversed { len - 1 - t } else { t }) * inner + i;
                        sum += x[at].to_f64();
                        assert!((y[at].to_f64() - sum).abs() <= tolerance * sum.abs(), "{shape:?}");
                    }
                }
            }
        }
    }

    #[test]
    fn any_shape_and_float() {
        check::<f32>(f32::EPSILON.into());
        check::<f64>(0.0);
        check::<f16>(f16::EPSILON.to_f64());
        check::<bf16>(bf16::EPSILON.to_f64());
    }

    #[test]
    fn long_scans_do_not_drift() {
        let y: Vec<f32> = run(ScanOp::Sum, &vec![0.1f32; 1 << 20], [1, 1 << 20, 1], false);
        assert_eq!(y[(1 << 20) - 1], (f64::from(0.1f32) * f64::from(1 << 20)) as f32);
    }
}

//! The sum of squares over many tensors on the host, and clipping by it; method in `crate::l2_norm`.

use super::real::Real;
use super::rows::{sum, unsupported};
use super::simd::wide;
use super::tensor_list::{BLOCK, for_each_block};
use crate::cpu::widen::{run_widened, run_with_wide_inputs};
use crate::l2_norm::{ClipParams, EPS, lens, not_finite};
use crate::{Compute, CpuArgs, Error, Result, Stored, with_dtype};

/// The host body of `L2_NORM_SQUARED`.
pub(crate) fn squared(args: &mut CpuArgs<'_>) -> Result<()> {
    run_with_wide_inputs(args, &|args: &mut CpuArgs<'_>| {
        let total =
            with_dtype!(args.elem, real E => sum_of_squares::<E>(args), else return Err(unsupported(args.elem)));
        with_dtype!(args.output_dtype(0), real T => args.output::<T>(0).fill(T::from_f64(total)),
            else return Err(unsupported(args.output_dtype(0))));
        Ok(())
    })
}

fn sum_of_squares<E: Stored>(args: &CpuArgs<'_>) -> f64 {
    let lens = lens(args.params);
    let blocks: Vec<&[E]> =
        lens.iter().enumerate().flat_map(|(i, &len)| args.input::<E>(i)[..len].chunks(BLOCK)).collect();
    let mut sums = vec![0.0; blocks.len()];
    for_each_block(blocks.into_iter().zip(&mut sums).collect(), |(block, total)| {
        wide::<E::Compute, _>(
            #[inline(always)]
            || **total = sum(block, |x: E| x.to_f64() * x.to_f64()),
        )
    });
    sum(&sums, |sum| sum)
}

/// The host body of `L2_NORM_CLIP`.
pub(crate) fn clip(args: &mut CpuArgs<'_>) -> Result<()> {
    let squared = with_dtype!(args.input_dtype(0), real T => args.input::<T>(0)[0].to_f64(),
        else return Err(unsupported(args.input_dtype(0))));
    let norm = squared.sqrt();
    if !norm.is_finite() {
        return Err(Error::new(not_finite(norm)).in_op("clip_grad_norm"));
    }
    let params: ClipParams = args.params();
    let factor = params.max_norm / (norm + EPS);
    if factor >= 1.0 {
        return Ok(());
    }
    run_widened(args, &|args: &mut CpuArgs<'_>| {
        with_dtype!(args.elem, real E => scale::<E>(args, factor), else return Err(unsupported(args.elem)));
        Ok(())
    })
}

fn scale<E: Stored<Compute: Real>>(args: &mut CpuArgs<'_>, factor: f64) {
    let factor = E::Compute::c(factor);
    let blocks = (0..args.n_outputs()).flat_map(|i| args.output::<E>(i).chunks_mut(BLOCK));
    for_each_block(blocks.collect(), |block| {
        wide::<E::Compute, _>(
            #[inline(always)]
            || block.iter_mut().for_each(|x| *x = E::Compute::store(x.widen() * factor)),
        )
    });
}

//! The sum of squares over many tensors on the host; method in `crate::l2_norm`.

use super::rows::{sum, unsupported};
use super::simd::wide;
use super::tensor_list::{BLOCK, for_each_block};
use crate::cpu::widen::run_with_wide_inputs;
use crate::l2_norm::lens;
use crate::{CpuArgs, Result, Stored, with_dtype};

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

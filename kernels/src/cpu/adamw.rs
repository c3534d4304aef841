//! AdamW on the host; formulas in `crate::adamw`.

use super::real::Real;
use super::rows::{take, unsupported};
use super::simd::wide;
use super::tensor_list::{BLOCK, for_each_block};
use crate::adamw::AdamWParams;
use crate::cpu::widen::run_widened;
use crate::{Compute, CpuArgs, Result, Stored, with_dtype};

/// The host body of `ADAMW`.
pub(crate) fn step(args: &mut CpuArgs<'_>) -> Result<()> {
    run_widened(
        args,
        &|args: &mut CpuArgs<'_>| with_dtype!(args.elem, real E => step_all::<E>(args), else Err(unsupported(args.elem))),
    )
}

/// Neighbouring elements of one tensor, with what belongs to them.
struct Block<'a, E: Stored> {
    param: &'a mut [E],
    grad: &'a [E],
    exp_avg: &'a mut [E::Compute],
    exp_avg_sq: &'a mut [E::Compute],
    /// Empty without AMSGrad.
    max_exp_avg_sq: &'a mut [E::Compute],
}

/// The scalars of a step in the compute type, combined as PyTorch combines them: in `f64` before they are rounded.
struct Scalars<C> {
    grad_scale: C,
    decay: C,
    beta1: C,
    one_minus_beta1: C,
    beta2: C,
    one_minus_beta2: C,
    negative_step_size: C,
    root_bias_correction2: C,
    eps: C,
}

impl<C: Real> Scalars<C> {
    fn new(p: &AdamWParams) -> Scalars<C> {
        Scalars {
            grad_scale: C::c(p.grad_scale),
            decay: C::c(1.0 - p.lr * p.weight_decay),
            beta1: C::c(p.beta1),
            one_minus_beta1: C::c(1.0 - p.beta1),
            beta2: C::c(p.beta2),
            one_minus_beta2: C::c(1.0 - p.beta2),
            negative_step_size: C::c(-(p.lr / p.bias_correction1)),
            root_bias_correction2: C::c(p.bias_correction2.sqrt()),
            eps: C::c(p.eps),
        }
    }
}

fn step_all<E: Stored<Compute: Real>>(args: &mut CpuArgs<'_>) -> Result<()> {
    let params: AdamWParams = args.params();
    let scalars = Scalars::<E::Compute>::new(&params);
    let tensors = args.n_inputs();
    let mut blocks = Vec::new();
    for i in 0..tensors {
        let mut param = args.output::<E>(i);
        let mut grad = &args.input::<E>(i)[..param.len()];
        let mut exp_avg = args.output::<E::Compute>(tensors + i);
        let mut exp_avg_sq = args.output::<E::Compute>(2 * tensors + i);
        let mut max_exp_avg_sq: &mut [E::Compute] =
            if params.amsgrad != 0 { args.output(3 * tensors + i) } else { &mut [] };
        debug_assert_eq!((exp_avg.len(), exp_avg_sq.len()), (param.len(), param.len()));
        while !param.is_empty() {
            let len = BLOCK.min(param.len());
            let (head, tail) = grad.split_at(len);
            grad = tail;
            blocks.push(Block {
                param: take(&mut param, len),
                grad: head,
                exp_avg: take(&mut exp_avg, len),
                exp_avg_sq: take(&mut exp_avg_sq, len),
                max_exp_avg_sq: take(&mut max_exp_avg_sq, len),
            });
        }
    }
    for_each_block(blocks, |block| {
        wide::<E::Compute, _>(
            #[inline(always)]
            || {
                if params.amsgrad != 0 {
                    update::<E, true>(block, &scalars)
                } else {
                    update::<E, false>(block, &scalars)
                }
            },
        );
    });
    Ok(())
}

#[inline(always)]
fn update<E: Stored<Compute: Real>, const AMSGRAD: bool>(block: &mut Block<'_, E>, s: &Scalars<E::Compute>) {
    let Block { param, grad, exp_avg, exp_avg_sq, max_exp_avg_sq } = block;
    let n = param.len();
    let (param, grad) = (&mut param[..n], &grad[..n]);
    let (exp_avg, exp_avg_sq) = (&mut exp_avg[..n], &mut exp_avg_sq[..n]);
    let max_exp_avg_sq = if AMSGRAD { &mut max_exp_avg_sq[..n] } else { &mut max_exp_avg_sq[..] };
    for i in 0..n {
        let g = grad[i].widen() * s.grad_scale;
        let p = param[i].widen() * s.decay;
        // Of the two forms of an interpolation, the one that is exact at the nearer end, as PyTorch's `lerp`.
        let m = if s.beta1 > s.one_minus_beta1 {
            exp_avg[i] + s.one_minus_beta1 * (g - exp_avg[i])
        } else {
            g - (g - exp_avg[i]) * s.beta1
        };
        let mut v = exp_avg_sq[i] * s.beta2 + s.one_minus_beta2 * g * g;
        exp_avg[i] = m;
        exp_avg_sq[i] = v;
        if AMSGRAD {
            // A NaN in either stays: no comparison with one is true.
            let largest = max_exp_avg_sq[i];
            v = if largest >= v || largest.is_nan() { largest } else { v };
            max_exp_avg_sq[i] = v;
        }
        let denominator = v.sqrt() / s.root_bias_correction2 + s.eps;
        param[i] = E::Compute::store(p + s.negative_step_size * m / denominator);
    }
}

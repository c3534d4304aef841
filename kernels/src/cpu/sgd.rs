//! Stochastic gradient descent on the host; formulas in `crate::sgd`.

use super::real::Real;
use super::rows::{take, unsupported};
use super::simd::wide;
use super::tensor_list::{BLOCK, for_each_block};
use crate::cpu::widen::run_widened;
use crate::sgd::SgdParams;
use crate::{Compute, CpuArgs, Result, Stored, with_dtype};

/// The host body of `SGD`.
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
    /// Empty without momentum.
    momentum_buffer: &'a mut [E::Compute],
}

fn step_all<E: Stored<Compute: Real>>(args: &mut CpuArgs<'_>) -> Result<()> {
    let params: SgdParams = args.params();
    let tensors = args.n_inputs();
    let mut blocks = Vec::new();
    for i in 0..tensors {
        let mut param = args.output::<E>(i);
        let mut grad = &args.input::<E>(i)[..param.len()];
        let mut momentum_buffer: &mut [E::Compute] =
            if params.has_momentum != 0 { args.output(tensors + i) } else { &mut [] };
        while !param.is_empty() {
            let len = BLOCK.min(param.len());
            let (head, tail) = grad.split_at(len);
            grad = tail;
            let momentum_buffer = take(&mut momentum_buffer, len);
            blocks.push(Block { param: take(&mut param, len), grad: head, momentum_buffer });
        }
    }
    for_each_block(blocks, |block| {
        wide::<E::Compute, _>(
            #[inline(always)]
            || if params.has_momentum != 0 { update_with_momentum(block, &params) } else { update(block, &params) },
        );
    });
    Ok(())
}

#[inline(always)]
fn update<E: Stored<Compute: Real>>(block: &mut Block<'_, E>, params: &SgdParams) {
    let number = E::Compute::c;
    let (lr, weight_decay, grad_scale) = (number(-params.lr), number(params.weight_decay), number(params.grad_scale));
    for (param, grad) in block.param.iter_mut().zip(block.grad) {
        let p = param.widen();
        let g = grad.widen() * grad_scale + weight_decay * p;
        *param = E::Compute::store(p + lr * g);
    }
}

#[inline(always)]
fn update_with_momentum<E: Stored<Compute: Real>>(block: &mut Block<'_, E>, params: &SgdParams) {
    let number = E::Compute::c;
    let (lr, weight_decay, grad_scale) = (number(-params.lr), number(params.weight_decay), number(params.grad_scale));
    let (momentum, fresh) = (number(params.momentum), number(1.0 - params.dampening));
    let (nesterov, first_step) = (params.nesterov != 0, params.first_step != 0);
    for ((param, grad), buffer) in block.param.iter_mut().zip(block.grad).zip(block.momentum_buffer.iter_mut()) {
        let p = param.widen();
        let g = grad.widen() * grad_scale + weight_decay * p;
        let b = if first_step { g } else { momentum * *buffer + fresh * g };
        *buffer = b;
        *param = E::Compute::store(p + lr * if nesterov { g + momentum * b } else { b });
    }
}

//! The activation that follows a matrix product on the host: `C = f(C)` in place, or `C = f(pre)`.

use crate::cpu::elementwise::BLOCK;
use crate::cpu::parallel::for_each_chunk;
use crate::cpu::real::Real;
use crate::cpu::simd::wide;
use crate::elementwise::{ElementwiseOp, UnaryOp};
use crate::{Compute, Stored};

/// What an element costs beside one that is added, as for elementwise ops.
const COST: usize = 8;

/// Applies `op` to `pre`, or to C itself where there is none, in blocks that stay in the first cache.
pub(crate) fn activate<S: Stored>(op: UnaryOp, pre: Option<&[S]>, c: &mut [S])
where
    S::Compute: Real,
{
    let apply = op.real_block::<S::Compute>();
    for_each_chunk(c, BLOCK, COST * BLOCK, |first, c| {
        let mut blocks = [[S::Compute::default(); BLOCK]; 2];
        let [x, y] = &mut blocks;
        for (at, c) in c.chunks_mut(BLOCK).enumerate() {
            let (x, y) = (&mut x[..c.len()], &mut y[..c.len()]);
            match pre {
                Some(pre) => widen(&pre[(first + at) * BLOCK..][..c.len()], x),
                None => widen(c, x),
            }
            apply([x, &[], &[]], [S::Compute::default(); 2], y);
            round(y, c);
        }
    });
}

fn widen<S: Stored>(from: &[S], to: &mut [S::Compute]) {
    wide::<S::Compute, _>(
        #[inline(always)]
        || {
            for (to, from) in to.iter_mut().zip(from) {
                *to = from.widen();
            }
        },
    );
}

fn round<S: Stored>(from: &[S::Compute], to: &mut [S]) {
    wide::<S::Compute, _>(
        #[inline(always)]
        || {
            for (to, from) in to.iter_mut().zip(from) {
                *to = from.store();
            }
        },
    );
}

//! The forward of attention on the host: o and lse, one block of queries at a time, with the online softmax.
//!
//! For a block of queries, over blocks of keys (Dao, "FlashAttention-2" (2023), algorithm 1):
//!
//! 1. s = scale q k^T + bias, hidden keys at -inf
//! 2. m' = max(m, rowmax s), p = exp(s - m'), l = l exp(m - m') + rowsum p
//! 3. o = o exp(m - m') + dropout(p) v
//! 4. at the end: o / l, lse = m + log l; a query that sees no key has l = 0: o = 0 and lse = -inf
//!
//! Queries are the lanes of a register: s and p are kept transposed, so that the softmax does the same in all lanes and
//! keys and values are read as they lie.

use crate::attention::AttentionParams;
use crate::cpu::attention_head::{BLOCK, Head, HeadSizes, Heads, Operand, Rows, Tile};
use crate::cpu::attention_tile::{PANEL, Products, drop_weights, is_diagonal, pack_transposed, scores_tile};
use crate::cpu::instructions::{Instructions, Job, Lane, dispatch};
use crate::cpu::parallel::try_for_each_part;
use crate::cpu::scratch::Scratch;
use crate::cpu::shared_rows::SharedRows;
use crate::cpu::tile::{STEP, all_finite};
use crate::cpu::widen::run_widened;
use crate::{CpuArgs, Error, ErrorKind, Kernel, Result, Stored, with_dtype};

/// Attention: inputs q, k, v, bias, mask, key lengths; outputs o and lse.
pub static ATTENTION_FORWARD: Kernel = Kernel {
    name: "attention",
    entry: "attention_forward",
    cpu: forward,
    #[cfg(feature = "cuda")]
    cuda: crate::cuda::attention::forward,
    #[cfg(feature = "wgpu")]
    wgpu: crate::wgpu::attention::forward,
};

/// Multiplications below which all blocks run on the calling thread.
const SERIAL_WORK: usize = 1 << 17;

fn forward(args: &mut CpuArgs<'_>) -> Result<()> {
    run_widened(args, &|args: &mut CpuArgs<'_>| {
        with_dtype!(args.elem, real E => forward_as::<E, <E as Stored>::Compute>(args),
        else Err(Error::new(ErrorKind::Unsupported { dtype: args.elem, device: "cpu".into() })))
    })
}

fn forward_as<S: Stored<Compute = T>, T: Lane>(args: &mut CpuArgs<'_>) -> Result<()> {
    let params: AttentionParams = args.params();
    let [batch, n_heads, q_len, value_dim] =
        [params.batch, params.heads, params.q_len, params.value_dim].map(|size| size as usize);
    let (o, lse) = (args.output::<S>(0), args.output::<T>(1));
    if batch * n_heads * q_len == 0 {
        return Ok(());
    }
    let o = SharedRows::new(o, [batch, n_heads, q_len, value_dim], params.o_strides)?;
    let heads = Heads::<S>::new(args, params, false);
    // Blocks of the last queries see the most keys by causality, so they go first.
    let mut tasks: Vec<(usize, &mut [T])> = lse[..batch * n_heads * q_len]
        .chunks_mut(q_len)
        .flat_map(|lse| lse.chunks_mut(BLOCK).enumerate().rev())
        .collect();
    let n_blocks = q_len.div_ceil(BLOCK);
    let per_part = if is_small(&params) { tasks.len() } else { 1 };
    try_for_each_part(&mut tasks, per_part, |part, tasks| {
        for (task, (block, lse)) in (part * per_part..).zip(tasks) {
            let index = task / n_blocks;
            let head = heads.head([index / n_heads, index % n_heads], &o, None, false)?;
            let mut work = Scratch::new(ForwardBlock::<T>::work_len(&head.sizes))?;
            dispatch(ForwardBlock { head: &head, sizes: head.sizes, first: *block * BLOCK, lse, work: &mut work });
        }
        Ok(())
    })
}

/// True where waking other threads costs more than they save.
pub(crate) fn is_small(params: &AttentionParams) -> bool {
    let pairs = params.batch.saturating_mul(params.heads).saturating_mul(params.q_len).saturating_mul(params.k_len);
    pairs.saturating_mul(params.head_dim + params.value_dim) < SERIAL_WORK as u64
}

/// One block of queries of one head.
struct ForwardBlock<'a, T> {
    head: &'a dyn Head<T>,
    sizes: HeadSizes,
    first: usize,
    lse: &'a mut [T],
    work: &'a mut [T],
}

impl<T> ForwardBlock<'_, T> {
    fn work_len(sizes: &HeadSizes) -> usize {
        let dropout = if sizes.has_dropout { BLOCK } else { 0 };
        BLOCK * (2 * sizes.head_dim + 2 * sizes.value_dim.next_multiple_of(STEP) + BLOCK + dropout)
    }
}

impl<T: Lane> Job for ForwardBlock<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<I: Instructions>(self) {
        let ForwardBlock { head, sizes, first, lse, work } = self;
        let (queries, d) = (lse.len(), sizes.head_dim);
        let (width, cols) = (queries.next_multiple_of(STEP), sizes.value_dim.next_multiple_of(STEP));
        let (q_t, work) = work.split_at_mut(d * width);
        let (o, work) = work.split_at_mut(queries * cols);
        let (scores, work) = work.split_at_mut(BLOCK * width);
        let (rows, work) = work.split_at_mut(BLOCK * d);
        let (v_rows, factors) = work.split_at_mut(BLOCK * cols);
        pack_transposed(head.rows(Operand::Query, first, queries, d, rows), [queries, d], width, q_t, sizes.scale);
        o.fill(T::ZERO);
        let mut state = Softmax { max: [T::NEG_INFINITY; BLOCK], sum: [T::ZERO; BLOCK] };
        let end = sizes.seen(first + queries - 1, 0, sizes.k_len);
        for key in (0..end).step_by(BLOCK) {
            let tile = Tile { query: first, queries, width, key, keys: BLOCK.min(end - key) };
            let k = head.rows(Operand::Key, key, tile.keys, d, rows);
            let limits = scores_tile::<I, T>(head, &sizes, tile, k, q_t, scores);
            state.update::<I>(width, limits, scores, (o, cols));
            if sizes.has_dropout {
                head.dropout(tile, factors);
                drop_weights(&factors[..tile.keys * width], scores);
            }
            let v = head.rows(Operand::Value, key, tile.keys, cols, v_rows);
            let is_exact = !(sizes.has_mask || is_diagonal(&sizes, tile)) || all_finite(v.data);
            Products { sizes: &sizes, tile, is_exact }.over_keys::<I, T>(scores, v, (&mut *o, cols));
        }
        state.finish(lse, (o, cols));
        head.store(first, Rows { data: o, stride: cols }, [queries, sizes.value_dim]);
    }
}

/// The running maximum and sum of every query of a block.
struct Softmax<T> {
    max: [T; BLOCK],
    sum: [T; BLOCK],
}

impl<T: Lane> Softmax<T> {
    /// Step 2, and the rescaling of step 3.
    #[inline(always)]
    fn update<I: Instructions>(
        &mut self,
        width: usize,
        limits: [usize; BLOCK / PANEL],
        scores: &mut [T],
        (o, cols): (&mut [T], usize),
    ) {
        let mut factors = [T::ONE; BLOCK];
        for lane in (0..width).step_by(STEP) {
            let keys = limits[lane / PANEL];
            let old: [T; STEP] = self.max.as_chunks::<STEP>().0[lane / STEP];
            let mut max = old;
            for scores in scores.chunks_exact(width).take(keys) {
                for (max, score) in max.iter_mut().zip(&scores[lane..lane + STEP]) {
                    *max = if *score > *max { *score } else { *max };
                }
            }
            // While a query has seen no key, its weights are e^(-inf - 0).
            let safe = max.map(|max| if max == T::NEG_INFINITY { T::ZERO } else { max });
            let mut sum = [T::ZERO; STEP];
            for scores in scores.chunks_exact_mut(width).take(keys) {
                let scores = &mut scores[lane..lane + STEP];
                for at in 0..STEP {
                    let weight = (scores[at] - safe[at]).fused_exp::<I>();
                    scores[at] = weight;
                    sum[at] += weight;
                }
            }
            let (factors, sums) = (&mut factors[lane..lane + STEP], &mut self.sum[lane..lane + STEP]);
            for at in 0..STEP {
                factors[at] = (old[at] - safe[at]).fused_exp::<I>();
                sums[at] = sums[at] * factors[at] + sum[at];
            }
            self.max[lane..lane + STEP].copy_from_slice(&max);
        }
        if cols > 0 {
            scale_rows(&factors, o, cols);
        }
    }

    /// Step 4.
    #[inline(always)]
    fn finish(&self, lse: &mut [T], (o, cols): (&mut [T], usize)) {
        let mut factors = [T::ZERO; BLOCK];
        for (at, lse) in lse.iter_mut().enumerate() {
            let is_blind = self.sum[at] == T::ZERO;
            factors[at] = if is_blind { T::ZERO } else { T::ONE / self.sum[at] };
            *lse = if is_blind { T::NEG_INFINITY } else { self.max[at] + self.sum[at].ln() };
        }
        if cols > 0 {
            scale_rows(&factors, o, cols);
        }
    }
}

/// `rows[at][..] *= factors[at]`.
#[inline(always)]
fn scale_rows<T: Lane>(factors: &[T; BLOCK], rows: &mut [T], cols: usize) {
    for (row, factor) in rows.chunks_exact_mut(cols).zip(factors) {
        if *factor != T::ONE {
            row.iter_mut().for_each(|value| *value *= *factor);
        }
    }
}

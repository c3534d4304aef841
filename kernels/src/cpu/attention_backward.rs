//! The backward of attention on the host: dq, dk, dv and the gradient of the bias, from recomputed weights.
//!
//! With p = exp(s - lse), z the dropout's factors, and dp = z * (do v^T) (Dao, "FlashAttention-2" (2023), algorithm 2):
//!
//! 1. `delta[i] = sum over v of do[i, v] o[i, v]`
//! 2. ds = p * (dp - delta), which is also the gradient of the bias
//! 3. dv = (z * p)^T do,  dk = scale ds^T q,  dq = scale ds k
//!
//! A task takes the queries of all heads that share a key head, in order, so that dk and dv are sums in a fixed order.
//! Where there are few such heads, the blocks of queries are dealt to a few tasks, whose sums are added in order.

use crate::attention::AttentionParams;
use crate::cpu::attention::is_small;
use crate::cpu::attention_head::{BLOCK, Head, HeadSizes, Heads, Operand, Rows, Tile};
use crate::cpu::attention_tile::{PANEL, Products, drop_weights, is_diagonal, pack_transposed, scores_tile};
use crate::cpu::instructions::{Instructions, Job, Lane, dispatch};
use crate::cpu::parallel;
use crate::cpu::scratch::Scratch;
use crate::cpu::shared_rows::SharedRows;
use crate::cpu::tile::{Lhs, Out, Rhs, STEP, all_finite, product};
use crate::cpu::widen::run_widened;
use crate::{CpuArgs, Error, ErrorKind, Kernel, Result, Stored, with_dtype};

/// The gradient of attention: inputs q, k, v, bias, mask, key lengths, o, lse, do; outputs dq, dk, dv and, if there are
/// four, dbias.
pub static ATTENTION_BACKWARD: Kernel = Kernel {
    name: "attention",
    entry: "attention_backward",
    cpu: backward,
    #[cfg(feature = "cuda")]
    cuda: crate::cuda::attention::backward,
    #[cfg(feature = "wgpu")]
    wgpu: crate::wgpu::attention::backward,
};

fn backward(args: &mut CpuArgs<'_>) -> Result<()> {
    run_widened(args, &|args: &mut CpuArgs<'_>| {
        with_dtype!(args.elem, real E => backward_as::<E, <E as Stored>::Compute>(args),
        else Err(Error::new(ErrorKind::Unsupported { dtype: args.elem, device: "cpu".into() })))
    })
}

/// How many tasks share the queries of a key head: it depends on the shape alone, as the order of sums does.
fn shares(params: &AttentionParams) -> usize {
    let heads = (params.batch * params.kv_heads).max(1);
    let blocks = (params.q_len as usize).div_ceil(4 * BLOCK).max(1);
    (8u64.div_ceil(heads) as usize).min(4).min(blocks)
}

fn backward_as<S: Stored<Compute = T>, T: Lane>(args: &mut CpuArgs<'_>) -> Result<()> {
    let params: AttentionParams = args.params();
    let [b, h, h_kv] = [params.batch, params.heads, params.kv_heads].map(|size| size as usize);
    let [q_len, k_len] = [params.q_len, params.k_len].map(|size| size as usize);
    let [d, d_v] = [params.head_dim, params.value_dim].map(|size| size as usize);
    let [dq, dk, dv] = [0, 1, 2].map(|index| args.output::<S>(index));
    let dq = SharedRows::new(dq, [b, h, q_len, d], params.dq_strides)?;
    let dk = SharedRows::new(dk, [b, h_kv, k_len, d], params.dk_strides)?;
    let dv = SharedRows::new(dv, [b, h_kv, k_len, d_v], params.dv_strides)?;
    let dbias =
        if args.n_outputs() > 3 { Some(bias_gradient(args.output::<S>(3), [b, h, q_len, k_len])?) } else { None };
    let heads = Heads::<S>::new(args, params, true);
    let lse = &args.input::<T>(7)[..b * h * q_len];

    let shares = shares(&params);
    let [d_padded, v_padded] = [d, d_v].map(|size| size.next_multiple_of(STEP));
    let sums_len = k_len * (d_padded + v_padded);
    let mut sums = Scratch::<T>::new(b * h_kv * shares * sums_len.max(1))?;
    let run = |task: usize, sums: &mut [T]| {
        sums.fill(T::ZERO);
        let (dk, dv) = sums.split_at_mut(k_len * d_padded);
        let (index, share) = (task / shares, task % shares);
        let group = h / h_kv;
        for head in (index % h_kv) * group..(index % h_kv + 1) * group {
            let view = heads.head([index / h_kv, head], &dq, dbias.as_ref(), true)?;
            let mut work = Scratch::new(BackwardBlock::<T>::work_len(&view.sizes))?;
            let lse = &lse[(index / h_kv * h + head) * q_len..][..q_len];
            for first in (0..q_len).step_by(BLOCK).skip(share).step_by(shares) {
                let lse = &lse[first..q_len.min(first + BLOCK)];
                let (sizes, work) = (view.sizes, &mut work[..]);
                dispatch(BackwardBlock { head: &view, sizes, first, lse, dk: &mut *dk, dv: &mut *dv, work });
            }
        }
        Ok(())
    };
    match is_small(&params) {
        true => sums.chunks_mut(sums_len.max(1)).enumerate().try_for_each(|(task, sums)| run(task, sums))?,
        false => parallel::try_for_each_part(&mut sums, sums_len.max(1), run)?,
    }
    let at = |row: usize| [row / k_len / h_kv, row / k_len % h_kv, row % k_len];
    let partial = |row: usize, from: usize, len: usize, share: usize| {
        let start = (row / k_len * shares + share) * sums_len;
        start + from + row % k_len * len..start + from + (row % k_len + 1) * len
    };
    parallel::for_each_range(b * h_kv * k_len, shares * (d + d_v), |rows| {
        let mut total = vec![T::ZERO; d_padded.max(v_padded)];
        for row in rows {
            for (output, from, len, cols) in [(&dk, 0, d_padded, d), (&dv, k_len * d_padded, v_padded, d_v)] {
                let total = &mut total[..len];
                total.copy_from_slice(&sums[partial(row, from, len, 0)]);
                for share in 1..shares {
                    let sums = &sums[partial(row, from, len, share)];
                    total.iter_mut().zip(sums).for_each(|(total, sum)| *total += *sum);
                }
                // SAFETY: ranges do not overlap, so each row is written by one task.
                unsafe { output.write(at(row), 0, &total[..cols]) };
            }
        }
    });
    Ok(())
}

/// The gradient of the bias, zero wherever no tile reaches.
fn bias_gradient<S: Stored>(output: &mut [S], sizes: [usize; 4]) -> Result<SharedRows<'_, S>> {
    output.fill(S::default());
    let [_, h, q_len, k_len] = sizes.map(|size| size as i64);
    SharedRows::new(output, sizes, [h * q_len * k_len, q_len * k_len, k_len, 1])
}

/// One block of queries of one head, adding to dk and dv of all keys.
struct BackwardBlock<'a, T> {
    head: &'a dyn Head<T>,
    sizes: HeadSizes,
    first: usize,
    lse: &'a [T],
    dk: &'a mut [T],
    dv: &'a mut [T],
    work: &'a mut [T],
}

/// A block of queries, packed for the products.
struct Queries<'a, T> {
    q_t: &'a mut [T],
    q: &'a mut [T],
    do_t: &'a mut [T],
    d_o: &'a mut [T],
    /// Infinite in lanes beyond the last query, and 0 for a query that sees no key: both give weights of 0.
    lse: [T; BLOCK],
    delta: [T; BLOCK],
}

impl<T> BackwardBlock<'_, T> {
    fn work_len(sizes: &HeadSizes) -> usize {
        let [d, dv] = [sizes.head_dim, sizes.value_dim].map(|size| size.next_multiple_of(STEP));
        let dropout = if sizes.has_dropout { BLOCK } else { 0 };
        BLOCK * (5 * d + 4 * dv + 2 * BLOCK + dropout)
    }
}

impl<T: Lane> Job for BackwardBlock<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<I: Instructions>(self) {
        let BackwardBlock { head, sizes, first, lse, dk, dv, work } = self;
        let [d, v] = [sizes.head_dim, sizes.value_dim].map(|size| size.next_multiple_of(STEP));
        let (queries, width) = (lse.len(), lse.len().next_multiple_of(STEP));
        let (p, work) = work.split_at_mut(BLOCK * width);
        let (ds, work) = work.split_at_mut(BLOCK * width);
        let (dq, work) = work.split_at_mut(BLOCK * d);
        let (k_rows, work) = work.split_at_mut(BLOCK * d);
        let (v_rows, work) = work.split_at_mut(BLOCK * v);
        let (q_t, work) = work.split_at_mut(sizes.head_dim * width);
        let (do_t, work) = work.split_at_mut(sizes.value_dim * width);
        let (q, work) = work.split_at_mut(BLOCK * d);
        let (d_o, rest) = work.split_at_mut(BLOCK * v);
        let block = Queries { q_t, q, do_t, d_o, lse: [T::ZERO; BLOCK], delta: [T::ZERO; BLOCK] };
        let block = block.packed(head, &sizes, first, lse, rest);
        let factors = rest;
        let rows_finite = all_finite(block.q) && all_finite(block.d_o);
        dq.fill(T::ZERO);
        let end = sizes.seen(first + queries - 1, 0, sizes.k_len);
        for key in (0..end).step_by(BLOCK) {
            let tile = Tile { query: first, queries, width, key, keys: BLOCK.min(end - key) };
            let k = head.rows(Operand::Key, key, tile.keys, d, k_rows);
            let values = head.rows(Operand::Value, key, tile.keys, sizes.value_dim, v_rows);
            let limits = scores_tile::<I, T>(head, &sizes, tile, k, block.q_t, p);
            for (panel, limit) in (0..width).step_by(PANEL).zip(limits) {
                let shape = [limit, PANEL.min(width - panel), sizes.value_dim];
                let left = Lhs { data: values.data, row: values.stride, depth: 1 };
                let right = Rhs { data: &block.do_t[panel.min(block.do_t.len())..], row: width };
                product::<I, T>(shape, left, right, Out { data: &mut ds[panel..], row: width, accumulate: false });
            }
            if sizes.has_dropout {
                head.dropout(tile, factors);
                drop_weights(&factors[..tile.keys * width], ds);
            }
            gradients_of_scores::<I, T>(width, limits, p, ds, &block);
            head.store_bias_gradient(tile, ds);
            if sizes.has_dropout {
                drop_weights(&factors[..tile.keys * width], p);
            }
            let is_masked = sizes.has_mask || is_diagonal(&sizes, tile);
            let is_exact = !is_masked || (rows_finite && all_finite(k.data));
            let products = Products { sizes: &sizes, tile, is_exact };
            products.over_queries::<I, T>(p, (block.d_o, v), &mut dv[key * v..]);
            products.over_queries::<I, T>(ds, (block.q, d), &mut dk[key * d..]);
            products.over_keys::<I, T>(ds, k, (&mut *dq, d));
        }
        let scale = T::from_f64(sizes.scale);
        dq.iter_mut().for_each(|value| *value *= scale);
        head.store(first, Rows { data: dq, stride: d }, [queries, sizes.head_dim]);
    }
}

impl<T: Lane> Queries<'_, T> {
    /// Step 1, and q (scaled) and do, each as rows and transposed.
    #[inline(always)]
    fn packed(mut self, head: &dyn Head<T>, sizes: &HeadSizes, first: usize, lse: &[T], work: &mut [T]) -> Self {
        let [d, dv] = [sizes.head_dim, sizes.value_dim];
        let [d_padded, v_padded] = [d, dv].map(|size| size.next_multiple_of(STEP));
        let (queries, width) = (lse.len(), lse.len().next_multiple_of(STEP));
        let scale = T::from_f64(sizes.scale);
        let q = head.rows(Operand::Query, first, queries, d_padded, work);
        for (to, from) in self.q.chunks_exact_mut(d_padded.max(1)).take(queries).zip(q.data.chunks(q.stride.max(1))) {
            to.iter_mut().zip(from).for_each(|(to, from)| *to = *from * scale);
        }
        pack_transposed(q, [queries, d], width, self.q_t, sizes.scale);
        let d_o = head.rows(Operand::OutputGradient, first, queries, v_padded, work);
        for (to, from) in
            self.d_o.chunks_exact_mut(v_padded.max(1)).take(queries).zip(d_o.data.chunks(d_o.stride.max(1)))
        {
            to.copy_from_slice(&from[..v_padded]);
        }
        pack_transposed(d_o, [queries, dv], width, self.do_t, 1.0);
        let o = head.rows(Operand::Output, first, queries, v_padded, work);
        for (at, (o, d_o)) in o.data.chunks(o.stride.max(1)).zip(self.d_o.chunks_exact(v_padded.max(1))).enumerate() {
            let mut sums = [T::ZERO; STEP];
            for (o, d_o) in o[..v_padded].as_chunks::<STEP>().0.iter().zip(d_o.as_chunks::<STEP>().0) {
                (0..STEP).for_each(|lane| sums[lane] += o[lane] * d_o[lane]);
            }
            self.delta[at] = sums.into_iter().fold(T::ZERO, |total, sum| total + sum);
        }
        self.lse.fill(T::ZERO - T::NEG_INFINITY);
        for (to, lse) in self.lse.iter_mut().zip(lse) {
            *to = if *lse == T::NEG_INFINITY { T::ZERO } else { *lse };
        }
        self.q[queries * d_padded..width * d_padded].fill(T::ZERO);
        self.d_o[queries * v_padded..width * v_padded].fill(T::ZERO);
        self
    }
}

/// Step 2: scores become weights, gradients of weights become gradients of scores.
#[inline(always)]
fn gradients_of_scores<I: Instructions, T: Lane>(
    width: usize,
    limits: [usize; BLOCK / PANEL],
    p: &mut [T],
    ds: &mut [T],
    block: &Queries<'_, T>,
) {
    for lane in (0..width).step_by(STEP) {
        let lse = block.lse.as_chunks::<STEP>().0[lane / STEP];
        let delta = block.delta.as_chunks::<STEP>().0[lane / STEP];
        let rows = p.chunks_exact_mut(width).zip(ds.chunks_exact_mut(width));
        for (p, ds) in rows.take(limits[lane / PANEL]) {
            let p = &mut p.as_chunks_mut::<STEP>().0[lane / STEP];
            let ds = &mut ds.as_chunks_mut::<STEP>().0[lane / STEP];
            // In arrays of their own the values cannot overlap, which the compiler needs to know.
            let (scores, gradients) = (*p, *ds);
            let mut weights = [T::ZERO; STEP];
            for at in 0..STEP {
                weights[at] = (scores[at] - lse[at]).fused_exp::<I>();
            }
            *p = weights;
            for at in 0..STEP {
                // A hidden key may be anything, also NaN; it has no gradient.
                let gradient = weights[at] * (gradients[at] - delta[at]);
                ds[at] = if weights[at] == T::ZERO { T::ZERO } else { gradient };
            }
        }
    }
}

#[cfg(test)]
mod tests;

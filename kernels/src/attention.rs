//! Scaled dot-product attention, forward and backward, without the matrix of scores in memory.
//!
//! ```text
//! s[i, j] = scale * sum over d of q[i, d] k[j, d] + bias[i, j],   -inf where key j is hidden from query i
//! lse[i]  = log sum over j of exp(s[i, j])
//! p[i, j] = exp(s[i, j] - lse[i]),   o[i, v] = sum over j of dropout(p)[i, j] v[j, v]
//! ```
//!
//! q `[B, H, Tq, D]`, k `[B, Hkv, Tk, D]`, v `[B, Hkv, Tk, Dv]`, o `[B, H, Tq, Dv]`, lse `[B, H, Tq]`; query head `h`
//! reads key head `h / (H / Hkv)`. Strides are given for `[B, H, T, D]` whatever the order in memory, so q, k and v may
//! be slices of one projection `[B, T, 3, H, D]` and o may be written as `[B, T, H, D]`. f16, bf16 and f32 accumulate
//! in f32, f64 in f64; lse is f64 for f64 and f32 else. Source: Dao, "FlashAttention-2" (2023), algorithms 1 and 2.

use bytemuck::{Pod, Zeroable};

use crate::cpu::attention::ATTENTION_FORWARD;
use crate::cpu::attention_backward::ATTENTION_BACKWARD;
use crate::philox::Stream;
use crate::{Buffer, Launch, Result};

/// The sizes, strides (in elements) and features of an attention.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Debug, Pod, Zeroable)]
pub struct AttentionParams {
    /// B.
    pub batch: u64,
    /// H, the heads of q.
    pub heads: u64,
    /// Hkv, the heads of k and v; divides H.
    pub kv_heads: u64,
    /// Tq.
    pub q_len: u64,
    /// Tk.
    pub k_len: u64,
    /// D, of q and k.
    pub head_dim: u64,
    /// Dv, of v and o.
    pub value_dim: u64,
    /// Strides of q along B, H, Tq, D.
    pub q_strides: [i64; 4],
    /// Strides of k along B, Hkv, Tk, D.
    pub k_strides: [i64; 4],
    /// Strides of v along B, Hkv, Tk, Dv.
    pub v_strides: [i64; 4],
    /// Strides of o along B, H, Tq, Dv.
    pub o_strides: [i64; 4],
    /// Strides of do.
    pub do_strides: [i64; 4],
    /// Strides of dq, as those of q.
    pub dq_strides: [i64; 4],
    /// Strides of dk, as those of k.
    pub dk_strides: [i64; 4],
    /// Strides of dv, as those of v.
    pub dv_strides: [i64; 4],
    /// Strides of the bias along B, H, Tq, Tk; 0 where it is broadcast.
    pub bias_strides: [i64; 4],
    /// Strides of the mask along B, H, Tq, Tk; 0 where it is broadcast.
    pub mask_strides: [i64; 4],
    /// The factor of the products of q and k, commonly `1 / sqrt(D)`.
    pub scale: f64,
    /// 1 where key j is hidden from query i unless `j <= i + causal_offset`.
    pub causal: u64,
    /// `Tk - Tq` aligns the last query with the last key (a cache of keys), 0 the first with the first.
    pub causal_offset: i64,
    /// 1 where there is a bias.
    pub has_bias: u64,
    /// 1 where there is a mask.
    pub has_mask: u64,
    /// 1 where keys from `key_lengths[b]` on are hidden.
    pub has_key_lengths: u64,
    /// The probability that a weight is dropped; kept ones are scaled by `1 / (1 - dropout)`.
    pub dropout: f64,
    /// The seed and stream of the dropout; weight (b, h, i, j) is kept where element
    /// `((b H + h) Tq + i) Tk + j` of `fill_bernoulli` with probability `1 - dropout` is 1.
    pub dropout_stream: [u64; 2],
}

impl AttentionParams {
    /// Attention of contiguous tensors with scale `1 / sqrt(D)` and no further features; sizes are
    /// `[B, H, Hkv, Tq, Tk, D, Dv]`.
    pub fn new([batch, heads, kv_heads, q_len, k_len, head_dim, value_dim]: [usize; 7]) -> Self {
        let contiguous =
            |heads: usize, len: usize, dim: usize| [(heads * len * dim) as i64, (len * dim) as i64, dim as i64, 1];
        let q_strides = contiguous(heads, q_len, head_dim);
        let k_strides = contiguous(kv_heads, k_len, head_dim);
        let v_strides = contiguous(kv_heads, k_len, value_dim);
        let o_strides = contiguous(heads, q_len, value_dim);
        AttentionParams {
            batch: batch as u64,
            heads: heads as u64,
            kv_heads: kv_heads as u64,
            q_len: q_len as u64,
            k_len: k_len as u64,
            head_dim: head_dim as u64,
            value_dim: value_dim as u64,
            q_strides,
            k_strides,
            v_strides,
            o_strides,
            do_strides: o_strides,
            dq_strides: q_strides,
            dk_strides: k_strides,
            dv_strides: v_strides,
            bias_strides: contiguous(heads, q_len, k_len),
            mask_strides: contiguous(heads, q_len, k_len),
            scale: 1.0 / (head_dim.max(1) as f64).sqrt(),
            causal: 0,
            causal_offset: 0,
            has_bias: 0,
            has_mask: 0,
            has_key_lengths: 0,
            dropout: 0.0,
            dropout_stream: [0; 2],
        }
    }

    /// Hides key j from query i unless `j <= i + offset`.
    pub fn with_causal(mut self, offset: i64) -> Self {
        (self.causal, self.causal_offset) = (1, offset);
        self
    }

    /// Drops weights with probability `p`.
    pub fn with_dropout(mut self, p: f64, stream: Stream) -> Self {
        (self.dropout, self.dropout_stream) = (p, [stream.seed, stream.number]);
        self
    }

    /// The stream that dropout draws from.
    pub fn stream(&self) -> Stream {
        Stream { seed: self.dropout_stream[0], number: self.dropout_stream[1] }
    }
}

/// What attention reads: buffers, each with the element at which its data start.
#[derive(Clone, Copy)]
pub struct AttentionInputs<'a> {
    /// `[B, H, Tq, D]`.
    pub q: (&'a Buffer, usize),
    /// `[B, Hkv, Tk, D]`.
    pub k: (&'a Buffer, usize),
    /// `[B, Hkv, Tk, Dv]`.
    pub v: (&'a Buffer, usize),
    /// Added to the scores, broadcast to `[B, H, Tq, Tk]`; of the dtype of q.
    pub bias: Option<(&'a Buffer, usize)>,
    /// True (or not 0) where key j is seen by query i, broadcast to `[B, H, Tq, Tk]`; bool.
    pub mask: Option<(&'a Buffer, usize)>,
    /// How many keys batch b has, `[B]`, contiguous; i64, and i32 or u32 on a device that has no i64.
    pub key_lengths: Option<(&'a Buffer, usize)>,
}

impl<'a> AttentionInputs<'a> {
    /// Without bias, mask or key lengths.
    pub fn new(q: (&'a Buffer, usize), k: (&'a Buffer, usize), v: (&'a Buffer, usize)) -> Self {
        AttentionInputs { q, k, v, bias: None, mask: None, key_lengths: None }
    }

    /// The launch with these as its first six inputs; q stands where one is absent.
    fn launch(&self, kernel: &'static crate::Kernel) -> Launch<'a> {
        let AttentionInputs { q, k, v, bias, mask, key_lengths } = *self;
        [q, k, v, bias.unwrap_or(q), mask.unwrap_or(q), key_lengths.unwrap_or(q)]
            .into_iter()
            .fold(Launch::new(kernel, q.0.dtype()), |launch, (buffer, offset)| launch.input(buffer, offset))
    }

    fn params(&self, params: &AttentionParams) -> AttentionParams {
        AttentionParams {
            has_bias: self.bias.is_some().into(),
            has_mask: self.mask.is_some().into(),
            has_key_lengths: self.key_lengths.is_some().into(),
            ..*params
        }
    }
}

/// The queries and heads that units of work are made of.
fn grid(params: &AttentionParams, len: u64) -> [usize; 3] {
    [len as usize, params.heads as usize, params.batch as usize]
}

/// Writes o and lse. A query that sees no key gets zeros and an lse of negative infinity.
///
/// # Errors
/// A dtype that is no float, or no room for working memory.
#[track_caller]
pub fn attention(
    inputs: AttentionInputs<'_>,
    o: &mut Buffer,
    lse: &mut Buffer,
    params: &AttentionParams,
) -> Result<()> {
    let params = inputs.params(params);
    let launch = inputs.launch(&ATTENTION_FORWARD).output(o).output(lse);
    launch.params(&params).grid(grid(&params, params.q_len)).run()
}

/// What the backward reads beside the inputs.
#[derive(Clone, Copy)]
pub struct AttentionSaved<'a> {
    /// The result of the forward.
    pub o: (&'a Buffer, usize),
    /// The second result of the forward.
    pub lse: (&'a Buffer, usize),
    /// The gradient of o.
    pub d_o: (&'a Buffer, usize),
}

/// Writes dq, dk and dv, and dbias `[B, H, Tq, Tk]` (contiguous, of the dtype of q) where it is asked for.
///
/// # Errors
/// As [`attention`].
#[track_caller]
pub fn attention_backward(
    inputs: AttentionInputs<'_>,
    saved: AttentionSaved<'_>,
    [dq, dk, dv]: [&mut Buffer; 3],
    dbias: Option<&mut Buffer>,
    params: &AttentionParams,
) -> Result<()> {
    let params = inputs.params(params);
    let mut launch = inputs.launch(&ATTENTION_BACKWARD);
    for (buffer, offset) in [saved.o, saved.lse, saved.d_o] {
        launch = launch.input(buffer, offset);
    }
    launch = launch.output(dq).output(dk).output(dv);
    if let Some(dbias) = dbias {
        launch = launch.output(dbias);
    }
    launch.params(&params).grid(grid(&params, params.k_len)).run()
}

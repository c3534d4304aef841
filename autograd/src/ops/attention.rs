//! Scaled dot-product attention, fused forward and backward.

use chainrule_tensor::{AttentionOptions, Error, Result, Tensor};

use crate::op::{Op, apply_one};
use crate::ops::matmul::autocast;
use crate::{Tape, Var};

/// What [`Var::attention`] does beside the two products. The default hides no key and drops no weight.
///
/// Everything that hides a key (causality, mask, lengths) may be combined: a key is seen where all agree.
#[derive(Clone, Debug, Default)]
pub struct Attention {
    /// Query i sees key j only if `j <= i + causal_offset`.
    pub is_causal: bool,
    /// How far beyond its own number a query sees where `is_causal`. `None` is 0: the first query is aligned with the
    /// first key (top left), as PyTorch does. With a cache of earlier keys give `Some(Tk - Tq)`, which aligns the last
    /// query with the last key (bottom right).
    pub causal_offset: Option<isize>,
    /// Added to the scores; broadcasts to `[B, H, Tq, Tk]`. Its gradient takes memory of that size.
    pub bias: Option<Var>,
    /// Bool, true where query i sees key j; broadcasts to `[B, H, Tq, Tk]`.
    pub mask: Option<Tensor>,
    /// Integers `[B]`: of batch b only the first `key_lengths[b]` keys are seen.
    pub key_lengths: Option<Tensor>,
    /// The factor of `q k^T`; `1 / sqrt(D)` where it is `None`.
    pub scale: Option<f64>,
    /// The probability that a weight is dropped on a training tape.
    pub dropout: f64,
}

impl Attention {
    /// Each query sees the keys up to its own position.
    pub fn causal() -> Attention {
        Attention { is_causal: true, ..Attention::default() }
    }

    /// As the tensor op takes it, with a stream where weights are to be dropped.
    #[track_caller]
    fn options(&self, tape: Option<&Tape>) -> Result<AttentionOptions> {
        if !(0.0..=1.0).contains(&self.dropout) {
            let message = format!("the dropout probability is {}, expected 0 to 1", self.dropout);
            return Err(Error::argument("attention", message));
        }
        if let (Some(offset), false) = (self.causal_offset, self.is_causal) {
            let message = format!("got causal_offset {offset} without is_causal");
            return Err(Error::argument("attention", message));
        }
        let stream = tape.filter(|_| self.dropout > 0.0).and_then(|tape| tape.with_rng(|rng| rng.next_stream()));
        Ok(AttentionOptions {
            causal_offset: self.is_causal.then(|| self.causal_offset.unwrap_or(0)),
            mask: self.mask.clone(),
            key_lengths: self.key_lengths.clone(),
            scale: self.scale,
            dropout: stream.map(|stream| (self.dropout, stream)),
        })
    }
}

impl Var {
    /// Attention of queries (this) to keys and values, without the matrix of scores in memory; see
    /// [`Tensor::attention`] for shapes and formula, and [`Attention`] for masks and dropout.
    ///
    /// q `[B, H, Tq, D]`, k `[B, Hkv, Tk, D]`, v `[B, Hkv, Tk, Dv]`, result `[B, H, Tq, Dv]`, in memory
    /// `[B, Tq, H, Dv]`. Computes in the tape's autocast dtype, if it has one.
    ///
    /// Gradient: of q, k, v and the bias, from weights that are computed again block by block. A query that sees no key
    /// gives zeros and has zero gradient.
    ///
    /// # Errors
    /// Shapes that do not fit, different dtypes or devices, a dropout outside 0 to 1.
    ///
    /// # Differences
    /// PyTorch refuses `is_causal` with a mask; here both hold. Its `enable_gqa` is implied by fewer key heads.
    ///
    /// ```
    /// # use chainrule_autograd::{Attention, Var, value_and_grad};
    /// # use chainrule_tensor::{Device, Tensor};
    /// let q = Var::from(Tensor::new([[[[0.0f64]]]], &Device::Cpu)?);
    /// let k = Var::from(Tensor::new([[[[1.0f64], [2.0]]]], &Device::Cpu)?);
    /// let v = Tensor::new([[[[3.0f64], [5.0]]]], &Device::Cpu)?;
    /// // The query is zero, so both keys have half the weight.
    /// let (y, dv) = value_and_grad(|v| q.attention(&k, &v[0], &Attention::default())?.sum(.., false), &[v])?;
    /// assert_eq!((y.item::<f64>()?, dv[0].to_vec::<f64>()?), (4.0, vec![0.5, 0.5]));
    /// # Ok::<(), chainrule_tensor::Error>(())
    /// ```
    ///
    /// Source: Dao, "FlashAttention-2" (2023); `torch.nn.functional.scaled_dot_product_attention`.
    #[track_caller]
    pub fn attention(&self, k: &Var, v: &Var, attention: &Attention) -> Result<Var> {
        let inputs = autocast(&[&[self, k, v][..], attention.bias.as_ref().as_slice()].concat())?;
        let inputs: Vec<&Var> = inputs.iter().collect();
        let options = attention.options(inputs.iter().find_map(|x| x.tape()))?;
        apply_one(Fused { options }, &inputs)
    }
}

/// Attention of inputs q, k, v and, if there are four, a bias.
pub(super) struct Fused {
    pub(super) options: AttentionOptions,
}

pub(super) struct Saved {
    q: Tensor,
    k: Tensor,
    v: Tensor,
    bias: Option<Tensor>,
    o: Tensor,
    lse: Tensor,
}

impl Op for Fused {
    type Saved = Saved;

    fn name(&self) -> &'static str {
        "attention"
    }

    fn forward(&self, inputs: &[Tensor]) -> Result<(Vec<Tensor>, Saved)> {
        let (q, k, v, bias) = (&inputs[0], &inputs[1], &inputs[2], inputs.get(3));
        let (o, lse) = q.attention(k, v, bias, &self.options)?;
        let saved = Saved { q: q.clone(), k: k.clone(), v: v.clone(), bias: bias.cloned(), o: o.clone(), lse };
        Ok((vec![o], saved))
    }

    fn backward(&self, saved: &Saved, dys: &[Option<Tensor>], wants: &[bool]) -> Result<Vec<Option<Tensor>>> {
        let Saved { q, k, v, bias, o, lse } = saved;
        let Some(dy) = &dys[0] else { return Ok(vec![None; wants.len()]) };
        let wants_bias = wants.get(3).is_some_and(|&wanted| wanted);
        let grads = q.attention_backward(k, v, bias.as_ref(), (o, lse), dy, wants_bias, &self.options)?;
        let all = [Some(grads.dq), Some(grads.dk), Some(grads.dv), grads.dbias];
        Ok(all.into_iter().take(wants.len()).collect())
    }

    fn reference(&self, inputs: &[Var]) -> Result<Vec<Var>> {
        let (q, k, v, bias) = (&inputs[0], &inputs[1], &inputs[2], inputs.get(3));
        Ok(vec![reference(q, k, v, bias, &self.options)?])
    }
}

/// Attention composed of other ops: what [`Var::attention`] computes, with the matrix of scores in memory.
pub(super) fn reference(q: &Var, k: &Var, v: &Var, bias: Option<&Var>, options: &AttentionOptions) -> Result<Var> {
    let [_, heads, _, head_dim] = q.dims()?;
    let (k, v) = (repeat_heads(k, heads)?, repeat_heads(v, heads)?);
    let scale = options.scale.unwrap_or(1.0 / (head_dim.max(1) as f64).sqrt());
    let mut scores = q.matmul(&k.transpose(-2, -1)?)?.mul(scale)?;
    if let Some(bias) = bias {
        scores = scores.add(bias)?;
    }
    let mut weights = match hidden(&scores, options)? {
        None => scores.softmax(-1)?,
        Some(hidden) => {
            // Where a query sees no key, equal scores stand in for the hidden ones, so that nothing is NaN.
            let all = hidden.all(-1, true)?;
            let scores = scores.masked_fill(&hidden, f64::NEG_INFINITY)?.masked_fill(&all, 0.0)?;
            scores.softmax(-1)?.masked_fill(&hidden, 0.0)?
        }
    };
    if let Some((p, stream)) = options.dropout {
        weights = weights.dropout_with(p, stream)?;
    }
    weights.matmul(&v)
}

/// `[B, Hkv, T, D]` as `[B, H, T, D]`: each key head for all query heads that read it.
fn repeat_heads(x: &Var, heads: usize) -> Result<Var> {
    let [batch, kv_heads, len, dim] = x.dims()?;
    if kv_heads == heads {
        return Ok(x.clone());
    }
    x.unsqueeze(2)?.expand([batch, kv_heads, heads / kv_heads.max(1), len, dim])?.reshape([batch, heads, len, dim])
}

/// Bool `[B, H, Tq, Tk]`, true where a key is hidden; `None` where nothing can be.
fn hidden(scores: &Var, options: &AttentionOptions) -> Result<Option<Tensor>> {
    let ([batch, _, q_len, k_len], device) = (scores.dims()?, scores.device());
    let mut parts = Vec::new();
    if let Some(offset) = options.causal_offset {
        let later = |i: usize| (i % k_len) as isize > (i / k_len) as isize + offset;
        parts.push(Tensor::from_vec((0..q_len * k_len).map(later).collect(), [q_len, k_len], &device)?);
    }
    if let Some(mask) = &options.mask {
        parts.push(mask.logical_not()?);
    }
    if let Some(lengths) = &options.key_lengths {
        let keys = Tensor::arange(0i64, k_len as i64, 1, &device)?;
        parts.push(keys.ge(&lengths.to_dtype(keys.dtype())?.reshape([batch, 1, 1, 1])?)?);
    }
    let Some(last) = parts.pop() else { return Ok(None) };
    let any = parts.iter().try_fold(last, |any, part| any.logical_or(part))?;
    any.expand(scores.shape()).map(Some)
}

//! Multi-head attention with its projections.
//!
//! ```text
//! q, k, v = x Wqᵀ + bq, m Wkᵀ + bk, m Wvᵀ + bv        x [B, T, C], m = x or another sequence [B, S, C]
//! each split into heads: q [B, H, T, D], k, v [B, G, S, D]     D = C / H; G = H, or fewer for grouped queries
//! y = softmax(q kᵀ / sqrt(D) + mask) v                [B, H, T, D] -> [B, T, C]
//! out = y Woᵀ + bo
//! ```
//!
//! Source: Vaswani et al., 2017, arXiv:1706.03762; `torch.nn.MultiheadAttention` with `batch_first=True`.

use chainrule_autograd::{Attention, Param, Var};
use chainrule_tensor::{Error, Result, Rng, Tensor};

use crate::{Dropout, Linear, Module, init};

/// Attention with query, key and value projections packed in one matrix.
#[derive(Clone, Debug, Module)]
pub struct MultiHeadAttention {
    /// `[(H + 2 G) D, C]`: rows for q, then k, then v.
    pub in_proj_weight: Param,
    /// `[(H + 2 G) D]`
    pub in_proj_bias: Option<Param>,
    /// `[C, C]`
    pub out_proj: Linear,
    /// After the output projection.
    pub dropout: Dropout,
    /// Sizes and the dropout of attention weights.
    pub config: MultiHeadConfig,
}

/// The sizes of a [`MultiHeadAttention`].
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct MultiHeadConfig {
    /// C
    pub width: usize,
    /// H
    pub heads: usize,
    /// G, which divides H: groups of `H / G` query heads share a key head.
    pub kv_heads: usize,
    /// Whether the projections have biases.
    pub bias: bool,
    /// The dropout of attention weights.
    pub dropout: f64,
}

impl MultiHeadConfig {
    /// `heads` heads with keys of their own, biases, and no dropout.
    pub fn new(width: usize, heads: usize) -> MultiHeadConfig {
        MultiHeadConfig { width, heads, kv_heads: heads, bias: true, dropout: 0.0 }
    }

    fn head_width(&self) -> usize {
        self.width / self.heads
    }

    /// The rows of the packed projection for q, and for k or v.
    fn rows(&self) -> (usize, usize) {
        (self.width, self.kv_heads * self.head_width())
    }

    #[track_caller]
    fn check(&self) -> Result<()> {
        let MultiHeadConfig { width, heads, kv_heads, .. } = *self;
        if heads == 0 || !width.is_multiple_of(heads) {
            let message = format!("width {width} does not divide into {heads} heads");
            return Err(Error::argument("MultiHeadAttention", message));
        }
        if kv_heads == 0 || !heads.is_multiple_of(kv_heads) {
            let message = format!("{heads} query heads do not divide into {kv_heads} groups");
            return Err(Error::argument("MultiHeadAttention", message));
        }
        Dropout::new(self.dropout).map(drop)
    }
}

/// What a query may attend to, beside what is given as keys.
#[derive(Clone, Copy, Default)]
pub struct Attend<'a> {
    /// Query `t` sees keys `0..=t` only.
    pub is_causal: bool,
    /// Bool, true where a query may attend to a key; broadcasts to `[B, H, T, S]`.
    pub mask: Option<&'a Tensor>,
    /// Bool `[B, S]`, true where a key is padding and hidden from every query, as PyTorch's `key_padding_mask`.
    pub key_padding: Option<&'a Tensor>,
}

impl Attend<'_> {
    /// Each query sees the keys up to its own position.
    pub fn causal() -> Attend<'static> {
        Attend { is_causal: true, ..Attend::default() }
    }

    /// Both masks in one.
    fn merged(&self) -> Result<Option<Tensor>> {
        let Some(key_padding) = self.key_padding else { return Ok(self.mask.cloned()) };
        let [batch, keys] = key_padding.dims()?;
        let shown = key_padding.logical_not()?.reshape([batch, 1, 1, keys])?;
        self.mask.map_or(Ok(shown.clone()), |mask| mask.logical_and(&shown)).map(Some)
    }
}

/// The keys and values of the tokens seen so far, of one layer: `[B, G, S, D]` each.
#[derive(Clone, Debug, Default)]
pub struct KvCache {
    seen: Option<(Tensor, Tensor)>,
}

impl KvCache {
    /// How many tokens it holds.
    pub fn len(&self) -> usize {
        self.seen.as_ref().map_or(0, |(k, _)| k.shape()[2])
    }

    /// True before the first token.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Appends keys and values and gives all of them.
    fn append(&mut self, k: &Var, v: &Var) -> Result<(Var, Var)> {
        let (k, v) = (k.detach(), v.detach());
        let (k, v) = match self.seen.take() {
            None => (k.contiguous()?, v.contiguous()?),
            Some((old_k, old_v)) => (Tensor::cat(&[&old_k, &k], 2)?, Tensor::cat(&[&old_v, &v], 2)?),
        };
        self.seen = Some((k.clone(), v.clone()));
        Ok((k.into(), v.into()))
    }
}

impl MultiHeadAttention {
    /// Projections with PyTorch's initial values: Xavier uniform for the packed one, biases zero.
    ///
    /// # Errors
    /// Sizes that do not divide.
    #[track_caller]
    pub fn new(config: MultiHeadConfig, rng: &mut Rng) -> Result<MultiHeadAttention> {
        config.check()?;
        let (q_rows, kv_rows) = config.rows();
        let rows = q_rows + 2 * kv_rows;
        let zeros = |n| -> Result<Option<Param>> {
            Ok(config.bias.then(|| init::constant([n], 0.0)).transpose()?.map(Param::new))
        };
        let out_proj = Linear { bias: zeros(config.width)?, ..Linear::without_bias(config.width, config.width, rng)? };
        Ok(MultiHeadAttention {
            in_proj_weight: Param::new(init::xavier_uniform([rows, config.width], 1.0, rng)?),
            in_proj_bias: zeros(rows)?,
            out_proj,
            dropout: Dropout::new(0.0)?,
            config,
        })
    }

    /// Attention of a sequence to itself: `x [B, T, C] -> [B, T, C]`.
    ///
    /// # Errors
    /// Shapes that do not fit.
    #[track_caller]
    pub fn forward(&self, x: &Var, attend: &Attend<'_>) -> Result<Var> {
        self.finish(&self.attend_self(x, attend)?, None)
    }

    /// `residual + forward(x)`, in fewer passes: `x, residual [B, T, C] -> [B, T, C]`.
    ///
    /// # Errors
    /// Shapes that do not fit.
    #[track_caller]
    pub fn forward_add(&self, x: &Var, attend: &Attend<'_>, residual: &Var) -> Result<Var> {
        self.finish(&self.attend_self(x, attend)?, Some(residual))
    }

    /// Attention of a sequence to another: `x [B, T, C], memory [B, S, C] -> [B, T, C]`.
    ///
    /// # Errors
    /// Shapes that do not fit.
    #[track_caller]
    pub fn forward_cross(&self, x: &Var, memory: &Var, attend: &Attend<'_>) -> Result<Var> {
        let (q_rows, kv_rows) = self.config.rows();
        let q = self.split(&self.project(x, 0, q_rows)?, self.config.heads)?;
        let packed = self.project(memory, q_rows, 2 * kv_rows)?;
        let k = self.split(&packed.narrow(-1, 0, kv_rows)?, self.config.kv_heads)?;
        let v = self.split(&packed.narrow(-1, kv_rows, kv_rows)?, self.config.kv_heads)?;
        self.finish(&self.attend(&q, &k, &v, attend)?, None)
    }

    /// Causal self-attention of new tokens to those in the cache and to themselves, for generation. No gradient flows
    /// through the cache.
    ///
    /// # Errors
    /// Shapes that do not fit.
    #[track_caller]
    pub fn forward_cached(&self, x: &Var, cache: &mut KvCache) -> Result<Var> {
        self.finish(&self.attend_cached(x, cache)?, None)
    }

    /// `residual + forward_cached(x)`, in fewer passes.
    ///
    /// # Errors
    /// Shapes that do not fit.
    #[track_caller]
    pub fn forward_cached_add(&self, x: &Var, cache: &mut KvCache, residual: &Var) -> Result<Var> {
        self.finish(&self.attend_cached(x, cache)?, Some(residual))
    }

    /// What [`MultiHeadAttention::forward`] does before the output projection.
    #[track_caller]
    fn attend_self(&self, x: &Var, attend: &Attend<'_>) -> Result<Var> {
        let [q, k, v] = self.project_self(x)?;
        self.attend(&q, &k, &v, attend)
    }

    /// What [`MultiHeadAttention::forward_cached`] does before the output projection.
    #[track_caller]
    fn attend_cached(&self, x: &Var, cache: &mut KvCache) -> Result<Var> {
        let [q, k, v] = self.project_self(x)?;
        // With older keys before them, the new queries see further: the last query is aligned with the last key.
        let causal_offset = Some(cache.len() as isize);
        let (k, v) = cache.append(&k, &v)?;
        q.attention(&k, &v, &Attention { is_causal: true, causal_offset, ..Attention::default() })
    }

    /// `x` through some rows of the packed projection.
    #[track_caller]
    fn project(&self, x: &Var, from: usize, rows: usize) -> Result<Var> {
        let bias = self.in_proj_bias.as_ref().map(|bias| bias.narrow(0, from, rows)).transpose()?;
        x.linear(&self.in_proj_weight.narrow(0, from, rows)?, bias.as_ref())
    }

    #[track_caller]
    fn project_self(&self, x: &Var) -> Result<[Var; 3]> {
        let (q_rows, kv_rows) = self.config.rows();
        let packed = x.linear(&self.in_proj_weight, self.in_proj_bias.as_deref())?;
        // One split rather than three views: its backward joins the three gradients in one pass.
        let parts = packed.split(&[q_rows, kv_rows, kv_rows], -1)?;
        let kv_heads = self.config.kv_heads;
        Ok([
            self.split(&parts[0], self.config.heads)?,
            self.split(&parts[1], kv_heads)?,
            self.split(&parts[2], kv_heads)?,
        ])
    }

    /// `[B, T, heads D] -> [B, heads, T, D]`
    fn split(&self, x: &Var, heads: usize) -> Result<Var> {
        let [batch, len, _] = x.dims()?;
        x.reshape([batch, len, heads, self.config.head_width()])?.transpose(1, 2)
    }

    #[track_caller]
    fn attend(&self, q: &Var, k: &Var, v: &Var, attend: &Attend<'_>) -> Result<Var> {
        let (is_causal, mask, dropout) = (attend.is_causal, attend.merged()?, self.config.dropout);
        q.attention(k, v, &Attention { is_causal, mask, dropout, ..Attention::default() })
    }

    /// The heads side by side, through the output projection, and added to a residual if there is one:
    /// `[B, H, T, D] -> [B, T, C]`.
    #[track_caller]
    fn finish(&self, y: &Var, residual: Option<&Var>) -> Result<Var> {
        let [batch, _, len, _] = y.dims()?;
        let y = y.transpose(1, 2)?.reshape([batch, len, self.config.width])?;
        match residual {
            Some(residual) => self.out_proj.forward_add(&y, &self.dropout, residual),
            None => self.dropout.forward(&self.out_proj.forward(&y)?),
        }
    }
}

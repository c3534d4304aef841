//! One block of a pre-norm transformer.

use chainrule_autograd::Var;
use chainrule_tensor::{Result, Rng};

use crate::layers::{Attend, MultiHeadConfig};
use crate::{KvCache, LayerNorm, Mlp, Module, MultiHeadAttention};

/// `x + attn(ln_1(x))`, then `x + mlp(ln_2(x))`.
///
/// Source: Radford et al., Language Models are Unsupervised Multitask Learners (2019), section 2.3.
#[derive(Clone, Debug, Module)]
pub struct TransformerBlock {
    /// Before attention.
    pub ln_1: LayerNorm,
    /// Self-attention.
    pub attn: MultiHeadAttention,
    /// Before the feed-forward part.
    pub ln_2: LayerNorm,
    /// The feed-forward part.
    pub mlp: Mlp,
}

impl TransformerBlock {
    /// A block with PyTorch's default initial values and a feed-forward part of four times the width.
    ///
    /// # Errors
    /// Sizes that do not divide.
    #[track_caller]
    pub fn new(config: MultiHeadConfig, rng: &mut Rng) -> Result<TransformerBlock> {
        Ok(TransformerBlock {
            ln_1: LayerNorm::new(config.width)?,
            attn: MultiHeadAttention::new(config, rng)?,
            ln_2: LayerNorm::new(config.width)?,
            mlp: Mlp::new(config.width, 4 * config.width, rng)?,
        })
    }

    /// `x [B, T, C] -> [B, T, C]`.
    ///
    /// # Errors
    /// Shapes that do not fit.
    #[track_caller]
    pub fn forward(&self, x: &Var, attend: &Attend<'_>) -> Result<Var> {
        let x = self.attn.forward_add(&self.ln_1.forward(x)?, attend, x)?;
        self.mlp.forward_add(&self.ln_2.forward(&x)?, &x)
    }

    /// As [`TransformerBlock::forward`], causal, for the tokens after those in the cache.
    ///
    /// # Errors
    /// Shapes that do not fit.
    #[track_caller]
    pub fn forward_cached(&self, x: &Var, cache: &mut KvCache) -> Result<Var> {
        let x = self.attn.forward_cached_add(&self.ln_1.forward(x)?, cache, x)?;
        self.mlp.forward_add(&self.ln_2.forward(&x)?, &x)
    }
}

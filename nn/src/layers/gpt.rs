//! A GPT: a decoder-only transformer over tokens.

use chainrule_autograd::Var;
use chainrule_tensor::{Error, Result, Rng, Tensor};
use serde::{Deserialize, Serialize};

use crate::layers::{Attend, MultiHeadConfig};
use crate::{
    Activation, Dropout, Embedding, KvCache, LayerNorm, Linear, Mlp, Module, MultiHeadAttention, TransformerBlock,
};

/// The deviation of initial weights.
const INIT_STD: f64 = 0.02;

/// The sizes of a [`Gpt`].
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
pub struct GptConfig {
    /// How many tokens there are.
    pub vocab_size: usize,
    /// The longest sequence.
    pub context: usize,
    /// How many blocks.
    pub layers: usize,
    /// How many heads of attention in each.
    pub heads: usize,
    /// The width of the residual stream.
    pub width: usize,
    /// The dropout of embeddings, attention weights and residual branches.
    pub dropout: f64,
    /// Whether linear layers and norms have biases.
    pub bias: bool,
}

/// Token and position embeddings, pre-norm blocks, a last norm, and a head that is the token embedding.
///
/// Names are GPT-2's, with attention's as in PyTorch's `MultiheadAttention`.
///
/// Source: Radford et al., 2019; initial values as in nanoGPT.
#[derive(Clone, Debug, Module)]
pub struct Gpt {
    /// Token embedding `[V, C]`, also the output head.
    pub wte: Embedding,
    /// Position embedding `[context, C]`.
    pub wpe: Embedding,
    /// The blocks.
    pub h: Vec<TransformerBlock>,
    /// The last norm.
    pub ln_f: LayerNorm,
    /// The sizes.
    pub config: GptConfig,
}

impl Gpt {
    /// A model with normal weights of deviation 0.02, those that end a residual branch scaled by `1 / sqrt(2 layers)`.
    ///
    /// # Errors
    /// Sizes of zero, or that do not divide.
    #[track_caller]
    pub fn new(config: GptConfig, rng: &mut Rng) -> Result<Gpt> {
        let sizes = [config.vocab_size, config.context, config.layers, config.heads, config.width];
        if sizes.contains(&0) {
            return Err(Error::argument("Gpt::new", format!("every size must be at least 1, got {config:?}")));
        }
        Dropout::new(config.dropout)?;
        Ok(Gpt {
            wte: Embedding::normal(config.vocab_size, config.width, INIT_STD, rng)?,
            wpe: Embedding::normal(config.context, config.width, INIT_STD, rng)?,
            h: (0..config.layers).map(|_| block(&config, rng)).collect::<Result<_>>()?,
            ln_f: norm(&config)?,
            config,
        })
    }

    /// The logits of the next token at every position: `tokens [B, T] -> [B, T, V]`.
    ///
    /// # Errors
    /// More tokens than the context, or a token that the vocabulary does not have.
    #[track_caller]
    pub fn forward(&self, tokens: &Tensor) -> Result<Var> {
        let mut x = self.embed(tokens, 0)?;
        for block in &self.h {
            x = block.forward(&x, &Attend::causal())?;
        }
        self.head(&x)
    }

    /// The mean cross-entropy of the tokens that follow: `tokens, targets [B, T] -> []`, in nats.
    ///
    /// # Errors
    /// As [`Gpt::forward`], or targets of another shape.
    #[track_caller]
    pub fn loss(&self, tokens: &Tensor, targets: &Tensor) -> Result<Var> {
        self.forward(tokens)?.flatten(0, 1)?.cross_entropy(&targets.flatten(0, -1)?)
    }

    /// As [`Gpt::forward`], for the tokens after those in the caches, one for each block.
    ///
    /// # Errors
    /// As [`Gpt::forward`], for all tokens together; a number of caches other than that of the blocks.
    #[track_caller]
    pub fn forward_cached(&self, tokens: &Tensor, caches: &mut [KvCache]) -> Result<Var> {
        if caches.len() != self.h.len() {
            let message = format!("got {} caches, expected one for each of {} blocks", caches.len(), self.h.len());
            return Err(Error::argument("Gpt::forward_cached", message));
        }
        let mut x = self.embed(tokens, caches.first().map_or(0, KvCache::len))?;
        for (block, cache) in self.h.iter().zip(caches) {
            x = block.forward_cached(&x, cache)?;
        }
        self.head(&x)
    }

    /// One empty cache for each block.
    pub fn new_caches(&self) -> Vec<KvCache> {
        vec![KvCache::default(); self.h.len()]
    }

    #[track_caller]
    fn embed(&self, tokens: &Tensor, start: usize) -> Result<Var> {
        let [_, len] = tokens.dims()?;
        if start + len > self.config.context {
            let message = format!("{} tokens exceed the context of {}", start + len, self.config.context);
            return Err(Error::shape("Gpt::forward", message));
        }
        let positions = self.wpe.weight.narrow(0, start, len)?;
        let x = self.wte.forward(tokens)?.add(&positions)?;
        Dropout { p: self.config.dropout }.forward(&x)
    }

    #[track_caller]
    fn head(&self, x: &Var) -> Result<Var> {
        self.ln_f.forward(x)?.linear(&self.wte.weight, None)
    }
}

fn norm(config: &GptConfig) -> Result<LayerNorm> {
    if config.bias { LayerNorm::new(config.width) } else { LayerNorm::without_bias(config.width) }
}

fn block(config: &GptConfig, rng: &mut Rng) -> Result<TransformerBlock> {
    let GptConfig { width, heads, bias, dropout, .. } = *config;
    let residual_std = INIT_STD / (2.0 * config.layers as f64).sqrt();
    let sizes = MultiHeadConfig { bias, dropout, ..MultiHeadConfig::new(width, heads) };
    let mut attn = MultiHeadAttention::new(sizes, rng)?;
    attn.in_proj_weight = Linear::normal(width, 3 * width, INIT_STD, false, rng)?.weight;
    attn.out_proj = Linear::normal(width, width, residual_std, bias, rng)?;
    attn.dropout = Dropout { p: dropout };
    let mlp = Mlp {
        c_fc: Linear::normal(width, 4 * width, INIT_STD, bias, rng)?,
        c_proj: Linear::normal(4 * width, width, residual_std, bias, rng)?,
        activation: Activation::GeluTanh,
        dropout: Dropout { p: dropout },
    };
    Ok(TransformerBlock { ln_1: norm(config)?, attn, ln_2: norm(config)?, mlp })
}

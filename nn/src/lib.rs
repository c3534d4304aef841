//! Layers, losses, optimisers, schedules, data, training and checkpoints.
//!
//! A model is a plain struct with `#[derive(Module)]`; see [`Module`].

#![forbid(unsafe_code)]

// The derive macro names this crate by its path, also inside it.
extern crate self as chainrule_nn;

mod audit;
pub mod checkpoint;
pub mod init;
pub mod layers;
mod module;
pub mod optim;
pub mod text;
pub mod train;

pub use audit::{Audit, AuditGradients, Finding, Problem};
pub use chainrule_derive::Module;
pub use layers::{
    Activation, Dropout, Embedding, Generation, Gpt, GptConfig, KvCache, LayerNorm, Linear, Mlp, MultiHeadAttention,
    RmsNorm, TransformerBlock,
};
#[doc(hidden)]
pub use module::derive_support;
pub use module::{Entry, EntryMut, LoadOptions, Module, Summary, Visit, Walk, WalkMut};
pub use optim::{AdamW, Group, Optimizer, Schedule, Sgd, clip_grad_norm, clip_grad_value};

/// What a program needs most: `use chainrule_nn::prelude::*;`.
pub mod prelude {
    pub use crate::{
        Activation, AdamW, AuditGradients, Dropout, Embedding, Gpt, GptConfig, LayerNorm, Linear, LoadOptions, Mlp,
        Module, MultiHeadAttention, Optimizer, RmsNorm, Schedule, Sgd, TransformerBlock, clip_grad_norm,
        clip_grad_value,
    };
}

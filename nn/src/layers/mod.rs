//! Layers. Each is a struct of parameters and settings with a `forward`.

mod activation;
mod attention;
mod dropout;
mod embedding;
mod generate;
mod gpt;
mod linear;
mod mlp;
mod norm;
mod transformer;

pub use activation::Activation;
pub use attention::{Attend, KvCache, MultiHeadAttention, MultiHeadConfig};
pub use dropout::Dropout;
pub use embedding::Embedding;
pub use generate::Generation;
pub use gpt::{Gpt, GptConfig};
pub use linear::Linear;
pub use mlp::Mlp;
pub use norm::{LayerNorm, RmsNorm};
pub use transformer::TransformerBlock;

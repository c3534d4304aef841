//! The ops: one file for each family.

mod activation;
mod arithmetic;
mod attention;
mod compare;
mod create;
mod cross_entropy;
mod dropout;
mod einsum;
mod elementwise;
mod gather;
mod index;
mod joining;
mod linear;
mod lstm_cell;
mod math;
mod matmul;
mod norm;
mod random;
mod reduce;
mod rope;
mod scan;
mod softmax;
mod sort;
mod statistics;
mod trigonometry;

pub use attention::{AttentionGradients, AttentionOptions};
pub use create::Nested;
pub use cross_entropy::{CrossEntropy, CrossEntropyLoss};
pub use einsum::{EinsumPlan, EinsumStep};
pub use elementwise::Arg;
pub use joining::chunk_sizes;
pub use linear::{LinearForward, LinearOptions, LinearThen};
pub use norm::{NormGradients, Normalized};
pub use rope::Rope;

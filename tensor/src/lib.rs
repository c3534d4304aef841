//! Strided tensors: shapes, views, broadcasting, every shape check and every output allocation.
//!
//! Nothing here knows of gradients. An op checks its arguments, allocates its result and launches a kernel.

#![forbid(unsafe_code)]

mod dims;
mod display;
pub mod io;
mod layout;
mod operators;
mod ops;
mod shape;
mod tensor;
pub mod updates;
mod views;

pub(crate) use chainrule_kernels::Buffer;
pub use chainrule_kernels::cross_entropy::Reduction;
pub use chainrule_kernels::elementwise::{BinaryOp, ElementwiseOp, TernaryOp, UnaryOp};
pub use chainrule_kernels::matmul::{Gelu, Precision};
pub use chainrule_kernels::{Bool, DType, Device, Element, Error, ErrorKind, Result, Rng, Scalar, Stream, bf16, f16};
pub use dims::{Dims, Slice, resolve_dim};
pub use layout::Layout;
#[doc(hidden)]
pub use operators::value_or_panic;
pub use ops::{
    Arg, AttentionGradients, AttentionOptions, CrossEntropy, CrossEntropyLoss, EinsumPlan, EinsumStep, LinearForward,
    LinearOptions, LinearThen, Nested, NormGradients, Normalized, Rope, chunk_sizes,
};
pub use shape::{INFER, MAX_RANK, Shape, Sizes};
pub use tensor::Tensor;

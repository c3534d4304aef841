//! The tape, variables on it, one rule for each op, and gradient checking.
//!
//! Nothing here tells devices or dtypes apart: rules are written in ops on [`Var`], and fused ops call the tensor
//! crate's backward kernels.

#![forbid(unsafe_code)]

mod backward;
mod check;
mod checkpoint;
mod functional;
mod gradients;
mod op;
mod operators;
mod ops;
mod param;
mod record;
#[cfg(feature = "samples")]
pub mod samples;
mod tape;
mod var;

pub use check::{CheckOptions, check_gradients, check_second_order};
pub use checkpoint::checkpoint;
pub use functional::{grad, hessian_vector_product, jacobian, value_and_grad, vector_jacobian_product};
pub use gradients::{Cut, Gradients};
pub use op::{Op, apply};
pub use ops::{Attention, BinaryCrossEntropy, VarArg};
pub use param::{Param, ParamId};
pub(crate) use record::Pull;
pub use tape::Tape;
pub use var::Var;

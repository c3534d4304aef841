//! Tensors and automatic differentiation from scratch, with hand-written kernels for every device.
//!
#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

pub use chainrule_autograd::*;
#[cfg(feature = "cuda")]
pub use chainrule_kernels::cuda;
#[cfg(feature = "wgpu")]
pub use chainrule_kernels::wgpu;
pub use chainrule_nn as nn;
pub use chainrule_nn::*;
pub use chainrule_tensor::*;

/// What a program needs most: `use chainrule::prelude::*;`.
pub mod prelude {
    pub use crate::nn::prelude::*;
    pub use crate::{DType, Device, Error, Gradients, Param, Result, Rng, Tape, Tensor, Var};
}

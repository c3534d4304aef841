//! Dtypes, buffers, devices and compute kernels of chainrule.
//!
//! This crate knows buffers, dtypes, devices and plain integers; no shapes with names, no gradients, no tape.
//! A [`Kernel`] is data, a [`Launch`] runs it, and only `device.rs` and `buffer.rs` tell devices apart.

pub mod adamw;
pub mod attention;
mod buffer;
pub mod copy;
pub mod cpu;
pub mod cross_entropy;
#[cfg(feature = "cuda")]
pub mod cuda;
mod device;
pub mod dims;
pub mod dropout;
mod dtype;
pub mod elementwise;
mod error;
pub mod gather;
pub mod index;
mod kernel;
pub mod l2_norm;
pub mod layer_norm;
pub mod lstm_cell;
pub mod matmul;
#[cfg(any(feature = "cuda", feature = "wgpu"))]
mod overlap;
pub mod philox;
pub mod random;
pub mod reduce;
pub mod rms_norm;
mod rng;
pub mod rope;
pub mod scan;
pub mod sgd;
pub mod softmax;
pub mod sort;
#[cfg(feature = "wgpu")]
pub mod wgpu;

pub use buffer::Buffer;
pub use device::Device;
pub use dtype::{Bool, Compute, DType, Element, Stored, bf16, f16};
pub use elementwise::{Operand, Scalar, View};
pub use error::{Error, ErrorKind, Result};
pub use kernel::{CpuArgs, HostInput, HostOutput, Kernel, Launch};
pub use philox::{Stream, philox4x32_10};
pub use rng::Rng;

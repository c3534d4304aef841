//! CUDA: kernels in `cuda/*.cu`, compiled at run time, on a GPU or on the emulator.
//!
//! ```text
//! Launch -> Kernel::cuda (which stages, how many blocks)   one file per kernel here, beside its `.cu`
//!        -> Stage        (entry, blocks, threads, params)  args.rs
//!        -> CudaDevice   (units compiled, memory, faults)  device.rs, entry_points.rs, memory.rs; whole steps: graph.rs
//!        -> Engine       driver.rs + nvrtc.rs: the GPU     emulator.rs: the system's C++ compiler and threads
//! ```
//!
//! A unit is one file (source.rs) compiled for one element type and set of definitions (unit.rs); what the compiler gives is kept
//! on disk (cache.rs). Nothing here knows an op, and a kernel's file names no engine.

mod args;
mod cache;
mod compile_cached;
mod device;
mod driver;
mod emulator;
mod engine;
mod entry_points;
mod event;
mod graph;
mod memory;
mod nvrtc;
mod params;
mod source;
mod tensor_map;
mod unit;

pub(crate) mod adamw;
pub(crate) mod add_into;
pub(crate) mod attention;
pub(crate) mod copy;
pub(crate) mod cross_entropy;
pub(crate) mod dropout;
pub(crate) mod elementwise;
pub(crate) mod gather;
pub(crate) mod groups;
pub(crate) mod index;
pub(crate) mod l2_norm;
pub(crate) mod layer_norm;
pub(crate) mod lstm_cell;
pub(crate) mod matmul;
pub(crate) mod nonzero;
pub(crate) mod random;
pub(crate) mod reduce;
pub(crate) mod rms_norm;
pub(crate) mod rope;
pub(crate) mod rows;
pub(crate) mod scan;
pub(crate) mod sgd;
pub(crate) mod softmax;
pub(crate) mod sort;
pub(crate) mod tensor_list;

pub use args::{CudaArgs, CudaInput, CudaOutput, Stage, per_element, per_row, unsupported};
pub use compile_cached::compile_cached;
pub use device::CudaDevice;
pub use engine::Launched;
pub use event::CudaEvent;
pub use graph::CudaGraph;
pub(crate) use memory::CudaMemory;
pub use nvrtc::{Architecture, Compiled, compile};
pub use tensor_map::{Swizzle, TensorMap, Tiled};
pub use unit::{Unit, Value};

#[cfg(test)]
mod tests;

//! wgpu: kernels in `wgsl/*.wgsl`, on Vulkan, Metal, DirectX 12 or WebGPU.
//!
//! ```text
//! Launch -> Kernel::wgpu (which stages, how many workgroups)   one file per kernel here, beside its `.wgsl`
//!        -> Stage        (entry, bindings, params)             args.rs; how memory is bound: windows.rs
//!        -> WgpuDevice   (adapter, faults)                     device.rs, adapter.rs
//!        -> Unit         (text, pipeline)                      source.rs, arrays.rs, items.rs, pipeline.rs
//!        -> Recorder     (many launches to a submission)       recorder.rs; memory is carved in memory.rs
//! ```
//!
//! A unit is one entry point compiled for the dtypes of what it is bound to. Its bindings are declared by the host side,
//! and so are the functions through which a kernel reads packed elements (f16, bf16, u8 and bool share words of 32 bits).

mod adapter;
mod args;
mod arrays;
mod device;
mod event;
mod halves;
mod items;
mod memory;
mod pipeline;
mod recorder;
mod source;
mod wide;
mod windows;

pub(crate) mod adamw;
pub(crate) mod add_into;
pub(crate) mod attention;
pub(crate) mod copy;
pub(crate) mod cross_entropy;
pub(crate) mod dropout;
pub(crate) mod elements;
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
mod rows;
pub(crate) mod scan;
pub(crate) mod sgd;
pub(crate) mod softmax;
pub(crate) mod sort;

pub use adapter::{Features, Limits};
pub use args::{Slot, Stage, WgpuArgs, place, size, unsupported};
pub use arrays::{Array, Item};
pub use device::WgpuDevice;
pub use event::WgpuEvent;
pub(crate) use memory::WgpuMemory;
pub use source::{Access, Binding, Unit};

//! What runs CUDA kernels: a GPU with its driver, or the emulator.

use super::params::Params;
use super::tensor_map::{Layout, TensorMap};
use super::{Architecture, Unit};
use crate::Result;

/// An entry point of a loaded unit: the engine's own handle, good as long as the unit is loaded.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Function(pub(crate) usize);

/// A mark in the order of an engine's work: the engine's own handle, good until it is forgotten.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Mark(pub(crate) u64);

/// Work that was launched as one: the engine's own handle, good until it is forgotten.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Graph(pub(crate) u64);

/// How many blocks of how many threads, the bytes of shared memory that each asks for beside its arrays, and how the
/// blocks are placed and ordered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Launched {
    /// Blocks; any number, the engine folds it into what the hardware takes.
    pub blocks: usize,
    /// Threads of a block.
    pub threads: u32,
    /// Dynamic shared memory in bytes.
    pub shared_bytes: usize,
    /// How many neighbouring blocks make a cluster, which runs as a whole and shares memory; 1 for no clusters.
    pub cluster: u32,
    /// Whether blocks may start before the work ahead has ended. The kernel waits for that by itself before it reads.
    pub overlaps_previous: bool,
}

impl Launched {
    /// The grid in x and y, x a whole number of clusters: kernels compute the block's number from both.
    pub(crate) fn grid(&self) -> [u32; 2] {
        let cluster = self.cluster.max(1) as usize;
        let max_x = i32::MAX as usize / cluster * cluster;
        let y = self.blocks.div_ceil(max_x).max(1);
        [self.blocks.div_ceil(y).next_multiple_of(cluster) as u32, y as u32]
    }
}

/// A unit that is ready to run.
pub(crate) trait Module: Send + Sync {
    /// The entry point of that name.
    fn function(&self, entry: &str) -> Result<Function>;
}

/// Memory, units and launches. All work of one engine happens in the order in which it is asked for.
///
/// Between [`Engine::begin_recording`] and the end of the recording, launches, uploads and sets of bytes are recorded in
/// their order instead of done; their parameters and bytes are copied. Only one recording is under way at a time, and
/// no results are asked for in it: [`super::CudaGraph`] sees to both.
pub(crate) trait Engine: Send + Sync {
    /// The device's name: `cuda:0`.
    fn name(&self) -> &str;
    /// What the hardware calls itself: `NVIDIA H200`.
    fn model(&self) -> &str;
    /// How many multiprocessors there are: how many blocks keep all of it busy.
    fn multiprocessors(&self) -> usize;
    /// The shared memory that one block can have, in bytes.
    fn max_shared_bytes(&self) -> usize;
    /// What units are compiled for, and so which instructions a kernel may use.
    fn architecture(&self) -> Architecture;
    /// True where a launch has ended when it returns, so that faults are known at once.
    fn is_synchronous(&self) -> bool;
    /// New memory, or `None` where there is no room.
    fn allocate(&self, len_bytes: usize) -> Result<Option<u64>>;
    /// Gives memory back; what is recorded may still use it.
    fn free(&self, address: u64);
    /// Copies to the device.
    fn upload(&self, to: u64, bytes: &[u8]) -> Result<()>;
    /// Copies to the host, after all earlier work.
    fn download(&self, from: u64, bytes: &mut [u8]) -> Result<()>;
    /// Sets bytes on the device.
    fn set_bytes(&self, at: u64, value: u8, len_bytes: usize) -> Result<()>;
    /// What the copy engine is told of a tensor.
    fn tensor_map(&self, layout: &Layout) -> Result<TensorMap>;
    /// Compiles a unit, or finds it compiled.
    fn load(&self, unit: &Unit) -> Result<Box<dyn Module>>;
    /// Runs an entry point.
    fn launch(&self, function: Function, launched: Launched, params: &mut Params) -> Result<()>;
    /// Waits until all work is done.
    fn synchronize(&self) -> Result<()>;
    /// Marks the place after all work asked for so far.
    fn mark(&self) -> Result<Mark>;
    /// The milliseconds that passed on the device between two marks, once it has come to the later one.
    fn elapsed_ms(&self, start: Mark, end: Mark) -> Result<f64>;
    /// Gives a mark back.
    fn forget(&self, mark: Mark);
    /// From here on work is recorded.
    fn begin_recording(&self) -> Result<()>;
    /// Ends the recording and launches what was recorded, once and as one. `graph` is what an earlier recording was
    /// launched through: it is changed in place where the two differ in parameters only, and replaced where they do not.
    fn launch_recording(&self, graph: &mut Option<Graph>) -> Result<()>;
    /// Ends the recording; what was recorded is never done.
    fn discard_recording(&self);
    /// Gives a graph back.
    fn forget_graph(&self, graph: Graph);
}

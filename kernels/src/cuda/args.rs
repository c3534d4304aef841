//! The arguments of a launch as a CUDA kernel's host side sees them, and the stages that it launches.

use bytemuck::{Pod, Zeroable};

use super::device::Describe;
use super::entry_points::EntryPoint;
use super::params::Params;
use super::{CudaDevice, CudaMemory, Launched, Unit, Value};
use crate::{DType, Error, ErrorKind, Kernel, Result};

/// The default number of threads in a block.
pub(crate) const THREADS: u32 = 256;

/// The arguments of a launch: addresses of the buffers' data, and the parameters.
pub struct CudaArgs<'a> {
    /// The element type that the kernel is specialised for.
    pub elem: DType,
    /// As in [`crate::Launch::grid`].
    pub grid: [usize; 3],
    /// Where it runs.
    pub device: &'a CudaDevice,
    pub(crate) kernel: &'static Kernel,
    pub(crate) inputs: Vec<CudaInput>,
    pub(crate) outputs: Vec<CudaOutput>,
    pub(crate) params: &'a [u8],
}

/// An input: where its data start.
#[derive(Clone, Copy, Debug)]
pub struct CudaInput {
    /// The address of the element at its offset.
    pub address: u64,
    /// The dtype of its elements.
    pub dtype: DType,
    /// How many elements there are from there to the end of its buffer.
    pub len: usize,
}

/// An output: a whole buffer.
#[derive(Clone, Copy, Debug)]
pub struct CudaOutput {
    /// The address of its first element.
    pub address: u64,
    /// The dtype of its elements.
    pub dtype: DType,
    /// How many elements it has.
    pub len: usize,
}

impl<'a> CudaArgs<'a> {
    /// The parameters.
    pub fn params<P: Pod + Zeroable>(&self) -> P {
        bytemuck::pod_read_unaligned(self.params)
    }

    /// Input `index`.
    pub fn input(&self, index: usize) -> CudaInput {
        self.inputs[index]
    }

    /// Input `index`, or address 0 where there are fewer: optional inputs come last.
    pub fn optional_input(&self, index: usize) -> u64 {
        self.inputs.get(index).map_or(0, |input| input.address)
    }

    /// Output `index`.
    pub fn output(&self, index: usize) -> CudaOutput {
        self.outputs[index]
    }

    /// Output `index`, or address 0 where there are fewer.
    pub fn optional_output(&self, index: usize) -> u64 {
        self.outputs.get(index).map_or(0, |output| output.address)
    }

    /// How many inputs there are.
    pub fn n_inputs(&self) -> usize {
        self.inputs.len()
    }

    /// How many outputs there are.
    pub fn n_outputs(&self) -> usize {
        self.outputs.len()
    }

    /// Memory for the time of this launch.
    pub(crate) fn workspace(&self, len_bytes: usize) -> Result<CudaMemory> {
        CudaMemory::allocate(self.device, len_bytes)
    }

    /// Values that a kernel reads as an array, for the time of this launch: addresses of many tensors, say.
    pub(crate) fn table<P: Pod>(&self, values: &[P]) -> Result<CudaMemory> {
        let bytes = bytemuck::cast_slice(values);
        let mut memory = self.workspace(bytes.len())?;
        memory.upload(bytes)?;
        Ok(memory)
    }

    /// A stage of this kernel: entry point `entry` of its file, for its element type.
    pub(crate) fn stage(&self, entry: &'static str) -> Stage<'a> {
        Stage::new(self.device, Unit::new(self.kernel.name, self.elem), entry)
    }

    /// The error for an element type that the kernel does not take.
    #[track_caller]
    pub(crate) fn unsupported(&self) -> Error {
        Error::new(ErrorKind::Unsupported { dtype: self.elem, device: self.device.name().into() })
    }

    /// An error unless the element type is a float.
    #[track_caller]
    pub(crate) fn floats_only(&self) -> Result<()> {
        if self.elem.is_float() { Ok(()) } else { Err(self.unsupported()) }
    }
}

/// One launch of an entry point. Parameters are given in the order of the kernel's signature.
pub struct Stage<'a> {
    device: &'a CudaDevice,
    entry: EntryPoint,
    launched: Launched,
    params: Params,
    faults: bool,
}

impl<'a> Stage<'a> {
    /// One block of 256 threads of an entry point, without parameters yet.
    pub(crate) fn new(device: &'a CudaDevice, unit: Unit, entry: &'static str) -> Stage<'a> {
        let launched = Launched { blocks: 1, threads: THREADS, shared_bytes: 0, cluster: 1, overlaps_previous: false };
        Stage { device, entry: EntryPoint { unit, name: entry }, launched, params: Params::NONE, faults: false }
    }

    /// Compiles the file with this definition too.
    pub(crate) fn define(mut self, name: &'static str, value: impl Into<Value>) -> Self {
        self.entry.unit = self.entry.unit.define(name, value);
        self
    }

    /// Compiles another file than the kernel's own, or for another element type.
    pub(crate) fn unit(mut self, name: &'static str, elem: DType) -> Self {
        (self.entry.unit.name, self.entry.unit.elem) = (name, elem);
        self
    }

    /// How many blocks there are.
    pub(crate) fn blocks(mut self, blocks: usize) -> Self {
        self.launched.blocks = blocks;
        self
    }

    /// How many threads a block has. Files are compiled for 256 at most unless they say otherwise (`THREADS`).
    pub(crate) fn threads(mut self, threads: u32) -> Self {
        self.launched.threads = threads;
        self
    }

    /// As many blocks as `len` units of work need where each thread does one, but no more than keep the device busy:
    /// kernels stride over the rest.
    pub(crate) fn blocks_for(self, len: usize) -> Self {
        let busy = self.device.multiprocessors() * 32;
        let blocks = len.div_ceil(self.launched.threads as usize).clamp(1, busy);
        self.blocks(blocks)
    }

    /// Bytes of dynamic shared memory.
    pub(crate) fn shared_bytes(mut self, shared_bytes: usize) -> Self {
        self.launched.shared_bytes = shared_bytes;
        self
    }

    /// Puts this many neighbouring blocks into a cluster: they run at the same time and reach each other's shared memory
    /// (from 9.0 on, and up to 8 blocks everywhere there). Blocks are added until the last cluster is whole.
    pub fn cluster(mut self, blocks: u32) -> Self {
        self.launched.cluster = blocks;
        self
    }

    /// Lets blocks start before the work ahead of them has ended (from 9.0 on; elsewhere they start after it). The kernel
    /// must wait for that work (`griddepcontrol.wait`) before it reads what it wrote, or writes what it reads.
    pub fn overlaps_previous(mut self) -> Self {
        self.launched.overlaps_previous = true;
        self
    }

    /// Adds a parameter: an address, a number or a parameter struct. It takes whole words of 8 bytes.
    pub(crate) fn param<P: Pod>(self, param: P) -> Self {
        self.param_bytes(bytemuck::bytes_of(&param))
    }

    /// Adds a parameter given as bytes.
    pub(crate) fn param_bytes(mut self, bytes: &[u8]) -> Self {
        self.params.push(bytes);
        self
    }

    /// Adds the parameter through which the kernel reports bad input; `describe` makes the error of a report.
    #[track_caller]
    pub(crate) fn fault_param(mut self, kernel: &'static str, describe: Describe) -> Result<Self> {
        self.faults = true;
        let arg = self.device.fault_arg(kernel, describe)?;
        Ok(self.param(arg))
    }

    /// Takes back that faults are looked for: the parameter is there, but this launch reports none.
    pub(crate) fn without_faults(mut self) -> Self {
        self.faults = false;
        self
    }

    /// Launches it; nothing happens where there are no blocks.
    ///
    /// # Errors
    /// More parameters than a launch has room for, a source that does not compile, a launch that the device refuses; on a device that ends each launch before the
    /// next, also what the kernel found wrong.
    #[track_caller]
    pub(crate) fn run(mut self) -> Result<()> {
        if self.launched.blocks == 0 {
            return Ok(());
        }
        self.params.check(self.entry.name)?;
        let engine = self.device.engine();
        let function = self.device.entry_points().function(engine, &self.entry)?;
        // In a recording nothing runs before its end, and then it is looked for reports.
        let looks = self.faults && engine.is_synchronous() && !self.device.turns().is_recording();
        // Where faults are known at once, no other thread's launch may come between this one and the look at its report.
        let _alone = looks.then(|| self.device.alone());
        let _turn = self.device.turns().take();
        engine.launch(function, self.launched, &mut self.params)?;
        if looks { self.device.look_at_faults() } else { Ok(()) }
    }
}

/// The host side of a kernel of which each thread does one unit of work: inputs, outputs, parameters, and enough blocks.
#[track_caller]
pub fn per_element(args: &mut CudaArgs<'_>) -> Result<()> {
    let len = args.grid.iter().product();
    simple(args).blocks_for(len).run()
}

/// The host side of a kernel of which each block does one unit of work, a row say.
#[track_caller]
pub fn per_row(args: &mut CudaArgs<'_>) -> Result<()> {
    let rows = args.grid.iter().product();
    simple(args).blocks(rows).run()
}

/// The stage with the kernel's entry, all its inputs, outputs and parameters.
fn simple<'a>(args: &CudaArgs<'a>) -> Stage<'a> {
    let mut stage = args.stage(args.kernel.entry);
    for input in &args.inputs {
        stage = stage.param(input.address);
    }
    for output in &args.outputs {
        stage = stage.param(output.address);
    }
    stage.param_bytes(args.params)
}

/// The host side of a kernel that CUDA does not have.
///
/// # Errors
/// Always.
#[track_caller]
pub fn unsupported(args: &mut CudaArgs<'_>) -> Result<()> {
    Err(args.unsupported())
}

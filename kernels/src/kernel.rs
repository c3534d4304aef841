//! A kernel is data: what it is called, and one body for each kind of device. A launch is data too.

use bytemuck::{Pod, Zeroable};

use crate::{Buffer, DType, Result, Stored};

/// One entry of a kernel file. Its twins on other devices share `name` (the file) and `entry` (the function).
pub struct Kernel {
    /// The basename of the source files: `layer_norm`.
    pub name: &'static str,
    /// The entry point: `layer_norm_forward`.
    pub entry: &'static str,
    /// The body for the host.
    pub cpu: fn(&mut CpuArgs<'_>) -> Result<()>,
    /// The host side for CUDA: which entry points of `cuda/<name>.cu` are launched, and on how many blocks.
    #[cfg(feature = "cuda")]
    pub cuda: fn(&mut crate::cuda::CudaArgs<'_>) -> Result<()>,
    /// The host side for wgpu: which entry points of `wgsl/<name>.wgsl` are launched, and on how many workgroups.
    #[cfg(feature = "wgpu")]
    pub wgpu: fn(&mut crate::wgpu::WgpuArgs<'_>) -> Result<()>,
}

/// A kernel with everything that one run of it needs. Build it, then [`Launch::run`].
pub struct Launch<'a> {
    /// What to run.
    pub kernel: &'static Kernel,
    /// The element type that the kernel is specialised for.
    pub elem: DType,
    /// What it reads, with the element at which its data start.
    pub inputs: Vec<(&'a Buffer, usize)>,
    /// What it writes (and may read).
    pub outputs: Vec<&'a mut Buffer>,
    /// The kernel's parameter struct as bytes.
    pub params: &'a [u8],
    /// How many of the kernel's units of work there are, in up to three dims: rows, tiles or elements.
    pub grid: [usize; 3],
}

impl<'a> Launch<'a> {
    /// A launch with no arguments yet.
    pub fn new(kernel: &'static Kernel, elem: DType) -> Self {
        Launch { kernel, elem, inputs: Vec::new(), outputs: Vec::new(), params: &[], grid: [1; 3] }
    }

    /// Adds an input whose data start at element `offset`.
    pub fn input(mut self, buffer: &'a Buffer, offset: usize) -> Self {
        self.inputs.push((buffer, offset));
        self
    }

    /// Adds an output.
    pub fn output(mut self, buffer: &'a mut Buffer) -> Self {
        self.outputs.push(buffer);
        self
    }

    /// Sets the parameters.
    pub fn params<P: Pod>(mut self, params: &'a P) -> Self {
        self.params = bytemuck::bytes_of(params);
        self
    }

    /// Sets the number of units of work.
    pub fn grid(mut self, grid: [usize; 3]) -> Self {
        self.grid = grid;
        self
    }
}

/// The arguments of a launch as a host body sees them: typed slices, checked against the buffers' dtypes.
pub struct CpuArgs<'a> {
    /// The element type that the kernel is specialised for.
    pub elem: DType,
    /// As in [`Launch::grid`].
    pub grid: [usize; 3],
    pub(crate) inputs: Vec<HostInput<'a>>,
    pub(crate) outputs: Vec<HostOutput<'a>>,
    pub(crate) params: &'a [u8],
}

/// A whole input buffer and where its data start.
#[derive(Clone, Copy)]
pub struct HostInput<'a> {
    /// All bytes of the buffer: strides may lead to either side of `offset`.
    pub bytes: &'a [u8],
    /// The dtype of its elements.
    pub dtype: DType,
    /// The element at which its data start.
    pub offset: usize,
}

/// A whole output buffer.
pub struct HostOutput<'a> {
    /// All bytes of the buffer.
    pub bytes: &'a mut [u8],
    /// The dtype of its elements.
    pub dtype: DType,
}

impl<'a> CpuArgs<'a> {
    /// Input `index`, from its offset on.
    pub fn input<S: Stored>(&self, index: usize) -> &'a [S] {
        &self.whole_input(index)[self.inputs[index].offset..]
    }

    /// The whole buffer of input `index`; [`CpuArgs::offset`] says where its data start.
    pub fn whole_input<S: Stored>(&self, index: usize) -> &'a [S] {
        let input = &self.inputs[index];
        debug_assert_eq!(input.dtype, S::DTYPE, "input {index}");
        bytemuck::cast_slice(input.bytes)
    }

    /// The element at which the data of input `index` start.
    pub fn offset(&self, index: usize) -> usize {
        self.inputs[index].offset
    }

    /// The dtype of input `index`.
    pub fn input_dtype(&self, index: usize) -> DType {
        self.inputs[index].dtype
    }

    /// Input `index`, untyped.
    pub fn raw_input(&self, index: usize) -> HostInput<'a> {
        self.inputs[index]
    }

    /// How many inputs there are: trailing ones may be optional.
    pub fn n_inputs(&self) -> usize {
        self.inputs.len()
    }

    /// How many outputs there are.
    pub fn n_outputs(&self) -> usize {
        self.outputs.len()
    }

    /// The dtype of output `index`.
    pub fn output_dtype(&self, index: usize) -> DType {
        self.outputs[index].dtype
    }

    /// Output `index`. Each output can be taken once: the slice outlives the borrow of `self`, so that several
    /// outputs are writable together; a second call gives an empty slice.
    pub fn output<S: Stored>(&mut self, index: usize) -> &'a mut [S] {
        let output = &mut self.outputs[index];
        debug_assert_eq!(output.dtype, S::DTYPE, "output {index}");
        bytemuck::cast_slice_mut(std::mem::take(&mut output.bytes))
    }

    /// The parameters.
    pub fn params<P: Pod + Zeroable>(&self) -> P {
        bytemuck::pod_read_unaligned(self.params)
    }
}

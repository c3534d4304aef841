//! Many tensors in one launch: the host side of `cuda/tensor_list.cuh`.

use bytemuck::{Pod, Zeroable};

use super::{CudaArgs, CudaMemory};
use crate::Result;

/// Elements of a chunk: the kernels' `CHUNK`.
const CHUNK: usize = 4096;

/// One parameter with what belongs to it: the kernels' `Tensor`.
#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct Entry {
    first_chunk: u64,
    len: u64,
    packed: u64,
    grad: u64,
    param: u64,
    states: [u64; 3],
}

/// The parameters of an optimiser's launch: inputs are gradients, outputs parameters and then their states.
pub(crate) struct TensorList {
    entries: CudaMemory,
    count: usize,
    /// How many chunks there are, each for one block.
    pub(crate) chunks: usize,
}

impl TensorList {
    /// The table, on the device.
    pub(crate) fn new(args: &CudaArgs<'_>) -> Result<TensorList> {
        let count = args.n_inputs();
        let mut chunks = 0;
        let entries = (0..count).map(|i| {
            let (grad, param) = (args.input(i).address, args.output(i));
            let mut states = [0; 3];
            for (state, index) in states.iter_mut().zip((i + count..args.n_outputs()).step_by(count)) {
                *state = args.output(index).address;
            }
            let first_chunk = chunks as u64;
            chunks += param.len.div_ceil(CHUNK);
            // Four elements of at most four bytes, or two of eight, are one access.
            let packed = [grad, param.address].into_iter().chain(states).all(|address| address.is_multiple_of(16));
            Entry { first_chunk, len: param.len as u64, packed: packed.into(), grad, param: param.address, states }
        });
        let entries: Vec<Entry> = entries.collect();
        Ok(TensorList { entries: args.table(&entries)?, count, chunks })
    }

    /// Where the table is, and how many entries it has: the kernels' first two parameters.
    pub(crate) fn params(&self) -> [u64; 2] {
        [self.entries.address(), self.count as u64]
    }
}

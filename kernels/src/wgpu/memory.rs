//! Device memory: blocks carved from large buffers, and kept for reuse by size class.
//!
//! All work of a device happens in order, so a block's next owner writes it after its last reader has run. A binding
//! covers a block and no more, so that a kernel's accesses are checked against its own arguments.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;

use ::wgpu;

use super::adapter::{Limits, missing};
use super::device::lock;
use super::{Slot, WgpuDevice};
use crate::cpu::memory::MemoryStats;
use crate::{DType, Error, ErrorKind, Result};

/// Where a binding may start.
pub(crate) const ALIGN: u64 = 256;
/// The size of the buffers that small blocks are carved from.
const CHUNK_BYTES: u64 = 32 << 20;
/// Blocks from this size on have a buffer of their own.
const LARGE_BYTES: u64 = 4 << 20;

/// A piece of one of the arena's buffers, or several whole ones that follow one another by number.
///
/// Where `start + size` is more than [`Limits::segment_bytes`], the rest is in the buffers that follow.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(crate) struct Block {
    pub(crate) buffer: u32,
    pub(crate) start: u64,
    pub(crate) size: u64,
}

pub(crate) struct Arena {
    device: wgpu::Device,
    limits: Limits,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Every buffer so far; a number is never given twice, and what was given back to the system is gone.
    buffers: Vec<Option<wgpu::Buffer>>,
    /// By size class. The first block of a class is handed out whatever the order in which they came back, so that a
    /// step of training finds the blocks of the step before, and with them its bind groups.
    free: BTreeMap<u64, BTreeSet<Block>>,
    /// The buffer that blocks are carved from, and how much of it is in use.
    chunk: Option<(u32, u64)>,
    stats: MemoryStats,
}

/// The size that a request is rounded up to: eight classes for each power of two, and `ALIGN` bytes at least.
fn size_class(len_bytes: usize) -> Option<u64> {
    let len = (len_bytes as u64).max(1);
    let step = (len.checked_next_power_of_two()? / 16).max(ALIGN);
    len.checked_next_multiple_of(step)
}

impl Arena {
    pub(crate) fn new(device: wgpu::Device, limits: Limits) -> Arena {
        Arena { device, limits, state: Mutex::default() }
    }

    pub(crate) fn stats(&self) -> MemoryStats {
        lock(&self.state).stats
    }

    pub(crate) fn reset_peak(&self) {
        let mut state = lock(&self.state);
        state.stats.peak_bytes = state.stats.live_bytes;
    }

    /// The buffer of that number.
    pub(crate) fn buffer(&self, number: u32) -> Option<wgpu::Buffer> {
        lock(&self.state).buffers.get(number as usize).cloned().flatten()
    }

    #[track_caller]
    fn allocate(&self, len_bytes: usize) -> Result<Block> {
        let mut state = lock(&self.state);
        let out_of_memory = |live_bytes| Error::new(ErrorKind::OutOfMemory { requested_bytes: len_bytes, live_bytes });
        let class = size_class(len_bytes).ok_or_else(|| out_of_memory(state.stats.live_bytes))?;
        let block = match state.free.get_mut(&class).and_then(BTreeSet::pop_first) {
            Some(block) => {
                state.stats.cached_bytes -= class as usize;
                block
            }
            None => self.carve(&mut state, class).ok_or_else(|| out_of_memory(state.stats.live_bytes))?,
        };
        state.stats.live_bytes += class as usize;
        state.stats.peak_bytes = state.stats.peak_bytes.max(state.stats.live_bytes);
        Ok(block)
    }

    /// A new block, or `None` where there is no room.
    fn carve(&self, state: &mut State, size: u64) -> Option<Block> {
        let segment_bytes = self.limits.segment_bytes();
        if size >= self.large_bytes() {
            return self.new_segments(state, size);
        }
        let chunk_bytes = CHUNK_BYTES.min(segment_bytes);
        let (buffer, start) = match state.chunk {
            Some((buffer, used)) if used + size <= chunk_bytes => (buffer, used),
            _ => (self.new_buffer(state, chunk_bytes)?, 0),
        };
        state.chunk = Some((buffer, start + size));
        Some(Block { buffer, start, size })
    }

    /// Blocks from this size on have buffers of their own.
    fn large_bytes(&self) -> u64 {
        LARGE_BYTES.min(self.limits.segment_bytes())
    }

    /// A block in as many buffers as it takes, which follow one another.
    fn new_segments(&self, state: &mut State, size: u64) -> Option<Block> {
        let (buffer, segment) = (state.buffers.len(), self.limits.segment_bytes());
        for at in (0..size).step_by(segment as usize) {
            if self.new_buffer(state, segment.min(size - at)).is_none() {
                state.buffers[buffer..].fill(None);
                return None;
            }
        }
        Some(Block { buffer: buffer as u32, start: 0, size })
    }

    fn new_buffer(&self, state: &mut State, size: u64) -> Option<u32> {
        let scopes = [wgpu::ErrorFilter::OutOfMemory, wgpu::ErrorFilter::Validation];
        let scopes = scopes.map(|filter| self.device.push_error_scope(filter));
        let usage = wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_SRC | wgpu::BufferUsages::COPY_DST;
        let descriptor = wgpu::BufferDescriptor { label: Some("arena"), size, usage, mapped_at_creation: false };
        let buffer = self.device.create_buffer(&descriptor);
        let [outer, inner] = scopes;
        let refused = [pollster::block_on(inner.pop()), pollster::block_on(outer.pop())];
        if refused.iter().any(Option::is_some) {
            return None;
        }
        state.buffers.push(Some(buffer));
        Some(state.buffers.len() as u32 - 1)
    }

    /// Gives free blocks with a buffer of their own back to the system.
    fn give_back(&self) {
        let mut state = lock(&self.state);
        let large = state.free.split_off(&self.large_bytes());
        for block in large.into_values().flatten() {
            let (first, segments) = (block.buffer as usize, block.size.div_ceil(self.limits.segment_bytes()) as usize);
            state.buffers[first..first + segments].fill(None);
            state.stats.cached_bytes -= block.size as usize;
        }
    }

    fn release(&self, block: Block) {
        let mut state = lock(&self.state);
        state.stats.live_bytes -= block.size as usize;
        state.stats.cached_bytes += block.size as usize;
        state.free.entry(block.size).or_default().insert(block);
    }
}

/// Memory of a buffer's elements, or of a kernel's workspace; back to the arena when dropped.
pub(crate) struct WgpuMemory {
    device: WgpuDevice,
    block: Block,
    len_bytes: usize,
}

impl WgpuMemory {
    /// `len_bytes` bytes with unspecified contents, for elements of `dtype`.
    ///
    /// # Errors
    /// A dtype of 64 bits, or no room.
    #[track_caller]
    pub(crate) fn allocate(device: &WgpuDevice, dtype: DType, len_bytes: usize) -> Result<WgpuMemory> {
        if dtype.size_bytes() == 8 {
            return Err(Error::new(ErrorKind::Unsupported { dtype, device: "wgpu".into() }));
        }
        let block = match device.arena().allocate(len_bytes) {
            Ok(block) => block,
            Err(_) => {
                // What is kept for reuse may be what is missing; bind groups and unfinished work hold on to it.
                device.recorder().submit();
                device.wait()?;
                device.pipelines().forget_bind_groups();
                device.arena().give_back();
                device.arena().allocate(len_bytes)?
            }
        };
        Ok(WgpuMemory { device: device.clone(), block, len_bytes })
    }

    pub(crate) fn device(&self) -> &WgpuDevice {
        &self.device
    }

    /// These elements as an argument of a kernel, from element `offset` on.
    pub(crate) fn slot(&self, dtype: DType, len: usize, offset: usize) -> Slot {
        Slot::new(dtype, len, offset, self.block, self.len_bytes)
    }

    /// Copies from the host; `bytes` fill the memory.
    #[track_caller]
    pub(crate) fn upload(&mut self, bytes: &[u8]) -> Result<()> {
        debug_assert_eq!(bytes.len(), self.len_bytes);
        if bytes.is_empty() {
            return Ok(());
        }
        let mut rest = bytes;
        for segment in self.segments(0, bytes.len()) {
            let (part, further) = rest.split_at(rest.len().min(segment.size as usize));
            self.device.recorder().upload(&self.buffer(segment)?, segment.start, part);
            rest = further;
        }
        self.device.check_trouble()
    }

    /// Copies what stands from byte `from` on to the host, after all earlier work, and reports what went wrong in that.
    #[track_caller]
    pub(crate) fn download(&self, from: usize, bytes: &mut [u8]) -> Result<()> {
        debug_assert!(from + bytes.len() <= self.len_bytes);
        if !bytes.is_empty() {
            self.read(from, bytes)?;
        }
        self.device.check_faults()
    }

    /// As [`WgpuMemory::download`], without a look at what kernels have reported.
    #[track_caller]
    pub(crate) fn read(&self, from: usize, bytes: &mut [u8]) -> Result<()> {
        let mut rest = bytes;
        for segment in self.segments(from, rest.len()) {
            let (part, further) = rest.split_at_mut(segment.size as usize);
            self.device.recorder().download(&self.device, &self.buffer(segment)?, segment.start, part)?;
            rest = further;
        }
        Ok(())
    }

    /// `len` bytes from byte `from` on, by the buffers that they are in.
    fn segments(&self, from: usize, len: usize) -> impl Iterator<Item = Block> + use<> {
        let (block, segment) = (self.block, self.device.limits().segment_bytes());
        let (mut at, end) = (block.start + from as u64, block.start + (from + len) as u64);
        std::iter::from_fn(move || {
            let size = (segment - at % segment).min(end - at);
            let part = Block { buffer: block.buffer + (at / segment) as u32, start: at % segment, size };
            at += size;
            (size > 0).then_some(part)
        })
    }

    #[track_caller]
    fn buffer(&self, segment: Block) -> Result<wgpu::Buffer> {
        self.device.arena().buffer(segment.buffer).ok_or_else(|| missing("memory that is in use is gone".into()))
    }
}

impl Drop for WgpuMemory {
    fn drop(&mut self) {
        self.device.arena().release(self.block);
    }
}

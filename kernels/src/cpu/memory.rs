//! The caching allocator of host memory.
//!
//! Freed blocks are kept by size class and handed out again, because fresh pages cost more than most kernels: the
//! system zeroes each page at its first touch. A block comes zeroed from the system once and holds old values later,
//! so its bytes are always initialised, and a kernel that writes every output element needs no second fill.

use std::alloc::{Layout, alloc_zeroed, dealloc};
use std::collections::BTreeMap;
use std::panic::Location;
use std::ptr::NonNull;
use std::sync::Mutex;

use crate::{Error, ErrorKind, Result};

/// Alignment of every block: a cache line, and the widest vector.
const ALIGN: usize = 64;

/// Bytes that freed blocks may hold before the largest are given back to the system, beyond the peak of live bytes.
const SPARE_BYTES: usize = 64 << 20;

/// Counters of a device's memory.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct MemoryStats {
    /// Bytes of the blocks in use.
    pub live_bytes: usize,
    /// The largest `live_bytes` since the start or the last [`reset_peak`].
    pub peak_bytes: usize,
    /// Bytes of freed blocks kept for reuse.
    pub cached_bytes: usize,
}

struct Pool {
    free: BTreeMap<usize, Vec<Block>>,
    stats: MemoryStats,
}

static POOL: Mutex<Pool> =
    Mutex::new(Pool { free: BTreeMap::new(), stats: MemoryStats { live_bytes: 0, peak_bytes: 0, cached_bytes: 0 } });

fn pool() -> std::sync::MutexGuard<'static, Pool> {
    // A panic while the lock is held cannot leave the counters half written in a way that matters.
    POOL.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

/// The present counters of host memory.
pub fn stats() -> MemoryStats {
    pool().stats
}

/// Sets the peak to the bytes now live.
pub fn reset_peak() {
    let mut pool = pool();
    pool.stats.peak_bytes = pool.stats.live_bytes;
}

/// The size that a request is rounded up to: eight classes for each power of two, so at most an eighth is wasted.
fn size_class(len_bytes: usize) -> Option<usize> {
    let step = (len_bytes.max(1).checked_next_power_of_two()? / 16).max(ALIGN);
    len_bytes.max(1).checked_next_multiple_of(step)
}

/// One aligned run of initialised bytes, owned.
struct Block {
    start: NonNull<u8>,
    len_bytes: usize,
}

// SAFETY: a block owns its memory, as a `Box<[u8]>` does.
unsafe impl Send for Block {}
// SAFETY: a shared block gives out shared slices only.
unsafe impl Sync for Block {}

impl Block {
    fn layout(len_bytes: usize) -> Option<Layout> {
        Layout::from_size_align(len_bytes, ALIGN).ok()
    }

    fn from_system(len_bytes: usize) -> Option<Block> {
        // SAFETY: the layout's size is at least `ALIGN`.
        let start = NonNull::new(unsafe { alloc_zeroed(Block::layout(len_bytes)?) })?;
        Some(Block { start, len_bytes })
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        if let Some(layout) = Block::layout(self.len_bytes) {
            // SAFETY: `start` came from `alloc_zeroed` with this layout and is freed once.
            unsafe { dealloc(self.start.as_ptr(), layout) };
        }
    }
}

/// Host memory for a buffer's elements; back to the pool when dropped.
pub struct CpuMemory {
    block: Option<Block>,
    len_bytes: usize,
}

impl CpuMemory {
    /// `len_bytes` bytes with unspecified (but initialised) contents.
    ///
    /// # Errors
    /// [`ErrorKind::OutOfMemory`] where the system refuses.
    #[track_caller]
    pub fn allocate(len_bytes: usize) -> Result<CpuMemory> {
        if len_bytes == 0 {
            return Ok(CpuMemory { block: None, len_bytes });
        }
        let (mut pool, location) = (pool(), Location::caller());
        let out_of_memory =
            |live_bytes| Error::new(ErrorKind::OutOfMemory { requested_bytes: len_bytes, live_bytes }).at(location);
        let Some(class) = size_class(len_bytes) else { return Err(out_of_memory(pool.stats.live_bytes)) };
        let block = match pool.free.get_mut(&class).and_then(Vec::pop) {
            Some(block) => {
                pool.stats.cached_bytes -= class;
                block
            }
            None => Block::from_system(class).ok_or_else(|| out_of_memory(pool.stats.live_bytes))?,
        };
        pool.stats.live_bytes += class;
        pool.stats.peak_bytes = pool.stats.peak_bytes.max(pool.stats.live_bytes);
        Ok(CpuMemory { block: Some(block), len_bytes })
    }

    /// The bytes.
    pub fn bytes(&self) -> &[u8] {
        match &self.block {
            // SAFETY: the block holds at least `len_bytes` initialised bytes, and `&self` keeps writers out.
            Some(block) => unsafe { std::slice::from_raw_parts(block.start.as_ptr(), self.len_bytes) },
            // An empty slice too must be aligned for any element.
            None => bytemuck::cast_slice::<u64, u8>(&[]),
        }
    }

    /// The bytes, to write.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        match &mut self.block {
            // SAFETY: as in `bytes`, and `&mut self` is the only access.
            Some(block) => unsafe { std::slice::from_raw_parts_mut(block.start.as_ptr(), self.len_bytes) },
            None => bytemuck::cast_slice_mut::<u64, u8>(&mut []),
        }
    }
}

impl Drop for CpuMemory {
    fn drop(&mut self) {
        let Some(block) = self.block.take() else { return };
        let mut pool = pool();
        let class = block.len_bytes;
        pool.stats.live_bytes -= class;
        pool.stats.cached_bytes += class;
        pool.free.entry(class).or_default().push(block);
        while pool.stats.live_bytes + pool.stats.cached_bytes > pool.stats.peak_bytes + SPARE_BYTES {
            let Some(mut largest) = pool.free.last_entry() else { break };
            let freed = largest.get_mut().pop().map_or(0, |block| block.len_bytes);
            if largest.get().is_empty() {
                largest.remove();
            }
            pool.stats.cached_bytes -= freed;
        }
    }
}

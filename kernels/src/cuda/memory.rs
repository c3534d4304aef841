//! Device memory: a caching allocator in front of the engine's own.
//!
//! Freed blocks are kept by size class and handed out again at once: all work of a device happens in order, so a
//! block's next owner writes it after its last reader has run. The emulator keeps none, so that its guards see every
//! access beyond a buffer's end.

use std::collections::BTreeMap;
use std::sync::Mutex;

use super::CudaDevice;
use super::engine::Engine;
use crate::cpu::memory::MemoryStats;
use crate::{Error, ErrorKind, Result};

/// The free blocks by size, and the counters.
#[derive(Default)]
pub(crate) struct Arena {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    free: BTreeMap<usize, Vec<u64>>,
    stats: MemoryStats,
}

/// The size that a request is rounded up to: eight classes for each power of two, and 512 bytes at least.
fn size_class(len_bytes: usize) -> Option<usize> {
    let step = (len_bytes.checked_next_power_of_two()? / 16).max(512);
    len_bytes.checked_next_multiple_of(step)
}

impl Arena {
    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        // A panic while the lock is held cannot leave the counters half written in a way that matters.
        self.state.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    pub(crate) fn stats(&self) -> MemoryStats {
        self.lock().stats
    }

    pub(crate) fn reset_peak(&self) {
        let mut state = self.lock();
        state.stats.peak_bytes = state.stats.live_bytes;
    }

    /// `can_wait` says whether the device may be waited for, and then what is kept for reuse be given back.
    fn allocate(&self, engine: &dyn Engine, len_bytes: usize, can_wait: bool) -> Result<u64> {
        let mut state = self.lock();
        let out_of_memory = |live_bytes| Error::new(ErrorKind::OutOfMemory { requested_bytes: len_bytes, live_bytes });
        let class = self.class(engine, len_bytes).ok_or_else(|| out_of_memory(state.stats.live_bytes))?;
        let address = match state.free.get_mut(&class).and_then(Vec::pop) {
            Some(address) => {
                state.stats.cached_bytes -= class;
                address
            }
            None => match engine.allocate(class)? {
                Some(address) => address,
                None if !can_wait => return Err(out_of_memory(state.stats.live_bytes)),
                None => {
                    // What is kept for reuse may be what is missing.
                    engine.synchronize()?;
                    std::mem::take(&mut state.free).into_values().flatten().for_each(|address| engine.free(address));
                    state.stats.cached_bytes = 0;
                    engine.allocate(class)?.ok_or_else(|| out_of_memory(state.stats.live_bytes))?
                }
            },
        };
        state.stats.live_bytes += class;
        state.stats.peak_bytes = state.stats.peak_bytes.max(state.stats.live_bytes);
        Ok(address)
    }

    fn release(&self, engine: &dyn Engine, address: u64, len_bytes: usize) {
        let mut state = self.lock();
        let class = self.class(engine, len_bytes).unwrap_or(len_bytes);
        state.stats.live_bytes -= class;
        if engine.is_synchronous() {
            engine.free(address);
        } else {
            state.stats.cached_bytes += class;
            state.free.entry(class).or_default().push(address);
        }
    }

    fn class(&self, engine: &dyn Engine, len_bytes: usize) -> Option<usize> {
        if engine.is_synchronous() { Some(len_bytes) } else { size_class(len_bytes) }
    }
}

/// Memory of a buffer's elements, or of a kernel's workspace; back to the arena when dropped.
pub(crate) struct CudaMemory {
    device: CudaDevice,
    address: u64,
    len_bytes: usize,
}

impl CudaMemory {
    /// `len_bytes` bytes with unspecified contents; no memory at all where there are none.
    #[track_caller]
    pub(crate) fn allocate(device: &CudaDevice, len_bytes: usize) -> Result<CudaMemory> {
        let address = match len_bytes {
            0 => 0,
            _ => {
                let _turn = device.turns().take();
                device.arena().allocate(device.engine(), len_bytes, !device.turns().is_recording())?
            }
        };
        Ok(CudaMemory { device: device.clone(), address, len_bytes })
    }

    pub(crate) fn device(&self) -> &CudaDevice {
        &self.device
    }

    pub(crate) fn address(&self) -> u64 {
        self.address
    }

    /// Copies from the host; `bytes` fill the memory.
    #[track_caller]
    pub(crate) fn upload(&mut self, bytes: &[u8]) -> Result<()> {
        debug_assert_eq!(bytes.len(), self.len_bytes);
        if bytes.is_empty() {
            return Ok(());
        }
        let _turn = self.device.turns().take();
        self.device.engine().upload(self.address, bytes)
    }

    /// Copies to the host what begins at byte `from`, after all earlier work, and reports what went wrong in that.
    #[track_caller]
    pub(crate) fn download(&self, from: usize, bytes: &mut [u8]) -> Result<()> {
        debug_assert!(from + bytes.len() <= self.len_bytes);
        if !bytes.is_empty() {
            let _turn = self.device.turns().take_to_read(&self.device)?;
            self.device.engine().download(self.address + from as u64, bytes)?;
        }
        self.device.check_faults()
    }
}

impl Drop for CudaMemory {
    fn drop(&mut self) {
        if self.len_bytes > 0 {
            self.device.arena().release(self.device.engine(), self.address, self.len_bytes);
        }
    }
}

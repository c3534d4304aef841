//! The emulator: units compiled by the system's C++ compiler and run on the host (`cuda/emu`).
//!
//! Buffers lie between guard zones that are checked when they are freed, and are filled with bytes that make NaN.
//! Variables: `CHAINRULE_CXX` names the compiler (else `CXX`, `g++`, `c++`, `clang++`); `CHAINRULE_EMU_SEED` other than
//! 0 runs threads and blocks in a random order that the seed decides; `CHAINRULE_EMU_FLAGS` adds options, sanitizers say.

mod compiler;
mod recording;

use std::collections::HashMap;
use std::ffi::{CStr, CString, c_char, c_void};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use libloading::os::unix::{Library, RTLD_GLOBAL, RTLD_LOCAL};

use compiler::{Compiler, RUNTIME};
use recording::{Recording, Work};

use super::engine::{Engine, Function, Graph, Launched, Mark, Module};
use super::params::Params;
use super::tensor_map::{Layout, TensorMap};
use super::{Architecture, Unit};
use crate::{Error, ErrorKind, Result};

const GUARD_BYTES: usize = 64;
const GUARD: u8 = 0xa5;
/// Bytes that nothing wrote: NaN as a float, -1 as an integer.
const UNWRITTEN: u8 = 0xff;
/// The variable that names the order of threads and blocks.
const SEED: &str = "CHAINRULE_EMU_SEED";
/// An alignment that every vector access and bulk copy can count on.
const ALIGN: usize = 1024;

/// Marks memory that no kernel may touch, where the address sanitizer is at work; gives whether it is.
type ForbidFn = unsafe extern "C" fn(from: *const u8, len_bytes: usize) -> i32;

/// Runs a grid: see `emu_launch` in `cuda/emu/emu.cpp`.
type LaunchFn = unsafe extern "C" fn(
    entry: *const c_void,
    grid: *const u32,
    threads: u32,
    cluster: u32,
    dynamic_bytes: usize,
    params: *mut *mut c_void,
    workers: u32,
    seed: u64,
    error: *mut c_char,
    error_len: usize,
) -> i32;

pub(crate) struct Emulator {
    compiler: Compiler,
    launch: LaunchFn,
    forbid: ForbidFn,
    _runtime: Library,
    seed: u64,
    blocks: Mutex<HashMap<u64, Block>>,
    workers: u32,
    max_shared_bytes: usize,
    opened: Instant,
    recording: Mutex<Option<Recording>>,
}

/// Memory with its guards: the data start `ALIGN` bytes from its own start.
struct Block {
    start: *mut u8,
    len_bytes: usize,
    /// The address sanitizer watches the guards, and nobody else may look at them.
    is_forbidden: bool,
}

// SAFETY: a block is a plain piece of memory; the map that holds it is behind a lock.
unsafe impl Send for Block {}

impl Emulator {
    pub(crate) fn new() -> Result<Emulator> {
        let seed = std::env::var(SEED).unwrap_or_default();
        match seed.parse() {
            Ok(seed) => Emulator::with_seed(seed),
            Err(_) if seed.is_empty() => Emulator::with_seed(0),
            Err(_) => Err(device_error(format!("{SEED} is {seed:?}, expected a whole number from 0 on"))),
        }
    }

    /// With an order of threads and blocks; 0 is that of their numbers.
    pub(crate) fn with_seed(seed: u64) -> Result<Emulator> {
        let compiler = Compiler::find()?;
        // Units find its functions in the global scope; their own names stay apart from each other's.
        let runtime = compiler.build("the emulator's runtime", RUNTIME, "-O2", RTLD_GLOBAL)?;
        // SAFETY: the library is our own; its symbol has the type of `emu_launch`.
        let launch = unsafe { runtime.get::<LaunchFn>(b"emu_launch\0") }.map(|symbol| *symbol);
        let launch = launch.map_err(|error| device_error(format!("the emulator's runtime: {error}")))?;
        // SAFETY: as above, of `emu_forbid`.
        let forbid = unsafe { runtime.get::<ForbidFn>(b"emu_forbid\0") }.map(|symbol| *symbol);
        let forbid = forbid.map_err(|error| device_error(format!("the emulator's runtime: {error}")))?;
        let workers = std::thread::available_parallelism().map_or(1, |n| n.get() as u32);
        Ok(Emulator {
            compiler,
            launch,
            forbid,
            _runtime: runtime,
            seed,
            blocks: Mutex::default(),
            workers,
            max_shared_bytes: 227 << 10,
            opened: Instant::now(),
            recording: Mutex::default(),
        })
    }

    /// With as much shared memory for a block as another GPU has.
    #[cfg(test)]
    pub(crate) fn with_shared_bytes(max_shared_bytes: usize) -> Result<Emulator> {
        Ok(Emulator { max_shared_bytes, ..Emulator::new()? })
    }

    fn blocks(&self) -> std::sync::MutexGuard<'_, HashMap<u64, Block>> {
        self.blocks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Engine for Emulator {
    fn name(&self) -> &str {
        "cuda-emu"
    }

    fn model(&self) -> &str {
        "the host's processor"
    }

    fn multiprocessors(&self) -> usize {
        2
    }

    fn max_shared_bytes(&self) -> usize {
        self.max_shared_bytes
    }

    fn architecture(&self) -> Architecture {
        // The newest for which kernels are chosen; wrappers of 9.0 have twins too.
        Architecture { number: 80 }
    }

    fn is_synchronous(&self) -> bool {
        true
    }

    fn allocate(&self, len_bytes: usize) -> Result<Option<u64>> {
        let Some(layout) = Block::layout(len_bytes) else { return Ok(None) };
        // SAFETY: the layout has a size: the guards.
        let start = unsafe { std::alloc::alloc(layout) };
        if start.is_null() {
            return Ok(None);
        }
        // SAFETY: both zones and the data lie within the allocation.
        unsafe {
            start.add(ALIGN - GUARD_BYTES).write_bytes(GUARD, GUARD_BYTES);
            start.add(ALIGN).write_bytes(UNWRITTEN, len_bytes);
            start.add(ALIGN + len_bytes).write_bytes(GUARD, GUARD_BYTES);
        }
        // SAFETY: the zones before and beyond the data are the allocation's own, and only the guards use them.
        let is_forbidden = unsafe {
            (self.forbid)(start, ALIGN);
            (self.forbid)(start.add(ALIGN + len_bytes), GUARD_BYTES) != 0
        };
        let address = start as u64 + ALIGN as u64;
        self.blocks().insert(address, Block { start, len_bytes, is_forbidden });
        Ok(Some(address))
    }

    fn free(&self, address: u64) {
        if !self.keeps(address) {
            self.blocks().remove(&address);
        }
    }

    fn upload(&self, to: u64, bytes: &[u8]) -> Result<()> {
        if self.records(|| Work::Upload { to, bytes: bytes.to_vec() }) {
            return Ok(());
        }
        // SAFETY: `to` is the start of memory of at least that length, which the caller owns.
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), to as *mut u8, bytes.len()) };
        Ok(())
    }

    fn download(&self, from: u64, bytes: &mut [u8]) -> Result<()> {
        // SAFETY: as in `upload`; every byte was initialised when it was allocated.
        unsafe { std::ptr::copy_nonoverlapping(from as *const u8, bytes.as_mut_ptr(), bytes.len()) };
        Ok(())
    }

    fn set_bytes(&self, at: u64, value: u8, len_bytes: usize) -> Result<()> {
        if self.records(|| Work::Set { at, value, len_bytes }) {
            return Ok(());
        }
        // SAFETY: as in `upload`.
        unsafe { (at as *mut u8).write_bytes(value, len_bytes) };
        Ok(())
    }

    fn tensor_map(&self, layout: &Layout) -> Result<TensorMap> {
        Ok(layout.for_emulator())
    }

    fn load(&self, unit: &Unit) -> Result<Box<dyn Module>> {
        let object = self.compiler.build(&unit.label(), &unit.text(), "-O1", RTLD_LOCAL)?;
        Ok(Box::new(EmulatedModule { object, label: unit.label() }))
    }

    fn launch(&self, function: Function, launched: Launched, params: &mut Params) -> Result<()> {
        if self.records(|| Work::Launch { function, launched, params: Box::new(params.clone()) }) {
            return Ok(());
        }
        let mut error = [0u8; 2048];
        // SAFETY: the function is an entry of a loaded unit, which stays loaded; the parameters are those of its
        // signature, as on a GPU; the error buffer has the length that is given.
        let failed = unsafe {
            (self.launch)(
                function.0 as *const c_void,
                launched.grid().as_ptr(),
                launched.threads,
                launched.cluster,
                launched.shared_bytes,
                params.addresses().as_mut_ptr(),
                self.workers,
                self.seed,
                error.as_mut_ptr().cast(),
                error.len(),
            )
        };
        if failed != 0 {
            let message = CStr::from_bytes_until_nul(&error).unwrap_or_default().to_string_lossy();
            let order = if self.seed == 0 { String::new() } else { format!(" with {SEED}={}", self.seed) };
            return Err(device_error(format!("a kernel failed on the emulator{order}: {message}")));
        }
        match self.blocks().iter().find_map(|(_, block)| block.damage()) {
            Some(damage) => Err(device_error(damage)),
            None => Ok(()),
        }
    }

    fn synchronize(&self) -> Result<()> {
        Ok(())
    }

    fn mark(&self) -> Result<Mark> {
        // All work has ended, so the host's clock is the device's: nanoseconds since the device was opened.
        Ok(Mark(self.opened.elapsed().as_nanos() as u64))
    }

    fn elapsed_ms(&self, start: Mark, end: Mark) -> Result<f64> {
        Ok((end.0 as f64 - start.0 as f64) / 1e6)
    }

    fn forget(&self, _: Mark) {}

    fn begin_recording(&self) -> Result<()> {
        self.begin();
        Ok(())
    }

    fn launch_recording(&self, graph: &mut Option<Graph>) -> Result<()> {
        self.run_recorded(graph)
    }

    fn discard_recording(&self) {
        self.discard();
    }

    fn forget_graph(&self, _: Graph) {}
}

impl Block {
    fn layout(len_bytes: usize) -> Option<std::alloc::Layout> {
        let size = len_bytes.checked_add(ALIGN + GUARD_BYTES)?;
        std::alloc::Layout::from_size_align(size, ALIGN).ok()
    }

    /// Says which side of the data a kernel wrote beyond, if one did.
    fn damage(&self) -> Option<String> {
        if self.is_forbidden {
            return None;
        }
        // SAFETY: the zone lies within the allocation and was written when it was made.
        let whole =
            |at: usize| unsafe { std::slice::from_raw_parts(self.start.add(at), GUARD_BYTES) == [GUARD; GUARD_BYTES] };
        let side = match (whole(ALIGN - GUARD_BYTES), whole(ALIGN + self.len_bytes)) {
            (true, true) => return None,
            (false, _) => "before the start",
            (true, false) => "beyond the end",
        };
        Some(format!("a kernel wrote {side} of a buffer of {} bytes", self.len_bytes))
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        if let Some(layout) = Block::layout(self.len_bytes) {
            // SAFETY: the block came from `alloc` with this layout and is freed once.
            unsafe { std::alloc::dealloc(self.start, layout) };
        }
    }
}

struct EmulatedModule {
    object: Library,
    label: String,
}

impl Module for EmulatedModule {
    fn function(&self, entry: &str) -> Result<Function> {
        let name = CString::new(format!("entry_{entry}")).unwrap_or_default();
        // SAFETY: the symbol is only turned into an address here.
        let symbol = unsafe { self.object.get::<unsafe extern "C" fn(*mut *mut c_void)>(name.as_bytes_with_nul()) };
        match symbol {
            Ok(symbol) => Ok(Function(*symbol as usize)),
            Err(_) => Err(device_error(format!("unit {} has no entry point {entry}", self.label))),
        }
    }
}

#[track_caller]
fn device_error(message: String) -> Error {
    Error::new(ErrorKind::Device(message))
}

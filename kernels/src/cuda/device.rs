//! A CUDA device: an engine with its memory, its compiled units, and the faults that kernels report.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::panic::Location;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::driver::Driver;
use super::emulator::Emulator;
use super::engine::Engine;
use super::entry_points::EntryPoints;
use super::graph::Turns;
use super::memory::Arena;
use super::{Architecture, CudaEvent, CudaGraph, CudaMemory, TensorMap, Tiled, Unit};
use crate::cpu::memory::MemoryStats;
use crate::{Error, ErrorKind, Result};

/// A GPU, or the emulator. Cloning is cheap; clones are the same device.
#[derive(Clone)]
pub struct CudaDevice(Arc<Inner>);

struct Inner {
    engine: Box<dyn Engine>,
    arena: Arena,
    entry_points: EntryPoints,
    turns: Turns,
    faults: Mutex<Faults>,
    /// Held from a launch that may report a fault to the look at the report, where that follows at once.
    alone: Mutex<()>,
}

/// Turns what a kernel reported (value, limit, place) into an error.
pub(crate) type Describe = fn(i64, i64, i64) -> ErrorKind;

/// Where kernels report, and how each kind of report reads.
#[derive(Default)]
struct Faults {
    address: Option<u64>,
    describers: Vec<(&'static str, Describe)>,
}

/// The kernels' `Fault`.
#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct Fault {
    raised: u64,
    value: i64,
    limit: i64,
    at: i64,
}

/// The kernels' `FaultArg`.
#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
pub(crate) struct FaultArg {
    address: u64,
    launch: u64,
}

/// Devices opened so far, by name: one context and one cache of units for each.
static OPEN: Mutex<Vec<CudaDevice>> = Mutex::new(Vec::new());

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl CudaDevice {
    /// GPU number `ordinal`.
    ///
    /// # Errors
    /// No driver, no compiler (NVRTC), or no such GPU, each named with where it was looked for.
    #[track_caller]
    pub fn gpu(ordinal: usize) -> Result<CudaDevice> {
        CudaDevice::open(&format!("cuda:{ordinal}"), || Ok(Box::new(Driver::new(ordinal)?)))
    }

    /// The emulator: the same kernels, compiled by the system's C++ compiler, on the host's threads.
    ///
    /// # Errors
    /// No C++ compiler, named with where it was looked for.
    #[track_caller]
    pub fn emulator() -> Result<CudaDevice> {
        CudaDevice::open("cuda-emu", || Ok(Box::new(Emulator::new()?)))
    }

    #[track_caller]
    fn open(name: &str, engine: impl FnOnce() -> Result<Box<dyn Engine>>) -> Result<CudaDevice> {
        let location = Location::caller();
        let mut open = lock(&OPEN);
        if let Some(device) = open.iter().find(|device| device.name() == name) {
            return Ok(device.clone());
        }
        let device = CudaDevice::with_engine(engine().map_err(|error| error.at(location))?);
        open.push(device.clone());
        Ok(device)
    }

    /// A device of its own, with this engine.
    pub(crate) fn with_engine(engine: Box<dyn Engine>) -> CudaDevice {
        CudaDevice(Arc::new(Inner {
            engine,
            arena: Arena::default(),
            entry_points: EntryPoints::default(),
            turns: Turns::default(),
            faults: Mutex::default(),
            alone: Mutex::default(),
        }))
    }

    /// The name: `cuda:0`, `cuda-emu`.
    pub fn name(&self) -> &str {
        self.0.engine.name()
    }

    /// What the hardware calls itself: `NVIDIA H200`.
    pub fn model(&self) -> &str {
        self.0.engine.model()
    }

    /// How many multiprocessors it has.
    pub fn multiprocessors(&self) -> usize {
        self.0.engine.multiprocessors()
    }

    /// Whose instructions kernels may use; the emulator counts as 8.0.
    pub fn architecture(&self) -> Architecture {
        self.0.engine.architecture()
    }

    /// What a kernel that copies boxes of this tensor is given.
    ///
    /// # Errors
    /// A tensor or box that the copy engine cannot copy, with the rule that it breaks; what the driver refuses.
    ///
    /// ```
    /// use chainrule_kernels::DType;
    /// use chainrule_kernels::cuda::{CudaDevice, Swizzle, Tiled};
    /// let Ok(device) = CudaDevice::emulator() else { return Ok(()) };
    /// let (shape, strides, tile) = (&[100, 64], &[64, 1], &[16, 64]);
    /// let x = Tiled { address: 4096, dtype: DType::BF16, shape, strides, tile, swizzle: Swizzle::Bytes128 };
    /// assert!(device.tensor_map(x).is_ok());
    /// assert!(device.tensor_map(Tiled { address: 4098, ..x }).is_err());
    /// # Ok::<(), chainrule_kernels::Error>(())
    /// ```
    #[track_caller]
    pub fn tensor_map(&self, tensor: Tiled<'_>) -> Result<TensorMap> {
        self.0.engine.tensor_map(&tensor.layout()?)
    }

    /// Every unit that was compiled or loaded so far: what a check compiles for other GPUs.
    pub fn units(&self) -> Vec<Unit> {
        self.0.entry_points.units()
    }

    /// Waits until all launched work is done, and reports what went wrong in it.
    #[track_caller]
    pub fn synchronize(&self) -> Result<()> {
        {
            let _turn = self.turns().take_to_read(self)?;
            self.0.engine.synchronize()?;
        }
        self.check_faults()
    }

    /// A step of work that is to be launched as one, again and again.
    pub fn graph(&self) -> CudaGraph {
        CudaGraph::new(self)
    }

    /// Marks the place after all work launched so far, for timing; does not wait.
    ///
    /// # Errors
    /// What the driver reports, also of earlier work.
    ///
    /// ```
    /// use chainrule_kernels::cuda::CudaDevice;
    /// let Ok(device) = CudaDevice::emulator() else { return Ok(()) };
    /// let start = device.record()?;
    /// let end = device.record()?;
    /// assert!(start.elapsed_ms(&end)? >= 0.0);
    /// # Ok::<(), chainrule_kernels::Error>(())
    /// ```
    #[track_caller]
    pub fn record(&self) -> Result<CudaEvent> {
        CudaEvent::new(self)
    }

    pub(crate) fn memory_stats(&self) -> MemoryStats {
        self.0.arena.stats()
    }

    pub(crate) fn reset_peak_memory(&self) {
        self.0.arena.reset_peak();
    }

    pub(crate) fn engine(&self) -> &dyn Engine {
        &*self.0.engine
    }

    pub(crate) fn arena(&self) -> &Arena {
        &self.0.arena
    }

    pub(crate) fn entry_points(&self) -> &EntryPoints {
        &self.0.entry_points
    }

    pub(crate) fn turns(&self) -> &Turns {
        &self.0.turns
    }

    /// What a kernel that can find bad input is given to report it.
    #[track_caller]
    pub(crate) fn fault_arg(&self, kernel: &'static str, describe: Describe) -> Result<FaultArg> {
        let address = self.prepare_faults()?;
        let mut faults = lock(&self.0.faults);
        let known =
            faults.describers.iter().position(|&(name, other)| name == kernel && std::ptr::fn_addr_eq(other, describe));
        let launch = known.unwrap_or(faults.describers.len());
        if known.is_none() {
            faults.describers.push((kernel, describe));
        }
        Ok(FaultArg { address, launch: launch as u64 })
    }

    /// Where kernels report: memory that holds no report before the first of them runs.
    #[track_caller]
    pub(crate) fn prepare_faults(&self) -> Result<u64> {
        if let Some(address) = lock(&self.0.faults).address {
            return Ok(address);
        }
        // Never freed, because any kernel to come may report.
        let memory = std::mem::ManuallyDrop::new(CudaMemory::allocate(self, size_of::<Fault>())?);
        let _turn = self.turns().take();
        self.0.engine.set_bytes(memory.address(), 0, size_of::<Fault>())?;
        // Another thread may have been as quick; its record is as good.
        Ok(*lock(&self.0.faults).address.get_or_insert(memory.address()))
    }

    /// No launch that may report a fault runs while this is held.
    pub(crate) fn alone(&self) -> MutexGuard<'_, ()> {
        lock(&self.0.alone)
    }

    /// An error where a kernel has reported one since the last look; none where launches report their own at once.
    #[track_caller]
    pub(crate) fn check_faults(&self) -> Result<()> {
        if self.0.engine.is_synchronous() {
            return Ok(());
        }
        let _turn = self.turns().take_to_read(self)?;
        self.look_at_faults()
    }

    /// An error where a kernel has reported one since the last look; for whose turn it is.
    #[track_caller]
    pub(crate) fn look_at_faults(&self) -> Result<()> {
        let faults = lock(&self.0.faults);
        let Some(address) = faults.address else { return Ok(()) };
        let mut fault: Fault = bytemuck::Zeroable::zeroed();
        self.0.engine.download(address, bytemuck::bytes_of_mut(&mut fault))?;
        if fault.raised == 0 {
            return Ok(());
        }
        self.0.engine.set_bytes(address, 0, size_of::<Fault>())?;
        match faults.describers.get(fault.raised as usize - 1) {
            Some((kernel, describe)) => Err(Error::new(describe(fault.value, fault.limit, fault.at)).in_op(kernel)),
            None => {
                Err(Error::new(ErrorKind::Device(format!("{}: a kernel wrote over its fault record", self.name()))))
            }
        }
    }
}

impl PartialEq for CudaDevice {
    fn eq(&self, other: &CudaDevice) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for CudaDevice {}

impl Hash for CudaDevice {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name().hash(state);
    }
}

impl fmt::Debug for CudaDevice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

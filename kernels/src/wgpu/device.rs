//! A wgpu device: an adapter with its memory, its pipelines, what is recorded for it, and the faults of kernels.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::panic::Location;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use ::wgpu;

use super::adapter::{self, Features, Limits, Opened, missing};
use super::memory::Arena;
use super::pipeline::Pipelines;
use super::recorder::Recorder;
use super::{Unit, WgpuEvent, WgpuMemory, halves};
use crate::cpu::memory::MemoryStats;
use crate::{DType, Error, ErrorKind, Result};

/// A GPU through wgpu. Cloning is cheap; clones are the same device.
#[derive(Clone)]
pub struct WgpuDevice(Arc<Inner>);

struct Inner {
    device: wgpu::Device,
    info: wgpu::AdapterInfo,
    limits: Limits,
    features: Features,
    /// Whether f16 is what it is on the host, once somebody has asked.
    native_f16: OnceLock<bool>,
    arena: Arena,
    pipelines: Pipelines,
    recorder: Recorder,
    faults: Mutex<Faults>,
    /// Whether a launch that may report a fault was recorded since the last look.
    may_have_faults: AtomicBool,
    trouble: Trouble,
}

/// What the driver reported of its own accord, until somebody asks: the first of it.
pub(crate) type Trouble = Arc<Mutex<Option<String>>>;

/// Turns what a kernel reported (value, limit, place) into an error.
pub(crate) type Describe = fn(i64, i64, i64) -> ErrorKind;

/// Where kernels report, and how each kind of report reads.
#[derive(Default)]
struct Faults {
    record: Option<WgpuMemory>,
    describers: Vec<(&'static str, Describe)>,
}

/// The kernels' record of bad input: raised (the describer's place from 1), value, limit, place.
pub(crate) const FAULT_WORDS: usize = 4;

/// The device, once it is open: one for the process.
static OPEN: Mutex<Option<WgpuDevice>> = Mutex::new(None);

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl WgpuDevice {
    /// The adapter that `CHAINRULE_WGPU_ADAPTER` names by a part of its name, else the best there is.
    ///
    /// # Errors
    /// No adapter, or none of that name; those that there are, are listed.
    #[track_caller]
    pub fn open() -> Result<WgpuDevice> {
        let location = Location::caller();
        let mut open = lock(&OPEN);
        if let Some(device) = &*open {
            return Ok(device.clone());
        }
        let Opened { device, queue, info, limits, features } = adapter::open().map_err(|error| error.at(location))?;
        let trouble = Trouble::default();
        listen(&device, &trouble);
        let inner = Inner {
            arena: Arena::new(device.clone(), limits),
            pipelines: Pipelines::new(device.clone(), limits),
            recorder: Recorder::new(device.clone(), queue),
            device,
            info,
            limits,
            features,
            native_f16: OnceLock::new(),
            faults: Mutex::default(),
            may_have_faults: AtomicBool::new(false),
            trouble,
        };
        Ok(open.insert(WgpuDevice(Arc::new(inner))).clone())
    }

    /// What the adapter and its interface call themselves: `NVIDIA H200 (Vulkan)`.
    pub fn model(&self) -> String {
        adapter::name(&self.0.info)
    }

    /// What kernels and launches may use.
    pub fn limits(&self) -> Limits {
        self.0.limits
    }

    /// What kernels and launches may use beyond the guaranteed.
    pub fn features(&self) -> Features {
        self.0.features
    }

    /// Whether kernels read and write arrays of f16: the device has them, and converts as the host does. That is found out
    /// when it is first asked, and waited for; a browser allows no waiting, so there f16 goes by words.
    pub fn has_native_f16(&self) -> bool {
        let is_native = || halves::are_exact(self).unwrap_or(false);
        let may_be = self.0.features.f16 && !cfg!(target_arch = "wasm32");
        may_be && *self.0.native_f16.get_or_init(is_native)
    }

    /// Whether an element of `dtype` can be written whatever is written beside it.
    pub(crate) fn stores_alone(&self, dtype: DType) -> bool {
        dtype.size_bytes() == 4 || (dtype == DType::F16 && self.has_native_f16())
    }

    /// Whether workgroups reduce by subgroups. A browser names the built-in values that this takes otherwise.
    pub(crate) fn has_subgroups(&self) -> bool {
        self.0.features.subgroups && !cfg!(target_arch = "wasm32")
    }

    /// Whether the driver computes on the host's processor: its times say nothing about a GPU.
    pub fn is_processor(&self) -> bool {
        self.0.info.device_type == wgpu::DeviceType::Cpu
    }

    /// Every unit that was compiled so far.
    pub fn units(&self) -> Vec<Unit> {
        self.0.pipelines.units()
    }

    /// Waits until all launched work is done, and reports what went wrong in it.
    #[track_caller]
    pub fn synchronize(&self) -> Result<()> {
        self.recorder().submit();
        self.wait()?;
        self.check_faults()
    }

    /// How many bind groups are kept: one for each combination of blocks that launches have used.
    pub fn bind_groups(&self) -> usize {
        self.0.pipelines.bind_groups()
    }

    /// Marks the place after all work launched so far, for timing. Does not wait where the device takes the time itself
    /// ([`Features::timestamps`]).
    ///
    /// # Errors
    /// What the driver reports, also of earlier work.
    ///
    /// ```
    /// use chainrule_kernels::wgpu::WgpuDevice;
    /// let Ok(device) = WgpuDevice::open() else { return Ok(()) };
    /// let start = device.record()?;
    /// let end = device.record()?;
    /// assert!(start.elapsed_ms(&end)? >= 0.0);
    /// # Ok::<(), chainrule_kernels::Error>(())
    /// ```
    #[track_caller]
    pub fn record(&self) -> Result<WgpuEvent> {
        WgpuEvent::new(self)
    }

    /// Waits for what was submitted.
    #[track_caller]
    pub(crate) fn wait(&self) -> Result<()> {
        let waited = self.0.device.poll(wgpu::PollType::wait_indefinitely());
        waited.map_err(|error| missing(format!("{}: {error}", self.model())))?;
        self.check_trouble()
    }

    /// An error where the driver has reported one: a lost device, or a launch that it refused.
    #[track_caller]
    pub(crate) fn check_trouble(&self) -> Result<()> {
        match lock(&self.0.trouble).take() {
            Some(trouble) => Err(missing(trouble)),
            None => Ok(()),
        }
    }

    pub(crate) fn memory_stats(&self) -> MemoryStats {
        self.0.arena.stats()
    }

    pub(crate) fn reset_peak_memory(&self) {
        self.0.arena.reset_peak();
    }

    pub(crate) fn arena(&self) -> &Arena {
        &self.0.arena
    }

    pub(crate) fn pipelines(&self) -> &Pipelines {
        &self.0.pipelines
    }

    pub(crate) fn recorder(&self) -> &Recorder {
        &self.0.recorder
    }

    /// What a kernel that can find bad input is given to report it: the record, and the number of its describer.
    #[track_caller]
    pub(crate) fn fault_slot(&self, kernel: &'static str, describe: Describe) -> Result<(super::Slot, u32)> {
        let mut faults = lock(&self.0.faults);
        if faults.record.is_none() {
            let mut record = WgpuMemory::allocate(self, DType::U32, FAULT_WORDS * 4)?;
            record.upload(&[0; FAULT_WORDS * 4])?;
            faults.record = Some(record);
        }
        let is_known = |&(name, other): &(&str, Describe)| name == kernel && std::ptr::fn_addr_eq(other, describe);
        let place = faults.describers.iter().position(is_known).unwrap_or(faults.describers.len());
        if place == faults.describers.len() {
            faults.describers.push((kernel, describe));
        }
        self.0.may_have_faults.store(true, Ordering::Relaxed);
        let slot = faults.record.as_ref().map(|record| record.slot(DType::U32, FAULT_WORDS, 0));
        Ok((slot.unwrap_or(super::Slot::none(DType::U32)), place as u32 + 1))
    }

    /// An error where a kernel has reported one since the last look.
    #[track_caller]
    pub(crate) fn check_faults(&self) -> Result<()> {
        if !self.0.may_have_faults.swap(false, Ordering::Relaxed) {
            return Ok(());
        }
        let mut faults = lock(&self.0.faults);
        let Some(record) = &mut faults.record else { return Ok(()) };
        let mut words = [0u32; FAULT_WORDS];
        record.read(0, bytemuck::cast_slice_mut(&mut words))?;
        let [raised, value, limit, at] = words;
        if raised == 0 {
            return Ok(());
        }
        record.upload(&[0; FAULT_WORDS * 4])?;
        match faults.describers.get(raised as usize - 1) {
            Some((kernel, describe)) => {
                let kind = describe((value as i32).into(), (limit as i32).into(), at.into());
                Err(Error::new(kind).in_op(kernel))
            }
            None => Err(missing("a kernel wrote over its fault record".into())),
        }
    }
}

/// Keeps the first of what the driver reports, so that the call that meets it can return it.
fn listen(device: &wgpu::Device, trouble: &Trouble) {
    let keep = |trouble: &Trouble, text: String| {
        lock(trouble).get_or_insert(text);
    };
    let of_errors = trouble.clone();
    device.on_uncaptured_error(Arc::new(move |error: wgpu::Error| keep(&of_errors, error.to_string())));
    let of_loss = trouble.clone();
    device.set_device_lost_callback(move |reason, text| {
        keep(&of_loss, format!("the device is lost ({reason:?}): {text}"));
    });
}

impl PartialEq for WgpuDevice {
    fn eq(&self, other: &WgpuDevice) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for WgpuDevice {}

impl Hash for WgpuDevice {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.info.name.hash(state);
    }
}

impl fmt::Debug for WgpuDevice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("wgpu")
    }
}

//! A whole step, recorded and then launched as one graph.
//!
//! A step of training is some hundred short launches, and on a fast GPU the host is slower to ask for them than the
//! device to do them. A graph asks once. The scalars of a step (learning rate, bias corrections, random streams) are
//! parameters of its kernels, so each step is recorded anew, which costs the host no more than asking did, and the
//! graph of the step before is changed in place, which is cheaper than making one.
//!
//! Memory needs no care of its own. A recording is launched exactly once, and nothing comes between: other threads'
//! work waits until it is launched. So what was recorded keeps its place in the order of the device's work, and for a
//! block of the arena all that can happen is what happens without a graph:
//!
//! 1. Freed before the recording and handed out in it: its last user was launched before the graph is.
//! 2. Freed in the recording and handed out again in it: the recorded work is done in the order in which it was asked for.
//! 3. Freed in the recording and handed out after it: the new owner's work is launched after the graph.
//! 4. New from the driver in the recording: its address is good at once, whatever happens to the recording.
//!
//! What must not happen is that memory goes back to the driver while recorded work is still to use it. The arena does
//! that only where room is short, after waiting for the device, and in a recording it does not: it says that there is
//! no room. The emulator, which gives memory back at once, keeps it until the recording is launched.

use std::panic::Location;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use super::CudaDevice;
use super::engine::Graph;
use crate::{Error, ErrorKind, Result};

/// A step of work that is launched as one, again and again; [`CudaDevice::graph`] makes it.
///
/// ```
/// use chainrule_kernels::{Buffer, DType, Device, copy, cuda::CudaDevice};
/// let Ok(cuda) = CudaDevice::emulator() else { return Ok(()) };
/// let device = Device::Cuda(cuda.clone());
/// let mut y = Buffer::allocate(&device, DType::F32, 2)?;
/// let mut graph = cuda.graph();
/// for value in [0.5, 0.25] {
///     graph.step(|| copy::fill(&mut y, value))?; // Recorded, and then launched as one.
///     assert_eq!(y.to_vec::<f32>()?, [value as f32; 2]);
/// }
/// # Ok::<(), chainrule_kernels::Error>(())
/// ```
#[derive(Debug)]
pub struct CudaGraph {
    device: CudaDevice,
    graph: Option<Graph>,
}

impl CudaGraph {
    pub(crate) fn new(device: &CudaDevice) -> CudaGraph {
        CudaGraph { device: device.clone(), graph: None }
    }

    /// Records all that `work` asks of the device, and then launches it as one. The work may be another each time; it
    /// costs least where it differs from the step before in numbers and addresses only.
    ///
    /// Tensors that `work` makes have their values once this returns. Until then nothing may be read from the device:
    /// return the loss and read it afterwards. Work that other threads ask of the device waits until the step is
    /// launched, so `work` must not wait for a thread that uses the device.
    ///
    /// # Errors
    /// What `work` gives: nothing of it has then happened on the device, but what it changed on the host (an optimiser's
    /// count of steps) stays changed. A read in `work`, a step within a step, no room: where memory is short, a step
    /// cannot give back what the device keeps for reuse, so run one without a graph first. What the device reports. Bad
    /// input that a kernel finds is reported as elsewhere: with the next read or [`CudaDevice::synchronize`].
    #[track_caller]
    pub fn step<T>(&mut self, work: impl FnOnce() -> Result<T>) -> Result<T> {
        let location = Location::caller();
        let recording = Recording::begin(&self.device).map_err(|error| error.at(location))?;
        let value = work()?;
        recording.launch(&mut self.graph).map_err(|error| error.at(location))?;
        Ok(value)
    }
}

impl Drop for CudaGraph {
    fn drop(&mut self) {
        if let Some(graph) = self.graph.take() {
            self.device.engine().forget_graph(graph);
        }
    }
}

/// The work that is being recorded. Unless it is launched, it is discarded, also by a panic.
struct Recording<'a> {
    device: &'a CudaDevice,
    is_open: bool,
    _alone: RwLockWriteGuard<'a, ()>,
}

impl<'a> Recording<'a> {
    #[track_caller]
    fn begin(device: &'a CudaDevice) -> Result<Recording<'a>> {
        // Where kernels report must hold no report before the first of them runs, whatever becomes of the recording.
        device.prepare_faults()?;
        let alone = device.turns().record(device)?;
        // From here on its drop gives the turn back.
        let mut recording = Recording { device, is_open: false, _alone: alone };
        device.engine().begin_recording()?;
        recording.is_open = true;
        Ok(recording)
    }

    #[track_caller]
    fn launch(mut self, graph: &mut Option<Graph>) -> Result<()> {
        self.is_open = false;
        self.device.engine().launch_recording(graph)?;
        if self.device.engine().is_synchronous() { self.device.look_at_faults() } else { Ok(()) }
    }
}

impl Drop for Recording<'_> {
    fn drop(&mut self) {
        if self.is_open {
            self.device.engine().discard_recording();
        }
        self.device.turns().recorder.store(0, Ordering::Relaxed);
    }
}

/// Whose turn it is to ask a device for work: any thread's, or only that of the one which records.
#[derive(Default)]
pub(crate) struct Turns {
    /// Held for writing during a recording, and for reading by work outside of one.
    lock: RwLock<()>,
    /// The thread that records; 0 for none.
    recorder: AtomicUsize,
}

/// A turn to ask for work; nothing to hold within the thread's own recording. No other turn may be taken while it is held.
pub(crate) type Turn<'a> = Option<RwLockReadGuard<'a, ()>>;

/// A number that no other living thread has.
fn this_thread() -> usize {
    thread_local!(static HERE: u8 = const { 0 });
    HERE.with(|here| std::ptr::from_ref(here) as usize)
}

impl Turns {
    /// True within a recording of this thread.
    pub(crate) fn is_recording(&self) -> bool {
        self.recorder.load(Ordering::Relaxed) == this_thread()
    }

    /// Waits while another thread records.
    pub(crate) fn take(&self) -> Turn<'_> {
        (!self.is_recording()).then(|| self.lock.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// As [`Turns::take`], for work whose results the host waits for: an error within a recording, where they come later.
    #[track_caller]
    pub(crate) fn take_to_read(&self, device: &CudaDevice) -> Result<Turn<'_>> {
        if self.is_recording() {
            return Err(Error::new(ErrorKind::Device(format!(
                "{}: nothing can be read or waited for while a step is recorded, because its work is yet to be done: \
                 return the tensor from CudaGraph::step and read it afterwards",
                device.name()
            ))));
        }
        Ok(self.take())
    }

    /// Begins this thread's recording, once all others have had their turns.
    #[track_caller]
    fn record(&self, device: &CudaDevice) -> Result<RwLockWriteGuard<'_, ()>> {
        if self.is_recording() {
            let message = format!("{}: a step is being recorded already, and steps do not nest", device.name());
            return Err(Error::new(ErrorKind::Device(message)));
        }
        let alone = self.lock.write().unwrap_or_else(PoisonError::into_inner);
        self.recorder.store(this_thread(), Ordering::Relaxed);
        Ok(alone)
    }
}

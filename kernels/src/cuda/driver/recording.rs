//! Recording on a GPU: the stream captures its work into a graph, which is launched through an executable one.

use std::ptr::null_mut;

use cudarc::driver::sys::{self, CUresult};

use super::{Driver, check};
use crate::Result;
use crate::cuda::engine::Graph;

/// What is uploaded in a recording, until its launch has read it: a copy node reads host memory when it runs, and the
/// caller's has other contents by then.
///
/// Two sets take turns, so that a step can be recorded while the one before still runs.
#[derive(Default)]
pub(super) struct Staging {
    sets: [Set; 2],
    turn: usize,
    is_recording: bool,
}

#[derive(Default)]
struct Set {
    chunks: Vec<Chunk>,
    /// Reached once the launch that reads this set has ended; `None` before its first launch.
    is_read: Option<sys::CUevent>,
}

/// Page-locked memory: the device reads it without the host's help.
struct Chunk {
    start: *mut u8,
    len: usize,
    used: usize,
}

// SAFETY: chunks are plain memory and events may be used from any thread; the driver keeps them behind a lock.
unsafe impl Send for Staging {}

const CHUNK_BYTES: usize = 1 << 20;
/// An alignment at which copies are as fast as they get.
const ALIGN: usize = 256;

impl Staging {
    /// A copy of `bytes` that lasts until it is read, where a recording is under way.
    pub(super) fn copy_of(&mut self, bytes: &[u8]) -> Result<Option<*const u8>> {
        if !self.is_recording {
            return Ok(None);
        }
        let chunk = self.sets[self.turn].room_for(bytes.len())?;
        // SAFETY: there is room for the bytes from `used` on, which nobody reads before the recording is launched.
        let copy = unsafe { chunk.start.add(chunk.used) };
        // SAFETY: as above; the caller's memory does not overlap with ours.
        unsafe { copy.copy_from_nonoverlapping(bytes.as_ptr(), bytes.len()) };
        chunk.used = (chunk.used + bytes.len()).next_multiple_of(ALIGN).min(chunk.len);
        Ok(Some(copy))
    }
}

impl Set {
    /// Empties it, after the launch that reads it.
    fn clear(&mut self) -> Result<()> {
        if let Some(event) = self.is_read {
            // SAFETY: the event was recorded when the set was last launched, and is never destroyed.
            check("cuEventSynchronize", unsafe { sys::cuEventSynchronize(event) })?;
        }
        self.chunks.iter_mut().for_each(|chunk| chunk.used = 0);
        Ok(())
    }

    fn room_for(&mut self, len: usize) -> Result<&mut Chunk> {
        let place = match self.chunks.iter().position(|chunk| chunk.len - chunk.used >= len) {
            Some(place) => place,
            None => {
                let len = len.max(CHUNK_BYTES);
                let mut start = null_mut();
                // SAFETY: the context is current, and the pointer outlives the call. The memory is kept as long as the
                // process lives, as the stream is.
                check("cuMemHostAlloc", unsafe { sys::cuMemHostAlloc(&mut start, len, 0) })?;
                self.chunks.push(Chunk { start: start.cast(), len, used: 0 });
                self.chunks.len() - 1
            }
        };
        Ok(&mut self.chunks[place])
    }

    /// Marks the place after the launch that reads it.
    fn launched(&mut self, stream: sys::CUstream) -> Result<()> {
        let event = match self.is_read {
            Some(event) => event,
            None => {
                let mut event = null_mut();
                let flags = sys::CUevent_flags::CU_EVENT_DISABLE_TIMING as u32;
                // SAFETY: the context is current, and the handle outlives the call.
                check("cuEventCreate", unsafe { sys::cuEventCreate(&mut event, flags) })?;
                *self.is_read.insert(event)
            }
        };
        // SAFETY: both handles are alive.
        check("cuEventRecord", unsafe { sys::cuEventRecord(event, stream) })
    }
}

/// A captured graph, until it is taken over by an executable one.
struct Captured(sys::CUgraph);

impl Drop for Captured {
    fn drop(&mut self) {
        if !self.0.is_null() {
            // SAFETY: the graph came from the end of a capture and is destroyed once. A failure was an earlier one's.
            let _ = unsafe { sys::cuGraphDestroy(self.0) };
        }
    }
}

impl Driver {
    pub(super) fn begin_capture(&self) -> Result<()> {
        self.bind()?;
        let mut staging = self.staging();
        staging.turn = (staging.turn + 1) % staging.sets.len();
        let turn = staging.turn;
        staging.sets[turn].clear()?;
        // Relaxed: memory may be allocated and units loaded meanwhile, which is no work of the stream.
        let mode = sys::CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_RELAXED;
        // SAFETY: the stream lives as long as the device, and no capture of it is under way.
        check("cuStreamBeginCapture", unsafe { sys::cuStreamBeginCapture_v2(self.stream, mode) })?;
        staging.is_recording = true;
        Ok(())
    }

    fn end_capture(&self) -> Result<Captured> {
        self.bind()?;
        self.staging().is_recording = false;
        let mut captured = Captured(null_mut());
        // SAFETY: a capture of the stream is under way, and the handle outlives the call.
        check("cuStreamEndCapture", unsafe { sys::cuStreamEndCapture(self.stream, &mut captured.0) })?;
        Ok(captured)
    }

    pub(super) fn launch_captured(&self, graph: &mut Option<Graph>) -> Result<()> {
        let captured = self.end_capture()?;
        let executable = self.executable(&captured, graph.take())?;
        *graph = Some(Graph(executable as u64));
        // SAFETY: both handles are alive.
        check("cuGraphLaunch", unsafe { sys::cuGraphLaunch(executable, self.stream) })?;
        let mut staging = self.staging();
        let turn = staging.turn;
        staging.sets[turn].launched(self.stream)
    }

    pub(super) fn discard_captured(&self) {
        // A capture that an error has ended gives no graph, and there is nothing to do about it.
        drop(self.end_capture());
    }

    /// The former executable graph, changed to what was captured, or a new one where that takes another topology.
    fn executable(&self, captured: &Captured, former: Option<Graph>) -> Result<sys::CUgraphExec> {
        if let Some(former) = former {
            let executable = former.0 as sys::CUgraphExec;
            let mut info = sys::CUgraphExecUpdateResultInfo {
                result: sys::CUgraphExecUpdateResult::CU_GRAPH_EXEC_UPDATE_SUCCESS,
                errorNode: null_mut(),
                errorFromNode: null_mut(),
            };
            // SAFETY: both graphs are alive; a launch that is still running keeps its own parameters.
            let updated = unsafe { sys::cuGraphExecUpdate_v2(executable, captured.0, &mut info) };
            if updated == CUresult::CUDA_SUCCESS {
                return Ok(executable);
            }
            self.destroy(former);
            if updated != CUresult::CUDA_ERROR_GRAPH_EXEC_UPDATE_FAILURE {
                check("cuGraphExecUpdate", updated)?;
            }
        }
        let mut executable = null_mut();
        // SAFETY: the graph is alive, and the handle outlives the call.
        check("cuGraphInstantiate", unsafe { sys::cuGraphInstantiateWithFlags(&mut executable, captured.0, 0) })?;
        Ok(executable)
    }

    pub(super) fn destroy(&self, graph: Graph) {
        // A failure here was one of an earlier launch, which the next call reports.
        let _ = self.bind().and_then(|()| {
            // SAFETY: the executable graph is alive and destroyed once; one that still runs is freed when it has ended.
            check("cuGraphExecDestroy", unsafe { sys::cuGraphExecDestroy(graph.0 as sys::CUgraphExec) })
        });
    }
}

//! Recording on the emulator: work is kept with copies of its parameters and bytes, and done when it is launched.

use std::sync::{MutexGuard, PoisonError};

use super::Emulator;
use crate::Result;
use crate::cuda::engine::{Engine, Function, Graph, Launched};
use crate::cuda::params::Params;

/// What was asked for since a recording began.
#[derive(Default)]
pub(super) struct Recording {
    work: Vec<Work>,
    /// Memory that was given back and that recorded work may still use.
    freed: Vec<u64>,
}

pub(super) enum Work {
    Launch { function: Function, launched: Launched, params: Box<Params> },
    Upload { to: u64, bytes: Vec<u8> },
    Set { at: u64, value: u8, len_bytes: usize },
}

impl Emulator {
    fn recording(&self) -> MutexGuard<'_, Option<Recording>> {
        self.recording.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn begin(&self) {
        self.recording().get_or_insert_default();
    }

    /// Keeps work for later where a recording is under way; gives whether it is.
    pub(super) fn records(&self, work: impl FnOnce() -> Work) -> bool {
        match &mut *self.recording() {
            Some(recording) => {
                recording.work.push(work());
                true
            }
            None => false,
        }
    }

    /// Keeps memory for later where a recording is under way; gives whether it is.
    pub(super) fn keeps(&self, address: u64) -> bool {
        match &mut *self.recording() {
            Some(recording) => {
                recording.freed.push(address);
                true
            }
            None => false,
        }
    }

    pub(super) fn run_recorded(&self, graph: &mut Option<Graph>) -> Result<()> {
        let Recording { work, freed } = self.recording().take().unwrap_or_default();
        let done = work.into_iter().try_for_each(|work| match work {
            Work::Launch { function, launched, mut params } => self.launch(function, launched, &mut params),
            Work::Upload { to, bytes } => self.upload(to, &bytes),
            Work::Set { at, value, len_bytes } => self.set_bytes(at, value, len_bytes),
        });
        freed.into_iter().for_each(|address| self.free(address));
        // There is nothing to keep between launches.
        *graph = Some(Graph(0));
        done
    }

    pub(super) fn discard(&self) {
        let Recording { freed, .. } = self.recording().take().unwrap_or_default();
        freed.into_iter().for_each(|address| self.free(address));
    }
}

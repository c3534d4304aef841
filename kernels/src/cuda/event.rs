//! Marks in the order of a device's work, between which time is taken.

use super::CudaDevice;
use super::engine::Mark;
use crate::{Error, Result};

/// A place in the order of a device's work; [`CudaDevice::record`] makes it.
#[derive(Debug)]
pub struct CudaEvent {
    device: CudaDevice,
    mark: Mark,
}

impl CudaEvent {
    #[track_caller]
    pub(crate) fn new(device: &CudaDevice) -> Result<CudaEvent> {
        let _turn = device.turns().take_to_read(device)?;
        Ok(CudaEvent { mark: device.engine().mark()?, device: device.clone() })
    }

    /// The milliseconds that the device took from this event to a later one; waits until it has come to that. On the
    /// emulator, whose work has ended when a launch returns, those of the host's clock.
    ///
    /// # Errors
    /// Events of two devices; what the driver reports, also of earlier work.
    #[track_caller]
    pub fn elapsed_ms(&self, later: &CudaEvent) -> Result<f64> {
        if self.device != later.device {
            let message = format!("events of {} and {}, expected one device", self.device.name(), later.device.name());
            return Err(Error::argument("elapsed_ms", message));
        }
        self.device.engine().elapsed_ms(self.mark, later.mark)
    }
}

impl Drop for CudaEvent {
    fn drop(&mut self) {
        self.device.engine().forget(self.mark);
    }
}

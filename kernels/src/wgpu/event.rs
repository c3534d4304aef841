//! Marks in the order of a device's work, between which time is taken.

use std::time::Instant;

use ::wgpu;

use super::WgpuDevice;
use crate::{Error, ErrorKind, Result};

/// What one time takes where it is written.
pub(crate) const TIME_BYTES: usize = 8;

/// A place in the order of a device's work; [`WgpuDevice::record`] makes it.
#[derive(Debug)]
pub struct WgpuEvent {
    device: WgpuDevice,
    mark: Mark,
}

/// How the time of a place is known.
#[derive(Debug)]
enum Mark {
    /// The device writes it when it has come there.
    OnDevice(wgpu::QuerySet),
    /// The host read its clock when the device had come there.
    OnHost(Instant),
}

impl WgpuEvent {
    #[track_caller]
    pub(crate) fn new(device: &WgpuDevice) -> Result<WgpuEvent> {
        let mark = if device.features().timestamps {
            Mark::OnDevice(device.recorder().mark())
        } else {
            device.recorder().submit();
            device.wait()?;
            Mark::OnHost(Instant::now())
        };
        device.check_trouble()?;
        Ok(WgpuEvent { device: device.clone(), mark })
    }

    /// The milliseconds that the device took from this event to a later one; waits until it has come to that. Where
    /// [`Features::timestamps`](super::Features) is false, those of the host's clock between two waits for the device.
    ///
    /// # Errors
    /// Events of two devices; what the driver reports, also of earlier work.
    #[track_caller]
    pub fn elapsed_ms(&self, later: &WgpuEvent) -> Result<f64> {
        if self.device != later.device {
            let [from, to] = [self, later].map(|event| event.device.model());
            return Err(Error::argument("elapsed_ms", format!("events of {from} and {to}, expected one device")));
        }
        match (&self.mark, &later.mark) {
            (Mark::OnDevice(from), Mark::OnDevice(to)) => self.ticks_ms(from, to),
            (Mark::OnHost(from), Mark::OnHost(to)) => {
                let (ahead, behind) = (to.saturating_duration_since(*from), from.saturating_duration_since(*to));
                Ok((ahead.as_secs_f64() - behind.as_secs_f64()) * 1e3)
            }
            // One device has the same kind of marks as long as it lives.
            _ => Err(Error::argument("elapsed_ms", "one event has the time of the device and one that of the host")),
        }
    }

    #[track_caller]
    fn ticks_ms(&self, from: &wgpu::QuerySet, to: &wgpu::QuerySet) -> Result<f64> {
        let recorder = self.device.recorder();
        let mut ticks = [0u64; 2];
        for (ticks, mark) in ticks.iter_mut().zip([from, to]) {
            let time = recorder.time_of(mark);
            recorder.download(&self.device, &time, 0, bytemuck::bytes_of_mut(ticks))?;
            if *ticks == 0 {
                let message = format!("wgpu: {} wrote no time for an event", self.device.model());
                return Err(Error::new(ErrorKind::Device(message)));
            }
        }
        // Counters run over; the difference is right all the same, and negative where the events come the other way.
        let passed = ticks[1].wrapping_sub(ticks[0]) as i64;
        Ok(passed as f64 * recorder.tick_ns() / 1e6)
    }
}

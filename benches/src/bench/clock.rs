//! Whose clock times are taken by: the device's own where it has one, else the host's.

use std::time::Instant;

use chainrule::{Device, Error, Result};

/// A place in the order of a device's work.
pub(crate) enum Mark {
    #[cfg(feature = "cuda")]
    Cuda(chainrule::cuda::CudaEvent),
    #[cfg(feature = "wgpu")]
    Wgpu(chainrule::wgpu::WgpuEvent),
    /// The host's clock; work on the host has ended when a call returns.
    Host(Instant),
}

impl Mark {
    /// The place after all work that was asked for so far.
    pub(crate) fn now(device: &Device) -> Result<Mark> {
        match device {
            #[cfg(feature = "cuda")]
            Device::Cuda(cuda) => cuda.record().map(Mark::Cuda),
            #[cfg(feature = "wgpu")]
            Device::Wgpu(wgpu) => wgpu.record().map(Mark::Wgpu),
            _ => Ok(Mark::Host(Instant::now())),
        }
    }

    /// The microseconds from here to a later place, once the device has come to that.
    pub(crate) fn elapsed_us(&self, later: &Mark) -> Result<f64> {
        match (self, later) {
            #[cfg(feature = "cuda")]
            (Mark::Cuda(from), Mark::Cuda(to)) => Ok(from.elapsed_ms(to)? * 1e3),
            #[cfg(feature = "wgpu")]
            (Mark::Wgpu(from), Mark::Wgpu(to)) => Ok(from.elapsed_ms(to)? * 1e3),
            (Mark::Host(from), Mark::Host(to)) => Ok(to.duration_since(*from).as_secs_f64() * 1e6),
            #[cfg(any(feature = "cuda", feature = "wgpu"))]
            _ => Err(Error::argument("bench", "marks of two devices, expected one")),
        }
    }
}

/// The clock that the marks of a device are read from, as the table says it.
pub(crate) fn name(device: &Device) -> &'static str {
    match device {
        #[cfg(feature = "cuda")]
        Device::Cuda(cuda) if cuda.name() != "cuda-emu" => "the device's, between two events",
        #[cfg(feature = "wgpu")]
        Device::Wgpu(wgpu) if wgpu.features().timestamps => "the device's, between two timestamps",
        #[cfg(feature = "wgpu")]
        Device::Wgpu(_) => "the host's, from one wait for the device to the next",
        _ => "the host's",
    }
}

/// Whether times on this device say something of a GPU.
pub(crate) fn is_of_gpu(device: &Device) -> bool {
    match device {
        #[cfg(feature = "cuda")]
        Device::Cuda(cuda) => cuda.name() != "cuda-emu",
        #[cfg(feature = "wgpu")]
        Device::Wgpu(wgpu) => !wgpu.is_processor(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every device of this build that there is.
    fn devices() -> Vec<Device> {
        let names = ["cpu", "cuda-emu", "cuda:0", "wgpu"];
        names.iter().filter_map(|name| Device::from_name(name).ok()).collect()
    }

    #[test]
    fn times_run_forwards_on_every_device() {
        for device in devices() {
            let mut marks = vec![Mark::now(&device).unwrap()];
            for len in [1000, 1 << 20] {
                chainrule::Tensor::ones([len], chainrule::DType::F32, &device).unwrap();
                marks.push(Mark::now(&device).unwrap());
            }
            let us = |from: usize, to: usize| marks[from].elapsed_us(&marks[to]).unwrap();
            assert!(us(0, 1) > 0.0 && us(1, 2) > 0.0, "{device}: {} us, {} us", us(0, 1), us(1, 2));
            // A nanosecond for the rounding of clocks.
            assert!((us(0, 2) - us(0, 1) - us(1, 2)).abs() < 1e-3, "{device}: {} us in all", us(0, 2));
            assert!(!name(&device).is_empty() && (is_of_gpu(&device) || device.to_string() != "cuda:0"));
        }
    }
}

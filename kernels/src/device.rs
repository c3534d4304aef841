//! The devices: the one place where they are told apart.

use std::fmt;
use std::str::FromStr;

use crate::cpu::memory::{self, MemoryStats};
#[cfg(feature = "cuda")]
use crate::cuda::{CudaArgs, CudaDevice};
#[cfg(feature = "wgpu")]
use crate::wgpu::{WgpuArgs, WgpuDevice};
use crate::{Buffer, CpuArgs, DType, Error, ErrorKind, Launch, Result};

/// The names of devices in this build.
const KNOWN: &str = match (cfg!(feature = "cuda"), cfg!(feature = "wgpu")) {
    (true, true) => "cpu, cuda:N, cuda-emu, wgpu",
    (true, false) => "cpu, cuda:N, cuda-emu",
    (false, true) => "cpu, wgpu",
    (false, false) => "cpu",
};

/// Where tensors live and kernels run.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
#[non_exhaustive]
pub enum Device {
    /// The host's processor and memory.
    #[default]
    Cpu,
    /// A GPU through CUDA, or the emulator that runs its kernels on the host.
    #[cfg(feature = "cuda")]
    Cuda(CudaDevice),
    /// A GPU through Vulkan, Metal, DirectX 12 or WebGPU, or a driver that stands in for one on the host.
    #[cfg(feature = "wgpu")]
    Wgpu(WgpuDevice),
}

impl Device {
    /// The host.
    pub fn cpu() -> Device {
        Device::Cpu
    }

    /// GPU number `ordinal` through CUDA.
    ///
    /// # Errors
    /// No driver, no compiler (NVRTC), or no such GPU, each named with where it was looked for.
    #[cfg(feature = "cuda")]
    #[track_caller]
    pub fn cuda(ordinal: usize) -> Result<Device> {
        CudaDevice::gpu(ordinal).map(Device::Cuda)
    }

    /// The emulator: the CUDA kernels, compiled by the system's C++ compiler, on the host's threads. For tests, for
    /// debugging and for learning; it is slow.
    ///
    /// # Errors
    /// No C++ compiler, named with where it was looked for.
    #[cfg(feature = "cuda")]
    #[track_caller]
    pub fn cuda_emu() -> Result<Device> {
        CudaDevice::emulator().map(Device::Cuda)
    }

    /// A GPU through Vulkan, Metal, DirectX 12 or WebGPU: the one that `CHAINRULE_WGPU_ADAPTER` names by a part of its
    /// name, else the first discrete one, else an integrated one, else what the system has.
    ///
    /// # Errors
    /// No adapter, or none of that name; those that there are, are listed.
    #[cfg(feature = "wgpu")]
    #[track_caller]
    pub fn wgpu() -> Result<Device> {
        WgpuDevice::open().map(Device::Wgpu)
    }

    /// Whether tensors of `dtype` can live there: wgpu has no 64-bit numbers.
    pub fn supports(&self, dtype: DType) -> bool {
        match self {
            #[cfg(feature = "wgpu")]
            Device::Wgpu(_) => dtype.size_bytes() < 8,
            _ => {
                let _ = dtype;
                true
            }
        }
    }

    /// The dtype of the positions that ops give (argmax, sort, nonzero): i64, or u32 where there are no 64-bit numbers.
    pub fn index_dtype(&self) -> DType {
        if self.supports(DType::I64) { DType::I64 } else { DType::U32 }
    }

    /// The dtype of a sum of integers of `dtype`: i64; where there are no 64-bit numbers i32, and u32 for u32.
    pub fn sum_dtype(&self, dtype: DType) -> DType {
        match dtype {
            _ if self.supports(DType::I64) => DType::I64,
            DType::U32 => DType::U32,
            _ => DType::I32,
        }
    }

    /// The device of a name: `cpu`, with the feature `cuda` also `cuda` (the first GPU), `cuda:1` and `cuda-emu`, and
    /// with the feature `wgpu` also `wgpu`.
    ///
    /// As [`str::parse`] gives it, but an error says where the caller is.
    ///
    /// # Errors
    /// A name that is no device, or a device that this build or machine does not have.
    ///
    /// ```
    /// use chainrule_kernels::Device;
    /// assert_eq!(Device::from_name("cpu")?, Device::Cpu);
    /// assert!(Device::from_name("abacus").is_err());
    /// # Ok::<(), chainrule_kernels::Error>(())
    /// ```
    #[track_caller]
    pub fn from_name(name: &str) -> Result<Device> {
        match name {
            "cpu" => Ok(Device::Cpu),
            #[cfg(feature = "cuda")]
            "cuda-emu" => Device::cuda_emu(),
            #[cfg(feature = "cuda")]
            "cuda" => Device::cuda(0),
            #[cfg(feature = "cuda")]
            _ if let Some(Ok(ordinal)) = name.strip_prefix("cuda:").map(str::parse) => Device::cuda(ordinal),
            #[cfg(feature = "wgpu")]
            "wgpu" => Device::wgpu(),
            _ => Err(Error::new(ErrorKind::Device(format!(
                "there is no device {name:?} in this build; it has: {KNOWN}"
            )))),
        }
    }

    /// The device that `CHAINRULE_DEVICE` names; the host where the variable is not set.
    ///
    /// # Errors
    /// A name that is no device, or a device that this build or machine does not have.
    #[track_caller]
    pub fn from_env() -> Result<Device> {
        match std::env::var("CHAINRULE_DEVICE") {
            Ok(name) => Device::from_name(&name),
            Err(std::env::VarError::NotPresent) => Ok(Device::Cpu),
            Err(error) => Err(Error::argument("Device::from_env", format!("CHAINRULE_DEVICE: {error}"))),
        }
    }

    /// The device's memory counters.
    pub fn memory_stats(&self) -> MemoryStats {
        match self {
            Device::Cpu => memory::stats(),
            #[cfg(feature = "cuda")]
            Device::Cuda(device) => device.memory_stats(),
            #[cfg(feature = "wgpu")]
            Device::Wgpu(device) => device.memory_stats(),
        }
    }

    /// Sets the peak of [`Device::memory_stats`] to what is live now.
    pub fn reset_peak_memory(&self) {
        match self {
            Device::Cpu => memory::reset_peak(),
            #[cfg(feature = "cuda")]
            Device::Cuda(device) => device.reset_peak_memory(),
            #[cfg(feature = "wgpu")]
            Device::Wgpu(device) => device.reset_peak_memory(),
        }
    }

    /// Waits until all launched work is done, and reports what went wrong in it.
    pub fn synchronize(&self) -> Result<()> {
        match self {
            Device::Cpu => Ok(()),
            #[cfg(feature = "cuda")]
            Device::Cuda(device) => device.synchronize(),
            #[cfg(feature = "wgpu")]
            Device::Wgpu(device) => device.synchronize(),
        }
    }
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Device::Cpu => f.write_str("cpu"),
            #[cfg(feature = "cuda")]
            Device::Cuda(device) => f.write_str(device.name()),
            #[cfg(feature = "wgpu")]
            Device::Wgpu(_) => f.write_str("wgpu"),
        }
    }
}

impl FromStr for Device {
    type Err = Error;

    /// [`Device::from_name`] gives the same, and an error with the caller's line: what [`str::parse`] calls is called
    /// by the standard library.
    fn from_str(name: &str) -> Result<Device> {
        Device::from_name(name)
    }
}

impl Launch<'_> {
    /// Runs the kernel on the device of its first output.
    ///
    /// # Errors
    /// What the device reports: an unsupported dtype, a source that does not compile, lost hardware.
    #[track_caller]
    pub fn run(self) -> Result<()> {
        let Launch { kernel, elem, inputs, outputs, params, grid } = self;
        let Some(device) = outputs.first().map(|buffer| buffer.device()) else { return Ok(()) };
        debug_assert!(inputs.iter().all(|(buffer, _)| buffer.device() == device));
        match device {
            Device::Cpu => (kernel.cpu)(&mut CpuArgs {
                elem,
                grid,
                inputs: inputs.into_iter().map(|(buffer, offset)| buffer.host_input(offset)).collect(),
                outputs: outputs.into_iter().map(Buffer::host_output).collect(),
                params,
            })
            .map_err(|error| error.in_op(kernel.name)),
            #[cfg(feature = "cuda")]
            Device::Cuda(device) => (kernel.cuda)(&mut CudaArgs {
                elem,
                grid,
                device: &device,
                kernel,
                inputs: inputs.into_iter().map(|(buffer, offset)| buffer.cuda_input(offset)).collect(),
                outputs: outputs.into_iter().map(|buffer| buffer.cuda_output()).collect(),
                params,
            })
            .map_err(|error| error.in_op(kernel.name)),
            #[cfg(feature = "wgpu")]
            Device::Wgpu(device) => (kernel.wgpu)(&mut WgpuArgs {
                elem,
                grid,
                device: &device,
                kernel,
                inputs: inputs.into_iter().map(|(buffer, offset)| buffer.wgpu_slot(offset)).collect(),
                outputs: outputs.into_iter().map(|buffer| buffer.wgpu_slot(0)).collect(),
                params,
            })
            .map_err(|error| error.in_op(kernel.name)),
        }
    }
}

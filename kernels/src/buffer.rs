//! A run of elements in a device's memory.

use crate::cpu::memory::CpuMemory;
#[cfg(feature = "cuda")]
use crate::cuda::{CudaInput, CudaMemory, CudaOutput};
use crate::kernel::{HostInput, HostOutput};
#[cfg(feature = "wgpu")]
use crate::wgpu::{Slot, WgpuMemory};
use crate::{DType, Device, Error, Result, Stored};

/// Elements of one dtype in the memory of one device.
///
/// Reading needs `&`, writing needs `&mut`: whoever shares a buffer cannot write it.
pub struct Buffer {
    pub(crate) memory: Memory,
    dtype: DType,
    len: usize,
}

/// Where the bytes are. Only this crate's `device.rs` and `buffer.rs` tell devices apart.
pub(crate) enum Memory {
    Cpu(CpuMemory),
    #[cfg(feature = "cuda")]
    Cuda(CudaMemory),
    #[cfg(feature = "wgpu")]
    Wgpu(WgpuMemory),
}

impl Buffer {
    /// Room for `len` elements on `device`; the contents are unspecified until a kernel writes them.
    ///
    /// # Errors
    /// [`crate::ErrorKind::OutOfMemory`], or a size that does not fit an address.
    #[track_caller]
    pub fn allocate(device: &Device, dtype: DType, len: usize) -> Result<Buffer> {
        let len_bytes =
            len.checked_mul(dtype.size_bytes()).filter(|&bytes| bytes <= isize::MAX as usize).ok_or_else(|| {
                Error::argument("allocate", format!("{len} elements of {dtype} exceed the address space"))
            })?;
        let memory = match device {
            Device::Cpu => Memory::Cpu(CpuMemory::allocate(len_bytes)?),
            #[cfg(feature = "cuda")]
            Device::Cuda(device) => Memory::Cuda(CudaMemory::allocate(device, len_bytes)?),
            #[cfg(feature = "wgpu")]
            Device::Wgpu(device) => Memory::Wgpu(WgpuMemory::allocate(device, dtype, len_bytes)?),
        };
        Ok(Buffer { memory, dtype, len })
    }

    /// A buffer that holds `values`.
    #[track_caller]
    pub fn from_slice<S: Stored>(device: &Device, values: &[S]) -> Result<Buffer> {
        Buffer::from_bytes(device, S::DTYPE, bytemuck::cast_slice(values))
    }

    /// A buffer that holds elements of `dtype` given as bytes in the machine's order.
    ///
    /// # Errors
    /// A length that is no multiple of the element size.
    #[track_caller]
    pub fn from_bytes(device: &Device, dtype: DType, bytes: &[u8]) -> Result<Buffer> {
        if !bytes.len().is_multiple_of(dtype.size_bytes()) {
            return Err(Error::format(format!("{} bytes are no whole number of {dtype} elements", bytes.len())));
        }
        let mut buffer = Buffer::allocate(device, dtype, bytes.len() / dtype.size_bytes())?;
        match &mut buffer.memory {
            Memory::Cpu(memory) => memory.bytes_mut().copy_from_slice(bytes),
            #[cfg(feature = "cuda")]
            Memory::Cuda(memory) => memory.upload(bytes)?,
            #[cfg(feature = "wgpu")]
            Memory::Wgpu(memory) => memory.upload(bytes)?,
        }
        Ok(buffer)
    }

    /// All elements, read back to the host.
    #[track_caller]
    pub fn to_vec<S: Stored>(&self) -> Result<Vec<S>> {
        self.read(0, self.len)
    }

    /// `len` elements from number `from` on, read back to the host.
    ///
    /// # Errors
    /// A range that is not within the buffer; what the device reports.
    #[track_caller]
    pub fn read<S: Stored>(&self, from: usize, len: usize) -> Result<Vec<S>> {
        debug_assert_eq!(self.dtype, S::DTYPE);
        let is_within = from.checked_add(len).is_some_and(|end| end <= self.len);
        if !is_within {
            let message = format!("{len} elements from number {from} on, of a buffer of {}", self.len);
            return Err(Error::index("read", message));
        }
        match &self.memory {
            Memory::Cpu(memory) => Ok(bytemuck::cast_slice(memory.bytes())[from..from + len].to_vec()),
            #[cfg(feature = "cuda")]
            Memory::Cuda(memory) => {
                let mut values = vec![S::default(); len];
                memory.download(from * self.dtype.size_bytes(), bytemuck::cast_slice_mut(&mut values))?;
                Ok(values)
            }
            #[cfg(feature = "wgpu")]
            Memory::Wgpu(memory) => {
                let mut values = vec![S::default(); len];
                memory.download(from * self.dtype.size_bytes(), bytemuck::cast_slice_mut(&mut values))?;
                Ok(values)
            }
        }
    }

    /// The dtype of the elements.
    pub fn dtype(&self) -> DType {
        self.dtype
    }

    /// How many elements there are.
    pub fn len(&self) -> usize {
        self.len
    }

    /// True where there are none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Where the elements are.
    pub fn device(&self) -> Device {
        match &self.memory {
            Memory::Cpu(_) => Device::Cpu,
            #[cfg(feature = "cuda")]
            Memory::Cuda(memory) => Device::Cuda(memory.device().clone()),
            #[cfg(feature = "wgpu")]
            Memory::Wgpu(memory) => Device::Wgpu(memory.device().clone()),
        }
    }

    /// As an input of a host kernel. Memory of another device has no bytes here.
    pub(crate) fn host_input(&self, offset: usize) -> HostInput<'_> {
        let bytes = match &self.memory {
            Memory::Cpu(memory) => memory.bytes(),
            #[cfg(any(feature = "cuda", feature = "wgpu"))]
            _ => &[],
        };
        HostInput { bytes, dtype: self.dtype, offset }
    }

    /// As an output of a host kernel.
    pub(crate) fn host_output(&mut self) -> HostOutput<'_> {
        let bytes = match &mut self.memory {
            Memory::Cpu(memory) => memory.bytes_mut(),
            #[cfg(any(feature = "cuda", feature = "wgpu"))]
            _ => &mut [],
        };
        HostOutput { bytes, dtype: self.dtype }
    }

    /// As an input of a CUDA kernel. Memory of another device has no address here.
    #[cfg(feature = "cuda")]
    pub(crate) fn cuda_input(&self, offset: usize) -> CudaInput {
        let start = match &self.memory {
            Memory::Cuda(memory) => memory.address(),
            _ => 0,
        };
        let address = start + (offset * self.dtype.size_bytes()) as u64;
        CudaInput { address, dtype: self.dtype, len: self.len.saturating_sub(offset) }
    }

    /// As an output of a CUDA kernel.
    #[cfg(feature = "cuda")]
    pub(crate) fn cuda_output(&mut self) -> CudaOutput {
        CudaOutput { address: self.cuda_input(0).address, dtype: self.dtype, len: self.len }
    }

    /// As an argument of a wgpu kernel, whose data start at element `offset`. Memory of another device has no place here.
    #[cfg(feature = "wgpu")]
    pub(crate) fn wgpu_slot(&self, offset: usize) -> Slot {
        match &self.memory {
            Memory::Wgpu(memory) => memory.slot(self.dtype, self.len, offset),
            _ => Slot::none(self.dtype),
        }
    }
}

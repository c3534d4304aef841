//! A run of elements in a device's memory.

use crate::cpu::memory::CpuMemory;
use crate::kernel::{HostInput, HostOutput};
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
        }
        Ok(buffer)
    }

    /// All elements, read back to the host.
    #[track_caller]
    pub fn to_vec<S: Stored>(&self) -> Result<Vec<S>> {
        debug_assert_eq!(self.dtype, S::DTYPE);
        match &self.memory {
            Memory::Cpu(memory) => Ok(bytemuck::cast_slice(memory.bytes()).to_vec()),
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
        match self.memory {
            Memory::Cpu(_) => Device::Cpu,
        }
    }

    pub(crate) fn host_input(&self, offset: usize) -> HostInput<'_> {
        let Memory::Cpu(memory) = &self.memory;
        HostInput { bytes: memory.bytes(), dtype: self.dtype, offset }
    }

    pub(crate) fn host_output(&mut self) -> HostOutput<'_> {
        let dtype = self.dtype;
        let Memory::Cpu(memory) = &mut self.memory;
        HostOutput { bytes: memory.bytes_mut(), dtype }
    }
}

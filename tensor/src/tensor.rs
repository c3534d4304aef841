//! The tensor itself: a shared buffer and a layout.

use std::sync::Arc;

use chainrule_kernels::{Buffer, DType, Device, Element, Stored, with_dtype};

use crate::{Error, Layout, Result, Shape, Sizes};

/// An n-dimensional array: a shared buffer, a [`Layout`], and with the buffer a dtype and a device known at run time.
///
/// Cloning is cheap and shares the buffer. Views (transposed, sliced, expanded, ...) share it too. A shared buffer is
/// never written: a tensor that exists never changes its values. Every op takes any layout.
#[derive(Clone)]
pub struct Tensor {
    buffer: Arc<Buffer>,
    layout: Layout,
}

impl Tensor {
    /// Row-major elements given as a vector.
    ///
    /// # Errors
    /// A shape with another number of elements.
    ///
    /// ```
    /// use chainrule_tensor::{Device, Tensor};
    /// let x = Tensor::from_vec(vec![1.0f32, 2.0, 3.0, 4.0], [2, 2], &Device::Cpu)?;
    /// assert_eq!(x.to_vec::<f32>()?, [1.0, 2.0, 3.0, 4.0]);
    /// # Ok::<(), chainrule_tensor::Error>(())
    /// ```
    #[track_caller]
    pub fn from_vec<E: Element>(values: Vec<E>, shape: impl Sizes, device: &Device) -> Result<Tensor> {
        Tensor::from_slice(&values, shape, device)
    }

    /// As [`Tensor::from_vec`], from a slice.
    ///
    /// ```
    /// use chainrule_tensor::{Device, Tensor};
    /// let x = Tensor::from_slice(&[1.0f32, 2.0], [2, 1], &Device::Cpu)?;
    /// assert_eq!(x.shape(), &[2, 1]);
    /// # Ok::<(), chainrule_tensor::Error>(())
    /// ```
    #[track_caller]
    pub fn from_slice<E: Element>(values: &[E], shape: impl Sizes, device: &Device) -> Result<Tensor> {
        let shape = Shape::new(shape.sizes())?;
        if shape.elements() != values.len() {
            let message = format!("got {} values, expected {} for shape {shape}", values.len(), shape.elements());
            return Err(Error::shape("from_vec", message));
        }
        let stored: Vec<E::Stored> = values.iter().map(|value| value.to_stored()).collect();
        Ok(Tensor::from_buffer(Buffer::from_slice(device, &stored)?, shape))
    }

    /// Row-major elements given as bytes in the machine's order, for file readers.
    ///
    /// # Errors
    /// A length that does not match.
    ///
    /// ```
    /// use chainrule_tensor::{DType, Device, Tensor};
    /// let x = Tensor::from_bytes(&[1, 0, 1], DType::U8, [3], &Device::Cpu)?;
    /// assert_eq!(x.to_vec::<u8>()?, [1, 0, 1]);
    /// # Ok::<(), chainrule_tensor::Error>(())
    /// ```
    #[track_caller]
    pub fn from_bytes(bytes: &[u8], dtype: DType, shape: impl Sizes, device: &Device) -> Result<Tensor> {
        let shape = Shape::new(shape.sizes())?;
        if shape.elements().checked_mul(dtype.size_bytes()) != Some(bytes.len()) {
            return Err(Error::format(format!("{} bytes for shape {shape} of {dtype}", bytes.len())));
        }
        Ok(Tensor::from_buffer(Buffer::from_bytes(device, dtype, bytes)?, shape))
    }

    /// A tensor of a new buffer that `write` fills. `write` must write every element.
    #[track_caller]
    pub(crate) fn build(
        device: &Device,
        dtype: DType,
        shape: Shape,
        write: impl FnOnce(&mut Buffer) -> Result<()>,
    ) -> Result<Tensor> {
        let mut buffer = Buffer::allocate(device, dtype, shape.elements())?;
        write(&mut buffer)?;
        Ok(Tensor::from_buffer(buffer, shape))
    }

    pub(crate) fn from_buffer(buffer: Buffer, shape: Shape) -> Tensor {
        Tensor { buffer: Arc::new(buffer), layout: Layout::contiguous(shape) }
    }

    pub(crate) fn with_layout(&self, layout: Layout) -> Tensor {
        // A view without elements may begin past the end of its buffer, where kernels could not even point.
        let layout = if layout.shape().elements() == 0 { Layout::contiguous(*layout.shape()) } else { layout };
        Tensor { buffer: self.buffer.clone(), layout }
    }

    pub(crate) fn buffer(&self) -> &Buffer {
        &self.buffer
    }

    /// The buffer to write, where this tensor is its only owner and covers it whole and in order.
    pub(crate) fn unique_buffer(&mut self) -> Option<&mut Buffer> {
        let whole = self.layout.is_contiguous() && self.layout.offset() == 0 && self.elements() == self.buffer.len();
        if whole { Arc::get_mut(&mut self.buffer) } else { None }
    }

    /// Shape, strides and offset.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// The sizes of the dims.
    pub fn shape(&self) -> &Shape {
        self.layout.shape()
    }

    /// The size of one dim, which may be counted from the end.
    ///
    /// # Errors
    /// A dim that does not exist.
    ///
    /// ```
    /// use chainrule_tensor::{Device, Tensor};
    /// let x = Tensor::new([[1.0f64, 2.0]], &Device::Cpu)?;
    /// assert_eq!((x.size(0)?, x.size(-1)?), (1, 2));
    /// # Ok::<(), chainrule_tensor::Error>(())
    /// ```
    #[track_caller]
    pub fn size(&self, dim: isize) -> Result<usize> {
        let index = crate::resolve_dim("size", dim, self.shape())?;
        Ok(self.shape().get(index).copied().unwrap_or(1))
    }

    /// The sizes as an array, to be taken apart: `let [batch, seq_len, channels] = x.dims()?;`
    ///
    /// # Errors
    /// Another number of dims.
    ///
    /// ```
    /// use chainrule_tensor::{Device, Tensor};
    /// let x = Tensor::new([[1.0f64, 2.0]], &Device::Cpu)?;
    /// let [rows, cols] = x.dims()?;
    /// assert_eq!((rows, cols), (1, 2));
    /// # Ok::<(), chainrule_tensor::Error>(())
    /// ```
    #[track_caller]
    pub fn dims<const N: usize>(&self) -> Result<[usize; N]> {
        <[usize; N]>::try_from(&self.shape()[..])
            .map_err(|_| Error::shape("dims", format!("expected {N} dims, got shape {}", self.shape())))
    }

    /// How many dims.
    pub fn rank(&self) -> usize {
        self.shape().rank()
    }

    /// How many elements.
    pub fn elements(&self) -> usize {
        self.shape().elements()
    }

    /// The dtype of the elements.
    pub fn dtype(&self) -> DType {
        self.buffer.dtype()
    }

    /// Where the elements are.
    pub fn device(&self) -> Device {
        self.buffer.device()
    }

    /// True where the elements follow one another in row-major order.
    pub fn is_contiguous(&self) -> bool {
        self.layout.is_contiguous()
    }

    /// True where both are views of one buffer.
    pub fn shares_buffer(&self, other: &Tensor) -> bool {
        Arc::ptr_eq(&self.buffer, &other.buffer)
    }

    /// The elements in row-major order, read back to the host.
    ///
    /// # Errors
    /// Another dtype than the tensor's: cast first.
    ///
    /// ```
    /// use chainrule_tensor::{Device, Tensor};
    /// let x = Tensor::new([1.0f64, 2.0], &Device::Cpu)?;
    /// assert_eq!(x.flip(0)?.to_vec::<f64>()?, [2.0, 1.0]);
    /// assert!(x.to_vec::<f32>().is_err());
    /// # Ok::<(), chainrule_tensor::Error>(())
    /// ```
    #[track_caller]
    pub fn to_vec<E: Element>(&self) -> Result<Vec<E>> {
        if self.dtype() != E::Stored::DTYPE {
            let message = format!("the tensor is {}, asked for {}", self.dtype(), E::Stored::DTYPE);
            return Err(Error::dtype("to_vec", message + ": cast with to_dtype first"));
        }
        let contiguous = self.contiguous()?;
        let values = contiguous.buffer.read::<E::Stored>(contiguous.layout.offset(), self.elements())?;
        Ok(values.into_iter().map(E::from_stored).collect())
    }

    /// The elements in row-major order as `f64`, whatever the dtype.
    ///
    /// ```
    /// use chainrule_tensor::{Device, Tensor};
    /// let x = Tensor::new([1i64, 2], &Device::Cpu)?;
    /// assert_eq!(x.to_f64_vec()?, [1.0, 2.0]);
    /// # Ok::<(), chainrule_tensor::Error>(())
    /// ```
    #[track_caller]
    pub fn to_f64_vec(&self) -> Result<Vec<f64>> {
        with_dtype!(self.dtype(), E => Ok(self.to_vec::<E>()?.into_iter().map(Stored::to_f64).collect()))
    }

    /// The bytes of the elements in row-major order, for file writers.
    ///
    /// ```
    /// use chainrule_tensor::{Device, Tensor};
    /// let x = Tensor::new([1u8, 2], &Device::Cpu)?;
    /// assert_eq!(x.to_bytes()?, [1, 2]);
    /// # Ok::<(), chainrule_tensor::Error>(())
    /// ```
    #[track_caller]
    pub fn to_bytes(&self) -> Result<Vec<u8>> {
        with_dtype!(self.dtype(), E => Ok(self.to_vec::<E>()?.iter().flat_map(|x| bytemuck::bytes_of(x).to_vec()).collect()))
    }

    /// The only element.
    ///
    /// # Errors
    /// More or fewer than one element, or another dtype.
    ///
    /// ```
    /// use chainrule_tensor::{Device, Tensor};
    /// let x = Tensor::new([1.0f64, 2.0], &Device::Cpu)?;
    /// assert_eq!(x.sum(0, false)?.item::<f64>()?, 3.0);
    /// assert!(x.item::<f64>().is_err());
    /// # Ok::<(), chainrule_tensor::Error>(())
    /// ```
    #[track_caller]
    pub fn item<E: Element>(&self) -> Result<E> {
        let values = if self.elements() == 1 { self.to_vec()? } else { Vec::new() };
        values
            .first()
            .copied()
            .ok_or_else(|| Error::shape("item", format!("needs one element, got shape {}", self.shape())))
    }

    /// The same elements in row-major order: this tensor where it is so already, a copy otherwise.
    ///
    /// ```
    /// use chainrule_tensor::{Device, Tensor};
    /// let x = Tensor::new([[1i64, 2], [3, 4]], &Device::Cpu)?;
    /// assert!(x.contiguous()?.shares_buffer(&x));
    /// assert!(!x.transpose(0, 1)?.contiguous()?.shares_buffer(&x));
    /// # Ok::<(), chainrule_tensor::Error>(())
    /// ```
    #[track_caller]
    pub fn contiguous(&self) -> Result<Tensor> {
        if self.is_contiguous() { Ok(self.clone()) } else { self.copy() }
    }

    /// The tensor on another device; itself where it is there already.
    ///
    /// ```
    /// use chainrule_tensor::{Device, Tensor};
    /// let x = Tensor::new([1i64, 2], &Device::Cpu)?;
    /// assert!(x.to_device(&Device::Cpu)?.shares_buffer(&x));
    /// # Ok::<(), chainrule_tensor::Error>(())
    /// ```
    #[track_caller]
    pub fn to_device(&self, device: &Device) -> Result<Tensor> {
        if self.device() == *device {
            return Ok(self.clone());
        }
        Tensor::from_bytes(&self.to_bytes()?, self.dtype(), self.shape(), device)
    }

    /// Refuses two tensors on different devices.
    #[track_caller]
    pub(crate) fn same_device(&self, op: &'static str, other: &Tensor) -> Result<()> {
        if self.device() == other.device() {
            return Ok(());
        }
        let message = format!("got tensors on {} and {}, move one with to_device", self.device(), other.device());
        Err(Error::new(crate::ErrorKind::DeviceMismatch(message)).in_op(op))
    }
}

//! Several tensors made into one, one into several, and writing through views.

use chainrule_kernels::{Scalar, View, copy};

use crate::{DType, Error, Result, Shape, Slice, Tensor, resolve_dim};

impl Tensor {
    /// A row-major copy in a buffer of its own.
    ///
    /// ```
    /// use chainrule_tensor::{Device, Tensor};
    /// let x = Tensor::new([1i64, 2], &Device::Cpu)?;
    /// assert!(!x.copy()?.shares_buffer(&x));
    /// # Ok::<(), chainrule_tensor::Error>(())
    /// ```
    #[track_caller]
    pub fn copy(&self) -> Result<Tensor> {
        Tensor::build(&self.device(), self.dtype(), *self.shape(), |y| copy::copy(self.view(), self.shape(), y))
    }

    /// The elements converted to another dtype; itself where it has that dtype.
    ///
    /// Floats become integers by truncation, saturating, with NaN as 0; integers are rounded once to floats and wrap to
    /// narrower integers; bool is `x != 0`.
    ///
    /// # Differences
    /// PyTorch leaves floats outside the range of the integer dtype undefined.
    ///
    /// ```
    /// use chainrule_tensor::{DType, Device, Tensor};
    /// let x = Tensor::new([1.7f32, -1.7], &Device::Cpu)?;
    /// assert_eq!(x.to_dtype(DType::I32)?.to_vec::<i32>()?, [1, -1]);
    /// # Ok::<(), chainrule_tensor::Error>(())
    /// ```
    ///
    /// Source: `torch.Tensor.to`.
    #[track_caller]
    pub fn to_dtype(&self, dtype: DType) -> Result<Tensor> {
        if self.dtype() == dtype {
            return Ok(self.clone());
        }
        Tensor::build(&self.device(), dtype, *self.shape(), |y| copy::cast(self.view(), self.shape(), y))
    }

    pub(crate) fn view(&self) -> View<'_> {
        View { buffer: self.buffer(), offset: self.layout().offset(), strides: self.layout().strides() }
    }

    /// Tensors of one dtype, alike in all dims but one, joined along that dim.
    ///
    /// # Errors
    /// No tensors, other sizes that differ, or different dtypes or devices.
    ///
    /// ```
    /// use chainrule_tensor::{Device, Tensor};
    /// let x = Tensor::new([[1i64, 2]], &Device::Cpu)?;
    /// assert_eq!(Tensor::cat(&[&x, &x], 0)?.shape(), &[2, 2]);
    /// # Ok::<(), chainrule_tensor::Error>(())
    /// ```
    ///
    /// # Differences
    /// PyTorch also accepts 1-d empty tensors among others, and promotes dtypes.
    ///
    /// Source: `torch.cat`.
    #[track_caller]
    pub fn cat(tensors: &[&Tensor], dim: isize) -> Result<Tensor> {
        let Some((first, rest)) = tensors.split_first() else {
            return Err(Error::argument("cat", "needs at least one tensor"));
        };
        if first.rank() == 0 {
            return Err(Error::shape("cat", "a 0-d tensor has no dim to join: use stack"));
        }
        let at = resolve_dim("cat", dim, first.shape())?;
        let mut size = first.shape()[at];
        for (index, x) in rest.iter().enumerate() {
            first.same_device("cat", x)?;
            if x.dtype() != first.dtype() {
                let message = format!("tensor {} is {}, expected {} as the first", index + 1, x.dtype(), first.dtype());
                return Err(Error::dtype("cat", message));
            }
            if x.rank() != first.rank() || x.shape().with(at, size) != first.shape().with(at, size) {
                let message = format!(
                    "tensor {} has shape {}, expected {} but for dim {at}",
                    index + 1,
                    x.shape(),
                    first.shape()
                );
                return Err(Error::shape("cat", message));
            }
            size += x.shape()[at];
        }
        let sizes: Vec<usize> =
            (0..first.rank()).map(|dim| if dim == at { size } else { first.shape()[dim] }).collect();
        let shape = Shape::new(&sizes)?;
        let strides = &shape.contiguous_strides()[..shape.rank()];
        Tensor::build(&first.device(), first.dtype(), shape, |y| {
            let mut start = 0;
            for x in tensors {
                copy::copy_into(x.view(), x.shape(), y, start * strides[at] as usize, strides)?;
                start += x.shape()[at];
            }
            Ok(())
        })
    }

    /// Tensors of one shape joined along a new dim.
    ///
    /// # Errors
    /// No tensors, or different shapes, dtypes or devices.
    ///
    /// ```
    /// use chainrule_tensor::{Device, Tensor};
    /// let x = Tensor::new([1i64, 2], &Device::Cpu)?;
    /// assert_eq!(Tensor::stack(&[&x, &x], 1)?.to_vec::<i64>()?, [1, 1, 2, 2]);
    /// # Ok::<(), chainrule_tensor::Error>(())
    /// ```
    ///
    /// Source: `torch.stack`.
    #[track_caller]
    pub fn stack(tensors: &[&Tensor], dim: isize) -> Result<Tensor> {
        if let Some(x) = tensors.iter().find(|x| x.shape() != tensors[0].shape()) {
            return Err(Error::shape("stack", format!("got shapes {} and {}", tensors[0].shape(), x.shape())));
        }
        let rows = tensors.iter().map(|x| x.unsqueeze(dim)).collect::<Result<Vec<_>>>()?;
        let rank = tensors.first().map_or(0, |x| x.rank() as isize + 1);
        let dim = if dim < 0 { dim + rank } else { dim };
        Tensor::cat(&rows.iter().collect::<Vec<_>>(), dim).map_err(|error| error.in_op("stack"))
    }

    /// Views of `sizes` indices each, in order, of one dim.
    ///
    /// # Errors
    /// Sizes that do not add up to the size of the dim.
    ///
    /// ```
    /// use chainrule_tensor::{Device, Tensor};
    /// let x = Tensor::new([1i64, 2, 3], &Device::Cpu)?;
    /// assert_eq!(x.split(&[1, 2], 0)?[1].to_vec::<i64>()?, [2, 3]);
    /// # Ok::<(), chainrule_tensor::Error>(())
    /// ```
    ///
    /// Source: `torch.split` with a list.
    #[track_caller]
    pub fn split(&self, sizes: &[usize], dim: isize) -> Result<Vec<Tensor>> {
        let available = self.size(dim)?;
        if self.rank() == 0 || sizes.iter().sum::<usize>() != available {
            let message =
                format!("sizes {sizes:?} do not add up to {available}, the size of dim {dim} of {}", self.shape());
            return Err(Error::shape("split", message));
        }
        let mut start = 0;
        let mut part = |&size: &usize| {
            start += size;
            self.narrow(dim, start - size, size)
        };
        sizes.iter().map(&mut part).collect()
    }

    /// Views of at most `count` parts of one dim, of equal size but for the last.
    ///
    /// # Errors
    /// A count of 0.
    ///
    /// ```
    /// use chainrule_tensor::{Device, Tensor};
    /// let x = Tensor::new([1i64, 2, 3], &Device::Cpu)?;
    /// assert_eq!(x.chunk(2, 0)?[1].to_vec::<i64>()?, [3]);
    /// # Ok::<(), chainrule_tensor::Error>(())
    /// ```
    ///
    /// Source: `torch.chunk`.
    #[track_caller]
    pub fn chunk(&self, count: usize, dim: isize) -> Result<Vec<Tensor>> {
        self.split(&chunk_sizes(self.size(dim)?, count)?, dim).map_err(|error| error.in_op("chunk"))
    }

    /// The whole tensor repeated `counts[dim]` times along each dim; counts beyond the rank add leading dims.
    ///
    /// # Errors
    /// Fewer counts than dims.
    ///
    /// ```
    /// use chainrule_tensor::{Device, Tensor};
    /// let x = Tensor::new([1i64, 2], &Device::Cpu)?;
    /// assert_eq!(x.repeat([2, 2])?.to_vec::<i64>()?, [1, 2, 1, 2, 1, 2, 1, 2]);
    /// # Ok::<(), chainrule_tensor::Error>(())
    /// ```
    ///
    /// Source: `torch.Tensor.repeat`.
    #[track_caller]
    pub fn repeat(&self, counts: impl crate::Sizes) -> Result<Tensor> {
        let shape = self.repeated_shape(counts.sizes())?;
        let lead = shape.rank() - self.rank();
        let mut result = self.reshape([vec![1; lead], self.shape().to_vec()].concat())?;
        for (dim, &count) in counts.sizes().iter().enumerate().filter(|&(_, &count)| count != 1) {
            result = match count {
                0 => result.narrow(dim as isize, 0, 0)?,
                _ => Tensor::cat(&vec![&result; count], dim as isize)?,
            };
        }
        Ok(result)
    }

    /// The shape of [`Tensor::repeat`].
    #[track_caller]
    fn repeated_shape(&self, counts: &[usize]) -> Result<Shape> {
        let Some(lead) = counts.len().checked_sub(self.rank()) else {
            let message = format!("got {} counts for the {} dims of {}", counts.len(), self.rank(), self.shape());
            return Err(Error::shape("repeat", message));
        };
        let size = |(dim, &count): (usize, &usize)| {
            let size = dim.checked_sub(lead).map_or(1, |dim| self.shape()[dim]);
            size.checked_mul(count).ok_or_else(|| Error::shape("repeat", format!("{counts:?} times is too many")))
        };
        Shape::new(&counts.iter().enumerate().map(size).collect::<Result<Vec<_>>>()?)
    }

    /// `(before, after)` elements of `value` added around the last dims: the first pair is for the last dim, the second
    /// for the one before, and so on. A negative number takes elements away.
    ///
    /// # Errors
    /// More pairs than dims, or more taken away than there are.
    ///
    /// ```
    /// use chainrule_tensor::{Device, Tensor};
    /// let x = Tensor::new([1i64, 2], &Device::Cpu)?;
    /// assert_eq!(x.pad(&[(2, -1)], 0)?.to_vec::<i64>()?, [0, 0, 1]);
    /// # Ok::<(), chainrule_tensor::Error>(())
    /// ```
    ///
    /// Source: `torch.nn.functional.pad` with `mode="constant"`.
    #[track_caller]
    pub fn pad(&self, pads: &[(isize, isize)], value: impl Into<Scalar>) -> Result<Tensor> {
        if pads.len() > self.rank() {
            return Err(Error::shape("pad", format!("got {} pairs for shape {}", pads.len(), self.shape())));
        }
        let mut inner = self.clone();
        let (mut shape, mut corner) = (*self.shape(), vec![0usize; self.rank()]);
        for (&(before, after), dim) in pads.iter().zip((0..self.rank()).rev()) {
            let size = self.shape()[dim] as isize;
            let (start, end) = (before.saturating_neg().max(0), size.saturating_add(after.min(0)));
            // Two pads of the largest number add up to more than it.
            let padded = size as i128 + before as i128 + after as i128;
            if start > end || padded < 0 {
                let message = format!("({before}, {after}) takes more than dim {dim} of {} has", self.shape());
                return Err(Error::shape("pad", message));
            }
            inner = inner.narrow(dim as isize, start as usize, (end - start) as usize)?;
            shape = shape.with(dim, padded.try_into().unwrap_or(usize::MAX));
            corner[dim] = before.max(0) as usize;
        }
        let shape = Shape::new(&shape)?;
        let strides = &shape.contiguous_strides()[..shape.rank()];
        let offset = corner.iter().zip(strides).map(|(&at, &stride)| at * stride as usize).sum();
        Tensor::build(&self.device(), self.dtype(), shape, |y| {
            copy::fill(y, value)?;
            copy::copy_into(inner.view(), inner.shape(), y, offset, strides)
        })
    }

    /// The elements moved `shift` places along a dim; those that leave at one end come in at the other.
    ///
    /// ```
    /// use chainrule_tensor::{Device, Tensor};
    /// let x = Tensor::new([1i64, 2, 3], &Device::Cpu)?;
    /// assert_eq!(x.roll(1, 0)?.to_vec::<i64>()?, [3, 1, 2]);
    /// # Ok::<(), chainrule_tensor::Error>(())
    /// ```
    ///
    /// Source: `torch.roll`.
    #[track_caller]
    pub fn roll(&self, shift: isize, dim: isize) -> Result<Tensor> {
        let size = self.size(dim)?;
        if self.rank() == 0 || size == 0 {
            return self.copy();
        }
        let cut = size as isize - shift.rem_euclid(size as isize);
        Tensor::cat(&[&self.slice(dim, cut..)?, &self.slice(dim, Slice::from(..cut))?], dim)
    }

    /// Zeros of `shape` with these elements at the places that `view` shows of it; where it shows a place several
    /// times, the elements are added. The adjoint of a view, for gradients.
    ///
    /// # Errors
    /// What `view` reports.
    #[track_caller]
    pub fn place_through(&self, shape: Shape, view: impl Fn(&Tensor) -> Result<Tensor>) -> Result<Tensor> {
        let mut y = Tensor::zeros(shape, self.dtype(), &self.device())?;
        let layout = *view(&y)?.layout();
        if self.elements() == 0 {
            return Ok(y);
        }
        let missing = || Error::shape("place_through", "the view is of another buffer");
        let buffer = y.unique_buffer().ok_or_else(missing)?;
        copy::add_into(self.view(), self.shape(), buffer, layout.offset(), layout.strides())?;
        Ok(y)
    }
}

/// The sizes of `count` parts of `size`: PyTorch gives as many parts of `ceil(size / count)` as there are.
///
/// # Errors
/// A count of 0.
#[track_caller]
pub fn chunk_sizes(size: usize, count: usize) -> Result<Vec<usize>> {
    if count == 0 {
        return Err(Error::argument("chunk", "needs at least one part"));
    }
    if size == 0 {
        return Ok(vec![0; count]);
    }
    let part = size.div_ceil(count);
    Ok((0..size).step_by(part).map(|start| part.min(size - start)).collect())
}

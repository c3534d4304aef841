//! Views: the same buffer seen through another layout. None of these copies, but `reshape` where strides cannot say it.

use crate::layout::infer_shape;
use crate::{Dims, Error, Result, Shape, Sizes, Slice, Tensor, resolve_dim};

impl Tensor {
    /// Other sizes, the same elements in row-major order; one size may be [`INFER`](crate::INFER).
    /// Copies only where strides cannot express the result.
    ///
    /// # Errors
    /// Another number of elements.
    ///
    /// ```
    /// use chainrule_tensor::{Device, INFER, Tensor};
    /// let x = Tensor::arange(0, 6, 1, &Device::Cpu)?;
    /// assert_eq!(x.reshape([2, INFER])?.shape(), &[2, 3]);
    /// # Ok::<(), chainrule_tensor::Error>(())
    /// ```
    ///
    /// Source: `torch.reshape`.
    #[track_caller]
    pub fn reshape(&self, shape: impl Sizes) -> Result<Tensor> {
        let shape = infer_shape(shape.sizes(), self.shape())?;
        match self.layout().reshape(shape) {
            Some(layout) => Ok(self.with_layout(layout)),
            None => self.copy()?.reshape(shape),
        }
    }

    /// Merges the dims from `start` to `end`, both included, into one.
    ///
    /// ```
    /// use chainrule_tensor::{Device, Tensor};
    /// let x = Tensor::new([[1i64, 2, 3], [4, 5, 6]], &Device::Cpu)?;
    /// assert_eq!(x.flatten(0, -1)?.shape(), &[6]);
    /// # Ok::<(), chainrule_tensor::Error>(())
    /// ```
    ///
    /// Source: `torch.flatten`.
    #[track_caller]
    pub fn flatten(&self, start: isize, end: isize) -> Result<Tensor> {
        if self.rank() == 0 {
            return self.reshape([1]);
        }
        let (first, last) = (resolve_dim("flatten", start, self.shape())?, resolve_dim("flatten", end, self.shape())?);
        if first > last {
            return Err(Error::shape("flatten", format!("start dim {start} comes after end dim {end}")));
        }
        let mut sizes = self.shape()[..first].to_vec();
        sizes.push(self.shape()[first..=last].iter().product());
        sizes.extend_from_slice(&self.shape()[last + 1..]);
        self.reshape(sizes)
    }

    /// The dims in another order: dim `i` of the result is dim `order[i]` of this.
    ///
    /// # Errors
    /// An order that is no permutation.
    ///
    /// ```
    /// use chainrule_tensor::{Device, Tensor};
    /// let x = Tensor::new([[1i64, 2, 3], [4, 5, 6]], &Device::Cpu)?;
    /// assert_eq!(x.permute([1, 0])?.to_vec::<i64>()?, [1, 4, 2, 5, 3, 6]);
    /// # Ok::<(), chainrule_tensor::Error>(())
    /// ```
    ///
    /// Source: `torch.permute`.
    #[track_caller]
    pub fn permute(&self, order: impl Into<Dims>) -> Result<Tensor> {
        let order = match order.into() {
            Dims::Some(order) => order,
            Dims::All => (0..self.rank() as isize).collect(),
        };
        if order.len() != self.rank() {
            let message =
                format!("order {order:?} names {} dims, shape {} has {}", order.len(), self.shape(), self.rank());
            return Err(Error::shape("permute", message));
        }
        Dims::Some(order.clone()).mask("permute", self.shape())?;
        let order = order.iter().map(|&dim| resolve_dim("permute", dim, self.shape())).collect::<Result<Vec<_>>>()?;
        Ok(self.with_layout(self.layout().permute(&order)?))
    }

    /// Two dims exchanged.
    ///
    /// ```
    /// use chainrule_tensor::{Device, Tensor};
    /// let x = Tensor::new([[1i64, 2, 3], [4, 5, 6]], &Device::Cpu)?;
    /// assert_eq!(x.transpose(0, 1)?.to_vec::<i64>()?, [1, 4, 2, 5, 3, 6]);
    /// # Ok::<(), chainrule_tensor::Error>(())
    /// ```
    ///
    /// Source: `torch.transpose`.
    #[track_caller]
    pub fn transpose(&self, dim1: isize, dim2: isize) -> Result<Tensor> {
        let (dim1, dim2) =
            (resolve_dim("transpose", dim1, self.shape())?, resolve_dim("transpose", dim2, self.shape())?);
        let mut order: Vec<usize> = (0..self.rank()).collect();
        if self.rank() > 0 {
            order.swap(dim1, dim2);
        }
        Ok(self.with_layout(self.layout().permute(&order)?))
    }

    /// Dims of size 1, and new leading dims, repeated to `shape` without a copy.
    ///
    /// # Errors
    /// A dim of another size than 1 that differs.
    ///
    /// ```
    /// use chainrule_tensor::{Device, Tensor};
    /// let x = Tensor::new([1i64, 2], &Device::Cpu)?;
    /// assert_eq!(x.expand([2, 2])?.to_vec::<i64>()?, [1, 2, 1, 2]);
    /// # Ok::<(), chainrule_tensor::Error>(())
    /// ```
    ///
    /// Source: `torch.expand`.
    #[track_caller]
    pub fn expand(&self, shape: impl Sizes) -> Result<Tensor> {
        Ok(self.with_layout(self.layout().expand("expand", Shape::new(shape.sizes())?)?))
    }

    /// Removes the dims named that have size 1; with `..`, all dims of size 1.
    ///
    /// # Differences
    /// A named dim of another size is an error; PyTorch ignores it.
    ///
    /// ```
    /// use chainrule_tensor::{Device, Tensor};
    /// let x = Tensor::new([[1i64, 2]], &Device::Cpu)?;
    /// assert_eq!(x.squeeze(0)?.shape(), &[2]);
    /// # Ok::<(), chainrule_tensor::Error>(())
    /// ```
    ///
    /// Source: `torch.squeeze`.
    #[track_caller]
    pub fn squeeze(&self, dims: impl Into<Dims>) -> Result<Tensor> {
        let dims = dims.into();
        let mut mask = dims.mask("squeeze", self.shape())?;
        for (dim, gone) in mask.iter_mut().enumerate() {
            match dims {
                Dims::All => *gone = self.shape()[dim] == 1,
                Dims::Some(_) if *gone && self.shape()[dim] != 1 => {
                    let message =
                        format!("dim {dim} of shape {} has size {}, expected 1", self.shape(), self.shape()[dim]);
                    return Err(Error::shape("squeeze", message));
                }
                Dims::Some(_) => {}
            }
        }
        Ok(self.with_layout(self.layout().squeeze(&mask)?))
    }

    /// A new dim of size 1 at `dim` of the result.
    ///
    /// ```
    /// use chainrule_tensor::{Device, Tensor};
    /// let x = Tensor::new([1i64, 2], &Device::Cpu)?;
    /// assert_eq!(x.unsqueeze(-1)?.shape(), &[2, 1]);
    /// # Ok::<(), chainrule_tensor::Error>(())
    /// ```
    ///
    /// Source: `torch.unsqueeze`.
    #[track_caller]
    pub fn unsqueeze(&self, dim: isize) -> Result<Tensor> {
        let rank = self.rank() as isize + 1;
        if !(-rank..rank).contains(&dim) {
            let message = format!("dim {dim} for shape {}, expected {} to {}", self.shape(), -rank, rank - 1);
            return Err(Error::shape("unsqueeze", message));
        }
        Ok(self.with_layout(self.layout().unsqueeze(dim.rem_euclid(rank) as usize)?))
    }

    /// Indices `start..start + len` of one dim.
    ///
    /// # Errors
    /// A range that leaves the dim (use [`Tensor::slice`] to have it cut).
    ///
    /// ```
    /// use chainrule_tensor::{Device, Tensor};
    /// let x = Tensor::new([1i64, 2, 3], &Device::Cpu)?;
    /// assert_eq!(x.narrow(0, 1, 2)?.to_vec::<i64>()?, [2, 3]);
    /// # Ok::<(), chainrule_tensor::Error>(())
    /// ```
    ///
    /// Source: `torch.narrow`.
    #[track_caller]
    pub fn narrow(&self, dim: isize, start: usize, len: usize) -> Result<Tensor> {
        let index = resolve_dim("narrow", dim, self.shape())?;
        let size = self.shape().get(index).copied().unwrap_or(0);
        match start.checked_add(len) {
            Some(end) if end <= size => self.slice(index as isize, start as isize..end as isize),
            _ => Err(Error::index("narrow", format!("{len} indices from {start} leave dim {dim} of size {size}"))),
        }
    }

    /// A range of one dim, as Python's `x[start:end:step]`; see [`Slice`].
    ///
    /// ```
    /// use chainrule_tensor::{Device, Tensor};
    /// let x = Tensor::new([1i64, 2, 3], &Device::Cpu)?;
    /// assert_eq!(x.slice(0, -2..)?.to_vec::<i64>()?, [2, 3]);
    /// # Ok::<(), chainrule_tensor::Error>(())
    /// ```
    ///
    /// Source: basic slicing of NumPy; PyTorch has no negative steps.
    #[track_caller]
    pub fn slice(&self, dim: isize, range: impl Into<Slice>) -> Result<Tensor> {
        if self.rank() == 0 {
            return Err(Error::shape("slice", "a 0-d tensor has no dim to slice"));
        }
        let dim = resolve_dim("slice", dim, self.shape())?;
        Ok(self.with_layout(self.layout().slice("slice", dim, range.into())?))
    }

    /// One index of one dim, which goes: Python's `x[index]` for dim 0.
    ///
    /// # Errors
    /// An index outside the dim.
    ///
    /// ```
    /// use chainrule_tensor::{Device, Tensor};
    /// let x = Tensor::new([[1i64, 2, 3], [4, 5, 6]], &Device::Cpu)?;
    /// assert_eq!(x.select(1, -1)?.to_vec::<i64>()?, [3, 6]);
    /// # Ok::<(), chainrule_tensor::Error>(())
    /// ```
    ///
    /// Source: `torch.select`.
    #[track_caller]
    pub fn select(&self, dim: isize, index: isize) -> Result<Tensor> {
        if self.rank() == 0 {
            return Err(Error::shape("select", "a 0-d tensor has no dim to select from"));
        }
        let at = resolve_dim("select", dim, self.shape())?;
        let size = self.shape()[at] as isize;
        if !(-size..size).contains(&index) {
            return Err(Error::index("select", format!("index {index} is outside dim {dim} of size {size}")));
        }
        Ok(self.with_layout(self.layout().select(at, index.rem_euclid(size) as usize)?))
    }

    /// The dims named, walked backwards, without a copy.
    ///
    /// ```
    /// use chainrule_tensor::{Device, Tensor};
    /// let x = Tensor::new([1i64, 2, 3], &Device::Cpu)?;
    /// assert_eq!(x.flip(0)?.to_vec::<i64>()?, [3, 2, 1]);
    /// # Ok::<(), chainrule_tensor::Error>(())
    /// ```
    ///
    /// Source: `torch.flip`, which copies.
    #[track_caller]
    pub fn flip(&self, dims: impl Into<Dims>) -> Result<Tensor> {
        let mask = dims.into().mask("flip", self.shape())?;
        let mut layout = *self.layout();
        for (dim, _) in mask.iter().enumerate().filter(|&(_, &flipped)| flipped) {
            layout = layout.slice("flip", dim, Slice::from(..).step(-1))?;
        }
        Ok(self.with_layout(layout))
    }

    /// Elements `[i, i + shift]` of the dims `dim1` and `dim2`, as the last dim of a view.
    ///
    /// ```
    /// use chainrule_tensor::{Device, Tensor};
    /// let x = Tensor::new([[1i64, 2, 3], [4, 5, 6]], &Device::Cpu)?;
    /// assert_eq!(x.diagonal(1, 0, 1)?.to_vec::<i64>()?, [2, 6]);
    /// # Ok::<(), chainrule_tensor::Error>(())
    /// ```
    ///
    /// Source: `torch.diagonal`.
    #[track_caller]
    pub fn diagonal(&self, shift: isize, dim1: isize, dim2: isize) -> Result<Tensor> {
        let (first, second) =
            (resolve_dim("diagonal", dim1, self.shape())?, resolve_dim("diagonal", dim2, self.shape())?);
        if first == second || self.rank() < 2 {
            let message = format!("needs two different dims, got {dim1} and {dim2} of shape {}", self.shape());
            return Err(Error::shape("diagonal", message));
        }
        Ok(self.with_layout(self.layout().diagonal(shift, first, second)?))
    }

    /// Windows of `size` elements at every `step` along a dim, as a view whose last dim is the window.
    ///
    /// # Errors
    /// A window larger than the dim, or a step of 0.
    ///
    /// ```
    /// use chainrule_tensor::{Device, Tensor};
    /// let x = Tensor::new([1i64, 2, 3], &Device::Cpu)?;
    /// assert_eq!(x.unfold(0, 2, 1)?.to_vec::<i64>()?, [1, 2, 2, 3]);
    /// # Ok::<(), chainrule_tensor::Error>(())
    /// ```
    ///
    /// Source: `torch.Tensor.unfold`.
    #[track_caller]
    pub fn unfold(&self, dim: isize, size: usize, step: usize) -> Result<Tensor> {
        let at = resolve_dim("unfold", dim, self.shape())?;
        let available = self.shape().get(at).copied().unwrap_or(0);
        if size > available || step == 0 || self.rank() == 0 {
            let message = format!("windows of {size} every {step} do not fit dim {dim} of size {available}");
            return Err(Error::argument("unfold", message));
        }
        Ok(self.with_layout(self.layout().unfold(at, size, step)?))
    }

    /// This and `other` expanded to their common shape.
    ///
    /// ```
    /// use chainrule_tensor::{Device, Shape, Tensor};
    /// let [a, b] = [Tensor::new([[1i64], [2]], &Device::Cpu)?, Tensor::new([3i64, 4, 5], &Device::Cpu)?];
    /// let (a, b) = a.broadcast_with(&b)?;
    /// assert_eq!((a.shape(), b.shape()), (&Shape::new(&[2, 3])?, &Shape::new(&[2, 3])?));
    /// # Ok::<(), chainrule_tensor::Error>(())
    /// ```
    ///
    /// Source: `torch.broadcast_tensors`.
    #[track_caller]
    pub fn broadcast_with(&self, other: &Tensor) -> Result<(Tensor, Tensor)> {
        let shape = Shape::broadcast("broadcast_with", self.shape(), other.shape())?;
        Ok((self.expand(shape)?, other.expand(shape)?))
    }
}

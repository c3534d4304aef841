//! Reading and writing along a dim at the places that an index of the same rank names.

use chainrule_kernels::gather::{self, GatherParams};

use crate::{Error, Result, Shape, Tensor, resolve_dim};

impl Tensor {
    /// Checks an index along `dim`; 0-d tensors and indices are seen as of one dim.
    #[track_caller]
    fn gather_extents(&self, op: &'static str, dim: isize, index: &Tensor) -> Result<(usize, Tensor, Tensor)> {
        self.check_ids(op, index)?;
        let dim = resolve_dim(op, dim, self.shape())?;
        let flat = |x: &Tensor| if x.rank() == 0 { x.reshape([1]) } else { Ok(x.clone()) };
        let (x, index) = (flat(self)?, flat(index)?);
        let fits = x.rank() == index.rank()
            && (0..x.rank()).all(|other| other == dim || index.shape()[other] <= x.shape()[other]);
        if !fits {
            let message = format!(
                "the index has shape {}, expected the dims of {} and no larger but for dim {dim}",
                index.shape(),
                x.shape()
            );
            return Err(Error::shape(op, message));
        }
        Ok((dim, x, index.contiguous()?))
    }

    /// The elements that an index of the same rank names along a dim: `y[i, j, k] = x[i, index[i, j, k], k]` for dim 1.
    /// The result has the shape of the index, whose other dims may be shorter than the tensor's.
    ///
    /// # Errors
    /// An index that is no integer, of another rank, longer in another dim, or outside the dim (negative too).
    ///
    /// ```
    /// use chainrule_tensor::{Device, Tensor};
    /// let x = Tensor::new([[1.0f32, 2.0], [3.0, 4.0]], &Device::Cpu)?;
    /// let index = Tensor::new([[1u32, 0, 0], [0, 0, 1]], &Device::Cpu)?;
    /// assert_eq!(x.gather(1, &index)?.to_vec::<f32>()?, [2.0, 1.0, 1.0, 3.0, 3.0, 4.0]);
    /// # Ok::<(), chainrule_tensor::Error>(())
    /// ```
    ///
    /// Source: `torch.gather`.
    #[track_caller]
    pub fn gather(&self, dim: isize, index: &Tensor) -> Result<Tensor> {
        let (dim, x, flat) = self.gather_extents("gather", dim, index)?;
        let params = GatherParams::new(flat.shape(), x.shape(), x.layout().strides(), dim)?;
        Tensor::build(&self.device(), self.dtype(), *index.shape(), |y| {
            gather::gather(x.place(), flat.place(), params, y)
        })
    }

    /// This tensor with `src` written at the places that the index names along a dim:
    /// `y[i, index[i, j, k], k] = src[i, j, k]` for dim 1. Where several meet, the last one in row-major order stays.
    ///
    /// # Errors
    /// As [`Tensor::gather`]; a `src` of another dtype or shorter than the index.
    ///
    /// ```
    /// use chainrule_tensor::{Device, Tensor};
    /// let x = Tensor::new([0.0f32, 0.0, 0.0], &Device::Cpu)?;
    /// let (index, src) = (Tensor::new([2u32, 0], &Device::Cpu)?, Tensor::new([5.0f32, 6.0], &Device::Cpu)?);
    /// assert_eq!(x.scatter(0, &index, &src)?.to_vec::<f32>()?, [6.0, 0.0, 5.0]);
    /// # Ok::<(), chainrule_tensor::Error>(())
    /// ```
    ///
    /// # Differences
    /// PyTorch leaves open which of several stays.
    ///
    /// Source: `torch.scatter`.
    #[track_caller]
    pub fn scatter(&self, dim: isize, index: &Tensor, src: &Tensor) -> Result<Tensor> {
        let (params, index, src) = self.scatter_extents("scatter", dim, index, src)?;
        self.changed(|y| gather::scatter(src.place(), index.place(), params, y))
    }

    /// This tensor with `src` added at the places that the index names along a dim:
    /// `y[i, index[i, j, k], k] += src[i, j, k]` for dim 1, in row-major order.
    ///
    /// f16 and bf16 add up in f32 and are rounded once.
    ///
    /// # Errors
    /// As [`Tensor::scatter`].
    ///
    /// ```
    /// use chainrule_tensor::{Device, Tensor};
    /// let x = Tensor::new([1.0f32, 1.0, 1.0], &Device::Cpu)?;
    /// let (index, src) = (Tensor::new([2u32, 2], &Device::Cpu)?, Tensor::new([5.0f32, 6.0], &Device::Cpu)?);
    /// assert_eq!(x.scatter_add(0, &index, &src)?.to_vec::<f32>()?, [1.0, 1.0, 12.0]);
    /// # Ok::<(), chainrule_tensor::Error>(())
    /// ```
    ///
    /// Source: `torch.scatter_add`.
    #[track_caller]
    pub fn scatter_add(&self, dim: isize, index: &Tensor, src: &Tensor) -> Result<Tensor> {
        let (params, index, src) = self.scatter_extents("scatter_add", dim, index, src)?;
        self.changed(|y| gather::scatter_add(src.place(), index.place(), params, y))
    }

    /// Parameters, contiguous index, and the part of `src` that the index covers, contiguous.
    #[track_caller]
    fn scatter_extents(
        &self,
        op: &'static str,
        dim: isize,
        index: &Tensor,
        src: &Tensor,
    ) -> Result<(GatherParams, Tensor, Tensor)> {
        let (dim, y, index) = self.gather_extents(op, dim, index)?;
        self.check_source(op, src)?;
        let src = if src.rank() == 0 { src.reshape([1])? } else { src.clone() };
        let params = GatherParams::new(index.shape(), y.shape(), &y.shape().contiguous_strides()[..y.rank()], dim)?;
        let src = src.covered(op, index.shape())?.contiguous()?;
        Ok((params, index, src))
    }

    /// The leading part of each dim that a smaller shape covers.
    #[track_caller]
    fn covered(&self, op: &'static str, shape: &Shape) -> Result<Tensor> {
        if self.rank() != shape.rank() || self.shape().iter().zip(&shape[..]).any(|(size, wanted)| size < wanted) {
            let message = format!("src has shape {}, expected at least {shape} as the index", self.shape());
            return Err(Error::shape(op, message));
        }
        (0..self.rank()).try_fold(self.clone(), |x, dim| x.narrow(dim as isize, 0, shape[dim]))
    }
}

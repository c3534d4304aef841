//! Reductions over one, several or all dims: what to reduce, the shape of the result, and what is refused.
//!
//! Formulas, accumulation and the treatment of NaN are those of [`chainrule_kernels::reduce`].

use chainrule_kernels::reduce::{self, ReduceDims, ReduceOp};

use crate::{Dims, Error, Layout, Result, Shape, Sizes, Tensor};

/// Sizes and strides of the dims of `layout` that `mask` marks as `wanted`.
fn masked(layout: &Layout, mask: &[bool], wanted: bool) -> (Vec<usize>, Vec<isize>) {
    let dims = layout.shape().iter().zip(layout.strides()).zip(mask);
    dims.filter(|&(_, &marked)| marked == wanted).map(|((&size, &stride), _)| (size, stride)).unzip()
}

/// `shape` without the masked dims, or with size 1 in their places.
fn reduced_shape(shape: &Shape, mask: &[bool], keepdim: bool) -> Result<Shape> {
    let dims = shape.iter().zip(mask);
    let sizes: Vec<usize> = match keepdim {
        true => dims.map(|(&size, &gone)| if gone { 1 } else { size }).collect(),
        false => dims.filter(|&(_, &gone)| !gone).map(|(&size, _)| size).collect(),
    };
    Shape::new(&sizes)
}

impl Tensor {
    /// Reduces the masked dims.
    #[track_caller]
    pub(crate) fn reduce(&self, op: ReduceOp, mask: &[bool], keepdim: bool) -> Result<Tensor> {
        let (kept_shape, kept_strides) = masked(self.layout(), mask, false);
        let (reduced_sizes, reduced_strides) = masked(self.layout(), mask, true);
        let dims = ReduceDims {
            kept_shape: &kept_shape,
            kept_strides: &kept_strides,
            reduced_shape: &reduced_sizes,
            reduced_strides: &reduced_strides,
        };
        let shape = reduced_shape(self.shape(), mask, keepdim)?;
        let device = self.device();
        Tensor::build(&device, op.output_dtype(self.dtype(), &device), shape, |y| {
            reduce::reduce(op, (self.buffer(), self.layout().offset()), dims, y)
        })
    }

    /// As [`Tensor::reduce`], for ops that are defined for floats only.
    #[track_caller]
    pub(crate) fn reduce_floats(&self, name: &'static str, op: ReduceOp, dims: Dims, keepdim: bool) -> Result<Tensor> {
        if !self.dtype().is_float() {
            return Err(Error::dtype(name, format!("is not defined for {}: cast to a float first", self.dtype())));
        }
        self.reduce(op, &dims.mask(name, self.shape())?, keepdim)
    }

    /// As [`Tensor::reduce`], for ops that need at least one element.
    #[track_caller]
    fn reduce_extreme(&self, name: &'static str, op: ReduceOp, dims: Dims, keepdim: bool) -> Result<Tensor> {
        let mask = dims.mask(name, self.shape())?;
        if let Some(dim) = (0..mask.len()).find(|&dim| mask[dim] && self.shape()[dim] == 0) {
            let message = format!("dim {dim} of shape {} has no elements, needs at least one", self.shape());
            return Err(Error::shape(name, message));
        }
        self.reduce(op, &mask, keepdim)
    }

    /// The sum over some dims, which go, or stay with size 1 where `keepdim`: `y = sum_i x_i`.
    ///
    /// f16, bf16 and f32 are summed in f32 and f64 in f64, in runs that are added pairwise. Integers and bool give
    /// [`Device::sum_dtype`](crate::Device::sum_dtype), which is i64 but on wgpu. The sum of nothing is 0.
    ///
    /// # Errors
    /// A dim that does not exist or is named twice.
    ///
    /// ```
    /// use chainrule_tensor::{Device, Tensor};
    /// let x = Tensor::new([[1.0f32, 2.0], [3.0, 4.0]], &Device::Cpu)?;
    /// assert_eq!(x.sum(0, false)?.to_vec::<f32>()?, [4.0, 6.0]);
    /// assert_eq!(x.sum(.., true)?.shape(), &[1, 1]);
    /// # Ok::<(), chainrule_tensor::Error>(())
    /// ```
    ///
    /// # Differences
    /// An empty list of dims names none; PyTorch takes it for all.
    ///
    /// Source: `torch.sum`.
    #[track_caller]
    pub fn sum(&self, dims: impl Into<Dims>, keepdim: bool) -> Result<Tensor> {
        self.reduce(ReduceOp::Sum, &dims.into().mask("sum", self.shape())?, keepdim)
    }

    /// The sum over the dims in which `shape` has size 1 or is missing: the adjoint of [`Tensor::expand`].
    ///
    /// # Errors
    /// A shape that does not expand to this tensor's.
    ///
    /// ```
    /// use chainrule_tensor::{Device, Tensor};
    /// let x = Tensor::new([[1.0f32, 2.0], [3.0, 4.0]], &Device::Cpu)?;
    /// assert_eq!(x.sum_to([2, 1])?.to_vec::<f32>()?, [3.0, 7.0]);
    /// # Ok::<(), chainrule_tensor::Error>(())
    /// ```
    ///
    /// Source: `torch.Tensor.sum_to_size`.
    #[track_caller]
    pub fn sum_to(&self, shape: impl Sizes) -> Result<Tensor> {
        let (from, to) = (self.shape(), Shape::new(shape.sizes())?);
        let refuse = || Error::shape("sum_to", format!("shape {to} does not expand to {from}"));
        let lead = from.rank().checked_sub(to.rank()).ok_or_else(refuse)?;
        let mut mask = vec![true; from.rank()];
        for dim in lead..from.rank() {
            mask[dim] = from[dim] != to[dim - lead];
            if mask[dim] && to[dim - lead] != 1 {
                return Err(refuse());
            }
        }
        if !mask.contains(&true) {
            return Ok(self.clone());
        }
        self.reduce(ReduceOp::Sum, &mask, true)?.reshape(to)
    }

    /// The mean over some dims: `y = sum_i x_i / n`, NaN of nothing.
    ///
    /// Summed as [`Tensor::sum`] and divided before rounding, so f16 does not overflow.
    ///
    /// # Errors
    /// Integers and bool; a dim that does not exist or is named twice.
    ///
    /// ```
    /// use chainrule_tensor::{Device, Tensor};
    /// let x = Tensor::new([[1.0f32, 2.0], [3.0, 4.0]], &Device::Cpu)?;
    /// assert_eq!(x.mean(1, false)?.to_vec::<f32>()?, [1.5, 3.5]);
    /// # Ok::<(), chainrule_tensor::Error>(())
    /// ```
    ///
    /// Source: `torch.mean`.
    #[track_caller]
    pub fn mean(&self, dims: impl Into<Dims>, keepdim: bool) -> Result<Tensor> {
        self.reduce_floats("mean", ReduceOp::Mean, dims.into(), keepdim)
    }

    /// The product over some dims, 1 of nothing; integers and bool give
    /// [`Device::sum_dtype`](crate::Device::sum_dtype).
    ///
    /// ```
    /// use chainrule_tensor::{Device, Tensor};
    /// let x = Tensor::new([[1.0f32, 2.0], [3.0, 4.0]], &Device::Cpu)?;
    /// assert_eq!(x.prod(0, false)?.to_vec::<f32>()?, [3.0, 8.0]);
    /// # Ok::<(), chainrule_tensor::Error>(())
    /// ```
    ///
    /// Source: `torch.prod`.
    #[track_caller]
    pub fn prod(&self, dims: impl Into<Dims>, keepdim: bool) -> Result<Tensor> {
        self.reduce(ReduceOp::Prod, &dims.into().mask("prod", self.shape())?, keepdim)
    }

    /// The greatest element over some dims, NaN where there is one.
    ///
    /// # Errors
    /// A dim without elements.
    ///
    /// ```
    /// use chainrule_tensor::{Device, Tensor};
    /// let x = Tensor::new([[1.0f32, 5.0], [3.0, 4.0]], &Device::Cpu)?;
    /// assert_eq!(x.max(1, false)?.to_vec::<f32>()?, [5.0, 4.0]);
    /// # Ok::<(), chainrule_tensor::Error>(())
    /// ```
    ///
    /// Source: `torch.amax`.
    #[track_caller]
    pub fn max(&self, dims: impl Into<Dims>, keepdim: bool) -> Result<Tensor> {
        self.reduce_extreme("max", ReduceOp::Max, dims.into(), keepdim)
    }

    /// The least element over some dims, NaN where there is one; otherwise as [`Tensor::max`].
    ///
    /// ```
    /// use chainrule_tensor::{Device, Tensor};
    /// let x = Tensor::new([[1.0f32, 5.0], [3.0, 4.0]], &Device::Cpu)?;
    /// assert_eq!(x.min(1, false)?.to_vec::<f32>()?, [1.0, 3.0]);
    /// # Ok::<(), chainrule_tensor::Error>(())
    /// ```
    ///
    /// Source: `torch.amin`.
    #[track_caller]
    pub fn min(&self, dims: impl Into<Dims>, keepdim: bool) -> Result<Tensor> {
        self.reduce_extreme("min", ReduceOp::Min, dims.into(), keepdim)
    }

    /// The index of the greatest element, the first of several; NaN counts as the greatest. It is of
    /// [`Device::index_dtype`](crate::Device::index_dtype), which is i64 but on wgpu.
    ///
    /// Several dims, or all with `..`, are numbered together in row-major order.
    ///
    /// # Errors
    /// A dim without elements.
    ///
    /// ```
    /// use chainrule_tensor::{Device, Tensor};
    /// let x = Tensor::new([[1.0f32, 5.0], [7.0, 4.0]], &Device::Cpu)?;
    /// assert_eq!(x.argmax(1, false)?.to_vec::<i64>()?, [1, 0]);
    /// assert_eq!(x.argmax(.., false)?.item::<i64>()?, 2);
    /// # Ok::<(), chainrule_tensor::Error>(())
    /// ```
    ///
    /// # Differences
    /// PyTorch may give any of several equal elements.
    ///
    /// Source: `torch.argmax`.
    #[track_caller]
    pub fn argmax(&self, dims: impl Into<Dims>, keepdim: bool) -> Result<Tensor> {
        self.reduce_extreme("argmax", ReduceOp::ArgMax, dims.into(), keepdim)
    }

    /// The index of the least element, the first of several; NaN counts as the least. See [`Tensor::argmax`].
    ///
    /// ```
    /// use chainrule_tensor::{Device, Tensor};
    /// let x = Tensor::new([[1.0f32, 5.0], [7.0, 4.0]], &Device::Cpu)?;
    /// assert_eq!(x.argmin(1, false)?.to_vec::<i64>()?, [0, 1]);
    /// # Ok::<(), chainrule_tensor::Error>(())
    /// ```
    ///
    /// Source: `torch.argmin`.
    #[track_caller]
    pub fn argmin(&self, dims: impl Into<Dims>, keepdim: bool) -> Result<Tensor> {
        self.reduce_extreme("argmin", ReduceOp::ArgMin, dims.into(), keepdim)
    }

    /// The greatest element along a dim and its index as [`Tensor::argmax`] gives it, the first of several.
    ///
    /// # Errors
    /// A dim without elements.
    ///
    /// ```
    /// use chainrule_tensor::{Device, Tensor};
    /// let x = Tensor::new([[1.0f32, 5.0], [7.0, 4.0]], &Device::Cpu)?;
    /// let (values, index) = x.max_with_index(1, false)?;
    /// assert_eq!((values.to_vec::<f32>()?, index.to_vec::<i64>()?), (vec![5.0, 7.0], vec![1, 0]));
    /// # Ok::<(), chainrule_tensor::Error>(())
    /// ```
    ///
    /// Source: `torch.max` with a dim.
    #[track_caller]
    pub fn max_with_index(&self, dim: isize, keepdim: bool) -> Result<(Tensor, Tensor)> {
        let index = self.reduce_extreme("max_with_index", ReduceOp::ArgMax, dim.into(), true)?;
        self.with_index(index, dim, keepdim)
    }

    /// The least element along a dim and its index, the first of several; see [`Tensor::max_with_index`].
    ///
    /// ```
    /// use chainrule_tensor::{Device, Tensor};
    /// let x = Tensor::new([3.0f32, 1.0, 1.0], &Device::Cpu)?;
    /// let (least, index) = x.min_with_index(0, false)?;
    /// assert_eq!((least.item::<f32>()?, index.item::<i64>()?), (1.0, 1));
    /// # Ok::<(), chainrule_tensor::Error>(())
    /// ```
    ///
    /// Source: `torch.min` with a dim.
    #[track_caller]
    pub fn min_with_index(&self, dim: isize, keepdim: bool) -> Result<(Tensor, Tensor)> {
        let index = self.reduce_extreme("min_with_index", ReduceOp::ArgMin, dim.into(), true)?;
        self.with_index(index, dim, keepdim)
    }

    #[track_caller]
    fn with_index(&self, index: Tensor, dim: isize, keepdim: bool) -> Result<(Tensor, Tensor)> {
        let values = self.gather(dim, &index)?;
        if keepdim || self.rank() == 0 {
            return Ok((values, index));
        }
        Ok((values.squeeze(dim)?, index.squeeze(dim)?))
    }

    /// Whether any element over some dims is true (not 0; NaN is true), as bool; false of nothing.
    ///
    /// ```
    /// use chainrule_tensor::{Device, Tensor};
    /// let x = Tensor::new([[0.0f32, 5.0], [0.0, 0.0]], &Device::Cpu)?;
    /// assert_eq!(x.any(1, false)?.to_vec::<bool>()?, [true, false]);
    /// # Ok::<(), chainrule_tensor::Error>(())
    /// ```
    ///
    /// Source: `torch.any`.
    #[track_caller]
    pub fn any(&self, dims: impl Into<Dims>, keepdim: bool) -> Result<Tensor> {
        self.reduce(ReduceOp::Any, &dims.into().mask("any", self.shape())?, keepdim)
    }

    /// Whether all elements over some dims are true (not 0; NaN is true), as bool; true of nothing.
    ///
    /// ```
    /// use chainrule_tensor::{Device, Tensor};
    /// let x = Tensor::new([[0.0f32, 5.0], [1.0, 2.0]], &Device::Cpu)?;
    /// assert_eq!(x.all(1, false)?.to_vec::<bool>()?, [false, true]);
    /// # Ok::<(), chainrule_tensor::Error>(())
    /// ```
    ///
    /// Source: `torch.all`.
    #[track_caller]
    pub fn all(&self, dims: impl Into<Dims>, keepdim: bool) -> Result<Tensor> {
        self.reduce(ReduceOp::All, &dims.into().mask("all", self.shape())?, keepdim)
    }
}

//! Rows by their ids, and sums back into them.

use chainrule_kernels::index::{self, IndexParams};

use crate::{DType, Device, Error, Result, Shape, Tensor, resolve_dim};

impl Tensor {
    /// Buffer and offset of a contiguous tensor, as kernels take them.
    pub(crate) fn place(&self) -> (&chainrule_kernels::Buffer, usize) {
        (self.buffer(), self.layout().offset())
    }

    /// Sizes before, along and after a dim; a 0-d tensor counts as one element along its dim 0.
    #[track_caller]
    pub(crate) fn around(&self, op: &'static str, dim: isize) -> Result<[usize; 3]> {
        let dim = resolve_dim(op, dim, self.shape())?;
        let shape = self.shape();
        Ok(match shape.get(dim) {
            None => [1; 3],
            Some(&size) => [shape[..dim].iter().product(), size, shape[dim + 1..].iter().product()],
        })
    }

    /// Refuses ids that are no integers or on another device.
    #[track_caller]
    pub(crate) fn check_ids(&self, op: &'static str, ids: &Tensor) -> Result<()> {
        self.same_device(op, ids)?;
        if ids.dtype().is_int() {
            return Ok(());
        }
        Err(Error::dtype(op, format!("the index is {}, expected u8, u32, i32 or i64", ids.dtype())))
    }

    /// Extents for 1-d `ids` along `dim`, and the shape with as many rows as there are ids.
    #[track_caller]
    fn index_extents(&self, op: &'static str, dim: isize, ids: &Tensor) -> Result<(IndexParams, Shape)> {
        self.check_ids(op, ids)?;
        if ids.rank() > 1 {
            return Err(Error::shape(op, format!("the index has shape {}, expected one dim", ids.shape())));
        }
        let [outer, size, inner] = self.around(op, dim)?;
        let n = ids.elements();
        let shape = match self.rank() {
            0 => *self.shape(),
            _ => Shape::new(&self.shape().with(resolve_dim(op, dim, self.shape())?, n))?,
        };
        if self.rank() == 0 && n != 1 {
            return Err(Error::shape(op, format!("got {n} indices, a 0-d tensor takes one")));
        }
        Ok((IndexParams { outer: outer as u64, size: size as u64, n: n as u64, inner: inner as u64 }, shape))
    }

    /// The slices of a dim that the ids name, in their order: `y[.., j, ..] = x[.., ids[j], ..]`.
    ///
    /// # Errors
    /// Ids that are no integers, have several dims, or are outside the dim (negative ones too).
    ///
    /// ```
    /// use chainrule_tensor::{Device, Tensor};
    /// let x = Tensor::new([[1.0f32, 2.0], [3.0, 4.0]], &Device::Cpu)?;
    /// let ids = Tensor::new([1u32, 0, 1], &Device::Cpu)?;
    /// assert_eq!(x.index_select(1, &ids)?.to_vec::<f32>()?, [2.0, 1.0, 2.0, 4.0, 3.0, 4.0]);
    /// # Ok::<(), chainrule_tensor::Error>(())
    /// ```
    ///
    /// Source: `torch.index_select`.
    #[track_caller]
    pub fn index_select(&self, dim: isize, ids: &Tensor) -> Result<Tensor> {
        let (params, shape) = self.index_extents("index_select", dim, ids)?;
        let (x, ids) = (self.contiguous()?, ids.contiguous()?);
        Tensor::build(&self.device(), self.dtype(), shape, |y| index::index_select(x.place(), ids.place(), params, y))
    }

    /// This tensor with slices of `src` added: `y[.., ids[j], ..] += src[.., j, ..]`, in the order of the ids.
    ///
    /// f16 and bf16 add up in f32 and are rounded once.
    ///
    /// # Errors
    /// As [`Tensor::index_select`]; a `src` of another dtype, or not of this shape with one slice for each id.
    ///
    /// ```
    /// use chainrule_tensor::{Device, Tensor};
    /// let x = Tensor::new([1.0f32, 2.0, 3.0], &Device::Cpu)?;
    /// let (ids, src) = (Tensor::new([2u32, 0, 2], &Device::Cpu)?, Tensor::new([10.0f32, 20.0, 30.0], &Device::Cpu)?);
    /// assert_eq!(x.index_add(0, &ids, &src)?.to_vec::<f32>()?, [21.0, 2.0, 43.0]);
    /// # Ok::<(), chainrule_tensor::Error>(())
    /// ```
    ///
    /// Source: `torch.index_add`.
    #[track_caller]
    pub fn index_add(&self, dim: isize, ids: &Tensor, src: &Tensor) -> Result<Tensor> {
        let (params, shape) = self.index_extents("index_add", dim, ids)?;
        self.check_source("index_add", src)?;
        if *src.shape() != shape {
            return Err(Error::shape("index_add", format!("src has shape {}, expected {shape}", src.shape())));
        }
        let (src, ids) = (src.contiguous()?, ids.contiguous()?);
        self.changed(|y| index::index_add(src.place(), ids.place(), params, y))
    }

    /// Refuses a source of another dtype or device.
    #[track_caller]
    pub(crate) fn check_source(&self, op: &'static str, src: &Tensor) -> Result<()> {
        self.same_device(op, src)?;
        if src.dtype() == self.dtype() {
            return Ok(());
        }
        Err(Error::dtype(op, format!("src is {}, expected {} as the tensor", src.dtype(), self.dtype())))
    }

    /// A copy that `change` has written to.
    #[track_caller]
    pub(crate) fn changed(&self, change: impl FnOnce(&mut chainrule_kernels::Buffer) -> Result<()>) -> Result<Tensor> {
        Tensor::build(&self.device(), self.dtype(), *self.shape(), |y| {
            chainrule_kernels::copy::copy(self.view(), self.shape(), y)?;
            change(y)
        })
    }

    /// Rows of this matrix `[V, C]` by ids of any shape `[..]`: `y[.., :] = weight[ids[..], :]`, of shape `[.., C]`.
    ///
    /// # Errors
    /// A tensor that is no matrix; ids that are no integers or not below V.
    ///
    /// ```
    /// use chainrule_tensor::{Device, Tensor};
    /// let weight = Tensor::new([[1.0f32, 2.0], [3.0, 4.0]], &Device::Cpu)?;
    /// let y = weight.embedding(&Tensor::new([[1u32, 0]], &Device::Cpu)?)?;
    /// assert_eq!((y.shape().to_vec(), y.to_vec::<f32>()?), (vec![1, 2, 2], vec![3.0, 4.0, 1.0, 2.0]));
    /// # Ok::<(), chainrule_tensor::Error>(())
    /// ```
    ///
    /// Source: `torch.nn.functional.embedding`.
    #[track_caller]
    pub fn embedding(&self, ids: &Tensor) -> Result<Tensor> {
        self.check_ids("embedding", ids)?;
        let &[rows, cols] = &self.shape()[..] else {
            return Err(Error::shape("embedding", format!("weight has shape {}, expected two dims", self.shape())));
        };
        let shape = Shape::new(&[&ids.shape()[..], &[cols]].concat())?;
        let params = IndexParams { outer: 1, size: rows as u64, n: ids.elements() as u64, inner: cols as u64 };
        let (weight, ids) = (self.contiguous()?, ids.contiguous()?);
        Tensor::build(&self.device(), self.dtype(), shape, |y| {
            index::embedding_forward(weight.place(), ids.place(), params, y)
        })
    }

    /// The gradient of [`Tensor::embedding`] by its weight, given the gradient `dy [.., C]` (this tensor) of its result:
    /// `dweight[v, :] = sum of dy[.., :] over ids[..] = v`, of shape `[rows, C]`, with zeros in the row `padding`.
    ///
    /// Sums are taken in the order of the ids, in f32 (f64 for f64), so the result does not depend on threads.
    ///
    /// # Errors
    /// A shape that does not fit the ids; ids that are no integers or not below `rows`.
    ///
    /// ```
    /// use chainrule_tensor::{Device, Tensor};
    /// let dy = Tensor::new([[1.0f32], [2.0], [4.0]], &Device::Cpu)?;
    /// let ids = Tensor::new([2u32, 0, 2], &Device::Cpu)?;
    /// assert_eq!(dy.embedding_backward(&ids, 3, None)?.to_vec::<f32>()?, [2.0, 0.0, 5.0]);
    /// # Ok::<(), chainrule_tensor::Error>(())
    /// ```
    ///
    /// Source: `torch.ops.aten.embedding_dense_backward`.
    #[track_caller]
    pub fn embedding_backward(&self, ids: &Tensor, rows: usize, padding: Option<usize>) -> Result<Tensor> {
        self.check_ids("embedding_backward", ids)?;
        let Some((&cols, lead)) = self.shape().split_last().filter(|(_, lead)| *lead == &ids.shape()[..]) else {
            let message = format!("dy has shape {}, expected {} and one more dim", self.shape(), ids.shape());
            return Err(Error::shape("embedding_backward", message));
        };
        let params =
            IndexParams { outer: 1, size: rows as u64, n: lead.iter().product::<usize>() as u64, inner: cols as u64 };
        let (dy, ids) = (self.contiguous()?, ids.contiguous()?);
        Tensor::build(&self.device(), self.dtype(), Shape::new(&[rows, cols])?, |dweight| {
            index::embedding_backward(dy.place(), ids.place(), params, padding, dweight)
        })
    }

    /// Ones at the ids and zeros elsewhere: `y[.., v] = 1 where ids[..] = v`, of shape `[.., classes]`.
    ///
    /// # Errors
    /// Ids that are no integers or not below `classes`.
    ///
    /// ```
    /// use chainrule_tensor::{DType, Device, Tensor};
    /// let ids = Tensor::new([2u32, 0], &Device::Cpu)?;
    /// assert_eq!(ids.one_hot(3, DType::I64)?.to_vec::<i64>()?, [0, 0, 1, 1, 0, 0]);
    /// # Ok::<(), chainrule_tensor::Error>(())
    /// ```
    ///
    /// # Differences
    /// The number of classes and the dtype are given; PyTorch can find the first and always gives i64.
    ///
    /// Source: `torch.nn.functional.one_hot`.
    #[track_caller]
    pub fn one_hot(&self, classes: usize, dtype: DType) -> Result<Tensor> {
        self.check_ids("one_hot", self)?;
        let shape = Shape::new(&[&self.shape()[..], &[classes]].concat())?;
        let params = IndexParams { outer: 1, size: classes as u64, n: self.elements() as u64, inner: 1 };
        let ids = self.contiguous()?;
        Tensor::build(&self.device(), dtype, shape, |y| index::one_hot(ids.place(), params, y))
    }

    /// The flat row-major places of the elements that are not 0 (or false).
    #[track_caller]
    fn nonzero_places(&self) -> Result<Tensor> {
        let n = self.elements();
        let count =
            self.to_dtype(DType::Bool)?.sum(.., false)?.to_device(&Device::Cpu)?.to_dtype(DType::I64)?.item::<i64>()?
                as usize;
        let device = self.device();
        let x = self.contiguous()?;
        Tensor::build(&device, device.index_dtype(), Shape::new(&[count])?, |y| index::nonzero(x.place(), n, y))
    }

    /// The indices of the elements that are not 0, one row for each in row-major order: `[count, rank]`, as
    /// [`Device::index_dtype`](crate::Device::index_dtype), which is i64 but on wgpu.
    ///
    /// NaN is not 0, -0.0 is.
    ///
    /// ```
    /// use chainrule_tensor::{Device, Tensor};
    /// let x = Tensor::new([[0.0f32, 5.0], [7.0, 0.0]], &Device::Cpu)?;
    /// assert_eq!(x.nonzero()?.to_vec::<i64>()?, [0, 1, 1, 0]);
    /// # Ok::<(), chainrule_tensor::Error>(())
    /// ```
    ///
    /// Source: `torch.nonzero`.
    #[track_caller]
    pub fn nonzero(&self) -> Result<Tensor> {
        let places = self.nonzero_places()?;
        let count = places.elements();
        if count == 0 || self.rank() == 0 {
            return Tensor::zeros([count, self.rank()], places.dtype(), &self.device());
        }
        let strides = self.shape().contiguous_strides();
        let along = |dim: usize| places.floor_div(strides[dim] as i64)?.rem(self.shape()[dim] as i64);
        let columns = (0..self.rank()).map(along).collect::<Result<Vec<_>>>()?;
        Tensor::stack(&columns.iter().collect::<Vec<_>>(), 1)
    }

    /// The elements where `mask` (bool, broadcast with this tensor) is true, in row-major order, as one dim.
    ///
    /// # Errors
    /// A mask that is not bool or does not broadcast.
    ///
    /// ```
    /// use chainrule_tensor::{Device, Tensor};
    /// let x = Tensor::new([[1.0f32, 5.0], [7.0, 4.0]], &Device::Cpu)?;
    /// assert_eq!(x.masked_select(&x.gt(4.5)?)?.to_vec::<f32>()?, [5.0, 7.0]);
    /// # Ok::<(), chainrule_tensor::Error>(())
    /// ```
    ///
    /// Source: `torch.masked_select`.
    #[track_caller]
    pub fn masked_select(&self, mask: &Tensor) -> Result<Tensor> {
        let shape = Shape::broadcast("masked_select", self.shape(), mask.shape())?;
        mask.must_be_bool("masked_select")?;
        let places = mask.expand(shape)?.nonzero_places()?;
        self.expand(shape)?.reshape([shape.elements()])?.index_select(0, &places)
    }
}

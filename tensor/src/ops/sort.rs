//! Sorting and the k greatest or least along a dim.

use chainrule_kernels::Buffer;
use chainrule_kernels::sort::{self, SortParams};

use crate::{Error, Result, Tensor};

impl Tensor {
    /// The first `k` of a dim in order, and their indices: the kernel works along the last dim.
    #[track_caller]
    fn sort_rows(&self, dim: isize, k: usize, descending: bool) -> Result<(Tensor, Tensor)> {
        if self.rank() == 0 {
            let (values, index) = self.reshape([1])?.sort_rows(0, k, descending)?;
            return Ok((values.reshape(())?, index.reshape(())?));
        }
        let x = self.transpose(dim, -1)?.contiguous()?;
        let last = x.rank() - 1;
        let cols = x.shape()[last];
        let rows: usize = x.shape()[..last].iter().product();
        let shape = x.shape().with(last, k);
        let params =
            SortParams { rows: rows as u64, cols: cols as u64, k: k as u64, descending: u64::from(descending) };
        let device = self.device();
        let mut index = Buffer::allocate(&device, device.index_dtype(), shape.elements())?;
        let values = Tensor::build(&device, self.dtype(), shape, |y| sort::sort(x.place(), params, y, &mut index))?;
        let index = Tensor::from_buffer(index, shape);
        Ok((values.transpose(dim, -1)?, index.transpose(dim, -1)?))
    }

    /// The elements along a dim in ascending (or descending) order, and the indices they came from, as
    /// [`Device::index_dtype`](crate::Device::index_dtype), which is i64 but on wgpu.
    ///
    /// Stable: equal elements keep their order. NaN is greater than every number, -0.0 equals 0.0.
    ///
    /// # Errors
    /// A dim that does not exist.
    ///
    /// ```
    /// use chainrule_tensor::{Device, Tensor};
    /// let x = Tensor::new([3.0f32, 1.0, 2.0], &Device::Cpu)?;
    /// let (values, index) = x.sort(0, false)?;
    /// assert_eq!((values.to_vec::<f32>()?, index.to_vec::<i64>()?), (vec![1.0, 2.0, 3.0], vec![1, 2, 0]));
    /// # Ok::<(), chainrule_tensor::Error>(())
    /// ```
    ///
    /// Source: `torch.sort` with `stable=True`.
    #[track_caller]
    pub fn sort(&self, dim: isize, descending: bool) -> Result<(Tensor, Tensor)> {
        let [_, size, _] = self.around("sort", dim)?;
        self.sort_rows(dim, size, descending)
    }

    /// The indices that sort a dim: the second result of [`Tensor::sort`].
    ///
    /// ```
    /// use chainrule_tensor::{Device, Tensor};
    /// let x = Tensor::new([3.0f32, 1.0, 2.0], &Device::Cpu)?;
    /// assert_eq!(x.argsort(0, true)?.to_vec::<i64>()?, [0, 2, 1]);
    /// # Ok::<(), chainrule_tensor::Error>(())
    /// ```
    ///
    /// Source: `torch.argsort` with `stable=True`.
    #[track_caller]
    pub fn argsort(&self, dim: isize, descending: bool) -> Result<Tensor> {
        let [_, size, _] = self.around("argsort", dim)?;
        Ok(self.sort_rows(dim, size, descending)?.1)
    }

    /// The `k` greatest (or least) elements along a dim, greatest (least) first, and their indices.
    ///
    /// Of equal elements the first come first; NaN is greater than every number.
    ///
    /// # Errors
    /// More than the dim has.
    ///
    /// ```
    /// use chainrule_tensor::{Device, Tensor};
    /// let x = Tensor::new([3.0f32, 1.0, 2.0], &Device::Cpu)?;
    /// let (values, index) = x.topk(2, 0, true)?;
    /// assert_eq!((values.to_vec::<f32>()?, index.to_vec::<i64>()?), (vec![3.0, 2.0], vec![0, 2]));
    /// # Ok::<(), chainrule_tensor::Error>(())
    /// ```
    ///
    /// # Differences
    /// PyTorch may give any of several equal elements.
    ///
    /// Source: `torch.topk`.
    #[track_caller]
    pub fn topk(&self, k: usize, dim: isize, largest: bool) -> Result<(Tensor, Tensor)> {
        let [_, size, _] = self.around("topk", dim)?;
        if k > size || (self.rank() == 0 && k != 1) {
            return Err(Error::argument("topk", format!("k is {k}, dim {dim} of shape {} has {size}", self.shape())));
        }
        self.sort_rows(dim, k, largest)
    }
}

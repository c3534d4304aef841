//! Sorting: the values carry gradients, the indices are tensors.

use chainrule_tensor::{Result, Tensor};

use crate::Var;
use crate::record::record;

impl Var {
    /// The elements along a dim in order, and the indices they came from; see [`Tensor::sort`].
    ///
    /// Gradient: each `dy` to the element it came from.
    ///
    /// ```
    /// # use chainrule_autograd::value_and_grad;
    /// # use chainrule_tensor::{Device, Tensor};
    /// let x = Tensor::new([3.0f64, 1.0, 2.0], &Device::Cpu)?;
    /// let (y, dx) = value_and_grad(|x| x[0].sort(0, false)?.0.select(0, 0), &[x])?;
    /// assert_eq!((y.item::<f64>()?, dx[0].to_vec::<f64>()?), (1.0, vec![0.0, 1.0, 0.0]));
    /// # Ok::<(), chainrule_tensor::Error>(())
    /// ```
    #[track_caller]
    pub fn sort(&self, dim: isize, descending: bool) -> Result<(Var, Tensor)> {
        self.picked("sort", self.value().sort(dim, descending), dim)
    }

    /// The indices that sort a dim; see [`Tensor::argsort`].
    ///
    /// ```
    /// # use chainrule_autograd::Var;
    /// # use chainrule_tensor::{Device, Tensor};
    /// let x = Var::from(Tensor::new([3.0f64, 1.0, 2.0], &Device::Cpu)?);
    /// assert_eq!(x.argsort(0, false)?.to_vec::<i64>()?, [1, 2, 0]);
    /// # Ok::<(), chainrule_tensor::Error>(())
    /// ```
    #[track_caller]
    pub fn argsort(&self, dim: isize, descending: bool) -> Result<Tensor> {
        self.value().argsort(dim, descending)
    }

    /// The `k` greatest (or least) elements along a dim, and their indices; see [`Tensor::topk`].
    ///
    /// Gradient: each `dy` to the element it came from.
    ///
    /// ```
    /// # use chainrule_autograd::value_and_grad;
    /// # use chainrule_tensor::{Device, Tensor};
    /// let x = Tensor::new([3.0f64, 1.0, 2.0], &Device::Cpu)?;
    /// let (y, dx) = value_and_grad(|x| x[0].topk(2, 0, true)?.0.sum(.., false), &[x])?;
    /// assert_eq!((y.item::<f64>()?, dx[0].to_vec::<f64>()?), (5.0, vec![1.0, 0.0, 1.0]));
    /// # Ok::<(), chainrule_tensor::Error>(())
    /// ```
    #[track_caller]
    pub fn topk(&self, k: usize, dim: isize, largest: bool) -> Result<(Var, Tensor)> {
        self.picked("topk", self.value().topk(k, dim, largest), dim)
    }

    /// Records elements that an op found along a dim as picked from their indices.
    #[track_caller]
    pub(crate) fn picked(
        &self,
        op: &'static str,
        found: Result<(Tensor, Tensor)>,
        dim: isize,
    ) -> Result<(Var, Tensor)> {
        let location = std::panic::Location::caller();
        let (values, index) = found.map_err(|error| crate::record::locate(error, op, &[self], location))?;
        let (shape, kept) = (*self.shape(), index.clone());
        let rule = move |pull: &crate::Pull<'_>| Ok([pull.when(0, || pull.dy()?.placed_at(dim, &kept, shape))?]);
        Ok((record(op, [self], |_| Ok(values), rule)?, index))
    }
}

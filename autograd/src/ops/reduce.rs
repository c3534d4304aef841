//! Sums, means, products and extremes over some dims.

use chainrule_tensor::{Dims, Result, Shape, Tensor, resolve_dim};

use crate::record::{record, record_keeping_output};
use crate::{Pull, Var};

/// `shape` with size 1 in the dims named; names that do not exist are refused by the op itself.
pub(crate) fn kept_shape(shape: &Shape, dims: &Dims) -> Shape {
    let named: Vec<usize> = match dims {
        Dims::All => (0..shape.rank()).collect(),
        Dims::Some(dims) => dims.iter().filter_map(|&dim| resolve_dim("", dim, shape).ok()).collect(),
    };
    named.into_iter().filter(|&dim| dim < shape.rank()).fold(*shape, |shape, dim| shape.with(dim, 1))
}

/// `dy` of an extreme, shared evenly among the elements of `x` that equal it (all NaN where it is NaN).
pub(super) fn shared_by_equals(x: &Tensor, y: &Tensor, dy: &Var, kept: Shape) -> Result<Var> {
    let equal = x.eq(&y.reshape(kept)?)?.logical_or(&x.isnan()?)?;
    let count = equal.to_dtype(dy.dtype())?.sum_to(kept)?;
    dy.reshape(kept)?.div(count)?.where_(&equal, 0.0)
}

impl Var {
    /// The sum over some dims; see [`Tensor::sum`].
    ///
    /// Gradient: `dy` to every element.
    ///
    /// ```
    /// # use chainrule_autograd::value_and_grad;
    /// # use chainrule_tensor::{Device, Tensor};
    /// let x = Tensor::new([1.0f64, 2.0, 3.0], &Device::Cpu)?;
    /// let (y, dx) = value_and_grad(|x| x[0].sum(0, false), &[x])?;
    /// assert_eq!((y.item::<f64>()?, dx[0].to_vec::<f64>()?), (6.0, vec![1.0; 3]));
    /// # Ok::<(), chainrule_tensor::Error>(())
    /// ```
    #[track_caller]
    pub fn sum(&self, dims: impl Into<Dims>, keepdim: bool) -> Result<Var> {
        let (shape, dims) = (*self.shape(), dims.into());
        let kept = kept_shape(&shape, &dims);
        let rule = move |pull: &Pull<'_>| Ok([pull.when(0, || pull.dy()?.reshape(kept)?.expand(shape))?]);
        record("sum", [self], |[x]| x.sum(dims, keepdim), rule)
    }

    /// The mean over some dims; see [`Tensor::mean`].
    ///
    /// Gradient: `dy / n` to every element.
    ///
    /// ```
    /// # use chainrule_autograd::value_and_grad;
    /// # use chainrule_tensor::{Device, Tensor};
    /// let x = Tensor::new([1.0f64, 3.0], &Device::Cpu)?;
    /// let (y, dx) = value_and_grad(|x| x[0].mean(0, false), &[x])?;
    /// assert_eq!((y.item::<f64>()?, dx[0].to_vec::<f64>()?), (2.0, vec![0.5; 2]));
    /// # Ok::<(), chainrule_tensor::Error>(())
    /// ```
    #[track_caller]
    pub fn mean(&self, dims: impl Into<Dims>, keepdim: bool) -> Result<Var> {
        let (shape, dims) = (*self.shape(), dims.into());
        let kept = kept_shape(&shape, &dims);
        let scale = kept.elements() as f64 / shape.elements() as f64;
        let rule = move |pull: &Pull<'_>| Ok([pull.when(0, || pull.dy()?.mul(scale)?.reshape(kept)?.expand(shape))?]);
        record("mean", [self], |[x]| x.mean(dims, keepdim), rule)
    }

    /// The product over some dims; see [`Tensor::prod`].
    ///
    /// Gradient: `dy` times the product of all other elements, which is found without division: it is right for any
    /// number of zeros, in every order.
    ///
    /// ```
    /// # use chainrule_autograd::value_and_grad;
    /// # use chainrule_tensor::{Device, Tensor};
    /// let x = Tensor::new([2.0f64, 3.0, 0.0], &Device::Cpu)?;
    /// let (y, dx) = value_and_grad(|x| x[0].prod(0, false), &[x])?;
    /// assert_eq!((y.item::<f64>()?, dx[0].to_vec::<f64>()?), (0.0, vec![0.0, 0.0, 6.0]));
    /// # Ok::<(), chainrule_tensor::Error>(())
    /// ```
    #[track_caller]
    pub fn prod(&self, dims: impl Into<Dims>, keepdim: bool) -> Result<Var> {
        let (shape, dims) = (*self.shape(), dims.into());
        let kept = kept_shape(&shape, &dims);
        let x = self.save();
        let rule =
            move |pull: &Pull<'_>| Ok([pull.when(0, || pull.dy()?.reshape(kept)?.mul(pull.var(&x).others(kept)?))?]);
        record("prod", [self], |[x]| x.prod(dims, keepdim), rule)
    }

    /// For each element the product of the others that are reduced with it, where `kept` is the reduced shape.
    fn others(&self, kept: Shape) -> Result<Var> {
        let shape = *self.shape();
        let (mut order, reduced): (Vec<usize>, Vec<usize>) =
            (0..shape.rank()).partition(|&dim| kept[dim] == shape[dim]);
        let outer: Vec<usize> = order.iter().map(|&dim| shape[dim]).collect();
        order.extend(&reduced);
        // The reduced dims come last and become one.
        let n = reduced.iter().map(|&dim| shape[dim]).product::<usize>();
        let rows = self.permute(order.iter().map(|&dim| dim as isize).collect::<Vec<_>>())?;
        let permuted = *rows.shape();
        let rows = rows.reshape([outer, vec![n]].concat())?;
        let others = rows.product_before(-1)?.mul(rows.flip(-1)?.product_before(-1)?.flip(-1)?)?;
        let mut back = vec![0isize; order.len()];
        order.iter().enumerate().for_each(|(to, &from)| back[from] = to as isize);
        others.reshape(permuted)?.permute(back)
    }

    /// The greatest element over some dims; see [`Tensor::max`].
    ///
    /// Gradient: `dy`, shared evenly among equal greatest elements, as `torch.amax` does.
    ///
    /// ```
    /// # use chainrule_autograd::value_and_grad;
    /// # use chainrule_tensor::{Device, Tensor};
    /// let x = Tensor::new([1.0f64, 3.0, 3.0], &Device::Cpu)?;
    /// let (y, dx) = value_and_grad(|x| x[0].max(0, false), &[x])?;
    /// assert_eq!((y.item::<f64>()?, dx[0].to_vec::<f64>()?), (3.0, vec![0.0, 0.5, 0.5]));
    /// # Ok::<(), chainrule_tensor::Error>(())
    /// ```
    #[track_caller]
    pub fn max(&self, dims: impl Into<Dims>, keepdim: bool) -> Result<Var> {
        self.extreme("max", dims.into(), |x, dims| x.max(dims, keepdim))
    }

    /// The least element over some dims; see [`Tensor::min`].
    ///
    /// Gradient: `dy`, shared evenly among equal least elements, as `torch.amin` does.
    ///
    /// ```
    /// # use chainrule_autograd::value_and_grad;
    /// # use chainrule_tensor::{Device, Tensor};
    /// let x = Tensor::new([1.0f64, 3.0, 3.0], &Device::Cpu)?;
    /// let (y, dx) = value_and_grad(|x| x[0].min(0, false), &[x])?;
    /// assert_eq!((y.item::<f64>()?, dx[0].to_vec::<f64>()?), (1.0, vec![1.0, 0.0, 0.0]));
    /// # Ok::<(), chainrule_tensor::Error>(())
    /// ```
    #[track_caller]
    pub fn min(&self, dims: impl Into<Dims>, keepdim: bool) -> Result<Var> {
        self.extreme("min", dims.into(), |x, dims| x.min(dims, keepdim))
    }

    #[track_caller]
    fn extreme(
        &self,
        op: &'static str,
        dims: Dims,
        forward: impl FnOnce(&Tensor, Dims) -> Result<Tensor>,
    ) -> Result<Var> {
        let kept = kept_shape(self.shape(), &dims);
        let x = self.value().clone();
        let rule =
            move |pull: &Pull<'_>| Ok([pull.when(0, || shared_by_equals(&x, pull.y()?.value(), pull.dy()?, kept))?]);
        record_keeping_output(op, [self], |[x]| forward(x, dims), rule)
    }

    /// The greatest element along a dim, and its index; see [`Tensor::max_with_index`].
    ///
    /// Gradient: `dy` to the element chosen.
    ///
    /// ```
    /// # use chainrule_autograd::value_and_grad;
    /// # use chainrule_tensor::{Device, Tensor};
    /// let x = Tensor::new([1.0f64, 3.0, 3.0], &Device::Cpu)?;
    /// let (y, dx) = value_and_grad(|x| Ok(x[0].max_with_index(0, false)?.0), &[x])?;
    /// assert_eq!((y.item::<f64>()?, dx[0].to_vec::<f64>()?), (3.0, vec![0.0, 1.0, 0.0]));
    /// # Ok::<(), chainrule_tensor::Error>(())
    /// ```
    #[track_caller]
    pub fn max_with_index(&self, dim: isize, keepdim: bool) -> Result<(Var, Tensor)> {
        self.at_index("max_with_index", self.value().max_with_index(dim, keepdim), dim)
    }

    /// The least element along a dim, and its index; see [`Tensor::min_with_index`].
    ///
    /// Gradient: `dy` to the element chosen.
    ///
    /// ```
    /// # use chainrule_autograd::value_and_grad;
    /// # use chainrule_tensor::{Device, Tensor};
    /// let x = Tensor::new([1.0f64, 3.0, 1.0], &Device::Cpu)?;
    /// let (y, dx) = value_and_grad(|x| Ok(x[0].min_with_index(0, false)?.0), &[x])?;
    /// assert_eq!((y.item::<f64>()?, dx[0].to_vec::<f64>()?), (1.0, vec![1.0, 0.0, 0.0]));
    /// # Ok::<(), chainrule_tensor::Error>(())
    /// ```
    #[track_caller]
    pub fn min_with_index(&self, dim: isize, keepdim: bool) -> Result<(Var, Tensor)> {
        self.at_index("min_with_index", self.value().min_with_index(dim, keepdim), dim)
    }

    /// Records an extreme along a dim as a gather of what was found.
    #[track_caller]
    fn at_index(&self, op: &'static str, found: Result<(Tensor, Tensor)>, dim: isize) -> Result<(Var, Tensor)> {
        let location = std::panic::Location::caller();
        let (values, index) = found.map_err(|error| crate::record::locate(error, op, &[self], location))?;
        let shape = *self.shape();
        let kept = kept_shape(&shape, &dim.into());
        let chosen = index.reshape(kept)?;
        let rule =
            move |pull: &Pull<'_>| Ok([pull.when(0, || pull.dy()?.reshape(kept)?.placed_at(dim, &chosen, shape))?]);
        Ok((record(op, [self], |_| Ok(values), rule)?, index))
    }

    /// The index of the greatest element; see [`Tensor::argmax`].
    ///
    /// ```
    /// # use chainrule_autograd::Var;
    /// # use chainrule_tensor::{Device, Tensor};
    /// let x = Var::from(Tensor::new([1.0f64, 3.0, 3.0], &Device::Cpu)?);
    /// assert_eq!(x.argmax(0, false)?.item::<i64>()?, 1);
    /// # Ok::<(), chainrule_tensor::Error>(())
    /// ```
    #[track_caller]
    pub fn argmax(&self, dims: impl Into<Dims>, keepdim: bool) -> Result<Tensor> {
        self.value().argmax(dims, keepdim)
    }

    /// The index of the least element; see [`Tensor::argmin`].
    ///
    /// ```
    /// # use chainrule_autograd::Var;
    /// # use chainrule_tensor::{Device, Tensor};
    /// let x = Var::from(Tensor::new([1.0f64, 3.0, 3.0], &Device::Cpu)?);
    /// assert_eq!(x.argmin(0, false)?.item::<i64>()?, 0);
    /// # Ok::<(), chainrule_tensor::Error>(())
    /// ```
    #[track_caller]
    pub fn argmin(&self, dims: impl Into<Dims>, keepdim: bool) -> Result<Tensor> {
        self.value().argmin(dims, keepdim)
    }

    /// Whether any element is true; see [`Tensor::any`].
    ///
    /// ```
    /// # use chainrule_autograd::Var;
    /// # use chainrule_tensor::{Device, Tensor};
    /// let x = Var::from(Tensor::new([0.0f64, 3.0], &Device::Cpu)?);
    /// assert!(x.any(0, false)?.item::<bool>()?);
    /// # Ok::<(), chainrule_tensor::Error>(())
    /// ```
    #[track_caller]
    pub fn any(&self, dims: impl Into<Dims>, keepdim: bool) -> Result<Tensor> {
        self.value().any(dims, keepdim)
    }

    /// Whether all elements are true; see [`Tensor::all`].
    ///
    /// ```
    /// # use chainrule_autograd::Var;
    /// # use chainrule_tensor::{Device, Tensor};
    /// let x = Var::from(Tensor::new([0.0f64, 3.0], &Device::Cpu)?);
    /// assert!(!x.all(0, false)?.item::<bool>()?);
    /// # Ok::<(), chainrule_tensor::Error>(())
    /// ```
    #[track_caller]
    pub fn all(&self, dims: impl Into<Dims>, keepdim: bool) -> Result<Tensor> {
        self.value().all(dims, keepdim)
    }
}

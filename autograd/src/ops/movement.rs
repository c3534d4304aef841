//! Views and their adjoints. Reading through a view and writing through it are each other's gradient.

use std::sync::Arc;

use chainrule_tensor::{DType, Device, Dims, Error, Result, Shape, Sizes, Slice, Tensor};

use crate::Var;
use crate::record::record;

/// A view as a function of the tensor seen.
type View = Arc<dyn Fn(&Tensor) -> Result<Tensor> + Send + Sync>;

impl Var {
    /// An op that picks elements, each at most once.
    #[track_caller]
    fn view(&self, op: &'static str, view: View) -> Result<Var> {
        let shape = *self.shape();
        let back = view.clone();
        let rule =
            move |pull: &crate::Pull<'_>| Ok([pull.when(0, || pull.dy()?.place_through(op, shape, back.clone()))?]);
        record(op, [self], |[x]| view(x), rule)
    }

    /// The adjoint of a view: zeros of `shape` with these elements at the places that the view shows.
    #[track_caller]
    fn place_through(&self, op: &'static str, shape: Shape, view: View) -> Result<Var> {
        let back = view.clone();
        let rule = move |pull: &crate::Pull<'_>| Ok([pull.when(0, || pull.dy()?.view(op, back.clone()))?]);
        record(op, [self], |[dy]| dy.place_through(shape, &*view), rule)
    }

    /// This value under another place on the tape.
    #[track_caller]
    pub(crate) fn identity(&self) -> Result<Var> {
        record("identity", [self], |[x]| Ok(x.clone()), |pull| Ok([pull.when(0, || Ok(pull.dy()?.clone()))?]))
    }

    /// The same value; `hook` sees the gradient that arrives here and may replace it by one of the same shape.
    ///
    /// # Errors
    /// What the hook reports, in the backward pass.
    ///
    /// ```
    /// # use chainrule_autograd::Tape;
    /// # use chainrule_tensor::{Device, Tensor};
    /// let tape = Tape::new();
    /// let x = tape.leaf(Tensor::new([1.0f64, 2.0], &Device::Cpu)?);
    /// let y = x.with_hook(|dy| dy.mul(10.0))?.sum(.., false)?;
    /// assert_eq!(y.backward()?.get(&x)?.to_vec::<f64>()?, [10.0, 10.0]);
    /// # Ok::<(), chainrule_tensor::Error>(())
    /// ```
    ///
    /// Source: `torch.Tensor.register_hook`.
    #[track_caller]
    pub fn with_hook(&self, hook: impl Fn(&Var) -> Result<Var> + Send + Sync + 'static) -> Result<Var> {
        record("hook", [self], |[x]| Ok(x.clone()), move |pull| Ok([pull.when(0, || hook(pull.dy()?))?]))
    }

    /// Row-major elements; see [`Tensor::contiguous`].
    ///
    /// ```
    /// # use chainrule_autograd::value_and_grad;
    /// # use chainrule_tensor::{Device, Tensor};
    /// let x = Tensor::new([1.0f64, 2.0, 3.0], &Device::Cpu)?;
    /// let (y, dx) = value_and_grad(|x| x[0].contiguous()?.sum(.., false), &[x])?;
    /// assert_eq!((y.item::<f64>()?, dx[0].to_vec::<f64>()?), (6.0, vec![1.0; 3]));
    /// # Ok::<(), chainrule_tensor::Error>(())
    /// ```
    #[track_caller]
    pub fn contiguous(&self) -> Result<Var> {
        record("contiguous", [self], |[x]| x.contiguous(), |pull| Ok([pull.when(0, || Ok(pull.dy()?.clone()))?]))
    }

    /// Another dtype; see [`Tensor::to_dtype`]. The gradient is cast back; from or to integers there is none.
    ///
    /// # Errors
    /// A tracked variable cast to an integer dtype: `detach` it first.
    ///
    /// ```
    /// # use chainrule_autograd::value_and_grad;
    /// # use chainrule_tensor::{DType, Device, Tensor};
    /// let x = Tensor::new([1.0f64, 2.0], &Device::Cpu)?;
    /// let (y, dx) = value_and_grad(|x| x[0].to_dtype(DType::F32)?.sum(.., false), &[x])?;
    /// assert_eq!((y.dtype(), dx[0].dtype()), (DType::F32, DType::F64));
    /// # Ok::<(), chainrule_tensor::Error>(())
    /// ```
    #[track_caller]
    pub fn to_dtype(&self, dtype: DType) -> Result<Var> {
        if self.is_tracked() && !dtype.is_float() {
            let message = format!("a tracked {} cannot become {dtype}, which has no gradient: detach it", self.dtype());
            return Err(Error::dtype("to_dtype", message));
        }
        let from = self.dtype();
        let rule = move |pull: &crate::Pull<'_>| Ok([pull.when(0, || pull.dy()?.to_dtype(from))?]);
        record("to_dtype", [self], |[x]| x.to_dtype(dtype), rule)
    }

    /// Another device; see [`Tensor::to_device`].
    ///
    /// ```
    /// # use chainrule_autograd::value_and_grad;
    /// # use chainrule_tensor::{Device, Tensor};
    /// let x = Tensor::new([1.0f64, 2.0, 3.0], &Device::Cpu)?;
    /// let (y, dx) = value_and_grad(|x| x[0].to_device(&Device::Cpu)?.sum(.., false), &[x])?;
    /// assert_eq!((y.item::<f64>()?, dx[0].to_vec::<f64>()?), (6.0, vec![1.0; 3]));
    /// # Ok::<(), chainrule_tensor::Error>(())
    /// ```
    #[track_caller]
    pub fn to_device(&self, device: &Device) -> Result<Var> {
        let from = self.device();
        let rule = move |pull: &crate::Pull<'_>| Ok([pull.when(0, || pull.dy()?.to_device(&from))?]);
        record("to_device", [self], |[x]| x.to_device(device), rule)
    }

    /// Other sizes; see [`Tensor::reshape`].
    ///
    /// ```
    /// # use chainrule_autograd::value_and_grad;
    /// # use chainrule_tensor::{Device, Tensor};
    /// let x = Tensor::new([[1.0f64, 2.0], [3.0, 4.0]], &Device::Cpu)?;
    /// let (y, dx) = value_and_grad(|x| x[0].reshape([4])?.select(0, 2), &[x])?;
    /// assert_eq!((y.item::<f64>()?, dx[0].to_vec::<f64>()?), (3.0, vec![0.0, 0.0, 1.0, 0.0]));
    /// # Ok::<(), chainrule_tensor::Error>(())
    /// ```
    #[track_caller]
    pub fn reshape(&self, shape: impl Sizes) -> Result<Var> {
        let from = *self.shape();
        let rule = move |pull: &crate::Pull<'_>| Ok([pull.when(0, || pull.dy()?.reshape(from))?]);
        record("reshape", [self], |[x]| x.reshape(shape), rule)
    }

    /// Dims `start..=end` merged; see [`Tensor::flatten`].
    ///
    /// ```
    /// # use chainrule_autograd::value_and_grad;
    /// # use chainrule_tensor::{Device, Tensor};
    /// let x = Tensor::new([[1.0f64, 2.0], [3.0, 4.0]], &Device::Cpu)?;
    /// let (y, dx) = value_and_grad(|x| x[0].flatten(0, 1)?.select(0, 2), &[x])?;
    /// assert_eq!((y.item::<f64>()?, dx[0].to_vec::<f64>()?), (3.0, vec![0.0, 0.0, 1.0, 0.0]));
    /// # Ok::<(), chainrule_tensor::Error>(())
    /// ```
    #[track_caller]
    pub fn flatten(&self, start: isize, end: isize) -> Result<Var> {
        let from = *self.shape();
        let rule = move |pull: &crate::Pull<'_>| Ok([pull.when(0, || pull.dy()?.reshape(from))?]);
        record("flatten", [self], |[x]| x.flatten(start, end), rule)
    }

    /// Dims of size 1 removed; see [`Tensor::squeeze`].
    ///
    /// ```
    /// # use chainrule_autograd::value_and_grad;
    /// # use chainrule_tensor::{Device, Tensor};
    /// let x = Tensor::new([[1.0f64, 2.0]], &Device::Cpu)?;
    /// let (y, dx) = value_and_grad(|x| x[0].squeeze(0)?.select(0, 1), &[x])?;
    /// assert_eq!((y.item::<f64>()?, dx[0].to_vec::<f64>()?), (2.0, vec![0.0, 1.0]));
    /// # Ok::<(), chainrule_tensor::Error>(())
    /// ```
    #[track_caller]
    pub fn squeeze(&self, dims: impl Into<Dims>) -> Result<Var> {
        let (from, dims) = (*self.shape(), dims.into());
        let rule = move |pull: &crate::Pull<'_>| Ok([pull.when(0, || pull.dy()?.reshape(from))?]);
        record("squeeze", [self], |[x]| x.squeeze(dims), rule)
    }

    /// A new dim of size 1; see [`Tensor::unsqueeze`].
    ///
    /// ```
    /// # use chainrule_autograd::value_and_grad;
    /// # use chainrule_tensor::{Device, Tensor};
    /// let x = Tensor::new([1.0f64, 2.0], &Device::Cpu)?;
    /// let (y, dx) = value_and_grad(|x| x[0].unsqueeze(0)?.select(1, 1)?.sum(.., false), &[x])?;
    /// assert_eq!((y.item::<f64>()?, dx[0].to_vec::<f64>()?), (2.0, vec![0.0, 1.0]));
    /// # Ok::<(), chainrule_tensor::Error>(())
    /// ```
    #[track_caller]
    pub fn unsqueeze(&self, dim: isize) -> Result<Var> {
        let from = *self.shape();
        let rule = move |pull: &crate::Pull<'_>| Ok([pull.when(0, || pull.dy()?.reshape(from))?]);
        record("unsqueeze", [self], |[x]| x.unsqueeze(dim), rule)
    }

    /// The dims in another order; see [`Tensor::permute`].
    ///
    /// ```
    /// # use chainrule_autograd::value_and_grad;
    /// # use chainrule_tensor::{Device, Tensor};
    /// let x = Tensor::new([[1.0f64, 2.0], [3.0, 4.0]], &Device::Cpu)?;
    /// let (y, dx) = value_and_grad(|x| x[0].permute([1, 0])?.select(0, 1)?.sum(.., false), &[x])?;
    /// assert_eq!((y.item::<f64>()?, dx[0].to_vec::<f64>()?), (6.0, vec![0.0, 1.0, 0.0, 1.0]));
    /// # Ok::<(), chainrule_tensor::Error>(())
    /// ```
    #[track_caller]
    pub fn permute(&self, order: impl Into<Dims>) -> Result<Var> {
        let order = match order.into() {
            Dims::Some(order) => order,
            Dims::All => (0..self.rank() as isize).collect(),
        };
        let rank = order.len();
        let mut inverse = vec![0isize; rank];
        for (to, &from) in order.iter().enumerate() {
            // An order that is no permutation is refused by the forward, before this is used.
            if let Some(slot) = inverse.get_mut(from.rem_euclid(rank.max(1) as isize) as usize) {
                *slot = to as isize;
            }
        }
        let rule = move |pull: &crate::Pull<'_>| Ok([pull.when(0, || pull.dy()?.permute(inverse.clone()))?]);
        record("permute", [self], |[x]| x.permute(order), rule)
    }

    /// Two dims exchanged; see [`Tensor::transpose`].
    ///
    /// ```
    /// # use chainrule_autograd::value_and_grad;
    /// # use chainrule_tensor::{Device, Tensor};
    /// let x = Tensor::new([[1.0f64, 2.0], [3.0, 4.0]], &Device::Cpu)?;
    /// let (y, dx) = value_and_grad(|x| x[0].transpose(0, 1)?.select(0, 1)?.sum(.., false), &[x])?;
    /// assert_eq!((y.item::<f64>()?, dx[0].to_vec::<f64>()?), (6.0, vec![0.0, 1.0, 0.0, 1.0]));
    /// # Ok::<(), chainrule_tensor::Error>(())
    /// ```
    #[track_caller]
    pub fn transpose(&self, dim1: isize, dim2: isize) -> Result<Var> {
        let rule = move |pull: &crate::Pull<'_>| Ok([pull.when(0, || pull.dy()?.transpose(dim1, dim2))?]);
        record("transpose", [self], |[x]| x.transpose(dim1, dim2), rule)
    }

    /// Repeated to `shape` without a copy; see [`Tensor::expand`]. The gradient is summed over the repeated dims.
    ///
    /// ```
    /// # use chainrule_autograd::value_and_grad;
    /// # use chainrule_tensor::{Device, Tensor};
    /// let x = Tensor::new([1.0f64, 2.0], &Device::Cpu)?;
    /// let (y, dx) = value_and_grad(|x| x[0].expand([3, 2])?.sum(.., false), &[x])?;
    /// assert_eq!((y.item::<f64>()?, dx[0].to_vec::<f64>()?), (9.0, vec![3.0, 3.0]));
    /// # Ok::<(), chainrule_tensor::Error>(())
    /// ```
    #[track_caller]
    pub fn expand(&self, shape: impl Sizes) -> Result<Var> {
        let from = *self.shape();
        let rule = move |pull: &crate::Pull<'_>| Ok([pull.when(0, || pull.dy()?.sum_to(from))?]);
        record("expand", [self], |[x]| x.expand(shape), rule)
    }

    /// The sum over the dims in which `shape` has size 1 or is missing: the adjoint of [`Var::expand`].
    ///
    /// # Errors
    /// A shape that does not expand to this one.
    ///
    /// ```
    /// # use chainrule_autograd::value_and_grad;
    /// # use chainrule_tensor::{Device, Tensor};
    /// let x = Tensor::new([[1.0f64, 2.0], [3.0, 4.0]], &Device::Cpu)?;
    /// let (y, dx) = value_and_grad(|x| x[0].sum_to([2])?.select(0, 0), &[x])?;
    /// assert_eq!((y.item::<f64>()?, dx[0].to_vec::<f64>()?), (4.0, vec![1.0, 0.0, 1.0, 0.0]));
    /// # Ok::<(), chainrule_tensor::Error>(())
    /// ```
    #[track_caller]
    pub fn sum_to(&self, shape: impl Sizes) -> Result<Var> {
        let (from, to) = (*self.shape(), Shape::new(shape.sizes())?);
        if from == to {
            return Ok(self.clone());
        }
        let rule = move |pull: &crate::Pull<'_>| Ok([pull.when(0, || pull.dy()?.expand(from))?]);
        record("sum_to", [self], |[x]| x.sum_to(to), rule)
    }

    /// Indices `start..start + len` of one dim; see [`Tensor::narrow`].
    ///
    /// ```
    /// # use chainrule_autograd::value_and_grad;
    /// # use chainrule_tensor::{Device, Tensor};
    /// let x = Tensor::new([1.0f64, 2.0, 3.0], &Device::Cpu)?;
    /// let (y, dx) = value_and_grad(|x| x[0].narrow(0, 1, 2)?.sum(.., false), &[x])?;
    /// assert_eq!((y.item::<f64>()?, dx[0].to_vec::<f64>()?), (5.0, vec![0.0, 1.0, 1.0]));
    /// # Ok::<(), chainrule_tensor::Error>(())
    /// ```
    #[track_caller]
    pub fn narrow(&self, dim: isize, start: usize, len: usize) -> Result<Var> {
        self.view("narrow", Arc::new(move |x| x.narrow(dim, start, len)))
    }

    /// A range of one dim; see [`Tensor::slice`].
    ///
    /// ```
    /// # use chainrule_autograd::value_and_grad;
    /// # use chainrule_tensor::{Device, Tensor};
    /// let x = Tensor::new([1.0f64, 2.0, 3.0], &Device::Cpu)?;
    /// let (y, dx) = value_and_grad(|x| x[0].slice(0, ..2)?.sum(.., false), &[x])?;
    /// assert_eq!((y.item::<f64>()?, dx[0].to_vec::<f64>()?), (3.0, vec![1.0, 1.0, 0.0]));
    /// # Ok::<(), chainrule_tensor::Error>(())
    /// ```
    #[track_caller]
    pub fn slice(&self, dim: isize, range: impl Into<Slice>) -> Result<Var> {
        let range = range.into();
        self.view("slice", Arc::new(move |x| x.slice(dim, range)))
    }

    /// One index of one dim; see [`Tensor::select`].
    ///
    /// ```
    /// # use chainrule_autograd::value_and_grad;
    /// # use chainrule_tensor::{Device, Tensor};
    /// let x = Tensor::new([1.0f64, 2.0, 3.0], &Device::Cpu)?;
    /// let (y, dx) = value_and_grad(|x| x[0].select(0, -1), &[x])?;
    /// assert_eq!((y.item::<f64>()?, dx[0].to_vec::<f64>()?), (3.0, vec![0.0, 0.0, 1.0]));
    /// # Ok::<(), chainrule_tensor::Error>(())
    /// ```
    #[track_caller]
    pub fn select(&self, dim: isize, index: isize) -> Result<Var> {
        self.view("select", Arc::new(move |x| x.select(dim, index)))
    }

    /// The dims named, walked backwards; see [`Tensor::flip`].
    ///
    /// ```
    /// # use chainrule_autograd::value_and_grad;
    /// # use chainrule_tensor::{Device, Tensor};
    /// let x = Tensor::new([1.0f64, 2.0, 3.0], &Device::Cpu)?;
    /// let (y, dx) = value_and_grad(|x| x[0].flip(0)?.select(0, 0), &[x])?;
    /// assert_eq!((y.item::<f64>()?, dx[0].to_vec::<f64>()?), (3.0, vec![0.0, 0.0, 1.0]));
    /// # Ok::<(), chainrule_tensor::Error>(())
    /// ```
    #[track_caller]
    pub fn flip(&self, dims: impl Into<Dims>) -> Result<Var> {
        let dims = dims.into();
        let back = dims.clone();
        let rule = move |pull: &crate::Pull<'_>| Ok([pull.when(0, || pull.dy()?.flip(back.clone()))?]);
        record("flip", [self], |[x]| x.flip(dims), rule)
    }

    /// A diagonal of two dims; see [`Tensor::diagonal`].
    ///
    /// ```
    /// # use chainrule_autograd::value_and_grad;
    /// # use chainrule_tensor::{Device, Tensor};
    /// let x = Tensor::new([[1.0f64, 2.0], [3.0, 4.0]], &Device::Cpu)?;
    /// let (y, dx) = value_and_grad(|x| x[0].diagonal(0, 0, 1)?.sum(.., false), &[x])?;
    /// assert_eq!((y.item::<f64>()?, dx[0].to_vec::<f64>()?), (5.0, vec![1.0, 0.0, 0.0, 1.0]));
    /// # Ok::<(), chainrule_tensor::Error>(())
    /// ```
    #[track_caller]
    pub fn diagonal(&self, shift: isize, dim1: isize, dim2: isize) -> Result<Var> {
        self.view("diagonal", Arc::new(move |x| x.diagonal(shift, dim1, dim2)))
    }

    /// Windows along a dim; see [`Tensor::unfold`]. Where windows overlap, their gradients add up.
    ///
    /// ```
    /// # use chainrule_autograd::value_and_grad;
    /// # use chainrule_tensor::{Device, Tensor};
    /// let x = Tensor::new([1.0f64, 2.0, 3.0], &Device::Cpu)?;
    /// let (y, dx) = value_and_grad(|x| x[0].unfold(0, 2, 1)?.sum(.., false), &[x])?;
    /// assert_eq!((y.item::<f64>()?, dx[0].to_vec::<f64>()?), (8.0, vec![1.0, 2.0, 1.0]));
    /// # Ok::<(), chainrule_tensor::Error>(())
    /// ```
    #[track_caller]
    pub fn unfold(&self, dim: isize, size: usize, step: usize) -> Result<Var> {
        self.view("unfold", Arc::new(move |x| x.unfold(dim, size, step)))
    }
}

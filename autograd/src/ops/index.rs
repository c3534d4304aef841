//! Reading and writing by indices. Reading is the adjoint of adding, so each is the other's gradient.

use chainrule_tensor::{Error, Result, Shape, Tensor};

use crate::record::record;
use crate::{Pull, Var};

impl Var {
    /// Zeros of this dtype and device.
    fn zeros_of(&self, shape: Shape) -> Result<Var> {
        Ok(Tensor::zeros(shape, self.dtype(), &self.device())?.into())
    }

    /// Zeros of `shape` with these elements added at the places that the index names along a dim.
    pub(crate) fn placed_at(&self, dim: isize, index: &Tensor, shape: Shape) -> Result<Var> {
        self.zeros_of(shape)?.scatter_add(dim, index, self)
    }

    /// Rows of this matrix by ids of any shape; see [`Tensor::embedding`].
    ///
    /// Gradient: each `dy` row added to the row it came from.
    ///
    /// ```
    /// # use chainrule_autograd::value_and_grad;
    /// # use chainrule_tensor::{Device, Tensor};
    /// let x = Tensor::new([[1.0f64, 2.0], [3.0, 4.0]], &Device::Cpu)?;
    /// let index = Tensor::new([1u32, 1], &Device::Cpu)?;
    /// let (y, dx) = value_and_grad(|x| x[0].embedding(&index)?.sum(.., false), &[x])?;
    /// assert_eq!((y.item::<f64>()?, dx[0].to_vec::<f64>()?), (14.0, vec![0.0, 0.0, 2.0, 2.0]));
    /// # Ok::<(), chainrule_tensor::Error>(())
    /// ```
    #[track_caller]
    pub fn embedding(&self, ids: &Tensor) -> Result<Var> {
        self.embedding_with(ids, None)
    }

    /// As [`Var::embedding`], but the row `padding_idx` gets no gradient.
    ///
    /// # Errors
    /// As [`Tensor::embedding`]; a `padding_idx` that is no row.
    ///
    /// ```
    /// # use chainrule_autograd::value_and_grad;
    /// # use chainrule_tensor::{Device, Tensor};
    /// let x = Tensor::new([[1.0f64, 2.0], [3.0, 4.0]], &Device::Cpu)?;
    /// let index = Tensor::new([1u32, 0], &Device::Cpu)?;
    /// let (y, dx) = value_and_grad(|x| x[0].embedding_with(&index, Some(0))?.sum(.., false), &[x])?;
    /// assert_eq!((y.item::<f64>()?, dx[0].to_vec::<f64>()?), (10.0, vec![0.0, 0.0, 1.0, 1.0]));
    /// # Ok::<(), chainrule_tensor::Error>(())
    /// ```
    ///
    /// Source: `torch.nn.functional.embedding` with `padding_idx`.
    #[track_caller]
    pub fn embedding_with(&self, ids: &Tensor, padding_idx: Option<usize>) -> Result<Var> {
        let rows = self.shape().first().copied().unwrap_or(0);
        if let Some(padding) = padding_idx.filter(|&padding| padding >= rows) {
            return Err(Error::index("embedding", format!("padding_idx {padding} is no row of {}", self.shape())));
        }
        let kept = ids.clone();
        let rule =
            move |pull: &Pull<'_>| Ok([pull.when(0, || pull.dy()?.embedding_gradient(&kept, rows, padding_idx))?]);
        record("embedding", [self], |[weight]| weight.embedding(ids), rule)
    }

    /// The gradient of an embedding's weight as an op on `dy`, whose own gradient is the embedding again.
    fn embedding_gradient(&self, ids: &Tensor, rows: usize, padding: Option<usize>) -> Result<Var> {
        let kept = ids.clone();
        let rule = move |pull: &Pull<'_>| {
            let back = || {
                let picked = pull.dy()?.embedding_with(&kept, padding)?;
                match padding {
                    Some(padding) => picked.masked_fill(&kept.eq(padding as i64)?.unsqueeze(-1)?, 0.0),
                    None => Ok(picked),
                }
            };
            Ok([pull.when(0, back)?])
        };
        record("embedding_backward", [self], |[dy]| dy.embedding_backward(ids, rows, padding), rule)
    }

    /// The slices of a dim that the ids name; see [`Tensor::index_select`].
    ///
    /// Gradient: each slice of `dy` added to the slice it came from.
    ///
    /// ```
    /// # use chainrule_autograd::value_and_grad;
    /// # use chainrule_tensor::{Device, Tensor};
    /// let x = Tensor::new([1.0f64, 2.0, 3.0], &Device::Cpu)?;
    /// let index = Tensor::new([2i64, 0, 2], &Device::Cpu)?;
    /// let (y, dx) = value_and_grad(|x| x[0].index_select(0, &index)?.sum(.., false), &[x])?;
    /// assert_eq!((y.item::<f64>()?, dx[0].to_vec::<f64>()?), (7.0, vec![1.0, 0.0, 2.0]));
    /// # Ok::<(), chainrule_tensor::Error>(())
    /// ```
    #[track_caller]
    pub fn index_select(&self, dim: isize, ids: &Tensor) -> Result<Var> {
        let (shape, kept) = (*self.shape(), ids.clone());
        let rule = move |pull: &Pull<'_>| {
            let dy = || pull.dy();
            Ok([pull.when(0, || dy()?.zeros_of(shape)?.index_add(dim, &kept, dy()?))?])
        };
        record("index_select", [self], |[x]| x.index_select(dim, ids), rule)
    }

    /// This variable with slices of `src` added at the ids; see [`Tensor::index_add`].
    ///
    /// Gradient: `dy`, and for `src` the slices of `dy` that the ids name.
    ///
    /// ```
    /// # use chainrule_autograd::value_and_grad;
    /// # use chainrule_tensor::{Device, Tensor};
    /// let [x, src] = [Tensor::new([1.0f64, 2.0, 3.0], &Device::Cpu)?, Tensor::new([10.0f64, 20.0], &Device::Cpu)?];
    /// let index = Tensor::new([2i64, 0], &Device::Cpu)?;
    /// let (y, grads) = value_and_grad(|x| x[0].index_add(0, &index, &x[1])?.sum(.., false), &[x, src])?;
    /// assert_eq!(y.item::<f64>()?, 36.0);
    /// assert_eq!((grads[0].to_vec::<f64>()?, grads[1].to_vec::<f64>()?), (vec![1.0; 3], vec![1.0; 2]));
    /// # Ok::<(), chainrule_tensor::Error>(())
    /// ```
    #[track_caller]
    pub fn index_add(&self, dim: isize, ids: &Tensor, src: &Var) -> Result<Var> {
        let kept = ids.clone();
        let rule = move |pull: &Pull<'_>| {
            let dy = || pull.dy();
            Ok([pull.when(0, || Ok(dy()?.clone()))?, pull.when(1, || dy()?.index_select(dim, &kept))?])
        };
        record("index_add", [self, src], |[x, src]| x.index_add(dim, ids, src), rule)
    }

    /// The elements that an index of the same rank names along a dim; see [`Tensor::gather`].
    ///
    /// Gradient: each `dy` added to the element it came from.
    ///
    /// ```
    /// # use chainrule_autograd::value_and_grad;
    /// # use chainrule_tensor::{Device, Tensor};
    /// let x = Tensor::new([1.0f64, 2.0, 3.0], &Device::Cpu)?;
    /// let index = Tensor::new([2i64, 2], &Device::Cpu)?;
    /// let (y, dx) = value_and_grad(|x| x[0].gather(0, &index)?.sum(.., false), &[x])?;
    /// assert_eq!((y.item::<f64>()?, dx[0].to_vec::<f64>()?), (6.0, vec![0.0, 0.0, 2.0]));
    /// # Ok::<(), chainrule_tensor::Error>(())
    /// ```
    #[track_caller]
    pub fn gather(&self, dim: isize, index: &Tensor) -> Result<Var> {
        let (shape, kept) = (*self.shape(), index.clone());
        let rule = move |pull: &Pull<'_>| Ok([pull.when(0, || pull.dy()?.placed_at(dim, &kept, shape))?]);
        record("gather", [self], |[x]| x.gather(dim, index), rule)
    }

    /// This variable with `src` added at the places that the index names; see [`Tensor::scatter_add`].
    ///
    /// Gradient: `dy`, and for `src` the elements of `dy` that the index names.
    ///
    /// ```
    /// # use chainrule_autograd::value_and_grad;
    /// # use chainrule_tensor::{Device, Tensor};
    /// let [x, src] = [Tensor::new([1.0f64, 2.0, 3.0], &Device::Cpu)?, Tensor::new([10.0f64, 20.0], &Device::Cpu)?];
    /// let index = Tensor::new([2i64, 0], &Device::Cpu)?;
    /// let (y, grads) = value_and_grad(|x| x[0].scatter_add(0, &index, &x[1])?.sum(.., false), &[x, src])?;
    /// assert_eq!(y.item::<f64>()?, 36.0);
    /// assert_eq!((grads[0].to_vec::<f64>()?, grads[1].to_vec::<f64>()?), (vec![1.0; 3], vec![1.0; 2]));
    /// # Ok::<(), chainrule_tensor::Error>(())
    /// ```
    #[track_caller]
    pub fn scatter_add(&self, dim: isize, index: &Tensor, src: &Var) -> Result<Var> {
        let (shape, kept) = (*src.shape(), index.clone());
        let rule = move |pull: &Pull<'_>| {
            Ok([
                pull.when(0, || Ok(pull.dy()?.clone()))?,
                pull.when(1, || pull.dy()?.gather(dim, &kept)?.padded_to(shape))?,
            ])
        };
        record("scatter_add", [self, src], |[x, src]| x.scatter_add(dim, index, src), rule)
    }

    /// This variable with `src` written at the places that the index names; see [`Tensor::scatter`].
    ///
    /// Gradient: `dy` where nothing was written; for `src` the `dy` of the place it was written to and not written over.
    ///
    /// ```
    /// # use chainrule_autograd::value_and_grad;
    /// # use chainrule_tensor::{Device, Tensor};
    /// let [x, src] = [Tensor::new([1.0f64, 2.0, 3.0], &Device::Cpu)?, Tensor::new([10.0f64, 20.0], &Device::Cpu)?];
    /// let index = Tensor::new([2i64, 0], &Device::Cpu)?;
    /// let (y, grads) = value_and_grad(|x| x[0].scatter(0, &index, &x[1])?.sum(.., false), &[x, src])?;
    /// assert_eq!(y.item::<f64>()?, 32.0);
    /// assert_eq!((grads[0].to_vec::<f64>()?, grads[1].to_vec::<f64>()?), (vec![0.0, 1.0, 0.0], vec![1.0; 2]));
    /// # Ok::<(), chainrule_tensor::Error>(())
    /// ```
    #[track_caller]
    pub fn scatter(&self, dim: isize, index: &Tensor, src: &Var) -> Result<Var> {
        let (shape, kept) = (*src.shape(), index.clone());
        let rule = move |pull: &Pull<'_>| {
            let dy = pull.dy()?;
            let unwritten = || {
                let zeros = dy.zeros_of(*kept.shape())?;
                dy.scatter(dim, &kept, &zeros)
            };
            let written = || {
                let lost = overwritten(dim, &kept, dy.value())?;
                dy.gather(dim, &kept)?.masked_fill(&lost, 0.0)?.padded_to(shape)
            };
            Ok([pull.when(0, unwritten)?, pull.when(1, written)?])
        };
        record("scatter", [self, src], |[x, src]| x.scatter(dim, index, src), rule)
    }

    /// The elements where `mask` is true, as one dim; see [`Tensor::masked_select`].
    ///
    /// Gradient: each `dy` to the element it came from.
    ///
    /// ```
    /// # use chainrule_autograd::value_and_grad;
    /// # use chainrule_tensor::{Device, Tensor};
    /// let x = Tensor::new([1.0f64, 2.0, 3.0], &Device::Cpu)?;
    /// let index = Tensor::new([true, false, true], &Device::Cpu)?;
    /// let (y, dx) = value_and_grad(|x| x[0].masked_select(&index)?.sum(.., false), &[x])?;
    /// assert_eq!((y.item::<f64>()?, dx[0].to_vec::<f64>()?), (4.0, vec![1.0, 0.0, 1.0]));
    /// # Ok::<(), chainrule_tensor::Error>(())
    /// ```
    #[track_caller]
    pub fn masked_select(&self, mask: &Tensor) -> Result<Var> {
        let (shape, kept) = (*self.shape(), mask.clone());
        let rule = move |pull: &Pull<'_>| {
            let placed = || {
                let dy = pull.dy()?;
                let all = Shape::broadcast("masked_select", &shape, kept.shape())?;
                let places = kept.expand(all)?.reshape([all.elements()])?.nonzero()?.reshape([dy.elements()])?;
                dy.placed_at(0, &places, Shape::new(&[all.elements()])?)?.reshape(all)?.sum_to(shape)
            };
            Ok([pull.when(0, placed)?])
        };
        record("masked_select", [self], |[x]| x.masked_select(mask), rule)
    }

    /// Zeros added at the end of each dim.
    fn padded_to(&self, shape: Shape) -> Result<Var> {
        if *self.shape() == shape {
            return Ok(self.clone());
        }
        if self.elements() == shape.elements() {
            return self.reshape(shape);
        }
        let pads: Vec<(isize, isize)> =
            shape.iter().zip(&self.shape()[..]).rev().map(|(&to, &from)| (0, to as isize - from as isize)).collect();
        self.pad(&pads, 0.0)
    }
}

/// True for elements of an index into `y` that a later one writes over.
fn overwritten(dim: isize, index: &Tensor, y: &Tensor) -> Result<Tensor> {
    let order = Tensor::arange(0, index.elements() as i64, 1, &index.device())?.reshape(index.shape())?;
    let places = Tensor::zeros(y.shape(), order.dtype(), &y.device())?.scatter(dim, index, &order)?;
    places.gather(dim, index)?.ne(&order)
}

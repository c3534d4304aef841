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
    #[track_caller]
    pub fn embedding(&self, ids: &Tensor) -> Result<Var> {
        self.embedding_with(ids, None)
    }

    /// As [`Var::embedding`], but the row `padding_idx` gets no gradient.
    ///
    /// # Errors
    /// As [`Tensor::embedding`]; a `padding_idx` that is no row.
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
    #[track_caller]
    pub fn gather(&self, dim: isize, index: &Tensor) -> Result<Var> {
        let (shape, kept) = (*self.shape(), index.clone());
        let rule = move |pull: &Pull<'_>| Ok([pull.when(0, || pull.dy()?.placed_at(dim, &kept, shape))?]);
        record("gather", [self], |[x]| x.gather(dim, index), rule)
    }

    /// This variable with `src` added at the places that the index names; see [`Tensor::scatter_add`].
    ///
    /// Gradient: `dy`, and for `src` the elements of `dy` that the index names.
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

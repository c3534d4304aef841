//! The table of vectors for ids.

use chainrule_autograd::{Param, Var};
use chainrule_tensor::{Error, Result, Rng, Tensor};

use crate::{Module, init};

/// `y[..., :] = weight[id[...], :]`: ids of any shape and integer dtype to vectors of `width`.
///
/// Source: `torch.nn.Embedding`.
#[derive(Clone, Debug, Module)]
pub struct Embedding {
    /// `[count, width]`
    pub weight: Param,
    /// The id whose vector gets no gradient.
    pub padding_idx: Option<usize>,
}

impl Embedding {
    /// `count` vectors from the standard normal distribution, PyTorch's default.
    ///
    /// # Errors
    /// Sizes that are too large.
    #[track_caller]
    pub fn new(count: usize, width: usize, rng: &mut Rng) -> Result<Embedding> {
        Embedding::normal(count, width, 1.0, rng)
    }

    /// `count` vectors from the normal distribution of deviation `std`.
    ///
    /// # Errors
    /// Sizes that are too large.
    #[track_caller]
    pub fn normal(count: usize, width: usize, std: f64, rng: &mut Rng) -> Result<Embedding> {
        Ok(Embedding { weight: Param::new(init::normal([count, width], 0.0, std, rng)?), padding_idx: None })
    }

    /// The same with the vector of `id` zero and without gradient.
    ///
    /// # Errors
    /// An id that the table does not have.
    #[track_caller]
    pub fn with_padding(mut self, id: usize) -> Result<Embedding> {
        let [count, width] = self.weight.dims()?;
        if id >= count {
            return Err(Error::index("Embedding::with_padding", format!("padding id {id} in a table of {count}")));
        }
        let table = self.weight.tensor();
        let zeros = Tensor::zeros([1, width], table.dtype(), &table.device())?;
        let (before, after) = (table.narrow(0, 0, id)?, table.narrow(0, id + 1, count - id - 1)?);
        self.weight.set(Tensor::cat(&[&before, &zeros, &after], 0)?);
        self.padding_idx = Some(id);
        Ok(self)
    }

    /// The vectors of `ids`: `[...] -> [..., width]`.
    ///
    /// # Errors
    /// An id that the table does not have, or ids that are no integers.
    #[track_caller]
    pub fn forward(&self, ids: &Tensor) -> Result<Var> {
        self.weight.embedding_with(ids, self.padding_idx)
    }
}

//! Dropout with a given random stream.

use chainrule_kernels::{Stream, dropout};

use crate::{Error, Result, Tensor};

impl Tensor {
    /// `y[i] = x[i] / (1 - p)` with probability `1 - p`, else 0, as the numbers of `stream` say.
    ///
    /// Element i (row-major) is kept where number i of the stream, in [0, 1), is below 1 - p, so the same stream drops the same
    /// elements: applied to dy this is the gradient. Computed in f32, of f64 in f64. Dropped elements are 0 even where x
    /// is infinite or NaN.
    ///
    /// # Errors
    /// A probability outside 0 to 1, or a dtype that is no float.
    ///
    /// # Differences
    /// PyTorch multiplies by the mask, so a dropped NaN stays NaN.
    ///
    /// ```
    /// use chainrule_tensor::{Device, Rng, Tensor};
    /// let x = Tensor::new([1.0f32, 2.0, 3.0], &Device::Cpu)?;
    /// let stream = Rng::seed(0).next_stream();
    /// assert_eq!(x.dropout(1.0, stream)?.to_vec::<f32>()?, [0.0, 0.0, 0.0]);
    /// assert!(x.dropout(0.5, stream)?.to_vec::<f32>()?.iter().all(|&y| y == 0.0 || y % 2.0 == 0.0));
    /// # Ok::<(), chainrule_tensor::Error>(())
    /// ```
    ///
    /// Source: `torch.nn.functional.dropout`.
    #[track_caller]
    pub fn dropout(&self, p: f64, stream: Stream) -> Result<Tensor> {
        check_probability("dropout", p)?;
        if !self.dtype().is_float() {
            return Err(Error::dtype("dropout", format!("is not defined for {}", self.dtype())));
        }
        let x = self.contiguous()?;
        Tensor::build(&self.device(), self.dtype(), *self.shape(), |y| {
            dropout::dropout((x.buffer(), x.layout().offset()), p, stream, y)
        })
    }
}

/// Refuses what is no probability, NaN too.
#[track_caller]
pub(crate) fn check_probability(op: &'static str, p: f64) -> Result<()> {
    if (0.0..=1.0).contains(&p) {
        return Ok(());
    }
    Err(Error::argument(op, format!("the dropout probability is {p}, expected 0 to 1")))
}

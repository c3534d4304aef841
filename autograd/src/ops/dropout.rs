//! Dropout, with the random numbers of the tape.

use chainrule_tensor::{Error, Result, Stream};

use crate::record::record;
use crate::{Pull, Var};

impl Var {
    /// On a training tape, zeros with probability `p` and `x / (1 - p)` else; elsewhere this variable itself.
    ///
    /// The random numbers are the next stream of the tape's source: the same seed drops the same elements on every
    /// device. See [`chainrule_tensor::Tensor::dropout`].
    ///
    /// Gradient: `dy / (1 - p)` where the element was kept, else 0. No mask is kept for it.
    ///
    /// # Errors
    /// A probability outside 0 to 1.
    ///
    /// ```
    /// # use chainrule_autograd::{Tape, Var};
    /// # use chainrule_tensor::{DType, Device, Rng, Tensor};
    /// let tape = Tape::training(Rng::seed(1));
    /// let x = tape.leaf(Tensor::ones([1000], DType::F32, &Device::Cpu)?);
    /// let y = x.dropout(0.25)?;
    /// let dropped = y.to_vec::<f32>()?.iter().filter(|&&y| y == 0.0).count();
    /// assert!((200..300).contains(&dropped));
    /// assert_eq!(Var::from(x.detach()).dropout(0.25)?.to_vec::<f32>()?, [1.0; 1000]);
    /// # Ok::<(), chainrule_tensor::Error>(())
    /// ```
    ///
    /// Source: `torch.nn.functional.dropout`.
    #[track_caller]
    pub fn dropout(&self, p: f64) -> Result<Var> {
        if !(0.0..=1.0).contains(&p) {
            return Err(Error::argument("dropout", format!("the dropout probability is {p}, expected 0 to 1")));
        }
        if p == 0.0 {
            return Ok(self.clone());
        }
        let stream = self.tape().and_then(|tape| tape.with_rng(|rng| rng.next_stream()));
        stream.map_or_else(|| Ok(self.clone()), |stream| self.dropout_with(p, stream))
    }

    /// Dropout with a given stream, whatever the tape's mode.
    #[track_caller]
    pub(crate) fn dropout_with(&self, p: f64, stream: Stream) -> Result<Var> {
        let rule = move |pull: &Pull<'_>| Ok([pull.when(0, || pull.dy()?.dropout_with(p, stream))?]);
        record("dropout", [self], |[x]| x.dropout(p, stream), rule)
    }
}

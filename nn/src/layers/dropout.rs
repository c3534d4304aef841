//! Dropout as a layer.

use chainrule_autograd::{Tape, Var};
use chainrule_tensor::{Error, Result};

use crate::Module;

/// Sets elements to zero with probability `p` and scales the others by `1 / (1 - p)`, on a training tape; elsewhere the
/// identity.
#[derive(Clone, Debug, Module)]
pub struct Dropout {
    /// The probability of zero.
    pub p: f64,
}

impl Dropout {
    /// Dropout with probability `p`.
    ///
    /// # Errors
    /// A probability outside 0 to 1.
    #[track_caller]
    pub fn new(p: f64) -> Result<Dropout> {
        if (0.0..=1.0).contains(&p) {
            return Ok(Dropout { p });
        }
        Err(Error::argument("Dropout::new", format!("the probability is {p}, expected 0 to 1")))
    }

    /// `x` with some elements zero.
    ///
    /// # Errors
    /// What the device reports.
    #[track_caller]
    pub fn forward(&self, x: &Var) -> Result<Var> {
        if self.p == 0.0 { Ok(x.clone()) } else { x.dropout(self.p) }
    }

    /// Whether anything may be dropped of what is computed from `x`, which is on a training tape then.
    pub(super) fn drops(&self, x: &Var) -> bool {
        self.p != 0.0 && x.tape().is_some_and(Tape::is_training)
    }
}

//! Cross-entropy of yes-or-no predictions.

use chainrule_tensor::{Reduction, Result, Tensor};

use super::loss::{reduced, same_shape};
use crate::record::record;
use crate::{Pull, Var};

/// The options of [`Var::binary_cross_entropy_with_logits`]; the default is PyTorch's.
#[derive(Clone, Debug, Default)]
pub struct BinaryCrossEntropy {
    /// How the losses of the elements become the result.
    pub reduction: Reduction,
    /// A factor for each element; broadcasts.
    pub weight: Option<Tensor>,
    /// A factor for the share of the target that is yes; broadcasts, commonly `[C]`.
    pub pos_weight: Option<Tensor>,
}

/// Logarithms of probabilities are not taken below this, so that one sure mistake costs no infinite loss.
const LOWEST_LOG: f64 = -100.0;

/// The slope `1 / (p (1 - p))` is not taken of less than this, which PyTorch keeps as an f32.
const SMALLEST_VARIANCE: f64 = 1e-12f32 as f64;

/// `ln p` and `ln (1 - p)`.
fn logs(p: &Var) -> Result<[Var; 2]> {
    Ok([p.log()?.maximum(LOWEST_LOG)?, p.neg()?.log1p()?.maximum(LOWEST_LOG)?])
}

/// The losses of the elements times their weights, reduced.
#[track_caller]
fn weighted(losses: Var, weight: Option<&Tensor>, reduction: Reduction) -> Result<Var> {
    let losses = weight.map_or(Ok(losses.clone()), |weight| losses.mul(weight))?;
    reduced(losses, reduction)
}

impl Var {
    /// Cross-entropy of probabilities (this variable) with targets from 0 to 1, reduced:
    /// `-weight (target ln p + (1 - target) ln (1 - p))`, with logarithms clamped at -100.
    ///
    /// Where the probabilities are sigmoids, [`Var::binary_cross_entropy_with_logits`] loses no digits.
    /// Gradient: `weight (p - target) / max(p (1 - p), 1e-12)`, and for the target `weight (ln (1 - p) - ln p)`.
    ///
    /// # Errors
    /// A target of another shape, a weight that does not broadcast.
    ///
    /// ```
    /// use chainrule_autograd::Var;
    /// use chainrule_tensor::{Device, Reduction, Tensor};
    /// let p = Var::from(Tensor::new([0.5f64, 1.0], &Device::Cpu)?);
    /// let target = Tensor::new([1.0f64, 0.0], &Device::Cpu)?;
    /// let losses = p.binary_cross_entropy(&target, None, Reduction::None)?;
    /// assert_eq!(losses.to_vec::<f64>()?, [2f64.ln(), 100.0]);
    /// # Ok::<(), chainrule_tensor::Error>(())
    /// ```
    ///
    /// # Differences
    /// A probability outside 0 to 1 gives NaN; PyTorch refuses it.
    ///
    /// Source: `torch.nn.functional.binary_cross_entropy`.
    #[track_caller]
    pub fn binary_cross_entropy(
        &self,
        target: impl Into<Var>,
        weight: Option<&Tensor>,
        reduction: Reduction,
    ) -> Result<Var> {
        let (op, target) = ("binary_cross_entropy", target.into());
        same_shape(op, self, &target)?;
        let saved = (self.save(), target.save());
        let rule = move |pull: &Pull<'_>| {
            let (p, target, dy) = (pull.var(&saved.0), pull.var(&saved.1), pull.dy()?);
            let dp = || {
                let variance = p.mul(p.rsub(1.0)?)?.maximum(SMALLEST_VARIANCE)?;
                dy.mul(p.sub(&target)?)?.div(variance)
            };
            let dtarget = || {
                let [log_p, log_not_p] = logs(&p)?;
                dy.mul(log_not_p.sub(log_p)?)
            };
            Ok([pull.when(0, dp)?, pull.when(1, dtarget)?])
        };
        let losses = |[p, target]: [&Tensor; 2]| {
            let [log_p, log_not_p] = logs(&p.into())?.map(Var::into_value);
            target.sub(1.0)?.mul(&log_not_p)?.sub(&target.mul(&log_p)?)
        };
        weighted(record(op, [self, &target], losses, rule)?, weight, reduction)
    }

    /// Cross-entropy of `p = sigmoid(x)` with targets from 0 to 1, reduced:
    /// `-weight (pos_weight target ln p + (1 - target) ln (1 - p))`, without forming `p`.
    ///
    /// Large `|x|` loses no digits and overflows nothing: the loss is
    /// `(1 - target) x - (1 + (pos_weight - 1) target) log_sigmoid(x)`.
    /// Gradient: `weight (1 - target - (1 + (pos_weight - 1) target) sigmoid(-x))`.
    ///
    /// # Errors
    /// A target of another shape, weights that do not broadcast.
    ///
    /// ```
    /// use chainrule_autograd::{BinaryCrossEntropy, Var};
    /// use chainrule_tensor::{Device, Reduction, Tensor};
    /// let x = Var::from(Tensor::new([0.0f64, 1000.0], &Device::Cpu)?);
    /// let target = Tensor::new([1.0f64, 0.0], &Device::Cpu)?;
    /// let options = BinaryCrossEntropy { reduction: Reduction::None, ..BinaryCrossEntropy::default() };
    /// let losses = x.binary_cross_entropy_with_logits(&target, &options)?;
    /// assert_eq!(losses.to_vec::<f64>()?, [2f64.ln(), 1000.0]);
    /// # Ok::<(), chainrule_tensor::Error>(())
    /// ```
    ///
    /// Source: `torch.nn.functional.binary_cross_entropy_with_logits`.
    #[track_caller]
    pub fn binary_cross_entropy_with_logits(
        &self,
        target: impl Into<Var>,
        options: &BinaryCrossEntropy,
    ) -> Result<Var> {
        let target = target.into();
        same_shape("binary_cross_entropy_with_logits", self, &target)?;
        let mut surprise = self.log_sigmoid()?;
        if let Some(pos_weight) = &options.pos_weight {
            surprise = surprise.mul(target.mul(&pos_weight.sub(1.0)?)?.add(1.0)?)?;
        }
        let losses = target.rsub(1.0)?.mul(self)?.sub(surprise)?;
        weighted(losses, options.weight.as_ref(), options.reduction)
    }
}

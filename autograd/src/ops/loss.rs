//! Losses that compare a prediction with a target element by element, composed of other ops.

use chainrule_tensor::{Error, Reduction, Result, Shape};

use crate::Var;

/// The losses of the elements, their mean (NaN of nothing) or their sum.
#[track_caller]
pub(crate) fn reduced(losses: Var, reduction: Reduction) -> Result<Var> {
    match reduction {
        Reduction::None => Ok(losses),
        Reduction::Mean => losses.mean(.., false),
        Reduction::Sum => losses.sum(.., false),
    }
}

/// Refuses a target of another shape. Broadcasting one here is nearly always a mistake: `[N]` against `[N, 1]` would
/// compare every element with every other.
#[track_caller]
pub(crate) fn same_shape(op: &'static str, x: &Var, target: &Var) -> Result<()> {
    if x.shape() == target.shape() {
        return Ok(());
    }
    let message = format!("target has shape {}, expected {} as the input", target.shape(), x.shape());
    Err(Error::shape(op, message + ": reshape or expand it"))
}

/// Refuses a number that is not above 0 (or, where `or_zero`, below it).
#[track_caller]
fn positive(op: &'static str, name: &str, value: f64, or_zero: bool) -> Result<()> {
    if value > 0.0 || or_zero && value == 0.0 {
        return Ok(());
    }
    let bound = if or_zero { "at least 0" } else { "above 0" };
    Err(Error::argument(op, format!("{name} is {value}, expected {bound}")))
}

impl Var {
    /// The squared error `(x - target)^2` of each element, reduced.
    ///
    /// Gradient: `2 (x - target)`, and its negative for the target.
    ///
    /// # Errors
    /// A target of another shape.
    ///
    /// ```
    /// use chainrule_autograd::Var;
    /// use chainrule_tensor::{Device, Reduction, Tensor};
    /// let x = Var::from(Tensor::new([1.0f64, 4.0], &Device::Cpu)?);
    /// let target = Tensor::new([2.0f64, 2.0], &Device::Cpu)?;
    /// assert_eq!(x.mse_loss(&target, Reduction::Mean)?.item::<f64>()?, 2.5);
    /// # Ok::<(), chainrule_tensor::Error>(())
    /// ```
    ///
    /// # Differences
    /// PyTorch broadcasts a target of another shape, with a warning.
    ///
    /// Source: `torch.nn.functional.mse_loss`.
    #[track_caller]
    pub fn mse_loss(&self, target: impl Into<Var>, reduction: Reduction) -> Result<Var> {
        let target = target.into();
        same_shape("mse_loss", self, &target)?;
        reduced(self.sub(&target)?.square()?, reduction)
    }

    /// The absolute error `|x - target|` of each element, reduced.
    ///
    /// Gradient: `sign(x - target)`, 0 where they are equal, and its negative for the target.
    ///
    /// # Errors
    /// A target of another shape.
    ///
    /// ```
    /// use chainrule_autograd::Var;
    /// use chainrule_tensor::{Device, Reduction, Tensor};
    /// let x = Var::from(Tensor::new([1.0f64, 4.0], &Device::Cpu)?);
    /// let target = Tensor::new([2.0f64, 2.0], &Device::Cpu)?;
    /// assert_eq!(x.l1_loss(&target, Reduction::Mean)?.item::<f64>()?, 1.5);
    /// # Ok::<(), chainrule_tensor::Error>(())
    /// ```
    ///
    /// # Differences
    /// PyTorch broadcasts a target of another shape, with a warning.
    ///
    /// Source: `torch.nn.functional.l1_loss`.
    #[track_caller]
    pub fn l1_loss(&self, target: impl Into<Var>, reduction: Reduction) -> Result<Var> {
        let target = target.into();
        same_shape("l1_loss", self, &target)?;
        reduced(self.sub(&target)?.abs()?, reduction)
    }

    /// Squared where the error `e = x - target` is small, absolute where it is large, reduced:
    /// `e^2 / (2 beta)` for `|e| < beta`, `|e| - beta / 2` otherwise. With `beta` 0 it is [`Var::l1_loss`].
    ///
    /// Gradient: `e / beta` clamped to -1 and 1, and its negative for the target.
    ///
    /// # Errors
    /// A target of another shape, a negative `beta`.
    ///
    /// ```
    /// use chainrule_autograd::Var;
    /// use chainrule_tensor::{Device, Reduction, Tensor};
    /// let x = Var::from(Tensor::new([1.0f64, 4.0], &Device::Cpu)?);
    /// let target = Tensor::new([0.0f64, 0.0], &Device::Cpu)?;
    /// assert_eq!(x.smooth_l1_loss(&target, 2.0, Reduction::None)?.to_vec::<f64>()?, [0.25, 3.0]);
    /// # Ok::<(), chainrule_tensor::Error>(())
    /// ```
    ///
    /// # Differences
    /// PyTorch broadcasts a target of another shape, with a warning.
    ///
    /// Source: Girshick, Fast R-CNN (2015), equation 3; `torch.nn.functional.smooth_l1_loss`.
    #[track_caller]
    pub fn smooth_l1_loss(&self, target: impl Into<Var>, beta: f64, reduction: Reduction) -> Result<Var> {
        let (op, target) = ("smooth_l1_loss", target.into());
        same_shape(op, self, &target)?;
        positive(op, "beta", beta, true)?;
        if beta == 0.0 {
            return self.l1_loss(target, reduction);
        }
        reduced(self.sub(&target)?.huber(beta)?.div(beta)?, reduction)
    }

    /// Squared where the error `e = x - target` is small, absolute where it is large, reduced:
    /// `e^2 / 2` for `|e| <= delta`, `delta (|e| - delta / 2)` otherwise.
    ///
    /// Gradient: `e` clamped to `-delta` and `delta`, and its negative for the target.
    ///
    /// # Errors
    /// A target of another shape, a `delta` that is not above 0.
    ///
    /// ```
    /// use chainrule_autograd::Var;
    /// use chainrule_tensor::{Device, Reduction, Tensor};
    /// let x = Var::from(Tensor::new([1.0f64, 4.0], &Device::Cpu)?);
    /// let target = Tensor::new([0.0f64, 0.0], &Device::Cpu)?;
    /// assert_eq!(x.huber_loss(&target, 2.0, Reduction::None)?.to_vec::<f64>()?, [0.5, 6.0]);
    /// # Ok::<(), chainrule_tensor::Error>(())
    /// ```
    ///
    /// # Differences
    /// PyTorch broadcasts a target of another shape, with a warning.
    ///
    /// Source: Huber, Robust Estimation of a Location Parameter (1964); `torch.nn.functional.huber_loss`.
    #[track_caller]
    pub fn huber_loss(&self, target: impl Into<Var>, delta: f64, reduction: Reduction) -> Result<Var> {
        let (op, target) = ("huber_loss", target.into());
        same_shape(op, self, &target)?;
        positive(op, "delta", delta, false)?;
        reduced(self.sub(&target)?.huber(delta)?, reduction)
    }

    /// `c (e - c / 2)` with `c` the error `e` clamped: `e^2 / 2` inside, `delta (|e| - delta / 2)` outside. Written
    /// without `|e|`, so that the second derivative is right at 0 too.
    #[track_caller]
    fn huber(&self, delta: f64) -> Result<Var> {
        let clamped = self.clamp(-delta, delta)?;
        clamped.mul(self.sub(clamped.mul(0.5)?)?)
    }

    /// The Kullback-Leibler divergence of the distribution whose logarithm is `x` from a target distribution, element by
    /// element, reduced: `target (ln target - x)`, and 0 where the target is 0; with `log_target` the target is given as
    /// its logarithm: `exp(target) (target - x)`.
    ///
    /// The mean is over elements, as in PyTorch. The divergence itself is the sum over the batch's size (PyTorch's
    /// `batchmean`): `x.kl_div(&target, false, Reduction::Sum)?.div(batch as f64)`.
    ///
    /// Gradient: `-target` (`-exp(target)`), and for the target `ln target + 1 - x`, 0 where it is 0
    /// (`exp(target) (target - x + 1)`).
    ///
    /// # Errors
    /// A target of another shape.
    ///
    /// ```
    /// use chainrule_autograd::Var;
    /// use chainrule_tensor::{Device, Reduction, Tensor};
    /// let x = Var::from(Tensor::new([0.5f64.ln(), 0.5f64.ln()], &Device::Cpu)?);
    /// let target = Tensor::new([1.0f64, 0.0], &Device::Cpu)?;
    /// assert_eq!(x.kl_div(&target, false, Reduction::Sum)?.item::<f64>()?, 2f64.ln());
    /// # Ok::<(), chainrule_tensor::Error>(())
    /// ```
    ///
    /// # Differences
    /// PyTorch gives the target the gradient NaN where it is 0, and broadcasts a target of another shape.
    ///
    /// Source: `torch.nn.functional.kl_div`.
    #[track_caller]
    pub fn kl_div(&self, target: impl Into<Var>, log_target: bool, reduction: Reduction) -> Result<Var> {
        let target = target.into();
        same_shape("kl_div", self, &target)?;
        if log_target {
            return reduced(target.exp()?.mul(target.sub(self)?)?, reduction);
        }
        // ln 1 in place of ln 0: its product with 0 is 0, and no gradient passes.
        let log = target.where_(&target.ne(0.0)?, 1.0)?.log()?;
        reduced(target.mul(log)?.sub(target.mul(self)?)?, reduction)
    }

    /// The cosine of the angle between the vectors along a dim: `x . other / (max(|x|, eps) max(|other|, eps))`.
    ///
    /// Computed in `f32`, in `f64` for `f64`; the shapes broadcast, and the dim goes. Gradient: with `u = x / |x|`,
    /// `v = other / |other|` and `y` their product, `(v - y u) / |x|`; `v / eps` where `|x|` is below `eps`.
    ///
    /// # Errors
    /// Shapes that do not broadcast, a dim that does not exist, an `eps` that is not above 0.
    ///
    /// ```
    /// use chainrule_autograd::Var;
    /// use chainrule_tensor::{Device, Tensor};
    /// let x = Var::from(Tensor::new([3.0f64, 4.0], &Device::Cpu)?);
    /// let y = Var::from(Tensor::new([2.0f64, 0.0], &Device::Cpu)?);
    /// assert!((x.cosine_similarity(&y, 0, 1e-8)?.item::<f64>()? - 0.6).abs() < 1e-15);
    /// # Ok::<(), chainrule_tensor::Error>(())
    /// ```
    ///
    /// # Differences
    /// Between 0 and `eps`, PyTorch differentiates through a length that it holds fixed.
    ///
    /// Source: `torch.nn.functional.cosine_similarity`.
    #[track_caller]
    pub fn cosine_similarity(&self, other: impl Into<Var>, dim: isize, eps: f64) -> Result<Var> {
        positive("cosine_similarity", "eps", eps, false)?;
        let other = other.into();
        let dtype = self.dtype().promote(other.dtype());
        let shape = Shape::broadcast("cosine_similarity", self.shape(), other.shape())?;
        let unit = |x: &Var| -> Result<Var> {
            let x = x.to_dtype(dtype.compute())?.expand(shape)?;
            let length = x.square()?.sum(dim, true)?.maximum(eps * eps)?.sqrt()?;
            x.div(length)
        };
        unit(self)?.mul(unit(&other)?)?.sum(dim, false)?.to_dtype(dtype)
    }
}

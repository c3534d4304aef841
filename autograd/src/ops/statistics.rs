//! Variance, norms and logarithms of sums.

use chainrule_tensor::{Dims, Result, Shape};

use super::reduce::{kept_shape, shared_by_equals};
use crate::record::{record, record_keeping_output};
use crate::{Pull, Var};

impl Var {
    /// The variance over some dims; see [`Tensor::var`](chainrule_tensor::Tensor::var).
    ///
    /// Gradient: `2 dy (x - mean) / max(0, n - correction)`.
    ///
    /// ```
    /// # use chainrule_autograd::value_and_grad;
    /// # use chainrule_tensor::{Device, Tensor};
    /// let x = Tensor::new([1.0f64, 3.0], &Device::Cpu)?;
    /// let (y, dx) = value_and_grad(|x| x[0].var(0, 1.0, false), &[x])?;
    /// assert_eq!((y.item::<f64>()?, dx[0].to_vec::<f64>()?), (2.0, vec![-2.0, 2.0]));
    /// # Ok::<(), chainrule_tensor::Error>(())
    /// ```
    #[track_caller]
    pub fn var(&self, dims: impl Into<Dims>, correction: f64, keepdim: bool) -> Result<Var> {
        let dims = dims.into();
        let kept = kept_shape(self.shape(), &dims);
        let (x, reduced) = (self.save(), dims.clone());
        let rule = move |pull: &Pull<'_>| {
            let dx = || pull.dy()?.reshape(kept)?.spread(&pull.var(&x), &reduced, kept, correction);
            Ok([pull.when(0, dx)?])
        };
        record("var", [self], |[x]| x.var(dims, correction, keepdim), rule)
    }

    /// The standard deviation over some dims; see [`Tensor::std`](chainrule_tensor::Tensor::std).
    ///
    /// Gradient: that of the variance times `dy / 2y`; 0 where `y` is 0, as in PyTorch.
    ///
    /// ```
    /// # use chainrule_autograd::value_and_grad;
    /// # use chainrule_tensor::{Device, Tensor};
    /// let x = Tensor::new([1.0f64, 3.0], &Device::Cpu)?;
    /// let (y, dx) = value_and_grad(|x| x[0].std(0, 0.0, false), &[x])?;
    /// assert_eq!((y.item::<f64>()?, dx[0].to_vec::<f64>()?), (1.0, vec![-0.5, 0.5]));
    /// # Ok::<(), chainrule_tensor::Error>(())
    /// ```
    #[track_caller]
    pub fn std(&self, dims: impl Into<Dims>, correction: f64, keepdim: bool) -> Result<Var> {
        let dims = dims.into();
        let kept = kept_shape(self.shape(), &dims);
        let (x, reduced) = (self.save(), dims.clone());
        let rule = move |pull: &Pull<'_>| {
            let dx = || {
                let half = pull.dy()?.mul(0.5)?.over_nonzero(&pull.y()?)?;
                half.reshape(kept)?.spread(&pull.var(&x), &reduced, kept, correction)
            };
            Ok([pull.when(0, dx)?])
        };
        record_keeping_output("std", [self], |[x]| x.std(dims, correction, keepdim), rule)
    }

    /// The gradient of a variance of `x`, given that of its result.
    fn spread(&self, x: &Var, dims: &Dims, kept: Shape, correction: f64) -> Result<Var> {
        let n = x.elements() as f64 / kept.elements() as f64;
        let deviation = x.sub(x.mean(dims.clone(), true)?)?;
        deviation.mul(self.mul(2.0 / (n - correction).max(0.0))?)
    }

    /// `self / y`, and 0 where `y` is 0.
    fn over_nonzero(&self, y: &Var) -> Result<Var> {
        let zero = y.eq(0.0)?;
        self.masked_fill(&zero, 0.0)?.div(y.masked_fill(&zero, 1.0)?)
    }

    /// The norm of order `p` over some dims; see [`Tensor::norm`](chainrule_tensor::Tensor::norm).
    ///
    /// Gradient: `dy sign(x) (|x| / y)^(p-1)`; 0 where `y` is 0, and for `p = 0`. For infinite orders `dy sign(x)`, shared
    /// evenly among the elements whose absolute value is the norm.
    ///
    /// ```
    /// # use chainrule_autograd::value_and_grad;
    /// # use chainrule_tensor::{Device, Tensor};
    /// let x = Tensor::new([6.0f64, 8.0], &Device::Cpu)?;
    /// let (y, dx) = value_and_grad(|x| x[0].norm(2.0, 0, false)?.mul(10.0), &[x])?;
    /// assert_eq!((y.item::<f64>()?, dx[0].to_vec::<f64>()?), (100.0, vec![6.0, 8.0]));
    /// # Ok::<(), chainrule_tensor::Error>(())
    /// ```
    #[track_caller]
    pub fn norm(&self, p: f64, dims: impl Into<Dims>, keepdim: bool) -> Result<Var> {
        let dims = dims.into();
        let kept = kept_shape(self.shape(), &dims);
        let x = self.save();
        let rule = move |pull: &Pull<'_>| {
            let dx = || pull.dy()?.norm_gradient(&pull.var(&x), &pull.y()?, p, kept);
            Ok([pull.when(0, dx)?])
        };
        record_keeping_output("norm", [self], |[x]| x.norm(p, dims, keepdim), rule)
    }

    fn norm_gradient(&self, x: &Var, y: &Var, p: f64, kept: Shape) -> Result<Var> {
        if p.is_infinite() {
            return shared_by_equals(x.abs()?.value(), y.value(), self, kept)?.mul(x.sign()?);
        }
        let (dy, y) = (self.reshape(kept)?, y.reshape(kept)?);
        if p == 0.0 {
            return dy.mul(x.mul(0.0)?);
        }
        if p == 1.0 {
            return dy.mul(x.sign()?);
        }
        if p == 2.0 {
            return dy.over_nonzero(&y)?.mul(x);
        }
        // |x|^(p-1) is infinite at 0 for p < 1, where PyTorch takes 0 too.
        let none = x.eq(0.0)?;
        let power = x.abs()?.masked_fill(&none, 1.0)?.pow(p - 1.0)?.masked_fill(&none, 0.0)?;
        let zero = y.eq(0.0)?;
        let scale = dy.masked_fill(&zero, 0.0)?.mul(y.masked_fill(&zero, 1.0)?.pow(1.0 - p)?)?;
        scale.mul(power.mul(x.sign()?)?)
    }

    /// The logarithm of the sum of exponentials over some dims; see
    /// [`Tensor::logsumexp`](chainrule_tensor::Tensor::logsumexp).
    ///
    /// Gradient: `dy exp(x - y)`, the softmax.
    ///
    /// ```
    /// # use chainrule_autograd::value_and_grad;
    /// # use chainrule_tensor::{Device, Tensor};
    /// let x = Tensor::new([0.0f64, 0.0], &Device::Cpu)?;
    /// let (y, dx) = value_and_grad(|x| x[0].logsumexp(0, false), &[x])?;
    /// assert_eq!((y.item::<f64>()?, dx[0].to_vec::<f64>()?), (std::f64::consts::LN_2, vec![0.5, 0.5]));
    /// # Ok::<(), chainrule_tensor::Error>(())
    /// ```
    #[track_caller]
    pub fn logsumexp(&self, dims: impl Into<Dims>, keepdim: bool) -> Result<Var> {
        let dims = dims.into();
        let kept = kept_shape(self.shape(), &dims);
        let x = self.save();
        let rule = move |pull: &Pull<'_>| {
            let dx = || pull.dy()?.reshape(kept)?.mul(pull.var(&x).sub(pull.y()?.reshape(kept)?)?.exp()?);
            Ok([pull.when(0, dx)?])
        };
        record_keeping_output("logsumexp", [self], |[x]| x.logsumexp(dims, keepdim), rule)
    }
}

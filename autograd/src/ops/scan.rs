//! Cumulative sums and products. No gradient divides, so zeros among the elements do no harm.

use chainrule_tensor::Result;

use crate::record::record;
use crate::{Pull, Var};

impl Var {
    /// The sums of all elements up to each one along a dim; see [`Tensor::cumsum`](chainrule_tensor::Tensor::cumsum).
    ///
    /// Gradient: the sums of `dy` from each element on.
    ///
    /// ```
    /// # use chainrule_autograd::value_and_grad;
    /// # use chainrule_tensor::{Device, Tensor};
    /// let x = Tensor::new([1.0f64, 2.0, 3.0], &Device::Cpu)?;
    /// let (y, dx) = value_and_grad(|x| x[0].cumsum(0)?.sum(.., false), &[x])?;
    /// assert_eq!((y.item::<f64>()?, dx[0].to_vec::<f64>()?), (10.0, vec![3.0, 2.0, 1.0]));
    /// # Ok::<(), chainrule_tensor::Error>(())
    /// ```
    #[track_caller]
    pub fn cumsum(&self, dim: isize) -> Result<Var> {
        let rule = move |pull: &Pull<'_>| Ok([pull.when(0, || pull.dy()?.flip(dim)?.cumsum(dim)?.flip(dim))?]);
        record("cumsum", [self], |[x]| x.cumsum(dim), rule)
    }

    /// The products of all elements up to each one along a dim; see [`Tensor::cumprod`](chainrule_tensor::Tensor::cumprod).
    ///
    /// Gradient: `dx_k = p_k r_k` with the product `p_k` of the elements before `k` and
    /// `r_k = dy_k + x_(k+1) r_(k+1)`, right for any number of zeros, in every order.
    ///
    /// # Differences
    /// PyTorch divides by `x_k`, so that a NaN or an infinity spoils its own derivative too.
    ///
    /// ```
    /// # use chainrule_autograd::value_and_grad;
    /// # use chainrule_tensor::{Device, Tensor};
    /// let x = Tensor::new([2.0f64, 3.0], &Device::Cpu)?;
    /// let (y, dx) = value_and_grad(|x| x[0].cumprod(0)?.sum(.., false), &[x])?;
    /// assert_eq!((y.item::<f64>()?, dx[0].to_vec::<f64>()?), (8.0, vec![4.0, 2.0]));
    /// # Ok::<(), chainrule_tensor::Error>(())
    /// ```
    #[track_caller]
    pub fn cumprod(&self, dim: isize) -> Result<Var> {
        let x = self.save();
        let rule = move |pull: &Pull<'_>| {
            let dx = || {
                let x = pull.var(&x);
                x.product_before(dim)?.mul(x.weigh_later(pull.dy()?, dim)?)
            };
            Ok([pull.when(0, dx)?])
        };
        record("cumprod", [self], |[x]| x.cumprod(dim), rule)
    }

    /// The product of all elements before each one along a dim; 1 for the first.
    pub(crate) fn product_before(&self, dim: isize) -> Result<Var> {
        let n = self.size(dim)?;
        if self.rank() == 0 || n == 0 {
            return Ok(self.value().ones_like()?.into());
        }
        let earlier = self.narrow(dim, 0, n - 1)?;
        let one = Var::from(self.value().narrow(dim, 0, 1)?.ones_like()?);
        Var::cat(&[&one, &earlier], dim)?.cumprod(dim)
    }

    /// `r_k = dy_k + x_(k+1) r_(k+1)` along a dim, that is `sum over i >= k of dy_i x_(k+1) ... x_i`.
    ///
    /// By doubling: after each round `r_k` covers twice as many terms, and `a_k` is the product of the elements that
    /// lead from its last term to the next one. (Blelloch, "Prefix sums and their applications", 1990, section 1.4.)
    fn weigh_later(&self, dy: &Var, dim: isize) -> Result<Var> {
        let n = if self.rank() == 0 { 1 } else { self.size(dim)? };
        let mut r = dy.clone();
        if n < 2 {
            return Ok(r);
        }
        let mut a = self.narrow(dim, 1, n - 1)?;
        let mut step = 1;
        while step < n {
            let near = r.narrow(dim, 0, n - step)?.add(a.mul(r.narrow(dim, step, n - step)?)?)?;
            r = Var::cat(&[&near, &r.narrow(dim, n - step, step)?], dim)?;
            if 2 * step < n {
                let left = n - 2 * step;
                a = a.narrow(dim, 0, left)?.mul(a.narrow(dim, step, left)?)?;
            }
            step *= 2;
        }
        Ok(r)
    }
}

#[cfg(feature = "samples")]
mod declared {
    use chainrule_tensor::{Device, Result, Tensor};

    use crate::Var;
    use crate::samples::{Array, ErrorSample, Sample, uniform};

    /// Elements `0..=t` of the middle of three dims, folded.
    fn folded(a: &Array, start: f64, join: fn(f64, f64) -> f64) -> Array {
        Array::build(&a.shape, |i| (0..=i[1]).map(|t| a.at(&[i[0], t, i[2]])).fold(start, join))
    }

    pub(crate) fn samples() -> Result<Vec<Sample>> {
        let x = || uniform(&[2, 7, 3], -1.0, 1.0, 1);
        let zeros = || Tensor::new([[0.5, 0.0, -2.0, 1.5, 0.0, 3.0], [0.0, 0.0, 0.0, 1.0, 2.0, 0.5]], &Device::Cpu);
        let one = |op, case: &str, x: Tensor, call: fn(&[Var]) -> Result<Var>| Sample::new(op, case, vec![x], call);
        let rows = |a: &Array| Array { shape: vec![2, 6, 1], data: a.data.clone() };
        Ok(vec![
            one("cumsum", "middle", x()?, |x| x[0].cumsum(1)).plain(|a| folded(&a[0], 0.0, |s, x| s + x)),
            one("cumsum", "0-d", uniform(&[], -1.0, 1.0, 1)?, |x| x[0].cumsum(-1)).plain(|a| a[0].clone()),
            one("cumsum", "empty", uniform(&[2, 0, 3], -1.0, 1.0, 1)?, |x| x[0].cumsum(1)).plain(|a| a[0].clone()),
            one("cumsum", "256 x 1024", uniform(&[256, 1024], -1.0, 1.0, 1)?, |x| x[0].cumsum(-1)).bench(),
            one("cumprod", "middle", x()?, |x| x[0].cumprod(1)).plain(|a| folded(&a[0], 1.0, |p, x| p * x)),
            one("cumprod", "zeros", zeros()?, |x| x[0].cumprod(-1))
                .plain(move |a| Array { shape: vec![2, 6], ..folded(&rows(&a[0]), 1.0, |p, x| p * x) }),
            one("cumprod", "one element", uniform(&[2, 1, 3], -1.0, 1.0, 1)?, |x| x[0].cumprod(1))
                .plain(|a| a[0].clone()),
            one("cumprod", "0-d", uniform(&[], -1.0, 1.0, 1)?, |x| x[0].cumprod(0)).plain(|a| a[0].clone()),
            one("cumprod", "empty", uniform(&[0], -1.0, 1.0, 1)?, |x| x[0].cumprod(0)).plain(|a| a[0].clone()),
        ])
    }

    pub(crate) fn error_samples() -> Result<Vec<ErrorSample>> {
        let x = || Ok(vec![uniform(&[3, 4], -1.0, 1.0, 1)?]);
        Ok(vec![
            ErrorSample::new(
                "cumsum",
                x()?,
                |x| x[0].cumsum(2),
                "cumsum: there is no dim 2 in shape [3, 4], expected -2 to 1",
            ),
            ErrorSample::new("cumprod", x()?, |x| x[0].cumprod(-3), "cumprod: there is no dim -3 in shape [3, 4]"),
        ])
    }
}

#[cfg(feature = "samples")]
pub(crate) use declared::{error_samples, samples};

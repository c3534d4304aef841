//! Softmax and log-softmax. Their gradients need only the result.

use chainrule_tensor::Result;

use crate::Var;
use crate::record::record_keeping_output;

impl Var {
    /// `exp(x) / sum exp(x)` over one dim; see [`Tensor::softmax`](chainrule_tensor::Tensor::softmax).
    /// Gradient: `y (dy - sum(y dy))`.
    ///
    /// ```
    /// # use chainrule_autograd::value_and_grad;
    /// # use chainrule_tensor::{Device, Tensor};
    /// let x = Tensor::new([0.0f64, 0.0], &Device::Cpu)?;
    /// let (y, dx) = value_and_grad(|x| x[0].softmax(0)?.select(0, 0), &[x])?;
    /// assert_eq!((y.item::<f64>()?, dx[0].to_vec::<f64>()?), (0.5, vec![0.25, -0.25]));
    /// # Ok::<(), chainrule_tensor::Error>(())
    /// ```
    #[track_caller]
    pub fn softmax(&self, dim: isize) -> Result<Var> {
        let rule = move |pull: &crate::Pull<'_>| {
            let (y, dy) = (pull.y()?, pull.dy()?);
            let composed = || y.mul(dy.sub(y.mul(dy)?.sum(dim, true)?)?);
            let fused = || Ok(y.value().softmax_backward(dy.value(), dim)?.into());
            Ok([pull.when(0, || if pull.records() { composed() } else { fused() })?])
        };
        record_keeping_output("softmax", [self], |[x]| x.softmax(dim), rule)
    }

    /// `x - ln sum exp(x)` over one dim; see [`Tensor::log_softmax`](chainrule_tensor::Tensor::log_softmax).
    /// Gradient: `dy - exp(y) sum(dy)`.
    ///
    /// ```
    /// # use chainrule_autograd::value_and_grad;
    /// # use chainrule_tensor::{Device, Tensor};
    /// let x = Tensor::new([0.0f64, 0.0], &Device::Cpu)?;
    /// let (y, dx) = value_and_grad(|x| x[0].log_softmax(0)?.select(0, 0), &[x])?;
    /// assert_eq!((y.item::<f64>()?, dx[0].to_vec::<f64>()?), (-std::f64::consts::LN_2, vec![0.5, -0.5]));
    /// # Ok::<(), chainrule_tensor::Error>(())
    /// ```
    #[track_caller]
    pub fn log_softmax(&self, dim: isize) -> Result<Var> {
        let rule = move |pull: &crate::Pull<'_>| {
            let (y, dy) = (pull.y()?, pull.dy()?);
            let composed = || dy.sub(y.exp()?.mul(dy.sum(dim, true)?)?);
            let fused = || Ok(y.value().log_softmax_backward(dy.value(), dim)?.into());
            Ok([pull.when(0, || if pull.records() { composed() } else { fused() })?])
        };
        record_keeping_output("log_softmax", [self], |[x]| x.log_softmax(dim), rule)
    }
}

#[cfg(feature = "samples")]
mod declared {
    use chainrule_tensor::{DType, Device, Result, Tensor};

    use crate::Var;
    use crate::samples::{Array, ErrorSample, Sample, uniform};

    /// Softmax of `x` along `dim`, index by index.
    fn softmax(x: &Array, dim: usize) -> Array {
        let Some(&size) = x.shape.get(dim) else { return x.clone().map(|_| 1.0) };
        let run =
            |at: &[usize]| (0..size).map(|i| x.at(&[&at[..dim], &[i], &at[dim + 1..]].concat())).collect::<Vec<_>>();
        Array::build(&x.shape, |at| {
            let run = run(at);
            let max = run.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            (x.at(at) - max).exp() / run.iter().map(|x| (x - max).exp()).sum::<f64>()
        })
    }

    fn both(case: &str, x: Tensor, dim: isize) -> [Sample; 2] {
        let at = dim.rem_euclid(x.rank().max(1) as isize) as usize;
        [
            Sample::new("softmax", case, vec![x.clone()], move |x| x[0].softmax(dim))
                .plain(move |a| softmax(&a[0], at)),
            Sample::new("log_softmax", case, vec![x], move |x| x[0].log_softmax(dim))
                .plain(move |a| softmax(&a[0], at).map(f64::ln)),
        ]
    }

    pub(crate) fn samples() -> Result<Vec<Sample>> {
        let x = |shape: &[usize]| uniform(shape, -2.0, 2.0, 5);
        let infinity = f64::INFINITY;
        let edges = [[0.0, -infinity, 1.0], [-infinity; 3], [0.0, infinity, 1.0], [0.0, f64::NAN, 1.0]];
        let edges = |case: &str| -> Result<[Sample; 2]> { Ok(both(case, Tensor::new(edges, &Device::Cpu)?, -1)) };
        let mut samples = [
            both("last dim", x(&[3, 7])?, -1),
            both("first dim", x(&[3, 4])?, 0),
            both("middle dim", x(&[2, 5, 3])?, 1),
            both("one element", x(&[4, 1])?, 1),
            both("no rows", x(&[0, 3])?, 1),
            both("no columns", x(&[3, 0])?, 1),
            both("0-d", x(&[])?, 0),
            both("wider than a vector", x(&[2, 33])?, -1),
            edges("infinities and NaN")?.map(Sample::no_gradient),
            both("attention row", x(&[64, 1024])?, -1).map(Sample::bench),
        ]
        .concat();
        // exp(1000) overflows in every dtype; f16 holds 1000 exactly.
        let large = Tensor::new([[1000.0f64, 1000.0, 998.0], [-1000.0, -1000.0, -998.0]], &Device::Cpu)?;
        samples
            .extend(both("large values", large, -1).map(|sample| sample.dtypes(&[DType::F64, DType::F32, DType::F16])));
        Ok(samples)
    }

    pub(crate) fn error_samples() -> Result<Vec<ErrorSample>> {
        let x = || Ok(vec![uniform(&[2, 3], -1.0, 1.0, 1)?]);
        let ids = || Ok(vec![Tensor::new([1i32, 2], &Device::Cpu)?]);
        let error = |op, inputs, call: fn(&[Var]) -> Result<Var>, message| ErrorSample::new(op, inputs, call, message);
        Ok(vec![
            error("softmax", x()?, |x| x[0].softmax(2), "softmax: there is no dim 2 in shape [2, 3], expected -2 to 1"),
            error("log_softmax", x()?, |x| x[0].log_softmax(-3), "log_softmax: there is no dim -3"),
            error("softmax", ids()?, |x| x[0].softmax(0), "softmax: got i32, expected a float: cast with to_dtype"),
            error("log_softmax", ids()?, |x| x[0].log_softmax(0), "log_softmax: got i32, expected a float"),
        ])
    }
}

#[cfg(feature = "samples")]
pub(crate) use declared::{error_samples, samples};

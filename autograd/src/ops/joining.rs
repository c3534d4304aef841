//! Joining, splitting, repeating and padding.

use chainrule_tensor::{Error, Result, Scalar, Sizes, Tensor, chunk_sizes};

use crate::record::{record, record_all, record_outputs};
use crate::{Pull, Var};

impl Var {
    /// Variables joined along a dim; see [`Tensor::cat`]. Each gets its part of the gradient.
    ///
    /// ```
    /// # use chainrule_autograd::{Var, value_and_grad};
    /// # use chainrule_tensor::{Device, Tensor};
    /// let [a, b] = [Tensor::new([1.0f64, 2.0], &Device::Cpu)?, Tensor::new([3.0f64, 4.0], &Device::Cpu)?];
    /// let (y, grads) = value_and_grad(|x| Var::cat(&[&x[0], &x[1]], 0)?.select(0, 2), &[a, b])?;
    /// assert_eq!(y.item::<f64>()?, 3.0);
    /// assert_eq!((grads[0].to_vec::<f64>()?, grads[1].to_vec::<f64>()?), (vec![0.0, 0.0], vec![1.0, 0.0]));
    /// # Ok::<(), chainrule_tensor::Error>(())
    /// ```
    #[track_caller]
    pub fn cat(vars: &[&Var], dim: isize) -> Result<Var> {
        let sizes = vars.iter().map(|x| x.size(dim)).collect::<Result<Vec<_>>>();
        let rule = move |pull: &Pull<'_>| {
            let mut start = 0;
            let sizes = sizes.as_ref().map_err(|error| Error::new(error.kind().clone()))?;
            let part = |(index, &size): (usize, &usize)| {
                start += size;
                pull.when(index, || pull.dy()?.narrow(dim, start - size, size))
            };
            sizes.iter().enumerate().map(part).collect()
        };
        record_all("cat", vars, |tensors| Tensor::cat(tensors, dim), rule)
    }

    /// Variables joined along a new dim; see [`Tensor::stack`].
    ///
    /// ```
    /// # use chainrule_autograd::{Var, value_and_grad};
    /// # use chainrule_tensor::{Device, Tensor};
    /// let [a, b] = [Tensor::new([1.0f64, 2.0], &Device::Cpu)?, Tensor::new([3.0f64, 4.0], &Device::Cpu)?];
    /// let (y, grads) = value_and_grad(|x| Var::stack(&[&x[0], &x[1]], 0)?.select(0, 1)?.sum(.., false), &[a, b])?;
    /// assert_eq!(y.item::<f64>()?, 7.0);
    /// assert_eq!((grads[0].to_vec::<f64>()?, grads[1].to_vec::<f64>()?), (vec![0.0, 0.0], vec![1.0, 1.0]));
    /// # Ok::<(), chainrule_tensor::Error>(())
    /// ```
    #[track_caller]
    pub fn stack(vars: &[&Var], dim: isize) -> Result<Var> {
        let rule = move |pull: &Pull<'_>| {
            let parts = (0..pull.wants.len()).map(|index| pull.when(index, || pull.dy()?.select(dim, index as isize)));
            parts.collect()
        };
        record_all("stack", vars, |tensors| Tensor::stack(tensors, dim), rule)
    }

    /// Parts of the sizes given; see [`Tensor::split`]. Their gradients are joined again, in one pass.
    ///
    /// ```
    /// # use chainrule_autograd::value_and_grad;
    /// # use chainrule_tensor::{Device, Tensor};
    /// let x = Tensor::new([1.0f64, 2.0, 3.0], &Device::Cpu)?;
    /// let (y, dx) = value_and_grad(|x| x[0].split(&[1, 2], 0)?[1].sum(.., false), &[x])?;
    /// assert_eq!((y.item::<f64>()?, dx[0].to_vec::<f64>()?), (5.0, vec![0.0, 1.0, 1.0]));
    /// # Ok::<(), chainrule_tensor::Error>(())
    /// ```
    #[track_caller]
    pub fn split(&self, sizes: &[usize], dim: isize) -> Result<Vec<Var>> {
        self.parts("split", self.value().split(sizes, dim), dim)
    }

    /// At most `count` parts of equal size; see [`Tensor::chunk`].
    ///
    /// ```
    /// # use chainrule_autograd::value_and_grad;
    /// # use chainrule_tensor::{Device, Tensor};
    /// let x = Tensor::new([1.0f64, 2.0, 3.0], &Device::Cpu)?;
    /// let (y, dx) = value_and_grad(|x| x[0].chunk(2, 0)?[0].sum(.., false), &[x])?;
    /// assert_eq!((y.item::<f64>()?, dx[0].to_vec::<f64>()?), (3.0, vec![1.0, 1.0, 0.0]));
    /// # Ok::<(), chainrule_tensor::Error>(())
    /// ```
    #[track_caller]
    pub fn chunk(&self, count: usize, dim: isize) -> Result<Vec<Var>> {
        let parts = chunk_sizes(self.size(dim)?, count).and_then(|sizes| self.value().split(&sizes, dim));
        self.parts("chunk", parts, dim)
    }

    #[track_caller]
    fn parts(&self, op: &'static str, parts: Result<Vec<Tensor>>, dim: isize) -> Result<Vec<Var>> {
        let location = std::panic::Location::caller();
        let parts = parts.map_err(|error| crate::record::locate(error, op, &[self], location))?;
        let shapes: Vec<_> = parts.iter().map(|part| *part.shape()).collect();
        let (dtype, device) = (self.dtype(), self.device());
        let rule = move |pull: &Pull<'_>| {
            let or_zeros = |(dy, shape): (&Option<Var>, _)| match dy {
                Some(dy) => Ok(dy.clone()),
                None => Ok(Var::from(Tensor::zeros(shape, dtype, &device)?)),
            };
            let dys = pull.dys.iter().zip(&shapes).map(or_zeros).collect::<Result<Vec<Var>>>()?;
            Ok(vec![Some(Var::cat(&dys.iter().collect::<Vec<_>>(), dim)?)])
        };
        record_outputs(op, &[self], parts, false, Box::new(rule))
    }

    /// The whole repeated along each dim; see [`Tensor::repeat`]. The gradients of the copies add up.
    ///
    /// ```
    /// # use chainrule_autograd::value_and_grad;
    /// # use chainrule_tensor::{Device, Tensor};
    /// let x = Tensor::new([1.0f64, 2.0], &Device::Cpu)?;
    /// let (y, dx) = value_and_grad(|x| x[0].repeat([3])?.sum(.., false), &[x])?;
    /// assert_eq!((y.item::<f64>()?, dx[0].to_vec::<f64>()?), (9.0, vec![3.0, 3.0]));
    /// # Ok::<(), chainrule_tensor::Error>(())
    /// ```
    #[track_caller]
    pub fn repeat(&self, counts: impl Sizes) -> Result<Var> {
        let shape = *self.shape();
        let lead = counts.sizes().len().saturating_sub(shape.rank());
        // The result seen as [count, size, count, size, ...], whose counts are summed away.
        let split: Vec<(usize, usize)> = counts
            .sizes()
            .iter()
            .enumerate()
            .map(|(dim, &count)| (count, dim.checked_sub(lead).map_or(1, |dim| shape[dim])))
            .collect();
        let rule = move |pull: &Pull<'_>| {
            let gather = || {
                let mut dx = pull.dy()?.clone();
                // The dims before and behind are merged meanwhile, so that eight dims do not become nine.
                for (dim, &(count, size)) in split.iter().enumerate().filter(|(_, (count, _))| *count != 1) {
                    let (mut sizes, outer) = (dx.shape().to_vec(), dx.shape()[..dim].iter().product());
                    sizes[dim] = size;
                    let inner = sizes[dim..].iter().product();
                    dx = dx.reshape([outer, count, inner])?.sum(1, false)?.reshape(sizes)?;
                }
                dx.reshape(shape)
            };
            Ok([pull.when(0, gather)?])
        };
        record("repeat", [self], |[x]| x.repeat(counts), rule)
    }

    /// Elements of `value` added around the last dims; see [`Tensor::pad`].
    ///
    /// ```
    /// # use chainrule_autograd::value_and_grad;
    /// # use chainrule_tensor::{Device, Tensor};
    /// let x = Tensor::new([1.0f64, 2.0], &Device::Cpu)?;
    /// let (y, dx) = value_and_grad(|x| x[0].pad(&[(1, -1)], 10.0)?.sum(.., false), &[x])?;
    /// assert_eq!((y.item::<f64>()?, dx[0].to_vec::<f64>()?), (11.0, vec![1.0, 0.0]));
    /// # Ok::<(), chainrule_tensor::Error>(())
    /// ```
    #[track_caller]
    pub fn pad(&self, pads: &[(isize, isize)], value: impl Into<Scalar>) -> Result<Var> {
        let back: Vec<(isize, isize)> =
            pads.iter().map(|&(before, after)| (before.saturating_neg(), after.saturating_neg())).collect();
        let rule = move |pull: &Pull<'_>| Ok([pull.when(0, || pull.dy()?.pad(&back, 0.0))?]);
        record("pad", [self], |[x]| x.pad(pads, value), rule)
    }

    /// The elements moved along a dim, round the end; see [`Tensor::roll`].
    ///
    /// ```
    /// # use chainrule_autograd::value_and_grad;
    /// # use chainrule_tensor::{Device, Tensor};
    /// let x = Tensor::new([1.0f64, 2.0, 3.0], &Device::Cpu)?;
    /// let (y, dx) = value_and_grad(|x| x[0].roll(1, 0)?.select(0, 0), &[x])?;
    /// assert_eq!((y.item::<f64>()?, dx[0].to_vec::<f64>()?), (3.0, vec![0.0, 0.0, 1.0]));
    /// # Ok::<(), chainrule_tensor::Error>(())
    /// ```
    #[track_caller]
    pub fn roll(&self, shift: isize, dim: isize) -> Result<Var> {
        let back = -(shift % self.size(dim)?.max(1) as isize);
        let rule = move |pull: &Pull<'_>| Ok([pull.when(0, || pull.dy()?.roll(back, dim))?]);
        record("roll", [self], |[x]| x.roll(shift, dim), rule)
    }

    /// The elements on and below a diagonal; see [`Tensor::tril`].
    ///
    /// ```
    /// # use chainrule_autograd::value_and_grad;
    /// # use chainrule_tensor::{Device, Tensor};
    /// let x = Tensor::new([[1.0f64, 2.0], [3.0, 4.0]], &Device::Cpu)?;
    /// let (y, dx) = value_and_grad(|x| x[0].tril(0)?.sum(.., false), &[x])?;
    /// assert_eq!((y.item::<f64>()?, dx[0].to_vec::<f64>()?), (8.0, vec![1.0, 0.0, 1.0, 1.0]));
    /// # Ok::<(), chainrule_tensor::Error>(())
    /// ```
    #[track_caller]
    pub fn tril(&self, shift: isize) -> Result<Var> {
        let rule = move |pull: &Pull<'_>| Ok([pull.when(0, || pull.dy()?.tril(shift))?]);
        record("tril", [self], |[x]| x.tril(shift), rule)
    }

    /// The elements on and above a diagonal; see [`Tensor::triu`].
    ///
    /// ```
    /// # use chainrule_autograd::value_and_grad;
    /// # use chainrule_tensor::{Device, Tensor};
    /// let x = Tensor::new([[1.0f64, 2.0], [3.0, 4.0]], &Device::Cpu)?;
    /// let (y, dx) = value_and_grad(|x| x[0].triu(0)?.sum(.., false), &[x])?;
    /// assert_eq!((y.item::<f64>()?, dx[0].to_vec::<f64>()?), (7.0, vec![1.0, 1.0, 0.0, 1.0]));
    /// # Ok::<(), chainrule_tensor::Error>(())
    /// ```
    #[track_caller]
    pub fn triu(&self, shift: isize) -> Result<Var> {
        let rule = move |pull: &Pull<'_>| Ok([pull.when(0, || pull.dy()?.triu(shift))?]);
        record("triu", [self], |[x]| x.triu(shift), rule)
    }
}

#[cfg(feature = "samples")]
mod declared {
    use chainrule_tensor::Result;

    use crate::Var;
    use crate::samples::{Array, ErrorSample, Sample, uniform};

    pub(crate) fn samples() -> Result<Vec<Sample>> {
        let x = |seed| uniform(&[2, 3, 4], -1.0, 1.0, seed);
        let sample = |op, case: &str, call: fn(&[Var]) -> Result<Var>| Ok(Sample::new(op, case, vec![x(1)?], call));
        Ok(vec![
            Sample::new("cat", "middle dim", vec![x(1)?, uniform(&[2, 2, 4], -1.0, 1.0, 2)?], |x| {
                Var::cat(&[&x[0], &x[1]], 1)
            })
            .plain(|a| {
                Array::build(&[2, 5, 4], |i| if i[1] < 3 { a[0].at(i) } else { a[1].at(&[i[0], i[1] - 3, i[2]]) })
            }),
            Sample::new("cat", "the same twice", vec![x(1)?], |x| Var::cat(&[&x[0], &x[0]], -1))
                .plain(|a| Array::build(&[2, 3, 8], |i| a[0].at(&[i[0], i[1], i[2] % 4]))),
            Sample::new("cat", "with an empty one", vec![x(1)?, uniform(&[2, 0, 4], -1.0, 1.0, 2)?], |x| {
                Var::cat(&[&x[1], &x[0]], 1)
            })
            .plain(|a| a[0].clone()),
            Sample::new("stack", "new middle dim", vec![x(1)?, x(2)?], |x| Var::stack(&[&x[0], &x[1]], 1))
                .plain(|a| Array::build(&[2, 2, 3, 4], |i| a[i[1]].at(&[i[0], i[2], i[3]]))),
            Sample::new("stack", "new last dim", vec![x(1)?, x(2)?], |x| Var::stack(&[&x[0], &x[1]], -1))
                .plain(|a| Array::build(&[2, 3, 4, 2], |i| a[i[3]].at(&i[..3]))),
            sample("split", "one part of three unused", |x| {
                let parts = x[0].split(&[1, 2, 1], -1)?;
                parts[1].select(-1, 0)?.mul(&parts[2].squeeze(-1)?)
            })?
            .plain(|a| Array::build(&[2, 3], |i| a[0].at(&[i[0], i[1], 1]) * a[0].at(&[i[0], i[1], 3]))),
            sample("chunk", "uneven", |x| Ok(x[0].chunk(2, 1)?.remove(1)))?
                .plain(|a| Array::build(&[2, 1, 4], |i| a[0].at(&[i[0], 2, i[2]]))),
            sample("repeat", "a new dim and the last", |x| x[0].repeat([2, 1, 1, 3]))?
                .plain(|a| Array::build(&[2, 2, 3, 12], |i| a[0].at(&[i[1], i[2], i[3] % 4]))),
            sample("repeat", "no times", |x| x[0].repeat([1, 0, 1]))?
                .plain(|_| Array { shape: vec![2, 0, 4], data: vec![] }),
            sample("pad", "around two dims, one side cut", |x| x[0].pad(&[(1, 2), (-1, 1)], 0.5))?.plain(|a| {
                Array::build(&[2, 3, 7], |i| {
                    let inside = i[1] < 2 && (1..5).contains(&i[2]);
                    if inside { a[0].at(&[i[0], i[1] + 1, i[2] - 1]) } else { 0.5 }
                })
            }),
            sample("roll", "backwards", |x| x[0].roll(-1, 2))?
                .plain(|a| Array::build(&[2, 3, 4], |i| a[0].at(&[i[0], i[1], (i[2] + 1) % 4]))),
            sample("tril", "below the diagonal", |x| x[0].tril(-1))?
                .plain(|a| Array::build(&[2, 3, 4], |i| if i[2] < i[1] { a[0].at(i) } else { 0.0 })),
            sample("triu", "the diagonal and above", |x| x[0].triu(0))?
                .plain(|a| Array::build(&[2, 3, 4], |i| if i[2] >= i[1] { a[0].at(i) } else { 0.0 })),
        ])
    }

    pub(crate) fn error_samples() -> Result<Vec<ErrorSample>> {
        let two = |a: &[usize], b: &[usize]| Ok(vec![uniform(a, -1.0, 1.0, 1)?, uniform(b, -1.0, 1.0, 2)?]);
        Ok(vec![
            ErrorSample::new(
                "cat",
                two(&[2, 3], &[3, 3])?,
                |x| Var::cat(&[&x[0], &x[1]], 1),
                "tensor 1 has shape [3, 3], expected [2, 3] but for dim 1",
            ),
            ErrorSample::new("cat", vec![], |_| Var::cat(&[], 0), "needs at least one tensor"),
            ErrorSample::new(
                "stack",
                two(&[2, 3], &[3, 3])?,
                |x| Var::stack(&[&x[0], &x[1]], 1),
                "got shapes [2, 3] and [3, 3]",
            ),
            ErrorSample::new(
                "split",
                two(&[2, 3], &[1])?,
                |x| Ok(x[0].split(&[1, 1], 1)?.remove(0)),
                "do not add up to 3",
            ),
            ErrorSample::new(
                "chunk",
                two(&[2, 3], &[1])?,
                |x| Ok(x[0].chunk(0, 1)?.remove(0)),
                "needs at least one part",
            ),
            ErrorSample::new("repeat", two(&[2, 3], &[1])?, |x| x[0].repeat([2]), "got 1 counts for the 2 dims"),
            ErrorSample::new("pad", two(&[2, 3], &[1])?, |x| x[0].pad(&[(-2, -2)], 0.0), "takes more than dim 1"),
        ])
    }
}

#[cfg(feature = "samples")]
pub(crate) use declared::{error_samples, samples};

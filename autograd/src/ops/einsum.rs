//! Sums of products in Einstein's notation.

use chainrule_tensor::{EinsumPlan, EinsumStep, Result};

use crate::Var;

impl Var {
    /// A sum of products in Einstein's notation, such as `"bij,bjk->bik"`; see [`chainrule_tensor::Tensor::einsum`].
    ///
    /// Gradient: that of the views, sums and matrix products it is made of.
    ///
    /// # Errors
    /// An equation that cannot be read or does not fit the operands.
    ///
    /// ```
    /// # use chainrule_autograd::{Var, value_and_grad};
    /// # use chainrule_tensor::{Device, Tensor};
    /// let [a, b] = [Tensor::new([[1.0f64, 2.0]], &Device::Cpu)?, Tensor::new([3.0f64, 4.0], &Device::Cpu)?];
    /// let (y, grads) = value_and_grad(|x| Var::einsum("ij,j->i", &[&x[0], &x[1]])?.sum(.., false), &[a, b])?;
    /// assert_eq!(y.item::<f64>()?, 11.0);
    /// assert_eq!((grads[0].to_vec::<f64>()?, grads[1].to_vec::<f64>()?), (vec![3.0, 4.0], vec![1.0, 2.0]));
    /// # Ok::<(), chainrule_tensor::Error>(())
    /// ```
    #[track_caller]
    pub fn einsum(equation: &str, operands: &[&Var]) -> Result<Var> {
        let shapes: Vec<&[usize]> = operands.iter().map(|x| &x.shape()[..]).collect();
        let mut operands: Vec<Var> = operands.iter().map(|&x| x.clone()).collect();
        for step in EinsumPlan::new(equation, &shapes)?.steps {
            let (at, x) = match step {
                EinsumStep::Diagonal(at, [dim1, dim2]) => (at, operands[at].diagonal(0, dim1, dim2)?),
                EinsumStep::Sum(at, dims) => (at, operands[at].sum(dims, false)?),
                EinsumStep::Permute(at, order) => (at, operands[at].permute(order)?),
                EinsumStep::Reshape(at, sizes) => (at, operands[at].reshape(sizes)?),
                EinsumStep::Product => {
                    let b = operands.remove(1);
                    (0, operands[0].matmul(&b)?)
                }
            };
            operands[at] = x;
        }
        Ok(operands.swap_remove(0))
    }
}

#[cfg(feature = "samples")]
mod declared {
    use chainrule_tensor::{Result, Tensor};

    use crate::Var;
    use crate::samples::{Array, ErrorSample, Sample, uniform};

    fn random(shapes: &[&[usize]]) -> Result<Vec<Tensor>> {
        shapes.iter().zip(1..).map(|(shape, seed)| uniform(shape, -1.0, 1.0, seed)).collect()
    }

    fn sample(
        equation: &'static str,
        shapes: &[&[usize]],
        oracle: impl Fn(&[Array]) -> Array + Send + Sync + 'static,
    ) -> Result<Sample> {
        let call = move |x: &[Var]| Var::einsum(equation, &x.iter().collect::<Vec<_>>());
        Ok(Sample::new("einsum", equation, random(shapes)?, call).plain(oracle))
    }

    /// The sum of `f` over `0..n`.
    fn sum(n: usize, f: impl Fn(usize) -> f64) -> f64 {
        (0..n).map(f).sum()
    }

    pub(crate) fn samples() -> Result<Vec<Sample>> {
        Ok(vec![
            sample("bij,bjk->bik", &[&[2, 3, 4], &[2, 4, 2]], |a| {
                Array::build(&[2, 3, 2], |i| sum(4, |j| a[0].at(&[i[0], i[1], j]) * a[1].at(&[i[0], j, i[2]])))
            })?,
            sample("ij,jk", &[&[2, 3], &[3, 4]], |a| {
                Array::build(&[2, 4], |i| sum(3, |j| a[0].at(&[i[0], j]) * a[1].at(&[j, i[1]])))
            })?,
            sample("ba", &[&[2, 3]], |a| Array::build(&[3, 2], |i| a[0].at(&[i[1], i[0]])))?,
            sample("ii", &[&[3, 3]], |a| Array::build(&[], |_| sum(3, |j| a[0].at(&[j, j]))))?,
            sample("iji->ji", &[&[3, 2, 3]], |a| Array::build(&[2, 3], |i| a[0].at(&[i[1], i[0], i[1]])))?,
            sample("iij,jk->k", &[&[2, 2, 3], &[3, 4]], |a| {
                Array::build(&[4], |i| sum(2, |p| sum(3, |j| a[0].at(&[p, p, j]) * a[1].at(&[j, i[0]]))))
            })?,
            sample("i,j->ij", &[&[2], &[3]], |a| Array::build(&[2, 3], |i| a[0].at(&i[..1]) * a[1].at(&i[1..])))?,
            sample("ij,ij->", &[&[2, 3], &[2, 3]], |a| {
                Array::build(&[], |_| sum(2, |i| sum(3, |j| a[0].at(&[i, j]) * a[1].at(&[i, j]))))
            })?,
            sample("ik,jk->", &[&[2, 3], &[4, 3]], |a| {
                Array::build(&[], |_| sum(2, |i| sum(4, |j| sum(3, |k| a[0].at(&[i, k]) * a[1].at(&[j, k])))))
            })?,
            sample("ab,bc,cd->ad", &[&[2, 3], &[3, 2], &[2, 4]], |a| {
                let inner =
                    |i: &[usize], b: usize, c: usize| a[0].at(&[i[0], b]) * a[1].at(&[b, c]) * a[2].at(&[c, i[1]]);
                Array::build(&[2, 4], |i| sum(3, |b| sum(2, |c| inner(i, b, c))))
            })?,
            sample("bhqd, bhkd -> bhqk", &[&[1, 2, 2, 3], &[1, 2, 4, 3]], |a| {
                let dot = |i: &[usize], d: usize| a[0].at(&[i[0], i[1], i[2], d]) * a[1].at(&[i[0], i[1], i[3], d]);
                Array::build(&[1, 2, 2, 4], |i| sum(3, |d| dot(i, d)))
            })?,
            sample("...ij,jk", &[&[2, 2, 2, 3], &[3, 2]], |a| {
                Array::build(&[2, 2, 2, 2], |i| sum(3, |j| a[0].at(&[i[0], i[1], i[2], j]) * a[1].at(&[j, i[3]])))
            })?,
            sample("i...,...->...i", &[&[2, 3, 1], &[2]], |a| {
                Array::build(&[3, 2, 2], |i| a[0].at(&[i[2], i[0], 0]) * a[1].at(&[i[1]]))
            })?,
            sample("ij,ij->ij", &[&[2, 1], &[1, 3]], |a| {
                Array::build(&[2, 3], |i| a[0].at(&[i[0], 0]) * a[1].at(&[0, i[1]]))
            })?,
            sample("ij,jk->ik", &[&[2, 0], &[0, 3]], |_| Array::build(&[2, 3], |_| 0.0))?,
        ])
    }

    pub(crate) fn error_samples() -> Result<Vec<ErrorSample>> {
        let fails = |equation: &'static str, shapes: &[&[usize]], message| {
            let call = move |x: &[Var]| Var::einsum(equation, &x.iter().collect::<Vec<_>>());
            Ok(ErrorSample::new("einsum", random(shapes)?, call, message))
        };
        Ok(vec![
            fails("ij,jk", &[&[2, 3]], "\"ij,jk\" has 2 terms, got 1 operands")?,
            fails("ijk", &[&[2, 3]], "operand 0 of \"ijk\" has shape [2, 3], expected 3 dims")?,
            fails("ij,jk", &[&[2, 3], &[4, 2]], "j of \"ij,jk\" has sizes 3 and 4, in shapes [[2, 3], [4, 2]]")?,
            fails("ij->ik", &[&[2, 3]], "the result of \"ij->ik\" names 'k' but no operand has it")?,
            fails("ij->ii", &[&[2, 3]], "the result of \"ij->ii\" names 'i' twice")?,
            fails("i1", &[&[2, 3]], "\"i1\" has '1', expected letters")?,
            fails("ii", &[&[2, 1]], "a letter twice in operand 0 of \"ii\", shape [2, 1], has two sizes")?,
        ])
    }
}

#[cfg(feature = "samples")]
pub(crate) use declared::{error_samples, samples};

//! Samples of views.

use chainrule_tensor::{INFER, Result, Slice};

use crate::Var;
use crate::samples::{Array, ErrorSample, Sample, uniform};

fn take(x: &Array, shape: &[usize], index: impl Fn(&[usize]) -> Vec<usize>) -> Array {
    Array::build(shape, |at| x.at(&index(at)))
}

pub(super) fn samples() -> Result<Vec<Sample>> {
    let x = || uniform(&[3, 4, 5], -1.0, 1.0, 1);
    let sample = |op, case: &str, call: fn(&[Var]) -> Result<Var>| -> Result<Sample> {
        Ok(Sample::new(op, case, vec![x()?], call))
    };
    let flat = |a: &[Array], shape: &[usize]| Array { shape: shape.to_vec(), data: a[0].data.clone() };
    Ok(vec![
        sample("contiguous", "3-d", |x| x[0].contiguous())?.plain(move |a| flat(a, &[3, 4, 5])),
        sample("reshape", "infer", |x| x[0].reshape([6, INFER]))?.plain(move |a| flat(a, &[6, 10])),
        sample("reshape", "to the same", |x| x[0].reshape([3, 4, 5]))?.plain(move |a| flat(a, &[3, 4, 5])),
        sample("flatten", "first two", |x| x[0].flatten(0, 1))?.plain(move |a| flat(a, &[12, 5])),
        sample("unsqueeze", "middle", |x| x[0].unsqueeze(1))?.plain(move |a| flat(a, &[3, 1, 4, 5])),
        sample("squeeze", "after unsqueeze", |x| x[0].unsqueeze(-1)?.squeeze(-1))?.plain(move |a| flat(a, &[3, 4, 5])),
        sample("permute", "all dims", |x| x[0].permute([2, 0, 1]))?
            .plain(|a| take(&a[0], &[5, 3, 4], |i| vec![i[1], i[2], i[0]])),
        sample("transpose", "outer", |x| x[0].transpose(0, -1))?
            .plain(|a| take(&a[0], &[5, 4, 3], |i| vec![i[2], i[1], i[0]])),
        Sample::new("expand", "middle and new dim", vec![uniform(&[3, 1, 2], -1.0, 1.0, 2)?], |x| {
            x[0].expand([2, 3, 4, 2])
        })
        .plain(|a| take(&a[0], &[2, 3, 4, 2], |i| vec![i[1], 0, i[3]])),
        sample("sum_to", "middle and first", |x| x[0].sum_to([4, 1]))?.plain(|a| {
            Array::build(&[4, 1], |i| {
                (0..3).flat_map(|p| (0..5).map(move |q| (p, q))).map(|(p, q)| a[0].at(&[p, i[0], q])).sum()
            })
        }),
        sample("narrow", "middle", |x| x[0].narrow(1, 1, 2))?
            .plain(|a| take(&a[0], &[3, 2, 5], |i| vec![i[0], i[1] + 1, i[2]])),
        sample("slice", "negative step", |x| x[0].slice(-1, Slice::from(..).step(-2)))?
            .plain(|a| take(&a[0], &[3, 4, 3], |i| vec![i[0], i[1], 4 - 2 * i[2]])),
        sample("slice", "empty", |x| x[0].slice(0, 3..))?.plain(|_| Array { shape: vec![0, 4, 5], data: vec![] }),
        sample("select", "last", |x| x[0].select(1, -1))?.plain(|a| take(&a[0], &[3, 5], |i| vec![i[0], 3, i[1]])),
        sample("flip", "two dims", |x| x[0].flip([0, 2]))?
            .plain(|a| take(&a[0], &[3, 4, 5], |i| vec![2 - i[0], i[1], 4 - i[2]])),
        sample("diagonal", "above", |x| x[0].diagonal(1, 0, 2))?
            .plain(|a| take(&a[0], &[4, 3], |i| vec![i[1], i[0], i[1] + 1])),
        sample("unfold", "overlapping", |x| x[0].unfold(2, 3, 1))?
            .plain(|a| take(&a[0], &[3, 4, 3, 3], |i| vec![i[0], i[1], i[2] + i[3]])),
        sample("with_hook", "doubles the gradient of a half", |x| x[0].mul(0.5)?.with_hook(|dy| dy.mul(1.0)))?
            .plain(|a| take(&a[0], &[3, 4, 5], |i| i.to_vec()).map(|v| 0.5 * v)),
    ])
}

pub(super) fn error_samples() -> Result<Vec<ErrorSample>> {
    let x = || Ok(vec![uniform(&[3, 4], -1.0, 1.0, 1)?]);
    Ok(vec![
        ErrorSample::new("reshape", x()?, |x| x[0].reshape([5, 2]), "[3, 4] has 12 elements, got [5, 2]"),
        ErrorSample::new("reshape", x()?, |x| x[0].reshape([INFER, INFER]), "only one size can be inferred"),
        ErrorSample::new(
            "transpose",
            x()?,
            |x| x[0].transpose(0, 2),
            "there is no dim 2 in shape [3, 4], expected -2 to 1",
        ),
        ErrorSample::new("permute", x()?, |x| x[0].permute([0, 0]), "dim 0 is named twice"),
        ErrorSample::new("expand", x()?, |x| x[0].expand([3, 5]), "shape [3, 4] does not expand to [3, 5]"),
        ErrorSample::new("narrow", x()?, |x| x[0].narrow(1, 3, 2), "2 indices from 3 leave dim 1 of size 4"),
        ErrorSample::new("select", x()?, |x| x[0].select(0, 3), "index 3 is outside dim 0 of size 3"),
        ErrorSample::new("slice", x()?, |x| x[0].slice(0, Slice::from(..).step(0)), "a step other than 0"),
        ErrorSample::new("squeeze", x()?, |x| x[0].squeeze(1), "has size 4, expected 1"),
        ErrorSample::new("unfold", x()?, |x| x[0].unfold(1, 5, 1), "windows of 5 every 1 do not fit dim 1 of size 4"),
    ])
}

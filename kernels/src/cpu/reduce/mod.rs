//! Reductions on the host: formulas and methods are in [`crate::reduce`].

mod block;
mod fold;
mod lines;
#[cfg(test)]
mod tests;

use self::block::{Block, Plan};
use self::fold::{
    AbsolutePower, AnyTruth, Deviation, ExpBelow, FirstEqual, Greatest, Least, OfAbsolute, Product, SquaredDeviation,
    Sum, SumOf,
};
use crate::cpu::number::{Float, Number, Summed};
use crate::cpu::widen::{run_widened, run_with_wide_inputs};
use crate::reduce::ReduceParams;
use crate::{Bool, Compute, CpuArgs, Error, ErrorKind, Result, Stored, with_dtype};

/// Runs `f` on each block of outputs.
fn blocks<S: Stored, O: Stored>(args: &mut CpuArgs<'_>, f: &(dyn Fn(&Block<'_, S>, &mut [O]) + Sync)) -> Result<()> {
    let params: ReduceParams = args.params();
    let plan = Plan {
        x: args.whole_input::<S>(0),
        offset: args.offset(0) as isize,
        kept: params.kept,
        reduced: params.reduced,
        rows: params.rows as usize,
        cols: params.cols as usize,
    };
    plan.for_each_block(args.output::<O>(0), f);
    Ok(())
}

/// The number of elements per output, and the op's argument.
fn count_and_argument(args: &CpuArgs<'_>) -> (f64, f64) {
    let params: ReduceParams = args.params();
    (params.cols as f64, params.argument)
}

fn store<C: Compute, O: Stored>(y: &mut [O], values: impl IntoIterator<Item = C>) {
    y.iter_mut().zip(values).for_each(|(y, value)| *y = value.store());
}

/// What sums and products are stored as: floats as they are, all else as i64.
type Total<S> = <S as Summed>::Total;

fn no_integers(args: &CpuArgs<'_>) -> Result<()> {
    Err(Error::new(ErrorKind::Unsupported { dtype: args.elem, device: "cpu".into() }))
}

pub(crate) fn sum(args: &mut CpuArgs<'_>) -> Result<()> {
    run_widened(
        args,
        &|args: &mut CpuArgs<'_>| with_dtype!(args.elem, compute E => blocks::<E, Total<E>>(args, &|x, y| store(y, x.fold_plain(&Sum))), else no_integers(args)),
    )
}

pub(crate) fn prod(args: &mut CpuArgs<'_>) -> Result<()> {
    run_widened(
        args,
        &|args: &mut CpuArgs<'_>| with_dtype!(args.elem, compute E => blocks::<E, Total<E>>(args, &|x, y| store(y, x.fold_plain(&Product))), else no_integers(args)),
    )
}

pub(crate) fn mean(args: &mut CpuArgs<'_>) -> Result<()> {
    let (n, _) = count_and_argument(args);
    run_widened(
        args,
        &|args: &mut CpuArgs<'_>| with_dtype!(args.elem, real E => blocks::<E, E>(args, &|x, y| store(y, means(x, n))), else no_integers(args)),
    )
}

pub(crate) fn max(args: &mut CpuArgs<'_>) -> Result<()> {
    run_widened(
        args,
        &|args: &mut CpuArgs<'_>| with_dtype!(args.elem, compute E => blocks::<E, E>(args, &|x, y| store(y, x.fold_plain(&Greatest))), else no_integers(args)),
    )
}

pub(crate) fn min(args: &mut CpuArgs<'_>) -> Result<()> {
    run_widened(
        args,
        &|args: &mut CpuArgs<'_>| with_dtype!(args.elem, compute E => blocks::<E, E>(args, &|x, y| store(y, x.fold_plain(&Least))), else no_integers(args)),
    )
}

pub(crate) fn any(args: &mut CpuArgs<'_>) -> Result<()> {
    run_with_wide_inputs(args, &|args: &mut CpuArgs<'_>| {
        with_dtype!(args.elem, compute E => blocks::<E, Bool>(args, &|x, y| {
        y.iter_mut().zip(x.fold_plain(&AnyTruth { wanted: true })).for_each(|(y, found)| *y = Bool((found != Number::ZERO).into()));
    }), else no_integers(args))
    })
}

pub(crate) fn all(args: &mut CpuArgs<'_>) -> Result<()> {
    run_with_wide_inputs(args, &|args: &mut CpuArgs<'_>| {
        with_dtype!(args.elem, compute E => blocks::<E, Bool>(args, &|x, y| {
        y.iter_mut().zip(x.fold_plain(&AnyTruth { wanted: false })).for_each(|(y, found)| *y = Bool((found == Number::ZERO).into()));
    }), else no_integers(args))
    })
}

pub(crate) fn argmax(args: &mut CpuArgs<'_>) -> Result<()> {
    run_widened(args, &|args: &mut CpuArgs<'_>| {
        with_dtype!(args.elem, compute E => blocks::<E, i64>(args, &|x, y| {
        store(y, x.fold(&FirstEqual, &x.fold_plain(&Greatest)));
    }), else no_integers(args))
    })
}

pub(crate) fn argmin(args: &mut CpuArgs<'_>) -> Result<()> {
    run_widened(args, &|args: &mut CpuArgs<'_>| {
        with_dtype!(args.elem, compute E => blocks::<E, i64>(args, &|x, y| {
        store(y, x.fold(&FirstEqual, &x.fold_plain(&Least)));
    }), else no_integers(args))
    })
}

pub(crate) fn norm(args: &mut CpuArgs<'_>) -> Result<()> {
    let (_, p) = count_and_argument(args);
    run_widened(
        args,
        &|args: &mut CpuArgs<'_>| with_dtype!(args.elem, real E => blocks::<E, E>(args, &|x, y| store(y, norms(x, p))), else no_integers(args)),
    )
}

pub(crate) fn logsumexp(args: &mut CpuArgs<'_>) -> Result<()> {
    run_widened(
        args,
        &|args: &mut CpuArgs<'_>| with_dtype!(args.elem, real E => blocks::<E, E>(args, &|x, y| store(y, logs_of_sums(x))), else no_integers(args)),
    )
}

pub(crate) fn var(args: &mut CpuArgs<'_>) -> Result<()> {
    let (n, correction) = count_and_argument(args);
    run_widened(args, &|args: &mut CpuArgs<'_>| {
        with_dtype!(args.elem, real E => blocks::<E, E>(args, &|x, y| store(y, variances(x, n, correction))),
        else no_integers(args))
    })
}

pub(crate) fn std(args: &mut CpuArgs<'_>) -> Result<()> {
    let (n, correction) = count_and_argument(args);
    run_widened(args, &|args: &mut CpuArgs<'_>| {
        with_dtype!(args.elem, real E => blocks::<E, E>(args, &|x, y| {
        store(y, variances(x, n, correction).into_iter().map(Float::sqrt));
    }), else no_integers(args))
    })
}

fn means<S: Stored>(x: &Block<'_, S>, n: f64) -> Vec<S::Compute>
where
    S::Compute: Float,
{
    let n = Stored::from_f64(n);
    let mut sums = x.fold_plain(&Sum);
    sums.iter_mut().for_each(|sum| *sum = sum.over(n));
    sums
}

fn norms<S: Stored>(x: &Block<'_, S>, p: f64) -> Vec<S::Compute>
where
    S::Compute: Float,
{
    let zeros = vec![Number::ZERO; x.len()];
    match p {
        f64::INFINITY => x.fold_plain(&OfAbsolute(Greatest)),
        f64::NEG_INFINITY => x.fold_plain(&OfAbsolute(Least)),
        1.0 => x.fold_plain(&OfAbsolute(Sum)),
        2.0 => x.fold(&SumOf(SquaredDeviation), &zeros).into_iter().map(Float::sqrt).collect(),
        0.0 => x.fold(&SumOf(AbsolutePower(p)), &zeros),
        _ => {
            let root = Stored::from_f64(1.0 / p);
            x.fold(&SumOf(AbsolutePower(p)), &zeros).into_iter().map(|sum| sum.powf(root)).collect()
        }
    }
}

fn logs_of_sums<S: Stored>(x: &Block<'_, S>) -> Vec<S::Compute>
where
    S::Compute: Float,
{
    let mut shifts = x.fold_plain(&Greatest);
    for shift in &mut shifts {
        // An infinite maximum is no shift to take: inf - inf is NaN, while exp(inf) and exp(-inf) are right as they are.
        if shift.abs() == Number::HIGHEST {
            *shift = Number::ZERO;
        }
    }
    let mut sums = x.fold(&SumOf(ExpBelow), &shifts);
    sums.iter_mut().zip(shifts).for_each(|(sum, shift)| *sum = sum.ln().plus(shift));
    sums
}

fn variances<S: Stored>(x: &Block<'_, S>, n: f64, correction: f64) -> Vec<S::Compute>
where
    S::Compute: Float,
{
    let (count, divisor) = (Stored::from_f64(n), Stored::from_f64((n - correction).max(0.0)));
    let means = means(x, n);
    let rests = x.fold(&SumOf(Deviation), &means);
    let mut squares = x.fold(&SumOf(SquaredDeviation), &means);
    for (square, rest) in squares.iter_mut().zip(rests) {
        // Where the squares overflowed, so may the square of the rest.
        let exact = if *square == Number::HIGHEST { *square } else { square.minus(rest.times(rest).over(count)) };
        *square = exact.greater(Number::ZERO).over(divisor);
    }
    squares
}

//! Cross-entropy on the host; formulas in `crate::cross_entropy`.

use super::parallel;
use super::real::Real;
use super::rows::{for_each_rows, max, sum, sum2, unsupported, widened_or};
use super::simd::wide;
use crate::cpu::widen::run_widened;
use crate::cross_entropy::{CrossEntropyParams, Reduction};
use crate::{Compute, CpuArgs, Error, Result, Stored, with_dtype};

/// The work of an element with its exponential, in units of an addition.
const COST: usize = 8;

/// The host body of `CROSS_ENTROPY_FORWARD`.
pub(crate) fn forward(args: &mut CpuArgs<'_>) -> Result<()> {
    run_widened(
        args,
        &|args: &mut CpuArgs<'_>| with_dtype!(args.elem, real E => forward_rows::<E>(args), else Err(unsupported(args.elem))),
    )
}

/// The host body of `CROSS_ENTROPY_BACKWARD`.
pub(crate) fn backward(args: &mut CpuArgs<'_>) -> Result<()> {
    run_widened(
        args,
        &|args: &mut CpuArgs<'_>| with_dtype!(args.elem, real E => backward_rows::<E>(args), else Err(unsupported(args.elem))),
    )
}

/// The labels, each `None` where its row is ignored.
fn read_labels(args: &CpuArgs<'_>, index: usize, params: &CrossEntropyParams) -> Result<Vec<Option<usize>>> {
    let dtype = args.input_dtype(index);
    with_dtype!(dtype, index L => check_labels(args.input::<L>(index), params), else Err(unsupported(dtype)))
}

fn check_labels<L: Stored>(labels: &[L], params: &CrossEntropyParams) -> Result<Vec<Option<usize>>> {
    let CrossEntropyParams { classes, ignore_index, .. } = *params;
    let check = |(row, label): (usize, &L)| match label.to_i64() {
        label if label == ignore_index => Ok(None),
        label if (0..classes as i64).contains(&label) => Ok(Some(label as usize)),
        label => Err(Error::index(
            "cross_entropy",
            format!(
                "row {row} has label {label}, expected 0 <= label < {classes}, the number of classes, \
                 or ignore_index {ignore_index}"
            ),
        )),
    };
    labels[..params.rows as usize].iter().enumerate().map(check).collect()
}

/// What is the same in every row.
struct Target<C> {
    /// The class weights, where there are any.
    weight: Option<Vec<C>>,
    /// The share of the label.
    sharp: C,
    /// The share of every class.
    smooth: C,
    /// The sum of the class weights.
    weight_sum: C,
}

impl<C: Real> Target<C> {
    fn new<E: Stored<Compute = C>>(weight: Option<&[E]>, params: &CrossEntropyParams) -> Target<C> {
        let classes = params.classes as usize;
        let weight = weight.map(|weight| widened_or(Some(weight), classes, C::c(1.0)));
        let weight_sum = match &weight {
            Some(weight) => sum(weight, |w| w),
            None => C::from_i64(classes as i64),
        };
        Target {
            weight,
            sharp: C::c(1.0 - params.label_smoothing),
            smooth: C::c(params.label_smoothing / params.classes as f64),
            weight_sum,
        }
    }

    fn weight(&self, label: usize) -> C {
        self.weight.as_ref().map_or(C::c(1.0), |weight| weight[label])
    }
}

fn forward_rows<E: Stored<Compute: Real>>(args: &mut CpuArgs<'_>) -> Result<()> {
    let params: CrossEntropyParams = args.params();
    let (rows, classes) = (params.rows as usize, params.classes as usize);
    let labels = read_labels(args, 1, &params)?;
    let logits = args.input::<E>(0);
    let target = Target::new((params.has_weight != 0).then(|| args.input::<E>(2)), &params);
    let (loss, total_weight) = (args.output::<E>(0), args.output::<E::Compute>(3));
    let (max, log_sum) = (args.output::<E::Compute>(1), args.output::<E::Compute>(2));
    debug_assert_eq!((max.len(), log_sum.len(), total_weight.len()), (rows, rows, 1));
    let mut losses = vec![E::Compute::c(0.0); rows];
    for_each_rows(rows, classes * COST, (&mut losses, max, log_sum), &|range, losses, max, log_sum| {
        wide::<E::Compute, _>(
            #[inline(always)]
            || {
                for (i, row) in range.enumerate() {
                    let logits = &logits[row * classes..][..classes];
                    (losses[i], max[i], log_sum[i]) = forward_row(logits, labels[row], &target);
                }
            },
        );
    });
    let weights = labels.iter().flatten().map(|&label| target.weight(label).to_f64());
    let total = weights.sum::<f64>();
    total_weight.fill(E::Compute::c(total));
    if params.reduction == Reduction::None as u64 {
        for (out, &loss) in loss.iter_mut().zip(&losses) {
            *out = E::Compute::store(loss);
        }
        return Ok(());
    }
    let sum = losses.iter().map(|loss| loss.to_f64()).sum::<f64>();
    loss.fill(E::from_f64(if params.reduction == Reduction::Mean as u64 { sum / total } else { sum }));
    Ok(())
}

/// The loss of a row, its largest logit and the logarithm of its sum of exponentials.
#[inline(always)]
fn forward_row<E: Stored<Compute: Real>>(
    logits: &[E],
    label: Option<usize>,
    target: &Target<E::Compute>,
) -> (E::Compute, E::Compute, E::Compute) {
    let zero = E::Compute::c(0.0);
    let Some(label) = label else { return (zero, zero, zero) };
    // 1. The maximum.
    let max = max(logits, |x| x.widen());
    // 2. The logarithm of the sum of exponentials.
    let log_sum = sum(logits, |x| (x.widen() - max).exp()).ln();
    // 3. The label's share and that of all classes.
    let mut loss = target.sharp * target.weight(label) * (log_sum - (logits[label].widen() - max));
    if target.smooth != zero {
        let shifted = match &target.weight {
            Some(weight) => sum2(logits, weight, |x, w| w * (x.widen() - max)),
            None => sum(logits, |x| x.widen() - max),
        };
        loss = loss + target.smooth * (target.weight_sum * log_sum - shifted);
    }
    (loss, max, log_sum)
}

fn backward_rows<E: Stored<Compute: Real>>(args: &mut CpuArgs<'_>) -> Result<()> {
    let params: CrossEntropyParams = args.params();
    let classes = params.classes as usize;
    let labels = read_labels(args, 2, &params)?;
    let (dy, logits) = (args.input::<E>(0), args.input::<E>(1));
    let (max, log_sum) = (args.input::<E::Compute>(3), args.input::<E::Compute>(4));
    let total_weight = args.input::<E::Compute>(5)[0];
    let target = Target::new((params.has_weight != 0).then(|| args.input::<E>(6)), &params);
    let dlogits = args.output::<E>(0);
    debug_assert_eq!(dlogits.len(), params.rows as usize * classes);
    let divisor = if params.reduction == Reduction::Mean as u64 { total_weight } else { E::Compute::c(1.0) };
    let per_row = params.reduction == Reduction::None as u64;
    parallel::for_each_chunk(dlogits, classes, classes * COST, |first, dlogits| {
        wide::<E::Compute, _>(
            #[inline(always)]
            || {
                for (row, dlogits) in (first..).zip(dlogits.chunks_exact_mut(classes)) {
                    let scale = dy[if per_row { row } else { 0 }].widen() / divisor;
                    let logits = &logits[row * classes..][..classes];
                    backward_row((logits, max[row], log_sum[row]), labels[row], &target, scale, dlogits);
                }
            },
        );
    });
    Ok(())
}

#[inline(always)]
fn backward_row<E: Stored<Compute: Real>>(
    (logits, max, log_sum): (&[E], E::Compute, E::Compute),
    label: Option<usize>,
    target: &Target<E::Compute>,
    scale: E::Compute,
    dlogits: &mut [E],
) {
    let Some(label) = label else { return dlogits.fill(E::default()) };
    let sharp = scale * target.sharp * target.weight(label);
    let smooth = scale * target.smooth;
    let probability_scale = sharp + smooth * target.weight_sum;
    let of_probability = |x: E| (x.widen() - max - log_sum).exp() * probability_scale;
    match &target.weight {
        Some(weight) if target.smooth != E::Compute::c(0.0) => {
            for ((dx, &x), &w) in dlogits.iter_mut().zip(logits).zip(weight) {
                *dx = E::Compute::store(of_probability(x) - smooth * w);
            }
        }
        _ => {
            for (dx, &x) in dlogits.iter_mut().zip(logits) {
                *dx = E::Compute::store(of_probability(x) - smooth);
            }
        }
    }
    let of_label = of_probability(logits[label]) - smooth * target.weight(label) - sharp;
    dlogits[label] = E::Compute::store(of_label);
}

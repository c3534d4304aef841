//! Cross-entropy of logits with labels, fused.

use chainrule_tensor::{CrossEntropy, CrossEntropyLoss, Result, Tensor};

use crate::Var;
use crate::op::{Op, apply_one};

/// Cross-entropy of `logits` with labels that are no input, because they have no gradient.
struct WithLabels {
    labels: Tensor,
    options: CrossEntropy,
}

impl Op for WithLabels {
    type Saved = CrossEntropyLoss;

    fn name(&self) -> &'static str {
        "cross_entropy"
    }

    fn forward(&self, inputs: &[Tensor]) -> Result<(Vec<Tensor>, CrossEntropyLoss)> {
        let saved = inputs[0].cross_entropy_forward(&self.labels, &self.options)?;
        Ok((vec![saved.loss.clone()], saved))
    }

    fn backward(&self, saved: &CrossEntropyLoss, dys: &[Option<Tensor>], _: &[bool]) -> Result<Vec<Option<Tensor>>> {
        let [Some(dy)] = dys else { return Ok(vec![None]) };
        Ok(vec![Some(saved.backward(dy)?)])
    }

    fn reference(&self, inputs: &[Var]) -> Result<Vec<Var>> {
        let logits = &inputs[0];
        let log_probabilities = logits.log_softmax(if logits.rank() > 1 { 1 } else { 0 })?;
        Ok(vec![log_probabilities.nll_loss(&self.labels, &self.options)?])
    }
}

impl Var {
    /// The mean over the rows of `-log_softmax(x)[label]`; see [`Tensor::cross_entropy`].
    /// Gradient: `(softmax(x) - one_hot(label)) / rows`, in one pass.
    ///
    /// ```
    /// # use chainrule_autograd::value_and_grad;
    /// # use chainrule_tensor::{Device, Tensor};
    /// let x = Tensor::new([[0.0f64, 0.0]], &Device::Cpu)?;
    /// let labels = Tensor::new([1u32], &Device::Cpu)?;
    /// let (y, dx) = value_and_grad(|x| x[0].cross_entropy(&labels), &[x])?;
    /// assert_eq!((y.item::<f64>()?, dx[0].to_vec::<f64>()?), (std::f64::consts::LN_2, vec![0.5, -0.5]));
    /// # Ok::<(), chainrule_tensor::Error>(())
    /// ```
    #[track_caller]
    pub fn cross_entropy(&self, labels: &Tensor) -> Result<Var> {
        self.cross_entropy_with(labels, &CrossEntropy::default())
    }

    /// Cross-entropy with a reduction, an ignored label, label smoothing or class weights; see
    /// [`Tensor::cross_entropy_with`]. Gradient: in one pass, as [`Var::cross_entropy`]; 0 where a row is ignored.
    ///
    /// ```
    /// # use chainrule_autograd::value_and_grad;
    /// # use chainrule_tensor::{CrossEntropy, Device, Reduction, Tensor};
    /// let x = Tensor::new([[0.0f64, 0.0], [0.0, 0.0]], &Device::Cpu)?;
    /// let labels = Tensor::new([1i64, -100], &Device::Cpu)?;
    /// let sum = CrossEntropy { reduction: Reduction::Sum, ..CrossEntropy::default() };
    /// let (y, dx) = value_and_grad(|x| x[0].cross_entropy_with(&labels, &sum), &[x])?;
    /// // The second row is ignored.
    /// assert_eq!((y.item::<f64>()?, dx[0].to_vec::<f64>()?), (std::f64::consts::LN_2, vec![0.5, -0.5, 0.0, 0.0]));
    /// # Ok::<(), chainrule_tensor::Error>(())
    /// ```
    #[track_caller]
    pub fn cross_entropy_with(&self, labels: &Tensor, options: &CrossEntropy) -> Result<Var> {
        apply_one(WithLabels { labels: labels.clone(), options: options.clone() }, &[self])
    }
}

#[cfg(feature = "samples")]
mod declared {
    use chainrule_tensor::{CrossEntropy, Device, Reduction, Result, Tensor};

    use crate::Var;
    use crate::samples::{Array, ErrorSample, Sample, indices, on_device_of, uniform};

    /// The losses of rows of `classes` logits, index by index, and the weights that their mean divides by.
    fn losses(logits: &Array, labels: &Array, options: &CrossEntropy) -> (Vec<f64>, f64) {
        let classes = logits.shape[logits.shape.len().min(2) - 1];
        let inner: usize = logits.shape.iter().skip(2).product();
        let weight = options.weight.as_ref().and_then(|weight| weight.to_f64_vec().ok()).unwrap_or(vec![1.0; classes]);
        let mut total = 0.0;
        let mut of_row = |(row, &label): (usize, &f64)| {
            if label == options.ignore_index as f64 {
                return 0.0;
            }
            let at = |class: usize| logits.data[(row / inner * classes + class) * inner + row % inner];
            let max = (0..classes).map(at).fold(f64::NEG_INFINITY, f64::max);
            let log_sum = (0..classes).map(|class| (at(class) - max).exp()).sum::<f64>().ln() + max;
            let surprise = |class: usize| weight[class] * (log_sum - at(class));
            let share = options.label_smoothing;
            let smooth = (0..classes).map(surprise).sum::<f64>() / classes as f64;
            total += weight[label as usize];
            (1.0 - share) * surprise(label as usize) + if share > 0.0 { share * smooth } else { 0.0 }
        };
        let losses = labels.data.iter().enumerate().map(&mut of_row).collect();
        (losses, total)
    }

    fn sample(case: &str, logits: Tensor, labels: Tensor, options: CrossEntropy) -> Sample {
        let expected = options.clone();
        let call = move |x: &[Var]| {
            let weight = on_device_of(&options.weight, x)?;
            x[0].cross_entropy_with(&x[1].detach(), &CrossEntropy { weight, ..options.clone() })
        };
        Sample::new("cross_entropy_with", case, vec![logits, labels], call).plain(move |a| {
            let (losses, total) = losses(&a[0], &a[1], &expected);
            let sum = losses.iter().sum::<f64>();
            match expected.reduction {
                Reduction::None => Array { shape: a[1].shape.clone(), data: losses },
                Reduction::Mean => Array { shape: vec![], data: vec![sum / total] },
                Reduction::Sum => Array { shape: vec![], data: vec![sum] },
            }
        })
    }

    pub(crate) fn samples() -> Result<Vec<Sample>> {
        let (none, sum) = (Reduction::None, Reduction::Sum);
        let standard = CrossEntropy::default;
        let x = |shape: &[usize]| uniform(shape, -2.0, 2.0, 6);
        let labels = Tensor::new([2i64, -100, 0, 4, 2], &Device::Cpu)?;
        let ids = Tensor::new([2u32, 1, 0, 4, 2], &Device::Cpu)?;
        let weight = uniform(&[5], 0.5, 2.0, 8)?;
        let smooth = CrossEntropy { label_smoothing: 0.1, ..standard() };
        let weighted = CrossEntropy { weight: Some(weight), ..smooth.clone() };
        let all_ignored = Tensor::full([2], -100i64, chainrule_tensor::DType::I64, &Device::Cpu)?;
        // The class weights are part of the options, so they keep the dtype of the case.
        let wide = [chainrule_tensor::DType::F64];
        let minus_infinity = Tensor::new([[0.0, f64::NEG_INFINITY, 1.0], [1.0, 2.0, 0.5]], &Device::Cpu)?;
        Ok(vec![
            Sample::new("cross_entropy", "mean", vec![x(&[4, 7])?, indices(&[4], 7, 3)?], |x| {
                x[0].cross_entropy(&x[1].detach())
            })
            .plain(|a| {
                let (losses, total) = losses(&a[0], &a[1], &CrossEntropy::default());
                Array { shape: vec![], data: vec![losses.iter().sum::<f64>() / total] }
            }),
            sample("an ignored row", x(&[5, 5])?, labels.clone(), standard()),
            sample("no reduction", x(&[5, 5])?, labels.clone(), CrossEntropy { reduction: none, ..standard() }),
            sample(
                "sum, i32 labels",
                x(&[2, 5])?,
                Tensor::new([4i32, 1], &Device::Cpu)?,
                CrossEntropy { reduction: sum, ..standard() },
            ),
            sample("ignored class", x(&[5, 5])?, ids, CrossEntropy { ignore_index: 2, ..smooth.clone() }),
            sample("smoothing", x(&[5, 5])?, labels.clone(), smooth),
            sample("weights and smoothing", x(&[5, 5])?, labels.clone(), weighted.clone()).dtypes(&wide),
            sample("weights, no reduction", x(&[5, 5])?, labels, CrossEntropy { reduction: none, ..weighted })
                .dtypes(&wide),
            sample("classes in dim 1", x(&[2, 3, 4])?, indices(&[2, 4], 3, 5)?, standard()),
            sample(
                "classes in dim 1, no reduction",
                x(&[2, 3, 2, 2])?,
                indices(&[2, 2, 2], 3, 5)?,
                CrossEntropy { reduction: none, ..standard() },
            ),
            sample("no batch", x(&[4])?, Tensor::new(3u32, &Device::Cpu)?, standard()),
            sample("one class", x(&[3, 1])?, indices(&[3], 1, 5)?, standard()),
            sample("no rows", x(&[0, 3])?, indices(&[0], 3, 5)?, CrossEntropy { reduction: sum, ..standard() }),
            sample("no rows, mean", x(&[0, 3])?, indices(&[0], 3, 5)?, standard()).no_gradient(),
            sample("all ignored", x(&[2, 3])?, all_ignored, standard()).no_gradient(),
            sample("minus infinity", minus_infinity, Tensor::new([0u32, 1], &Device::Cpu)?, standard()).no_gradient(),
            sample("gpt vocabulary", x(&[768, 65])?, indices(&[768], 65, 5)?, standard()).bench(),
        ])
    }

    pub(crate) fn error_samples() -> Result<Vec<ErrorSample>> {
        let x = |labels: Tensor| Ok(vec![uniform(&[2, 3], -1.0, 1.0, 1)?, labels]);
        let ids = |values: [i64; 2]| Tensor::new(values, &Device::Cpu);
        let error =
            |inputs, call: fn(&[Var]) -> Result<Var>, message| ErrorSample::new("cross_entropy", inputs, call, message);
        Ok(vec![
            error(
                x(ids([0, 3])?)?,
                |x| x[0].cross_entropy(&x[1].detach()),
                "cross_entropy: row 1 has label 3, expected 0 <= label < 3, the number of classes, or ignore_index -100",
            ),
            error(x(ids([-1, 0])?)?, |x| x[0].cross_entropy(&x[1].detach()), "row 0 has label -1"),
            error(
                x(Tensor::new([0u32, 1, 2], &Device::Cpu)?)?,
                |x| x[0].cross_entropy(&x[1].detach()),
                "cross_entropy: labels have shape [3], expected [2] for logits [2, 3]",
            ),
            error(
                x(uniform(&[2], 0.0, 1.0, 1)?)?,
                |x| x[0].cross_entropy(&x[1].to_dtype(chainrule_tensor::DType::F32)?.detach()),
                "cross_entropy: labels are f32, expected integers: cast with to_dtype",
            ),
            error(
                x(ids([0, 1])?)?,
                |x| {
                    let weight = Some(Tensor::ones([2], x[0].dtype(), &x[0].device())?);
                    x[0].cross_entropy_with(&x[1].detach(), &CrossEntropy { weight, ..CrossEntropy::default() })
                },
                "cross_entropy: weight has shape [2], expected [3], one for each class",
            ),
            error(
                x(ids([0, 1])?)?,
                |x| {
                    let options = CrossEntropy { label_smoothing: 1.5, ..CrossEntropy::default() };
                    x[0].cross_entropy_with(&x[1].detach(), &options)
                },
                "cross_entropy: label_smoothing is 1.5, expected 0 to 1",
            ),
            error(
                vec![uniform(&[2, 0], 0.0, 1.0, 1)?, ids([0, 1])?],
                |x| x[0].cross_entropy(&x[1].detach()),
                "cross_entropy: needs at least one class, got logits [2, 0]",
            ),
        ])
    }
}

#[cfg(feature = "samples")]
pub(crate) use declared::{error_samples, samples};

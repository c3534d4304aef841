//! Losses of log-probabilities with labels, and of logits with distributions.

use chainrule_tensor::{CrossEntropy, DType, Device, Error, Reduction, Result, Shape, Tensor};

use super::loss::{reduced, same_shape};
use crate::Var;

/// The dim of the classes: 1, or 0 without a batch.
#[track_caller]
fn class_dim(op: &'static str, shape: &Shape) -> Result<usize> {
    let dim = usize::from(shape.rank() > 1);
    match shape.get(dim) {
        Some(&classes) if classes > 0 => Ok(dim),
        _ => Err(Error::shape(op, format!("needs at least one class, got {shape}, expected [N, C, ...]"))),
    }
}

/// The class weights with their dim at `dim`; ones where absent.
#[track_caller]
fn class_weight(op: &'static str, x: &Var, dim: usize, weight: Option<&Tensor>) -> Result<Tensor> {
    let mut per_class = vec![1; x.rank()];
    per_class[dim] = x.shape()[dim];
    match weight {
        Some(weight) if *weight.shape() == [per_class[dim]] => weight.reshape(per_class),
        Some(weight) => {
            let message = format!("weight has shape {}, expected [{}]", weight.shape(), per_class[dim]);
            Err(Error::shape(op, message + ", one for each class"))
        }
        None => Tensor::ones(per_class, x.dtype(), &x.device()),
    }
}

/// Refuses labels of another shape or dtype, or outside the classes.
#[track_caller]
fn check_labels(op: &'static str, x: &Var, dim: usize, labels: &Tensor, ignore_index: i64) -> Result<()> {
    if !labels.dtype().is_int() {
        return Err(Error::dtype(op, format!("labels are {}, expected integers: cast with to_dtype", labels.dtype())));
    }
    let (classes, expected) = (x.shape()[dim] as i64, x.shape().without(dim));
    if *labels.shape() != expected {
        let message = format!("labels have shape {}, expected {expected} for input {}", labels.shape(), x.shape());
        return Err(Error::shape(op, message));
    }
    let labels = labels.to_device(&Device::Cpu)?.to_dtype(DType::I64)?.to_vec::<i64>()?;
    let fits = |label: &i64| *label == ignore_index || (0..classes).contains(label);
    match labels.iter().enumerate().find(|(_, label)| !fits(label)) {
        None => Ok(()),
        Some((row, label)) => {
            let message = format!("row {row} has label {label}, expected 0 <= label < {classes}");
            Err(Error::index(op, format!("{message}, the number of classes, or ignore_index {ignore_index}")))
        }
    }
}

impl Var {
    /// The negative log-likelihood of labels, where this variable holds log-probabilities: `-weight_t x_t`, with the
    /// options and shapes of [`Tensor::cross_entropy_with`].
    ///
    /// [`Var::cross_entropy_with`] is this of [`Var::log_softmax`], in one pass. The mean is weighted, and NaN where
    /// every row is ignored. Gradient: `-weight_t` at the label, 0 elsewhere.
    ///
    /// # Errors
    /// As [`Tensor::cross_entropy_with`].
    ///
    /// ```
    /// use chainrule_autograd::Var;
    /// use chainrule_tensor::{CrossEntropy, Device, Tensor};
    /// let log_probabilities = Var::from(Tensor::new([[-1.0f64, -2.0], [-3.0, -4.0]], &Device::Cpu)?);
    /// let labels = Tensor::new([0u32, 1], &Device::Cpu)?;
    /// assert_eq!(log_probabilities.nll_loss(&labels, &CrossEntropy::default())?.item::<f64>()?, 2.5);
    /// # Ok::<(), chainrule_tensor::Error>(())
    /// ```
    ///
    /// # Differences
    /// Label smoothing is applied here too; PyTorch has it in cross-entropy only.
    ///
    /// Source: `torch.nn.functional.nll_loss`.
    #[track_caller]
    pub fn nll_loss(&self, labels: &Tensor, options: &CrossEntropy) -> Result<Var> {
        let op = "nll_loss";
        let dim = class_dim(op, self.shape())?;
        check_labels(op, self, dim, labels, options.ignore_index)?;
        let weight = class_weight(op, self, dim, options.weight.as_ref())?;
        let class_sizes: Vec<usize> = weight.shape().to_vec();
        let classes = Tensor::arange(0, class_sizes[dim] as i64, 1, &self.device())?.reshape(class_sizes)?;
        let (labels, dim) = (labels.to_dtype(classes.dtype())?, dim as isize);
        let chosen = labels.unsqueeze(dim)?.eq(&classes)?;
        let ignored = labels.eq(options.ignore_index)?;
        // A class that is not the label may have probability 0, whose logarithm must not meet a factor of 0.
        let of_label = self.where_(&chosen, 0.0)?.mul(&weight)?.sum(dim, false)?.neg()?;
        let share = options.label_smoothing;
        let losses = if share == 0.0 {
            of_label
        } else {
            let of_all = self.mul(&weight)?.sum(dim, false)?.mul(-share / self.size(dim)? as f64)?;
            of_label.mul(1.0 - share)?.add(of_all)?
        };
        let losses = losses.masked_fill(&ignored, 0.0)?;
        if options.reduction != Reduction::Mean {
            return reduced(losses, options.reduction);
        }
        let of_rows = chosen.to_dtype(weight.dtype())?.mul(&weight)?.sum(dim, false)?;
        losses.sum(.., false)?.div(of_rows.masked_fill(&ignored, 0.0)?.sum(.., false)?)
    }

    /// Cross-entropy of logits with a distribution over the classes for each row, instead of a label:
    /// `-sum_c weight_c q_c log_softmax(x)_c` with `q = (1 - s) target + s / C` for label smoothing `s`.
    ///
    /// Logits and target `[N, C]`, `[N, C, d1, ...]` or `[C]`; `ignore_index` has no meaning here, and the mean is over
    /// rows whatever the weights. Gradient: that of the composition, for logits and target.
    ///
    /// # Errors
    /// A target of another shape, a weight that is not `[C]`.
    ///
    /// ```
    /// use chainrule_autograd::Var;
    /// use chainrule_tensor::{CrossEntropy, Device, Tensor};
    /// let logits = Var::from(Tensor::new([[0.0f64, 0.0]], &Device::Cpu)?);
    /// let target = Tensor::new([[0.5f64, 0.5]], &Device::Cpu)?;
    /// assert_eq!(logits.cross_entropy_soft(&target, &CrossEntropy::default())?.item::<f64>()?, 2f64.ln());
    /// # Ok::<(), chainrule_tensor::Error>(())
    /// ```
    ///
    /// Source: `torch.nn.functional.cross_entropy` with class probabilities.
    #[track_caller]
    pub fn cross_entropy_soft(&self, target: impl Into<Var>, options: &CrossEntropy) -> Result<Var> {
        let (op, target) = ("cross_entropy_soft", target.into());
        same_shape(op, self, &target)?;
        let dim = class_dim(op, self.shape())?;
        let weight = class_weight(op, self, dim, options.weight.as_ref())?;
        let share = options.label_smoothing;
        let smoothed = match share {
            0.0 => target,
            _ => target.mul(1.0 - share)?.add(share / self.shape()[dim] as f64)?,
        };
        let surprise = self.log_softmax(dim as isize)?.neg()?;
        reduced(surprise.mul(smoothed)?.mul(&weight)?.sum(dim as isize, false)?, options.reduction)
    }
}

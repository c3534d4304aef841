//! Cross-entropy of logits with labels, and its backward pass.

use chainrule_kernels::Buffer;
use chainrule_kernels::cross_entropy::{
    self, CrossEntropyInputs, CrossEntropyOutputs, CrossEntropyParams, CrossEntropySaved, Reduction,
};

use crate::{Error, Result, Shape, Tensor};

/// The options of cross-entropy; the default is PyTorch's.
///
/// ```
/// use chainrule_tensor::{CrossEntropy, Reduction};
/// let options = CrossEntropy { label_smoothing: 0.1, ..CrossEntropy::default() };
/// assert_eq!((options.reduction, options.ignore_index), (Reduction::Mean, -100));
/// ```
#[derive(Clone, Debug)]
pub struct CrossEntropy {
    /// How the losses of the rows become the result.
    pub reduction: Reduction,
    /// The label of rows that do not count, -100 by default.
    pub ignore_index: i64,
    /// The share of the target that is spread over all classes, 0 to 1.
    pub label_smoothing: f64,
    /// One weight for each class.
    pub weight: Option<Tensor>,
}

impl Default for CrossEntropy {
    fn default() -> CrossEntropy {
        CrossEntropy { reduction: Reduction::Mean, ignore_index: -100, label_smoothing: 0.0, weight: None }
    }
}

/// The result of cross-entropy and what its backward pass needs.
#[derive(Clone)]
pub struct CrossEntropyLoss {
    /// The loss.
    pub loss: Tensor,
    rows: Rows,
    max: Tensor,
    log_sum: Tensor,
    total_weight: Tensor,
}

/// The arguments as the kernels take them.
#[derive(Clone)]
struct Rows {
    /// `[rows, C]`, row-major.
    logits: Tensor,
    /// `[rows]`, row-major.
    labels: Tensor,
    weight: Option<Tensor>,
    params: CrossEntropyParams,
    /// The shape of the logits with the classes last.
    classes_last: Shape,
    /// Where the dim of classes was.
    class_dim: isize,
}

impl Rows {
    fn inputs(&self) -> CrossEntropyInputs<'_> {
        CrossEntropyInputs {
            logits: data(&self.logits),
            labels: data(&self.labels),
            weight: self.weight.as_ref().map(data),
        }
    }
}

/// A row-major tensor as kernels take it.
fn data(x: &Tensor) -> (&Buffer, usize) {
    (x.buffer(), x.layout().offset())
}

impl Tensor {
    /// The mean over the rows of `-log_softmax(logits)[label]`; see [`Tensor::cross_entropy_with`].
    ///
    /// ```
    /// use chainrule_tensor::{Device, Tensor};
    /// let logits = Tensor::new([[0.0f64, 0.0], [0.0, 0.0]], &Device::Cpu)?;
    /// let labels = Tensor::new([0u32, 1], &Device::Cpu)?;
    /// assert_eq!(logits.cross_entropy(&labels)?.item::<f64>()?, 2f64.ln());
    /// # Ok::<(), chainrule_tensor::Error>(())
    /// ```
    ///
    /// Source: `torch.nn.functional.cross_entropy`.
    #[track_caller]
    pub fn cross_entropy(&self, labels: &Tensor) -> Result<Tensor> {
        self.cross_entropy_with(labels, &CrossEntropy::default())
    }

    /// Cross-entropy of logits with labels, in one kernel.
    ///
    /// With `t` the label of a row, `s` the label smoothing, `w` the class weights and `logp = log_softmax(logits)`:
    ///
    /// ```text
    /// loss = -(1 - s) w_t logp_t - s / C sum_c w_c logp_c        0 where t is ignore_index
    /// mean = sum of loss / sum of w_t
    /// ```
    ///
    /// Logits `[N, C]` with labels `[N]`, `[N, C, d1, ...]` with `[N, d1, ...]`, or `[C]` with `[]`; labels of any
    /// integer dtype, weight `[C]`. The result is 0-d, or of the shape of the labels without reduction. Sums over classes
    /// are taken in `f32` (`f64` for `f64`), those over rows in `f64`. Where every row is ignored, the mean is NaN.
    ///
    /// # Errors
    /// Shapes that do not fit, a label that is neither a class nor `ignore_index`, logits that are no floats, labels
    /// that are no integers, a smoothing outside 0 to 1.
    ///
    /// ```
    /// use chainrule_tensor::{CrossEntropy, Device, Reduction, Tensor};
    /// let logits = Tensor::new([[0.0f64, 0.0], [0.0, 0.0]], &Device::Cpu)?;
    /// let labels = Tensor::new([-100i64, 1], &Device::Cpu)?;
    /// let options = CrossEntropy { reduction: Reduction::None, ..CrossEntropy::default() };
    /// assert_eq!(logits.cross_entropy_with(&labels, &options)?.to_vec::<f64>()?, [0.0, 2f64.ln()]);
    /// # Ok::<(), chainrule_tensor::Error>(())
    /// ```
    ///
    /// # Differences
    /// The gradient of an ignored row is 0 even where its logits are not finite.
    ///
    /// Source: `torch.nn.functional.cross_entropy`; label smoothing: Szegedy et al. (2015), arXiv:1512.00567.
    #[track_caller]
    pub fn cross_entropy_with(&self, labels: &Tensor, options: &CrossEntropy) -> Result<Tensor> {
        Ok(self.cross_entropy_forward(labels, options)?.loss)
    }

    /// As [`Tensor::cross_entropy_with`], with what [`CrossEntropyLoss::backward`] needs.
    ///
    /// # Errors
    /// As [`Tensor::cross_entropy_with`].
    #[track_caller]
    pub fn cross_entropy_forward(&self, labels: &Tensor, options: &CrossEntropy) -> Result<CrossEntropyLoss> {
        let rows = arranged(self, labels, options)?;
        let (device, dtype) = (self.device(), self.dtype());
        let n = rows.params.rows as usize;
        let stats = |len| Buffer::allocate(&device, dtype.compute(), len);
        let (mut max, mut log_sum, mut total_weight) = (stats(n)?, stats(n)?, stats(1)?);
        let shape = if options.reduction == Reduction::None { *labels.shape() } else { Shape::SCALAR };
        let loss = Tensor::build(&device, dtype, shape, |loss| {
            let outputs =
                CrossEntropyOutputs { loss, max: &mut max, log_sum: &mut log_sum, total_weight: &mut total_weight };
            cross_entropy::cross_entropy_forward(rows.inputs(), outputs, rows.params)
        })?;
        let (per_row, one) = (Shape::new(&[n])?, Shape::new(&[1])?);
        Ok(CrossEntropyLoss {
            loss,
            rows,
            max: Tensor::from_buffer(max, per_row),
            log_sum: Tensor::from_buffer(log_sum, per_row),
            total_weight: Tensor::from_buffer(total_weight, one),
        })
    }
}

impl CrossEntropyLoss {
    /// The gradient of the logits from that of the loss.
    ///
    /// # Errors
    /// Another shape or dtype of `dy`.
    #[track_caller]
    pub fn backward(&self, dy: &Tensor) -> Result<Tensor> {
        let (rows, logits) = (&self.rows, &self.rows.logits);
        let dy = dy.gradient_of("cross_entropy", self.loss.shape(), self.loss.dtype())?;
        let saved = CrossEntropySaved {
            dy: data(&dy),
            max: data(&self.max),
            log_sum: data(&self.log_sum),
            total_weight: data(&self.total_weight),
        };
        let dlogits = Tensor::build(&logits.device(), logits.dtype(), rows.classes_last, |dlogits| {
            cross_entropy::cross_entropy_backward(saved, rows.inputs(), dlogits, rows.params)
        })?;
        moved(&dlogits, -1, rows.class_dim)
    }
}

/// Checks the arguments and brings the classes to the last dim.
#[track_caller]
fn arranged(logits: &Tensor, labels: &Tensor, options: &CrossEntropy) -> Result<Rows> {
    let op = "cross_entropy";
    if !labels.dtype().is_int() {
        let message = format!("labels are {}, expected integers: cast with to_dtype", labels.dtype());
        return Err(Error::dtype(op, message));
    }
    let CrossEntropy { reduction, ignore_index, label_smoothing, ref weight } = *options;
    if !(0.0..=1.0).contains(&label_smoothing) {
        return Err(Error::argument(op, format!("label_smoothing is {label_smoothing}, expected 0 to 1")));
    }
    let class_dim = class_dim(op, logits.shape())?;
    let (classes, expected) = (logits.shape()[class_dim], logits.shape().without(class_dim));
    if *labels.shape() != expected {
        let message =
            format!("labels have shape {}, expected {expected} for logits {}", labels.shape(), logits.shape());
        return Err(Error::shape(op, message));
    }
    logits.same_device(op, labels)?;
    let weight = weight.as_ref().map(|weight| class_weight(op, weight, classes, logits)).transpose()?;
    let class_dim = class_dim as isize;
    let logits = moved(logits, class_dim, -1)?.float_rows(op)?;
    let params = CrossEntropyParams {
        ignore_index,
        label_smoothing,
        ..CrossEntropyParams::new(labels.elements(), classes, reduction)
    };
    Ok(Rows { classes_last: *logits.shape(), logits, labels: labels.contiguous()?, weight, params, class_dim })
}

/// The dim of the classes: 1, or 0 of logits without a batch.
#[track_caller]
pub(crate) fn class_dim(op: &'static str, shape: &Shape) -> Result<usize> {
    let dim = usize::from(shape.rank() > 1);
    match shape.get(dim) {
        Some(&classes) if classes > 0 => Ok(dim),
        _ => Err(Error::shape(op, format!("needs at least one class, got logits {shape}, expected [N, C, ...]"))),
    }
}

/// The class weights in row-major order.
#[track_caller]
pub(crate) fn class_weight(op: &'static str, weight: &Tensor, classes: usize, logits: &Tensor) -> Result<Tensor> {
    if *weight.shape() != [classes] {
        let message = format!("weight has shape {}, expected [{classes}], one for each class", weight.shape());
        return Err(Error::shape(op, message));
    }
    if weight.dtype() != logits.dtype() {
        let message = format!("weight is {}, expected {} as the logits", weight.dtype(), logits.dtype());
        return Err(Error::dtype(op, message + ": cast with to_dtype"));
    }
    logits.same_device(op, weight)?;
    weight.contiguous()
}

/// One dim moved to another place.
#[track_caller]
fn moved(x: &Tensor, from: isize, to: isize) -> Result<Tensor> {
    let rank = x.rank() as isize;
    let (from, to) = (from.rem_euclid(rank), to.rem_euclid(rank));
    if from == to {
        return Ok(x.clone());
    }
    let mut order: Vec<isize> = (0..rank).filter(|&dim| dim != from).collect();
    order.insert(to as usize, from);
    x.permute(order)
}

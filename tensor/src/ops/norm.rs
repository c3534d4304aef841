//! Layer and root-mean-square normalisation over the last dims, and their backward passes.

use chainrule_kernels::Buffer;
use chainrule_kernels::layer_norm::{
    self, LayerNormGradients, LayerNormInputs, LayerNormOutputs, LayerNormParams, LayerNormSaved,
};
use chainrule_kernels::rms_norm::{self, RmsNormParams, RmsNormSaved};

use crate::{Error, Result, Shape, Sizes, Tensor};

/// The result of a normalisation and what its backward pass needs.
#[derive(Clone)]
pub struct Normalized {
    /// The result, of the shape of the input.
    pub y: Tensor,
    /// The input in row-major order.
    pub x: Tensor,
    /// The weight in row-major order.
    pub weight: Option<Tensor>,
    /// The mean of each row (layer norm only); of the compute dtype.
    pub mean: Option<Tensor>,
    /// `1 / sqrt(variance + eps)`, or `1 / sqrt(mean of squares + eps)`, of each row; of the compute dtype.
    pub rstd: Tensor,
}

/// The gradients of a normalisation.
#[derive(Clone)]
pub struct NormGradients {
    /// That of the input.
    pub dx: Tensor,
    /// That of the weight, where wanted.
    pub dweight: Option<Tensor>,
    /// That of the bias, where wanted.
    pub dbias: Option<Tensor>,
}

/// A row-major tensor as kernels take it.
fn data(x: &Tensor) -> (&Buffer, usize) {
    (x.buffer(), x.layout().offset())
}

impl Tensor {
    /// `y = (x - mean) / sqrt(variance + eps) * weight + bias`, with mean and variance (not corrected) over the last
    /// dims, as many as `weight` (or `bias`) has; over the last dim where both are absent.
    ///
    /// `x [..., C]`, `weight [C]`, `bias [C]`; all of one dtype. The variance takes a second pass, so a mean much larger
    /// than the deviation costs no digits; sums are taken in `f32`, in `f64` for `f64`.
    ///
    /// # Errors
    /// A weight or bias whose shape is not that of the last dims, or a dtype that is no float.
    ///
    /// ```
    /// use chainrule_tensor::{Device, Tensor};
    /// let x = Tensor::new([[1.0f64, 3.0]], &Device::Cpu)?;
    /// let weight = Tensor::new([2.0f64, 2.0], &Device::Cpu)?;
    /// assert_eq!(x.layer_norm(Some(&weight), None, 0.0)?.to_vec::<f64>()?, [-2.0, 2.0]);
    /// # Ok::<(), chainrule_tensor::Error>(())
    /// ```
    ///
    /// Source: Ba, Kiros and Hinton, Layer Normalization (2016), equation 4; `torch.nn.functional.layer_norm`.
    #[track_caller]
    pub fn layer_norm(&self, weight: Option<&Tensor>, bias: Option<&Tensor>, eps: f64) -> Result<Tensor> {
        let over = &self.shape()[self.rank().saturating_sub(weight.or(bias).map_or(1, Tensor::rank))..];
        self.layer_norm_over(over, weight, bias, eps)
    }

    /// As [`Tensor::layer_norm`], over last dims whose sizes are given.
    ///
    /// # Errors
    /// Sizes that are not those of the last dims.
    ///
    /// ```
    /// use chainrule_tensor::{Device, Tensor};
    /// let x = Tensor::new([[1.0f64, 1.0], [3.0, 3.0]], &Device::Cpu)?;
    /// assert_eq!(x.layer_norm_over([2, 2], None, None, 0.0)?.to_vec::<f64>()?, [-1.0, -1.0, 1.0, 1.0]);
    /// # Ok::<(), chainrule_tensor::Error>(())
    /// ```
    ///
    /// Source: `torch.nn.functional.layer_norm`.
    #[track_caller]
    pub fn layer_norm_over(
        &self,
        over: impl Sizes,
        weight: Option<&Tensor>,
        bias: Option<&Tensor>,
        eps: f64,
    ) -> Result<Tensor> {
        Ok(self.layer_norm_forward(over, weight, bias, eps)?.y)
    }

    /// As [`Tensor::layer_norm_over`], with what [`Normalized::layer_norm_backward`] needs.
    ///
    /// # Errors
    /// As [`Tensor::layer_norm`].
    #[track_caller]
    pub fn layer_norm_forward(
        &self,
        over: impl Sizes,
        weight: Option<&Tensor>,
        bias: Option<&Tensor>,
        eps: f64,
    ) -> Result<Normalized> {
        let op = "layer_norm";
        let (lead, cols) = rows(op, self, over.sizes())?;
        let x = self.float_rows(op)?;
        let weight = affine(op, "weight", &x, over.sizes(), weight)?;
        let bias = affine(op, "bias", &x, over.sizes(), bias)?;
        let inputs = LayerNormInputs { x: data(&x), weight: weight.as_ref().map(data), bias: bias.as_ref().map(data) };
        let (device, stats) = (x.device(), x.dtype().compute());
        let mut mean = Buffer::allocate(&device, stats, lead.elements())?;
        let mut rstd = Buffer::allocate(&device, stats, lead.elements())?;
        let y = Tensor::build(&device, x.dtype(), *x.shape(), |y| {
            let outputs = LayerNormOutputs { y, mean: &mut mean, rstd: &mut rstd };
            layer_norm::layer_norm_forward(inputs, outputs, LayerNormParams::new(lead.elements(), cols, eps))
        })?;
        let mean = Some(Tensor::from_buffer(mean, lead));
        Ok(Normalized { y, x, weight, mean, rstd: Tensor::from_buffer(rstd, lead) })
    }

    /// `y = x / sqrt(mean(x^2) + eps) * weight`, with the mean over the last dims, as many as `weight` has; over the last
    /// dim where it is absent.
    ///
    /// `x [..., C]`, `weight [C]`, of one dtype. Sums are taken in `f32`, in `f64` for `f64`; the squares of a row of
    /// large values do not overflow.
    ///
    /// # Errors
    /// A weight whose shape is not that of the last dims, or a dtype that is no float.
    ///
    /// ```
    /// use chainrule_tensor::{Device, Tensor};
    /// let x = Tensor::new([[0.0f64, 0.0, 0.0, 4.0]], &Device::Cpu)?;
    /// assert_eq!(x.rms_norm(None, 0.0)?.to_vec::<f64>()?, [0.0, 0.0, 0.0, 2.0]);
    /// # Ok::<(), chainrule_tensor::Error>(())
    /// ```
    ///
    /// Source: Zhang and Sennrich, Root Mean Square Layer Normalization (2019), equation 4;
    /// `torch.nn.functional.rms_norm`.
    #[track_caller]
    pub fn rms_norm(&self, weight: Option<&Tensor>, eps: f64) -> Result<Tensor> {
        let over = &self.shape()[self.rank().saturating_sub(weight.map_or(1, Tensor::rank))..];
        self.rms_norm_over(over, weight, eps)
    }

    /// As [`Tensor::rms_norm`], over last dims whose sizes are given.
    ///
    /// # Errors
    /// Sizes that are not those of the last dims.
    ///
    /// ```
    /// use chainrule_tensor::{Device, Tensor};
    /// let x = Tensor::new([[2.0f64], [-2.0]], &Device::Cpu)?;
    /// assert_eq!(x.rms_norm_over([2, 1], None, 0.0)?.to_vec::<f64>()?, [1.0, -1.0]);
    /// # Ok::<(), chainrule_tensor::Error>(())
    /// ```
    ///
    /// Source: `torch.nn.functional.rms_norm`.
    #[track_caller]
    pub fn rms_norm_over(&self, over: impl Sizes, weight: Option<&Tensor>, eps: f64) -> Result<Tensor> {
        Ok(self.rms_norm_forward(over, weight, eps)?.y)
    }

    /// As [`Tensor::rms_norm_over`], with what [`Normalized::rms_norm_backward`] needs.
    ///
    /// # Errors
    /// As [`Tensor::rms_norm`].
    #[track_caller]
    pub fn rms_norm_forward(&self, over: impl Sizes, weight: Option<&Tensor>, eps: f64) -> Result<Normalized> {
        let op = "rms_norm";
        let (lead, cols) = rows(op, self, over.sizes())?;
        let x = self.float_rows(op)?;
        let weight = affine(op, "weight", &x, over.sizes(), weight)?;
        let mut rstd = Buffer::allocate(&x.device(), x.dtype().compute(), lead.elements())?;
        let y = Tensor::build(&x.device(), x.dtype(), *x.shape(), |y| {
            let params = RmsNormParams::new(lead.elements(), cols, eps);
            rms_norm::rms_norm_forward(data(&x), weight.as_ref().map(data), y, &mut rstd, params)
        })?;
        Ok(Normalized { y, x, weight, mean: None, rstd: Tensor::from_buffer(rstd, lead) })
    }
}

impl Normalized {
    /// The gradients of [`Tensor::layer_norm_forward`] from that of its result, in one pass over the rows; those of
    /// weight and bias, of the shape `over`, where wanted.
    ///
    /// # Errors
    /// Another shape or dtype of `dy`, or the result of another op.
    #[track_caller]
    pub fn layer_norm_backward(
        &self,
        dy: &Tensor,
        over: impl Sizes,
        wants_dweight: bool,
        wants_dbias: bool,
    ) -> Result<NormGradients> {
        let (x, op) = (&self.x, "layer_norm");
        let (lead, cols) = rows(op, x, over.sizes())?;
        let dy = dy.gradient_of(op, x.shape(), x.dtype())?;
        let mean = self.mean.as_ref().ok_or_else(|| Error::argument(op, "the result of another op, without a mean"))?;
        let saved = LayerNormSaved {
            dy: data(&dy),
            x: data(x),
            mean: data(mean),
            rstd: data(&self.rstd),
            weight: self.weight.as_ref().map(data),
        };
        let mut dweight = sums(x, cols, wants_dweight)?;
        let mut dbias = sums(x, cols, wants_dbias)?;
        let dx = Tensor::build(&x.device(), x.dtype(), *x.shape(), |dx| {
            let gradients = LayerNormGradients { dx, dweight: dweight.as_mut(), dbias: dbias.as_mut() };
            layer_norm::layer_norm_backward(saved, gradients, LayerNormParams::new(lead.elements(), cols, 0.0))
        })?;
        let over = Shape::new(over.sizes())?;
        let tensor = |sums: Option<Buffer>| sums.map(|sums| Tensor::from_buffer(sums, over));
        Ok(NormGradients { dx, dweight: tensor(dweight), dbias: tensor(dbias) })
    }

    /// The gradients of [`Tensor::rms_norm_forward`] from that of its result; that of the weight where wanted.
    ///
    /// # Errors
    /// Another shape or dtype of `dy`.
    #[track_caller]
    pub fn rms_norm_backward(&self, dy: &Tensor, over: impl Sizes, wants_dweight: bool) -> Result<NormGradients> {
        let (x, op) = (&self.x, "rms_norm");
        let (lead, cols) = rows(op, x, over.sizes())?;
        let dy = dy.gradient_of(op, x.shape(), x.dtype())?;
        let weight = self.weight.as_ref().map(data);
        let saved = RmsNormSaved { dy: data(&dy), x: data(x), rstd: data(&self.rstd), weight };
        let mut dweight = sums(x, cols, wants_dweight)?;
        let dx = Tensor::build(&x.device(), x.dtype(), *x.shape(), |dx| {
            rms_norm::rms_norm_backward(saved, dx, dweight.as_mut(), RmsNormParams::new(lead.elements(), cols, 0.0))
        })?;
        let over = Shape::new(over.sizes())?;
        Ok(NormGradients { dx, dweight: dweight.map(|sums| Tensor::from_buffer(sums, over)), dbias: None })
    }
}

/// Room for the gradient of a weight or bias, where wanted.
#[track_caller]
fn sums(x: &Tensor, cols: usize, wanted: bool) -> Result<Option<Buffer>> {
    wanted.then(|| Buffer::allocate(&x.device(), x.dtype(), cols)).transpose()
}

/// The dims that number the rows, and the elements of a row.
#[track_caller]
fn rows(op: &'static str, x: &Tensor, over: &[usize]) -> Result<(Shape, usize)> {
    if over.is_empty() || !x.shape().ends_with(over) {
        let message = format!("normalises over {over:?}, expected the last dims of x {}", x.shape());
        return Err(Error::shape(op, message));
    }
    Ok((Shape::new(&x.shape()[..x.rank() - over.len()])?, over.iter().product()))
}

/// A weight or bias in row-major order.
#[track_caller]
fn affine(op: &'static str, name: &str, x: &Tensor, over: &[usize], affine: Option<&Tensor>) -> Result<Option<Tensor>> {
    let Some(affine) = affine else { return Ok(None) };
    if *affine.shape() != *over {
        let message = format!("{name} has shape {}, expected {over:?} to match the last dim", affine.shape());
        let plural = if over.len() == 1 { "" } else { "s" };
        return Err(Error::shape(op, format!("{message}{plural} of x {}", x.shape())));
    }
    if affine.dtype() != x.dtype() {
        let message = format!("{name} is {}, expected {} as x: cast with to_dtype", affine.dtype(), x.dtype());
        return Err(Error::dtype(op, message));
    }
    x.same_device(op, affine)?;
    affine.contiguous().map(Some)
}

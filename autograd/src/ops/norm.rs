//! Layer, root-mean-square and group normalisation.

use chainrule_tensor::{Error, NormGradients, Normalized, Result, Shape, Sizes, Tensor};

use crate::Var;
use crate::op::{Op, apply_one};

/// The mean over the last dims `over` of an input, kept as dims of size 1.
#[track_caller]
fn mean(x: &Var, over: &Shape) -> Result<Var> {
    let dims: Vec<isize> = (1..=over.rank() as isize).map(|dim| -dim).collect();
    x.sum(dims, true)?.div(over.elements() as f64)
}

/// `layer_norm` of `x, [weight], [bias]`.
struct LayerNorm {
    over: Shape,
    eps: f64,
    has_weight: bool,
    has_bias: bool,
}

impl LayerNorm {
    /// Weight and bias among the inputs.
    fn affine<'a, T>(&self, inputs: &'a [T]) -> (Option<&'a T>, Option<&'a T>) {
        let weight = inputs.get(1).filter(|_| self.has_weight);
        let bias = inputs.get(1 + usize::from(self.has_weight)).filter(|_| self.has_bias);
        (weight, bias)
    }
}

impl Op for LayerNorm {
    type Saved = Normalized;

    fn name(&self) -> &'static str {
        "layer_norm"
    }

    fn forward(&self, inputs: &[Tensor]) -> Result<(Vec<Tensor>, Normalized)> {
        let (weight, bias) = self.affine(inputs);
        let saved = inputs[0].layer_norm_forward(self.over, weight, bias, self.eps)?;
        Ok((vec![saved.y.clone()], saved))
    }

    fn backward(&self, saved: &Normalized, dys: &[Option<Tensor>], wants: &[bool]) -> Result<Vec<Option<Tensor>>> {
        let [Some(dy)] = dys else { return Ok(vec![None; wants.len()]) };
        let (weight, bias) = self.affine(wants);
        let wanted = |x: Option<&bool>| x.is_some_and(|&wanted| wanted);
        let NormGradients { dx, dweight, dbias } =
            saved.layer_norm_backward(dy, self.over, wanted(weight), wanted(bias))?;
        let mut gradients = vec![Some(dx)];
        gradients.extend(weight.map(|_| dweight));
        gradients.extend(bias.map(|_| dbias));
        Ok(gradients)
    }

    fn reference(&self, inputs: &[Var]) -> Result<Vec<Var>> {
        let (weight, bias) = self.affine(inputs);
        let centred = inputs[0].sub(mean(&inputs[0], &self.over)?)?;
        let variance = mean(&centred.square()?, &self.over)?;
        let mut y = centred.mul(variance.add(self.eps)?.rsqrt()?)?;
        y = weight.map_or(Ok(y.clone()), |weight| y.mul(weight))?;
        Ok(vec![bias.map_or(Ok(y.clone()), |bias| y.add(bias))?])
    }
}

/// `rms_norm` of `x, [weight]`.
struct RmsNorm {
    over: Shape,
    eps: f64,
}

impl Op for RmsNorm {
    type Saved = Normalized;

    fn name(&self) -> &'static str {
        "rms_norm"
    }

    fn forward(&self, inputs: &[Tensor]) -> Result<(Vec<Tensor>, Normalized)> {
        let saved = inputs[0].rms_norm_forward(self.over, inputs.get(1), self.eps)?;
        Ok((vec![saved.y.clone()], saved))
    }

    fn backward(&self, saved: &Normalized, dys: &[Option<Tensor>], wants: &[bool]) -> Result<Vec<Option<Tensor>>> {
        let [Some(dy)] = dys else { return Ok(vec![None; wants.len()]) };
        let weight = wants.get(1).copied();
        let NormGradients { dx, dweight, .. } = saved.rms_norm_backward(dy, self.over, weight.unwrap_or(false))?;
        let mut gradients = vec![Some(dx)];
        gradients.extend(weight.map(|_| dweight));
        Ok(gradients)
    }

    fn reference(&self, inputs: &[Var]) -> Result<Vec<Var>> {
        let x = &inputs[0];
        let y = x.mul(mean(&x.square()?, &self.over)?.add(self.eps)?.rsqrt()?)?;
        Ok(vec![inputs.get(1).map_or(Ok(y.clone()), |weight| y.mul(weight))?])
    }
}

impl Var {
    /// `(x - mean) / sqrt(variance + eps) * weight + bias` over the last dims; see [`Tensor::layer_norm`].
    /// Gradient: one pass of the fused kernel gives those of `x`, `weight` and `bias`.
    ///
    /// ```
    /// # use chainrule_autograd::value_and_grad;
    /// # use chainrule_tensor::{Device, Tensor};
    /// let [x, weight] = [Tensor::new([1.0f64, 3.0], &Device::Cpu)?, Tensor::new([1.0f64, 1.0], &Device::Cpu)?];
    /// let (y, grads) = value_and_grad(|v| v[0].layer_norm(Some(&v[1]), None, 0.0)?.sum(.., false), &[x, weight])?;
    /// assert_eq!((y.item::<f64>()?, grads[1].to_vec::<f64>()?), (0.0, vec![-1.0, 1.0]));
    /// # Ok::<(), chainrule_tensor::Error>(())
    /// ```
    #[track_caller]
    pub fn layer_norm(&self, weight: Option<&Var>, bias: Option<&Var>, eps: f64) -> Result<Var> {
        let over = &self.shape()[self.rank().saturating_sub(weight.or(bias).map_or(1, Var::rank))..];
        self.layer_norm_over(over, weight, bias, eps)
    }

    /// As [`Var::layer_norm`], over last dims whose sizes are given; see [`Tensor::layer_norm_over`].
    /// Gradient: as [`Var::layer_norm`].
    ///
    /// ```
    /// # use chainrule_autograd::value_and_grad;
    /// # use chainrule_tensor::{Device, Tensor};
    /// let [x, weight] = [Tensor::new([[1.0f64], [3.0]], &Device::Cpu)?, Tensor::new([[1.0f64], [1.0]], &Device::Cpu)?];
    /// let (y, grads) = value_and_grad(|v| v[0].layer_norm_over([2, 1], Some(&v[1]), None, 0.0)?.sum(.., false), &[x, weight])?;
    /// assert_eq!((y.item::<f64>()?, grads[1].to_vec::<f64>()?), (0.0, vec![-1.0, 1.0]));
    /// # Ok::<(), chainrule_tensor::Error>(())
    /// ```
    #[track_caller]
    pub fn layer_norm_over(&self, over: impl Sizes, weight: Option<&Var>, bias: Option<&Var>, eps: f64) -> Result<Var> {
        let over = Shape::new(over.sizes())?;
        let mut inputs = vec![self];
        inputs.extend(weight);
        inputs.extend(bias);
        apply_one(LayerNorm { over, eps, has_weight: weight.is_some(), has_bias: bias.is_some() }, &inputs)
    }

    /// `x / sqrt(mean(x^2) + eps) * weight` over the last dims; see [`Tensor::rms_norm`].
    /// Gradient: one pass of the fused kernel gives those of `x` and `weight`.
    ///
    /// ```
    /// # use chainrule_autograd::value_and_grad;
    /// # use chainrule_tensor::{Device, Tensor};
    /// let [x, weight] = [Tensor::new([2.0f64, -2.0], &Device::Cpu)?, Tensor::new([1.0f64, 1.0], &Device::Cpu)?];
    /// let (y, grads) = value_and_grad(|v| v[0].rms_norm(Some(&v[1]), 0.0)?.sum(.., false), &[x, weight])?;
    /// assert_eq!((y.item::<f64>()?, grads[1].to_vec::<f64>()?), (0.0, vec![1.0, -1.0]));
    /// # Ok::<(), chainrule_tensor::Error>(())
    /// ```
    #[track_caller]
    pub fn rms_norm(&self, weight: Option<&Var>, eps: f64) -> Result<Var> {
        let over = &self.shape()[self.rank().saturating_sub(weight.map_or(1, Var::rank))..];
        self.rms_norm_over(over, weight, eps)
    }

    /// As [`Var::rms_norm`], over last dims whose sizes are given; see [`Tensor::rms_norm_over`].
    /// Gradient: as [`Var::rms_norm`].
    ///
    /// ```
    /// # use chainrule_autograd::value_and_grad;
    /// # use chainrule_tensor::{Device, Tensor};
    /// let [x, weight] = [Tensor::new([[2.0f64], [-2.0]], &Device::Cpu)?, Tensor::new([[1.0f64], [1.0]], &Device::Cpu)?];
    /// let (y, grads) = value_and_grad(|v| v[0].rms_norm_over([2, 1], Some(&v[1]), 0.0)?.sum(.., false), &[x, weight])?;
    /// assert_eq!((y.item::<f64>()?, grads[1].to_vec::<f64>()?), (0.0, vec![1.0, -1.0]));
    /// # Ok::<(), chainrule_tensor::Error>(())
    /// ```
    #[track_caller]
    pub fn rms_norm_over(&self, over: impl Sizes, weight: Option<&Var>, eps: f64) -> Result<Var> {
        let mut inputs = vec![self];
        inputs.extend(weight);
        apply_one(RmsNorm { over: Shape::new(over.sizes())?, eps }, &inputs)
    }

    /// Layer normalisation of each group of channels: `x [N, C, ...]` is normalised over `C / groups` channels and all
    /// dims after them, then scaled and shifted by `weight [C]` and `bias [C]`.
    ///
    /// `y = (x - mean) / sqrt(variance + eps) * weight + bias`. Gradient: that of [`Var::layer_norm`].
    ///
    /// # Errors
    /// Fewer than 2 dims, channels that the groups do not divide, a weight or bias of another shape.
    ///
    /// ```
    /// use chainrule_autograd::Var;
    /// use chainrule_tensor::{Device, Tensor};
    /// let x = Var::from(Tensor::new([[1.0f64, 3.0, 10.0, 30.0]], &Device::Cpu)?);
    /// assert_eq!(x.group_norm(2, None, None, 0.0)?.to_vec::<f64>()?, [-1.0, 1.0, -1.0, 1.0]);
    /// # Ok::<(), chainrule_tensor::Error>(())
    /// ```
    ///
    /// Source: Wu and He, Group Normalization (2018), arXiv:1803.08494; `torch.nn.functional.group_norm`.
    #[track_caller]
    pub fn group_norm(&self, groups: usize, weight: Option<&Var>, bias: Option<&Var>, eps: f64) -> Result<Var> {
        let (op, shape) = ("group_norm", *self.shape());
        let &[n, channels, ..] = &shape[..] else {
            return Err(Error::shape(op, format!("needs at least 2 dims, got x {shape}")));
        };
        if groups == 0 || !channels.is_multiple_of(groups) {
            return Err(Error::shape(
                op,
                format!("{groups} groups do not divide the {channels} channels of x {shape}"),
            ));
        }
        let cols = channels / groups * shape[2..].iter().product::<usize>();
        let grouped = self.reshape([n, groups, cols])?.layer_norm_over([cols], None, None, eps)?;
        let mut y = grouped.reshape(shape)?;
        let mut per_channel = vec![1; shape.rank() - 1];
        per_channel[0] = channels;
        for (name, affine) in [("weight", weight), ("bias", bias)] {
            let Some(affine) = affine else { continue };
            if *affine.shape() != [channels] {
                let message = format!("{name} has shape {}, expected [{channels}]", affine.shape());
                return Err(Error::shape(op, format!("{message}, the channels of x {shape}")));
            }
            let affine = affine.reshape(&per_channel)?;
            y = if name == "weight" { y.mul(affine)? } else { y.add(affine)? };
        }
        Ok(y)
    }
}

//! Steps of optimisers over many tensors in one launch, in place where a tensor is the only owner of its buffer.

use chainrule_kernels::l2_norm::{self, Span};
use chainrule_kernels::{Buffer, adamw, sgd};
pub use chainrule_kernels::{adamw::AdamWParams, sgd::SgdParams};

use crate::{DType, Device, Error, Result, Shape, Tensor};

/// A parameter with its gradient and the state of AdamW. All have one shape, and the states the dtype that the
/// parameter's is computed in; see [`state_like`].
pub struct AdamWSlot<'a> {
    /// The parameter.
    pub param: &'a mut Tensor,
    /// Its gradient.
    pub grad: &'a Tensor,
    /// The mean of gradients.
    pub exp_avg: &'a mut Tensor,
    /// The mean of squared gradients.
    pub exp_avg_sq: &'a mut Tensor,
    /// The largest mean of squared gradients so far, for AMSGrad: in all slots or in none.
    pub max_exp_avg_sq: Option<&'a mut Tensor>,
}

/// A parameter with its gradient and the state of SGD, as [`AdamWSlot`].
pub struct SgdSlot<'a> {
    /// The parameter.
    pub param: &'a mut Tensor,
    /// Its gradient.
    pub grad: &'a Tensor,
    /// The momentum buffer: in all slots or, without momentum, in none.
    pub momentum_buffer: Option<&'a mut Tensor>,
}

/// Zeros for an optimiser's state of a parameter: of its shape and device, in the dtype it is computed in.
///
/// # Errors
/// What the device reports.
#[track_caller]
pub fn state_like(param: &Tensor) -> Result<Tensor> {
    Tensor::zeros(param.shape(), param.dtype().compute(), &param.device())
}

/// One step of AdamW for every slot.
///
/// # Errors
/// A shape, dtype or device that does not fit its parameter's, or a parameter that is no float.
#[track_caller]
pub fn adamw_step(slots: Vec<AdamWSlot<'_>>, params: AdamWParams) -> Result<()> {
    let mut grads = Vec::with_capacity(slots.len());
    for slot in &slots {
        let states = [Some(&*slot.exp_avg), Some(&*slot.exp_avg_sq), slot.max_exp_avg_sq.as_deref()];
        grads.push(checked("adamw_step", slot.param, slot.grad, &states)?);
    }
    let slots = slots.into_iter().zip(&grads);
    for group in alike(slots, |(slot, _)| (slot.param.dtype(), slot.param.device())) {
        let mut launched = Vec::with_capacity(group.len());
        for (slot, grad) in group {
            launched.push(adamw::AdamWTensor {
                grad: (grad.buffer(), grad.layout().offset()),
                param: owned(slot.param)?,
                exp_avg: owned(slot.exp_avg)?,
                exp_avg_sq: owned(slot.exp_avg_sq)?,
                max_exp_avg_sq: slot.max_exp_avg_sq.map(owned).transpose()?,
            });
        }
        adamw::adamw_step(launched, params)?;
    }
    Ok(())
}

/// One step of SGD for every slot.
///
/// # Errors
/// As [`adamw_step`].
#[track_caller]
pub fn sgd_step(slots: Vec<SgdSlot<'_>>, params: SgdParams) -> Result<()> {
    let mut grads = Vec::with_capacity(slots.len());
    for slot in &slots {
        grads.push(checked("sgd_step", slot.param, slot.grad, &[slot.momentum_buffer.as_deref()])?);
    }
    let slots = slots.into_iter().zip(&grads);
    for group in alike(slots, |(slot, _)| (slot.param.dtype(), slot.param.device())) {
        let mut launched = Vec::with_capacity(group.len());
        for (slot, grad) in group {
            launched.push(sgd::SgdTensor {
                grad: (grad.buffer(), grad.layout().offset()),
                param: owned(slot.param)?,
                momentum_buffer: slot.momentum_buffer.map(owned).transpose()?,
            });
        }
        sgd::sgd_step(launched, params)?;
    }
    Ok(())
}

/// The Euclidean norm of all elements of all tensors together, with squares and sums in f64: a 0-d f64 tensor on the
/// device of the first; in f32 where the device has no f64, so that norms above 1e19 are infinite there.
///
/// # Errors
/// Tensors that are no floats.
#[track_caller]
pub fn global_norm(tensors: &[&Tensor]) -> Result<Tensor> {
    let tensors = tensors.iter().map(|tensor| tensor.contiguous()).collect::<Result<Vec<_>>>()?;
    sum_of_squares(&tensors)?.sqrt()
}

/// Scales the tensors, in place where one is the only owner of its buffer, so that their joint Euclidean norm is at most
/// `max_norm`, and gives the norm before, as [`global_norm`]. The host does not wait for it.
///
/// # Errors
/// Tensors that are no floats, or a norm that is infinite or NaN: the tensors are then unchanged. A GPU reports that one
/// with the next read.
#[track_caller]
pub fn clip_norm(tensors: &mut [Tensor], max_norm: f64) -> Result<Tensor> {
    for tensor in tensors.iter_mut() {
        *tensor = tensor.contiguous()?;
    }
    let squared = sum_of_squares(tensors)?;
    for group in alike(tensors.iter_mut(), |tensor| (tensor.dtype(), tensor.device())) {
        let buffers = group.into_iter().map(owned).collect::<Result<Vec<_>>>()?;
        let Some(device) = buffers.first().map(|buffer| buffer.device()) else { continue };
        l2_norm::l2_norm_clip(squared.to_device(&device)?.buffer(), buffers, max_norm)?;
    }
    squared.sqrt()
}

/// What squares are added up in.
fn sum_dtype(device: &Device) -> DType {
    if device.supports(DType::F64) { DType::F64 } else { DType::F32 }
}

/// The sum of the squares of all elements of contiguous tensors: a 0-d tensor of f64 (or f32) on the device of the
/// first.
#[track_caller]
fn sum_of_squares(tensors: &[Tensor]) -> Result<Tensor> {
    let device = tensors.first().map(Tensor::device).unwrap_or_default();
    let mut squared: Option<Tensor> = None;
    for group in alike(tensors, |tensor| (tensor.dtype(), tensor.device())) {
        let mut spans = Vec::with_capacity(group.len());
        for tensor in &group {
            spans.push(Span { buffer: tensor.buffer(), offset: tensor.layout().offset(), len: tensor.elements() });
        }
        let Some(first) = group.first() else { continue };
        let write = |sum: &mut Buffer| l2_norm::l2_norm_squared(&spans, sum);
        let dtype = sum_dtype(&first.device());
        let sum = Tensor::build(&first.device(), dtype, Shape::new(&[])?, write)?;
        let sum = sum.to_dtype(sum_dtype(&device))?.to_device(&device)?;
        squared = Some(match squared {
            Some(squared) => squared.add(&sum)?,
            None => sum,
        });
    }
    squared.map_or_else(|| Tensor::zeros((), sum_dtype(&device), &device), Ok)
}

/// Refuses what does not fit the parameter, and gives the gradient in row-major order.
#[track_caller]
fn checked(op: &'static str, param: &Tensor, grad: &Tensor, states: &[Option<&Tensor>]) -> Result<Tensor> {
    if grad.shape() != param.shape() || grad.dtype() != param.dtype() {
        let got = format!("the gradient is {} {}", grad.dtype(), grad.shape());
        return Err(Error::shape(op, format!("{got}, expected the parameter's {} {}", param.dtype(), param.shape())));
    }
    param.same_device(op, grad)?;
    for state in states.iter().copied().flatten() {
        let dtype = param.dtype().compute();
        if state.shape() != param.shape() || state.dtype() != dtype {
            let got = format!("a state is {} {}", state.dtype(), state.shape());
            return Err(Error::shape(op, format!("{got}, expected {dtype} {} like the parameter", param.shape())));
        }
        param.same_device(op, state)?;
    }
    grad.contiguous()
}

/// The items in groups of equal keys, each in the order given.
fn alike<T>(items: impl IntoIterator<Item = T>, key: impl Fn(&T) -> (DType, Device)) -> Vec<Vec<T>> {
    let mut groups: Vec<((DType, Device), Vec<T>)> = Vec::new();
    for item in items {
        let key = key(&item);
        match groups.iter_mut().find(|(other, _)| *other == key) {
            Some((_, group)) => group.push(item),
            None => groups.push((key, vec![item])),
        }
    }
    groups.into_iter().map(|(_, group)| group).collect()
}

/// The buffer to write: the tensor's own, or a copy where it is shared.
#[track_caller]
fn owned(tensor: &mut Tensor) -> Result<&mut Buffer> {
    if tensor.unique_buffer().is_none() {
        *tensor = tensor.copy()?;
    }
    // A fresh copy has one owner, and so has what passed the test.
    tensor.unique_buffer().ok_or_else(|| Error::argument("updates", "a buffer is shared with another thread"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tensor(values: &[f32]) -> Tensor {
        Tensor::from_slice(values, [values.len()], &Device::Cpu).unwrap()
    }

    const PLAIN: SgdParams = SgdParams {
        lr: 0.5,
        momentum: 0.0,
        dampening: 0.0,
        weight_decay: 0.0,
        grad_scale: 1.0,
        nesterov: 0,
        first_step: 1,
        has_momentum: 0,
    };

    #[test]
    fn shared_parameters_are_copied_and_others_written_in_place() {
        let (mut a, mut b) = (tensor(&[2.0, 4.0]), tensor(&[8.0]));
        let grads = [a.copy().unwrap(), tensor(&[8.0])];
        let other_owner = a.clone();
        let slots = vec![
            SgdSlot { param: &mut a, grad: &grads[0], momentum_buffer: None },
            SgdSlot { param: &mut b, grad: &grads[1], momentum_buffer: None },
        ];
        sgd_step(slots, PLAIN).unwrap();
        assert_eq!(a.to_vec::<f32>().unwrap(), [1.0, 2.0]);
        assert_eq!(other_owner.to_vec::<f32>().unwrap(), [2.0, 4.0]);
        assert_eq!(b.to_vec::<f32>().unwrap(), [4.0]);
        let slots = vec![SgdSlot { param: &mut a, grad: &grads[1], momentum_buffer: None }];
        let error = sgd_step(slots, PLAIN).unwrap_err();
        assert!(error.to_string().contains("the gradient is f32 [1], expected the parameter's f32 [2]"), "{error}");
    }

    #[test]
    fn norms_over_dtypes() {
        let a = Tensor::from_vec(vec![3.0f32, 0.0], [2], &Device::Cpu).unwrap();
        let b = Tensor::from_vec(vec![4.0f64], [1], &Device::Cpu).unwrap();
        let norm = |tensors: &[&Tensor]| global_norm(tensors).unwrap().item::<f64>().unwrap();
        assert_eq!(norm(&[&a, &b]), 5.0);
        assert_eq!(norm(&[]), 0.0);
    }

    #[test]
    fn clipping_writes_in_place_what_it_owns() {
        let mut tensors = [tensor(&[3.0, 0.0]), Tensor::from_vec(vec![4.0f64], [1], &Device::Cpu).unwrap()];
        let other_owner = tensors[0].clone();
        assert_eq!(clip_norm(&mut tensors, 6.0).unwrap().item::<f64>().unwrap(), 5.0);
        assert_eq!(tensors[1].to_vec::<f64>().unwrap(), [4.0]);
        let norm = clip_norm(&mut tensors, 2.5).unwrap().item::<f64>().unwrap();
        let factor = 2.5 / (5.0 + 1e-6);
        assert_eq!(norm, 5.0);
        assert_eq!(tensors[0].to_vec::<f32>().unwrap(), [3.0 * factor as f32, 0.0]);
        assert_eq!(tensors[1].to_vec::<f64>().unwrap(), [4.0 * factor]);
        assert_eq!(other_owner.to_vec::<f32>().unwrap(), [3.0, 0.0]);
        let mut nothing: [Tensor; 0] = [];
        assert_eq!(clip_norm(&mut nothing, 1.0).unwrap().item::<f64>().unwrap(), 0.0);
        let mut infinite = [tensor(&[f32::INFINITY, 1.0])];
        let error = clip_norm(&mut infinite, 1.0).unwrap_err().to_string();
        assert!(error.contains("the norm of the gradients is inf"), "{error}");
        assert_eq!(infinite[0].to_vec::<f32>().unwrap(), [f32::INFINITY, 1.0]);
    }
}

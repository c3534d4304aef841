//! Limits on gradients.

use chainrule_autograd::Gradients;
use chainrule_tensor::updates::clip_norm;
use chainrule_tensor::{Result, Tensor};

/// Scales all gradients so that their joint Euclidean norm is at most `max_norm`, and gives the norm before: a 0-d f64
/// tensor where the gradients are. The host does not wait for it.
///
/// ```text
/// g = g max_norm / (norm + 1e-6)      where that factor is below 1
/// ```
///
/// # Errors
/// A norm that is infinite or NaN: the gradients are then unchanged, so that they can be looked at. A GPU reports it with
/// the next read, as all that only a kernel sees; a step of the optimiser until then has used the gradients as they were.
///
/// ```
/// use chainrule_autograd::{Param, Tape};
/// use chainrule_nn::clip_grad_norm;
/// use chainrule_tensor::{Device, Tensor};
/// let mut w = Param::new(Tensor::new([1.0f64, 1.0], &Device::Cpu)?);
/// w.attach(&Tape::new());
/// let scales = Tensor::new([3.0f64, 4.0], &Device::Cpu)?;
/// let mut grads = w.mul(&scales)?.sum(.., false)?.backward()?;
/// assert_eq!(clip_grad_norm(&mut grads, 10.0)?.item::<f64>()?, 5.0);
/// assert_eq!(grads.param(w.id()).unwrap().to_vec::<f64>()?, [3.0, 4.0]);
/// # Ok::<(), chainrule_tensor::Error>(())
/// ```
///
/// Source: `torch.nn.utils.clip_grad_norm_`.
///
/// # Differences
/// PyTorch lets a norm that is not finite through unless told otherwise, and then waits for it.
#[track_caller]
pub fn clip_grad_norm(grads: &mut Gradients, max_norm: f64) -> Result<Tensor> {
    let ids = grads.ids();
    // Taken out, because only their one owner writes them in place.
    let mut tensors: Vec<Tensor> = ids.iter().filter_map(|&id| grads.remove(id)).collect();
    let norm = clip_norm(&mut tensors, max_norm);
    for (id, tensor) in ids.into_iter().zip(tensors) {
        grads.insert(id, tensor);
    }
    norm.map_err(|error| error.in_op("clip_grad_norm"))
}

/// Limits every element of every gradient to `-limit..=limit`.
///
/// # Errors
/// What the device reports.
///
/// Source: `torch.nn.utils.clip_grad_value_`.
#[track_caller]
pub fn clip_grad_value(grads: &mut Gradients, limit: f64) -> Result<()> {
    for id in grads.ids() {
        if let Some(grad) = grads.param(id) {
            let clipped = grad.clamp(-limit, limit)?;
            grads.insert(id, clipped);
        }
    }
    Ok(())
}

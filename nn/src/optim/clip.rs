//! Limits on gradients.

use chainrule_autograd::Gradients;
use chainrule_tensor::updates::global_norm;
use chainrule_tensor::{Error, ErrorKind, Result, Tensor};

/// Scales all gradients so that their joint Euclidean norm is at most `max_norm`, and gives the norm before.
///
/// # Errors
/// A norm that is infinite or NaN: the gradients are then unchanged, so that they can be looked at.
///
/// Source: `torch.nn.utils.clip_grad_norm_`.
///
/// # Differences
/// PyTorch lets a norm that is not finite through unless told otherwise.
#[track_caller]
pub fn clip_grad_norm(grads: &mut Gradients, max_norm: f64) -> Result<f64> {
    let ids = grads.ids();
    let tensors: Vec<&Tensor> = ids.iter().filter_map(|&id| grads.param(id)).collect();
    let norm = global_norm(&tensors)?;
    if !norm.is_finite() {
        let message = format!("the norm of the gradients is {norm}: grads.audit(&model) names the parameters");
        return Err(Error::new(ErrorKind::Model(message)).in_op("clip_grad_norm"));
    }
    let scale = max_norm / (norm + 1e-6);
    if scale < 1.0 {
        grads.scale(scale)?;
    }
    Ok(norm)
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

//! Normalisation over the last dim.

use chainrule_autograd::{Param, Var};
use chainrule_tensor::Result;

use crate::{Module, init};

/// `y = (x - mean) / sqrt(var + eps) * weight + bias`, mean and (biased) variance over the last dim.
///
/// Source: Ba, Kiros and Hinton, 2016, arXiv:1607.06450; `torch.nn.LayerNorm`.
#[derive(Clone, Debug, Module)]
pub struct LayerNorm {
    /// `[width]`
    pub weight: Option<Param>,
    /// `[width]`
    pub bias: Option<Param>,
    /// Added to the variance.
    pub eps: f64,
}

impl LayerNorm {
    /// A layer with weight 1, bias 0 and `eps` 1e-5.
    ///
    /// # Errors
    /// A width that is too large.
    #[track_caller]
    pub fn new(width: usize) -> Result<LayerNorm> {
        let bias = Some(Param::new(init::constant([width], 0.0)?));
        Ok(LayerNorm { bias, ..LayerNorm::without_bias(width)? })
    }

    /// A layer with weight 1, no bias and `eps` 1e-5.
    ///
    /// # Errors
    /// A width that is too large.
    #[track_caller]
    pub fn without_bias(width: usize) -> Result<LayerNorm> {
        Ok(LayerNorm { weight: Some(Param::new(init::constant([width], 1.0)?)), bias: None, eps: 1e-5 })
    }

    /// `[..., width] -> [..., width]`.
    ///
    /// # Errors
    /// A last dim other than `width`.
    #[track_caller]
    pub fn forward(&self, x: &Var) -> Result<Var> {
        x.layer_norm(self.weight.as_deref(), self.bias.as_deref(), self.eps)
    }
}

/// `y = x / sqrt(mean(x²) + eps) * weight`, the mean over the last dim.
///
/// Source: Zhang and Sennrich, 2019, arXiv:1910.07467; `torch.nn.RMSNorm`.
#[derive(Clone, Debug, Module)]
pub struct RmsNorm {
    /// `[width]`
    pub weight: Option<Param>,
    /// Added to the mean of squares.
    pub eps: f64,
}

impl RmsNorm {
    /// A layer with weight 1 and `eps` 1e-6.
    ///
    /// # Errors
    /// A width that is too large.
    #[track_caller]
    pub fn new(width: usize) -> Result<RmsNorm> {
        Ok(RmsNorm { weight: Some(Param::new(init::constant([width], 1.0)?)), eps: 1e-6 })
    }

    /// `[..., width] -> [..., width]`.
    ///
    /// # Errors
    /// A last dim other than `width`.
    #[track_caller]
    pub fn forward(&self, x: &Var) -> Result<Var> {
        x.rms_norm(self.weight.as_deref(), self.eps)
    }
}

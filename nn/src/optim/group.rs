//! Settings for some of the parameters.

use std::fmt;
use std::sync::Arc;

use chainrule_tensor::Tensor;

type Fits = Arc<dyn Fn(&str, &Tensor) -> bool + Send + Sync>;

/// Other settings for the parameters that fit a rule. Of several groups that fit, the first is taken.
///
/// ```
/// use chainrule_nn::{AdamW, Group};
/// let norms_and_biases = Group::new(|_, param| param.rank() < 2).weight_decay(0.0);
/// let head = Group::new(|name, _| name.starts_with("head.")).lr_scale(10.0);
/// let adam = AdamW::new(3e-4).group(norms_and_biases).group(head);
/// ```
#[derive(Clone)]
pub struct Group {
    fits: Fits,
    lr_scale: f64,
    weight_decay: Option<f64>,
}

impl Group {
    /// The parameters for which `fits(name, values)` is true.
    pub fn new(fits: impl Fn(&str, &Tensor) -> bool + Send + Sync + 'static) -> Group {
        Group { fits: Arc::new(fits), lr_scale: 1.0, weight_decay: None }
    }

    /// Multiplies the learning rate.
    pub fn lr_scale(mut self, scale: f64) -> Group {
        self.lr_scale = scale;
        self
    }

    /// Replaces the weight decay.
    pub fn weight_decay(mut self, weight_decay: f64) -> Group {
        self.weight_decay = Some(weight_decay);
        self
    }
}

impl fmt::Debug for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Group {{ lr_scale: {}, weight_decay: {:?} }}", self.lr_scale, self.weight_decay)
    }
}

/// What applies to one parameter.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) struct Settings {
    pub(crate) lr: f64,
    pub(crate) weight_decay: f64,
}

impl Settings {
    /// These settings, changed by the first group that fits.
    pub(crate) fn for_param(self, groups: &[Group], name: &str, param: &Tensor) -> Settings {
        match groups.iter().find(|group| (group.fits)(name, param)) {
            None => self,
            Some(group) => {
                Settings { lr: self.lr * group.lr_scale, weight_decay: group.weight_decay.unwrap_or(self.weight_decay) }
            }
        }
    }
}

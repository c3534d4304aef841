//! Which parameters do not learn, and why.

use std::collections::HashSet;
use std::fmt;

use chainrule_autograd::{Cut, Gradients};
use chainrule_tensor::Result;
use chainrule_tensor::updates::global_norm;

use crate::Module;
use crate::module::each_param;

/// What is wrong with a gradient.
#[derive(Clone, PartialEq, Debug)]
pub enum Problem {
    /// There is none; the text says where the graph was cut.
    Missing(String),
    /// Every element is zero.
    Zero,
    /// An element is infinite or NaN.
    NonFinite,
}

/// A parameter whose gradient has a problem.
#[derive(Clone, PartialEq, Debug)]
pub struct Finding {
    /// The parameter's dotted name.
    pub name: String,
    /// What is wrong.
    pub problem: Problem,
}

/// The outcome of [`AuditGradients::audit`]. Print it.
#[derive(Clone, PartialEq, Debug)]
pub struct Audit {
    /// The parameters with a problem.
    pub findings: Vec<Finding>,
    /// How many parameters were looked at: all that are not frozen.
    pub checked: usize,
}

impl Audit {
    /// True where every gradient is there, finite and not zero.
    pub fn is_clean(&self) -> bool {
        self.findings.is_empty()
    }
}

/// `grads.audit(&model)`
pub trait AuditGradients {
    /// Looks at the gradient of every parameter that is not frozen.
    ///
    /// ```
    /// use chainrule_autograd::Tape;
    /// use chainrule_nn::{AuditGradients, Linear, Module};
    /// use chainrule_tensor::{Device, Rng, Tensor};
    /// let model = Linear::new(2, 1, &mut Rng::seed(0))?;
    /// let tape = Tape::new();
    /// let on_tape = model.on(&tape);
    /// // The bias is forgotten.
    /// let x = Tensor::new([[1.0f32, 2.0]], &Device::Cpu)?;
    /// let grads = on_tape.weight.mul(&x)?.sum(.., false)?.backward()?;
    /// let audit = grads.audit(&model)?;
    /// assert_eq!(audit.to_string(), "1 of 2 parameters do not learn:\n  bias: no gradient: no op used it");
    /// # Ok::<(), chainrule_tensor::Error>(())
    /// ```
    ///
    /// # Errors
    /// What the device reports.
    #[track_caller]
    fn audit(&self, model: &dyn Module) -> Result<Audit>;
}

impl AuditGradients for Gradients {
    #[track_caller]
    fn audit(&self, model: &dyn Module) -> Result<Audit> {
        let mut names = Vec::new();
        let mut seen = HashSet::new();
        each_param(model, &mut |name, param, is_frozen| {
            if !is_frozen && seen.insert(param.id()) {
                names.push((name.to_string(), param.id()));
            }
        });
        let mut audit = Audit { findings: Vec::new(), checked: names.len() };
        for (name, id) in names {
            let problem = match self.param(id) {
                None => Some(Problem::Missing(describe(self.cut(id)))),
                Some(grad) => match global_norm(&[grad])?.item::<f64>()? {
                    norm if !norm.is_finite() => Some(Problem::NonFinite),
                    0.0 => Some(Problem::Zero),
                    _ => None,
                },
            };
            audit.findings.extend(problem.map(|problem| Finding { name, problem }));
        }
        Ok(audit)
    }
}

/// Why a parameter has no gradient, in words.
pub(crate) fn describe(cut: Option<&Cut>) -> String {
    match cut {
        None => "no gradient: the parameter was not on the tape; is the loss computed by model.on(&tape)?".into(),
        Some(Cut::Unused) => "no gradient: no op used it".into(),
        Some(Cut::Detached(place)) => format!("no gradient: cut off by {place}"),
        Some(Cut::NotInLoss(place)) => format!("no gradient: the loss does not depend on {place}"),
    }
}

impl fmt::Display for Audit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_clean() {
            return write!(f, "all {} parameters learn", self.checked);
        }
        write!(f, "{} of {} parameters do not learn:", self.findings.len(), self.checked)?;
        for Finding { name, problem } in &self.findings {
            match problem {
                Problem::Missing(why) => write!(f, "\n  {name}: {why}")?,
                Problem::Zero => write!(f, "\n  {name}: the gradient is zero")?,
                Problem::NonFinite => write!(f, "\n  {name}: the gradient is infinite or NaN")?,
            }
        }
        Ok(())
    }
}

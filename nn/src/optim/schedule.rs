//! Learning rates over time, as functions of the step. A schedule has no state, so a resumed run needs none.
//!
//! ```
//! use chainrule_nn::optim::{Schedule, WarmupCosine};
//! let schedule = WarmupCosine { base: 1.0, least: 0.1, warmup: 3, steps: 9 };
//! assert_eq!(schedule.at(0), 0.25);
//! assert_eq!(schedule.at(3), 1.0);
//! assert_eq!(schedule.at(100), 0.1);
//! ```

use std::f64::consts::PI;

/// A learning rate for each step, counted from 0.
pub trait Schedule {
    /// The learning rate of a step.
    fn at(&self, step: u64) -> f64;
}

impl<F: Fn(u64) -> f64> Schedule for F {
    fn at(&self, step: u64) -> f64 {
        self(step)
    }
}

/// Always the same.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Constant(
    /// The rate.
    pub f64,
);

impl Schedule for Constant {
    fn at(&self, _: u64) -> f64 {
        self.0
    }
}

/// `base (start + (end - start) min(t, steps) / steps)`
///
/// Source: `torch.optim.lr_scheduler.LinearLR`.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Linear {
    /// What the factors multiply.
    pub base: f64,
    /// The first factor.
    pub start: f64,
    /// The last factor.
    pub end: f64,
    /// After how many steps the last factor is reached.
    pub steps: u64,
}

impl Schedule for Linear {
    fn at(&self, step: u64) -> f64 {
        let progress = step.min(self.steps) as f64 / self.steps.max(1) as f64;
        let progress = if self.steps == 0 { 1.0 } else { progress };
        self.base * (self.start + (self.end - self.start) * progress)
    }
}

/// `least + (base - least) (1 + cos(π t / steps)) / 2`; after `steps` it rises again.
///
/// Source: Loshchilov and Hutter, 2017, arXiv:1608.03983; `torch.optim.lr_scheduler.CosineAnnealingLR`.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Cosine {
    /// The first rate.
    pub base: f64,
    /// The least rate.
    pub least: f64,
    /// When the least rate is reached.
    pub steps: u64,
}

impl Schedule for Cosine {
    fn at(&self, step: u64) -> f64 {
        let angle = PI * step as f64 / self.steps.max(1) as f64;
        self.least + (self.base - self.least) * 0.5 * (1.0 + angle.cos())
    }
}

/// `base factor^floor(t / every)`
///
/// Source: `torch.optim.lr_scheduler.StepLR`.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Step {
    /// The first rate.
    pub base: f64,
    /// What the rate is multiplied by.
    pub factor: f64,
    /// After how many steps each time.
    pub every: u64,
}

impl Schedule for Step {
    fn at(&self, step: u64) -> f64 {
        self.base * self.factor.powf((step / self.every.max(1)) as f64)
    }
}

/// Up to `base` in a line over `warmup` steps, down to `least` in a half cosine until `steps`, then constant.
///
/// The first step already learns: its rate is `base / (warmup + 1)`.
///
/// Source: nanoGPT's `get_lr`.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct WarmupCosine {
    /// The highest rate.
    pub base: f64,
    /// The last rate.
    pub least: f64,
    /// How many steps go up.
    pub warmup: u64,
    /// When the last rate is reached.
    pub steps: u64,
}

impl Schedule for WarmupCosine {
    fn at(&self, step: u64) -> f64 {
        let WarmupCosine { base, least, warmup, steps } = *self;
        if step < warmup {
            return base * (step + 1) as f64 / (warmup + 1) as f64;
        }
        if step > steps {
            return least;
        }
        let progress = (step - warmup) as f64 / steps.saturating_sub(warmup).max(1) as f64;
        least + 0.5 * (1.0 + (PI * progress).cos()) * (base - least)
    }
}

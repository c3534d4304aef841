//! Parameters: variables with an identity.

use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use chainrule_tensor::Tensor;

use crate::{Tape, Var};

/// What a parameter is known by in [`crate::Gradients`] and in an optimiser's state. Clones of a parameter share it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct ParamId(u64);

/// A trainable tensor of a model: a [`Var`] with an identity. It dereferences to the variable.
///
/// A clone is the same parameter: it shares the identity and (until one of them is changed) the values.
#[derive(Clone, Debug)]
pub struct Param {
    var: Var,
    id: ParamId,
    is_frozen: bool,
}

impl Param {
    /// A new parameter with these values.
    pub fn new(value: Tensor) -> Param {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Param { var: Var::from(value), id: ParamId(NEXT.fetch_add(1, Ordering::Relaxed)), is_frozen: false }
    }

    /// The identity.
    pub fn id(&self) -> ParamId {
        self.id
    }

    /// The values.
    pub fn tensor(&self) -> &Tensor {
        self.var.value()
    }

    /// Replaces the values; the parameter keeps its identity and leaves the tape it was on.
    pub fn set(&mut self, value: Tensor) {
        let name = self.var.name().map(Arc::from);
        self.var = Var::from(value);
        if let Some(name) = name {
            self.var.set_name(name);
        }
    }

    /// Takes the values out for an update in place, leaving `placeholder`; put them back with [`Param::set`].
    pub fn replace(&mut self, placeholder: Tensor) -> Tensor {
        let value = self.var.value().clone();
        self.set(placeholder);
        value
    }

    /// True where optimisers and tapes leave this parameter alone.
    pub fn is_frozen(&self) -> bool {
        self.is_frozen
    }

    /// Freezes or thaws the parameter.
    pub fn set_frozen(&mut self, frozen: bool) {
        self.is_frozen = frozen;
    }

    /// Gives the parameter its dotted name in a model, for error messages.
    pub fn set_name(&mut self, name: &str) {
        self.var.set_name(name.into());
    }

    /// Puts the parameter on a tape as a leaf; a frozen one stays off.
    #[track_caller]
    pub fn attach(&mut self, tape: &Tape) {
        if !self.is_frozen {
            let name = self.var.name().map(Arc::from);
            self.var = tape.param_leaf(self.var.value().clone(), self.id, name);
        }
    }

    /// The values as `var`, for recomputing a part of a model with other leaves.
    pub fn set_var(&mut self, var: Var) {
        self.var = var;
    }
}

impl Deref for Param {
    type Target = Var;

    fn deref(&self) -> &Var {
        &self.var
    }
}

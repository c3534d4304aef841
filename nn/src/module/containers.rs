//! Parameters, tensors, and the containers that a model's fields may be. Elements are named by their index.

use chainrule_autograd::Param;
use chainrule_tensor::Tensor;

use crate::{Module, Visit, Walk, WalkMut};

impl Visit for Param {
    fn visit<'m>(&'m self, walk: &mut Walk<'_, 'm>) {
        walk.param(self);
    }

    fn visit_mut(&mut self, walk: &mut WalkMut<'_>) {
        walk.param(self);
    }
}

/// A tensor in a model is a buffer: saved and moved with the model, never trained.
impl Visit for Tensor {
    fn visit<'m>(&'m self, walk: &mut Walk<'_, 'm>) {
        walk.buffer(self);
    }

    fn visit_mut(&mut self, walk: &mut WalkMut<'_>) {
        walk.buffer(self);
    }
}

impl<M: Visit> Visit for Option<M> {
    fn visit<'m>(&'m self, walk: &mut Walk<'_, 'm>) {
        if let Some(module) = self {
            module.visit(walk);
        }
    }

    fn visit_mut(&mut self, walk: &mut WalkMut<'_>) {
        if let Some(module) = self {
            module.visit_mut(walk);
        }
    }
}

impl<M: Visit + ?Sized> Visit for Box<M> {
    fn visit<'m>(&'m self, walk: &mut Walk<'_, 'm>) {
        (**self).visit(walk);
    }

    fn visit_mut(&mut self, walk: &mut WalkMut<'_>) {
        (**self).visit_mut(walk);
    }
}

impl<M: Visit> Visit for [M] {
    fn visit<'m>(&'m self, walk: &mut Walk<'_, 'm>) {
        walk.module("List");
        for (index, module) in self.iter().enumerate() {
            walk.field(&index.to_string(), module);
        }
    }

    fn visit_mut(&mut self, walk: &mut WalkMut<'_>) {
        for (index, module) in self.iter_mut().enumerate() {
            walk.field(&index.to_string(), module);
        }
    }
}

impl<M: Visit> Visit for Vec<M> {
    fn visit<'m>(&'m self, walk: &mut Walk<'_, 'm>) {
        self.as_slice().visit(walk);
    }

    fn visit_mut(&mut self, walk: &mut WalkMut<'_>) {
        self.as_mut_slice().visit_mut(walk);
    }
}

impl<M: Visit, const N: usize> Visit for [M; N] {
    fn visit<'m>(&'m self, walk: &mut Walk<'_, 'm>) {
        self.as_slice().visit(walk);
    }

    fn visit_mut(&mut self, walk: &mut WalkMut<'_>) {
        self.as_mut_slice().visit_mut(walk);
    }
}

impl<A: Visit, B: Visit> Visit for (A, B) {
    fn visit<'m>(&'m self, walk: &mut Walk<'_, 'm>) {
        walk.module("Pair");
        walk.field("0", &self.0);
        walk.field("1", &self.1);
    }

    fn visit_mut(&mut self, walk: &mut WalkMut<'_>) {
        walk.field("0", &mut self.0);
        walk.field("1", &mut self.1);
    }
}

impl<M: Module> Module for Option<M> {}
impl<M: Module + ?Sized> Module for Box<M> {}
impl<M: Module> Module for Vec<M> {}
impl<M: Module, const N: usize> Module for [M; N] {}
impl<A: Module, B: Module> Module for (A, B) {}

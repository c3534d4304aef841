//! A walk over a model: where it is, and what it shows.

use chainrule_autograd::Param;
use chainrule_tensor::Tensor;

use crate::Visit;

/// What a walk meets.
pub enum Entry<'e, 'm> {
    /// A module begins; its type's name.
    Module(&'e str),
    /// A parameter.
    Param {
        /// The parameter.
        param: &'m Param,
        /// True where it, or a field it is under, is frozen.
        is_frozen: bool,
    },
    /// A tensor that belongs to the model but is not trained: running means, masks.
    Buffer(&'m Tensor),
}

/// What a walk that may change things meets.
pub enum EntryMut<'m> {
    /// A parameter.
    Param {
        /// The parameter.
        param: &'m mut Param,
        /// True where it, or a field it is under, is frozen.
        is_frozen: bool,
    },
    /// A tensor that belongs to the model but is not trained.
    Buffer(&'m mut Tensor),
}

/// The dotted name of the present place and how many frozen fields lead to it.
#[derive(Default)]
struct Place {
    path: String,
    frozen: usize,
}

impl Place {
    /// Goes down to a field; gives what [`Place::leave`] needs to come back.
    fn enter(&mut self, name: &str, is_frozen: bool) -> (usize, bool) {
        let len = self.path.len();
        if len > 0 {
            self.path.push('.');
        }
        self.path.push_str(name);
        self.frozen += usize::from(is_frozen);
        (len, is_frozen)
    }

    fn leave(&mut self, (len, was_frozen): (usize, bool)) {
        self.path.truncate(len);
        self.frozen -= usize::from(was_frozen);
    }
}

/// A walk that reads: [`Visit::visit`] tells it what there is.
pub struct Walk<'w, 'm> {
    place: Place,
    each: &'w mut dyn FnMut(&str, Entry<'_, 'm>),
}

impl<'w, 'm> Walk<'w, 'm> {
    /// A walk that shows each entry with its dotted name to `each`.
    pub fn new(each: &'w mut dyn FnMut(&str, Entry<'_, 'm>)) -> Self {
        Walk { place: Place::default(), each }
    }

    /// Says that a module of this type begins here.
    pub fn module(&mut self, type_name: &str) {
        (self.each)(&self.place.path, Entry::Module(type_name));
    }

    /// Walks a field.
    pub fn field(&mut self, name: &str, module: &'m (impl Visit + ?Sized)) {
        self.enter(name, false, module);
    }

    /// Walks a field whose parameters are never trained.
    pub fn frozen_field(&mut self, name: &str, module: &'m (impl Visit + ?Sized)) {
        self.enter(name, true, module);
    }

    fn enter(&mut self, name: &str, is_frozen: bool, module: &'m (impl Visit + ?Sized)) {
        let back = self.place.enter(name, is_frozen);
        module.visit(self);
        self.place.leave(back);
    }

    /// Shows a parameter.
    pub fn param(&mut self, param: &'m Param) {
        let is_frozen = self.place.frozen > 0 || param.is_frozen();
        (self.each)(&self.place.path, Entry::Param { param, is_frozen });
    }

    /// Shows a tensor that is not trained.
    pub fn buffer(&mut self, tensor: &'m Tensor) {
        (self.each)(&self.place.path, Entry::Buffer(tensor));
    }
}

/// A walk that may change what it meets: [`Visit::visit_mut`] tells it what there is.
pub struct WalkMut<'w> {
    place: Place,
    each: &'w mut dyn FnMut(&str, EntryMut<'_>),
}

impl<'w> WalkMut<'w> {
    /// A walk that shows each entry with its dotted name to `each`.
    pub fn new(each: &'w mut dyn FnMut(&str, EntryMut<'_>)) -> Self {
        WalkMut { place: Place::default(), each }
    }

    /// Walks a field.
    pub fn field(&mut self, name: &str, module: &mut (impl Visit + ?Sized)) {
        self.enter(name, false, module);
    }

    /// Walks a field whose parameters are never trained.
    pub fn frozen_field(&mut self, name: &str, module: &mut (impl Visit + ?Sized)) {
        self.enter(name, true, module);
    }

    fn enter(&mut self, name: &str, is_frozen: bool, module: &mut (impl Visit + ?Sized)) {
        let back = self.place.enter(name, is_frozen);
        module.visit_mut(self);
        self.place.leave(back);
    }

    /// Shows a parameter.
    pub fn param(&mut self, param: &mut Param) {
        let is_frozen = self.place.frozen > 0 || param.is_frozen();
        (self.each)(&self.place.path, EntryMut::Param { param, is_frozen });
    }

    /// Shows a tensor that is not trained.
    pub fn buffer(&mut self, tensor: &mut Tensor) {
        (self.each)(&self.place.path, EntryMut::Buffer(tensor));
    }
}

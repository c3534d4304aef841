//! How the code that `#[derive(Module)]` writes tells modules from plain data, without specialisation.
//!
//! The derive macro sees the tokens of a field's type, not what it implements. So it writes
//! `(&&&Probe::of(&field)).kind()`, and method lookup does the rest: it tries the receiver with the most references first,
//! and each of the four traits below is implemented for one number of references. The first that holds wins:
//!
//! 1. the type is a [`Visit`]: visited;
//! 2. it can be compared with `==`: plain data, skipped (no parameter can be compared);
//! 3. it is `Copy`: plain data, skipped (no parameter can be copied);
//! 4. anything else is visited as a module, which does not compile: the error asks for one of the two.

use std::marker::PhantomData;

use crate::{Visit, Walk, WalkMut};

/// The type of a field, to be looked at.
pub struct Probe<T: ?Sized>(PhantomData<fn(&T)>);

impl<T: ?Sized> Probe<T> {
    /// A probe of the type of a value.
    pub fn of(_: &T) -> Probe<T> {
        Probe(PhantomData)
    }
}

/// The field is a module.
pub struct Visited;

/// The field is plain data.
pub struct Skipped;

impl Visited {
    /// Walks the field.
    pub fn visit<'m, M: Visit>(self, name: &str, is_frozen: bool, module: &'m M, walk: &mut Walk<'_, 'm>) {
        if is_frozen { walk.frozen_field(name, module) } else { walk.field(name, module) }
    }

    /// Walks the field.
    pub fn visit_mut<M: Visit>(self, name: &str, is_frozen: bool, module: &mut M, walk: &mut WalkMut<'_>) {
        if is_frozen { walk.frozen_field(name, module) } else { walk.field(name, module) }
    }
}

impl Skipped {
    /// Leaves the field alone.
    pub fn visit<'m, T>(self, _: &str, _: bool, _: &'m T, _: &mut Walk<'_, 'm>) {}

    /// Leaves the field alone.
    pub fn visit_mut<T>(self, _: &str, _: bool, _: &mut T, _: &mut WalkMut<'_>) {}
}

/// The first choice.
pub trait ViaModule {
    /// Visited.
    fn kind(&self) -> Visited {
        Visited
    }
}

/// The second choice.
pub trait ViaPlain {
    /// Skipped.
    fn kind(&self) -> Skipped {
        Skipped
    }
}

/// The third choice.
pub trait ViaCopy {
    /// Skipped.
    fn kind(&self) -> Skipped {
        Skipped
    }
}

/// The last choice.
pub trait ViaUnknown {
    /// Visited, which the compiler refuses.
    fn kind(&self) -> Visited {
        Visited
    }
}

impl<T: Visit> ViaModule for &&&Probe<T> {}
impl<T: PartialEq> ViaPlain for &&Probe<T> {}
impl<T: Copy> ViaCopy for &Probe<T> {}
impl<T> ViaUnknown for Probe<T> {}

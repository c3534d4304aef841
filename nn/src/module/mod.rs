//! What a model is: something that can be walked, parameter by parameter, under dotted names.

mod containers;
#[doc(hidden)]
pub mod derive_support;
mod file;
mod options;
mod summary;
#[cfg(test)]
mod tests;
mod walk;

use std::collections::{HashMap, HashSet};
use std::path::Path;

use chainrule_autograd::{Param, ParamId, Tape};
use chainrule_tensor::{DType, Device, Error, ErrorKind, Result, Tensor};

pub use options::LoadOptions;
pub use summary::Summary;
pub use walk::{Entry, EntryMut, Walk, WalkMut};

/// What a field of a model can be: a parameter, a tensor, a module, or several of them. Only says what there is.
///
/// Apart from [`Module`], whose methods would otherwise stand before those of parameters and tensors of the same name.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is neither a module nor plain data",
    label = "this field is no module",
    note = "derive `Module` for `{Self}`, or mark the field `#[module(skip)]` if it holds no parameters"
)]
pub trait Visit {
    /// Shows every parameter and buffer to `walk`, always in the same order.
    fn visit<'m>(&'m self, walk: &mut Walk<'_, 'm>);

    /// As [`Visit::visit`], for changing them.
    fn visit_mut(&mut self, walk: &mut WalkMut<'_>);
}

/// A part of a model, or a whole one: a struct whose fields are parameters, other modules and plain data.
///
/// Derive it: [`Visit`] says what there is, and everything here follows.
///
/// ```
/// use chainrule_nn::{Linear, Module};
/// use chainrule_tensor::Rng;
///
/// #[derive(Clone, Module)]
/// # #[module(crate = chainrule_nn)]
/// struct Classifier {
///     hidden: Linear,
///     out: Linear,
///     classes: usize,
/// }
///
/// let mut rng = Rng::seed(0);
/// let model = Classifier { hidden: Linear::new(4, 3, &mut rng)?, out: Linear::new(3, 2, &mut rng)?, classes: 2 };
/// let names: Vec<String> = model.named_parameters().into_iter().map(|(name, _)| name).collect();
/// assert_eq!(names, ["hidden.weight", "hidden.bias", "out.weight", "out.bias"]);
/// assert_eq!(model.parameter_count(), 4 * 3 + 3 + 3 * 2 + 2);
/// # assert_eq!(model.classes, 2);
/// # Ok::<(), chainrule_tensor::Error>(())
/// ```
pub trait Module: Visit {
    /// The same model with its parameters as leaves of a tape, so that what it computes is recorded.
    ///
    /// A cheap clone: values are shared. Frozen parameters stay off the tape. Parameters learn their dotted names, which
    /// errors then carry.
    #[track_caller]
    fn on(&self, tape: &Tape) -> Self
    where
        Self: Clone,
    {
        let mut model = self.clone();
        each_param_mut(&mut model, &mut |name, param, is_frozen| {
            if param.name() != Some(name) {
                param.set_name(name);
            }
            if !is_frozen {
                param.attach(tape);
            }
        });
        model
    }

    /// The model with every parameter and buffer on a device. Tied parameters stay tied.
    ///
    /// # Errors
    /// What the device reports.
    #[track_caller]
    fn to_device(&self, device: &Device) -> Result<Self>
    where
        Self: Clone,
    {
        // By reference, so that the method of the same name of a tensor or variable, which is a module too, comes first.
        let mut model = self.clone();
        convert(&mut model, &|tensor| tensor.to_device(device))?;
        Ok(model)
    }

    /// The model with every floating-point parameter and buffer in another dtype. Tied parameters stay tied.
    ///
    /// # Errors
    /// What the device reports.
    #[track_caller]
    fn to_dtype(&self, dtype: DType) -> Result<Self>
    where
        Self: Clone,
    {
        let mut model = self.clone();
        convert(&mut model, &|tensor| {
            if tensor.dtype().is_float() { tensor.to_dtype(dtype) } else { Ok(tensor.clone()) }
        })?;
        Ok(model)
    }

    /// Every parameter with its dotted name, in the order of the fields; a tied one once, under its first name.
    ///
    /// Source: `torch.nn.Module.named_parameters`.
    fn named_parameters(&self) -> Vec<(String, &Param)>
    where
        Self: Sized,
    {
        let mut seen = HashSet::new();
        let mut parameters = Vec::new();
        each_param(self, &mut |name, param, _| {
            if seen.insert(param.id()) {
                parameters.push((name.to_string(), param));
            }
        });
        parameters
    }

    /// How many numbers can be trained or frozen, tied ones counted once.
    fn parameter_count(&self) -> usize
    where
        Self: Sized,
    {
        self.named_parameters().iter().map(|(_, param)| param.elements()).sum()
    }

    /// Freezes the parameters whose names start with `prefix` (whole parts: `h.1` is no prefix of `h.10`); all for `""`.
    ///
    /// # Errors
    /// A prefix that fits no parameter.
    #[track_caller]
    fn freeze(&mut self, prefix: &str) -> Result<()>
    where
        Self: Sized,
    {
        set_frozen(self, prefix, true)
    }

    /// Lets the parameters whose names start with `prefix` be trained again.
    ///
    /// # Errors
    /// A prefix that fits no parameter.
    #[track_caller]
    fn unfreeze(&mut self, prefix: &str) -> Result<()>
    where
        Self: Sized,
    {
        set_frozen(self, prefix, false)
    }

    /// A table of the layers with their shapes and numbers of parameters, to be printed.
    fn summary(&self) -> Summary
    where
        Self: Sized,
    {
        Summary::of(self)
    }

    /// Writes the parameters and buffers to a safetensors file, replacing it in one step; tied ones once.
    ///
    /// # Errors
    /// A file that cannot be written: the old one, if there is one, is untouched.
    #[track_caller]
    fn save(&self, path: impl AsRef<Path>) -> Result<()>
    where
        Self: Sized,
    {
        file::save(self, path.as_ref())
    }

    /// Reads the parameters and buffers from a safetensors file. Every name must fit, both ways.
    ///
    /// # Errors
    /// One table of all names that are missing, unexpected or of another shape; the model is then unchanged.
    #[track_caller]
    fn load(&mut self, path: impl AsRef<Path>) -> Result<()>
    where
        Self: Sized,
    {
        file::load(self, path.as_ref(), &LoadOptions::default())
    }

    /// As [`Module::load`], with names changed, matrices transposed or names ignored on the way.
    ///
    /// # Errors
    /// As [`Module::load`], after `options`.
    #[track_caller]
    fn load_with(&mut self, path: impl AsRef<Path>, options: &LoadOptions) -> Result<()>
    where
        Self: Sized,
    {
        file::load(self, path.as_ref(), options)
    }
}

pub(crate) use file::{load_tensors_into, named_tensors};

/// Walks a model, showing each entry to `each`.
pub(crate) fn collect<'m>(model: &'m dyn Module, each: &mut dyn FnMut(&str, Entry<'_, 'm>)) {
    model.visit(&mut Walk::new(each));
}

/// Calls `each` with the name, the parameter, and whether it or its field is frozen.
pub(crate) fn each_param<'m>(model: &'m dyn Module, each: &mut dyn FnMut(&str, &'m Param, bool)) {
    collect(model, &mut |name, entry| {
        if let Entry::Param { param, is_frozen } = entry {
            each(name, param, is_frozen);
        }
    });
}

/// As [`each_param`], for changing the parameters.
pub(crate) fn each_param_mut(model: &mut dyn Module, each: &mut dyn FnMut(&str, &mut Param, bool)) {
    let mut each = |name: &str, entry: EntryMut<'_>| {
        if let EntryMut::Param { param, is_frozen } = entry {
            each(name, param, is_frozen);
        }
    };
    model.visit_mut(&mut WalkMut::new(&mut each));
}

/// Replaces every tensor by `f` of it, once for each identity; nothing is changed where one of them fails.
#[track_caller]
fn convert(model: &mut dyn Module, f: &dyn Fn(&Tensor) -> Result<Tensor>) -> Result<()> {
    let mut params: HashMap<ParamId, Tensor> = HashMap::new();
    let mut buffers = Vec::new();
    let mut failed = None;
    collect(model, &mut |_, entry| {
        let converted = match entry {
            Entry::Param { param, .. } if params.contains_key(&param.id()) => return,
            Entry::Param { param, .. } => f(param.tensor()).map(|tensor| drop(params.insert(param.id(), tensor))),
            Entry::Buffer(tensor) => f(tensor).map(|tensor| buffers.push(tensor)),
            Entry::Module(_) => return,
        };
        failed = failed.take().or(converted.err());
    });
    if let Some(error) = failed {
        return Err(error);
    }
    let mut buffers = buffers.into_iter();
    model.visit_mut(&mut WalkMut::new(&mut |_, entry| match entry {
        EntryMut::Param { param, .. } => {
            if let Some(tensor) = params.get(&param.id()) {
                param.set(tensor.clone());
            }
        }
        EntryMut::Buffer(buffer) => {
            if let Some(tensor) = buffers.next() {
                *buffer = tensor;
            }
        }
    }));
    Ok(())
}

#[track_caller]
fn set_frozen(model: &mut dyn Module, prefix: &str, frozen: bool) -> Result<()> {
    let mut fitting = 0;
    each_param_mut(model, &mut |name, param, _| {
        if starts_with(name, prefix) {
            param.set_frozen(frozen);
            fitting += 1;
        }
    });
    if fitting > 0 {
        return Ok(());
    }
    let op = if frozen { "freeze" } else { "unfreeze" };
    Err(Error::new(ErrorKind::Model(format!("no parameter's name starts with {prefix:?}"))).in_op(op))
}

/// True where `prefix` is `name` or some whole first parts of it.
fn starts_with(name: &str, prefix: &str) -> bool {
    prefix.is_empty() || name.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

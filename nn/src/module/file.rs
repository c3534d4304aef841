//! A model in a file, and the table of what does not fit.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt::Write;
use std::path::Path;

use chainrule_autograd::ParamId;
use chainrule_tensor::{DType, Device, Error, ErrorKind, Result, Shape, Tensor, io};

use crate::module::collect;
use crate::{Entry, EntryMut, LoadOptions, Module, WalkMut};

/// Every parameter and buffer with its name, a tied one once under its first name.
pub(crate) fn named_tensors(model: &dyn Module) -> Vec<(String, Tensor)> {
    let mut seen = HashSet::new();
    let mut tensors = Vec::new();
    collect(model, &mut |name, entry| match entry {
        Entry::Param { param, .. } if seen.insert(param.id()) => {
            tensors.push((name.to_string(), param.tensor().clone()))
        }
        Entry::Buffer(tensor) => tensors.push((name.to_string(), tensor.clone())),
        _ => {}
    });
    tensors
}

#[track_caller]
pub(super) fn save(model: &dyn Module, path: &Path) -> Result<()> {
    // Other libraries look for this entry before they trust the names.
    let metadata = BTreeMap::from([("format".to_string(), "pt".to_string())]);
    io::save_tensors(path, &named_tensors(model), &metadata)
}

#[track_caller]
pub(super) fn load(model: &mut dyn Module, path: &Path, options: &LoadOptions) -> Result<()> {
    let (tensors, _) = io::load_tensors(path, &Device::Cpu)?;
    load_tensors_into(model, tensors, options, &path.display().to_string())
}

/// One place in a model that a tensor goes to: a parameter with all its names, or a buffer.
struct Slot {
    names: Vec<String>,
    shape: Shape,
    dtype: DType,
    device: Device,
    id: Option<ParamId>,
}

/// What does not fit, for one table.
#[derive(Default)]
struct Misfits {
    missing: Vec<String>,
    unexpected: Vec<String>,
    mismatched: Vec<String>,
}

/// Fits named tensors to the model and, where all do, sets them.
#[track_caller]
pub(crate) fn load_tensors_into(
    model: &mut dyn Module,
    tensors: Vec<(String, Tensor)>,
    options: &LoadOptions,
    source: &str,
) -> Result<()> {
    let mut misfits = Misfits::default();
    let mut given: BTreeMap<String, Tensor> = BTreeMap::new();
    for (name, tensor) in tensors {
        let name = options.name(&name);
        let tensor = if options.is_transposed(&name) { tensor.transpose(-2, -1)? } else { tensor };
        if given.insert(name.clone(), tensor).is_some() {
            misfits.mismatched.push(format!("{name}: two tensors get this name by the rename rules"));
        }
    }
    let slots = slots(model);
    let mut params: HashMap<ParamId, Tensor> = HashMap::new();
    let mut buffers: HashMap<String, Tensor> = HashMap::new();
    for slot in &slots {
        let Some(tensor) = fit(slot, &mut given, options, &mut misfits)? else { continue };
        match slot.id {
            Some(id) => drop(params.insert(id, tensor)),
            None => drop(buffers.insert(slot.names[0].clone(), tensor)),
        }
    }
    misfits.unexpected.extend(given.into_keys().filter(|name| !options.may_ignore(name)));
    misfits.check(source)?;
    model.visit_mut(&mut WalkMut::new(&mut |name, entry| match entry {
        EntryMut::Param { param, .. } => {
            if let Some(tensor) = params.get(&param.id()) {
                param.set(tensor.clone());
            }
        }
        EntryMut::Buffer(buffer) => {
            if let Some(tensor) = buffers.remove(name) {
                *buffer = tensor;
            }
        }
    }));
    Ok(())
}

fn slots(model: &dyn Module) -> Vec<Slot> {
    let mut slots: Vec<Slot> = Vec::new();
    let mut places: HashMap<ParamId, usize> = HashMap::new();
    collect(model, &mut |name, entry| {
        let (tensor, id) = match entry {
            Entry::Param { param, .. } => (param.tensor(), Some(param.id())),
            Entry::Buffer(tensor) => (tensor, None),
            Entry::Module(_) => return,
        };
        match id.and_then(|id| places.get(&id)) {
            Some(&place) => slots[place].names.push(name.to_string()),
            None => {
                if let Some(id) = id {
                    places.insert(id, slots.len());
                }
                let (shape, dtype, device) = (*tensor.shape(), tensor.dtype(), tensor.device());
                slots.push(Slot { names: vec![name.to_string()], shape, dtype, device, id });
            }
        }
    });
    slots
}

/// The tensor for a slot, taken out of `given` under any of its names.
fn fit(
    slot: &Slot,
    given: &mut BTreeMap<String, Tensor>,
    options: &LoadOptions,
    misfits: &mut Misfits,
) -> Result<Option<Tensor>> {
    let mut found = slot.names.iter().filter_map(|name| Some((name, given.remove(name)?)));
    let Some((name, tensor)) = found.next() else {
        if !options.may_miss(&slot.names[0]) {
            misfits.missing.push(format!("{} {}", slot.names[0], slot.shape));
        }
        return Ok(None);
    };
    if *tensor.shape() != slot.shape {
        misfits.mismatched.push(format!("{name}: the file has shape {}, the model {}", tensor.shape(), slot.shape));
        return Ok(None);
    }
    if tensor.dtype() != slot.dtype && !(tensor.dtype().is_float() && slot.dtype.is_float()) {
        misfits.mismatched.push(format!("{name}: the file has {}, the model {}", tensor.dtype(), slot.dtype));
        return Ok(None);
    }
    for (other, copy) in found {
        if copy.shape() != tensor.shape() || copy.to_bytes()? != tensor.to_bytes()? {
            misfits
                .mismatched
                .push(format!("{other}: tied to {name} in the model, but the file has other values for it"));
        }
    }
    Ok(Some(tensor.to_dtype(slot.dtype)?.contiguous()?.to_device(&slot.device)?))
}

impl Misfits {
    #[track_caller]
    fn check(self, source: &str) -> Result<()> {
        let parts = [("missing", self.missing), ("unexpected", self.unexpected), ("mismatched", self.mismatched)];
        let count: usize = parts.iter().map(|(_, names)| names.len()).sum();
        if count == 0 {
            return Ok(());
        }
        let mut table = format!("{source} does not fit the model, which is unchanged:");
        for (title, names) in &parts {
            for name in names {
                // Writing to a string does not fail.
                let _ = write!(table, "\n  {title:<10}  {name}");
            }
        }
        Err(Error::new(ErrorKind::Model(table)).in_op("load"))
    }
}

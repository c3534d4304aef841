//! A training run in one file: the model, the optimiser, and whatever else the run needs to continue bit for bit.
//!
//! Schedules are functions of the step, and a random source is three numbers ([`Rng::state`](chainrule_tensor::Rng)), so
//! the rest is a small struct of the program's own, kept as JSON.
//!
//! ```
//! use chainrule_nn::{AdamW, Linear, checkpoint};
//! use chainrule_tensor::Rng;
//!
//! #[derive(serde::Serialize, serde::Deserialize)]
//! struct Progress { step: u64, rng: [u64; 3] }
//!
//! let mut rng = Rng::seed(1);
//! let (mut model, mut adam) = (Linear::new(2, 2, &mut rng)?, AdamW::new(0.1));
//! let directory = tempfile::tempdir().map_err(|e| chainrule_tensor::Error::io("a directory", e))?;
//! let path = directory.path().join("checkpoint.safetensors");
//! checkpoint::save(&path, &model, &adam, &Progress { step: 7, rng: rng.state() })?;
//!
//! let progress: Progress = checkpoint::load(&path, &mut model, &mut adam)?;
//! assert_eq!(progress.step, 7);
//! assert_eq!(Rng::from_state(progress.rng), rng);
//! # Ok::<(), chainrule_tensor::Error>(())
//! ```

use std::collections::BTreeMap;
use std::path::Path;

use chainrule_tensor::{Device, Error, Result, Tensor, io};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::module::{load_tensors_into, named_tensors};
use crate::{LoadOptions, Module, Optimizer};

/// The entry of the file's text that holds the program's own struct.
const STATE: &str = "chainrule.state";
const MODEL: &str = "model.";
const OPTIMIZER: &str = "optimizer.";

/// Writes a checkpoint, replacing an older one in one step: a crash at any moment leaves the old one or the new one.
///
/// # Errors
/// A file that cannot be written; the old one is then untouched.
#[track_caller]
pub fn save(
    path: impl AsRef<Path>,
    model: &dyn Module,
    optimizer: &dyn Optimizer,
    state: &impl Serialize,
) -> Result<()> {
    let prefixed = |prefix: &'static str, tensors: Vec<(String, Tensor)>| {
        tensors.into_iter().map(move |(name, tensor)| (format!("{prefix}{name}"), tensor))
    };
    let model_tensors = prefixed(MODEL, named_tensors(model));
    let tensors: Vec<_> = model_tensors.chain(prefixed(OPTIMIZER, optimizer.state(model)?)).collect();
    let state = serde_json::to_string(state).map_err(|error| Error::format(format!("the run's state: {error}")))?;
    io::save_tensors(path, &tensors, &BTreeMap::from([(STATE.to_string(), state)]))
}

/// Reads a checkpoint into a model and an optimiser that are made as the saved ones were, and gives the program's struct.
///
/// # Errors
/// A file that is no checkpoint, or one of another model: the model is then unchanged.
#[track_caller]
pub fn load<S: DeserializeOwned>(
    path: impl AsRef<Path>,
    model: &mut dyn Module,
    optimizer: &mut dyn Optimizer,
) -> Result<S> {
    let path = path.as_ref();
    let (tensors, texts) = io::load_tensors(path, &Device::Cpu)?;
    let state = parse(path, &texts)?;
    let (mut model_tensors, mut optimizer_tensors) = (Vec::new(), Vec::new());
    for (name, tensor) in tensors {
        if let Some(name) = name.strip_prefix(MODEL) {
            model_tensors.push((name.to_string(), tensor));
        } else if let Some(name) = name.strip_prefix(OPTIMIZER) {
            optimizer_tensors.push((name.to_string(), tensor));
        } else {
            return Err(Error::format(format!("{}: a checkpoint has no tensor {name:?}", path.display())));
        }
    }
    load_tensors_into(model, model_tensors, &LoadOptions::default(), &path.display().to_string())?;
    optimizer.load_state(model, optimizer_tensors)?;
    Ok(state)
}

/// Reads the program's struct alone, so that the model can be made as the checkpoint needs it.
///
/// # Errors
/// A file that is no checkpoint.
#[track_caller]
pub fn state<S: DeserializeOwned>(path: impl AsRef<Path>) -> Result<S> {
    let path = path.as_ref();
    parse(path, &io::load_metadata(path)?)
}

#[track_caller]
fn parse<S: DeserializeOwned>(path: &Path, texts: &BTreeMap<String, String>) -> Result<S> {
    let state = texts.get(STATE).ok_or_else(|| {
        Error::format(format!("{}: weights alone, not the checkpoint of a training run", path.display()))
    })?;
    serde_json::from_str(state)
        .map_err(|error| Error::format(format!("{}: the state of another program: {error}", path.display())))
}

//! The units that a device has loaded, and their entry points: one look for each launch.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::Unit;
use super::engine::{Engine, Function, Module};
use crate::{Error, ErrorKind, Result};

/// What a launch looks up.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) struct EntryPoint {
    pub(crate) unit: Unit,
    pub(crate) name: &'static str,
}

/// The handles of entry points that were launched, and the modules that they belong to.
#[derive(Default)]
pub(crate) struct EntryPoints {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    functions: HashMap<EntryPoint, Function, BuildHasherDefault<WordHasher>>,
    modules: HashMap<Unit, Box<dyn Module>, BuildHasherDefault<WordHasher>>,
}

impl EntryPoints {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Every unit that was loaded so far.
    pub(crate) fn units(&self) -> Vec<Unit> {
        self.lock().modules.keys().cloned().collect()
    }

    /// The handle of an entry point; its unit is compiled and loaded if need be.
    #[track_caller]
    pub(crate) fn function(&self, engine: &dyn Engine, entry: &EntryPoint) -> Result<Function> {
        if let Some(&function) = self.lock().functions.get(entry) {
            return Ok(function);
        }
        self.find(engine, entry)
    }

    #[cold]
    #[track_caller]
    fn find(&self, engine: &dyn Engine, entry: &EntryPoint) -> Result<Function> {
        let is_loaded = self.lock().modules.contains_key(&entry.unit);
        if !is_loaded {
            // Compiled without the lock: other threads may compile other units, at worst the same one.
            let module = engine.load(&entry.unit)?;
            self.lock().modules.entry(entry.unit.clone()).or_insert(module);
        }
        let mut state = self.lock();
        let Some(module) = state.modules.get(&entry.unit) else {
            return Err(Error::new(ErrorKind::Device(format!("{} was not loaded", entry.unit.label()))));
        };
        let function = module.function(entry.name)?;
        state.functions.insert(entry.clone(), function);
        Ok(function)
    }
}

/// Hashes names of the program's own choice, a word at a time: nobody can choose them so that they collide, and what the
/// standard library's hasher does against that takes longer than the rest of the look-up.
#[derive(Default)]
struct WordHasher(u64);

impl Hasher for WordHasher {
    fn write(&mut self, bytes: &[u8]) {
        let (words, rest) = bytes.as_chunks::<8>();
        words.iter().for_each(|word| self.write_u64(u64::from_le_bytes(*word)));
        if !rest.is_empty() {
            let mut last = [0; 8];
            last[..rest.len()].copy_from_slice(rest);
            self.write_u64(u64::from_le_bytes(last));
        }
    }

    fn write_u8(&mut self, byte: u8) {
        self.write_u64(byte.into());
    }

    /// A product whose upper half is folded onto the lower one, so that each bit reaches all others.
    fn write_u64(&mut self, word: u64) {
        const ODD: u64 = 0x9e37_79b9_7f4a_7c15;
        let product = u128::from(self.0.rotate_left(23) ^ word ^ ODD) * u128::from(ODD);
        self.0 = product as u64 ^ (product >> 64) as u64;
    }

    fn write_i64(&mut self, word: i64) {
        self.write_u64(word as u64);
    }

    fn write_usize(&mut self, word: usize) {
        self.write_u64(word as u64);
    }

    fn write_isize(&mut self, word: isize) {
        self.write_u64(word as u64);
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

//! Machine code for any architecture, with or without a GPU in the machine, compiled at most once.

use super::nvrtc::{self, Architecture, Compiled};
use super::{Unit, cache, source};
use crate::Result;

/// As [`compile`](super::compile), but what the compiler gave before for the same text, options and version is taken
/// from the folder where a GPU's own code is kept too.
///
/// # Errors
/// As [`compile`](super::compile).
#[track_caller]
pub fn compile_cached(unit: &Unit, architecture: Architecture) -> Result<Compiled> {
    let setting = nvrtc::setting(architecture)?;
    let with: Vec<&str> = setting.iter().map(String::as_str).collect();
    let key = source::key(&unit.text(), &with);
    let mut fresh = None;
    let log = cache::get_or(&format!("{key}.log"), || {
        let compiled = nvrtc::compile(unit, architecture)?;
        let log = compiled.log.clone().into_bytes();
        fresh = Some(compiled.code);
        Ok(log)
    })?;
    let code = cache::get_or(&format!("{key}.cubin"), || match fresh {
        Some(code) => Ok(code),
        None => Ok(nvrtc::compile(unit, architecture)?.code),
    })?;
    Ok(Compiled { code, log: String::from_utf8_lossy(&log).into_owned() })
}

impl Unit {
    /// Whether it is written for tensor cores: it includes a file that wraps their instructions.
    pub fn is_for_tensor_cores(&self) -> bool {
        const WRAPPERS: [&str; 2] = ["tensor_core.cuh", "wgmma.cuh"];
        source::included(&self.text()).iter().any(|(name, _)| WRAPPERS.contains(&&name[..]))
    }
}

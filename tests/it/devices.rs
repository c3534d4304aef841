//! The devices and tools that tests run on, and what happens where one is missing.
//!
//! A missing one is named on standard error and its tests pass without it, unless `CHAINRULE_REQUIRE` lists it
//! (`cuda-emu`, `cuda`, `nvrtc`, `wgpu`): then they fail.

use chainrule::{Device, Result};

/// A device's name here, and how it is opened.
type Candidate = (&'static str, fn() -> Result<Device>);

/// The devices present beside the host.
#[expect(clippy::print_stderr, reason = "a test that fails must say in which order of threads")]
pub(crate) fn devices() -> Vec<Device> {
    if let Ok(seed) = std::env::var("CHAINRULE_EMU_SEED") {
        eprintln!("cuda-emu with CHAINRULE_EMU_SEED={seed}");
    }
    let candidates: &[Candidate] = &[
        #[cfg(feature = "cuda")]
        ("cuda-emu", || Device::cuda_emu()),
        #[cfg(feature = "cuda")]
        ("cuda", || Device::cuda(0)),
        #[cfg(feature = "wgpu")]
        ("wgpu", || Device::wgpu()),
    ];
    candidates.iter().filter_map(|(name, open)| present(name, open())).collect()
}

/// What was opened, or nothing where it is missing and may be.
#[expect(clippy::print_stderr, reason = "a test that did not run must say so")]
fn present<T>(name: &str, opened: Result<T>) -> Option<T> {
    let required = std::env::var("CHAINRULE_REQUIRE").unwrap_or_default();
    match opened {
        Ok(opened) => Some(opened),
        Err(error) if required.split(',').any(|required| required == name) => {
            panic!("CHAINRULE_REQUIRE asks for {name}: {error}")
        }
        Err(error) => {
            eprintln!("skipped without {name}: {error}");
            None
        }
    }
}

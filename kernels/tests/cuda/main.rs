//! Kernels on CUDA against the same kernels on the host. Without a GPU they run on the emulator.

mod attention;
mod cache;
mod indexing;
mod labels;
mod lstm_cell;
mod matmul;
mod matmul_epilogues;
mod matmul_tf32;
mod nonzero;
mod optimisers;
mod random;
mod reduce;
mod rows;
mod scan;
mod sort;
mod values;

use chainrule_kernels::Device;
use values::{assert_close, numbers, specials};

/// Where the kernels run: what `CHAINRULE_DEVICE` names if that is CUDA, else the emulator. Where that is missing, the
/// tests say so and compare the host with itself, unless `CHAINRULE_REQUIRE` asks for it.
#[expect(clippy::print_stderr, reason = "a test that failed or did not run must say how")]
fn device() -> Device {
    let name = std::env::var("CHAINRULE_DEVICE").ok().filter(|name| name.starts_with("cuda"));
    let name = name.unwrap_or("cuda-emu".into());
    let required = std::env::var("CHAINRULE_REQUIRE").unwrap_or_default();
    // Shown where a test fails: what it takes to see the failure again.
    if let Ok(seed) = std::env::var("CHAINRULE_EMU_SEED") {
        eprintln!("on {name}, CHAINRULE_EMU_SEED={seed}");
    }
    match Device::from_name(&name) {
        Ok(device) => device,
        Err(error) if required.split(',').any(|required| name.starts_with(required) && !required.is_empty()) => {
            panic!("CHAINRULE_REQUIRE asks for {name}: {error}")
        }
        Err(error) => {
            eprintln!("skipped without {name}: {error}");
            Device::Cpu
        }
    }
}

/// The host, and where the kernels run.
fn devices() -> [Device; 2] {
    [Device::Cpu, device()]
}

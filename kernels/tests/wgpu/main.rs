//! Kernels on wgpu against the same kernels on the host, on whatever adapter there is.

mod attention;
mod copy;
mod elementwise;
mod events;
mod halves;
mod indexing;
mod l2_norm;
mod matmul;
mod optimisers;
mod random;
mod rope;
mod scan;
mod sort;
mod windows;

// What a kernel computes is the same everywhere, and so are its tests.
#[path = "../cuda/lstm_cell.rs"]
mod lstm_cell;
#[path = "../cuda/reduce.rs"]
mod reduce;
#[path = "../cuda/rows.rs"]
mod rows;
#[path = "../cuda/values.rs"]
mod values;

use chainrule_kernels::{Device, Rng};

/// The device, or the host with a word on standard error where there is no adapter, unless `CHAINRULE_REQUIRE` asks for
/// one.
#[expect(clippy::print_stderr, reason = "a test that did not run must say so")]
fn device() -> Device {
    let required = std::env::var("CHAINRULE_REQUIRE").unwrap_or_default();
    match Device::wgpu() {
        Ok(device) => device,
        Err(error) if required.split(',').any(|required| required == "wgpu") => {
            panic!("CHAINRULE_REQUIRE asks for wgpu: {error}")
        }
        Err(error) => {
            eprintln!("skipped without wgpu: {error}");
            Device::Cpu
        }
    }
}

/// Numbers from `range`, the same every time.
fn numbers(n: usize, range: std::ops::Range<f64>) -> Vec<f64> {
    let mut rng = Rng::seed(1);
    (0..n).map(|_| range.start + (range.end - range.start) * f64::from(rng.uniform())).collect()
}

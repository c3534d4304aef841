//! Kernels on CUDA against the same kernels on the host. Without a GPU they run on the emulator.

mod attention;
mod cache;
mod indexing;
mod lstm_cell;
mod matmul;
mod nonzero;
mod optimisers;
mod random;
mod reduce;
mod rows;
mod scan;
mod sort;

use chainrule_kernels::{Device, Rng, Stored};

/// Where the kernels run: what `CHAINRULE_DEVICE` names if that is CUDA, else the emulator. Where that is missing, the
/// tests say so and compare the host with itself, unless `CHAINRULE_REQUIRE` asks for it.
#[expect(clippy::print_stderr, reason = "a test that did not run must say so")]
fn device() -> Device {
    let name = std::env::var("CHAINRULE_DEVICE").ok().filter(|name| name.starts_with("cuda"));
    let name = name.unwrap_or("cuda-emu".into());
    let required = std::env::var("CHAINRULE_REQUIRE").unwrap_or_default();
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

/// Multiples of 1/8 from -4 up to 4, as which every dtype has some of them.
fn numbers<S: Stored>(n: usize) -> Vec<S> {
    let mut rng = Rng::seed(1);
    (0..n).map(|_| S::from_f64(f64::from((rng.uniform() * 64.0).floor()) / 8.0 - 4.0)).collect()
}

/// Numbers that tie often, with NaN, infinities and both zeros among them where the dtype has them.
fn specials<S: Stored>(n: usize, seed: u64) -> Vec<S> {
    let mut rng = Rng::seed(seed);
    let special = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, -0.0, 0.0];
    let mut draw = || match rng.below(400) as usize {
        n if n < 5 => special[n],
        n => (n % 40) as f32 - 20.0,
    };
    (0..n).map(|_| S::from_f32(draw())).collect()
}

/// An error unless `got` is within `tolerance` of `want`, or both are NaN or the same infinity.
fn assert_close(got: f64, want: f64, tolerance: f64, what: impl Fn() -> String) {
    let same = got == want || got.is_nan() && want.is_nan();
    assert!(same || (got - want).abs() <= tolerance, "{}: {got} is not {want}", what());
}

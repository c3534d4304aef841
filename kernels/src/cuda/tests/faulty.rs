//! Kernels with one mistake each (`tests/cuda/faulty.cu`), and what the emulator says of it.
//!
//! What only a sanitizer sees runs here without a report; `cuda/emu/sanitize.sh` runs each test under sanitizers and
//! asks for theirs.

use super::super::emulator::Emulator;
use super::super::{CudaDevice, CudaMemory, Stage, Unit};
use crate::{DType, Result};

/// What `y` holds after a kernel of two blocks of 64 threads; it starts as zeros.
fn run(entry: &'static str, seed: u64) -> Option<Result<Vec<f32>>> {
    let device = CudaDevice::with_engine(Box::new(super::present("cuda-emu", Emulator::with_seed(seed))?));
    let mut y = CudaMemory::allocate(&device, 256).unwrap();
    y.upload(&[0; 256]).unwrap();
    let unit = Unit::new("faulty", DType::F32);
    let launched = Stage::new(&device, unit, entry).blocks(2).threads(64).param(y.address()).run();
    let mut bytes = [0; 256];
    y.download(0, &mut bytes).unwrap();
    let values = bytes.as_chunks().0.iter().map(|&bytes| f32::from_ne_bytes(bytes));
    Some(launched.map(|()| values.collect()))
}

#[track_caller]
fn assert_reported(entry: &'static str, parts: &[&str]) {
    let Some(result) = run(entry, 0) else { return };
    let error = result.unwrap_err().to_string();
    for part in parts {
        assert!(error.contains(part), "{part:?} is not in {error}");
    }
}

#[track_caller]
fn run_unreported(entry: &'static str, seed: u64) -> Vec<f32> {
    run(entry, seed).map(Result::unwrap).unwrap_or_default()
}

#[test]
fn divergent_barriers() {
    assert_reported("divergent_barriers", &["divergent __syncthreads", "faulty.cu:8", "faulty.cu:10", "thread"]);
}

#[test]
fn missing_lane() {
    assert_reported("missing_lane", &["deadlock", "the other lanes of its warp at", "faulty.cu:18", "thread 0"]);
}

#[test]
fn lane_outside_the_mask() {
    assert_reported("lane_outside_the_mask", &["a shuffle reads a lane outside its mask (block"]);
}

#[test]
fn barrier_without_enough_threads() {
    assert_reported("barrier_without_enough_threads", &["deadlock", "a named barrier at", "faulty.cu:29"]);
}

#[test]
fn endless_wait() {
    assert_reported("endless_wait", &["livelock"]);
}

#[test]
fn write_beyond() {
    assert_reported("write_beyond", &["a kernel wrote beyond the end of a buffer of 256 bytes"]);
}

#[test]
fn write_before() {
    assert_reported("write_before", &["a kernel wrote before the start of a buffer of 256 bytes"]);
}

#[test]
fn outside_shared() {
    run_unreported("outside_shared", 0);
}

#[test]
fn unwritten_shared() {
    let y = run_unreported("unwritten_shared", 0);
    assert!(y.iter().enumerate().all(|(i, y)| y.is_nan() == (i == 63)), "{y:?}");
}

#[test]
fn missing_barrier() {
    let expected: Vec<f32> = (0..64).rev().map(|i| i as f32).collect();
    for seed in 0..4 {
        let y = run_unreported("missing_barrier", seed);
        assert!(y.is_empty() || y != expected, "seed {seed}");
    }
}

#[test]
fn race_of_blocks() {
    let y = run_unreported("race_of_blocks", 0);
    assert!(y.first().is_none_or(|&count| count == 1.0 || count == 2.0));
}

#[test]
fn missing_wait() {
    let y = run_unreported("missing_wait", 0);
    assert!(y.iter().all(|y| y.is_nan()), "{y:?}");
}

#[test]
fn misaligned() {
    run_unreported("misaligned", 0);
}

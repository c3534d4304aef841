//! The runtime itself, on the emulator: a kernel of each shape, faults, guards and errors of compilation.

mod faulty;
mod fragments;
mod graph;
mod hopper;
mod launch;

use super::nvrtc;
use super::*;
use crate::{Buffer, DType, Device, View, bf16, copy, f16};

/// The emulator; the host where there is no C++ compiler, unless `CHAINRULE_REQUIRE` asks for it.
fn emulated() -> Device {
    present("cuda-emu", Device::cuda_emu()).unwrap_or_default()
}

#[expect(clippy::print_stderr, reason = "a test that did not run must say so")]
fn present<T>(name: &str, opened: crate::Result<T>) -> Option<T> {
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

/// An emulator of its own, in the order that `CHAINRULE_EMU_SEED` asks for.
fn own_device() -> Option<CudaDevice> {
    Some(CudaDevice::with_engine(Box::new(present("cuda-emu", emulator::Emulator::new())?)))
}

/// Memory of a device that holds these values.
fn upload<P: bytemuck::Pod>(device: &CudaDevice, values: &[P]) -> CudaMemory {
    let mut memory = CudaMemory::allocate(device, size_of_val(values)).unwrap();
    memory.upload(bytemuck::cast_slice(values)).unwrap();
    memory
}

fn download<P: bytemuck::Pod>(memory: &CudaMemory, n: usize) -> Vec<P> {
    let mut values = vec![P::zeroed(); n];
    memory.download(0, bytemuck::cast_slice_mut(&mut values)).unwrap();
    values
}

#[test]
fn copies_and_casts_on_the_emulator() {
    let device = emulated();
    let values: Vec<i32> = (0..3000).collect();
    let x = Buffer::from_slice(&device, &values).unwrap();
    assert_eq!(x.to_vec::<i32>().unwrap(), values);
    let mut y = Buffer::allocate(&device, DType::I32, 35).unwrap();
    copy::copy(View { buffer: &x, offset: 69, strides: &[-1, 10] }, &[5, 7], &mut y).unwrap();
    let expected: Vec<i32> = (0..5).flat_map(|i| (0..7).map(move |j| 69 - i + 10 * j)).collect();
    assert_eq!(y.to_vec::<i32>().unwrap(), expected);
    let mut dense = Buffer::allocate(&device, DType::I32, 2999).unwrap();
    copy::copy(View { buffer: &x, offset: 0, strides: &[1] }, &[2999], &mut dense).unwrap();
    assert_eq!(dense.to_vec::<i32>().unwrap(), values[..2999]);
    let x =
        Buffer::from_slice(&device, &[0.0f32, -0.5, 1.5, 300.0, 3e9, f32::NAN, f32::NEG_INFINITY, 65519.9]).unwrap();
    let to = |dtype| {
        let mut y = Buffer::allocate(&device, dtype, 8).unwrap();
        copy::cast(View { buffer: &x, offset: 0, strides: &[1] }, &[8], &mut y).unwrap();
        y
    };
    assert_eq!(to(DType::I64).to_vec::<i64>().unwrap(), [0, 0, 1, 300, 3_000_000_000, 0, i64::MIN, 65519]);
    assert_eq!(to(DType::U8).to_vec::<u8>().unwrap(), [0, 0, 1, 255, 255, 0, 0, 255]);
    assert_eq!(to(DType::F16).to_vec::<f16>().unwrap()[7], f16::from_f32(65504.0));
    assert_eq!(to(DType::BF16).to_vec::<bf16>().unwrap()[4], bf16::from_f32(3e9));
    let mut halves = Buffer::allocate(&device, DType::F16, 1000).unwrap();
    copy::fill(&mut halves, 0.1).unwrap();
    assert_eq!(halves.to_vec::<f16>().unwrap(), vec![f16::from_f32(0.1); 1000]);
}

#[test]
fn a_part_of_a_buffer_is_read() {
    for device in [Device::Cpu, emulated()] {
        let x = Buffer::from_slice(&device, &[1.0f64, 2.0, 3.0, 4.0]).unwrap();
        assert_eq!(x.read::<f64>(1, 2).unwrap(), [2.0, 3.0]);
        assert_eq!(x.read::<f64>(4, 0).unwrap(), []);
        for (from, len) in [(3, 2), (5, 0), (usize::MAX, 2)] {
            let error = x.read::<f64>(from, len).unwrap_err().to_string();
            assert!(error.contains("of a buffer of 4"), "{error}");
        }
    }
}

#[test]
fn conversions_of_halves_are_those_of_the_host() {
    let device = emulated();
    // Every f16 to f32 and back, and floats around the boundaries of rounding.
    let all: Vec<f16> = (0..=u16::MAX).map(f16::from_bits).collect();
    let x = Buffer::from_slice(&device, &all).unwrap();
    let mut wide = Buffer::allocate(&device, DType::F32, all.len()).unwrap();
    copy::cast(View { buffer: &x, offset: 0, strides: &[1] }, &[all.len()], &mut wide).unwrap();
    for (x, y) in all.iter().zip(wide.to_vec::<f32>().unwrap()) {
        assert!(x.to_f32() == y || x.is_nan() && y.is_nan(), "{x} {y}");
    }
    let floats: Vec<f32> = (0..200_000u32).map(|i| f32::from_bits(i.wrapping_mul(21_473))).collect();
    let x = Buffer::from_slice(&device, &floats).unwrap();
    for dtype in [DType::F16, DType::BF16] {
        let mut narrow = Buffer::allocate(&device, dtype, floats.len()).unwrap();
        copy::cast(View { buffer: &x, offset: 0, strides: &[1] }, &[floats.len()], &mut narrow).unwrap();
        let got: Vec<f32> = match dtype {
            DType::F16 => narrow.to_vec::<f16>().unwrap().iter().map(|x| x.to_f32()).collect(),
            _ => narrow.to_vec::<bf16>().unwrap().iter().map(|x| x.to_f32()).collect(),
        };
        for (x, y) in floats.iter().zip(got) {
            let expected = if dtype == DType::F16 { f16::from_f32(*x).to_f32() } else { bf16::from_f32(*x).to_f32() };
            assert!(expected == y || expected.is_nan() && y.is_nan(), "{dtype} {x}: {y}, expected {expected}");
        }
    }
}

#[test]
fn grids_fold_beyond_the_limit() {
    let clustered =
        |blocks, cluster| Launched { blocks, threads: 1, shared_bytes: 0, cluster, overlaps_previous: false }.grid();
    let grid = |blocks| clustered(blocks, 1);
    assert_eq!(grid(1), [1, 1]);
    assert_eq!(grid(i32::MAX as usize), [i32::MAX as u32, 1]);
    for blocks in [i32::MAX as usize + 1, 1 << 33, (1 << 40) + 12345] {
        let [x, y] = grid(blocks).map(|n| n as usize);
        assert!(x <= i32::MAX as usize && y <= 65535 && x * y >= blocks && x * y - blocks < y, "{blocks}: {x} {y}");
    }
    assert_eq!(clustered(10, 4), [12, 1]);
    assert_eq!(clustered(12, 4), [12, 1]);
    for blocks in [i32::MAX as usize - 1, i32::MAX as usize + 1, 1 << 33] {
        let [x, y] = clustered(blocks, 6).map(|n| n as usize);
        assert!(x <= i32::MAX as usize && x.is_multiple_of(6) && x * y >= blocks, "{blocks}: {x} {y}");
    }
}

#[test]
fn blocks_of_a_cluster_have_ranks() {
    let Device::Cuda(device) = emulated() else { return };
    let y = CudaMemory::allocate(&device, 12 * size_of::<u32>()).unwrap();
    let stage = Stage::new(&device, Unit::new("runtime", DType::F32), "ranks_of_clusters");
    // The emulator starts a launch after the one before it, whatever is asked for.
    stage.blocks(10).threads(32).cluster(4).overlaps_previous().param(y.address()).run().unwrap();
    let mut ranks = [0u32; 12];
    y.download(0, bytemuck::cast_slice_mut(&mut ranks)).unwrap();
    assert_eq!(ranks, [0, 1, 2, 3, 0, 1, 2, 3, 0, 1, 2, 3]);
}

#[test]
fn units_compile_with_nvrtc() {
    if present("nvrtc", nvrtc::present()).is_none() {
        return;
    }
    for elem in DType::ALL {
        let unit = Unit::new("copy", elem);
        for number in [75, 80, 89, 90, 100] {
            let compiled = compile(&unit, Architecture { number }).unwrap();
            assert!(compiled.code.starts_with(b"\x7fELF"), "{}", compiled.log);
            assert!(!compiled.log.contains("warning"), "{}", compiled.log);
        }
    }
}

#[test]
fn a_gpu_that_nvrtc_does_not_know_gets_intermediate_code() {
    if present("nvrtc", nvrtc::present()).is_none() {
        return;
    }
    let unit = Unit::new("copy", DType::F32);
    let newer = compile(&unit, Architecture { number: 990 }).unwrap();
    let (&last, text) = newer.code.split_last().unwrap();
    let text = std::str::from_utf8(text).unwrap();
    assert_eq!(last, 0, "the driver reads intermediate code up to a NUL");
    let target = text.lines().find_map(|line| line.strip_prefix(".target sm_")).unwrap();
    let number: u32 = target.split(',').next().unwrap().trim().parse().unwrap();
    // Without a letter, which would tie it to that one architecture; and machine code exists for it.
    assert!(number >= 120, "{target}");
    assert!(compile(&unit, Architecture { number }).unwrap().code.starts_with(b"\x7fELF"));
    assert!(text.contains(".visible .entry copy"), "{text}");

    let error = compile(&unit, Architecture { number: 35 }).map(drop).unwrap_err().to_string();
    assert!(error.contains("7.5 and above; this one has 3.5"), "{error}");
}

#[test]
fn events_tell_the_time_of_what_was_launched_between_them() {
    let Device::Cuda(device) = emulated() else { return };
    let x = Buffer::from_slice(&Device::Cuda(device.clone()), &vec![1.0f32; 100_000]).unwrap();
    let mut y = Buffer::allocate(&Device::Cuda(device.clone()), DType::F32, 100_000).unwrap();
    let start = device.record().unwrap();
    copy::copy(View { buffer: &x, offset: 0, strides: &[1] }, &[100_000], &mut y).unwrap();
    let middle = device.record().unwrap();
    copy::copy(View { buffer: &x, offset: 0, strides: &[1] }, &[100_000], &mut y).unwrap();
    let end = device.record().unwrap();
    let (first, second) = (start.elapsed_ms(&middle).unwrap(), middle.elapsed_ms(&end).unwrap());
    assert!(first > 0.0 && second > 0.0);
    assert!((start.elapsed_ms(&end).unwrap() - first - second).abs() < 1e-3);
}

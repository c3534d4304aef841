//! Whether a device's own f16 can be used: its conversions have to be those of IEEE 754, which every other device follows.
//!
//! WGSL promises less: a conversion to f16 may round either way and subnormal values may be flushed to zero (WebGPU's
//! conformance tests, `correctlyRoundedF16`), and an implementation may take infinities and NaN for impossible (WGSL,
//! "Floating Point Evaluation"). Adapters differ in this, so the device is asked once: every value of f16 is widened, and
//! every boundary between two of them rounded, with the numbers just beside it. Where one is not what the host makes of
//! it, f16 goes by words and by arithmetic on bits, as bf16 does.

use super::args::Slot;
use super::wide::WideParams;
use super::{Stage, WgpuDevice, WgpuMemory};
use crate::{DType, Result, f16};

/// Whether the device converts between f16 and f32 as the host does.
#[track_caller]
pub(super) fn are_exact(device: &WgpuDevice) -> Result<bool> {
    let halves: Vec<u16> = (0..=u16::MAX).collect();
    let widened: Vec<f32> = converted(device, (DType::F16, bytemuck::cast_slice(&halves)), DType::F32)?;
    let singles = boundaries();
    let rounded: Vec<u16> = converted(device, (DType::F32, bytemuck::cast_slice(&singles)), DType::F16)?;
    let is_widened = |(&half, got): (&u16, &f32)| {
        let want = f16::from_bits(half).to_f32();
        got.to_bits() == want.to_bits() || got.is_nan() && want.is_nan()
    };
    let is_rounded = |(&single, &got): (&f32, &u16)| {
        let (got, want) = (f16::from_bits(got), f16::from_f32(single));
        got.to_bits() == want.to_bits() || got.is_nan() && want.is_nan()
    };
    Ok(halves.iter().zip(&widened).all(is_widened) && singles.iter().zip(&rounded).all(is_rounded))
}

/// Where rounding to f16 changes: halfway between neighbours, of which the last is where infinity begins, with the f32 just
/// below and above. Of both signs; and NaN, infinity and what is far too large or too small.
fn boundaries() -> Vec<f32> {
    let halfway = (0..0x7c00u16).map(|bits| {
        let low = f16::from_bits(bits).to_f32();
        // As if there were a number of f16 beyond the largest.
        let high = if bits == 0x7bff { 65536.0 } else { f16::from_bits(bits + 1).to_f32() };
        low + (high - low) / 2.0
    });
    let beside = halfway.flat_map(|x| [x.next_down(), x, x.next_up()]);
    let further = [0.0, f32::MIN_POSITIVE, 1e-10, 1e30, f32::MAX, f32::INFINITY, f32::NAN];
    beside.chain(further).flat_map(|x| [x, -x]).collect()
}

/// Elements as those of another dtype: f16 natively.
#[track_caller]
fn converted<T: bytemuck::Pod>(device: &WgpuDevice, from: (DType, &[u8]), to: DType) -> Result<Vec<T>> {
    let (dtype, bytes) = from;
    let len = bytes.len() / dtype.size_bytes();
    let mut x = WgpuMemory::allocate(device, dtype, bytes.len())?;
    x.upload(bytes)?;
    let y = WgpuMemory::allocate(device, to, len * to.size_bytes())?;
    let [x, to_slot]: [Slot; 2] = [x.slot(dtype, len, 0), y.slot(to, len, 0)];
    let stage = Stage::new(device, "wide", "unpack").natively().read("x", x).write("y", to_slot);
    stage.params(&WideParams { len: len as u32 }).groups_for(len).run()?;
    let mut converted = vec![T::zeroed(); len];
    y.read(0, bytemuck::cast_slice_mut(&mut converted))?;
    Ok(converted)
}

//! Moving elements on wgpu: see [`crate::copy`].

use bytemuck::{Pod, Zeroable};

use super::windows::ranges;
use super::{Slot, WgpuArgs, place, size};
use crate::copy::{CopyParams, FillParams};
use crate::{DType, Result, Stored, bf16, f16};

/// The kernels' `CopyParams`.
#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct Params {
    len: u32,
    rank: u32,
    y_offset: u32,
    words: u32,
    shape: [u32; 8],
    x_strides: [i32; 8],
    y_strides: [i32; 8],
}

/// The kernels' `FillParams`.
#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct Fill {
    words: u32,
    word: u32,
}

/// `values` as kernels count.
#[track_caller]
pub(super) fn sizes<const N: usize>(values: [u64; N]) -> Result<[u32; N]> {
    let mut sizes = [0; N];
    for (to, from) in sizes.iter_mut().zip(values) {
        *to = size(from)?;
    }
    Ok(sizes)
}

/// `strides` as kernels count.
#[track_caller]
pub(super) fn strides<const N: usize>(values: [i64; N]) -> Result<[i32; N]> {
    let mut strides = [0; N];
    for (to, from) in strides.iter_mut().zip(values) {
        *to = place(from)?;
    }
    Ok(strides)
}

#[track_caller]
fn params(p: &CopyParams) -> Result<Params> {
    Ok(Params {
        len: size(p.len)?,
        rank: size(p.rank)?,
        y_offset: size(p.y_offset)?,
        words: 0,
        shape: sizes(p.shape)?,
        x_strides: strides(p.x_strides)?,
        y_strides: strides(p.y_strides)?,
    })
}

/// Whether index i of the shape is element i of y, and there are no others.
fn fills(p: &CopyParams, len: usize) -> bool {
    let mut stride = 1;
    let row_major = (0..p.rank as usize).rev().all(|dim| {
        let fits = p.shape[dim] == 1 || p.y_strides[dim] == stride;
        stride *= p.shape[dim] as i64;
        fits
    });
    row_major && p.y_offset == 0 && p.len as usize == len
}

#[track_caller]
pub(crate) fn copy(args: &mut WgpuArgs<'_>) -> Result<()> {
    let p: CopyParams = args.params();
    let y = args.output(0);
    if fills(&p, y.len) {
        return cast(args);
    }
    let x = args.input(0).reaching(0, p.shape.into_iter().zip(p.x_strides));
    let y = y.reaching(p.y_offset, p.shape.into_iter().zip(p.y_strides));
    let stage = args.stage("copy_into").read("x", x).scatter("y", y);
    stage.params(&params(&p)?).groups_for(p.len as usize).run()
}

#[track_caller]
pub(crate) fn cast(args: &mut WgpuArgs<'_>) -> Result<()> {
    let p: CopyParams = args.params();
    let (x, y) = (args.input(0), args.output(0));
    if p.rank > 1 || p.x_strides[0] != 1 {
        return convert(args, &p, x.reaching(0, p.shape.into_iter().zip(p.x_strides)), y);
    }
    for (first, len) in ranges(&args.device.limits(), &[x, y], y.len) {
        let mut of_range = CopyParams { len: len as u64, ..p };
        of_range.shape[0] = len as u64;
        convert(args, &of_range, x.part(first, len), y.part(first, len))?;
    }
    Ok(())
}

/// Writes all of `y`.
#[track_caller]
fn convert(args: &WgpuArgs<'_>, p: &CopyParams, x: Slot, y: Slot) -> Result<()> {
    let words = y.len.div_ceil(4 / y.dtype.size_bytes());
    let stage = args.stage("copy").read("x", x).words("y", y).text(conversion(x.dtype, y.dtype));
    stage.params(&params(p)?).groups_for(words).run()
}

/// The function from an element of one dtype to one of another.
fn conversion(from: DType, to: DType) -> &'static str {
    match (from, to) {
        (from, to) if from.is_float() && to.is_float() => "fn convert(x: f32) -> f32 { return x; }",
        (from, DType::I32) if from.is_float() => "fn convert(x: f32) -> i32 { return f32_to_i32(x); }",
        (from, DType::U8) if from.is_float() => "fn convert(x: f32) -> u32 { return f32_to_u8(x); }",
        (from, DType::Bool) if from.is_float() => "fn convert(x: f32) -> u32 { return f32_to_bool(x); }",
        (from, _) if from.is_float() => "fn convert(x: f32) -> u32 { return f32_to_u32(x); }",
        (DType::I32, to) if to.is_float() => "fn convert(x: i32) -> f32 { return f32(x); }",
        (DType::I32, DType::I32) => "fn convert(x: i32) -> i32 { return x; }",
        (DType::I32, _) => "fn convert(x: i32) -> u32 { return u32(x); }",
        (_, to) if to.is_float() => "fn convert(x: u32) -> f32 { return f32(x); }",
        (_, DType::I32) => "fn convert(x: u32) -> i32 { return i32(x); }",
        _ => "fn convert(x: u32) -> u32 { return x; }",
    }
}

#[track_caller]
pub(crate) fn fill(args: &mut WgpuArgs<'_>) -> Result<()> {
    let p: FillParams = args.params();
    let y = args.output(0);
    let word = word_of(y.dtype, p.value, p.integer);
    for (first, len) in ranges(&args.device.limits(), &[y], y.len) {
        let words = len.div_ceil(4 / y.dtype.size_bytes());
        let params = Fill { words: size(words as u64)?, word };
        args.stage("fill").words("y", y.part(first, len)).params(&params).groups_for(words).run()?;
    }
    Ok(())
}

/// The word all of whose elements are that value.
fn word_of(dtype: DType, value: f64, integer: i64) -> u32 {
    let halves = |bits: u16| u32::from(bits) * 0x1_0001;
    match dtype {
        DType::F16 => halves(f16::from_f64(value).to_bits()),
        DType::BF16 => halves(bf16::from_f64(value).to_bits()),
        DType::Bool => u32::from(value != 0.0) * 0x0101_0101,
        DType::U8 => u32::from(integer as u8) * 0x0101_0101,
        DType::U32 | DType::I32 => integer as u32,
        _ => f32::from_f64(value).to_bits(),
    }
}

//! Random arrays on wgpu: formulas are in [`crate::random`].

use bytemuck::{Pod, Zeroable};

use super::elements::elem;
use super::{WgpuArgs, size};
use crate::random::{RandomIntegerParams, RandomParams};
use crate::{DType, Result, bf16, f16};

/// The kernels' `RandomParams`.
#[repr(C)]
#[derive(Clone, Copy, Default, Pod, Zeroable)]
struct Params {
    seed: [u32; 2],
    stream: [u32; 2],
    low: [u32; 2],
    range: [u32; 2],
    a: f32,
    b: f32,
    bound: f32,
    threshold: u32,
    len: u32,
    zero: u32,
}

/// The low and the high half.
pub(crate) fn words(number: u64) -> [u32; 2] {
    [number as u32, (number >> 32) as u32]
}

#[track_caller]
pub(crate) fn uniform(args: &mut WgpuArgs<'_>) -> Result<()> {
    args.floats_only()?;
    let RandomParams { seed, stream, a, b, .. } = args.params();
    let [seed, stream] = [seed, stream].map(words);
    let (bits, bound) = match args.elem {
        DType::F16 => (11, bound(b as f32, |x| f16::from_f32(x).to_f32())),
        DType::BF16 => (8, bound(b as f32, |x| bf16::from_f32(x).to_f32())),
        _ => (24, b as f32),
    };
    let params = Params { seed, stream, a: a as f32, b: b as f32, bound, ..Params::default() };
    fill(args, "uniform_numbers", params, bits)
}

#[track_caller]
pub(crate) fn normal(args: &mut WgpuArgs<'_>) -> Result<()> {
    args.floats_only()?;
    let RandomParams { seed, stream, a, b } = args.params();
    let [seed, stream] = [seed, stream].map(words);
    fill(args, "normal", Params { seed, stream, a: a as f32, b: b as f32, ..Params::default() }, 0)
}

#[track_caller]
pub(crate) fn bernoulli(args: &mut WgpuArgs<'_>) -> Result<()> {
    let RandomParams { seed, stream, a: p, .. } = args.params();
    let [seed, stream] = [seed, stream].map(words);
    fill(args, "bernoulli", Params { seed, stream, threshold: threshold(p), ..Params::default() }, 0)
}

#[track_caller]
pub(crate) fn integers(args: &mut WgpuArgs<'_>) -> Result<()> {
    let RandomIntegerParams { seed, stream, low, range } = args.params();
    let [seed, stream, low, range] = [seed, stream, low as u64, range].map(words);
    fill(args, "integers", Params { seed, stream, low, range, ..Params::default() }, 0)
}

/// What the upper 24 bits of a word are below with probability `p`.
pub(crate) fn threshold(p: f64) -> u32 {
    (p * 16_777_216.0).ceil() as u32
}

/// The least number that `round` does not leave below `high`.
fn bound(high: f32, round: impl Fn(f32) -> f32) -> f32 {
    // Numbers in order: their bits, but for negative ones from the other side.
    let ordered = |bits: u32| f32::from_bits(if bits >> 31 == 1 { bits ^ (1 << 31) } else { !bits });
    let (mut below, mut not_below) = (!f32::NEG_INFINITY.to_bits(), f32::INFINITY.to_bits() ^ (1 << 31));
    while not_below - below > 1 {
        let middle = below + (not_below - below) / 2;
        if round(ordered(middle)) < high { below = middle } else { not_below = middle }
    }
    ordered(not_below)
}

/// How a number of 64 bits becomes an element.
fn conversion(dtype: DType) -> &'static str {
    match dtype {
        DType::I32 => "fn elem_of_words(v: vec2<u32>) -> i32 { return bitcast<i32>(v.x); }",
        DType::Bool => "fn elem_of_words(v: vec2<u32>) -> u32 { return u32((v.x | v.y) != 0u); }",
        _ if dtype.is_float() => "fn elem_of_words(v: vec2<u32>) -> f32 { return f32_of_words(v); }",
        _ => "fn elem_of_words(v: vec2<u32>) -> u32 { return v.x; }",
    }
}

#[track_caller]
fn fill(args: &WgpuArgs<'_>, entry: &'static str, params: Params, bits: u32) -> Result<()> {
    let y = args.output(0);
    let params = Params { len: size(y.len as u64)?, ..params };
    let stage = args.stage(entry).words("y", y).text(elem(args.elem)).text(conversion(args.elem));
    stage.define("BITS", bits).params(&params).groups_for(y.len.div_ceil(4)).run()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_are_where_rounding_reaches_the_end() {
        let next = |x: f32| if x > 0.0 { f32::from_bits(x.to_bits() - 1) } else { f32::from_bits(x.to_bits() + 1) };
        for high in [1.0f32, -1.0, 3.0, 0.3, 1e-7, 65520.0, -1e-30] {
            for round in [|x| f16::from_f32(x).to_f32(), |x| bf16::from_f32(x).to_f32()] {
                let bound = bound(high, round);
                assert!(round(bound) >= high && round(next(bound)) < high, "{high}: {bound}");
            }
        }
    }
}

//! Random arrays on the host: formulas are in [`crate::random`].

use crate::cpu::parallel::for_each_chunk;
use crate::cpu::simd::vectorized;
use crate::philox::{LANES, unit_f64};
use crate::random::{RandomIntegerParams, RandomParams};
use crate::{CpuArgs, DType, Error, ErrorKind, Result, Stored, Stream, with_dtype};

/// Words that are made at a time.
pub(crate) const WORDS: usize = 16 * LANES;
/// What a word costs, in element operations.
const COST: usize = 16;

pub(crate) fn uniform(args: &mut CpuArgs<'_>) -> Result<()> {
    let RandomParams { a: low, b: high, .. } = args.params();
    match args.elem {
        DType::F64 => {
            by_two_words(args, |u| {
                let y = low + (high - low) * unit_f64(u as u32, (u >> 32) as u32);
                if y < high { y } else { low }
            });
            Ok(())
        }
        _ => with_dtype!(args.elem, float E => uniform_by_word::<E>(args, low as f32, high as f32),
            else no_integers(args)),
    }
}

pub(crate) fn normal(args: &mut CpuArgs<'_>) -> Result<()> {
    let RandomParams { a: mean, b: std, .. } = args.params();
    if args.elem == DType::F64 {
        by_block(args, 2, |words, y: &mut [f64]| {
            let (c, s) = normal_pair_f64(words);
            y.iter_mut().zip([c, s]).for_each(|(y, z)| *y = mean + std * z);
        });
        return Ok(());
    }
    let (mean, std) = (mean as f32, std as f32);
    with_dtype!(args.elem, float E => normal_by_words::<E>(args, mean, std), else no_integers(args))
}

pub(crate) fn integers(args: &mut CpuArgs<'_>) -> Result<()> {
    let RandomIntegerParams { low, range, .. } = args.params();
    let draw = |u: u64| low.wrapping_add(((u128::from(u) * u128::from(range)) >> 64) as i64);
    with_dtype!(args.elem, E => by_two_words(args, |u| E::from_i64(draw(u))));
    Ok(())
}

pub(crate) fn bernoulli(args: &mut CpuArgs<'_>) -> Result<()> {
    let RandomParams { a: p, .. } = args.params();
    let below = (p * 16_777_216.0).ceil() as u32;
    with_dtype!(args.elem, E => by_words(args, |words, y| {
        y.iter_mut().zip(words).for_each(|(y, word)| *y = E::from_i64((word >> 8 < below) as i64));
    }));
    Ok(())
}

fn no_integers(args: &CpuArgs<'_>) -> Result<()> {
    Err(Error::new(ErrorKind::Unsupported { dtype: args.elem, device: "cpu".into() }))
}

fn uniform_by_word<S: Stored>(args: &mut CpuArgs<'_>, low: f32, high: f32) -> Result<()> {
    let bits = match S::DTYPE {
        DType::F16 => 11,
        DType::BF16 => 8,
        _ => 24,
    };
    let (shift, scale) = (32 - bits, 1.0 / (1u32 << bits) as f32);
    let range = high - low;
    by_words(args, |words, y| {
        vectorized(
            #[inline(always)]
            || {
                for (y, word) in y.iter_mut().zip(words) {
                    let draw = S::from_f32(low + range * ((word >> shift) as i32 as f32 * scale));
                    *y = if draw.to_f32() < high { draw } else { S::from_f32(low) };
                }
            },
        );
    });
    Ok(())
}

fn normal_by_words<S: Stored>(args: &mut CpuArgs<'_>, mean: f32, std: f32) -> Result<()> {
    by_words(args, |words, y: &mut [S]| {
        let mut deviates = [0.0; WORDS];
        let deviates = &mut deviates[..words.len()];
        fill_normal_pairs(words, deviates);
        y.iter_mut().zip(deviates).for_each(|(y, z)| *y = S::from_f32(mean + std * *z));
    });
    Ok(())
}

/// Two normal deviates for each two words, of which there is an even number.
fn fill_normal_pairs(words: &[u32], deviates: &mut [f32]) {
    vectorized(
        #[inline(always)]
        || {
            for (z, words) in deviates.as_chunks_mut::<2>().0.iter_mut().zip(words.as_chunks::<2>().0) {
                let (a, b) = normal_pair(words[0], words[1]);
                *z = [a, b];
            }
        },
    );
}

/// Two normal deviates from two words.
#[inline(always)]
fn normal_pair(v: u32, w: u32) -> (f32, f32) {
    let r = (-2.0 * ln_of_unit(v)).sqrt();
    let steps = ((w & 0x3fff_ffff) >> 6) as i32 - (1 << 23);
    let (c, s) = cos_sin(std::f32::consts::FRAC_PI_2 * ((steps as f32 + 0.5) * (1.0 / 16_777_216.0)));
    let (c, s) = if w & 0x4000_0000 == 0 { (c, s) } else { (-s, c) };
    let r = if w & 0x8000_0000 == 0 { r } else { -r };
    (r * c, r * s)
}

/// ln((n + 1) / 2^24) for the upper 24 bits n of a word, after Cephes `logf`.
#[inline(always)]
fn ln_of_unit(word: u32) -> f32 {
    let x = ((word >> 8) as i32 + 1) as f32 * (1.0 / 16_777_216.0);
    // x = 2^e m with m in [sqrt(1/2), sqrt(2)).
    let bits = x.to_bits().wrapping_sub(0x3f35_04f3);
    let e = (bits as i32 >> 23) as f32;
    let m = f32::from_bits((bits & 0x007f_ffff).wrapping_add(0x3f35_04f3)) - 1.0;
    let mut p = 7.037_683_6e-2;
    for c in [
        -1.151_461e-1,
        1.167_699_9e-1,
        -1.242_014_1e-1,
        1.424_932_3e-1,
        -1.666_805_8e-1,
        2.000_071_5e-1,
        -2.499_999_4e-1,
        3.333_333e-1,
    ] {
        p = p * m + c;
    }
    let z = m * m;
    let y = p * m * z + e * -2.121_944_4e-4 - 0.5 * z;
    m + y + e * 0.693_359_4
}

/// cos and sin of at most an eighth of a turn either way, after Cephes `sinf`.
#[inline(always)]
fn cos_sin(t: f32) -> (f32, f32) {
    let z = t * t;
    let s = ((-1.951_529_6e-4 * z + 8.332_161e-3) * z - 1.666_665_5e-1) * z * t + t;
    let c = ((2.443_315_7e-5 * z - 1.388_731_6e-3) * z + 4.166_664_6e-2) * z * z - 0.5 * z + 1.0;
    (c, s)
}

fn normal_pair_f64([a, b, c, d]: [u32; 4]) -> (f64, f64) {
    let r = (-2.0 * (unit_f64(a, b) + 1.0 / 9_007_199_254_740_992.0).ln()).sqrt();
    let (s, c) = (std::f64::consts::TAU * unit_f64(c, d)).sin_cos();
    (r * c, r * s)
}

fn stream(args: &CpuArgs<'_>) -> Stream {
    // The stream comes first in the parameters of every generator.
    let RandomParams { seed, stream, .. } = args.params();
    Stream { seed, number: stream }
}

/// Fills the output in parts, element `i` from word `i`: `f(words, part)`, with words for all elements and up to three more.
fn by_words<S: Stored>(args: &mut CpuArgs<'_>, f: impl Fn(&[u32], &mut [S]) + Send + Sync) {
    let stream = stream(args);
    for_each_chunk(args.output::<S>(0), WORDS, COST * WORDS, |first, y| {
        let mut words = [0; WORDS];
        for (group, y) in y.chunks_mut(WORDS).enumerate() {
            let words = &mut words[..y.len().next_multiple_of(4)];
            fill_words(stream, ((first + group) * WORDS / 4) as u64, words);
            f(words, y);
        }
    });
}

/// The words of a stream from block `first` on.
pub(crate) fn fill_words(stream: Stream, first: u64, words: &mut [u32]) {
    vectorized(
        #[inline(always)]
        || {
            let (groups, rest) = words.as_chunks_mut::<{ 4 * LANES }>();
            let mut index = first;
            for group in groups {
                *group = words_of_blocks(stream, index);
                index = index.wrapping_add(LANES as u64);
            }
            if !rest.is_empty() {
                rest.copy_from_slice(&words_of_blocks(stream, index)[..rest.len()]);
            }
        },
    );
}

/// The words of `LANES` blocks from block `first` on.
#[inline(always)]
fn words_of_blocks(stream: Stream, first: u64) -> [u32; 4 * LANES] {
    let blocks = stream.blocks(first);
    let mut words = [0; 4 * LANES];
    for (lane, words) in words.chunks_exact_mut(4).enumerate() {
        words.iter_mut().zip(&blocks).for_each(|(word, block)| *word = block[lane]);
    }
    words
}

/// Fills the output, element `i` from 64 bits: words `2 i` and `2 i + 1`.
fn by_two_words<S: Stored>(args: &mut CpuArgs<'_>, f: impl Fn(u64) -> S + Send + Sync) {
    by_block(args, 2, |[a, b, c, d], y: &mut [S]| {
        let pairs = [u64::from(b) << 32 | u64::from(a), u64::from(d) << 32 | u64::from(c)];
        y.iter_mut().zip(pairs).for_each(|(y, u)| *y = f(u));
    });
}

/// Calls `f(block, elements)` for each `per_block` elements of the output.
fn by_block<S: Stored>(args: &mut CpuArgs<'_>, per_block: usize, f: impl Fn([u32; 4], &mut [S]) + Send + Sync) {
    let stream = stream(args);
    for_each_chunk(args.output::<S>(0), per_block, 4 * COST, |first, y| {
        for (block, y) in y.chunks_mut(per_block).enumerate() {
            f(stream.block((first + block) as u64), y);
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::{fill_bernoulli, fill_integers, fill_normal, fill_uniform};
    use crate::{Bool, Buffer, Device, bf16, f16};

    const STREAM: Stream = Stream { seed: 42, number: 3 };

    fn draw<S: Stored>(n: usize, f: impl Fn(&mut Buffer) -> Result<()>) -> Vec<S> {
        let mut y = Buffer::allocate(&Device::Cpu, S::DTYPE, n).unwrap();
        f(&mut y).unwrap();
        y.to_vec().unwrap()
    }

    /// Mean and variance within five deviations of theirs for `n` draws.
    fn moments(x: &[f64], mean: f64, variance: f64, kurtosis: f64) {
        let n = x.len() as f64;
        let got_mean = x.iter().sum::<f64>() / n;
        let got_variance = x.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / n;
        assert!((got_mean - mean).abs() < 5.0 * (variance / n).sqrt(), "mean {got_mean}");
        let bound = 5.0 * variance * ((kurtosis - 1.0) / n).sqrt();
        assert!((got_variance - variance).abs() < bound, "variance {got_variance}");
    }

    #[test]
    fn elements_are_words_of_the_stream() {
        // Long enough for several threads, and no multiple of a group.
        let y: Vec<f32> = draw(100_003, |y| fill_uniform(STREAM, 0.0, 1.0, y));
        assert!(y.iter().enumerate().all(|(i, &y)| y == STREAM.uniform(i as u64)));
        for n in [0, 1, 63, 65, 1000] {
            assert_eq!(draw::<f32>(n, |y| fill_uniform(STREAM, 0.0, 1.0, y)), y[..n]);
        }
        let bits: Vec<Bool> = draw(1000, |y| fill_bernoulli(STREAM, 0.25, y));
        assert!(bits.iter().zip(&y).all(|(bit, &y)| (bit.0 != 0) == (y < 0.25)));
        let z: Vec<f32> = draw(1001, |y| fill_normal(STREAM, 0.0, 1.0, y));
        assert_eq!(z[..33], draw::<f32>(33, |y| fill_normal(STREAM, 0.0, 1.0, y)));
        let half: Vec<f16> = draw(1001, |y| fill_normal(STREAM, 0.0, 1.0, y));
        assert!(half.iter().zip(&z).all(|(&half, &z)| half == f16::from_f32(z)));
    }

    #[test]
    fn uniform_stays_in_its_range() {
        fn check<S: Stored>() {
            let y: Vec<f64> =
                draw::<S>(50_001, |y| fill_uniform(STREAM, -1.0, 3.0, y)).iter().map(|y| y.to_f64()).collect();
            assert!(y.iter().all(|&y| (-1.0..3.0).contains(&y)));
            // bf16 has steps of 1/64 here, which lowers the mean by half of one.
            let shift = if S::DTYPE == DType::BF16 { 2.0f64.powi(-7) } else { 0.0 };
            moments(&y, 1.0 - shift, 16.0 / 12.0, 1.8);
        }
        check::<f32>();
        check::<f64>();
        check::<f16>();
        check::<bf16>();
    }

    #[test]
    fn normal_has_its_moments_and_follows_its_formula() {
        let y: Vec<f32> = draw(200_000, |y| fill_normal(STREAM, 1.0, 2.0, y));
        moments(&y.iter().map(|&y| y.into()).collect::<Vec<_>>(), 1.0, 4.0, 3.0);
        moments(&draw::<f64>(100_000, |y| fill_normal(STREAM, 1.0, 2.0, y)), 1.0, 4.0, 3.0);
        let z: Vec<f32> = draw(20_000, |y| fill_normal(STREAM, 0.0, 1.0, y));
        for (pair, z) in z.chunks(2).enumerate() {
            let (v, w) = (STREAM.word(2 * pair as u64), STREAM.word(2 * pair as u64 + 1));
            let r = (-2.0 * ((f64::from(v >> 8) + 1.0) / 16_777_216.0).ln()).sqrt();
            let steps = f64::from((w & 0x3fff_ffff) >> 6) - f64::from(1 << 23) + 0.5;
            let t = std::f64::consts::FRAC_PI_2 * (steps / 16_777_216.0 + f64::from(w >> 30));
            // A few roundings of numbers up to 6.
            assert!((f64::from(z[0]) - r * t.cos()).abs() < 1e-6, "{pair}");
            assert!((f64::from(z[1]) - r * t.sin()).abs() < 1e-6, "{pair}");
        }
    }

    #[test]
    fn integers_cover_their_range() {
        let y: Vec<i64> = draw(60_001, |y| fill_integers(STREAM, -2, 4, y));
        for value in -2..4 {
            let count = y.iter().filter(|&&y| y == value).count() as f64;
            // Five deviations of a binomial with p = 1/6.
            assert!((count - 1e4).abs() < 457.0, "{value}: {count}");
        }
        assert!(y.iter().all(|y| (-2..4).contains(y)));
        assert_eq!(draw::<u8>(3, |y| fill_integers(STREAM, 7, 7, y)), [7; 3]);
        let wide: Vec<i64> = draw(1000, |y| fill_integers(STREAM, i64::MIN, i64::MAX, y));
        assert!(wide.iter().any(|&y| y < i64::MIN / 2) && wide.iter().any(|&y| y > i64::MAX / 2));
    }

    #[test]
    fn certain_and_impossible() {
        assert_eq!(draw::<u8>(1000, |y| fill_bernoulli(STREAM, 1.0, y)), [1; 1000]);
        assert_eq!(draw::<f32>(1000, |y| fill_bernoulli(STREAM, 0.0, y)), [0.0; 1000]);
        let mut y = Buffer::allocate(&Device::Cpu, DType::I64, 1).unwrap();
        assert!(fill_uniform(STREAM, 0.0, 1.0, &mut y).unwrap_err().is_unsupported());
    }
}

//! Dropout on the host; the formula is in [`crate::dropout`].

use crate::cpu::parallel::for_each_chunk;
use crate::cpu::random::{WORDS, fill_words};
use crate::cpu::real::Real;
use crate::cpu::simd::wide;
use crate::cpu::widen::run_widened;
use crate::dropout::DropoutParams;
use crate::{Compute, CpuArgs, Error, ErrorKind, Result, Stored, Stream, with_dtype};

/// What an element costs, in element operations.
const COST: usize = 16;

/// The host body of `DROPOUT_FORWARD`.
pub(crate) fn forward(args: &mut CpuArgs<'_>) -> Result<()> {
    run_widened(args, &|args: &mut CpuArgs<'_>| {
        with_dtype!(args.elem, real E => forward_as::<E>(args),
            else Err(Error::new(ErrorKind::Unsupported { dtype: args.elem, device: "cpu".into() })))
    })
}

fn forward_as<S: Stored<Compute: Real>>(args: &mut CpuArgs<'_>) -> Result<()> {
    let DropoutParams { seed, stream, p } = args.params();
    let stream = Stream { seed, number: stream };
    // The draw of `fill_bernoulli` with probability 1 - p, as in attention.
    let below = ((1.0 - p) * 16_777_216.0).ceil() as u32;
    let scale = S::Compute::c(if p < 1.0 { 1.0 / (1.0 - p) } else { 0.0 });
    let x = args.input::<S>(0);
    for_each_chunk(args.output::<S>(0), WORDS, COST * WORDS, |first, y| {
        let mut words = [0; WORDS];
        let x = &x[first * WORDS..][..y.len()];
        for (group, (x, y)) in x.chunks(WORDS).zip(y.chunks_mut(WORDS)).enumerate() {
            fill_words(stream, ((first + group) * WORDS / 4) as u64, &mut words[..y.len()]);
            wide::<S::Compute, _>(
                #[inline(always)]
                || {
                    for ((x, y), &word) in x.iter().zip(y).zip(&words) {
                        *y = if word >> 8 < below { (x.widen() * scale).store() } else { S::default() };
                    }
                },
            );
        }
    });
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dropout::dropout;
    use crate::{Buffer, Device, bf16};

    const STREAM: Stream = Stream { seed: 7, number: 5 };

    fn apply<S: Stored>(x: &[S], p: f64) -> Vec<S> {
        let x = Buffer::from_slice(&Device::Cpu, x).unwrap();
        let mut y = Buffer::allocate(&Device::Cpu, S::DTYPE, x.len()).unwrap();
        dropout((&x, 0), p, STREAM, &mut y).unwrap();
        y.to_vec().unwrap()
    }

    #[test]
    fn each_element_follows_its_word() {
        for n in [0, 1, 31, 64, 1000, 100_001] {
            let x: Vec<f32> = (0..n).map(|i| i as f32 + 1.0).collect();
            let scale = (1.0 / (1.0 - 0.3f64)) as f32;
            let expected = |i: usize| if f64::from(STREAM.uniform(i as u64)) < 1.0 - 0.3 { x[i] * scale } else { 0.0 };
            assert_eq!(apply(&x, 0.3), (0..n).map(expected).collect::<Vec<_>>());
        }
    }

    #[test]
    fn ends_of_the_range_keep_all_and_nothing() {
        let x = [bf16::from_f32(2.0), bf16::INFINITY, bf16::NAN];
        assert_eq!(apply(&x[..2], 0.0), x[..2]);
        assert_eq!(apply(&x, 1.0), [bf16::ZERO; 3]);
    }
}

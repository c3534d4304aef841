//! Random numbers and dropout: the bits of the host, in every dtype, at every length of the last word.

use chainrule_kernels::dropout::dropout;
use chainrule_kernels::random::{fill_bernoulli, fill_integers, fill_normal, fill_uniform};
use chainrule_kernels::{Buffer, DType, Result, Stream};

use crate::indexing::{DTYPES, FLOATS, buffer, noise, same};

const LENS: [usize; 6] = [0, 1, 2, 31, 33, 10_003];
const STREAM: Stream = Stream { seed: 0x0123_4567_89ab_cdef, number: 7 << 33 | 5 };

/// Fills buffers of several lengths on both devices.
#[track_caller]
fn same_draws(what: &str, dtype: DType, draw: impl Fn(&mut Buffer) -> Result<()>) {
    for len in LENS {
        same(&format!("{what} {dtype} {len}"), 0.0, |device| {
            let mut y = Buffer::allocate(device, dtype, len)?;
            draw(&mut y)?;
            Ok(y)
        });
    }
}

#[test]
fn draws_have_the_bits_of_the_host() {
    for dtype in DTYPES {
        for p in [0.0, 0.3, 1.0] {
            same_draws("bernoulli", dtype, |y| fill_bernoulli(STREAM, p, y));
        }
        for (low, high) in [(0, 200), (-7, 7), (i64::MIN, i64::MAX), (3, 3), (1 << 40, (1 << 40) + 9)] {
            same_draws("integers", dtype, |y| fill_integers(STREAM, low, high, y));
        }
    }
    for dtype in FLOATS {
        for (a, b) in [(-1.7, 0.9), (0.0, 1.0), (-3.0, -1.0)] {
            same_draws("uniform", dtype, |y| fill_uniform(STREAM, a, b, y));
        }
        for (mean, std) in [(0.3, 1.9), (0.0, 1.0)] {
            same_draws("normal", dtype, |y| fill_normal(STREAM, mean, std, y));
        }
    }
    let mut y = Buffer::allocate(&crate::device(), DType::I32, 1).unwrap();
    assert!(fill_uniform(STREAM, 0.0, 1.0, &mut y).is_err_and(|error| error.is_unsupported()));
}

#[test]
fn a_million_normal_deviates_have_the_bits_of_the_host() {
    same("normal", 0.0, |device| {
        let mut y = Buffer::allocate(device, DType::F32, 1 << 20)?;
        fill_normal(Stream { seed: 3, number: 1 }, 0.0, 1.0, &mut y)?;
        Ok(y)
    });
}

#[test]
fn dropout_drops_the_same() {
    for dtype in FLOATS {
        for (len, offset) in LENS.into_iter().flat_map(|len| [(len, 0), (len, 1)]) {
            for p in [0.0, 0.1, 1.0] {
                let mut x = noise(len + 1, 3);
                x[len] = f64::INFINITY;
                same(&format!("dropout {dtype} {len} {offset} {p}"), 0.0, |device| {
                    let mut y = Buffer::allocate(device, dtype, len)?;
                    dropout((&buffer(device, dtype, &x), offset), p, STREAM, &mut y)?;
                    Ok(y)
                });
            }
        }
    }
}

//! Arrays of random numbers, element by element functions of a [`Stream`].
//!
//! ```text
//! n(w)      = w >> 8                                                       24 bits of a word, exact in f32
//! uniform   y = low + (high - low) n / 2^24          f16: 11 bits, bf16: 8 bits, f64: 53 bits of two words
//! normal    y = mean + std z, two z from two words v, w:
//!           r = sqrt(-2 ln((n(v) + 1) / 2^24)),  t = pi / 2 * ((w mod 2^30 >> 6) - 2^23 + 1/2) / 2^24
//!           (z0, z1) = r (cos t, sin t) turned by w >> 30 quarters:        (c, s), (-s, c), (-c, -s), (s, -c)
//! integers  y = low + (range * u >> 64),  u = 64 bits of two words         range = high - low
//! bernoulli y = 1 where n < p 2^24, else 0
//! ```
//!
//! Words of a stream are numbered as in [`crate::philox`]. The normal deviates (Box and Muller, 1958) are made of
//! f32 additions, multiplications and square roots in a fixed order: ln by the polynomial of Cephes `logf`, cos and
//! sin by those of `sinf` on an eighth of a turn. A device that rounds each of these and fuses none gives the same
//! bits. f16 and bf16 are rounded from f32. f64 takes four words per pair and the host's ln and sin, so only its last
//! bits may differ between devices. A result that rounds up to `high` becomes `low`. Integers are uneven by at most
//! range / 2^64.

use bytemuck::{Pod, Zeroable};

use crate::{Buffer, Kernel, Launch, Result, Stream, cpu};

/// Parameters of the float generators.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Debug, Pod, Zeroable)]
pub struct RandomParams {
    /// The stream's key.
    pub seed: u64,
    /// The stream's number.
    pub stream: u64,
    /// The lower bound, the mean, or the probability.
    pub a: f64,
    /// The upper bound or the standard deviation.
    pub b: f64,
}

/// Parameters of the integer generator.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Pod, Zeroable)]
pub struct RandomIntegerParams {
    /// The stream's key.
    pub seed: u64,
    /// The stream's number.
    pub stream: u64,
    /// The least value.
    pub low: i64,
    /// How many values there are.
    pub range: u64,
}

/// `-> y`.
pub static UNIFORM: Kernel = Kernel {
    name: "random",
    entry: "uniform",
    cpu: cpu::random::uniform,
    #[cfg(feature = "cuda")]
    cuda: crate::cuda::random::floats,
    #[cfg(feature = "wgpu")]
    wgpu: crate::wgpu::random::uniform,
};
/// `-> y`.
pub static NORMAL: Kernel = Kernel {
    name: "random",
    entry: "normal",
    cpu: cpu::random::normal,
    #[cfg(feature = "cuda")]
    cuda: crate::cuda::random::floats,
    #[cfg(feature = "wgpu")]
    wgpu: crate::wgpu::random::normal,
};
/// `-> y`.
pub static INTEGERS: Kernel = Kernel {
    name: "random",
    entry: "integers",
    cpu: cpu::random::integers,
    #[cfg(feature = "cuda")]
    cuda: crate::cuda::random::integers,
    #[cfg(feature = "wgpu")]
    wgpu: crate::wgpu::random::integers,
};
/// `-> y`.
pub static BERNOULLI: Kernel = Kernel {
    name: "random",
    entry: "bernoulli",
    cpu: cpu::random::bernoulli,
    #[cfg(feature = "cuda")]
    cuda: crate::cuda::random::bernoulli,
    #[cfg(feature = "wgpu")]
    wgpu: crate::wgpu::random::bernoulli,
};

/// Fills `y` with numbers evenly spread over `low..high`.
///
/// # Errors
/// A dtype that is no float.
#[track_caller]
pub fn fill_uniform(stream: Stream, low: f64, high: f64, y: &mut Buffer) -> Result<()> {
    fill(&UNIFORM, stream, low, high, y)
}

/// Fills `y` with normal deviates.
///
/// # Errors
/// A dtype that is no float.
#[track_caller]
pub fn fill_normal(stream: Stream, mean: f64, std: f64, y: &mut Buffer) -> Result<()> {
    fill(&NORMAL, stream, mean, std, y)
}

/// Fills `y`, of any dtype, with ones of probability `p` and zeros.
#[track_caller]
pub fn fill_bernoulli(stream: Stream, p: f64, y: &mut Buffer) -> Result<()> {
    fill(&BERNOULLI, stream, p, 0.0, y)
}

/// Fills `y`, of any dtype, with integers of `low..high`; with `low` where that is empty.
#[track_caller]
pub fn fill_integers(stream: Stream, low: i64, high: i64, y: &mut Buffer) -> Result<()> {
    let range = if low < high { high.wrapping_sub(low) as u64 } else { 0 };
    let params = RandomIntegerParams { seed: stream.seed, stream: stream.number, low, range };
    let grid = [y.len(), 1, 1];
    Launch::new(&INTEGERS, y.dtype()).output(y).params(&params).grid(grid).run()
}

#[track_caller]
fn fill(kernel: &'static Kernel, stream: Stream, a: f64, b: f64, y: &mut Buffer) -> Result<()> {
    let params = RandomParams { seed: stream.seed, stream: stream.number, a, b };
    let grid = [y.len(), 1, 1];
    Launch::new(kernel, y.dtype()).output(y).params(&params).grid(grid).run()
}

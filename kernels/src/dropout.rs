//! Dropout: elements set to zero at random, the others scaled so that the expected value stays.
//!
//! `y[i] = x[i] / (1 - p)` where number i of the stream, in [0, 1), is below 1 - p; else 0
//!
//! x and y contiguous, of any float dtype; the product is taken in f32, in f64 for f64. The same stream gives the same
//! zeros on every device, so the gradient is the same function of dy and no mask is kept. Source: Srivastava et al.,
//! "Dropout: a simple way to prevent neural networks from overfitting" (2014).

use bytemuck::{Pod, Zeroable};

use crate::{Buffer, Kernel, Launch, Result, Stream, cpu};

/// Where the random words come from, and the probability of zero.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Debug, Pod, Zeroable)]
pub struct DropoutParams {
    /// The stream's key.
    pub seed: u64,
    /// The stream's number.
    pub stream: u64,
    /// The probability of zero.
    pub p: f64,
}

/// `x -> y`.
pub static DROPOUT_FORWARD: Kernel = Kernel {
    name: "dropout",
    entry: "dropout_forward",
    cpu: cpu::dropout::forward,
    #[cfg(feature = "cuda")]
    cuda: crate::cuda::dropout::forward,
    #[cfg(feature = "wgpu")]
    wgpu: crate::wgpu::dropout::forward,
};

/// Writes y, given a buffer with the element at which x starts.
///
/// # Errors
/// A dtype that is no float.
#[track_caller]
pub fn dropout(x: (&Buffer, usize), p: f64, stream: Stream, y: &mut Buffer) -> Result<()> {
    let params = DropoutParams { seed: stream.seed, stream: stream.number, p };
    let grid = [y.len(), 1, 1];
    Launch::new(&DROPOUT_FORWARD, y.dtype()).input(x.0, x.1).output(y).params(&params).grid(grid).run()
}

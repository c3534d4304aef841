//! Batched matrix products.
//!
//! `C[.., m, n] = alpha * sum over k of A[.., m, k] * B[.., k, n] + beta * C[.., m, n] + bias[n]`
//!
//! A `[batch.., M, K]` and B `[batch.., K, N]` are read through any strides, so a transposed, sliced or broadcast
//! operand needs no copy; C `[batch.., M, N]` is row-major. f16, bf16 and f32 accumulate in f32 and round once at the
//! store, f64 in f64, integers in wrapping 64-bit arithmetic.

use bytemuck::{Pod, Zeroable};

use crate::cpu::matmul::MATMUL_FORWARD;
use crate::{Buffer, Launch, Result};

/// How many batch dims the kernel takes after those that can be merged are merged.
pub const MAX_BATCH_DIMS: usize = 6;

/// The sizes and strides (in elements) of a product. Unused batch dims have size 1.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Debug, Pod, Zeroable)]
pub struct MatmulParams {
    /// Rows of A and C.
    pub m: u64,
    /// Columns of B and C.
    pub n: u64,
    /// Columns of A and rows of B.
    pub k: u64,
    /// 1 where a bias is added to every row of C, else 0.
    pub has_bias: u64,
    /// The sizes of the batch dims, outermost first.
    pub batch_sizes: [u64; MAX_BATCH_DIMS],
    /// What one step along a batch dim means in A; 0 where A is broadcast.
    pub a_batch_strides: [i64; MAX_BATCH_DIMS],
    /// As `a_batch_strides`, in B.
    pub b_batch_strides: [i64; MAX_BATCH_DIMS],
    /// The strides of A along m and k.
    pub a_strides: [i64; 2],
    /// The strides of B along k and n.
    pub b_strides: [i64; 2],
    /// The stride of the bias along n.
    pub bias_stride: i64,
    /// Scales the product.
    pub alpha: f64,
    /// Scales what C held before; with 0 it is not read.
    pub beta: f64,
}

impl MatmulParams {
    /// One product of row-major matrices.
    pub fn new(m: usize, n: usize, k: usize) -> Self {
        MatmulParams {
            m: m as u64,
            n: n as u64,
            k: k as u64,
            has_bias: 0,
            batch_sizes: [1; MAX_BATCH_DIMS],
            a_batch_strides: [0; MAX_BATCH_DIMS],
            b_batch_strides: [0; MAX_BATCH_DIMS],
            a_strides: [k as i64, 1],
            b_strides: [n as i64, 1],
            bias_stride: 1,
            alpha: 1.0,
            beta: 0.0,
        }
    }

    /// Sets the batch dims from `(size, stride in A, stride in B)`, outermost first, merging dims that both operands
    /// step through alike. Gives `None` where more than [`MAX_BATCH_DIMS`] remain.
    pub fn with_batch(mut self, dims: &[(usize, i64, i64)]) -> Option<Self> {
        let mut merged: Vec<(usize, i64, i64)> = Vec::new();
        for &(size, a, b) in dims.iter().filter(|dim| dim.0 != 1) {
            match merged.last_mut() {
                Some(last) if last.1 == a * size as i64 && last.2 == b * size as i64 => *last = (last.0 * size, a, b),
                _ => merged.push((size, a, b)),
            }
        }
        // Rows that share one B are rows of one taller A: one large product is faster than many small ones.
        if let &[.., (size, a, 0)] = &merged[..]
            && (self.m == 1 || a == self.a_strides[0] * self.m as i64)
        {
            self.a_strides[0] = if self.m == 1 { a } else { self.a_strides[0] };
            self.m *= size as u64;
            merged.pop();
        }
        if merged.len() > MAX_BATCH_DIMS {
            return None;
        }
        let unused = MAX_BATCH_DIMS - merged.len();
        for (dim, (size, a, b)) in merged.into_iter().enumerate() {
            self.batch_sizes[unused + dim] = size as u64;
            self.a_batch_strides[unused + dim] = a;
            self.b_batch_strides[unused + dim] = b;
        }
        Some(self)
    }

    /// How many products there are.
    pub fn batch(&self) -> usize {
        self.batch_sizes.iter().product::<u64>() as usize
    }

    /// Where product `index` starts in A and B, relative to the first.
    pub fn batch_offsets(&self, index: usize) -> [i64; 2] {
        let mut rest = index as u64;
        let mut offsets = [0; 2];
        for dim in (0..MAX_BATCH_DIMS).rev() {
            let at = (rest % self.batch_sizes[dim]) as i64;
            rest /= self.batch_sizes[dim];
            offsets[0] += at * self.a_batch_strides[dim];
            offsets[1] += at * self.b_batch_strides[dim];
        }
        offsets
    }
}

/// Writes C, given buffers with the elements at which A, B and the bias start.
///
/// # Errors
/// A dtype that has no product (bool), or no room for working memory.
#[track_caller]
pub fn matmul(
    a: (&Buffer, usize),
    b: (&Buffer, usize),
    bias: Option<(&Buffer, usize)>,
    c: &mut Buffer,
    params: &MatmulParams,
) -> Result<()> {
    let params = MatmulParams { has_bias: bias.is_some().into(), ..*params };
    let grid = [params.n as usize, params.m as usize, params.batch()];
    let mut launch = Launch::new(&MATMUL_FORWARD, c.dtype()).input(a.0, a.1).input(b.0, b.1);
    if let Some((bias, offset)) = bias {
        launch = launch.input(bias, offset);
    }
    launch.output(c).params(&params).grid(grid).run()
}

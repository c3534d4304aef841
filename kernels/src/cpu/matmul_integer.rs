//! The matrix product of integers: wrapping 64-bit sums, truncated at the store.

use crate::cpu::matmul::Product;
use crate::cpu::parallel;
use crate::cpu::scratch::Scratch;
use crate::cpu::simd::vectorized;
use crate::{Result, Stored};

/// Columns of C that are summed at a time, in registers and the nearest cache.
const BLOCK_COLS: usize = 128;

/// `c = alpha * a @ b + beta * c + bias + residual` for one product.
pub(crate) fn integer<S: Stored<Compute = i64>>(product: Product<'_, S>, c: &mut [S]) -> Result<()> {
    let [k, n] = product.b.sizes();
    let mut b = Scratch::<i64>::new(k * n)?;
    let row_major = product.b.widen_row_major(&mut b);
    parallel::for_each_chunk(c, n, row_major.len().max(1), |first, chunk| {
        vectorized(
            #[inline(always)]
            || {
                for (row, c) in chunk.chunks_exact_mut(n).enumerate() {
                    for (block, c) in c.chunks_mut(BLOCK_COLS).enumerate() {
                        row_block(&product, row_major, first + row, block * BLOCK_COLS, c);
                    }
                }
            },
        );
    });
    Ok(())
}

/// Columns `col..` of row `row` of C.
#[inline(always)]
fn row_block<S: Stored<Compute = i64>>(product: &Product<'_, S>, b: &[i64], row: usize, col: usize, c: &mut [S]) {
    let Product { a, bias, residual, alpha, beta, .. } = *product;
    let [k, n] = product.b.sizes();
    let mut sums = [0i64; BLOCK_COLS];
    let sums = &mut sums[..c.len()];
    for at in 0..k {
        let factor = a.get(row, at).to_i64();
        let b = &b[at * n + col..][..sums.len()];
        for (sum, b) in sums.iter_mut().zip(b) {
            *sum = sum.wrapping_add(factor.wrapping_mul(*b));
        }
    }
    for (at, (c, sum)) in c.iter_mut().zip(sums).enumerate() {
        let kept = c.to_i64().wrapping_mul(beta as i64);
        let bias = bias.map_or(0, |bias| bias.get(0, col + at).to_i64());
        let residual = residual.map_or(0, |residual| residual[row * n + col + at].to_i64());
        *c = S::from_i64(sum.wrapping_mul(alpha as i64).wrapping_add(kept).wrapping_add(bias).wrapping_add(residual));
    }
}

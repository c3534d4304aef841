//! Products and transposes of small tiles: what blocked kernels do between packing and storing.
//!
//! Tiles are row-major with a row stride; widths are multiples of [`STEP`], padded by who packs them.

use crate::cpu::instructions::{Instructions, Job, Lane};
use crate::cpu::vector::Vector;

/// Widths of tiles are multiples of this: one register of the widest instruction set.
pub(crate) const STEP: usize = 16;

/// The left factor of a product: any strides.
#[derive(Clone, Copy)]
pub(crate) struct Lhs<'a, T> {
    pub(crate) data: &'a [T],
    /// The distance of rows.
    pub(crate) row: usize,
    /// The distance of neighbours along the summed dim.
    pub(crate) depth: usize,
}

/// The right factor: rows of neighbours.
#[derive(Clone, Copy)]
pub(crate) struct Rhs<'a, T> {
    pub(crate) data: &'a [T],
    pub(crate) row: usize,
}

/// The result: rows of neighbours.
pub(crate) struct Out<'a, T> {
    pub(crate) data: &'a mut [T],
    pub(crate) row: usize,
    /// True to add to what is there, false to overwrite it.
    pub(crate) accumulate: bool,
}

/// `out[m, n] (+)= sum over k of lhs[m, k] * rhs[k, n]`.
#[inline(always)]
pub(crate) fn product<I: Instructions, T: Lane>(
    [m, n, k]: [usize; 3],
    lhs: Lhs<'_, T>,
    rhs: Rhs<'_, T>,
    out: Out<'_, T>,
) {
    if m == 0 || n == 0 || (k == 0 && out.accumulate) {
        return;
    }
    assert!(n.is_multiple_of(STEP) && (m - 1) * out.row + n <= out.data.len());
    if k > 0 {
        assert!((m - 1) * lhs.row + (k - 1) * lhs.depth < lhs.data.len());
        assert!((k - 1) * rhs.row + n <= rhs.data.len());
    }
    let block = Block {
        sizes: [m, n, k],
        strides: [lhs.row, lhs.depth, rhs.row, out.row],
        lhs: lhs.data.as_ptr(),
        rhs: rhs.data.as_ptr(),
        out: out.data.as_mut_ptr(),
        accumulate: out.accumulate,
    };
    // SAFETY: the instruction set is that of the caller.
    unsafe { I::call(block) }
}

/// A product with checked extents.
struct Block<T> {
    /// Rows, columns and summed elements.
    sizes: [usize; 3],
    /// Of rows and the summed dim of the left factor, rows of the right factor, and rows of the result.
    strides: [usize; 4],
    lhs: *const T,
    rhs: *const T,
    out: *mut T,
    accumulate: bool,
}

impl<T: Lane> Job for Block<T> {
    type Output = ();

    #[inline(always)]
    fn run<I: Instructions>(self) {
        let ([m, n, _], lanes) = (self.sizes, <T::Register<I> as Vector<T>>::LANES);
        let mut col = 0;
        while col < n {
            // SAFETY: all `m` rows and the registers of columns from `col` on are inside the tiles, whose extents `product`
            // has checked; the instruction set is that of the caller.
            unsafe {
                if n - col >= 2 * lanes {
                    self.columns::<T::Register<I>, 2>(m, col);
                    col += 2 * lanes;
                } else {
                    self.columns::<T::Register<I>, 1>(m, col);
                    col += lanes;
                }
            }
        }
    }
}

impl<T: Lane> Block<T> {
    /// `N` registers of columns from `col` on, in all rows.
    ///
    /// # Safety
    /// The tiles have the rows and columns, and the processor has the instruction set of `V`.
    #[inline(always)]
    unsafe fn columns<V: Vector<T>, const N: usize>(&self, m: usize, col: usize) {
        let mut row = 0;
        // SAFETY: the caller promises what `sums` needs.
        unsafe {
            while m - row >= 8 {
                self.sums::<V, 8, N>(row, col);
                row += 8;
            }
            if m - row >= 4 {
                self.sums::<V, 4, N>(row, col);
                row += 4;
            }
            if m - row >= 2 {
                self.sums::<V, 2, N>(row, col);
                row += 2;
            }
            if m > row {
                self.sums::<V, 1, N>(row, col);
            }
        }
    }

    /// `M` rows and `N` registers of columns, summed in registers.
    ///
    /// # Safety
    /// As `columns`.
    #[inline(always)]
    unsafe fn sums<V: Vector<T>, const M: usize, const N: usize>(&self, row: usize, col: usize) {
        let [lhs_row, lhs_depth, rhs_row, out_row] = self.strides;
        // SAFETY: the tiles have rows `row..row + M`, columns `col..col + N * LANES` and `k` summed elements.
        unsafe {
            let mut sums = [[V::splat(T::ZERO); N]; M];
            let mut lhs = self.lhs.wrapping_add(row * lhs_row);
            let mut rhs = self.rhs.wrapping_add(col);
            for _ in 0..self.sizes[2] {
                let mut factors = [V::splat(T::ZERO); N];
                for (n, factor) in factors.iter_mut().enumerate() {
                    *factor = V::load(rhs.add(n * V::LANES));
                }
                for (m, sums) in sums.iter_mut().enumerate() {
                    let left = V::splat(*lhs.add(m * lhs_row));
                    for (sum, factor) in sums.iter_mut().zip(factors) {
                        *sum = left.mul_add(factor, *sum);
                    }
                }
                lhs = lhs.wrapping_add(lhs_depth);
                rhs = rhs.wrapping_add(rhs_row);
            }
            for (m, sums) in sums.iter().enumerate() {
                let out = self.out.add((row + m) * out_row + col);
                for (n, sum) in sums.iter().enumerate() {
                    let out = out.add(n * V::LANES);
                    match self.accumulate {
                        true => V::splat(T::ONE).mul_add(V::load(out), *sum).store(out),
                        false => sum.store(out),
                    }
                }
            }
        }
    }
}

/// As [`product`] with `accumulate`, where a zero on the left makes its term zero even if the other factor is not finite:
/// what has no weight leaves no trace. Used only for tiles that hold such factors.
pub(crate) fn product_of_seen<T: Lane>([m, n, k]: [usize; 3], lhs: Lhs<'_, T>, rhs: Rhs<'_, T>, out: Out<'_, T>) {
    debug_assert!(out.accumulate);
    for row in 0..m {
        let out = &mut out.data[row * out.row..][..n];
        for at in 0..k {
            let weight = lhs.data[row * lhs.row + at * lhs.depth];
            if weight != T::ZERO {
                let rhs = &rhs.data[at * rhs.row..][..n];
                out.iter_mut().zip(rhs).for_each(|(out, &right)| *out += weight * right);
            }
        }
    }
}

/// True where all values are finite.
#[inline(always)]
pub(crate) fn all_finite<T: Lane>(values: &[T]) -> bool {
    // A product with zero is zero for finite values alone; sixteen sums side by side fill a register.
    let mut sums = [T::ZERO; STEP];
    let (blocks, rest) = values.as_chunks::<STEP>();
    for block in blocks {
        for (sum, value) in sums.iter_mut().zip(block) {
            *sum += *value * T::ZERO;
        }
    }
    sums.iter().chain(rest).all(|sum| sum.is_finite())
}

/// `to[col][row] = from[row][col] * scale`, by blocks of four by four that stay in registers.
#[inline(always)]
pub(crate) fn transpose<T: Lane>(
    [rows, cols]: [usize; 2],
    (from, from_row): (&[T], usize),
    (to, to_row): (&mut [T], usize),
    scale: T,
) {
    let [whole_rows, whole_cols] = [rows / 4 * 4, cols / 4 * 4];
    for row in (0..whole_rows).step_by(4) {
        let from: [&[T]; 4] = std::array::from_fn(|r| &from[(row + r) * from_row..][..whole_cols]);
        let mut to = &mut to[row..];
        for col in (0..whole_cols).step_by(4) {
            let block: [[T; 4]; 4] = std::array::from_fn(|r| std::array::from_fn(|c| from[r][col..col + 4][c] * scale));
            for (c, values) in T::transposed(block).into_iter().enumerate() {
                to[c * to_row..][..4].copy_from_slice(&values);
            }
            to = to.get_mut(4 * to_row..).unwrap_or_default();
        }
    }
    for row in 0..rows {
        for col in if row < whole_rows { whole_cols } else { 0 }..cols {
            to[col * to_row + row] = from[row * from_row + col] * scale;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cpu::instructions::every_instruction_set;

    /// A product of small integers, exact in any order of summation and with any rounding of each step.
    struct Products<T>(std::marker::PhantomData<T>);

    impl<T: Lane> Job for Products<T> {
        type Output = ();
        #[inline(always)]
        fn run<I: Instructions>(self) {
            for [m, n, k] in [[1, 16, 1], [7, 16, 5], [8, 32, 3], [31, 48, 9], [64, 80, 64], [3, 32, 0]] {
                let value = |at: usize, by: usize| T::from_f64((at * by % 11) as f64 - 5.0);
                let (row, depth) = (k + 2, 1);
                let lhs: Vec<T> = (0..m * row).map(|at| value(at, 7)).collect();
                let rhs: Vec<T> = (0..k * (n + 1)).map(|at| value(at, 5)).collect();
                let old: Vec<T> = (0..m * n).map(|at| value(at, 3)).collect();
                for accumulate in [false, true] {
                    let mut out = old.clone();
                    let tile = Out { data: &mut out, row: n, accumulate };
                    product::<I, T>([m, n, k], Lhs { data: &lhs, row, depth }, Rhs { data: &rhs, row: n + 1 }, tile);
                    for (at, out) in out.iter().enumerate() {
                        let (i, j) = (at / n, at % n);
                        let sum: f64 = (0..k).map(|l| lhs[i * row + l].to_f64() * rhs[l * (n + 1) + j].to_f64()).sum();
                        let old = if accumulate { old[at].to_f64() } else { 0.0 };
                        assert_eq!(out.to_f64(), sum + old, "{m} {n} {k} at {i} {j}");
                    }
                }
            }
        }
    }

    /// The exponential of every tenth of an octave, against the one of f64.
    struct Exponentials;

    impl Job for Exponentials {
        type Output = ();
        #[inline(always)]
        fn run<I: Instructions>(self) {
            for step in 0..8_700 {
                let x = -(step as f32) / 100.0;
                let expected = f64::from(x).exp();
                // Two units in the last place: without fused multiply-add, each step rounds twice.
                assert!((f64::from(Lane::fused_exp::<I>(x)) - expected).abs() <= 2.4e-7 * expected, "{x}");
            }
            assert_eq!([0.0f32, -88.0, f32::NEG_INFINITY].map(Lane::fused_exp::<I>), [1.0, 0.0, 0.0]);
            assert!(Lane::fused_exp::<I>(f32::NAN).is_nan());
        }
    }

    #[test]
    fn products_and_exponentials_of_every_instruction_set() {
        every_instruction_set(|| Products::<f32>(std::marker::PhantomData));
        every_instruction_set(|| Products::<f64>(std::marker::PhantomData));
        every_instruction_set(|| Exponentials);
    }

    #[test]
    fn transposes_of_any_size() {
        for [rows, cols] in [[0, 3], [1, 1], [4, 4], [7, 9], [64, 40]] {
            let from: Vec<f32> = (0..rows * (cols + 3)).map(|at| at as f32).collect();
            let mut to = vec![0.0; cols * (rows + 1)];
            transpose([rows, cols], (&from, cols + 3), (&mut to, rows + 1), 2.0);
            for (row, col) in (0..rows).flat_map(|row| (0..cols).map(move |col| (row, col))) {
                assert_eq!(to[col * (rows + 1) + row], 2.0 * from[row * (cols + 3) + col]);
            }
        }
    }
}

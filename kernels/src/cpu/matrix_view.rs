//! A matrix in a buffer, read through any two strides.

use crate::cpu::parallel;
use crate::cpu::simd::wide;
use crate::{Compute, Error, Result, Stored};

/// A matrix whose every element is known to lie inside `data`.
#[derive(Clone, Copy)]
pub(crate) struct MatrixView<'a, S> {
    data: &'a [S],
    offset: isize,
    sizes: [usize; 2],
    strides: [isize; 2],
}

impl<'a, S: Stored> MatrixView<'a, S> {
    /// The matrix of `sizes` whose element (0, 0) is `data[offset]`.
    ///
    /// # Errors
    /// Strides that lead outside `data`: an error of the caller, found here so that no kernel reads other memory.
    #[track_caller]
    pub(crate) fn new(data: &'a [S], offset: i64, sizes: [usize; 2], strides: [i64; 2]) -> Result<Self> {
        let view = MatrixView { data, offset: offset as isize, sizes, strides: strides.map(|stride| stride as isize) };
        if sizes.contains(&0) {
            return Ok(MatrixView { offset: 0, strides: [0; 2], ..view });
        }
        let span = |dim: usize| (sizes[dim] as i128 - 1) * strides[dim] as i128;
        let first = offset as i128 + span(0).min(0) + span(1).min(0);
        let last = offset as i128 + span(0).max(0) + span(1).max(0);
        if first < 0 || last >= data.len() as i128 {
            let message = format!("a matrix of sizes {sizes:?} and strides {strides:?} at {offset} leaves its buffer");
            return Err(Error::argument("matrix", format!("{message} of {} elements", data.len())));
        }
        Ok(view)
    }

    /// Rows and columns.
    pub(crate) fn sizes(&self) -> [usize; 2] {
        self.sizes
    }

    /// The distance of neighbours along each dim.
    pub(crate) fn strides(&self) -> [isize; 2] {
        self.strides
    }

    /// Element (0, 0); the strides lead from it to every other element.
    pub(crate) fn as_ptr(&self) -> *const S {
        self.data.as_ptr().wrapping_offset(self.offset)
    }

    /// The same elements with rows and columns exchanged.
    pub(crate) fn transposed(self) -> Self {
        let ([rows, cols], [row_stride, col_stride]) = (self.sizes, self.strides);
        MatrixView { sizes: [cols, rows], strides: [col_stride, row_stride], ..self }
    }

    /// Rows `first..first + count`.
    pub(crate) fn rows(self, first: usize, count: usize) -> Self {
        debug_assert!(first + count <= self.sizes[0]);
        let offset = if count == 0 { 0 } else { self.offset + first as isize * self.strides[0] };
        MatrixView { offset, sizes: [count, self.sizes[1]], ..self }
    }

    /// Columns `first..first + count`.
    pub(crate) fn cols(self, first: usize, count: usize) -> Self {
        self.transposed().rows(first, count).transposed()
    }

    /// One element.
    #[inline(always)]
    pub(crate) fn get(&self, row: usize, col: usize) -> S {
        self.data[(self.offset + row as isize * self.strides[0] + col as isize * self.strides[1]) as usize]
    }

    /// Row `row` as a slice, where its elements are neighbours.
    #[inline(always)]
    pub(crate) fn row_slice(&self, row: usize) -> Option<&'a [S]> {
        if self.strides[1] != 1 && self.sizes[1] > 1 {
            return None;
        }
        let start = (self.offset + row as isize * self.strides[0]) as usize;
        self.data.get(start..start + self.sizes[1])
    }

    /// All rows as one slice with the distance of rows, where the elements of a row are neighbours and the distance is at
    /// most `most`.
    pub(crate) fn dense_rows(&self, most: usize) -> Option<(&'a [S], usize)> {
        let [rows, cols] = self.sizes;
        if rows == 0 || cols == 0 {
            return Some((&[], cols));
        }
        let stride = if rows == 1 { cols } else { usize::try_from(self.strides[0]).ok()? };
        if (self.strides[1] != 1 && cols != 1) || stride < cols || stride > most {
            return None;
        }
        let start = self.offset as usize;
        Some((self.data.get(start..start + (rows - 1) * stride + cols)?, stride))
    }

    /// Writes the elements to `out` in compute precision, keeping their order in memory where that is row or column
    /// major; gives the strides of `out`. `out` has one element for each of the matrix.
    pub(crate) fn widen(self, out: &mut [S::Compute]) -> [i64; 2] {
        let [rows, cols] = self.sizes;
        if rows > 1 && cols > 1 && self.strides[0].abs() < self.strides[1].abs() {
            let [col, row] = self.transposed().widen(out);
            return [row, col];
        }
        self.widen_row_major(out);
        [cols as i64, 1]
    }

    /// As [`MatrixView::widen`], always in row-major order.
    pub(crate) fn widen_row_major(self, out: &mut [S::Compute]) -> &[S::Compute] {
        let cols = self.sizes[1];
        parallel::for_each_chunk(out, cols, cols, |first, chunk| {
            wide::<S::Compute, _>(
                #[inline(always)]
                || {
                    for (row, out) in chunk.chunks_exact_mut(cols).enumerate() {
                        self.widen_row(first + row, out);
                    }
                },
            );
        });
        out
    }

    /// Writes row `row` to `out` in compute precision.
    #[inline(always)]
    pub(crate) fn widen_row(&self, row: usize, out: &mut [S::Compute]) {
        match self.row_slice(row) {
            Some(values) => {
                for (out, value) in out.iter_mut().zip(values) {
                    *out = value.widen();
                }
            }
            None => {
                for (col, out) in out.iter_mut().enumerate().take(self.sizes[1]) {
                    *out = self.get(row, col).widen();
                }
            }
        }
    }
}

impl<'a, T: Compute> MatrixView<'a, T> {
    /// A dense matrix, as [`MatrixView::widen`] writes it.
    #[track_caller]
    pub(crate) fn dense(data: &'a [T], sizes: [usize; 2], strides: [i64; 2]) -> Result<Self> {
        MatrixView::new(data, 0, sizes, strides)
    }
}

//! Walking strided dims in order, as runs along the innermost one.

use std::ops::Range;

use bytemuck::{Pod, Zeroable};

pub use crate::elementwise::MAX_RANK;
use crate::{Error, Result};

/// Sizes and strides (in elements) of some dims, outermost first, with every pair merged that steps as one. Unused
/// places have size 1 and stride 0, so kernels may walk all of them.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Pod, Zeroable)]
pub struct Dims {
    rank: u64,
    shape: [u64; MAX_RANK],
    strides: [i64; MAX_RANK],
}

/// Elements `first..first + len` of a walk: the first is at `offset`, each further one `stride` on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Run {
    pub(crate) offset: isize,
    pub(crate) stride: isize,
    pub(crate) first: usize,
    pub(crate) len: usize,
}

impl Dims {
    /// Drops dims of size 1 and merges dims where a step of the outer equals a full turn of the inner.
    ///
    /// # Errors
    /// More than [`MAX_RANK`] dims remain.
    #[track_caller]
    pub fn new(shape: &[usize], strides: &[isize]) -> Result<Dims> {
        debug_assert_eq!(shape.len(), strides.len());
        let mut dims = Dims { rank: 0, shape: [1; MAX_RANK], strides: [0; MAX_RANK] };
        let mut rank = 0;
        for (&size, &stride) in shape.iter().zip(strides) {
            let (size, stride) = (size as u64, stride as i64);
            if size == 1 {
                continue;
            }
            if rank > 0 && dims.strides[rank - 1] == stride * size as i64 {
                dims.shape[rank - 1] *= size;
                dims.strides[rank - 1] = stride;
                continue;
            }
            if rank == MAX_RANK {
                return Err(Error::new(crate::ErrorKind::Shape(format!(
                    "shape {shape:?} with strides {strides:?} has more than {MAX_RANK} dims that cannot be merged, make it \
                     contiguous first"
                ))));
            }
            (dims.shape[rank], dims.strides[rank]) = (size, stride);
            rank += 1;
        }
        dims.rank = rank as u64;
        Ok(dims)
    }

    /// How many elements the dims span.
    pub fn len(&self) -> usize {
        self.shape.iter().product::<u64>() as usize
    }

    /// True where a dim has no elements.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Size and stride of the innermost dim; one element where there are no dims.
    pub(crate) fn innermost(&self) -> (usize, isize) {
        match self.rank as usize {
            0 => (1, 0),
            rank => (self.shape[rank - 1] as usize, self.strides[rank - 1] as isize),
        }
    }

    /// The size of the first dim along which a step leads nowhere, and the elements inside it; 1 and 1 without one.
    #[cfg(any(feature = "cuda", feature = "wgpu"))]
    pub(crate) fn standing(&self) -> (usize, usize) {
        let rank = self.rank();
        match self.strides[..rank].iter().position(|&stride| stride == 0) {
            Some(dim) => (self.shape[dim] as usize, self.shape[dim + 1..rank].iter().product::<u64>() as usize),
            None => (1, 1),
        }
    }

    /// Sizes and strides of all places, those of unused ones 1 and 0.
    #[cfg(feature = "wgpu")]
    pub(crate) fn sizes_and_strides(&self) -> ([u64; MAX_RANK], [i64; MAX_RANK]) {
        (self.shape, self.strides)
    }

    /// How many dims remain after merging.
    pub(crate) fn rank(&self) -> usize {
        self.rank as usize
    }

    /// The runs that make up elements `range` of the walk, in order.
    pub(crate) fn runs(&self, range: Range<usize>) -> Runs<'_> {
        let inner_len = self.innermost().0;
        if range.is_empty() {
            return Runs { dims: self, line: Line::default(), skip: 0, range };
        }
        Runs { dims: self, line: self.line(range.start / inner_len), skip: range.start % inner_len, range }
    }

    /// The `number`th line along the innermost dim.
    fn line(&self, mut number: usize) -> Line {
        let mut line = Line { at: [0; MAX_RANK], offset: 0 };
        for dim in (0..self.rank().saturating_sub(1)).rev() {
            line.at[dim] = number as u64 % self.shape[dim];
            number /= self.shape[dim] as usize;
            line.offset += line.at[dim] as isize * self.strides[dim] as isize;
        }
        line
    }

    /// Goes to the next line.
    fn advance(&self, line: &mut Line) {
        for dim in (0..self.rank().saturating_sub(1)).rev() {
            line.at[dim] += 1;
            line.offset += self.strides[dim] as isize;
            if line.at[dim] < self.shape[dim] {
                break;
            }
            line.offset -= line.at[dim] as isize * self.strides[dim] as isize;
            line.at[dim] = 0;
        }
    }
}

/// The runs of a walk: [`Dims::runs`].
pub(crate) struct Runs<'a> {
    dims: &'a Dims,
    line: Line,
    /// Elements of the line that come before the next run.
    skip: usize,
    range: Range<usize>,
}

impl Iterator for Runs<'_> {
    type Item = Run;

    fn next(&mut self) -> Option<Run> {
        let (inner_len, stride) = self.dims.innermost();
        let (first, skip) = (self.range.start, std::mem::take(&mut self.skip));
        if self.range.is_empty() {
            return None;
        }
        let len = (inner_len - skip).min(self.range.len());
        let run = Run { offset: self.line.offset + skip as isize * stride, stride, first, len };
        self.range.start += len;
        self.dims.advance(&mut self.line);
        Some(run)
    }
}

/// Where a line along the innermost dim starts.
#[derive(Default)]
struct Line {
    at: [u64; MAX_RANK],
    offset: isize,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offsets(dims: &Dims, range: Range<usize>) -> Vec<isize> {
        let mut offsets = Vec::new();
        for run in dims.runs(range.clone()) {
            assert_eq!(run.first, range.start + offsets.len());
            offsets.extend((0..run.len).map(|j| run.offset + j as isize * run.stride));
        }
        offsets
    }

    #[test]
    fn contiguous_dims_become_one() {
        let dims = Dims::new(&[2, 1, 3, 4], &[12, 99, 4, 1]).unwrap();
        assert_eq!((dims.rank, dims.innermost()), (1, (24, 1)));
    }

    #[test]
    fn any_range_walks_in_order() {
        let dims = Dims::new(&[2, 3, 4], &[1, -8, 2]).unwrap();
        let mut all = Vec::new();
        for i in 0..2 {
            for j in 0..3 {
                all.extend((0..4).map(|k| i - 8 * j + 2 * k));
            }
        }
        for start in 0..=24 {
            for end in start..=24 {
                assert_eq!(offsets(&dims, start..end), all[start..end], "{start}..{end}");
            }
        }
        assert_eq!(offsets(&Dims::new(&[], &[]).unwrap(), 0..1), [0]);
    }
}

//! Walking over strided elements in runs along the last dim, and converting them on the way.

use super::simd::wide;
use crate::elementwise::{MAX_RANK, contiguous_strides};
use crate::{Compute, DType, Stored, with_dtype};

/// A shape and the strides of one operand, collapsed: at least one dim.
#[derive(Clone, Copy)]
pub(crate) struct Layout {
    pub(crate) rank: usize,
    pub(crate) shape: [usize; MAX_RANK],
    pub(crate) strides: [isize; MAX_RANK],
}

/// A place in a layout.
#[derive(Clone, Copy, Default)]
pub(crate) struct Cursor {
    index: [usize; MAX_RANK],
    /// The element that the index stands for.
    pub(crate) position: isize,
}

impl Layout {
    /// `len` elements in a row.
    pub(crate) fn contiguous(len: usize) -> Layout {
        let (mut shape, mut strides) = ([1; MAX_RANK], [0; MAX_RANK]);
        (shape[0], strides[0]) = (len, 1);
        Layout { rank: 1, shape, strides }
    }

    /// True where the elements lie one after the other in row-major order.
    pub(crate) fn is_contiguous(&self) -> bool {
        self.strides[..self.rank] == contiguous_strides(&self.shape[..self.rank])[..self.rank]
    }

    /// The cursor at element `start` in row-major order, where index 0 is at `offset`.
    pub(crate) fn cursor(&self, offset: usize, start: usize) -> Cursor {
        let mut cursor = Cursor { index: [0; MAX_RANK], position: offset as isize };
        let mut rest = start;
        for dim in (0..self.rank).rev() {
            cursor.index[dim] = rest % self.shape[dim];
            rest /= self.shape[dim];
            cursor.position += cursor.index[dim] as isize * self.strides[dim];
        }
        cursor
    }

    /// The stride along the last dim.
    pub(crate) fn inner_stride(&self) -> isize {
        self.strides[self.rank - 1]
    }

    /// How many elements are left along the last dim.
    pub(crate) fn run_len(&self, cursor: &Cursor) -> usize {
        self.shape[self.rank - 1] - cursor.index[self.rank - 1]
    }

    /// Moves on by `n` elements, at most to the end of the run.
    pub(crate) fn advance(&self, cursor: &mut Cursor, n: usize) {
        let mut dim = self.rank - 1;
        cursor.index[dim] += n;
        cursor.position += n as isize * self.strides[dim];
        while cursor.index[dim] == self.shape[dim] && dim > 0 {
            cursor.position -= self.shape[dim] as isize * self.strides[dim];
            cursor.index[dim] = 0;
            dim -= 1;
            cursor.index[dim] += 1;
            cursor.position += self.strides[dim];
        }
    }

    /// Splits the next `len` elements into runs: `f(where the run is in the block, position of its first element)`.
    pub(crate) fn for_each_run(
        &self,
        cursor: &mut Cursor,
        len: usize,
        mut f: impl FnMut(std::ops::Range<usize>, isize),
    ) {
        let mut done = 0;
        while done < len {
            let n = self.run_len(cursor).min(len - done);
            f(done..done + n, cursor.position);
            self.advance(cursor, n);
            done += n;
        }
    }
}

/// Reads the elements from a cursor on into a block of the compute type.
pub(crate) type Gather<C> = fn(&[u8], &Layout, &mut Cursor, &mut [C]);

/// Rounds a block of the compute type to stored elements.
pub(crate) type Store<C> = fn(&[C], &mut [u8]);

/// The [`Gather`] from elements of `dtype`.
pub(crate) fn gather_from<C: Compute>(dtype: DType) -> Gather<C> {
    with_dtype!(dtype, S => gather::<S, C>)
}

/// The [`Store`] to elements of `dtype`.
pub(crate) fn store_to<C: Compute>(dtype: DType) -> Store<C> {
    with_dtype!(dtype, S => store::<C, S>)
}

fn gather<S: Stored, C: Compute>(bytes: &[u8], layout: &Layout, cursor: &mut Cursor, block: &mut [C]) {
    let data: &[S] = bytemuck::cast_slice(bytes);
    let stride = layout.inner_stride();
    layout.for_each_run(cursor, block.len(), |range, position| {
        let (run, first) = (&mut block[range], position as usize);
        match stride {
            0 => run.fill(C::load(data[first])),
            1 => widen(&data[first..first + run.len()], run),
            _ => {
                for (i, value) in run.iter_mut().enumerate() {
                    *value = C::load(data[(position + i as isize * stride) as usize]);
                }
            }
        }
    });
}

fn widen<S: Stored, C: Compute>(data: &[S], block: &mut [C]) {
    wide::<C, _>(
        #[inline(always)]
        || {
            for (value, &stored) in block.iter_mut().zip(data) {
                *value = C::load(stored);
            }
        },
    );
}

fn store<C: Compute, S: Stored>(block: &[C], bytes: &mut [u8]) {
    let data: &mut [S] = bytemuck::cast_slice_mut(bytes);
    wide::<C, _>(
        #[inline(always)]
        || {
            for (stored, &value) in data.iter_mut().zip(block) {
                *stored = value.store();
            }
        },
    );
}

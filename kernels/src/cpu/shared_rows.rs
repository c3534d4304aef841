//! An output that several threads write at once, each its own rows.

use std::marker::PhantomData;

use crate::{Compute, Error, Result, Stored};

/// Rows of an output `[.., .., .., cols]` with any strides that give every element its own place.
pub(crate) struct SharedRows<'a, S> {
    start: *mut S,
    sizes: [usize; 4],
    strides: [usize; 4],
    output: PhantomData<&'a mut [S]>,
}

// SAFETY: rows are written only through `write`, whose caller promises that no two threads write the same row.
unsafe impl<S: Send> Send for SharedRows<'_, S> {}
// SAFETY: as above.
unsafe impl<S: Send> Sync for SharedRows<'_, S> {}

impl<'a, S: Stored> SharedRows<'a, S> {
    /// The rows of `output`.
    ///
    /// # Errors
    /// Strides that leave the output or put two elements in one place.
    #[track_caller]
    pub(crate) fn new(output: &'a mut [S], sizes: [usize; 4], strides: [i64; 4]) -> Result<Self> {
        let mut dims: Vec<(i64, usize)> = strides.into_iter().zip(sizes).filter(|dim| dim.1 != 1).collect();
        dims.sort_unstable();
        // Dim by dim from the innermost: a step must lead past all that the inner dims reach.
        let mut reach = 1i128;
        let is_empty = sizes.contains(&0);
        for (stride, size) in dims {
            if !is_empty && i128::from(stride) < reach {
                let message =
                    format!("sizes {sizes:?} with strides {strides:?} do not give every element its own place");
                return Err(Error::argument("output", message));
            }
            reach += i128::from(stride) * (size as i128 - 1);
        }
        if !is_empty && reach > output.len() as i128 {
            let message = format!("sizes {sizes:?} with strides {strides:?} leave an output of {}", output.len());
            return Err(Error::argument("output", message));
        }
        let strides = strides.map(|stride| stride as usize);
        Ok(SharedRows { start: output.as_mut_ptr(), sizes, strides, output: PhantomData })
    }

    /// Writes the elements of row `at` from `first` on, rounded from compute precision.
    ///
    /// # Safety
    /// No other thread writes the same row.
    #[inline(always)]
    pub(crate) unsafe fn write<T: Compute>(&self, at: [usize; 3], first: usize, values: &[T]) {
        assert!((0..3).all(|dim| at[dim] < self.sizes[dim]) && first + values.len() <= self.sizes[3]);
        if values.is_empty() {
            return;
        }
        let stride = self.strides[3];
        let start = (0..3).map(|dim| at[dim] * self.strides[dim]).sum::<usize>() + first * stride;
        // SAFETY: the constructor checked that every element of every row lies inside the output, in a place of its own,
        // and the caller keeps other threads from this row.
        unsafe {
            let start = self.start.add(start);
            if stride == 1 || values.len() == 1 {
                let row = std::slice::from_raw_parts_mut(start, values.len());
                row.iter_mut().zip(values).for_each(|(to, value)| *to = value.store());
            } else {
                values.iter().enumerate().for_each(|(col, value)| *start.add(col * stride) = value.store());
            }
        }
    }
}

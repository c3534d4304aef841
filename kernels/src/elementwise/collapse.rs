//! Fewer and longer dims for the same elements.

/// The most dims that a strided kernel walks over.
pub const MAX_RANK: usize = 8;

/// A shape with the strides of `N` operands, after [`collapse`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Collapsed<const N: usize> {
    /// How many dims are in use: at least 1.
    pub rank: usize,
    /// The length of each dim.
    pub shape: [usize; MAX_RANK],
    /// For each operand, its stride in each dim.
    pub strides: [[isize; MAX_RANK]; N],
}

/// Drops dims of length 1 and merges neighbours that every operand walks through in one stride.
///
/// The order of the elements stays. Nothing is left of a contiguous tensor but one dim, whatever its shape. `None` where
/// more than [`MAX_RANK`] dims remain.
///
/// ```
/// use chainrule_kernels::elementwise::collapse;
/// // [2, 3, 4] + [4] expanded: the first two dims are one for both.
/// let merged = collapse(&[2, 3, 4], [&[12, 4, 1], &[0, 0, 1]]).unwrap();
/// assert_eq!(merged.rank, 2);
/// assert_eq!(merged.shape[..2], [6, 4]);
/// assert_eq!(merged.strides[1][..2], [0, 1]);
/// ```
pub fn collapse<const N: usize>(shape: &[usize], strides: [&[isize]; N]) -> Option<Collapsed<N>> {
    debug_assert!(strides.iter().all(|strides| strides.len() == shape.len()));
    let mut merged = Collapsed { rank: 0, shape: [1; MAX_RANK], strides: [[0; MAX_RANK]; N] };
    for (dim, &len) in shape.iter().enumerate().filter(|&(_, &len)| len != 1) {
        let continues = |operand: usize| {
            merged.strides[operand][merged.rank - 1] == strides[operand][dim].wrapping_mul(len as isize)
        };
        if merged.rank == 0 || !(0..N).all(continues) {
            if merged.rank == MAX_RANK {
                return None;
            }
            merged.rank += 1;
        } else {
            merged.shape[merged.rank - 1] *= len;
            (0..N).for_each(|operand| merged.strides[operand][merged.rank - 1] = strides[operand][dim]);
            continue;
        }
        merged.shape[merged.rank - 1] = len;
        (0..N).for_each(|operand| merged.strides[operand][merged.rank - 1] = strides[operand][dim]);
    }
    if merged.rank == 0 {
        merged.rank = 1;
        merged.strides.iter_mut().for_each(|strides| strides[0] = 1);
    }
    Some(merged)
}

/// The strides of a contiguous tensor of this shape.
pub(crate) fn contiguous_strides(shape: &[usize]) -> [isize; MAX_RANK] {
    let mut strides = [0; MAX_RANK];
    let mut stride = 1;
    for (dim, &len) in shape.iter().enumerate().rev() {
        strides[dim] = stride;
        stride *= len as isize;
    }
    strides
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contiguous_dims_become_one() {
        let merged = collapse(&[2, 1, 3, 4], [&[12, 99, 4, 1]]).unwrap();
        assert_eq!((merged.rank, merged.shape[0], merged.strides[0][0]), (1, 24, 1));
    }

    #[test]
    fn what_one_operand_cannot_merge_stays() {
        let merged = collapse(&[5, 3, 4], [&[12, 4, 1], &[1, 20, 5]]).unwrap();
        assert_eq!((merged.rank, &merged.shape[..2]), (2, &[5, 12][..]));
        assert_eq!(merged.strides[1][..2], [1, 5]);
    }

    #[test]
    fn reversed_and_scalar_shapes() {
        let merged = collapse(&[3, 4], [&[-4, -1]]).unwrap();
        assert_eq!((merged.rank, merged.shape[0], merged.strides[0][0]), (1, 12, -1));
        let merged = collapse(&[1, 1], [&[7, 7]]).unwrap();
        assert_eq!((merged.rank, merged.shape[0]), (1, 1));
        assert_eq!(collapse(&[], [&[], &[]]).unwrap().rank, 1);
        assert!(collapse(&[2; 9], [&[1, 2, 3, 4, 5, 6, 7, 8, 9]]).is_none());
    }
}

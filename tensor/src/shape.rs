//! The sizes of a tensor's dims, and how callers write them.

use std::fmt;
use std::ops::Deref;

use crate::{Error, Result};

/// The most dims a tensor can have.
pub const MAX_RANK: usize = 8;

/// In [`Tensor::reshape`](crate::Tensor::reshape), the one size that follows from the others (PyTorch's `-1`).
pub const INFER: usize = usize::MAX;

/// The sizes of the dims, outermost first; dereferences to a slice.
///
/// ```
/// use chainrule_tensor::Shape;
/// let shape = Shape::new(&[2, 3]).unwrap();
/// assert_eq!(shape.elements(), 6);
/// assert_eq!(shape.to_string(), "[2, 3]");
/// ```
#[derive(Clone, Copy)]
pub struct Shape {
    sizes: [usize; MAX_RANK],
    rank: u8,
}

impl Shape {
    /// The shape of a 0-d tensor.
    pub const SCALAR: Shape = Shape { sizes: [0; MAX_RANK], rank: 0 };

    /// A shape of the given sizes.
    ///
    /// # Errors
    /// More than [`MAX_RANK`] dims, or more elements than an address can count.
    #[track_caller]
    pub fn new(sizes: &[usize]) -> Result<Shape> {
        if sizes.len() > MAX_RANK {
            return Err(Error::shape("shape", format!("{} dims, at most {MAX_RANK} are supported", sizes.len())));
        }
        // Zero sizes do not excuse an overflow elsewhere: strides are products of the sizes too.
        let fits = sizes.iter().filter(|&&size| size > 0).try_fold(1usize, |n, &size| n.checked_mul(size));
        if fits.is_none_or(|elements| elements > isize::MAX as usize) {
            return Err(Error::shape("shape", format!("{sizes:?} has more elements than an address can count")));
        }
        let mut shape = Shape { sizes: [0; MAX_RANK], rank: sizes.len() as u8 };
        shape.sizes[..sizes.len()].copy_from_slice(sizes);
        Ok(shape)
    }

    /// How many dims.
    pub fn rank(&self) -> usize {
        self.rank.into()
    }

    /// The product of the sizes; 1 for a 0-d tensor.
    pub fn elements(&self) -> usize {
        self.iter().product()
    }

    /// The strides of a row-major tensor of this shape, in elements.
    pub fn contiguous_strides(&self) -> [isize; MAX_RANK] {
        let mut strides = [0; MAX_RANK];
        let mut stride = 1isize;
        for dim in (0..self.rank()).rev() {
            strides[dim] = stride;
            stride *= self[dim].max(1) as isize;
        }
        strides
    }

    /// The shape that both broadcast to: aligned at the last dim, sizes equal or one of them 1.
    ///
    /// # Errors
    /// Sizes that differ and are not 1, or more elements than an address can count.
    #[track_caller]
    pub fn broadcast(op: &'static str, a: &Shape, b: &Shape) -> Result<Shape> {
        let rank = a.rank().max(b.rank());
        let mut shape = Shape { sizes: [0; MAX_RANK], rank: rank as u8 };
        for dim in 0..rank {
            let size = |s: &Shape| (dim + s.rank()).checked_sub(rank).map_or(1, |dim| s[dim]);
            shape.sizes[dim] = match (size(a), size(b)) {
                (x, y) if x == y => x,
                (1, y) => y,
                (x, 1) => x,
                _ => {
                    let hint = "sizes must be equal or 1, aligned at the last dim";
                    return Err(Error::shape(op, format!("shapes {a} and {b} do not broadcast: {hint}")));
                }
            };
        }
        // Two shapes that an address can count may have a common one that it cannot.
        Shape::new(&shape)
    }

    /// The same sizes with one replaced.
    pub fn with(mut self, dim: usize, size: usize) -> Shape {
        self.sizes[dim] = size;
        self
    }

    /// The same sizes without one dim.
    pub fn without(&self, dim: usize) -> Shape {
        let mut shape = Shape { sizes: [0; MAX_RANK], rank: self.rank - 1 };
        for (to, from) in (0..self.rank()).filter(|&from| from != dim).enumerate() {
            shape.sizes[to] = self.sizes[from];
        }
        shape
    }
}

impl Deref for Shape {
    type Target = [usize];

    fn deref(&self) -> &[usize] {
        &self.sizes[..self.rank()]
    }
}

impl PartialEq for Shape {
    fn eq(&self, other: &Shape) -> bool {
        **self == **other
    }
}

impl Eq for Shape {}

impl PartialEq<[usize]> for Shape {
    fn eq(&self, other: &[usize]) -> bool {
        **self == *other
    }
}

impl<const N: usize> PartialEq<[usize; N]> for Shape {
    fn eq(&self, other: &[usize; N]) -> bool {
        **self == *other
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", &**self)
    }
}

impl fmt::Debug for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What a caller may give as the sizes of a shape: an array, a slice, a vector, `()` for 0-d, or a [`Shape`].
pub trait Sizes {
    /// The sizes, outermost first.
    fn sizes(&self) -> &[usize];
}

impl Sizes for Shape {
    fn sizes(&self) -> &[usize] {
        self
    }
}

impl Sizes for () {
    fn sizes(&self) -> &[usize] {
        &[]
    }
}

impl Sizes for [usize] {
    fn sizes(&self) -> &[usize] {
        self
    }
}

impl Sizes for Vec<usize> {
    fn sizes(&self) -> &[usize] {
        self
    }
}

impl<const N: usize> Sizes for [usize; N] {
    fn sizes(&self) -> &[usize] {
        self
    }
}

impl<S: Sizes + ?Sized> Sizes for &S {
    fn sizes(&self) -> &[usize] {
        (**self).sizes()
    }
}

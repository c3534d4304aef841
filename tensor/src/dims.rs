//! How callers name dims and ranges of indices, with negative numbers counting from the end.

use std::ops::{Range, RangeFrom, RangeFull, RangeInclusive, RangeTo, RangeToInclusive};

use crate::{Error, Result, Shape};

/// Some dims of a tensor: `-1`, `[0, 2]`, or `..` for all.
///
/// ```
/// use chainrule_tensor::{Device, Tensor};
/// let x = Tensor::new([[1.0f32, 2.0], [3.0, 4.0]], &Device::Cpu)?;
/// assert_eq!(x.sum(.., false)?.item::<f32>()?, 10.0);
/// assert_eq!(x.sum(-1, false)?.to_vec::<f32>()?, [3.0, 7.0]);
/// # Ok::<(), chainrule_tensor::Error>(())
/// ```
#[derive(Clone, Debug)]
pub enum Dims {
    /// Every dim.
    All,
    /// The dims named, each at most once.
    Some(Vec<isize>),
}

impl Dims {
    /// A mask of the dims named; for a 0-d tensor the dims 0 and -1 are accepted, as in PyTorch, and name nothing.
    ///
    /// # Errors
    /// A dim that does not exist or is named twice.
    #[track_caller]
    pub fn mask(&self, op: &'static str, shape: &Shape) -> Result<Vec<bool>> {
        let mut mask = vec![matches!(self, Dims::All); shape.rank()];
        if let Dims::Some(dims) = self {
            for &dim in dims {
                let index = resolve_dim(op, dim, shape)?;
                match mask.get_mut(index) {
                    Some(named) if *named => {
                        return Err(Error::shape(op, format!("dim {dim} is named twice in {dims:?}")));
                    }
                    Some(named) => *named = true,
                    None => {}
                }
            }
        }
        Ok(mask)
    }
}

impl From<RangeFull> for Dims {
    fn from(_: RangeFull) -> Dims {
        Dims::All
    }
}

impl From<isize> for Dims {
    fn from(dim: isize) -> Dims {
        Dims::Some(vec![dim])
    }
}

impl<const N: usize> From<[isize; N]> for Dims {
    fn from(dims: [isize; N]) -> Dims {
        Dims::Some(dims.to_vec())
    }
}

impl From<&[isize]> for Dims {
    fn from(dims: &[isize]) -> Dims {
        Dims::Some(dims.to_vec())
    }
}

impl From<Vec<isize>> for Dims {
    fn from(dims: Vec<isize>) -> Dims {
        Dims::Some(dims)
    }
}

/// The index of a dim given with a possibly negative number. A 0-d tensor answers 0 to 0 and -1.
///
/// # Errors
/// A dim that does not exist.
#[track_caller]
pub fn resolve_dim(op: &'static str, dim: isize, shape: &Shape) -> Result<usize> {
    let rank = shape.rank().max(1) as isize;
    if (-rank..rank).contains(&dim) {
        return Ok(dim.rem_euclid(rank) as usize);
    }
    Err(Error::shape(op, format!("there is no dim {dim} in shape {shape}, expected {} to {}", -rank, rank - 1)))
}

/// A range of indices of one dim, as Python's slices: negative bounds count from the end, bounds beyond the dim are
/// cut, and a negative step walks backwards.
///
/// ```
/// use chainrule_tensor::{Device, Slice, Tensor};
/// let x = Tensor::arange(0, 6, 1, &Device::Cpu)?;
/// assert_eq!(x.slice(0, 1..-1)?.to_vec::<i64>()?, [1, 2, 3, 4]);
/// assert_eq!(x.slice(0, Slice::from(..).step(-2))?.to_vec::<i64>()?, [5, 3, 1]);
/// # Ok::<(), chainrule_tensor::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slice {
    /// The first index; `None` for the end the step starts from.
    pub start: Option<isize>,
    /// The index before which to stop; `None` for no bound.
    pub end: Option<isize>,
    /// The distance between indices, not 0.
    pub step: isize,
}

impl Slice {
    /// The same bounds with another step. As in Python, the bounds are given in walking order:
    /// `Slice::from(4..1).step(-1)` is 4, 3, 2.
    pub fn step(mut self, step: isize) -> Slice {
        self.step = step;
        self
    }

    /// First index, number of indices and step for a dim of `size`.
    ///
    /// # Errors
    /// A step of 0.
    #[track_caller]
    pub fn resolve(&self, op: &'static str, size: usize) -> Result<(usize, usize, isize)> {
        if self.step == 0 {
            return Err(Error::argument(op, "a slice needs a step other than 0"));
        }
        let size = size as isize;
        let (lowest, highest) = if self.step > 0 { (0, size) } else { (-1, size - 1) };
        let clamp = |bound: isize| (if bound < 0 { bound.saturating_add(size) } else { bound }).clamp(lowest, highest);
        let (first, last) = if self.step > 0 { (lowest, highest) } else { (highest, lowest) };
        let (start, end) = (self.start.map_or(first, clamp), self.end.map_or(last, clamp));
        let distance = if self.step > 0 { end - start } else { start - end };
        let count = if distance > 0 { (distance as usize).div_ceil(self.step.unsigned_abs()) } else { 0 };
        Ok((if count == 0 { 0 } else { start as usize }, count, self.step))
    }
}

impl From<Range<isize>> for Slice {
    fn from(range: Range<isize>) -> Slice {
        Slice { start: Some(range.start), end: Some(range.end), step: 1 }
    }
}

impl From<RangeInclusive<isize>> for Slice {
    fn from(range: RangeInclusive<isize>) -> Slice {
        Slice { start: Some(*range.start()), end: after(*range.end()), step: 1 }
    }
}

impl From<RangeFrom<isize>> for Slice {
    fn from(range: RangeFrom<isize>) -> Slice {
        Slice { start: Some(range.start), end: None, step: 1 }
    }
}

impl From<RangeTo<isize>> for Slice {
    fn from(range: RangeTo<isize>) -> Slice {
        Slice { start: None, end: Some(range.end), step: 1 }
    }
}

impl From<RangeToInclusive<isize>> for Slice {
    fn from(range: RangeToInclusive<isize>) -> Slice {
        Slice { start: None, end: after(range.end), step: 1 }
    }
}

impl From<RangeFull> for Slice {
    fn from(_: RangeFull) -> Slice {
        Slice { start: None, end: None, step: 1 }
    }
}

/// The exclusive bound of an inclusive one: `..=-1` ends after the last element, which has no negative name.
fn after(end: isize) -> Option<isize> {
    if end == -1 { None } else { Some(end.saturating_add(1)) }
}

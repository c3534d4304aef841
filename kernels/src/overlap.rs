//! Which of the elements that [`crate::copy::add_into`] adds can be added at the same time.
//!
//! Threads that run at the same time must not add to the same element. So the dims are parted in three: those along
//! which no two steps lead to one element of `y` belong to the threads, those along which `y` stands still are summed by
//! one thread or block, and for the others there is one launch after the other.

use crate::Result;
use crate::copy::CopyParams;
use crate::dims::MAX_RANK;

/// A dim: its length, and the strides of `x` and `y`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Dim {
    pub(crate) len: u64,
    pub(crate) x: i64,
    pub(crate) y: i64,
}

/// Elements that one launch adds, at `x` and `y` elements from where the data start.
pub(crate) struct Step<'a> {
    /// Dims along which no two steps lead to one element of `y`.
    pub(crate) threads: &'a [Dim],
    /// Dims along which `y` stands still.
    pub(crate) inside: &'a [Dim],
    pub(crate) x: i64,
    pub(crate) y: i64,
}

/// Calls `f` for one launch after the other, in a fixed order.
#[track_caller]
pub(crate) fn for_each_step(params: &CopyParams, mut f: impl FnMut(Step<'_>) -> Result<()>) -> Result<()> {
    let dim = |dim| Dim { len: params.shape[dim], x: params.x_strides[dim], y: params.y_strides[dim] };
    let dims = (0..params.rank as usize).map(dim).filter(|dim| dim.len != 1).collect();
    let mut parts = vec![Part { dims, x: 0, y: params.y_offset as i64 }];
    while let Some(part) = parts.pop() {
        match part.split() {
            Some(split) => parts.extend(split),
            None => part.steps(&mut f)?,
        }
    }
    Ok(())
}

/// A part of the elements: its dims, and where it starts in `x` and `y`.
struct Part {
    dims: Vec<Dim>,
    x: i64,
    y: i64,
}

impl Part {
    /// The part with a dim split where that lets more of it run at once, in reverse order.
    ///
    /// Windows that overlap are dims of strides `hop` and 1, the second longer than `hop`: no two elements of its first
    /// `hop` meet, so it becomes two dims of strides `hop` and 1, and a rest where it is no multiple of `hop`.
    fn split(&self) -> Option<Vec<Part>> {
        let pairs = (0..self.dims.len()).flat_map(|outer| (0..self.dims.len()).map(move |inner| (outer, inner)));
        for (outer, inner) in pairs {
            let (hop, Dim { len, x, y }) = (self.dims[outer].y.unsigned_abs(), self.dims[inner]);
            let step = y.unsigned_abs();
            if step == 0 || hop <= step || hop >= step.saturating_mul(len) || !hop.is_multiple_of(step) {
                continue;
            }
            let per_hop = hop / step;
            let whole = len - len % per_hop;
            let with = |new: &[Dim], skipped: i64| {
                let mut dims = self.dims.clone();
                dims.splice(inner..=inner, new.iter().copied().filter(|dim| dim.len != 1));
                Part { dims, x: self.x + skipped * x, y: self.y + skipped * y }
            };
            if whole < len {
                let parts = [(len - whole, whole as i64), (whole, 0)];
                return Some(parts.map(|(len, skipped)| with(&[Dim { len, x, y }], skipped)).into());
            }
            if self.dims.len() < MAX_RANK {
                let hops = Dim { len: len / per_hop, x: x * per_hop as i64, y: y * per_hop as i64 };
                return Some(vec![with(&[hops, Dim { len: per_hop, x, y }], 0)]);
            }
        }
        None
    }

    #[track_caller]
    fn steps(&self, f: &mut impl FnMut(Step<'_>) -> Result<()>) -> Result<()> {
        let (inside, moving): (Vec<Dim>, Vec<Dim>) = self.dims.iter().partition(|dim| dim.y == 0);
        let together = largest_injective(&moving);
        let of = |chosen: bool| (0..moving.len()).filter(move |&dim| (together >> dim & 1 == 1) == chosen);
        let (threads, steps): (Vec<Dim>, Vec<Dim>) =
            (of(true).map(|dim| moving[dim]).collect(), of(false).map(|dim| moving[dim]).collect());
        for step in 0..steps.iter().map(|dim| dim.len).product::<u64>() {
            let (mut x, mut y, mut left) = (self.x, self.y, step);
            for dim in steps.iter().rev() {
                let at = (left % dim.len) as i64;
                (x, y, left) = (x + at * dim.x, y + at * dim.y, left / dim.len);
            }
            f(Step { threads: &threads, inside: &inside, x, y })?;
        }
        Ok(())
    }
}

/// Of all sets of dims along which every step leads to another element of `y`, the one with the most elements, as bits.
fn largest_injective(dims: &[Dim]) -> usize {
    let mut by_stride: Vec<usize> = (0..dims.len()).collect();
    by_stride.sort_by_key(|&dim| dims[dim].y.unsigned_abs());
    let elements = |set: &usize| {
        // From the smallest stride up: a step must lead past all that the smaller ones reach.
        let (mut reach, mut len) = (0u64, 1u64);
        for dim in by_stride.iter().filter(|&&dim| set >> dim & 1 == 1).map(|&dim| dims[dim]) {
            if dim.y.unsigned_abs() <= reach {
                return 0;
            }
            reach = reach.saturating_add(dim.y.unsigned_abs().saturating_mul(dim.len - 1));
            len = len.saturating_mul(dim.len);
        }
        len
    };
    (0..1usize << dims.len()).max_by_key(elements).unwrap_or(0)
}

//! Where the elements of a tensor are in its buffer: the algebra of views, on plain integers.

use crate::{Error, INFER, MAX_RANK, Result, Shape, Slice};

/// Shape, strides (in elements, of any sign, 0 for repeated dims) and the offset of the first element.
///
/// Element `[i0, i1, ...]` is at `offset + i0 * strides[0] + i1 * strides[1] + ...`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Layout {
    shape: Shape,
    strides: [isize; MAX_RANK],
    offset: usize,
}

impl Layout {
    /// Row-major elements from the start of the buffer.
    pub fn contiguous(shape: Shape) -> Layout {
        Layout { shape, strides: shape.contiguous_strides(), offset: 0 }
    }

    /// The sizes.
    pub fn shape(&self) -> &Shape {
        &self.shape
    }

    /// The strides, one for each dim.
    pub fn strides(&self) -> &[isize] {
        &self.strides[..self.shape.rank()]
    }

    /// The element at which index `[0, 0, ...]` is.
    pub fn offset(&self) -> usize {
        self.offset
    }

    /// True where the elements follow one another in row-major order (the offset may be anything).
    pub fn is_contiguous(&self) -> bool {
        let expected = self.shape.contiguous_strides();
        self.shape.contains(&0)
            || (0..self.shape.rank()).all(|dim| self.shape[dim] == 1 || self.strides[dim] == expected[dim])
    }

    fn with_dims(&self, dims: impl Iterator<Item = (usize, isize)>) -> Result<Layout> {
        let (mut sizes, mut strides) = (Vec::with_capacity(MAX_RANK), [0; MAX_RANK]);
        for (dim, (size, stride)) in dims.enumerate() {
            sizes.push(size);
            if let Some(slot) = strides.get_mut(dim) {
                *slot = stride;
            }
        }
        Ok(Layout { shape: Shape::new(&sizes)?, strides, offset: self.offset })
    }

    fn dims(&self) -> impl Iterator<Item = (usize, isize)> + '_ {
        self.shape.iter().copied().zip(self.strides.iter().copied())
    }

    /// The same dims from another element on. Without elements there is none to start from: the buffer may be empty.
    fn moved(mut self, by: isize) -> Layout {
        if !self.shape.contains(&0) {
            self.offset = (self.offset as isize + by) as usize;
        }
        self
    }

    /// The dims in another order; `order` is a permutation.
    pub fn permute(&self, order: &[usize]) -> Result<Layout> {
        self.with_dims(order.iter().map(|&dim| (self.shape[dim], self.strides[dim])))
    }

    /// Dims of size 1 (and new leading dims) repeated to `shape` with stride 0.
    #[track_caller]
    pub fn expand(&self, op: &'static str, shape: Shape) -> Result<Layout> {
        let refuse = || Error::shape(op, format!("shape {} does not expand to {shape}", self.shape));
        let lead = shape.rank().checked_sub(self.shape.rank()).ok_or_else(refuse)?;
        let mut strides = [0; MAX_RANK];
        for dim in lead..shape.rank() {
            let (size, stride) = (self.shape[dim - lead], self.strides[dim - lead]);
            strides[dim] = match size {
                _ if size == shape[dim] => stride,
                1 => 0,
                _ => return Err(refuse()),
            };
        }
        Ok(Layout { shape, strides, offset: self.offset })
    }

    /// Every `step`-th index of one dim.
    #[track_caller]
    pub fn slice(&self, op: &'static str, dim: usize, slice: Slice) -> Result<Layout> {
        let (start, count, step) = slice.resolve(op, self.shape[dim])?;
        let stride = self.strides[dim];
        let mut layout = Layout { shape: self.shape.with(dim, count), ..*self };
        layout.strides[dim] = stride.saturating_mul(step);
        Ok(layout.moved(start as isize * stride))
    }

    /// One index of one dim; the dim goes.
    pub fn select(&self, dim: usize, index: usize) -> Result<Layout> {
        let kept = self.dims().enumerate().filter(|&(d, _)| d != dim).map(|(_, size_stride)| size_stride);
        Ok(self.with_dims(kept)?.moved(index as isize * self.strides[dim]))
    }

    /// A new dim of size 1 before `dim`.
    pub fn unsqueeze(&self, dim: usize) -> Result<Layout> {
        let mut dims: Vec<_> = self.dims().collect();
        dims.insert(dim, (1, 1));
        self.with_dims(dims.into_iter())
    }

    /// The masked dims, which have size 1, removed.
    pub fn squeeze(&self, mask: &[bool]) -> Result<Layout> {
        self.with_dims(self.dims().zip(mask).filter(|&(_, &gone)| !gone).map(|(size_stride, _)| size_stride))
    }

    /// Elements `[i, i + shift]` of two dims, as a new last dim.
    pub fn diagonal(&self, shift: isize, dim1: usize, dim2: usize) -> Result<Layout> {
        let (rows, cols) = (self.shape[dim1] as isize, self.shape[dim2] as isize);
        let (first_row, first_col) = (shift.saturating_neg().max(0), shift.max(0));
        let count = rows.saturating_sub(first_row).min(cols.saturating_sub(first_col)).max(0) as usize;
        let step = self.strides[dim1].saturating_add(self.strides[dim2]);
        let kept = self.dims().enumerate().filter(|&(dim, _)| dim != dim1 && dim != dim2).map(|(_, dims)| dims);
        let layout = self.with_dims(kept.chain([(count, step)]))?;
        if count == 0 {
            return Ok(layout);
        }
        Ok(layout.moved(first_row * self.strides[dim1] + first_col * self.strides[dim2]))
    }

    /// Windows of `size` at every `step` along a dim; the window is the new last dim.
    pub fn unfold(&self, dim: usize, size: usize, step: usize) -> Result<Layout> {
        let windows = (self.shape[dim] - size) / step + 1;
        let mut dims: Vec<_> = self.dims().collect();
        let stride = dims[dim].1;
        // A step beyond the dim leads nowhere: there is one window then.
        dims[dim] = (windows, stride.saturating_mul(isize::try_from(step).unwrap_or(isize::MAX)));
        dims.push((size, stride));
        self.with_dims(dims.into_iter())
    }

    /// The view with other sizes and the same elements in the same order, where strides can express it.
    ///
    /// Works on groups: the dims of the old shape are merged where they lie evenly in memory, and each merged run is
    /// split into the new sizes.
    pub fn reshape(&self, shape: Shape) -> Option<Layout> {
        if self.shape.elements() == 0 || self.is_contiguous() {
            return Some(Layout { offset: self.offset, ..Layout::contiguous(shape) });
        }
        // Runs of memory: (number of elements, stride between them), innermost last, dims of size 1 left out.
        let mut runs: Vec<(usize, isize)> = Vec::with_capacity(MAX_RANK);
        for (size, stride) in self.dims().filter(|&(size, _)| size != 1) {
            match runs.last_mut() {
                Some((n, run_stride)) if *run_stride == stride * size as isize => {
                    *n *= size;
                    *run_stride = stride;
                }
                _ => runs.push((size, stride)),
            }
        }
        let mut strides = [1; MAX_RANK];
        let mut run = runs.pop();
        let mut left = run.map_or(1, |(n, _)| n);
        let mut stride = run.map_or(1, |(_, stride)| stride);
        for dim in (0..shape.rank()).rev().filter(|&dim| shape[dim] != 1) {
            if left == 1 {
                run = runs.pop();
                (left, stride) = run?;
            }
            if !left.is_multiple_of(shape[dim]) {
                return None;
            }
            strides[dim] = stride;
            stride *= shape[dim] as isize;
            left /= shape[dim];
        }
        Some(Layout { shape, strides, offset: self.offset })
    }
}

/// The shape that `wanted` names for `elements` elements, with at most one [`INFER`].
///
/// # Errors
/// A product that differs, two unknown sizes, or an unknown size that is no whole number.
#[track_caller]
pub(crate) fn infer_shape(wanted: &[usize], from: &Shape) -> Result<Shape> {
    let elements = from.elements();
    let shown = || wanted.iter().map(|&n| if n == INFER { "INFER".into() } else { n.to_string() }).collect::<Vec<_>>();
    let refuse = |why: &str| {
        let message = format!("{from} has {elements} elements, got [{}]{why}", shown().join(", "));
        Err(Error::shape("reshape", message))
    };
    if wanted.iter().filter(|&&size| size == INFER).count() > 1 {
        return refuse(": only one size can be inferred");
    }
    let known = wanted.iter().filter(|&&size| size != INFER).try_fold(1usize, |n, &size| n.checked_mul(size));
    let Some(known) = known else { return refuse(", which is too many") };
    let mut sizes = wanted.to_vec();
    if let Some(unknown) = sizes.iter_mut().find(|size| **size == INFER) {
        if known == 0 || !elements.is_multiple_of(known) {
            return refuse(": the size to infer is no whole number");
        }
        *unknown = elements / known;
    } else if known != elements {
        return refuse("");
    }
    Shape::new(&sizes)
}

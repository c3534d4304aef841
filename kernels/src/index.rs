//! Rows picked by a list of ids, and sums back into them.
//!
//! ```text
//! index_select  y[o, j, i]                = x[o, ids[j], i]            x [outer, size, inner], ids [n], y [outer, n, inner]
//! index_add     y[o, ids[j], i]          += src[o, j, i]
//! embedding     y[j, :]                   = weight[ids[j], :]          weight [V, C], ids [n], y [n, C]
//!               dweight[v, :]             = sum of dy[j, :] over ids[j] = v, v not padding
//! one_hot       y[j, v]                   = 1 where ids[j] = v, else 0
//! nonzero       y                         = the places of all x that are not 0, in order
//! ```
//!
//! The ids may be u8, u32, i32 or i64; one below 0 or not below the size is an error, found before anything is written.
//! Sums are taken id by id in the order of the list, without atomics, so they have the same bits on any number of
//! threads; f16 and bf16 add up in f32 and are rounded once.

use std::panic::Location;

use bytemuck::{Pod, Zeroable};

use crate::{Buffer, Kernel, Launch, Result, cpu};

/// Extents of the array and the list.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Pod, Zeroable)]
pub struct IndexParams {
    /// The product of the dims before the one that is indexed.
    pub outer: u64,
    /// The array's size along it.
    pub size: u64,
    /// How many ids there are.
    pub n: u64,
    /// The product of the dims after it.
    pub inner: u64,
}

/// Parameters of `index_add`.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Pod, Zeroable)]
pub struct IndexAddParams {
    /// The extents.
    pub extents: IndexParams,
    /// 1 where the output's old contents do not count, 0 where they are added to.
    pub fresh: u64,
    /// An id whose rows are left out; -1 for none.
    pub padding: i64,
}

/// `x, ids -> y`.
pub static INDEX_SELECT: Kernel = Kernel {
    name: "index_select",
    entry: "index_select",
    cpu: cpu::index::select,
    #[cfg(feature = "cuda")]
    cuda: crate::cuda::index::select,
    #[cfg(feature = "wgpu")]
    wgpu: crate::wgpu::index::select,
};
/// `weight, ids -> y`.
pub static EMBEDDING_FORWARD: Kernel = Kernel {
    name: "embedding",
    entry: "embedding_forward",
    cpu: cpu::index::embedding,
    #[cfg(feature = "cuda")]
    cuda: crate::cuda::index::embedding,
    #[cfg(feature = "wgpu")]
    wgpu: crate::wgpu::index::embedding,
};
/// `src, ids -> y`, in place.
pub static INDEX_ADD: Kernel = Kernel {
    name: "index_add",
    entry: "index_add",
    cpu: cpu::index::add,
    #[cfg(feature = "cuda")]
    cuda: crate::cuda::index::add,
    #[cfg(feature = "wgpu")]
    wgpu: crate::wgpu::index::add,
};
/// `dy, ids -> dweight`.
pub static EMBEDDING_BACKWARD: Kernel = Kernel {
    name: "embedding",
    entry: "embedding_backward",
    cpu: cpu::index::embedding_backward,
    #[cfg(feature = "cuda")]
    cuda: crate::cuda::index::embedding_backward,
    #[cfg(feature = "wgpu")]
    wgpu: crate::wgpu::index::embedding_backward,
};
/// `ids -> y`.
pub static ONE_HOT: Kernel = Kernel {
    name: "one_hot",
    entry: "one_hot",
    cpu: cpu::index::one_hot,
    #[cfg(feature = "cuda")]
    cuda: crate::cuda::index::one_hot,
    #[cfg(feature = "wgpu")]
    wgpu: crate::wgpu::index::one_hot,
};
/// `x -> y`.
pub static NONZERO: Kernel = Kernel {
    name: "nonzero",
    entry: "nonzero",
    cpu: cpu::index::nonzero,
    #[cfg(feature = "cuda")]
    cuda: crate::cuda::nonzero::nonzero,
    #[cfg(feature = "wgpu")]
    wgpu: crate::wgpu::nonzero::nonzero,
};

/// Picks from the contiguous `x` into `y`.
///
/// # Errors
/// An id outside the dim.
#[track_caller]
pub fn index_select(x: (&Buffer, usize), ids: (&Buffer, usize), params: IndexParams, y: &mut Buffer) -> Result<()> {
    let location = Location::caller();
    debug_assert_eq!(y.len() as u64, params.outer * params.n * params.inner);
    let grid = [(params.outer * params.n) as usize, 1, 1];
    let launch = Launch::new(&INDEX_SELECT, x.0.dtype()).input(x.0, x.1).input(ids.0, ids.1).output(y);
    launch.params(&params).grid(grid).run().map_err(|error| error.at(location))
}

/// Rows of the contiguous `weight [size, inner]`; `outer` is 1.
///
/// # Errors
/// An id that `weight` has no row for.
#[track_caller]
pub fn embedding_forward(
    weight: (&Buffer, usize),
    ids: (&Buffer, usize),
    params: IndexParams,
    y: &mut Buffer,
) -> Result<()> {
    let location = Location::caller();
    debug_assert_eq!((params.outer, y.len() as u64), (1, params.n * params.inner));
    let grid = [params.n as usize, 1, 1];
    let launch = Launch::new(&EMBEDDING_FORWARD, y.dtype()).input(weight.0, weight.1).input(ids.0, ids.1).output(y);
    launch.params(&params).grid(grid).run().map_err(|error| error.at(location))
}

/// Adds the contiguous `src` to the contiguous `y`.
///
/// # Errors
/// An id outside the dim.
#[track_caller]
pub fn index_add(src: (&Buffer, usize), ids: (&Buffer, usize), params: IndexParams, y: &mut Buffer) -> Result<()> {
    let location = Location::caller();
    let params = IndexAddParams { extents: params, fresh: 0, padding: -1 };
    sums(&INDEX_ADD, src, ids, params, y).map_err(|error| error.at(location))
}

/// The gradient of [`embedding_forward`] by `weight`: every element of `dweight` is written, and the row `padding`
/// is 0.
///
/// # Errors
/// An id that `dweight` has no row for.
#[track_caller]
pub fn embedding_backward(
    dy: (&Buffer, usize),
    ids: (&Buffer, usize),
    params: IndexParams,
    padding: Option<usize>,
    dweight: &mut Buffer,
) -> Result<()> {
    let location = Location::caller();
    let padding = padding.map_or(-1, |padding| padding as i64);
    let params = IndexAddParams { extents: params, fresh: 1, padding };
    sums(&EMBEDDING_BACKWARD, dy, ids, params, dweight).map_err(|error| error.at(location))
}

fn sums(
    kernel: &'static Kernel,
    src: (&Buffer, usize),
    ids: (&Buffer, usize),
    params: IndexAddParams,
    y: &mut Buffer,
) -> Result<()> {
    let extents = params.extents;
    debug_assert_eq!((src.0.dtype(), y.len() as u64), (y.dtype(), extents.outer * extents.size * extents.inner));
    let grid = [(extents.outer * extents.size) as usize, 1, 1];
    let launch = Launch::new(kernel, y.dtype()).input(src.0, src.1).input(ids.0, ids.1).output(y);
    launch.params(&params).grid(grid).run()
}

/// Rows of `y [n, size]`, each with a single 1; `outer` and `inner` are 1.
///
/// # Errors
/// An id not below `size`.
#[track_caller]
pub fn one_hot(ids: (&Buffer, usize), params: IndexParams, y: &mut Buffer) -> Result<()> {
    let location = Location::caller();
    debug_assert_eq!(y.len() as u64, params.n * params.size);
    let grid = [params.n as usize, 1, 1];
    let launch = Launch::new(&ONE_HOT, y.dtype()).input(ids.0, ids.1).output(y);
    launch.params(&params).grid(grid).run().map_err(|error| error.at(location))
}

/// The flat places, of [`Device::index_dtype`](crate::Device::index_dtype), of the first `n` elements of the contiguous `x` that are not 0. The caller has counted
/// them to size `y`; the rest of a longer `y` becomes 0.
#[track_caller]
pub fn nonzero(x: (&Buffer, usize), n: usize, y: &mut Buffer) -> Result<()> {
    debug_assert_eq!(y.dtype(), y.device().index_dtype());
    let params = IndexParams { outer: 1, size: y.len() as u64, n: n as u64, inner: 1 };
    Launch::new(&NONZERO, x.0.dtype()).input(x.0, x.1).output(y).params(&params).grid([n, 1, 1]).run()
}

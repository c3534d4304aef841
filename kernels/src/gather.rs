//! Reading and writing along one dim at the places that an index of the same rank names.
//!
//! ```text
//! gather       y[i, j, k]               = x[i, index[i, j, k], k]                        (dim = 1)
//! scatter      y[i, index[i, j, k], k]  = src[i, j, k]          the last one where several meet
//! scatter_add  y[i, index[i, j, k], k] += src[i, j, k]          in the order of the index
//! ```
//!
//! The index may be u8, u32, i32 or i64. An index below 0 or not below the size of the dim is an error, found before
//! anything is written. f16 and bf16 add up in f32 and are rounded once. Semantics: PyTorch's functions of these names,
//! except that the order of writes is defined.

use std::panic::Location;

use bytemuck::{Pod, Zeroable};

use crate::dims::Dims;
use crate::{Buffer, Kernel, Launch, Result, cpu};

/// How the elements of the index lie in the array that it points into.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Pod, Zeroable)]
pub struct GatherParams {
    /// The index in order, with the array's strides, but 0 along `dim`.
    pub walk: Dims,
    /// The array's stride along `dim`.
    pub stride: i64,
    /// The array's size along `dim`.
    pub size: u64,
    /// How many leading parts of the array no two of which one line along `dim` meets.
    pub outer: u64,
    /// Elements of each such part.
    pub slab: u64,
}

/// `x, index -> y`.
pub static GATHER: Kernel = Kernel {
    name: "gather",
    entry: "gather",
    cpu: cpu::gather::gather,
    #[cfg(feature = "cuda")]
    cuda: crate::cuda::gather::gather,
    #[cfg(feature = "wgpu")]
    wgpu: crate::wgpu::gather::gather,
};
/// `src, index -> y`, in place.
pub static SCATTER: Kernel = Kernel {
    name: "scatter",
    entry: "scatter",
    cpu: cpu::gather::scatter,
    #[cfg(feature = "cuda")]
    cuda: crate::cuda::gather::scatter,
    #[cfg(feature = "wgpu")]
    wgpu: crate::wgpu::gather::scatter,
};
/// `src, index -> y`, in place.
pub static SCATTER_ADD: Kernel = Kernel {
    name: "scatter_add",
    entry: "scatter_add",
    cpu: cpu::gather::scatter_add,
    #[cfg(feature = "cuda")]
    cuda: crate::cuda::gather::scatter_add,
    #[cfg(feature = "wgpu")]
    wgpu: crate::wgpu::gather::scatter_add,
};

impl GatherParams {
    /// For an index of `index_shape` into dim `dim` of an array with `shape` and `strides`. Along other dims the index
    /// may be shorter than the array.
    ///
    /// # Errors
    /// More dims than kernels take.
    #[track_caller]
    pub fn new(index_shape: &[usize], shape: &[usize], strides: &[isize], dim: usize) -> Result<GatherParams> {
        debug_assert!(index_shape.len() == shape.len() && shape.len() == strides.len() && dim < shape.len());
        let mut outside = strides.to_vec();
        outside[dim] = 0;
        // Leading dims count as one where the index spans all but the first of them.
        let lead = (1..dim).take_while(|&d| index_shape[d] == shape[d]).count() + usize::from(dim > 0);
        let slab = if lead == 0 { shape.iter().product::<usize>() } else { strides[lead - 1].unsigned_abs() };
        Ok(GatherParams {
            walk: Dims::new(index_shape, &outside)?,
            stride: strides[dim] as i64,
            size: shape[dim] as u64,
            outer: index_shape[..lead].iter().product::<usize>() as u64,
            slab: slab as u64,
        })
    }
}

/// Gathers from `x`, of any strides, into the contiguous `y`; `index` is contiguous.
///
/// # Errors
/// An index outside the dim.
#[track_caller]
pub fn gather(x: (&Buffer, usize), index: (&Buffer, usize), params: GatherParams, y: &mut Buffer) -> Result<()> {
    let location = Location::caller();
    let grid = [y.len(), 1, 1];
    let launch = Launch::new(&GATHER, x.0.dtype()).input(x.0, x.1).input(index.0, index.1).output(y);
    launch.params(&params).grid(grid).run().map_err(|error| error.at(location))
}

/// Writes `src` into the contiguous `y`; `src` and `index` are contiguous and of one shape.
///
/// # Errors
/// An index outside the dim.
#[track_caller]
pub fn scatter(src: (&Buffer, usize), index: (&Buffer, usize), params: GatherParams, y: &mut Buffer) -> Result<()> {
    let location = Location::caller();
    into(&SCATTER, src, index, params, y).map_err(|error| error.at(location))
}

/// Adds `src` to the contiguous `y`; `src` and `index` are contiguous and of one shape.
///
/// # Errors
/// An index outside the dim.
#[track_caller]
pub fn scatter_add(src: (&Buffer, usize), index: (&Buffer, usize), params: GatherParams, y: &mut Buffer) -> Result<()> {
    let location = Location::caller();
    into(&SCATTER_ADD, src, index, params, y).map_err(|error| error.at(location))
}

fn into(
    kernel: &'static Kernel,
    src: (&Buffer, usize),
    index: (&Buffer, usize),
    params: GatherParams,
    y: &mut Buffer,
) -> Result<()> {
    debug_assert_eq!(src.0.dtype(), y.dtype());
    let grid = [params.walk.len(), 1, 1];
    let launch = Launch::new(kernel, y.dtype()).input(src.0, src.1).input(index.0, index.1).output(y);
    launch.params(&params).grid(grid).run()
}

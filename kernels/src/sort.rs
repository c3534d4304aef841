//! Sorting and the k greatest or least along the last dim of contiguous rows.
//!
//! Both are stable: equal elements keep their order, -0.0 equals 0.0, and NaN is greater than every number (and equal
//! to NaN), as in PyTorch. A row's elements become unsigned integers that sort alike; with the position appended no
//! two are equal, so any sorting method gives the one stable order.

use bytemuck::{Pod, Zeroable};

use crate::{Buffer, Kernel, Launch, Result, cpu};

/// Extents and direction.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Pod, Zeroable)]
pub struct SortParams {
    /// How many rows there are.
    pub rows: u64,
    /// Elements in a row.
    pub cols: u64,
    /// How many of them are wanted: `cols` for a full sort.
    pub k: u64,
    /// 1 for the greatest first, 0 for the least first.
    pub descending: u64,
}

/// `x [rows, cols] -> values [rows, k], indices [rows, k]`.
pub static SORT: Kernel = Kernel {
    name: "sort",
    entry: "sort",
    cpu: cpu::sort::sort,
    #[cfg(feature = "cuda")]
    cuda: crate::cuda::sort::sort,
    #[cfg(feature = "wgpu")]
    wgpu: crate::wgpu::sort::sort,
};

/// The first `k` elements of every row of the contiguous `x` in sorted order, and their positions, of [`Device::index_dtype`](crate::Device::index_dtype).
///
/// `k = cols` sorts; a smaller `k` is top-k, greatest first with `descending`, else least first.
#[track_caller]
pub fn sort(x: (&Buffer, usize), params: SortParams, values: &mut Buffer, indices: &mut Buffer) -> Result<()> {
    debug_assert!(params.k <= params.cols && indices.dtype() == indices.device().index_dtype());
    debug_assert_eq!((values.len() as u64, indices.len()), (params.rows * params.k, values.len()));
    let grid = [params.rows as usize, 1, 1];
    Launch::new(&SORT, x.0.dtype()).input(x.0, x.1).output(values).output(indices).params(&params).grid(grid).run()
}

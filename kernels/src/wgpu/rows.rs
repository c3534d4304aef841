//! How rows are shared out over threads, and sums over rows: the host side of `wgsl/rows.wgsl`.

use bytemuck::{Pod, Zeroable};

use super::args::Workspace;
use super::{Slot, WgpuArgs};
use crate::{DType, Result};

/// Columns of a workgroup that sums over rows: the kernels' `WIDTH`.
const WIDTH: u32 = 32;
/// Rows of a group: the kernels' `GROUP_ROWS`.
const GROUP_ROWS: u32 = 256;

/// The invocations that work on a row: each has a few elements, so that short rows leave none idle.
pub(crate) fn row_threads(cols: u32) -> u32 {
    cols.div_ceil(4).next_power_of_two().clamp(32, 256)
}

/// The kernel's `ColumnSumsParams`.
#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct ColumnSumsParams {
    groups: u32,
    columns: u32,
    first: u32,
    cols: u32,
}

/// Sums over rows, of groups of them, that a second stage adds up.
pub(crate) struct ColumnSums {
    partial: Workspace,
    /// How many groups of rows there are: one at least, so that sums of nothing are written.
    pub(crate) groups: u32,
    cols: u32,
    n_sums: u32,
}

impl ColumnSums {
    /// Room for `n_sums` sums of `cols` columns over `rows` rows.
    #[track_caller]
    pub(crate) fn new(args: &WgpuArgs<'_>, rows: u32, cols: u32, n_sums: u32) -> Result<ColumnSums> {
        let groups = rows.div_ceil(GROUP_ROWS).max(1);
        let partial = args.workspace(DType::F32, groups as usize * n_sums as usize * cols as usize)?;
        Ok(ColumnSums { partial, groups, cols, n_sums })
    }

    /// Where the groups write: `[groups, n_sums, cols]`.
    pub(crate) fn slot(&self) -> Slot {
        self.partial.slot()
    }

    /// How many workgroups sum over the rows of their groups: none where no sum is wanted.
    pub(crate) fn workgroups(&self) -> usize {
        if self.n_sums == 0 { 0 } else { self.groups as usize * self.cols.div_ceil(WIDTH) as usize }
    }

    /// Writes the sums of each `cols` columns to an output: those after the first.
    #[track_caller]
    pub(crate) fn finish(&self, args: &WgpuArgs<'_>) -> Result<()> {
        let ColumnSums { groups, cols, n_sums, .. } = *self;
        for index in 0..n_sums {
            let y = args.once(1 + index as usize)?;
            args.stage("column_sums")
                .file("column_sums")
                .read("partial", self.slot())
                .write("y", y.slot())
                .params(&ColumnSumsParams { groups, columns: n_sums * cols, first: index * cols, cols })
                .groups(cols.div_ceil(WIDTH) as usize)
                .run()?;
            y.finish()?;
        }
        Ok(())
    }
}

//! How rows are shared out over threads: the host side of `cuda/rows.cuh`.

use super::{CudaArgs, CudaMemory, Stage};
use crate::{DType, Result};

/// The constants that a kernel of rows is compiled with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct RowPlan {
    /// The threads of a row: a warp, or a block.
    lanes: usize,
    /// The elements that a thread keeps in registers.
    items: usize,
    /// The elements of one access.
    vec: usize,
    /// Whether all of a row is kept.
    whole: bool,
}

/// The elements of the longest row that a warp takes where a thread keeps one or two values for each element.
const WARP_COLS: usize = 1024;

/// The same where it keeps several: sums of columns beside the row itself.
const WARP_COLS_WITH_SUMS: usize = 256;

/// The most threads of a row.
const MAX_LANES: usize = 512;

impl RowPlan {
    /// For kernels that keep a row. `arrays` are the addresses of all arrays of rows of `cols` elements, 0 where there
    /// is none: where all are aligned, sixteen bytes are read at once.
    pub(crate) fn new(elem: DType, cols: usize, arrays: &[u64]) -> RowPlan {
        RowPlan::with_warp_cols(elem, cols, arrays, WARP_COLS)
    }

    /// For kernels that also keep sums of columns.
    pub(crate) fn with_sums(elem: DType, cols: usize, arrays: &[u64]) -> RowPlan {
        RowPlan::with_warp_cols(elem, cols, arrays, WARP_COLS_WITH_SUMS)
    }

    fn with_warp_cols(elem: DType, cols: usize, arrays: &[u64], warp_cols: usize) -> RowPlan {
        let pack = 16 / elem.size_bytes();
        let packed = cols.is_multiple_of(pack) && arrays.iter().all(|address| address.is_multiple_of(16));
        let vec = if packed { pack } else { 1 };
        // f64 takes two registers.
        let (warp_cols, longest) = match elem {
            DType::F64 => (warp_cols / 2, 8 * MAX_LANES),
            _ => (warp_cols, 16 * MAX_LANES),
        };
        let (lanes, items) = if cols <= warp_cols {
            (32, cols.div_ceil(32).next_power_of_two().max(8))
        } else {
            let lanes = cols.div_ceil(8).next_power_of_two().clamp(64, MAX_LANES);
            (lanes, if cols > 8 * lanes && cols <= longest { 16 } else { 8 })
        };
        RowPlan { lanes, items, vec, whole: cols <= lanes * items }
    }

    /// How many threads a block has.
    fn threads(&self) -> usize {
        if self.lanes == 32 { 256 } else { self.lanes }
    }

    /// The stage with these constants and enough blocks for `rows` rows.
    pub(crate) fn stage<'a>(&self, args: &CudaArgs<'a>, entry: &'static str, rows: usize) -> Stage<'a> {
        let threads = self.threads();
        args.stage(entry)
            .define("THREADS", threads)
            .define("LANES", self.lanes)
            .define("ITEMS", self.items)
            .define("VEC", self.vec)
            .define("WHOLE", u8::from(self.whole))
            .threads(threads as u32)
            .blocks(rows.div_ceil(threads / self.lanes))
    }

    /// Over how many groups of threads `rows` rows are spread where each group sums what it has of each column: as many
    /// as keep the device busy, and enough that no group adds up more than some hundred rows.
    fn groups(&self, args: &CudaArgs<'_>, rows: usize) -> usize {
        const THREADS_OF_A_MULTIPROCESSOR: usize = 1024;
        let busy = args.device.multiprocessors() * (THREADS_OF_A_MULTIPROCESSOR / self.lanes);
        rows.min(busy).max(rows.div_ceil(256))
    }
}

/// Sums over rows, each group of threads its own, that a second stage adds up.
pub(crate) struct ColumnSums {
    partial: CudaMemory,
    /// How many groups of threads there are.
    pub(crate) groups: usize,
    cols: usize,
    columns: usize,
}

impl ColumnSums {
    /// Room for `n_sums` sums of `cols` columns over `rows` rows.
    pub(crate) fn new(
        args: &CudaArgs<'_>,
        plan: &RowPlan,
        rows: usize,
        cols: usize,
        n_sums: usize,
    ) -> Result<ColumnSums> {
        let (groups, columns) = (plan.groups(args, rows), n_sums * cols);
        let partial = args.workspace(groups * columns * args.elem.compute().size_bytes())?;
        Ok(ColumnSums { partial, groups, cols, columns })
    }

    /// Where the groups write: `[groups, n_sums, cols]` of the compute dtype.
    pub(crate) fn address(&self) -> u64 {
        self.partial.address()
    }

    /// Writes the sums of the first `cols` columns to output 1, and those of the rest to output 2.
    #[track_caller]
    pub(crate) fn finish(&self, args: &CudaArgs<'_>) -> Result<()> {
        args.stage("column_sums")
            .unit("column_sums", args.elem)
            .threads(1024)
            .blocks(self.columns.div_ceil(32))
            .param(self.address())
            .param(args.optional_output(1))
            .param(args.optional_output(2))
            .param(self.groups as u64)
            .param(self.cols as u64)
            .param(self.columns as u64)
            .run()
    }
}

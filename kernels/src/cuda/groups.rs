//! Positions grouped by key on CUDA, for sums that do not depend on the order in which threads run, and what all kernels
//! with an index share.

use super::{CudaArgs, CudaMemory, Stage};
use crate::{DType, Error, ErrorKind, Result};

/// Keys that a block sorts.
const TILE: usize = 2048;
/// Values of a digit, of 8 bits.
const DIGITS: usize = 256;

/// Whether positions and keys below `end` need 64 bits.
pub(crate) fn needs_long(end: usize) -> bool {
    end >= u32::MAX as usize
}

/// The stage, compiled for positions of 64 bits if need be.
pub(crate) fn with_places(stage: Stage<'_>, long: bool) -> Stage<'_> {
    if long { stage.define("LONG_INDEX", 1) } else { stage }
}

/// The bytes of `n` positions.
pub(crate) fn place_bytes(n: usize, long: bool) -> usize {
    n * if long { 8 } else { 4 }
}

/// The dtype of an index as kernels read it.
///
/// # Errors
/// A dtype that is no integer.
#[track_caller]
pub(crate) fn index_dtype(op: &'static str, args: &CudaArgs<'_>, input: usize) -> Result<u32> {
    let dtype = args.input(input).dtype;
    match dtype {
        DType::U8 | DType::U32 | DType::I32 | DType::I64 => Ok(dtype as u32),
        _ => Err(Error::dtype(op, format!("index has dtype {dtype}, expected u8, u32, i32 or i64"))),
    }
}

/// The error of an index that a kernel reports.
pub(crate) fn outside(index: i64, size: i64, at: i64) -> ErrorKind {
    ErrorKind::Index(format!("index {index} at position {at} is out of range for a dim of size {size}"))
}

/// The dtype for which kernels are compiled that only move elements: one for each size.
pub(crate) fn words(dtype: DType) -> DType {
    match dtype.size_bytes() {
        1 => DType::U8,
        2 => DType::F16,
        4 => DType::U32,
        _ => DType::I64,
    }
}

/// The positions `0..n` grouped by key, in order within each key.
pub(crate) struct Groups {
    /// The keys, sorted.
    pub(crate) keys: CudaMemory,
    /// The position of each.
    pub(crate) order: CudaMemory,
}

impl Groups {
    /// Sorts `n` keys of `0..=last`.
    #[track_caller]
    pub(crate) fn new(args: &CudaArgs<'_>, keys: CudaMemory, n: usize, last: usize, long: bool) -> Result<Groups> {
        let tiles = n.div_ceil(TILE);
        let room = |places: usize| args.workspace(place_bytes(places, long));
        let (counts, totals) = (room(DIGITS * tiles)?, room(DIGITS)?);
        let mut from = Groups { keys, order: room(n)? };
        let mut to = Groups { keys: room(n)?, order: room(n)? };
        let stage = |entry, blocks| with_places(args.stage(entry).unit("groups", DType::U32), long).blocks(blocks);
        let (n, tiles_param) = (n as u64, tiles as u64);
        let bits = (usize::BITS - last.leading_zeros()).max(1);
        for shift in (0..bits).step_by(8) {
            let order = if shift == 0 { 0 } else { from.order.address() };
            let count = stage("group_count", tiles).param(from.keys.address()).param(counts.address());
            count.param(n).param(tiles_param).param(shift).run()?;
            stage("group_scan", DIGITS).param(counts.address()).param(totals.address()).param(tiles_param).run()?;
            let sorted = stage("group_move", tiles).param(from.keys.address()).param(order);
            let sorted = sorted.param(to.keys.address()).param(to.order.address());
            let sorted = sorted.param(counts.address()).param(totals.address());
            sorted.param(n).param(tiles_param).param(shift).run()?;
            std::mem::swap(&mut from, &mut to);
        }
        Ok(from)
    }

    /// Where the places of each key of `0..=size` start.
    #[track_caller]
    pub(crate) fn starts(&self, args: &CudaArgs<'_>, n: usize, size: usize, long: bool) -> Result<CudaMemory> {
        let starts = args.workspace(place_bytes(size + 1, long))?;
        let stage = with_places(args.stage("group_starts").unit("groups", DType::U32), long).blocks_for(size + 1);
        stage.param(self.keys.address()).param(starts.address()).param(n as u64).param(size as u64).run()?;
        Ok(starts)
    }
}

//! Positions grouped by key on wgpu, for sums that do not depend on the order in which invocations run.

use bytemuck::{Pod, Zeroable};

use super::args::Workspace;
use super::{Stage, WgpuArgs, size};
use crate::{DType, Result};

/// Keys that a workgroup sorts.
const TILE: usize = 2048;
/// Values of a digit, of 4 bits.
const DIGITS: usize = 16;

/// The kernels' `GroupParams`.
#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct Params {
    n: u32,
    tiles: u32,
    shift: u32,
    is_first: u32,
    size: u32,
}

/// The positions `0..n` grouped by key, in order within each key.
pub(crate) struct Groups {
    /// The keys, sorted.
    pub(crate) keys: Workspace,
    /// The position of each.
    pub(crate) order: Workspace,
}

impl Groups {
    /// Sorts `n` keys of `0..=last`.
    #[track_caller]
    pub(crate) fn new(args: &WgpuArgs<'_>, keys: Workspace, n: usize, last: usize) -> Result<Groups> {
        let tiles = n.div_ceil(TILE);
        let room = |places: usize| args.workspace(DType::U32, places);
        let (counts, totals) = (room(DIGITS * tiles)?, room(DIGITS)?);
        let mut from = Groups { keys, order: room(n)? };
        let mut to = Groups { keys: room(n)?, order: room(n)? };
        let bits = (usize::BITS - last.leading_zeros()).max(1);
        for shift in (0..bits).step_by(4) {
            let is_first = u32::from(shift == 0);
            let params = Params { n: size(n as u64)?, tiles: size(tiles as u64)?, shift, is_first, size: 0 };
            let on = |entry| -> Stage<'_> { args.stage(entry).file("groups").params(&params) };
            let count = on("group_count").read("keys", from.keys.slot()).write("counts", counts.slot());
            count.groups(tiles).run()?;
            let scan = on("group_scan").write("counts", counts.slot()).write("totals", totals.slot());
            scan.groups(DIGITS).run()?;
            let sorted = on("group_move").read("keys", from.keys.slot()).read("order", from.order.slot());
            let sorted = sorted.write("keys_out", to.keys.slot()).write("order_out", to.order.slot());
            let sorted = sorted.read("counts", counts.slot()).read("totals", totals.slot());
            sorted.groups(tiles).run()?;
            std::mem::swap(&mut from, &mut to);
        }
        Ok(from)
    }

    /// Where the places of each key of `0..=last` start.
    #[track_caller]
    pub(crate) fn starts(&self, args: &WgpuArgs<'_>, n: usize, last: usize) -> Result<Workspace> {
        let starts = args.workspace(DType::U32, last + 1)?;
        let params = Params { n: size(n as u64)?, tiles: 0, shift: 0, is_first: 0, size: size(last as u64)? };
        let stage = args.stage("group_starts").file("groups").read("keys", self.keys.slot());
        stage.write("starts", starts.slot()).params(&params).groups_for(last + 1).run()?;
        Ok(starts)
    }
}

//! The places of elements that are not 0, on CUDA: `cuda/nonzero.cu`.

use super::CudaArgs;
use crate::Result;
use crate::index::IndexParams;

/// Elements that a block looks at in one go.
const TILE: usize = 1024;

#[track_caller]
pub(crate) fn nonzero(args: &mut CudaArgs<'_>) -> Result<()> {
    let params: IndexParams = args.params();
    let (x, y) = (args.input(0).address, args.output(0).address);
    if params.size == 0 {
        return Ok(());
    }
    let n = params.n as usize;
    let tiles = n.div_ceil(TILE);
    // At least one part: its block fills what is left of the output.
    let busy = 8 * args.device.multiprocessors();
    let part_len = tiles.div_ceil(busy).max(1) * TILE;
    let parts = n.div_ceil(part_len).max(1);
    let counts = args.workspace((parts + 1) * size_of::<u64>())?;
    let (address, parts_word, part_len) = (counts.address(), parts as u64, part_len as u64);
    let stage = args.stage("nonzero_counts").blocks(parts).param(x).param(address);
    stage.param(params).param(parts_word).param(part_len).run()?;
    args.stage("nonzero_starts").param(address).param(parts_word).run()?;
    let stage = args.stage("nonzero").blocks(parts).param(x).param(y).param(address);
    stage.param(params).param(parts_word).param(part_len).run()
}

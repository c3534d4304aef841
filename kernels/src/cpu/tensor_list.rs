//! Work over the elements of many tensors together, in blocks that never span two tensors.

use rayon::prelude::*;

/// The elements of one block: enough to be worth a task, few enough to stay in the nearest caches.
pub(crate) const BLOCK: usize = 8 * 1024;

/// Calls `f` for each block, on several threads where there are several blocks.
pub(crate) fn for_each_block<B: Send>(blocks: Vec<B>, f: impl Fn(B) + Send + Sync) {
    if blocks.len() < 4 {
        blocks.into_iter().for_each(f);
    } else {
        blocks.into_par_iter().for_each(f);
    }
}

/// `f` of each block, in the blocks' order.
pub(crate) fn map_blocks<B: Send, R: Send>(blocks: Vec<B>, f: impl Fn(B) -> R + Send + Sync) -> Vec<R> {
    if blocks.len() < 4 { blocks.into_iter().map(f).collect() } else { blocks.into_par_iter().map(f).collect() }
}

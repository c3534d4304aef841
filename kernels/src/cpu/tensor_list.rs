//! Work over the elements of many tensors together, in blocks that never span two tensors.

use super::parallel::for_each_part;

/// The elements of one block: enough to be worth a task, few enough to stay in the nearest caches.
pub(crate) const BLOCK: usize = 8 * 1024;

/// Calls `f` for each block, on several threads where there are several blocks.
pub(crate) fn for_each_block<B: Send>(mut blocks: Vec<B>, f: impl Fn(&mut B) + Send + Sync) {
    let per_task = if blocks.len() < 4 { 4 } else { 1 };
    for_each_part(&mut blocks, per_task, |_, blocks| blocks.iter_mut().for_each(&f));
}

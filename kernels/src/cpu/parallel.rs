//! Splitting work over threads. The split depends on the work alone, never on how many threads there are, so that
//! results have the same bits on one thread and on many.

use std::sync::OnceLock;

use rayon::prelude::*;

use crate::Result;

/// Work below this many element operations stays on the calling thread: waking others takes microseconds.
pub const GRAIN: usize = 16 * 1024;

/// Calls `f(index of the first item, chunk)` for consecutive chunks of whole items of `item_len` elements each;
/// `cost` is the work of one item in element operations.
pub fn for_each_chunk<T: Send>(out: &mut [T], item_len: usize, cost: usize, f: impl Fn(usize, &mut [T]) + Send + Sync) {
    if out.is_empty() || item_len == 0 {
        return;
    }
    split(out, item_len, cost, &f);
}

/// Not generic over the closure: the scheduling code is compiled once for each element type.
fn split<T: Send>(out: &mut [T], item_len: usize, cost: usize, f: &(dyn Fn(usize, &mut [T]) + Send + Sync)) {
    let items = out.len() / item_len;
    let per_chunk = items_per_chunk(items, cost);
    if per_chunk >= items {
        return f(0, out);
    }
    for_each_part(out, per_chunk * item_len, |chunk, out| f(chunk * per_chunk, out));
}

/// Calls `f(first..last)` for consecutive ranges of `items`; `cost` is the work of one item.
pub fn for_each_range(items: usize, cost: usize, f: impl Fn(std::ops::Range<usize>) + Send + Sync) {
    split_range(items, cost, &f);
}

fn split_range(items: usize, cost: usize, f: &(dyn Fn(std::ops::Range<usize>) + Send + Sync)) {
    let per_chunk = items_per_chunk(items, cost);
    if per_chunk >= items {
        return f(0..items);
    }
    for_each_task(items.div_ceil(per_chunk), &|chunk| f(chunk * per_chunk..((chunk + 1) * per_chunk).min(items)));
}

/// Calls `f(index, part)` in parallel for consecutive parts of `part_len` elements, of which the last may be shorter.
pub fn for_each_part<T: Send>(out: &mut [T], part_len: usize, f: impl Fn(usize, &mut [T]) + Send + Sync) {
    let len = out.len();
    let start = Start(out.as_mut_ptr());
    for_each_task(len.div_ceil(part_len), &|index| {
        let first = index * part_len;
        // SAFETY: `first` is below `len`, and the part ends at `len` at the latest. Each index is taken once, so no two
        // parts overlap, and `out` is borrowed until all tasks are done.
        let part = unsafe { std::slice::from_raw_parts_mut(start.at(first), part_len.min(len - first)) };
        f(index, part);
    });
}

/// Calls `f(index, item)` in parallel for every item.
pub fn for_each_item<T: Send>(items: &mut [T], f: impl Fn(usize, &mut T) + Send + Sync) {
    for_each_part(items, 1, |index, item| f(index, &mut item[0]));
}

/// As [`for_each_part`], for work that may fail.
///
/// # Errors
/// One of those of `f`; the other parts are done all the same.
pub fn try_for_each_part<T: Send>(
    out: &mut [T],
    part_len: usize,
    f: impl Fn(usize, &mut [T]) -> Result<()> + Send + Sync,
) -> Result<()> {
    let failure = OnceLock::new();
    for_each_part(out, part_len, |index, part| {
        if let Err(error) = f(index, part) {
            // Of several errors any will do, so it does not matter if there is one already.
            let _ = failure.set(error);
        }
    });
    failure.into_inner().map_or(Ok(()), Err)
}

/// The start of a slice whose parts go to several threads.
struct Start<T>(*mut T);

// SAFETY: the threads use it for parts of the slice that do not overlap, as they might use `&mut T` sent to them.
unsafe impl<T: Send> Sync for Start<T> {}

impl<T> Start<T> {
    /// # Safety
    /// `first` is an index of the slice.
    unsafe fn at(&self, first: usize) -> *mut T {
        // SAFETY: the caller keeps `first` inside the slice.
        unsafe { self.0.add(first) }
    }
}

/// Calls `f(task)` in parallel for every task below `tasks`, and a single one on the calling thread.
///
/// The function is not generic on purpose: what rayon makes of one closure is several kilobytes of code, and kernels have
/// hundreds of closures.
pub fn for_each_task(tasks: usize, f: &(dyn Fn(usize) + Sync)) {
    if tasks > 1 {
        (0..tasks).into_par_iter().for_each(f);
    } else {
        (0..tasks).for_each(f);
    }
}

/// How many items one task takes: enough to be worth a task, and few enough that there are some tasks to share.
pub fn items_per_chunk(items: usize, cost: usize) -> usize {
    let total = items.saturating_mul(cost.max(1));
    if total < 2 * GRAIN {
        return items.max(1);
    }
    let worth = GRAIN.div_ceil(cost.max(1));
    worth.max(items.div_ceil(64)).max(1)
}

//! The innermost loops of a fold: over elements that are neighbours in memory.

use std::ops::Range;

use super::block::WIDTH;
use super::fold::Fold;
use crate::Stored;
use crate::cpu::simd::wide;

/// Independent accumulators along a row.
const LANES: usize = 32;

/// Slices of elements: the first begins at `start`, each further one `stride` on.
#[derive(Clone, Copy)]
pub(crate) struct Lines<'a, S> {
    pub(crate) x: &'a [S],
    pub(crate) start: isize,
    pub(crate) stride: isize,
}

impl<'a, S: Stored> Lines<'a, S> {
    /// Line `line`, of `len` elements.
    #[inline(always)]
    fn get(&self, line: usize, len: usize) -> &'a [S] {
        &self.x[(self.start + line as isize * self.stride) as usize..][..len]
    }

    /// The `len` elements at the starts of the first lines as one line: they themselves, if each is the next one's
    /// neighbour, else copies in `block`.
    pub(crate) fn as_neighbours(self, len: usize, block: &'a mut [S; WIDTH]) -> Lines<'a, S> {
        if self.stride == 1 || len == 1 {
            return self;
        }
        for (line, value) in block[..len].iter_mut().enumerate() {
            *value = self.get(line, 1)[0];
        }
        Lines { x: block, start: 0, stride: 0 }
    }
}

/// The loops of a fold. They are all that is compiled for each fold, and the first two for each width of vectors; the ways
/// through memory that call them are compiled for each type of elements and accumulators.
pub(crate) trait Loops<S: Stored, A>: Sync {
    /// The neutral element.
    fn start(&self) -> A;
    /// Folds a line for each output, whose elements have the places `cols`.
    fn fold_lines(&self, given: &[S::Compute], lines: Lines<'_, S>, cols: Range<usize>, accs: &mut [A]);
    /// Takes in a line for each place of `cols`, with one element for each output.
    fn step_lines(&self, given: &[S::Compute], lines: Lines<'_, S>, cols: Range<usize>, accs: &mut [A]);
    /// Merges `from` into `into` and empties it.
    fn flush(&self, from: &mut [A], into: &mut [A]);
}

impl<S: Stored, F: Fold<S>> Loops<S, F::Acc> for F {
    fn start(&self) -> F::Acc {
        Fold::start(*self)
    }

    fn fold_lines(&self, given: &[S::Compute], lines: Lines<'_, S>, cols: Range<usize>, accs: &mut [F::Acc]) {
        wide::<S::Compute, _>(
            #[inline(always)]
            || {
                for (line, (acc, &given)) in accs.iter_mut().zip(given).enumerate() {
                    *acc = fold_slice(*self, given, lines.get(line, cols.len()), cols.start);
                }
            },
        );
    }

    fn step_lines(&self, given: &[S::Compute], lines: Lines<'_, S>, cols: Range<usize>, accs: &mut [F::Acc]) {
        let fold = *self;
        wide::<S::Compute, _>(
            #[inline(always)]
            || {
                for (line, position) in cols.enumerate() {
                    for ((acc, &x), &given) in accs.iter_mut().zip(lines.get(line, given.len())).zip(given) {
                        *acc = fold.step(*acc, x, given, position as i64);
                    }
                }
            },
        );
    }

    fn flush(&self, from: &mut [F::Acc], into: &mut [F::Acc]) {
        for (from, into) in from.iter_mut().zip(into) {
            *into = self.merge(*into, *from);
            *from = Fold::start(*self);
        }
    }
}

/// Folds a slice with several accumulators at once.
#[inline(always)]
fn fold_slice<S: Stored, F: Fold<S>>(fold: F, given: S::Compute, x: &[S], position: usize) -> F::Acc {
    let chunks = x.chunks_exact(LANES);
    let rest = chunks.remainder();
    let mut tail = fold.start();
    for (j, &x) in rest.iter().enumerate() {
        tail = fold.step(tail, x, given, (position + chunks.len() * LANES + j) as i64);
    }
    if chunks.len() == 0 {
        return tail;
    }
    let mut lanes = [fold.start(); LANES];
    for (chunk, x) in chunks.enumerate() {
        let first = (position + chunk * LANES) as i64;
        for (lane, acc) in lanes.iter_mut().enumerate() {
            *acc = fold.step(*acc, x[lane], given, first + lane as i64);
        }
    }
    let mut half = LANES / 2;
    while half > 0 {
        for lane in 0..half {
            lanes[lane] = fold.merge(lanes[lane], lanes[lane + half]);
        }
        half /= 2;
    }
    fold.merge(lanes[0], tail)
}

//! The two ways through memory: along the reduced dims for each output, or along the outputs for each reduced element.

use super::fold::Fold;
use crate::Stored;
use crate::cpu::parallel::{GRAIN, for_each_part};
use crate::cpu::strided::wide;
use crate::dims::{Dims, Run};
use std::ops::Range;

/// Outputs that one block folds together: as accumulators they fit the first cache.
pub(crate) const WIDTH: usize = 256;
/// Independent accumulators along a row.
const LANES: usize = 32;
/// Elements of a row that are folded before the result goes into a pairwise cascade.
const RUN: usize = 4096;
/// Elements of a column that are folded before the result goes up a level.
const COLUMN_RUN: usize = 64;
/// Parts that one reduction is split into at most.
const MAX_PARTS: usize = 64;

/// An input as `rows` outputs of `cols` reduced elements each, anywhere in memory.
pub(crate) struct Plan<'a, S> {
    pub(crate) x: &'a [S],
    pub(crate) offset: isize,
    pub(crate) kept: Dims,
    pub(crate) reduced: Dims,
    pub(crate) rows: usize,
    pub(crate) cols: usize,
}

/// Some outputs of a plan, whose reduced elements are perhaps shared out over several tasks.
pub(crate) struct Block<'a, S> {
    plan: &'a Plan<'a, S>,
    rows: Range<usize>,
    parts: usize,
}

impl<'a, S: Stored> Plan<'a, S> {
    /// Whether neighbours in memory belong to neighbouring outputs rather than to one output.
    fn by_columns(&self) -> bool {
        let (kept_len, kept_stride) = self.kept.innermost();
        let (reduced_len, reduced_stride) = self.reduced.innermost();
        kept_len > 1 && reduced_len > 1 && kept_stride.unsigned_abs() < reduced_stride.unsigned_abs()
    }

    /// How many tasks share one output's elements. It depends on the sizes alone, so results do too.
    fn parts(&self) -> usize {
        let units = if self.by_columns() { self.rows.div_ceil(WIDTH) } else { self.rows };
        let work = self.rows.saturating_mul(self.cols);
        if units >= MAX_PARTS / 2 || work < 2 * GRAIN {
            return 1;
        }
        MAX_PARTS.min(work / GRAIN).min(self.cols / COLUMN_RUN).max(1)
    }

    /// Calls `f` with each block of outputs and where to write them.
    pub(crate) fn for_each_block<O: Stored>(&self, y: &mut [O], f: &(dyn Fn(&Block<'_, S>, &mut [O]) + Sync)) {
        debug_assert_eq!(y.len(), self.rows);
        let parts = self.parts();
        if parts > 1 {
            return f(&Block { plan: self, rows: 0..self.rows, parts }, y);
        }
        let per_block = if self.by_columns() { WIDTH } else { (GRAIN / self.cols.max(1)).clamp(1, WIDTH) };
        let block = |index: usize, y: &mut [O]| {
            let first = index * per_block;
            f(&Block { plan: self, rows: first..first + y.len(), parts: 1 }, y);
        };
        if self.rows.saturating_mul(self.cols.max(1)) < 2 * GRAIN {
            y.chunks_mut(per_block).enumerate().for_each(|(index, y)| block(index, y));
        } else {
            for_each_part(y, per_block, block);
        }
    }

    /// Folds elements `cols` of outputs `rows` into `accs`, on this thread.
    fn fold_into<F: Fold<S>>(
        &self,
        fold: F,
        given: &[F::Given],
        rows: Range<usize>,
        cols: Range<usize>,
        accs: &mut [F::Acc],
    ) {
        let mut done = 0;
        for run in self.kept.runs(rows) {
            let outputs = done..done + run.len;
            let (given, accs) = (&given[outputs.clone()], &mut accs[outputs]);
            let run = Run { offset: self.offset + run.offset, ..run };
            if self.by_columns() {
                self.fold_columns(fold, given, run, cols.clone(), accs);
            } else {
                self.fold_rows(fold, given, run, cols.clone(), accs);
            }
            done += run.len;
        }
    }

    /// Folds the outputs of a run one after the other.
    fn fold_rows<F: Fold<S>>(&self, fold: F, given: &[F::Given], run: Run, cols: Range<usize>, accs: &mut [F::Acc]) {
        let is_line = self.reduced.rank() < 2 && (self.reduced.innermost().1 == 1 || cols.len() == 1);
        if is_line && (1..=RUN).contains(&cols.len()) {
            let start = run.offset + cols.start as isize;
            return fold_lines(fold, given, Lines { x: self.x, start, stride: run.stride }, cols, accs);
        }
        for (j, (acc, &given)) in accs.iter_mut().zip(given).enumerate() {
            *acc = self.fold_row(fold, given, run.offset + j as isize * run.stride, cols.clone());
        }
    }

    /// Folds one output, in pieces of neighbours or pieces that are made such.
    fn fold_row<F: Fold<S>>(&self, fold: F, given: F::Given, offset: isize, cols: Range<usize>) -> F::Acc {
        let mut total = Cascade::new(fold.start());
        let mut gathered = [S::default(); WIDTH];
        for run in self.reduced.runs(cols) {
            let piece = if run.stride == 1 { RUN } else { WIDTH };
            for first in (0..run.len).step_by(piece) {
                let len = piece.min(run.len - first);
                let start = offset + run.offset + first as isize * run.stride;
                let (mut acc, cols) = ([fold.start()], run.first + first..run.first + first + len);
                let lines = Lines { x: self.x, start, stride: run.stride }.as_neighbours(len, &mut gathered);
                fold_lines(fold, &[given], lines, cols, &mut acc);
                total.push(acc[0], |a, b| fold.merge(a, b));
            }
        }
        total.finish(fold.start(), |a, b| fold.merge(a, b))
    }

    /// Folds the outputs of a run side by side, a strip of them at a time.
    fn fold_columns<F: Fold<S>>(&self, fold: F, given: &[F::Given], run: Run, cols: Range<usize>, accs: &mut [F::Acc]) {
        let strips = given.chunks(WIDTH).zip(accs.chunks_mut(WIDTH)).enumerate();
        for (strip, (given, accs)) in strips {
            let offset = run.offset + (strip * WIDTH) as isize * run.stride;
            self.fold_strip(fold, given, Run { offset, ..run }, cols.clone(), accs);
        }
    }

    /// Folds one strip. Three levels of accumulators keep the chains of additions short.
    fn fold_strip<F: Fold<S>>(&self, fold: F, given: &[F::Given], strip: Run, cols: Range<usize>, accs: &mut [F::Acc]) {
        let width = accs.len();
        accs.fill(fold.start());
        let mut gathered = [S::default(); WIDTH];
        let (mut low, mut middle) = ([fold.start(); WIDTH], [fold.start(); WIDTH]);
        let (low, middle) = (&mut low[..width], &mut middle[..width]);
        let (mut in_low, mut in_middle) = (0, 0);
        for run in self.reduced.runs(cols) {
            let mut done = 0;
            while done < run.len {
                let start = strip.offset + run.offset + done as isize * run.stride;
                let lines = Lines { x: self.x, start, stride: strip.stride }.as_neighbours(width, &mut gathered);
                let len = if strip.stride == 1 { (COLUMN_RUN - in_low).min(run.len - done) } else { 1 };
                let first = run.first + done;
                step_lines(fold, given, Lines { stride: run.stride, ..lines }, first..first + len, low);
                (done, in_low) = (done + len, in_low + len);
                if in_low == COLUMN_RUN {
                    flush(fold, low, middle);
                    (in_low, in_middle) = (0, in_middle + 1);
                }
                if in_middle == COLUMN_RUN {
                    flush(fold, middle, accs);
                    in_middle = 0;
                }
            }
        }
        flush(fold, low, middle);
        flush(fold, middle, accs);
    }
}

impl<S: Stored> Block<'_, S> {
    /// How many outputs there are.
    pub(crate) fn len(&self) -> usize {
        self.rows.len()
    }

    /// One pass over the block's elements: an accumulator per output.
    pub(crate) fn fold<F: Fold<S>>(&self, fold: F, given: &[F::Given]) -> Vec<F::Acc> {
        let (n, cols) = (self.rows.len(), self.plan.cols);
        let mut accs = vec![fold.start(); n * self.parts];
        let per_part = cols.div_ceil(self.parts);
        let part = |index: usize, accs: &mut [F::Acc]| {
            let cols = (index * per_part).min(cols)..((index + 1) * per_part).min(cols);
            self.plan.fold_into(fold, given, self.rows.clone(), cols, accs);
        };
        if self.parts == 1 {
            part(0, &mut accs);
            return accs;
        }
        for_each_part(&mut accs, n, part);
        let mut parts = self.parts;
        while parts > 1 {
            let half = parts.div_ceil(2);
            let (front, back) = accs.split_at_mut(half * n);
            flush(fold, &mut back[..(parts - half) * n], front);
            parts = half;
        }
        accs.truncate(n);
        accs
    }

    /// One pass that needs nothing given.
    pub(crate) fn fold_plain<F: Fold<S, Given = ()>>(&self, fold: F) -> Vec<F::Acc> {
        self.fold(fold, &vec![(); self.rows.len()])
    }
}

/// Slices of elements: the first begins at `start`, each further one `stride` on.
#[derive(Clone, Copy)]
struct Lines<'a, S> {
    x: &'a [S],
    start: isize,
    stride: isize,
}

impl<'a, S: Stored> Lines<'a, S> {
    /// Line `line`, of `len` elements.
    #[inline(always)]
    fn get(&self, line: usize, len: usize) -> &'a [S] {
        &self.x[(self.start + line as isize * self.stride) as usize..][..len]
    }

    /// The `len` elements at the starts of the first lines as one line: they themselves, if each is the next one's
    /// neighbour, else copies in `block`.
    fn as_neighbours(self, len: usize, block: &'a mut [S; WIDTH]) -> Lines<'a, S> {
        if self.stride == 1 || len == 1 {
            return self;
        }
        for (line, value) in block[..len].iter_mut().enumerate() {
            *value = self.get(line, 1)[0];
        }
        Lines { x: block, start: 0, stride: 0 }
    }
}

// Of a fold, only the loops of the next two functions are compiled for each width of vectors.

/// Folds a line for each output, whose elements have the places `cols`.
fn fold_lines<S: Stored, F: Fold<S>>(
    fold: F,
    given: &[F::Given],
    lines: Lines<'_, S>,
    cols: Range<usize>,
    accs: &mut [F::Acc],
) {
    wide::<S::Compute, _>(
        #[inline(always)]
        || {
            for (line, (acc, &given)) in accs.iter_mut().zip(given).enumerate() {
                *acc = fold_slice(fold, given, lines.get(line, cols.len()), cols.start);
            }
        },
    );
}

/// Takes in a line for each place of `cols`, with one element for each output.
fn step_lines<S: Stored, F: Fold<S>>(
    fold: F,
    given: &[F::Given],
    lines: Lines<'_, S>,
    cols: Range<usize>,
    accs: &mut [F::Acc],
) {
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

/// Merges `from` into `into` and empties it.
fn flush<S: Stored, F: Fold<S>>(fold: F, from: &mut [F::Acc], into: &mut [F::Acc]) {
    for (from, into) in from.iter_mut().zip(into) {
        *into = fold.merge(*into, *from);
        *from = fold.start();
    }
}

/// Folds a slice with several accumulators at once.
#[inline(always)]
fn fold_slice<S: Stored, F: Fold<S>>(fold: F, given: F::Given, x: &[S], position: usize) -> F::Acc {
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

/// Merges a sequence pairwise, as a tree over its places, so that rounding grows with the logarithm of its length.
struct Cascade<A> {
    /// `levels[n]` holds 2^n merged items where bit `n` of `count` is set.
    levels: [A; 48],
    count: usize,
}

impl<A: Copy> Cascade<A> {
    fn new(start: A) -> Self {
        Cascade { levels: [start; 48], count: 0 }
    }

    fn push(&mut self, item: A, merge: impl Fn(A, A) -> A) {
        let mut carry = item;
        let mut level = 0;
        while self.count >> level & 1 == 1 {
            carry = merge(self.levels[level], carry);
            level += 1;
        }
        self.levels[level] = carry;
        self.count += 1;
    }

    fn finish(self, start: A, merge: impl Fn(A, A) -> A) -> A {
        let mut total = start;
        for level in 0..self.levels.len() {
            if self.count >> level & 1 == 1 {
                total = merge(self.levels[level], total);
            }
        }
        total
    }
}

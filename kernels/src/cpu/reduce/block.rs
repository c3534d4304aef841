//! The two ways through memory: along the reduced dims for each output, or along the outputs for each reduced element.

use super::lines::{Lines, Loops};
use crate::Stored;
use crate::cpu::parallel::{GRAIN, for_each_part};
use crate::dims::{Dims, Run};
use std::ops::Range;

/// Outputs that one block folds together: as accumulators they fit the first cache.
pub(crate) const WIDTH: usize = 256;
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
    fn fold_into<A: Copy>(
        &self,
        fold: &dyn Loops<S, A>,
        given: &[S::Compute],
        rows: Range<usize>,
        cols: Range<usize>,
        accs: &mut [A],
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
    fn fold_rows<A: Copy>(
        &self,
        fold: &dyn Loops<S, A>,
        given: &[S::Compute],
        run: Run,
        cols: Range<usize>,
        accs: &mut [A],
    ) {
        let is_line = self.reduced.rank() < 2 && (self.reduced.innermost().1 == 1 || cols.len() == 1);
        if is_line && (1..=RUN).contains(&cols.len()) {
            let start = run.offset + cols.start as isize;
            return fold.fold_lines(given, Lines { x: self.x, start, stride: run.stride }, cols, accs);
        }
        for (j, (acc, &given)) in accs.iter_mut().zip(given).enumerate() {
            *acc = self.fold_row(fold, given, run.offset + j as isize * run.stride, cols.clone());
        }
    }

    /// Folds one output, in pieces of neighbours or pieces that are made such.
    fn fold_row<A: Copy>(&self, fold: &dyn Loops<S, A>, given: S::Compute, offset: isize, cols: Range<usize>) -> A {
        let mut total = Cascade::new(fold.start());
        let mut gathered = [S::default(); WIDTH];
        for run in self.reduced.runs(cols) {
            let piece = if run.stride == 1 { RUN } else { WIDTH };
            for first in (0..run.len).step_by(piece) {
                let len = piece.min(run.len - first);
                let start = offset + run.offset + first as isize * run.stride;
                let (mut acc, cols) = ([fold.start()], run.first + first..run.first + first + len);
                let lines = Lines { x: self.x, start, stride: run.stride }.as_neighbours(len, &mut gathered);
                fold.fold_lines(&[given], lines, cols, &mut acc);
                total.push(acc[0], fold);
            }
        }
        total.finish(fold)
    }

    /// Folds the outputs of a run side by side, a strip of them at a time.
    fn fold_columns<A: Copy>(
        &self,
        fold: &dyn Loops<S, A>,
        given: &[S::Compute],
        run: Run,
        cols: Range<usize>,
        accs: &mut [A],
    ) {
        let strips = given.chunks(WIDTH).zip(accs.chunks_mut(WIDTH)).enumerate();
        for (strip, (given, accs)) in strips {
            let offset = run.offset + (strip * WIDTH) as isize * run.stride;
            self.fold_strip(fold, given, Run { offset, ..run }, cols.clone(), accs);
        }
    }

    /// Folds one strip. Three levels of accumulators keep the chains of additions short.
    fn fold_strip<A: Copy>(
        &self,
        fold: &dyn Loops<S, A>,
        given: &[S::Compute],
        strip: Run,
        cols: Range<usize>,
        accs: &mut [A],
    ) {
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
                fold.step_lines(given, Lines { stride: run.stride, ..lines }, first..first + len, low);
                (done, in_low) = (done + len, in_low + len);
                if in_low == COLUMN_RUN {
                    fold.flush(low, middle);
                    (in_low, in_middle) = (0, in_middle + 1);
                }
                if in_middle == COLUMN_RUN {
                    fold.flush(middle, accs);
                    in_middle = 0;
                }
            }
        }
        fold.flush(low, middle);
        fold.flush(middle, accs);
    }
}

impl<S: Stored> Block<'_, S> {
    /// How many outputs there are.
    pub(crate) fn len(&self) -> usize {
        self.rows.len()
    }

    /// One pass over the block's elements: an accumulator per output.
    pub(crate) fn fold<A: Copy + Send + Sync>(&self, fold: &dyn Loops<S, A>, given: &[S::Compute]) -> Vec<A> {
        let (n, cols) = (self.rows.len(), self.plan.cols);
        let mut accs = vec![fold.start(); n * self.parts];
        let per_part = cols.div_ceil(self.parts);
        let part = |index: usize, accs: &mut [A]| {
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
            fold.flush(&mut back[..(parts - half) * n], front);
            parts = half;
        }
        accs.truncate(n);
        accs
    }

    /// One pass that needs nothing given.
    pub(crate) fn fold_plain<A: Copy + Send + Sync>(&self, fold: &dyn Loops<S, A>) -> Vec<A> {
        self.fold(fold, &vec![S::Compute::default(); self.rows.len()])
    }
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

    fn push<S>(&mut self, item: A, fold: &dyn Loops<S, A>)
    where
        S: Stored,
    {
        let mut carry = [item];
        let mut level = 0;
        while self.count >> level & 1 == 1 {
            // What came first goes first.
            let mut first = [self.levels[level]];
            fold.flush(&mut carry, &mut first);
            carry = first;
            level += 1;
        }
        self.levels[level] = carry[0];
        self.count += 1;
    }

    fn finish<S: Stored>(mut self, fold: &dyn Loops<S, A>) -> A {
        let mut total = [fold.start()];
        for level in (0..self.levels.len()).filter(|level| self.count >> level & 1 == 1) {
            let first = &mut self.levels[level..=level];
            fold.flush(&mut total, first);
            total[0] = first[0];
        }
        total[0]
    }
}

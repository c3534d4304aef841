//! The two ways through memory: along the reduced dims for each output, or along the outputs for each reduced element.

use rayon::prelude::*;

use super::fold::Fold;
use crate::Stored;
use crate::cpu::parallel::GRAIN;
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
    pub(crate) fn for_each_block<O: Stored>(&self, y: &mut [O], f: impl Fn(&Block<'_, S>, &mut [O]) + Send + Sync) {
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
            y.par_chunks_mut(per_block).enumerate().for_each(|(index, y)| block(index, y));
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
        let by_columns = self.by_columns();
        let unit = if by_columns { self.kept.innermost().1 == 1 } else { self.reduced.innermost().1 == 1 };
        match (by_columns, unit) {
            (false, true) => wide::<S::Compute, _>(
                #[inline(always)]
                || {
                    self.by_row(
                        rows,
                        given,
                        accs,
                        #[inline(always)]
                        |given, at| self.fold_row(fold, given, at, cols.clone()),
                    )
                },
            ),
            (false, false) => {
                self.by_row(rows, given, accs, |given, at| self.fold_stepped(fold, given, at, cols.clone()))
            }
            (true, true) => wide::<S::Compute, _>(
                #[inline(always)]
                || self.by_strip(fold, rows, given, accs, &cols, UnitStep),
            ),
            (true, false) => self.by_strip(fold, rows, given, accs, &cols, AnyStep(self.kept.innermost().1)),
        }
    }

    /// Calls `f(given, offset)` for each output, and keeps what it returns.
    #[inline(always)]
    fn by_row<A, G: Copy>(&self, rows: Range<usize>, given: &[G], accs: &mut [A], f: impl Fn(G, isize) -> A) {
        let start = rows.start;
        self.kept.for_each_run(
            rows,
            #[inline(always)]
            |run| {
                for j in 0..run.len {
                    let i = run.first + j - start;
                    accs[i] = f(given[i], self.offset + run.offset + j as isize * run.stride);
                }
            },
        );
    }

    /// Folds one output whose innermost reduced dim is contiguous.
    #[inline(always)]
    fn fold_row<F: Fold<S>>(&self, fold: F, given: F::Given, offset: isize, cols: Range<usize>) -> F::Acc {
        let mut total = Cascade::new(fold.start());
        self.reduced.for_each_run(
            cols,
            #[inline(always)]
            |run| {
                let start = (offset + run.offset) as usize;
                for (block, x) in self.x[start..start + run.len].chunks(RUN).enumerate() {
                    let acc = fold_slice(fold, given, x, run.first + block * RUN);
                    total.push(
                        acc,
                        #[inline(always)]
                        |a, b| fold.merge(a, b),
                    );
                }
            },
        );
        total.finish(
            fold.start(),
            #[inline(always)]
            |a, b| fold.merge(a, b),
        )
    }

    /// Folds one output with any strides.
    fn fold_stepped<F: Fold<S>>(&self, fold: F, given: F::Given, offset: isize, cols: Range<usize>) -> F::Acc {
        let mut total = Cascade::new(fold.start());
        self.reduced.for_each_run(
            cols,
            #[inline(always)]
            |run| {
                for block in (0..run.len).step_by(COLUMN_RUN) {
                    let mut acc = fold.start();
                    for j in block..(block + COLUMN_RUN).min(run.len) {
                        let x = self.x[(offset + run.offset + j as isize * run.stride) as usize];
                        acc = fold.step(acc, x, given, (run.first + j) as i64);
                    }
                    total.push(acc, |a, b| fold.merge(a, b));
                }
            },
        );
        total.finish(
            fold.start(),
            #[inline(always)]
            |a, b| fold.merge(a, b),
        )
    }

    /// Folds outputs in strips of neighbours, one reduced element of each after the other.
    #[inline(always)]
    fn by_strip<F: Fold<S>>(
        &self,
        fold: F,
        rows: Range<usize>,
        given: &[F::Given],
        accs: &mut [F::Acc],
        cols: &Range<usize>,
        step: impl Step,
    ) {
        let start = rows.start;
        self.kept.for_each_run(
            rows,
            #[inline(always)]
            |run| {
                for first in (0..run.len).step_by(WIDTH) {
                    let at = run.first + first - start;
                    let strip = at..at + WIDTH.min(run.len - first);
                    let offset = self.offset + run.offset + first as isize * run.stride;
                    self.fold_strip(fold, &given[strip.clone()], &mut accs[strip], offset, cols.clone(), step);
                }
            },
        );
    }

    /// Folds one strip. Three levels of accumulators keep the chains of additions short.
    #[inline(always)]
    fn fold_strip<F: Fold<S>>(
        &self,
        fold: F,
        given: &[F::Given],
        accs: &mut [F::Acc],
        offset: isize,
        cols: Range<usize>,
        step: impl Step,
    ) {
        let width = accs.len();
        accs.fill(fold.start());
        let (mut low, mut middle) = ([fold.start(); WIDTH], [fold.start(); WIDTH]);
        let (low, middle) = (&mut low[..width], &mut middle[..width]);
        let (mut in_low, mut in_middle) = (0, 0);
        self.reduced.for_each_run(
            cols,
            #[inline(always)]
            |run: Run| {
                for j in 0..run.len {
                    let start = offset + run.offset + j as isize * run.stride;
                    step.fold(fold, low, self.x, start, given, (run.first + j) as i64);
                    in_low += 1;
                    if in_low == COLUMN_RUN {
                        flush(fold, low, middle);
                        (in_low, in_middle) = (0, in_middle + 1);
                    }
                    if in_middle == COLUMN_RUN {
                        flush(fold, middle, accs);
                        in_middle = 0;
                    }
                }
            },
        );
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
        accs.par_chunks_mut(n).enumerate().for_each(|(index, accs)| part(index, accs));
        let mut parts = self.parts;
        while parts > 1 {
            let half = parts.div_ceil(2);
            let (front, back) = accs.split_at_mut(half * n);
            front.iter_mut().zip(&back[..(parts - half) * n]).for_each(|(a, &b)| *a = fold.merge(*a, b));
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

/// How to reach the next output of a strip.
trait Step: Copy {
    fn fold<S: Stored, F: Fold<S>>(
        self,
        fold: F,
        accs: &mut [F::Acc],
        x: &[S],
        start: isize,
        given: &[F::Given],
        position: i64,
    );
}

#[derive(Clone, Copy)]
struct UnitStep;
#[derive(Clone, Copy)]
struct AnyStep(isize);

impl Step for UnitStep {
    #[inline(always)]
    fn fold<S: Stored, F: Fold<S>>(
        self,
        fold: F,
        accs: &mut [F::Acc],
        x: &[S],
        start: isize,
        given: &[F::Given],
        position: i64,
    ) {
        let x = &x[start as usize..start as usize + accs.len()];
        for ((acc, &x), &given) in accs.iter_mut().zip(x).zip(given) {
            *acc = fold.step(*acc, x, given, position);
        }
    }
}

impl Step for AnyStep {
    #[inline(always)]
    fn fold<S: Stored, F: Fold<S>>(
        self,
        fold: F,
        accs: &mut [F::Acc],
        x: &[S],
        start: isize,
        given: &[F::Given],
        position: i64,
    ) {
        for (j, (acc, &given)) in accs.iter_mut().zip(given).enumerate() {
            *acc = fold.step(*acc, x[(start + j as isize * self.0) as usize], given, position);
        }
    }
}

/// Merges `from` into `into` and empties it.
#[inline(always)]
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
    #[inline(always)]
    fn new(start: A) -> Self {
        Cascade { levels: [start; 48], count: 0 }
    }

    #[inline(always)]
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

    #[inline(always)]
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

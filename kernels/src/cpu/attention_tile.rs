//! Tiles of attention scores, `[keys][queries]`: what forward and backward share.

use crate::cpu::attention_head::{BLOCK, Head, HeadSizes, Rows, Tile};
use crate::cpu::instructions::{Instructions, Lane};
use crate::cpu::tile::{Lhs, Out, Rhs, STEP, product, product_of_seen, transpose};

/// Lanes that share a causal limit: what one product computes at a time.
pub(crate) const PANEL: usize = 2 * STEP;

/// Keys or queries whose causal limits are rounded together: rows of one product in registers.
const GROUP: usize = 8;

/// `to[col][row] = rows[row][col] * scale`, with zeros in the lanes beyond the last row.
#[inline(always)]
pub(crate) fn pack_transposed<T: Lane>(
    rows: Rows<'_, T>,
    [count, cols]: [usize; 2],
    width: usize,
    to: &mut [T],
    scale: f64,
) {
    if count < width {
        to.fill(T::ZERO);
    }
    transpose([count, cols], (rows.data, rows.stride), (to, width), T::from_f64(scale));
}

/// True where some query of the tile does not see some key of it by causality.
#[inline(always)]
pub(crate) fn is_diagonal(sizes: &HeadSizes, tile: Tile) -> bool {
    sizes.seen(tile.query, tile.key, tile.keys) < tile.keys
}

/// Step 1: the tile of scores `[keys][queries]`, and for each panel of lanes how many keys its last query sees. What lies
/// beyond these is not computed.
#[inline(always)]
pub(crate) fn scores_tile<I: Instructions, T: Lane>(
    head: &dyn Head<T>,
    sizes: &HeadSizes,
    tile: Tile,
    k: Rows<'_, T>,
    q_t: &[T],
    scores: &mut [T],
) -> [usize; BLOCK / PANEL] {
    let Tile { query, queries, width, key, keys } = tile;
    let mut limits = [0; BLOCK / PANEL];
    for (panel, limit) in (0..width).step_by(PANEL).zip(&mut limits) {
        let last = (panel + PANEL).min(queries) - 1;
        // Whole groups of keys, so that backward products over groups read nothing that is not computed.
        *limit = sizes.seen(query + last, key, keys).next_multiple_of(8).min(keys);
        let shape = [*limit, PANEL.min(width - panel), sizes.head_dim];
        let k = Lhs { data: k.data, row: k.stride, depth: 1 };
        let q = Rhs { data: &q_t[panel.min(q_t.len())..], row: width };
        product::<I, T>(shape, k, q, Out { data: &mut scores[panel..], row: width, accumulate: false });
    }
    if sizes.is_adjusted {
        head.adjust(tile, scores);
    }
    if is_diagonal(sizes, tile) {
        for (at, scores) in scores.chunks_exact_mut(width).take(keys).enumerate() {
            scores[..sizes.first_seer(query, key + at, width)].fill(T::NEG_INFINITY);
        }
    }
    limits
}

/// Weights times the dropout's factors.
#[inline(always)]
pub(crate) fn drop_weights<T: Lane>(factors: &[T], weights: &mut [T]) {
    for (weight, factor) in weights.iter_mut().zip(factors) {
        *weight *= *factor;
    }
}

/// The products of a tile of weights, or of their gradients, with rows; what causality hides is skipped.
pub(crate) struct Products<'a> {
    pub(crate) sizes: &'a HeadSizes,
    pub(crate) tile: Tile,
    /// False where hidden factors are not finite and must be passed over one by one.
    pub(crate) is_exact: bool,
}

impl Products<'_> {
    /// `out[key][..] += sum over queries of weights[key][query] * rows[query][..]`: dv from p and do,
    /// dk from ds and q.
    #[inline(always)]
    pub(crate) fn over_queries<I: Instructions, T: Lane>(
        &self,
        weights: &[T],
        (rows, cols): (&[T], usize),
        out: &mut [T],
    ) {
        let Tile { query, queries, width, key, keys } = self.tile;
        let group = if is_diagonal(self.sizes, self.tile) { GROUP } else { keys };
        for at in (0..keys).step_by(group) {
            let start = self.sizes.first_seer(query, key + at, queries);
            let shape = [group.min(keys - at), cols, queries - start];
            if shape.contains(&0) {
                continue;
            }
            let left = Lhs { data: &weights[at * width + start..], row: width, depth: 1 };
            let right = Rhs { data: &rows[start * cols..], row: cols };
            let out = Out { data: &mut out[at * cols..], row: cols, accumulate: true };
            match self.is_exact {
                true => product::<I, T>(shape, left, right, out),
                false => product_of_seen(shape, left, right, out),
            }
        }
    }

    /// `out[query][..] += sum over keys of weights[key][query] * rows[key][..]`: o from p and v,
    /// dq from ds and k.
    #[inline(always)]
    pub(crate) fn over_keys<I: Instructions, T: Lane>(
        &self,
        weights: &[T],
        rows: Rows<'_, T>,
        (out, cols): (&mut [T], usize),
    ) {
        let Tile { query, queries, width, key, keys } = self.tile;
        let group = if is_diagonal(self.sizes, self.tile) { GROUP } else { queries };
        for at in (0..queries).step_by(group) {
            let last = (at + group).min(queries) - 1;
            let shape = [last + 1 - at, cols, self.sizes.seen(query + last, key, keys)];
            if shape.contains(&0) {
                continue;
            }
            let left = Lhs { data: &weights[at..], row: 1, depth: width };
            let right = Rhs { data: rows.data, row: rows.stride };
            let out = Out { data: &mut out[at * cols..], row: cols, accumulate: true };
            match self.is_exact {
                true => product::<I, T>(shape, left, right, out),
                false => product_of_seen(shape, left, right, out),
            }
        }
    }
}

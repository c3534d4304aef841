//! What one head of attention reads and writes: rows in compute precision, bias, mask and dropout of a tile of scores.
//!
//! This is where the stored dtype and the strides end: the blocked loops see dense tiles of f32 or f64 only. Tiles of
//! scores are transposed, `[keys][queries]`, so that what belongs to one query lies in one lane of a register.

use crate::attention::AttentionParams;
use crate::cpu::instructions::Lane;
use crate::cpu::matrix_view::MatrixView;
use crate::cpu::random::fill_words;
use crate::cpu::shared_rows::SharedRows;
use crate::cpu::simd::wide;
use crate::philox::{LANES, Stream};
use crate::{Bool, CpuArgs, Result, Stored};

/// Queries and keys of a tile.
pub(crate) const BLOCK: usize = 64;

/// What the loops need to know of a head, whatever the dtype.
#[derive(Clone, Copy)]
pub(crate) struct HeadSizes {
    pub(crate) batch: usize,
    pub(crate) head: usize,
    /// The keys of this batch: all, or its key length.
    pub(crate) k_len: usize,
    pub(crate) head_dim: usize,
    pub(crate) value_dim: usize,
    pub(crate) scale: f64,
    /// Key j is seen by query i if `j <= i + offset`.
    pub(crate) causal: Option<i64>,
    pub(crate) has_mask: bool,
    /// True where scores of a tile need [`Head::adjust`].
    pub(crate) is_adjusted: bool,
    pub(crate) has_dropout: bool,
}

impl HeadSizes {
    /// How many of the keys from `key` on, at most `most`, query `query` may see by causality.
    #[inline(always)]
    pub(crate) fn seen(&self, query: usize, key: usize, most: usize) -> usize {
        match self.causal {
            Some(offset) => (query as i64 + offset + 1 - key as i64).clamp(0, most as i64) as usize,
            None => most,
        }
    }

    /// The first of `most` queries from `query` on that sees key `key` by causality; `most` where none does.
    #[inline(always)]
    pub(crate) fn first_seer(&self, query: usize, key: usize, most: usize) -> usize {
        match self.causal {
            Some(offset) => (key as i64 - offset - query as i64).clamp(0, most as i64) as usize,
            None => 0,
        }
    }
}

/// Rows of elements that are neighbours.
#[derive(Clone, Copy)]
pub(crate) struct Rows<'a, T> {
    pub(crate) data: &'a [T],
    /// The distance of rows.
    pub(crate) stride: usize,
}

/// The tensors that a head reads.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Operand {
    Query,
    Key,
    Value,
    Output,
    OutputGradient,
}

/// A tile of scores: queries from `query` on (`queries` of them, in rows of `width` lanes), keys from `key` on.
#[derive(Clone, Copy)]
pub(crate) struct Tile {
    pub(crate) query: usize,
    pub(crate) queries: usize,
    pub(crate) width: usize,
    pub(crate) key: usize,
    pub(crate) keys: usize,
}

/// One head in compute precision.
pub(crate) trait Head<T: Lane>: Sync {
    /// Rows `first..first + count` of an operand: in place where they are dense, else in `scratch`, with rows padded
    /// with zeros to `width`.
    fn rows<'s>(
        &'s self,
        operand: Operand,
        first: usize,
        count: usize,
        width: usize,
        scratch: &'s mut [T],
    ) -> Rows<'s, T>;
    /// Adds the bias to a tile of scores and sets those of masked keys to negative infinity.
    fn adjust(&self, tile: Tile, scores: &mut [T]);
    /// Writes the dropout's factor of every weight of a tile: zero, or `1 / (1 - p)`.
    fn dropout(&self, tile: Tile, factors: &mut [T]);
    /// Writes rows of o (forward) or dq (backward), from `first` on; sizes are rows and columns.
    fn store(&self, first: usize, rows: Rows<'_, T>, sizes: [usize; 2]);
    /// Writes the gradient of the bias, given a tile of gradients of scores; nothing where it is not asked for.
    fn store_bias_gradient(&self, tile: Tile, gradients: &[T]);
}

/// All heads of a launch.
pub(crate) struct Heads<'a, S> {
    pub(crate) params: AttentionParams,
    inputs: [(&'a [S], i64, [i64; 4]); 5],
    bias: Option<(&'a [S], i64)>,
    mask: Option<(&'a [Bool], i64)>,
    key_lengths: Option<&'a [i64]>,
}

impl<'a, S: Stored> Heads<'a, S> {
    /// From the launch's inputs; `backward` ones have o and do too.
    pub(crate) fn new(args: &CpuArgs<'a>, params: AttentionParams, backward: bool) -> Self {
        let input =
            |index: usize, strides: [i64; 4]| (args.whole_input::<S>(index), args.offset(index) as i64, strides);
        let [o, d_o] = if backward { [6, 8] } else { [0, 0] };
        Heads {
            params,
            inputs: [
                input(0, params.q_strides),
                input(1, params.k_strides),
                input(2, params.v_strides),
                input(o, params.o_strides),
                input(d_o, params.do_strides),
            ],
            bias: (params.has_bias == 1).then(|| (args.whole_input(3), args.offset(3) as i64)),
            mask: (params.has_mask == 1).then(|| (args.whole_input(4), args.offset(4) as i64)),
            key_lengths: (params.has_key_lengths == 1).then(|| args.input(5)),
        }
    }

    /// Head `head` of batch `batch`, with where its rows go; backward ones are the gradient's.
    #[track_caller]
    pub(crate) fn head<'h>(
        &'h self,
        [batch, head]: [usize; 2],
        output: &'h SharedRows<'h, S>,
        bias_gradient: Option<&'h SharedRows<'h, S>>,
        backward: bool,
    ) -> Result<HeadViews<'h, S>> {
        let p = &self.params;
        let kv_head = head / (p.heads / p.kv_heads.max(1)).max(1) as usize;
        let [q_len, k_len, d, dv] = [p.q_len, p.k_len, p.head_dim, p.value_dim].map(|size| size as usize);
        let view = |index: usize, head: usize, sizes: [usize; 2]| {
            let (data, offset, [b, h, t, c]) = self.inputs[index];
            MatrixView::new(data, offset + batch as i64 * b + head as i64 * h, sizes, [t, c])
        };
        let at = |offset: i64, s: [i64; 4]| (offset + batch as i64 * s[0] + head as i64 * s[1], [s[2], s[3]]);
        let (q, o_sizes) = (view(0, head, [q_len, d])?, if backward { [q_len, dv] } else { [0, 0] });
        let bias = self.bias.map(|(data, offset)| {
            let (offset, strides) = at(offset, p.bias_strides);
            MatrixView::new(data, offset, [q_len, k_len], strides)
        });
        let mask = self.mask.map(|(data, offset)| {
            let (offset, strides) = at(offset, p.mask_strides);
            MatrixView::new(data, offset, [q_len, k_len], strides)
        });
        let seen = self.key_lengths.map_or(k_len, |lengths| lengths[batch].clamp(0, k_len as i64) as usize);
        let sizes = HeadSizes {
            batch,
            head,
            k_len: seen,
            head_dim: d,
            value_dim: dv,
            scale: p.scale,
            causal: (p.causal == 1).then_some(p.causal_offset),
            has_mask: mask.is_some(),
            is_adjusted: mask.is_some() || bias.is_some(),
            has_dropout: p.dropout > 0.0,
        };
        Ok(HeadViews {
            sizes,
            operands: [
                q,
                view(1, kv_head, [k_len, d])?,
                view(2, kv_head, [k_len, dv])?,
                view(3, head, o_sizes)?,
                view(4, head, o_sizes)?,
            ],
            bias: bias.transpose()?,
            mask: mask.transpose()?,
            dropout: (p.stream(), p.dropout),
            first_weight: (batch as u64 * p.heads + head as u64).wrapping_mul(p.q_len * p.k_len),
            row_weights: p.k_len,
            output,
            bias_gradient,
        })
    }
}

/// One head in the stored dtype.
pub(crate) struct HeadViews<'a, S> {
    pub(crate) sizes: HeadSizes,
    operands: [MatrixView<'a, S>; 5],
    bias: Option<MatrixView<'a, S>>,
    mask: Option<MatrixView<'a, Bool>>,
    dropout: (Stream, f64),
    /// The stream's element of weight (0, 0), and the distance of queries.
    first_weight: u64,
    row_weights: u64,
    output: &'a SharedRows<'a, S>,
    bias_gradient: Option<&'a SharedRows<'a, S>>,
}

impl<S: Stored<Compute = T>, T: Lane> Head<T> for HeadViews<'_, S> {
    fn rows<'s>(
        &'s self,
        operand: Operand,
        first: usize,
        count: usize,
        width: usize,
        scratch: &'s mut [T],
    ) -> Rows<'s, T> {
        let matrix = self.operands[operand as usize].rows(first, count);
        let cols = matrix.sizes()[1];
        if S::DTYPE == T::DTYPE
            && cols == width
            && let Some((data, stride)) = matrix.dense_rows(2 * cols)
        {
            return Rows { data: bytemuck::cast_slice(data), stride };
        }
        wide::<T, _>(
            #[inline(always)]
            || {
                for (row, scratch) in scratch.chunks_exact_mut(width.max(1)).take(count).enumerate() {
                    matrix.widen_row(row, &mut scratch[..cols]);
                    scratch[cols..].fill(T::ZERO);
                }
            },
        );
        Rows { data: &scratch[..count * width], stride: width }
    }

    fn adjust(&self, tile: Tile, scores: &mut [T]) {
        for (key, scores) in scores.chunks_exact_mut(tile.width).take(tile.keys).enumerate() {
            let scores = &mut scores[..tile.queries];
            if let Some(bias) = self.bias {
                for (query, score) in scores.iter_mut().enumerate() {
                    *score += bias.get(tile.query + query, tile.key + key).widen();
                }
            }
            if let Some(mask) = self.mask {
                for (query, score) in scores.iter_mut().enumerate() {
                    if mask.get(tile.query + query, tile.key + key).0 == 0 {
                        *score = T::NEG_INFINITY;
                    }
                }
            }
        }
    }

    fn dropout(&self, tile: Tile, factors: &mut [T]) {
        let (stream, p) = self.dropout;
        // The draw of `fill_bernoulli` with probability 1 - p, so that the composition of ops has the same weights.
        let below = ((1.0 - p) * 16_777_216.0).ceil() as u32;
        let kept = if p < 1.0 { T::from_f64(1.0 / (1.0 - p)) } else { T::ZERO };
        for query in 0..tile.queries {
            let first = (tile.query + query) as u64 * self.row_weights + tile.key as u64;
            let first = self.first_weight.wrapping_add(first);
            let mut words = [0u32; 8 * LANES];
            let skipped = (first % 4) as usize;
            let words = &mut words[..skipped + tile.keys];
            fill_words(stream, first / 4, words);
            let words = &words[skipped..];
            for (key, &word) in words.iter().enumerate() {
                factors[key * tile.width + query] = if word >> 8 < below { kept } else { T::ZERO };
            }
        }
    }

    fn store(&self, first: usize, rows: Rows<'_, T>, [count, cols]: [usize; 2]) {
        for row in 0..count {
            let values = &rows.data[row * rows.stride..][..cols];
            // SAFETY: a block of queries of a head belongs to one task.
            unsafe { self.output.write([self.sizes.batch, self.sizes.head, first + row], 0, values) };
        }
    }

    fn store_bias_gradient(&self, tile: Tile, gradients: &[T]) {
        let Some(output) = self.bias_gradient else { return };
        for query in 0..tile.queries {
            let mut row = [T::ZERO; BLOCK];
            let seen = self.sizes.seen(tile.query + query, tile.key, tile.keys);
            for (key, value) in row[..seen].iter_mut().enumerate() {
                *value = gradients[key * tile.width + query];
            }
            let at = [self.sizes.batch, self.sizes.head, tile.query + query];
            // SAFETY: a block of queries of a head belongs to one task.
            unsafe { output.write(at, tile.key, &row[..tile.keys]) };
        }
    }
}

//! Rotary position embedding: pairs of elements turned by an angle that grows with the position.
//!
//! ```text
//! y1 = x1 cos(a) - x2 sin(a),   y2 = x2 cos(a) + x1 sin(a),   a = position * frequency of the pair
//! ```
//!
//! x and y `[B, H, T, D]` with any strides, tables of cosines and sines `[positions, R / 2]` with R <= D; elements from R
//! on are copied. Pair i is (i, i + R / 2) where halves are split (GPT-NeoX, Llama), (2 i, 2 i + 1) where interleaved
//! (GPT-J, the paper). Tables and arithmetic are f32, f64 for f64. The gradient is the turn by the negative angle.
//! Source: Su et al., "RoFormer: Enhanced Transformer with Rotary Position Embedding" (2021), equation 34.

use bytemuck::{Pod, Zeroable};

use crate::cpu::rope::ROPE_FORWARD;
use crate::{Buffer, Launch, Result};

/// The sizes, strides (in elements) and conventions of a rotary embedding.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Debug, Pod, Zeroable)]
pub struct RopeParams {
    /// B.
    pub batch: u64,
    /// H.
    pub heads: u64,
    /// T.
    pub len: u64,
    /// D.
    pub dim: u64,
    /// R, the elements that are turned; even.
    pub rotary_dim: u64,
    /// Strides of x.
    pub x_strides: [i64; 4],
    /// Strides of y.
    pub y_strides: [i64; 4],
    /// How many positions the tables have.
    pub table_rows: u64,
    /// The distance of positions in the tables; the pairs of one position are neighbours.
    pub table_stride: i64,
    /// The position of element 0 along T where there is no array of positions.
    pub first_position: u64,
    /// 1 where there is an array of positions.
    pub has_positions: u64,
    /// Strides of the positions along B and T; 0 where they are broadcast.
    pub position_strides: [i64; 2],
    /// 1 where pairs are neighbours, 0 where they are halves.
    pub interleaved: u64,
    /// 1 to turn back: the gradient.
    pub inverse: u64,
}

impl RopeParams {
    /// All elements of contiguous tensors `[B, H, T, D]`, halves split, positions from 0, dense tables of
    /// `table_rows` positions.
    pub fn new([batch, heads, len, dim]: [usize; 4], table_rows: usize) -> Self {
        let strides = [(heads * len * dim) as i64, (len * dim) as i64, dim as i64, 1];
        RopeParams {
            batch: batch as u64,
            heads: heads as u64,
            len: len as u64,
            dim: dim as u64,
            rotary_dim: dim as u64,
            x_strides: strides,
            y_strides: strides,
            table_rows: table_rows as u64,
            table_stride: (dim / 2) as i64,
            first_position: 0,
            has_positions: 0,
            position_strides: [0, 1],
            interleaved: 0,
            inverse: 0,
        }
    }
}

/// Writes y, given buffers with the elements at which x, the tables and the positions start. Positions are of
/// [`Device::index_dtype`](crate::Device::index_dtype).
///
/// # Errors
/// A dtype that is no float, or a position that the tables do not have.
#[track_caller]
pub fn rope(
    x: (&Buffer, usize),
    [cos, sin]: [(&Buffer, usize); 2],
    positions: Option<(&Buffer, usize)>,
    y: &mut Buffer,
    params: &RopeParams,
) -> Result<()> {
    let params = RopeParams { has_positions: positions.is_some().into(), ..*params };
    let grid = [params.len, params.heads, params.batch].map(|size| size as usize);
    let mut launch = Launch::new(&ROPE_FORWARD, y.dtype()).input(x.0, x.1).input(cos.0, cos.1).input(sin.0, sin.1);
    if let Some((positions, offset)) = positions {
        launch = launch.input(positions, offset);
    }
    launch.output(y).params(&params).grid(grid).run()
}

//! Attention with ordinary multiplications: every float, size and layout on every GPU.
//!
//! The register tiles are as wide as the head dims, in steps of 32, so each width is a unit of its own; what is wider
//! than the registers allow is dealt to several blocks.

use super::{Request, delta_bytes, run_backward, run_delta, run_forward};
use crate::cuda::{CudaArgs, Stage};
use crate::{DType, Result};

/// How a kernel is cut: the definitions of `cuda/attention.cuh`.
#[derive(Clone, Copy, PartialEq, Debug)]
struct Tiles {
    threads: u32,
    queries: usize,
    keys: usize,
    depth: usize,
    head_cols: usize,
    value_cols: usize,
}

/// All tiles fit the 48 KiB of shared memory that every GPU has.
fn tiles(request: &Request, is_backward: bool) -> Tiles {
    let [head_dim, value_dim] = [request.params.head_dim, request.params.value_dim].map(|dim| dim as usize);
    // Double precision takes twice the registers and shared memory.
    let is_double = request.elem == DType::F64;
    let widest = if is_double { 128 } else { 256 };
    let [head_cols, value_cols] = [head_dim, value_dim].map(|dim| width(dim, widest));
    // Fewer threads have more of the tile each and read less shared memory, as long as their sums fit the registers.
    let is_narrow = match is_backward {
        true => !is_double && head_cols.max(value_cols) <= 32,
        false => value_cols <= 128,
    };
    Tiles {
        threads: if is_narrow { 128 } else { 256 },
        queries: if is_double { 32 } else { 64 },
        keys: 64,
        depth: if is_double || head_dim.max(value_dim) <= 16 { 16 } else { 32 },
        // The forward's sums are as wide as the values; its units differ by nothing else.
        head_cols: if is_backward { head_cols } else { 16 },
        value_cols,
    }
}

/// The columns that a block sums up of a matrix with `dim` of them: all, or equal parts of at most `widest`.
fn width(dim: usize, widest: usize) -> usize {
    if dim <= 16 { 16 } else { dim.div_ceil(dim.div_ceil(widest)).next_multiple_of(32) }
}

/// A stage of `file` with its tiles as definitions.
fn stage<'a>(
    args: &CudaArgs<'a>,
    request: &Request,
    file: &'static str,
    entry: &'static str,
    tiles: Tiles,
) -> Stage<'a> {
    args.stage(entry)
        .unit(file, args.elem)
        .threads(tiles.threads)
        .define("THREADS", tiles.threads)
        .define("QUERIES", tiles.queries)
        .define("KEYS", tiles.keys)
        .define("DEPTH", tiles.depth)
        .define("HEAD_COLS", tiles.head_cols)
        .define("VALUE_COLS", tiles.value_cols)
        .define("ALIGNED", u8::from(request.is_aligned(4)))
}

/// How many blocks take the columns of a matrix.
fn slices(dim: u64, cols: usize) -> usize {
    (dim as usize).div_ceil(cols).max(1)
}

#[track_caller]
pub(super) fn forward(args: &CudaArgs<'_>, request: &Request) -> Result<()> {
    let (params, tiles) = (&request.params, tiles(request, false));
    let blocks = (params.q_len as usize).div_ceil(tiles.queries) * slices(params.value_dim, tiles.value_cols);
    let stage = stage(args, request, "attention", "attention_forward", tiles).blocks(request.heads()[0] * blocks);
    run_forward(args, request, stage)
}

#[track_caller]
pub(super) fn backward(args: &CudaArgs<'_>, request: &Request) -> Result<()> {
    let (params, tiles) = (&request.params, tiles(request, true));
    let stage = |entry| stage(args, request, "attention_backward", entry, tiles);
    let delta = args.workspace(delta_bytes(request))?;
    run_delta(args, request, delta.address())?;

    let [q_heads, kv_heads] = request.heads();
    let head_slices = slices(params.head_dim, tiles.head_cols);
    let key_slices = head_slices.max(slices(params.value_dim, tiles.value_cols));
    let key_blocks = kv_heads * (params.k_len as usize).div_ceil(tiles.keys) * key_slices;
    let [dq, dk, dv] = [0, 1, 2].map(|index| args.output(index).address);
    let keys = stage("attention_backward_keys").blocks(key_blocks);
    run_backward(args, request, keys, delta.address(), [dk, dv])?;

    let query_blocks = q_heads * (params.q_len as usize).div_ceil(tiles.queries) * head_slices;
    let queries = stage("attention_backward_queries").blocks(query_blocks);
    run_backward(args, request, queries, delta.address(), [dq, args.optional_output(3)])
}

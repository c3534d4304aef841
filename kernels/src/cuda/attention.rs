//! Attention on CUDA: which kernel, its tiles, and its blocks. Formulas are in [`crate::attention`].
//!
//! The register tiles are as wide as the head dims, in steps of 32, so each width is a unit of its own; what is wider
//! than the registers allow is dealt to several blocks.

use super::{CudaArgs, Stage};
use crate::attention::AttentionParams;
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

/// The kernels that can serve a launch, best first where the device and the launch allow it.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Variant {
    /// Ordinary multiplications, for every dtype, size and layout.
    Simt(Tiles),
}

/// Which kernel a direction of a launch takes.
fn variant(elem: DType, params: &AttentionParams, is_backward: bool) -> Variant {
    let [head_dim, value_dim] = [params.head_dim, params.value_dim].map(|dim| dim as usize);
    // Double precision takes twice the registers and shared memory. All tiles fit the 48 KiB that every GPU has.
    let is_double = elem == DType::F64;
    let widest = if is_double { 128 } else { 256 };
    let [head_cols, value_cols] = [head_dim, value_dim].map(|dim| width(dim, widest));
    // Fewer threads have more of the tile each and read less shared memory, as long as their sums fit the registers.
    let is_narrow = match is_backward {
        true => !is_double && head_cols.max(value_cols) <= 32,
        false => value_cols <= 128,
    };
    let deepest = if is_double || head_dim.max(value_dim) <= 16 { 16 } else { 32 };
    Variant::Simt(Tiles {
        threads: if is_narrow { 128 } else { 256 },
        queries: if is_double { 32 } else { 64 },
        keys: 64,
        depth: deepest,
        head_cols,
        value_cols,
    })
}

/// The columns that a block sums up of a matrix with `dim` of them: all, or equal parts of at most `widest`.
fn width(dim: usize, widest: usize) -> usize {
    if dim <= 16 { 16 } else { dim.div_ceil(dim.div_ceil(widest)).next_multiple_of(32) }
}

/// True where every group of four neighbouring columns can be accessed as one: `strides` has the columns last.
fn is_aligned(elem: DType, address: u64, strides: [i64; 4], cols: u64) -> bool {
    let bytes = (4 * elem.size_bytes() as u64).min(16);
    let step = bytes as i64 / elem.size_bytes() as i64;
    let [batch, head, row, col] = strides;
    address.is_multiple_of(bytes)
        && cols.is_multiple_of(4)
        && (col == 1 || cols == 0)
        && [batch, head, row].iter().all(|stride| stride % step == 0)
}

/// A stage of `file` with its tiles as definitions.
fn stage<'a>(
    args: &CudaArgs<'a>,
    file: &'static str,
    entry: &'static str,
    tiles: Tiles,
    is_aligned: bool,
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
        .define("ALIGNED", u8::from(is_aligned))
}

/// How many blocks take the columns of a matrix.
fn slices(dim: u64, cols: usize) -> usize {
    (dim as usize).div_ceil(cols).max(1)
}

#[track_caller]
pub(crate) fn forward(args: &mut CudaArgs<'_>) -> Result<()> {
    args.floats_only()?;
    let params: AttentionParams = args.params();
    let Variant::Simt(tiles) = variant(args.elem, &params, false);
    // The forward's sums are as wide as the values; units differ by nothing else.
    let tiles = Tiles { head_cols: 16, ..tiles };
    let [q, k, v, bias, mask, key_lengths] = [0, 1, 2, 3, 4, 5].map(|index| args.input(index).address);
    let (o, lse) = (args.output(0).address, args.output(1).address);
    let is_aligned = is_aligned(args.elem, q, params.q_strides, params.head_dim)
        && is_aligned(args.elem, k, params.k_strides, params.head_dim)
        && is_aligned(args.elem, v, params.v_strides, params.value_dim)
        && is_aligned(args.elem, o, params.o_strides, params.value_dim);
    let heads = (params.batch * params.heads) as usize;
    let blocks = heads * (params.q_len as usize).div_ceil(tiles.queries) * slices(params.value_dim, tiles.value_cols);
    let stage = stage(args, "attention", "attention_forward", tiles, is_aligned).blocks(blocks);
    [q, k, v, bias, mask, key_lengths, o, lse].into_iter().fold(stage, Stage::param).param(params).run()
}

#[track_caller]
pub(crate) fn backward(args: &mut CudaArgs<'_>) -> Result<()> {
    args.floats_only()?;
    let params: AttentionParams = args.params();
    let Variant::Simt(tiles) = variant(args.elem, &params, true);
    let [q, k, v, bias, mask, key_lengths] = [0, 1, 2, 3, 4, 5].map(|index| args.input(index).address);
    let [o, lse, d_o] = [6, 7, 8].map(|index| args.input(index).address);
    let [dq, dk, dv] = [0, 1, 2].map(|index| args.output(index).address);
    let dbias = args.optional_output(3);
    let (d, d_v) = (params.head_dim, params.value_dim);
    let operands = [(q, params.q_strides, d), (k, params.k_strides, d), (v, params.v_strides, d_v)];
    let gradients = [(d_o, params.do_strides, d_v), (dq, params.dq_strides, d), (dk, params.dk_strides, d)];
    let is_aligned = operands
        .into_iter()
        .chain(gradients)
        .chain([(dv, params.dv_strides, d_v)])
        .all(|(address, strides, cols)| is_aligned(args.elem, address, strides, cols));
    let stage = |entry| stage(args, "attention_backward", entry, tiles, is_aligned);

    let (q_heads, kv_heads) = ((params.batch * params.heads) as usize, (params.batch * params.kv_heads) as usize);
    let rows = q_heads * params.q_len as usize;
    let compute_bytes = if args.elem == DType::F64 { 8 } else { 4 };
    let delta_memory = args.workspace(rows * compute_bytes)?;
    let delta = delta_memory.address();
    let rows_of_block = tiles.threads as usize / 32;
    let rows = stage("attention_delta").blocks(rows.div_ceil(rows_of_block));
    rows.param(o).param(d_o).param(delta).param(params).run()?;

    let inputs = [q, k, v, bias, mask, key_lengths, d_o, lse, delta];
    let key_slices = slices(d, tiles.head_cols).max(slices(d_v, tiles.value_cols));
    let key_blocks = kv_heads * (params.k_len as usize).div_ceil(tiles.keys) * key_slices;
    let keys = stage("attention_backward_keys").blocks(key_blocks);
    inputs.into_iter().chain([dk, dv]).fold(keys, Stage::param).param(params).run()?;

    let query_blocks = q_heads * (params.q_len as usize).div_ceil(tiles.queries) * slices(d, tiles.head_cols);
    let queries = stage("attention_backward_queries").blocks(query_blocks);
    inputs.into_iter().chain([dq, dbias]).fold(queries, Stage::param).param(params).run()
}

//! Attention on CUDA: which kernel, its tiles, and its blocks. Formulas are in [`crate::attention`].
//!
//! The register tiles are as wide as the head dims, in steps of 32, so each width is a unit of its own; what is wider
//! than the registers allow is dealt to several blocks.

use super::{CudaArgs, CudaDevice, Stage};
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

/// The kernels that can serve a launch.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Variant {
    /// Tensor cores; rows are aligned to 16 bytes.
    Tensor(Tiles),
    /// Ordinary multiplications, for every dtype, size and layout.
    Simt(Tiles),
}

/// A matrix that a launch accesses: its address, its strides with the columns last, and its columns.
type Operand = (u64, [i64; 4], u64);

/// Which kernel the forward takes on a device: the first of these that can serve it.
fn forward_variant(device: &CudaDevice, elem: DType, params: &AttentionParams, operands: &[Operand]) -> Variant {
    let tiles = tensor_tiles(params);
    let serves = matches!(elem, DType::F16 | DType::BF16)
        && device.architecture().number >= 80
        && tensor_shared_bytes(tiles) + KEPT_BYTES <= device.engine().max_shared_bytes()
        && [params.head_dim, params.value_dim].iter().all(|dim| dim.is_multiple_of(16) && (1..=256).contains(dim))
        && operands.iter().all(|&operand| is_aligned(elem, operand, 8));
    if serves { Variant::Tensor(tiles) } else { Variant::Simt(simt_tiles(elem, params, false)) }
}

/// The tiles on tensor cores: as many queries for each warp as its registers hold the sums of.
fn tensor_tiles(params: &AttentionParams) -> Tiles {
    let [head_cols, value_cols] = [params.head_dim, params.value_dim].map(|dim| dim as usize);
    let widest = head_cols.max(value_cols);
    let (queries, keys) = if widest <= 64 { (128, 64) } else { (64, if widest <= 128 { 64 } else { 32 }) };
    Tiles { threads: 128, queries, keys, depth: 16, head_cols, value_cols }
}

/// What the tiles of queries, keys and values take; each row has 8 elements more than the head dim.
fn tensor_shared_bytes(tiles: Tiles) -> usize {
    2 * ((tiles.queries + tiles.keys) * (tiles.head_cols + 8) + tiles.keys * (tiles.value_cols + 8))
}

/// Room for the arrays of fixed size beside them: a bit for each weight of a tile, and some words.
const KEPT_BYTES: usize = 4096;

/// The tiles of ordinary multiplications. All fit the 48 KiB of shared memory that every GPU has.
fn simt_tiles(elem: DType, params: &AttentionParams, is_backward: bool) -> Tiles {
    let [head_dim, value_dim] = [params.head_dim, params.value_dim].map(|dim| dim as usize);
    // Double precision takes twice the registers and shared memory.
    let is_double = elem == DType::F64;
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

/// True where every group of `count` neighbouring columns can be accessed as one, by 16 bytes at most.
fn is_aligned(elem: DType, (address, [batch, head, row, col], cols): Operand, count: u64) -> bool {
    let bytes = (count * elem.size_bytes() as u64).min(16);
    let step = bytes as i64 / elem.size_bytes() as i64;
    address.is_multiple_of(bytes)
        && cols.is_multiple_of(count)
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
    let [q, k, v, bias, mask, key_lengths] = [0, 1, 2, 3, 4, 5].map(|index| args.input(index).address);
    let (o, lse) = (args.output(0).address, args.output(1).address);
    let (d, d_v) = (params.head_dim, params.value_dim);
    let operands =
        [(q, params.q_strides, d), (k, params.k_strides, d), (v, params.v_strides, d_v), (o, params.o_strides, d_v)];
    let (stage, tiles) = match forward_variant(args.device, args.elem, &params, &operands) {
        Variant::Tensor(tiles) => {
            let stage = stage(args, "attention_tensor", "attention_tensor_forward", tiles, true);
            (stage.shared_bytes(tensor_shared_bytes(tiles)), tiles)
        }
        Variant::Simt(tiles) => {
            let is_aligned = operands.iter().all(|&operand| is_aligned(args.elem, operand, 4));
            (stage(args, "attention", "attention_forward", tiles, is_aligned), tiles)
        }
    };
    let heads = (params.batch * params.heads) as usize;
    let blocks = heads * (params.q_len as usize).div_ceil(tiles.queries) * slices(params.value_dim, tiles.value_cols);
    let stage = stage.blocks(blocks);
    [q, k, v, bias, mask, key_lengths, o, lse].into_iter().fold(stage, Stage::param).param(params).run()
}

#[track_caller]
pub(crate) fn backward(args: &mut CudaArgs<'_>) -> Result<()> {
    args.floats_only()?;
    let params: AttentionParams = args.params();
    let tiles = simt_tiles(args.elem, &params, true);
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
        .all(|operand| is_aligned(args.elem, operand, 4));
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

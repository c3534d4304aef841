//! Attention on tensor cores: f16 and bf16 from architecture 8.0 on, head dims that are multiples of 8 up to 256, rows
//! that are aligned to 16 bytes.
//!
//! A warp's sums stay in registers, so tiles are smaller where heads are wider, and dk and dv have a launch each where
//! registers do not hold both. Of the tiles that registers allow, shared memory decides.

use super::{Request, delta_bytes, run_backward, run_delta, run_forward};
use crate::Result;
use crate::cuda::{CudaArgs, Stage};

const THREADS: u32 = 128;
/// Bytes of the arrays of fixed size beside the tiles: a bit for each weight, lse and delta, and some words.
const FIXED_BYTES: usize = 4096;
/// What the system takes of a multiprocessor's shared memory for each block.
const RESERVED_BYTES: usize = 1024;

/// How a kernel is cut: rows of a tile, and how many tiles that stream by are in shared memory at once.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) struct Tiles {
    pub(super) queries: usize,
    pub(super) keys: usize,
    pub(super) stages: usize,
}

/// What a launch of the backward gives.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) enum Wanted {
    /// dk, dv, or both.
    Keys { dk: bool, dv: bool },
    /// dq, and the gradient of the bias.
    Queries,
}

/// The columns of tiles: the head dims as multiples of 16, the depth of one product.
fn cols(request: &Request) -> [usize; 2] {
    [request.params.head_dim, request.params.value_dim].map(|dim| (dim as usize).next_multiple_of(16))
}

fn suits(request: &Request) -> bool {
    [request.params.head_dim, request.params.value_dim].iter().all(|dim| (1..=256).contains(dim))
        && request.is_aligned(8)
}

pub(super) fn serves_forward(request: &Request) -> bool {
    suits(request) && forward_bytes(request, forward_tiles(request)) + FIXED_BYTES <= request.max_shared_bytes
}

pub(super) fn serves_backward(request: &Request) -> bool {
    suits(request) && launches(request).iter().all(|&wanted| backward_tiles(request, wanted).is_some())
}

/// As many queries for each warp as its registers hold the sums of.
fn forward_tiles(request: &Request) -> Tiles {
    let [head_cols, value_cols] = cols(request);
    let (queries, keys) = match head_cols.max(value_cols) {
        ..=64 => (128, 64),
        65..=128 => (64, 64),
        _ => (64, 32),
    };
    Tiles { queries, keys, stages: 1 }
}

/// A tile of `rows` rows of 2-byte elements; each row has 8 elements more than the head dim.
fn tile_bytes(rows: usize, cols: usize) -> usize {
    2 * rows * (cols + 8)
}

fn forward_bytes(request: &Request, tiles: Tiles) -> usize {
    let [head_cols, value_cols] = cols(request);
    tile_bytes(tiles.queries + tiles.keys, head_cols) + tile_bytes(tiles.keys, value_cols)
}

#[track_caller]
pub(super) fn forward(args: &CudaArgs<'_>, request: &Request) -> Result<()> {
    let tiles = forward_tiles(request);
    let stage = stage(args, request, "attention_tensor", "attention_tensor_forward", tiles);
    let blocks = request.heads()[0] * (request.params.q_len as usize).div_ceil(tiles.queries);
    run_forward(args, request, stage.shared_bytes(forward_bytes(request, tiles)).blocks(blocks))
}

/// The launches of a backward. A thread has a register for every four columns of its sums (and as many again where a
/// warp has 32 rows), so up to 256 columns leave room for scores.
pub(super) fn launches(request: &Request) -> Vec<Wanted> {
    let [head_cols, value_cols] = cols(request);
    if head_cols + value_cols <= 256 {
        return vec![Wanted::Keys { dk: true, dv: true }, Wanted::Queries];
    }
    vec![Wanted::Keys { dk: true, dv: false }, Wanted::Keys { dk: false, dv: true }, Wanted::Queries]
}

/// The tiles of a launch: the first that registers hold of which two blocks share a multiprocessor's memory, so that one
/// computes while the other waits; else the first that fits; none where shared memory is too small.
pub(super) fn backward_tiles(request: &Request, wanted: Wanted) -> Option<Tiles> {
    let [head_cols, value_cols] = cols(request);
    let (sums, of_keys) = match wanted {
        Wanted::Keys { dk, dv } => (usize::from(dk) * head_cols + usize::from(dv) * value_cols, true),
        Wanted::Queries => (head_cols, false),
    };
    // The rows that a block owns, and those that stream by.
    let sizes: &[[usize; 2]] = match sums {
        ..=128 => &[[128, 32], [64, 64], [64, 32]],
        ..=256 if of_keys => &[[64, 64], [64, 32]],
        _ => &[[64, 32]],
    };
    let tiles = |[own, others]: [usize; 2], stages| match of_keys {
        true => Tiles { queries: others, keys: own, stages },
        false => Tiles { queries: own, keys: others, stages },
    };
    let fits = |tiles: &Tiles, blocks: usize| {
        let bytes = backward_bytes(request, wanted, *tiles) + FIXED_BYTES;
        blocks * (bytes + RESERVED_BYTES) <= request.max_shared_bytes + RESERVED_BYTES
    };
    let all = |least: &'static [[usize; 2]]| {
        let sizes = sizes.iter().chain(least);
        [2, 1].into_iter().flat_map(move |stages| sizes.clone().map(move |&size| tiles(size, stages)))
    };
    all(&[]).find(|tiles| fits(tiles, 2)).or_else(|| all(&[[64, 16]]).find(|tiles| fits(tiles, 1)))
}

fn backward_bytes(request: &Request, wanted: Wanted, tiles: Tiles) -> usize {
    let [head_cols, value_cols] = cols(request);
    let both = |rows| tile_bytes(rows, head_cols) + tile_bytes(rows, value_cols);
    match wanted {
        Wanted::Keys { dk: false, .. } => tile_bytes(tiles.keys, head_cols) + tiles.stages * both(tiles.queries),
        Wanted::Keys { .. } => both(tiles.keys) + tiles.stages * both(tiles.queries),
        Wanted::Queries => both(tiles.queries) + tiles.stages * both(tiles.keys),
    }
}

#[track_caller]
pub(super) fn backward(args: &CudaArgs<'_>, request: &Request) -> Result<()> {
    let delta = args.workspace(delta_bytes(request))?;
    run_delta(args, request, delta.address())?;
    let [dq, dk, dv] = [0, 1, 2].map(|index| args.output(index).address);
    let [q_heads, kv_heads] = request.heads();
    let [q_len, k_len] = [request.params.q_len, request.params.k_len].map(|len| len as usize);
    for wanted in launches(request) {
        let tiles = backward_tiles(request, wanted).ok_or_else(|| args.unsupported())?;
        let (entry, blocks, outputs) = match wanted {
            Wanted::Keys { .. } => ("attention_tensor_backward_keys", kv_heads * k_len.div_ceil(tiles.keys), [dk, dv]),
            Wanted::Queries => (
                "attention_tensor_backward_queries",
                q_heads * q_len.div_ceil(tiles.queries),
                [dq, args.optional_output(3)],
            ),
        };
        let (with_head, with_value) = match wanted {
            Wanted::Keys { dk, dv } => (dk, dv),
            Wanted::Queries => (true, false),
        };
        let stage = stage(args, request, "attention_tensor_backward", entry, tiles)
            .define("OF_KEYS", u8::from(wanted != Wanted::Queries))
            .define("WITH_HEAD", u8::from(with_head))
            .define("WITH_VALUE", u8::from(with_value))
            .define("STAGES", tiles.stages)
            .shared_bytes(backward_bytes(request, wanted, tiles));
        run_backward(args, request, stage.blocks(blocks), delta.address(), outputs)?;
    }
    Ok(())
}

/// A stage of `file` with its tiles as definitions.
fn stage<'a>(
    args: &CudaArgs<'a>,
    request: &Request,
    file: &'static str,
    entry: &'static str,
    tiles: Tiles,
) -> Stage<'a> {
    let [head_cols, value_cols] = cols(request);
    args.stage(entry)
        .unit(file, args.elem)
        .threads(THREADS)
        .define("THREADS", THREADS)
        .define("QUERIES", tiles.queries)
        .define("KEYS", tiles.keys)
        .define("HEAD_COLS", head_cols)
        .define("VALUE_COLS", value_cols)
}

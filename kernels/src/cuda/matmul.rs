//! Matrix products on CUDA: formulas are in [`crate::matmul`].
//!
//! f16 and bf16, and f32 where tf32 is allowed, run on tensor cores where their rows are aligned; a few rows or columns
//! are vectors, for which the other operand is read just once; all else runs on ordinary cores. The host picks a tile
//! that keeps the device busy, which way each operand is read, and, where there are few tiles and k is long, into how
//! many parts k is divided; the parts are then summed in a fixed order.

use bytemuck::{Pod, Zeroable};

use super::{CudaArgs, CudaMemory, Stage};
use crate::elementwise::ElementwiseOp;
use crate::matmul::MatmulParams;
use crate::{DType, Result};

/// Places along k that a block sums at least before k is divided among blocks.
const LEAST_K: u64 = 256;
/// The most rows or columns of C that count as vectors.
const MOST_VECTORS: u64 = 8;
/// The most parts that k is divided into.
const MOST_SPLITS: u64 = 32;

/// The kernels' `MatmulSplit`.
#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct MatmulSplit {
    splits: u64,
    k_per_split: u64,
}

/// The kernels' `MatmulEpilogue`: addresses, 0 where there is nothing.
#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct MatmulEpilogue {
    bias: u64,
    residual: u64,
    pre: u64,
}

impl MatmulEpilogue {
    fn new(args: &CudaArgs<'_>, params: &MatmulParams) -> Self {
        MatmulEpilogue {
            bias: if params.has_bias == 1 { args.input(2).address } else { 0 },
            residual: params.residual_input().map_or(0, |input| args.input(input).address),
            pre: args.optional_output(1),
        }
    }
}

#[track_caller]
pub(crate) fn matmul_forward(args: &mut CudaArgs<'_>) -> Result<()> {
    if args.elem == DType::Bool {
        return Err(args.unsupported());
    }
    let mut params: MatmulParams = args.params();
    if args.elem.is_float() && params.alpha == 0.0 {
        // As on the host, nothing of A and B counts then, not even NaN.
        params.k = 0;
    }
    if params.m * params.n * params.batch() as u64 == 0 {
        return Ok(());
    }
    let [a, b] = [Operand::a(args, &params), Operand::b(args, &params)];
    let (m, n) = (params.m, params.n);
    if m.min(n) <= MOST_VECTORS && params.k > 0 {
        // The larger operand is read once; of two small ones it does not matter which.
        return if m <= n { vectors(args, &params, &b, &a, true) } else { vectors(args, &params, &a, &b, false) };
    }
    let is_taken = matches!(args.elem, DType::F16 | DType::BF16) || args.elem == DType::F32 && params.allows_tf32 == 1;
    let chunk = 16 / args.elem.size_bytes() as i64;
    let is_aligned = a.loads(chunk, args.elem) && b.loads(chunk, args.elem);
    if is_taken && is_aligned && args.device.architecture().number >= 80 {
        return tensor_cores(args, &params, &a, &b);
    }
    ordinary(args, &params, &a, &b)
}

/// On ordinary cores: any element type, any strides.
#[track_caller]
fn ordinary(args: &CudaArgs<'_>, params: &MatmulParams, a: &Operand, b: &Operand) -> Result<()> {
    let load = if args.elem.size_bytes() == 8 { 2 } else { 4 };
    let vector = a.loads(load, args.elem) && b.loads(load, args.elem);
    let largest = if args.elem.compute() == DType::F32 { 128 } else { 64 };
    let tile = square_tile(params, largest, args.device.multiprocessors() as u64).unwrap_or(32);
    let stage = args.stage("matmul_forward");
    let stage = stage.define("TILE", tile).define("VECTOR", u8::from(vector));
    let stage = stage.define("A_FAST_K", u8::from(a.fast_k())).define("B_FAST_K", u8::from(b.fast_k()));
    let step_k = if tile == 128 { 8 } else { 16 };
    run_tiled(args, params, stage.threads(if tile == 32 { 64 } else { 256 }), [tile, tile], step_k)
}

/// On tensor cores: rows of both operands are aligned to 16 bytes.
#[track_caller]
fn tensor_cores(args: &CudaArgs<'_>, params: &MatmulParams, a: &Operand, b: &Operand) -> Result<()> {
    const STEP_BYTES: u64 = 64;
    let tile = square_tile(params, 128, args.device.multiprocessors() as u64).unwrap_or(64);
    let stage_bytes = (2 * tile * STEP_BYTES) as usize;
    // Two blocks on each multiprocessor hide each other's waits; where memory allows, copies start yet earlier.
    let stages = if args.device.engine().max_shared_bytes() >= 160 << 10 { 4 } else { 3 };
    let stage = args.stage("matmul_forward").unit("matmul_tensor", args.elem);
    let stage = stage.define("TILE", tile).define("STAGES", stages);
    let stage = stage.define("A_FAST_K", u8::from(a.fast_k())).define("B_FAST_K", u8::from(b.fast_k()));
    let stage = stage.threads(if tile == 128 { 256 } else { 128 }).shared_bytes(stages * stage_bytes);
    run_tiled(args, params, stage, [tile, tile], STEP_BYTES / args.elem.size_bytes() as u64)
}

/// A few vectors `x` with a large matrix `w`, which is B or A.
#[track_caller]
fn vectors(args: &CudaArgs<'_>, params: &MatmulParams, w: &Operand, x: &Operand, w_is_b: bool) -> Result<()> {
    let count = x.outer.0.next_power_of_two();
    let widest = if args.elem.is_float() { 16 / args.elem.size_bytes() as i64 } else { 2 };
    let fast_k = w.fast_k();
    let wide = w.loads(widest, args.elem) && (!fast_k || x.fast_k() && x.loads(widest, args.elem));
    let load = if wide { widest } else { 1 };
    let stage = args.stage("matmul_forward").unit("matmul_vector", args.elem).define("COUNT", count);
    let stage = stage.define("W_IS_B", u8::from(w_is_b)).define("W_FAST_K", u8::from(fast_k)).define("LOAD", load);
    let outers = if fast_k { 16 } else { 32 * load as u64 };
    let tile = if w_is_b { [count, outers] } else { [outers, count] };
    run_tiled(args, params, stage, tile, 32 * load as u64)
}

/// The largest tile of which there are enough to keep the device busy, counting that a long k can be divided.
fn square_tile(params: &MatmulParams, largest: u64, multiprocessors: u64) -> Option<u64> {
    let suits = |tile: u64| {
        let whole_enough = params.m > tile / 2 && params.n > tile / 2;
        tile <= largest && whole_enough && tiles(params, [tile; 2]) * (params.k / 512).clamp(1, 8) >= multiprocessors
    };
    [128, 64].into_iter().find(|&tile| suits(tile))
}

/// How many tiles the whole batch has.
fn tiles(params: &MatmulParams, [tile_m, tile_n]: [u64; 2]) -> u64 {
    params.m.div_ceil(tile_m) * params.n.div_ceil(tile_n) * params.batch() as u64
}

/// How k is divided: enough blocks for the device, each with a fair share of k in whole steps.
fn divide_k(args: &CudaArgs<'_>, params: &MatmulParams, tiles: u64, step_k: u64) -> MatmulSplit {
    let multiprocessors = args.device.multiprocessors() as u64;
    let wanted = if tiles < multiprocessors { (2 * multiprocessors).div_ceil(tiles) } else { 1 };
    let splits = wanted.min(params.k / LEAST_K).clamp(1, MOST_SPLITS);
    let k_per_split = params.k.div_ceil(splits).next_multiple_of(step_k).max(step_k);
    MatmulSplit { splits: params.k.div_ceil(k_per_split).max(1), k_per_split }
}

/// Launches a stage of which each block computes one tile of one part of k, and the sum of the parts.
#[track_caller]
fn run_tiled(args: &CudaArgs<'_>, params: &MatmulParams, stage: Stage<'_>, tile: [u64; 2], step_k: u64) -> Result<()> {
    let tiles = tiles(params, tile);
    let split = divide_k(args, params, tiles, step_k);
    let len = params.batch() * (params.m * params.n) as usize;
    let workspace = match split.splits {
        1 => None,
        splits => Some(args.workspace(splits as usize * len * args.elem.compute().size_bytes())?),
    };
    let partial = workspace.as_ref().map_or(0, CudaMemory::address);
    let (a, b, c) = (args.input(0).address, args.input(1).address, args.output(0).address);
    let epilogue = MatmulEpilogue::new(args, params);
    // Sums that go to the workspace are finished by the stage that adds them up.
    let stage = if split.splits == 1 { define_epilogue(stage, params) } else { stage };
    let stage = stage.blocks((tiles * split.splits) as usize).param(a).param(b).param(c).param(partial);
    stage.param(epilogue).param(*params).param(split).run()?;
    if workspace.is_some() {
        let stage = args.stage("matmul_reduce").unit("matmul_reduce", args.elem).blocks_for(len);
        let stage = define_epilogue(stage, params).param(partial).param(c).param(epilogue);
        stage.param(*params).param(split.splits).run()?;
    }
    Ok(())
}

/// What a unit that finishes sums is compiled with: others keep the registers that this takes.
fn define_epilogue<'a>(stage: Stage<'a>, params: &MatmulParams) -> Stage<'a> {
    match params.activation() {
        Some(op) => stage.define("ACTIVATION", op.expression()),
        None if params.residual_input().is_some() => stage.define("RESIDUAL", 1),
        None => stage,
    }
}

/// An operand as a kernel reads it: along m or n (`outer`), along k, and along the batch.
struct Operand {
    address: u64,
    outer: (u64, i64),
    k: (u64, i64),
    batch: Vec<i64>,
}

impl Operand {
    fn a(args: &CudaArgs<'_>, params: &MatmulParams) -> Operand {
        let [outer, k] = params.a_strides;
        Operand::new(
            args.input(0).address,
            (params.m, outer),
            (params.k, k),
            &params.batch_sizes,
            params.a_batch_strides,
        )
    }

    fn b(args: &CudaArgs<'_>, params: &MatmulParams) -> Operand {
        let [k, outer] = params.b_strides;
        Operand::new(
            args.input(1).address,
            (params.n, outer),
            (params.k, k),
            &params.batch_sizes,
            params.b_batch_strides,
        )
    }

    /// Strides of dims of size 1 lead nowhere and count as 0.
    fn new<const N: usize>(
        address: u64,
        outer: (u64, i64),
        k: (u64, i64),
        sizes: &[u64; N],
        strides: [i64; N],
    ) -> Operand {
        let used = |(size, stride): (u64, i64)| (size, if size > 1 { stride } else { 0 });
        let batch = sizes.iter().zip(strides).map(|(&size, stride)| used((size, stride)).1).collect();
        Operand { address, outer: used(outer), k: used(k), batch }
    }

    /// True where neighbours along k lie closest.
    fn fast_k(&self) -> bool {
        let distance = |(size, stride): (u64, i64)| if size > 1 { stride.unsigned_abs() } else { u64::MAX };
        distance(self.k) <= distance(self.outer)
    }

    /// True where `elements` neighbours along the faster dim can be read as one everywhere.
    fn loads(&self, elements: i64, elem: DType) -> bool {
        let (fast, slow) = if self.fast_k() { (self.k, self.outer) } else { (self.outer, self.k) };
        let whole = |stride: &i64| stride % elements == 0;
        let aligned = self.address.is_multiple_of(elements as u64 * elem.size_bytes() as u64);
        aligned && fast.1 == 1 && whole(&slow.1) && self.batch.iter().all(whole)
    }
}

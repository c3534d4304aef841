//! Matrix products on CUDA: formulas are in [`crate::matmul`].
//!
//! The host picks a tile that keeps the device busy, which way each operand is read, and, where there are few tiles and
//! k is long, into how many parts k is divided; the parts are then summed in a fixed order.

use bytemuck::{Pod, Zeroable};

use super::{CudaArgs, CudaMemory, Stage};
use crate::matmul::MatmulParams;
use crate::{DType, Result};

/// Places along k that a block sums at least before k is divided among blocks.
const LEAST_K: u64 = 256;
/// The most parts that k is divided into.
const MOST_SPLITS: u64 = 32;

/// The kernels' `MatmulSplit`.
#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct MatmulSplit {
    splits: u64,
    k_per_split: u64,
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
    ordinary(args, &params)
}

/// On ordinary cores: any element type, any strides.
#[track_caller]
fn ordinary(args: &CudaArgs<'_>, params: &MatmulParams) -> Result<()> {
    let [a, b] = [Operand::a(args, params), Operand::b(args, params)];
    let load = if args.elem.size_bytes() == 8 { 2 } else { 4 };
    let vector = a.loads(load, args.elem) && b.loads(load, args.elem);
    let largest = if args.elem.compute() == DType::F32 { 128 } else { 64 };
    let tile = square_tile(params, largest, args.device.multiprocessors() as u64);
    let stage = args.stage("matmul_forward");
    let stage = stage.define("TILE", tile).define("VECTOR", u8::from(vector));
    let stage = stage.define("A_FAST_K", u8::from(a.fast_k())).define("B_FAST_K", u8::from(b.fast_k()));
    let step_k = if tile == 128 { 8 } else { 16 };
    run_tiled(args, params, stage.threads(if tile == 32 { 64 } else { 256 }), [tile, tile], step_k)
}

/// The largest tile of which there are enough to keep the device busy, counting that a long k can be divided.
fn square_tile(params: &MatmulParams, largest: u64, multiprocessors: u64) -> u64 {
    let suits = |tile: u64| {
        let whole_enough = params.m > tile / 2 && params.n > tile / 2;
        tile <= largest && whole_enough && tiles(params, [tile; 2]) * (params.k / 512).clamp(1, 8) >= multiprocessors
    };
    [128, 64].into_iter().find(|&tile| suits(tile)).unwrap_or(32)
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
    let [a, b, bias, c] =
        [args.input(0).address, args.input(1).address, args.optional_input(2), args.output(0).address];
    let stage = stage.blocks((tiles * split.splits) as usize).param(a).param(b).param(bias).param(c);
    stage.param(partial).param(*params).param(split).run()?;
    if workspace.is_some() {
        let stage = args.stage("matmul_reduce").unit("matmul_reduce", args.elem).blocks_for(len);
        stage.param(partial).param(bias).param(c).param(*params).param(split.splits).run()?;
    }
    Ok(())
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

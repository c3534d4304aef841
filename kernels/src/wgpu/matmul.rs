//! Matrix products on wgpu: formulas are in [`crate::matmul`].
//!
//! A few rows or columns are vectors, for which the other operand is read just once; all else is computed in square tiles.
//! The host picks a tile that keeps a device busy, which way each operand is read, and, where there are few tiles and k is
//! long, into how many parts k is divided; the parts are then summed in a fixed order.

use bytemuck::{Pod, Zeroable};

use super::wide::Wide;
use super::{Slot, Stage, WgpuArgs, place, size};
use crate::elementwise::ElementwiseOp;
use crate::matmul::MatmulParams;
use crate::{DType, Result};

/// Workgroups that keep a device busy. WebGPU does not tell how many cores there are: this is half of what the largest
/// GPUs have, and more than enough for small ones.
const BUSY_GROUPS: u64 = 64;
/// Places along k that a workgroup sums at least before k is divided among workgroups.
const LEAST_K: u64 = 256;
/// The most rows or columns of C that count as vectors.
const MOST_VECTORS: u64 = 8;
/// The most parts that k is divided into.
const MOST_SPLITS: u64 = 32;

/// A tile of C for each workgroup: `side` rows and columns in steps of `step_k` places of k, with `lane_tile` rows and
/// columns for each of `threads` invocations. They fetch four elements of either operand in a step:
/// `side * step_k = 4 * threads`.
#[derive(Clone, Copy)]
struct Tile {
    side: u32,
    step_k: u32,
    lane_tile: u32,
    threads: u32,
}

/// From the largest, which reads least, to the one for small matrices.
const TILES: [Tile; 3] = [
    Tile { side: 128, step_k: 8, lane_tile: 8, threads: 256 },
    Tile { side: 64, step_k: 16, lane_tile: 4, threads: 256 },
    Tile { side: 32, step_k: 8, lane_tile: 4, threads: 64 },
];

/// The kernels' `MatmulParams`.
#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct Params {
    m: u32,
    n: u32,
    k: u32,
    has_bias: u32,
    bias_stride: i32,
    alpha: u32,
    beta: u32,
    batch: u32,
    a_strides: [i32; 2],
    b_strides: [i32; 2],
    splits: u32,
    k_per_split: u32,
    unused: [u32; 2],
    batch_sizes: [u32; 8],
    a_batch_strides: [i32; 8],
    b_batch_strides: [i32; 8],
}

#[track_caller]
pub(crate) fn matmul_forward(args: &mut WgpuArgs<'_>) -> Result<()> {
    let compute = compute_of(args)?;
    let mut params: MatmulParams = args.params();
    if args.elem.is_float() && params.alpha == 0.0 {
        // As on the host, nothing of A and B counts then, not even NaN.
        params.k = 0;
    }
    if params.m * params.n * params.batch() as u64 == 0 {
        return Ok(());
    }
    let product = Product { args, compute, params };
    let [a_fast_k, b_fast_k] = product.fast_k();
    let (m, n) = (params.m, params.n);
    if m.min(n) <= MOST_VECTORS && params.k > 0 {
        // The larger operand is read once; of two small ones it does not matter which.
        return product.vectors(m <= n, if m <= n { b_fast_k } else { a_fast_k });
    }
    let tile = square_tile(&params);
    let stage = args.stage("matmul_forward").threads(tile.threads);
    let stage = stage.define("TILE", tile.side).define("STEP_K", tile.step_k).define("LANE_TILE", tile.lane_tile);
    let stage = stage.define("A_FAST_K", a_fast_k.into()).define("B_FAST_K", b_fast_k.into());
    let stage = stage.read("a", product.operand(0)).read("b", product.operand(1));
    product.run_tiled(stage, [tile.side.into(); 2], tile.step_k.into(), true)
}

/// What the kernels' `Compute` is: integers wrap alike whatever their sign, and are truncated at the store.
#[track_caller]
fn compute_of(args: &WgpuArgs<'_>) -> Result<&'static str> {
    match args.elem {
        DType::F32 | DType::F16 | DType::BF16 => Ok("alias Compute = f32;"),
        DType::I32 => Ok("alias Compute = i32;"),
        DType::U32 | DType::U8 => Ok("alias Compute = u32;"),
        _ => Err(args.unsupported()),
    }
}

/// The largest tile of which there are enough to keep a device busy, counting that a long k can be divided.
fn square_tile(params: &MatmulParams) -> Tile {
    let suits = |tile: &&Tile| {
        let side = u64::from(tile.side);
        let whole_enough = params.m > side / 2 && params.n > side / 2;
        whole_enough && tiles(params, [side; 2]) * (params.k / 512).clamp(1, 8) >= BUSY_GROUPS
    };
    *TILES.iter().find(suits).unwrap_or(&TILES[TILES.len() - 1])
}

/// How many tiles the whole batch has.
fn tiles(params: &MatmulParams, [tile_m, tile_n]: [u64; 2]) -> u64 {
    params.m.div_ceil(tile_m) * params.n.div_ceil(tile_n) * params.batch() as u64
}

/// How k is divided, `[splits, k_per_split]`: enough workgroups for a device, each with a fair share of k in whole steps.
fn divide_k(params: &MatmulParams, tiles: u64, step_k: u64) -> [u64; 2] {
    let wanted = if tiles < BUSY_GROUPS { (2 * BUSY_GROUPS).div_ceil(tiles) } else { 1 };
    let splits = wanted.min(params.k / LEAST_K).clamp(1, MOST_SPLITS);
    let k_per_split = params.k.div_ceil(splits).next_multiple_of(step_k).max(step_k);
    [params.k.div_ceil(k_per_split).max(1), k_per_split]
}

/// The stride of a dim as far as it leads anywhere.
fn used(size: u64, stride: i64) -> i64 {
    if size > 1 { stride } else { 0 }
}

/// How a word of C is stored: see `wgsl/matmul_tile.wgsl`.
const STORE: &str = "fn store(to: u32, lanes: Values_y) { store_word_y(to / LANES_y, pack_y(lanes)); }";
const STORE_ACTIVATED: &str =
    "fn store(to: u32, lanes: Values_y) { store_word_y(to / LANES_y, pack_y(activated(lanes))); }";
const STORE_BOTH: &str = "fn store(to: u32, lanes: Values_y) {
    store_word_pre(to / LANES_y, pack_y(lanes));
    store_word_y(to / LANES_y, pack_y(activated(lanes)));
}";

/// What stands before the expression of an activation, and what such expressions write constants with.
const ACTIVATION: &str = "fn c(value: f32) -> f32 { return value; }\nfn activation(x: f32) -> f32 { return ";

/// C and, where it is kept, the pre-activation. No word may have elements of two rows, as these belong to different
/// invocations: where rows do not end with a word, each element has a word of its own until the end.
struct Results<'a> {
    c: Slot,
    pre: Option<Slot>,
    wide: [Option<Wide<'a>>; 2],
}

impl<'a> Results<'a> {
    #[track_caller]
    fn new(args: &WgpuArgs<'a>, params: &MatmulParams) -> Result<Self> {
        let keeps_pre = args.n_outputs() > 1;
        if params.n.is_multiple_of((4 / args.elem.size_bytes()) as u64) {
            let pre = keeps_pre.then(|| args.output(1));
            return Ok(Results { c: args.output(0), pre, wide: [None, None] });
        }
        let c = if params.beta == 0.0 { args.wide(0)? } else { args.wide_kept(0)? };
        let pre = if keeps_pre { Some(args.wide(1)?) } else { None };
        Ok(Results { c: c.slot(), pre: pre.as_ref().map(Wide::slot), wide: [Some(c), pre] })
    }

    /// Packs what was written.
    #[track_caller]
    fn finish(self) -> Result<()> {
        self.wide.into_iter().flatten().try_for_each(Wide::finish)
    }
}

/// A launch of the kernel, and what its text calls Compute.
struct Product<'p, 'a> {
    args: &'p WgpuArgs<'a>,
    compute: &'static str,
    params: MatmulParams,
}

impl<'a> Product<'_, 'a> {
    /// For A and B, whether neighbours along k lie closest.
    fn fast_k(&self) -> [bool; 2] {
        let MatmulParams { m, n, k, a_strides, b_strides, .. } = self.params;
        let distance = |size: u64, stride: i64| if size > 1 { stride.unsigned_abs() } else { u64::MAX };
        let is_fast = |outer: (u64, i64), k: (u64, i64)| distance(k.0, k.1) <= distance(outer.0, outer.1);
        [is_fast((m, a_strides[0]), (k, a_strides[1])), is_fast((n, b_strides[1]), (k, b_strides[0]))]
    }

    /// A or B, as far as it is multiplied.
    fn operand(&self, number: usize) -> Slot {
        let p = &self.params;
        let (dims, batch_strides) = match number {
            0 => ([(p.m, p.a_strides[0]), (p.k, p.a_strides[1])], p.a_batch_strides),
            _ => ([(p.k, p.b_strides[0]), (p.n, p.b_strides[1])], p.b_batch_strides),
        };
        self.args.input(number).reaching(0, p.batch_sizes.into_iter().zip(batch_strides).chain(dims))
    }

    /// A few vectors x with a large matrix w, which is B or A.
    #[track_caller]
    fn vectors(&self, w_is_b: bool, fast_k: bool) -> Result<()> {
        let args = self.args;
        let [w, x] = if w_is_b { [1, 0] } else { [0, 1] };
        let count = self.params.m.min(self.params.n).next_power_of_two();
        let stage = args.stage("matmul_forward").file("matmul_vector").define("COUNT", count as u32);
        let stage = stage.define("W_IS_B", w_is_b.into()).define("W_FAST_K", fast_k.into());
        let stage = stage.read("w", self.operand(w)).read("x", self.operand(x));
        let outers = if fast_k { 16 } else { 128 };
        self.run_tiled(stage, if w_is_b { [count, outers] } else { [outers, count] }, 32, false)
    }

    /// Launches a stage of which each workgroup computes one tile of one part of k, and the sum of the parts. `by_words` says
    /// that it writes neighbours together, as results need that share words.
    #[track_caller]
    fn run_tiled(&self, stage: Stage<'a>, tile: [u64; 2], step_k: u64, by_words: bool) -> Result<()> {
        let (args, params) = (self.args, &self.params);
        let tiles = tiles(params, tile);
        let [splits, k_per_split] = divide_k(params, tiles, step_k);
        let len = params.batch() * (params.m * params.n) as usize;
        let kernel_params = self.kernel_params(splits, k_per_split)?;
        let results = Results::new(args, params)?;
        let c = results.c;
        let is_reduced = splits > 1 || !by_words && c.dtype.size_bytes() < 4;
        let stage = stage.params(&kernel_params).groups((tiles * splits) as usize);
        if is_reduced {
            let sums = match args.elem {
                elem if elem.is_float() => DType::F32,
                DType::I32 => DType::I32,
                _ => DType::U32,
            };
            let workspace = args.workspace(sums, splits as usize * len)?;
            self.unfinished(stage, workspace.slot()).run()?;
            let stage = args.stage("matmul_reduce").file("matmul_reduce").read("workspace", workspace.slot());
            let words = len / (4 / c.dtype.size_bytes());
            self.finished(stage, &results).params(&kernel_params).groups_for(words).run()?;
        } else {
            self.finished(stage, &results).run()?;
        }
        results.finish()
    }

    /// A stage that writes its sums as they are.
    fn unfinished(&self, stage: Stage<'a>, sums: Slot) -> Stage<'a> {
        let stage = stage.define("SPLIT", 1).define("RESIDUAL", 0).absent("bias").absent("residual");
        stage.words("y", sums).text(self.compute).text(STORE)
    }

    /// A stage that finishes sums and writes C.
    fn finished(&self, stage: Stage<'a>, results: &Results<'a>) -> Stage<'a> {
        let (args, params) = (self.args, &self.params);
        let residual = params.residual_input().map(|input| args.input(input));
        let stage = stage.define("SPLIT", 0).define("RESIDUAL", residual.is_some().into());
        let stage = stage.optional("bias", (params.has_bias == 1).then(|| args.input(2)));
        let stage = stage.optional("residual", residual).words("y", results.c).text(self.compute);
        let Some(op) = params.activation() else { return stage.text(STORE) };
        let stage = match results.pre {
            Some(pre) => stage.words("pre", pre).text(STORE_BOTH),
            None => stage.text(STORE_ACTIVATED),
        };
        let stage = stage.text(match args.elem {
            DType::F16 => "fn rounded(x: f32) -> f32 { return f16_to_f32(f32_to_f16(x)); }",
            DType::BF16 => "fn rounded(x: f32) -> f32 { return bf16_to_f32(f32_to_bf16(x)); }",
            _ => "fn rounded(x: f32) -> f32 { return x; }",
        });
        stage.text_of([ACTIVATION, op.expression(), "; }"])
    }

    #[track_caller]
    fn kernel_params(&self, splits: u64, k_per_split: u64) -> Result<Params> {
        let p = &self.params;
        let batch = p.batch() as u64;
        size(splits.saturating_mul(batch).saturating_mul(p.m).saturating_mul(p.n))?;
        let scalar = |value: f64| match self.args.elem.is_float() {
            true => (value as f32).to_bits(),
            false => value as i64 as u32,
        };
        let mut params = Params {
            m: size(p.m)?,
            n: size(p.n)?,
            k: size(p.k)?,
            has_bias: size(p.has_bias)?,
            bias_stride: place(used(p.n, p.bias_stride))?,
            alpha: scalar(p.alpha),
            beta: scalar(p.beta),
            batch: size(batch)?,
            a_strides: [place(used(p.m, p.a_strides[0]))?, place(used(p.k, p.a_strides[1]))?],
            b_strides: [place(used(p.k, p.b_strides[0]))?, place(used(p.n, p.b_strides[1]))?],
            splits: size(splits)?,
            k_per_split: size(k_per_split)?,
            unused: [0; 2],
            batch_sizes: [1; 8],
            a_batch_strides: [0; 8],
            b_batch_strides: [0; 8],
        };
        for (dim, &len) in p.batch_sizes.iter().enumerate() {
            params.batch_sizes[dim] = size(len)?;
            params.a_batch_strides[dim] = place(used(len, p.a_batch_strides[dim]))?;
            params.b_batch_strides[dim] = place(used(len, p.b_batch_strides[dim]))?;
        }
        Ok(params)
    }
}

//! Attention on wgpu: which stages, their tiles, and their workgroups. Formulas are in [`crate::attention`].
//!
//! The register tiles are as wide as the head dims, in steps of 32, so each width is a unit of its own; what is wider than
//! the registers allow is dealt to several workgroups.
//!
//! A kernel may have eight storage buffers, and the backward of the keys would need eleven. So what belongs to a query (lse
//! and delta) and the key lengths go into one buffer, which the stage that computes delta writes anyway; and the bias or the
//! mask is one buffer, of which the kernels are told what it is. Where there are both, a stage of its own makes them one
//! (the bias, and negative infinity where the mask hides), as large as both broadcast together: that is seldom, and costs no
//! memory where there is only one of them.

use bytemuck::{Pod, Zeroable};

use super::args::Workspace;
use super::copy::{sizes, strides};
use super::wide::run_of;
use super::{Slot, Stage, WgpuArgs, size};
use crate::attention::AttentionParams;
use crate::{DType, Result};

/// Invocations along the keys of a tile, and along its queries; each has 4 x 4 pairs. (In the backward of the keys the two
/// change their roles.)
const WIDE: u32 = 8;
const HIGH: u32 = 16;
/// Columns of the head dim that are staged at a time.
const DEPTH: u32 = 16;
/// Columns of a sum that registers hold: of one sum, and of each of two.
const WIDEST: u64 = 128;
const WIDEST_OF_TWO: u64 = 64;
/// Invocations that share a query in `attention_delta`.
const ROW_THREADS: usize = 16;

/// The kernels' `PART`: which sums of keys a launch computes.
const DK: u32 = 0;
const DV: u32 = 1;
const BOTH: u32 = 2;

/// The kernels' `AttentionParams`.
#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct Params {
    batch: u32,
    heads: u32,
    kv_heads: u32,
    q_len: u32,
    k_len: u32,
    head_dim: u32,
    value_dim: u32,
    causal: u32,
    /// Of q, k, v, o, do, dq, dk, dv, bias, mask, and what hides.
    strides: [[i32; 4]; 11],
    hiding_sizes: [u32; 4],
    causal_offset: i32,
    has_key_lengths: u32,
    scale: f32,
    unused: u32,
    threshold: u32,
    kept_factor: f32,
    unused_of_dropout: [u32; 2],
    dropout_stream: [u32; 4],
}

impl Params {
    #[track_caller]
    fn new(p: &AttentionParams, hiding_sizes: [u64; 4], hiding_strides: [i64; 4]) -> Result<Params> {
        let [queries, keys] = [(p.heads, p.q_len), (p.kv_heads, p.k_len)];
        let of = |(heads, len): (u64, u64), dim: u64, values: [i64; 4]| {
            strides(std::array::from_fn(|at| if [p.batch, heads, len, dim][at] > 1 { values[at] } else { 0 }))
        };
        // Beyond these nothing more is hidden or seen.
        let causal_offset = p.causal_offset.clamp(-(p.q_len as i64) - 1, p.k_len as i64);
        let [seed, number] = p.dropout_stream;
        size((p.batch * p.heads * p.q_len).max(p.k_len))?;
        Ok(Params {
            batch: size(p.batch)?,
            heads: size(p.heads)?,
            kv_heads: size(p.kv_heads)?,
            q_len: size(p.q_len)?,
            k_len: size(p.k_len)?,
            head_dim: size(p.head_dim)?,
            value_dim: size(p.value_dim)?,
            causal: size(p.causal)?,
            strides: [
                of(queries, p.head_dim, p.q_strides)?,
                of(keys, p.head_dim, p.k_strides)?,
                of(keys, p.value_dim, p.v_strides)?,
                of(queries, p.value_dim, p.o_strides)?,
                of(queries, p.value_dim, p.do_strides)?,
                of(queries, p.head_dim, p.dq_strides)?,
                of(keys, p.head_dim, p.dk_strides)?,
                of(keys, p.value_dim, p.dv_strides)?,
                of(queries, p.k_len, p.bias_strides)?,
                of(queries, p.k_len, p.mask_strides)?,
                of(queries, p.k_len, hiding_strides)?,
            ],
            hiding_sizes: sizes(hiding_sizes)?,
            causal_offset: causal_offset as i32,
            has_key_lengths: size(p.has_key_lengths)?,
            scale: p.scale as f32,
            unused: 0,
            threshold: ((1.0 - p.dropout) * 16_777_216.0).ceil() as u32,
            kept_factor: if p.dropout < 1.0 { (1.0 / (1.0 - p.dropout)) as f32 } else { 0.0 },
            unused_of_dropout: [0; 2],
            dropout_stream: [seed as u32, (seed >> 32) as u32, number as u32, (number >> 32) as u32],
        })
    }
}

/// What the kernels' `HIDING` says of the buffer bound as `hiding`.
enum Hiding {
    Nothing,
    Bias,
    Mask,
    /// Bias and mask as one bias.
    Both(Workspace),
}

/// A launch of attention.
struct Call<'p, 'a> {
    args: &'p WgpuArgs<'a>,
    p: AttentionParams,
    params: Params,
    hiding: Hiding,
}

impl<'p, 'a> Call<'p, 'a> {
    #[track_caller]
    fn new(args: &'p WgpuArgs<'a>) -> Result<Self> {
        args.floats_only()?;
        let p: AttentionParams = args.params();
        let alone = |strides| Params::new(&p, [0; 4], strides);
        let (params, hiding) = match (p.has_bias, p.has_mask) {
            (0, 0) => (alone([0; 4])?, Hiding::Nothing),
            (_, 0) => (alone(p.bias_strides)?, Hiding::Bias),
            (0, _) => (alone(p.mask_strides)?, Hiding::Mask),
            _ => both(args, &p)?,
        };
        Ok(Call { args, p, params, hiding })
    }

    /// A stage of `file` with what all tiles have: sums of `cols` columns, and the tensors.
    fn stage(&self, file: &'static str, entry: &'static str, cols: u64, d_o: Option<Slot>) -> Stage<'a> {
        let args = self.args;
        let (kind, hiding) = match &self.hiding {
            Hiding::Nothing => (0, None),
            Hiding::Bias => (1, Some(args.input(3))),
            Hiding::Mask => (2, Some(args.input(4))),
            Hiding::Both(workspace) => (1, Some(workspace.slot())),
        };
        args.stage(entry)
            .file(file)
            .threads(WIDE * HIGH)
            .define("WIDE", WIDE)
            .define("HIGH", HIGH)
            .define("DEPTH", DEPTH)
            .define("GROUPS", cols as u32 / (4 * WIDE))
            .define("HIDING", kind)
            .define("DROPOUT", (self.p.dropout > 0.0).into())
            .params(&self.params)
            .read("q", args.input(0))
            .read("k", args.input(1))
            .read("v", args.input(2))
            .optional("d_o", d_o)
            .optional("hiding", hiding)
    }

    /// Workgroups for the rows of all heads and the columns of a sum.
    fn groups(&self, heads: u64, len: u64, side: u32, dim: u64, cols: u64) -> usize {
        (self.p.batch * heads * len.div_ceil(u64::from(side)) * dim.div_ceil(cols).max(1)) as usize
    }
}

/// The columns of a matrix with `dim` of them that a workgroup sums up: all, or equal parts of at most `widest`.
fn width(dim: u64, widest: u64) -> u64 {
    let step = u64::from(4 * WIDE);
    if dim == 0 { step } else { dim.div_ceil(dim.div_ceil(widest)).next_multiple_of(step) }
}

/// Bias and mask as one, of size 1 along the dims where both are broadcast.
#[track_caller]
fn both(args: &WgpuArgs<'_>, p: &AttentionParams) -> Result<(Params, Hiding)> {
    let full = [p.batch, p.heads, p.q_len, p.k_len];
    let is_used = |dim: usize| p.bias_strides[dim] != 0 || p.mask_strides[dim] != 0;
    let sizes: [u64; 4] = std::array::from_fn(|dim| if is_used(dim) { full[dim] } else { full[dim].min(1) });
    let mut strides = [0; 4];
    let mut len = 1;
    for dim in (0..4).rev() {
        strides[dim] = if is_used(dim) { len as i64 } else { 0 };
        len *= sizes[dim];
    }
    size(len)?;
    let params = Params::new(p, sizes, strides)?;
    let workspace = args.workspace(DType::F32, len as usize)?;
    args.stage("attention_hiding")
        .read("bias", args.input(3))
        .read("mask", args.input(4))
        .write("hiding", workspace.slot())
        .params(&params)
        .groups_for(len as usize)
        .run()?;
    Ok((params, Hiding::Both(workspace)))
}

#[track_caller]
pub(crate) fn forward(args: &mut WgpuArgs<'_>) -> Result<()> {
    let call = Call::new(args)?;
    let p = &call.p;
    let o = args.runs(0, run_of(p.value_dim, p.o_strides))?;
    let cols = width(p.value_dim, WIDEST);
    call.stage("attention", "attention_forward", cols, None)
        .optional("key_lengths", (p.has_key_lengths == 1).then(|| args.input(5)))
        .write("o", o.slot())
        .write("lse", args.output(1))
        .groups(call.groups(p.heads, p.q_len, 4 * HIGH, p.value_dim, cols))
        .run()?;
    o.finish()
}

#[track_caller]
pub(crate) fn backward(args: &mut WgpuArgs<'_>) -> Result<()> {
    let call = Call::new(args)?;
    let saved = call.saved()?;
    call.keys(saved.slot())?;
    call.queries(saved.slot())
}

impl Call<'_, '_> {
    /// What the kernels read of each query, and the key lengths: `attention_delta`.
    #[track_caller]
    fn saved(&self) -> Result<Workspace> {
        let (args, p) = (self.args, &self.p);
        let rows = (p.batch * p.heads * p.q_len) as usize;
        size(2 * rows as u64 + p.batch)?;
        let saved = args.workspace(DType::F32, 2 * rows + p.batch as usize)?;
        let stage = args.stage("attention_delta").file("attention_backward").params(&self.params);
        stage
            .read("o", args.input(6))
            .read("d_o", args.input(8))
            .read("lse", args.input(7))
            .optional("key_lengths", (p.has_key_lengths == 1).then(|| args.input(5)))
            .write("saved", saved.slot())
            .groups(rows.div_ceil(256 / ROW_THREADS).max(p.batch.div_ceil(256) as usize))
            .run()?;
        Ok(saved)
    }

    /// dk and dv: together where registers hold both sums, else one after the other.
    #[track_caller]
    fn keys(&self, saved: Slot) -> Result<()> {
        let (args, p) = (self.args, &self.p);
        // One function writes both, so both go by words or neither does.
        let run = run_of(p.head_dim, p.dk_strides).min(run_of(p.value_dim, p.dv_strides));
        let (dk, dv) = (args.runs(1, run)?, args.runs(2, run)?);
        let run = |part: u32, dim: u64| {
            let cols = width(dim, WIDEST);
            self.stage("attention_backward_keys", "attention_backward_keys", cols, Some(args.input(8)))
                .read("saved", saved)
                .write("dk", dk.slot())
                .write("dv", dv.slot())
                .define("PART", part)
                .groups(self.groups(p.kv_heads, p.k_len, 4 * HIGH, dim, cols))
                .run()
        };
        if p.head_dim.max(p.value_dim) <= WIDEST_OF_TWO {
            run(BOTH, p.head_dim.max(p.value_dim))?;
        } else {
            run(DV, p.value_dim)?;
            run(DK, p.head_dim)?;
        }
        dk.finish()?;
        dv.finish()
    }

    /// dq, and the gradient of the bias where it is asked for.
    #[track_caller]
    fn queries(&self, saved: Slot) -> Result<()> {
        let (args, p) = (self.args, &self.p);
        let dq = args.runs(0, run_of(p.head_dim, p.dq_strides))?;
        let dbias = if args.n_outputs() > 3 { Some(args.once(3)?) } else { None };
        // A kernel that writes no gradient of a bias still names where it would.
        let nowhere = args.workspace(DType::F32, 1)?;
        let cols = width(p.head_dim, WIDEST);
        self.stage("attention_backward", "attention_backward_queries", cols, Some(args.input(8)))
            .read("saved", saved)
            .write("dq", dq.slot())
            .write("dbias", dbias.as_ref().map_or(nowhere.slot(), |dbias| dbias.slot()))
            .define("HAS_DBIAS", dbias.is_some().into())
            .groups(self.groups(p.heads, p.q_len, 4 * HIGH, p.head_dim, cols))
            .run()?;
        dq.finish()?;
        dbias.map_or(Ok(()), |dbias| dbias.finish())
    }
}

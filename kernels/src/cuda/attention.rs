//! Attention on CUDA: which kernels serve a launch. Formulas are in [`crate::attention`].
//!
//! [`FORWARD`] and [`BACKWARD`] list the variants from the most special to the one that serves everything; the first that
//! is made for the element type and the architecture and that can serve the launch is taken.

mod simt;
mod tensor;
#[cfg(test)]
mod tests;

use std::ops::Range;

use super::{CudaArgs, Stage};
use crate::attention::AttentionParams;
use crate::{DType, Result};

/// A set of kernels that gives the whole result of a launch.
struct Variant {
    elems: &'static [DType],
    /// Ten times the compute capability: from the first, before the second.
    architectures: Range<u32>,
    /// Whether sizes, layouts and the device's shared memory suit it.
    serves: fn(&Request) -> bool,
    run: fn(&CudaArgs<'_>, &Request) -> Result<()>,
}

const HALVES: &[DType] = &[DType::F16, DType::BF16];
const FLOATS: &[DType] = &[DType::F16, DType::BF16, DType::F32, DType::F64];
const ANY_ARCHITECTURE: Range<u32> = 0..u32::MAX;
/// Where there are asynchronous copies and products of halves by a warp, and on everything newer.
const WARP_PRODUCTS: Range<u32> = 80..u32::MAX;

/// Variants of the forward. One that needs instructions of a single architecture (products by four warps on 9.0, say)
/// goes first, with `architectures: 90..91`; what it does not serve falls to those below it.
static FORWARD: [Variant; 2] = [
    Variant { elems: HALVES, architectures: WARP_PRODUCTS, serves: tensor::serves_forward, run: tensor::forward },
    Variant { elems: FLOATS, architectures: ANY_ARCHITECTURE, serves: |_| true, run: simt::forward },
];

/// Variants of the backward, likewise.
static BACKWARD: [Variant; 2] = [
    Variant { elems: HALVES, architectures: WARP_PRODUCTS, serves: tensor::serves_backward, run: tensor::backward },
    Variant { elems: FLOATS, architectures: ANY_ARCHITECTURE, serves: |_| true, run: simt::backward },
];

/// A matrix that a launch accesses: its address, its strides with the columns last, and its columns.
type Operand = (u64, [i64; 4], u64);

/// What is asked for, and on what.
struct Request {
    elem: DType,
    architecture: u32,
    /// The shared memory that one block can have.
    max_shared_bytes: usize,
    params: AttentionParams,
    /// Everything that is read and written by rows.
    operands: Vec<Operand>,
}

impl Request {
    fn new(args: &CudaArgs<'_>, is_backward: bool) -> Request {
        let params: AttentionParams = args.params();
        let (d, d_v) = (params.head_dim, params.value_dim);
        let [q, k, v] = [0, 1, 2].map(|index| args.input(index).address);
        let mut operands = vec![(q, params.q_strides, d), (k, params.k_strides, d), (v, params.v_strides, d_v)];
        if is_backward {
            let [dq, dk, dv] = [0, 1, 2].map(|index| args.output(index).address);
            operands.push((args.input(8).address, params.do_strides, d_v));
            operands.extend([(dq, params.dq_strides, d), (dk, params.dk_strides, d), (dv, params.dv_strides, d_v)]);
        } else {
            operands.push((args.output(0).address, params.o_strides, d_v));
        }
        Request {
            elem: args.elem,
            architecture: args.device.architecture().number,
            max_shared_bytes: args.device.engine().max_shared_bytes(),
            params,
            operands,
        }
    }

    /// True where in every row each group of `count` neighbours can be accessed as one, by 16 bytes at most.
    fn is_aligned(&self, count: u64) -> bool {
        let bytes = (count * self.elem.size_bytes() as u64).min(16);
        let step = bytes as i64 / self.elem.size_bytes() as i64;
        self.operands.iter().all(|&(address, [batch, head, row, col], cols)| {
            address.is_multiple_of(bytes)
                && cols.is_multiple_of(count)
                && (col == 1 || cols == 0)
                && [batch, head, row].iter().all(|stride| stride % step == 0)
        })
    }

    /// The first variant that serves this.
    fn variant<'a>(&self, variants: &'a [Variant]) -> Option<&'a Variant> {
        variants.iter().find(|variant| {
            variant.elems.contains(&self.elem)
                && variant.architectures.contains(&self.architecture)
                && (variant.serves)(self)
        })
    }

    /// The heads of queries, and those of keys, of the whole batch.
    fn heads(&self) -> [usize; 2] {
        [self.params.heads, self.params.kv_heads].map(|heads| (self.params.batch * heads) as usize)
    }
}

#[track_caller]
pub(crate) fn forward(args: &mut CudaArgs<'_>) -> Result<()> {
    run(args, &FORWARD, false)
}

#[track_caller]
pub(crate) fn backward(args: &mut CudaArgs<'_>) -> Result<()> {
    run(args, &BACKWARD, true)
}

#[track_caller]
fn run(args: &CudaArgs<'_>, variants: &[Variant], is_backward: bool) -> Result<()> {
    let request = Request::new(args, is_backward);
    let variant = request.variant(variants).ok_or_else(|| args.unsupported())?;
    (variant.run)(args, &request)
}

/// Runs a stage of the forward: its parameters are the same for every variant.
#[track_caller]
fn run_forward(args: &CudaArgs<'_>, request: &Request, stage: Stage<'_>) -> Result<()> {
    let inputs = [0, 1, 2, 3, 4, 5].map(|index| args.input(index).address);
    let outputs = [args.output(0).address, args.output(1).address];
    inputs.into_iter().chain(outputs).fold(stage, Stage::param).param(request.params).run()
}

/// Writes delta, which every variant of the backward reads, to `delta`.
#[track_caller]
fn run_delta(args: &CudaArgs<'_>, request: &Request, delta: u64) -> Result<()> {
    const THREADS: usize = 256;
    let rows = request.heads()[0] * request.params.q_len as usize;
    let stage = args.stage("attention_delta").unit("attention_delta", args.elem).blocks(rows.div_ceil(THREADS / 32));
    [args.input(6).address, args.input(8).address, delta]
        .into_iter()
        .fold(stage, Stage::param)
        .param(request.params)
        .run()
}

/// How many bytes delta takes.
fn delta_bytes(request: &Request) -> usize {
    request.heads()[0] * request.params.q_len as usize * request.elem.compute().size_bytes()
}

/// Runs a stage of the backward, which reads all inputs and delta and writes two outputs.
#[track_caller]
fn run_backward(args: &CudaArgs<'_>, request: &Request, stage: Stage<'_>, delta: u64, outputs: [u64; 2]) -> Result<()> {
    let inputs = [0, 1, 2, 3, 4, 5, 8, 7].map(|index| args.input(index).address);
    inputs.into_iter().chain([delta]).chain(outputs).fold(stage, Stage::param).param(request.params).run()
}

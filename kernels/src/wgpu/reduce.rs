//! Reductions on wgpu: formulas are in [`crate::reduce`], the ways through memory in `wgsl/reduce.wgsl`.

use bytemuck::{Pod, Zeroable};

use super::{Slot, Stage, WgpuArgs, place, size};
use crate::dims::{Dims, MAX_RANK};
use crate::reduce::ReduceParams;
use crate::{DType, Result};

const THREADS: u64 = 256;
/// Lanes of an output that has few elements.
const FEW_LANES: u64 = 32;
/// Elements that a lane should have at least before an output goes to several workgroups.
const MIN_PER_LANE: u64 = 16;
/// Workgroups that keep any device busy; a fixed number, so that results do not depend on the device.
const BUSY: u64 = 256;
/// Parts of an output at most.
const MAX_PARTS: u64 = 1024;

/// The kernels' `ReduceParams`.
#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct Params {
    rows: u32,
    cols: u32,
    lanes: u32,
    parts: u32,
    part_len: u32,
    kept_rank: u32,
    reduced_rank: u32,
    argument: f32,
    root: f32,
    unused: [u32; 3],
    kept_shape: [u32; MAX_RANK],
    kept_strides: [i32; MAX_RANK],
    reduced_shape: [u32; MAX_RANK],
    reduced_strides: [i32; MAX_RANK],
}

/// An op: the file that has it, its number there, and the words of its accumulator.
#[derive(Clone, Copy)]
struct Op {
    file: &'static str,
    number: u32,
    words: usize,
}

/// An op whose accumulator is a number.
const fn number(number: u32) -> Op {
    Op { file: "reduce_numbers", number, words: 1 }
}

/// The numbers that an op's argument becomes.
#[derive(Clone, Copy, Default)]
struct Arguments {
    argument: f32,
    root: f32,
}

#[track_caller]
fn sizes(dims: &Dims) -> Result<([u32; MAX_RANK], [i32; MAX_RANK])> {
    let (mut shape, mut strides) = ([1; MAX_RANK], [0; MAX_RANK]);
    let (of_shape, of_strides) = dims.sizes_and_strides();
    for dim in 0..dims.rank() {
        (shape[dim], strides[dim]) = (size(of_shape[dim])?, place(of_strides[dim])?);
    }
    Ok((shape, strides))
}

/// Whether neighbouring threads have neighbouring outputs, and how many lanes an output has.
fn lanes(params: &ReduceParams) -> (bool, u64) {
    let (kept_len, kept_stride) = params.kept.innermost();
    let (reduced_len, reduced_stride) = params.reduced.innermost();
    let by_columns = kept_len > 1 && reduced_len > 1 && kept_stride.unsigned_abs() < reduced_stride.unsigned_abs();
    let lanes = if by_columns {
        THREADS / params.rows.next_power_of_two().clamp(2, FEW_LANES)
    } else if params.cols > FEW_LANES * MIN_PER_LANE {
        THREADS
    } else {
        params.cols.div_ceil(4).max(1).next_power_of_two().min(FEW_LANES)
    };
    (by_columns, lanes)
}

impl Params {
    #[track_caller]
    fn new(params: &ReduceParams, lanes: u64, arguments: Arguments) -> Result<Params> {
        let blocks = params.rows.div_ceil(THREADS / lanes).max(1);
        let parts = (BUSY / blocks).min(params.cols / (lanes * MIN_PER_LANE)).clamp(1, MAX_PARTS);
        let part_len = params.cols.div_ceil(parts).max(1);
        let (kept_shape, kept_strides) = sizes(&params.kept)?;
        let (reduced_shape, reduced_strides) = sizes(&params.reduced)?;
        Ok(Params {
            rows: size(params.rows)?,
            // Kernels step past the last element, so that its number leaves room.
            cols: place(params.cols as i64)? as u32,
            lanes: lanes as u32,
            parts: params.cols.div_ceil(part_len).max(1) as u32,
            part_len: size(part_len)?,
            kept_rank: params.kept.rank() as u32,
            reduced_rank: params.reduced.rank() as u32,
            argument: arguments.argument,
            root: arguments.root,
            unused: [0; 3],
            kept_shape,
            kept_strides,
            reduced_shape,
            reduced_strides,
        })
    }

    /// Workgroups for all outputs with `lanes` lanes each.
    fn groups(&self, lanes: u32) -> usize {
        (self.rows as usize).div_ceil(THREADS as usize / lanes as usize)
    }
}

/// What elements are once they are read, for the kernels' `Compute`.
fn compute(dtype: DType) -> Option<&'static str> {
    match dtype {
        DType::F16 | DType::BF16 | DType::F32 => Some(
            "alias Compute = f32;\n\
             fn lowest() -> f32 { return -inf(); }\n\
             fn highest() -> f32 { return inf(); }\n\
             fn is_true(x: f32) -> bool { return (bitcast<u32>(x) & 0x7fffffffu) != 0u; }",
        ),
        DType::I32 => Some(
            "alias Compute = i32;\n\
             fn lowest() -> i32 { return bitcast<i32>(0x80000000u); }\n\
             fn highest() -> i32 { return 0x7fffffff; }\n\
             fn is_true(x: i32) -> bool { return x != 0; }\n\
             fn is_nan(x: i32) -> bool { return false; }",
        ),
        DType::U32 | DType::U8 | DType::Bool => Some(
            "alias Compute = u32;\n\
             fn lowest() -> u32 { return 0u; }\n\
             fn highest() -> u32 { return 0xffffffffu; }\n\
             fn is_true(x: u32) -> bool { return x != 0u; }\n\
             fn is_nan(x: u32) -> bool { return false; }",
        ),
        DType::I64 | DType::F64 => None,
    }
}

/// What the output is made of, for the kernels' `Out`.
fn out(y: Slot) -> &'static str {
    match y.dtype {
        dtype if dtype.is_float() => "alias Out = f32;",
        DType::I32 => "alias Out = i32;",
        _ => "alias Out = u32;",
    }
}

/// Of x, what is reduced.
fn reached(x: Slot, params: &ReduceParams) -> Slot {
    let dims = [&params.kept, &params.reduced].map(|dims| {
        let (shape, strides) = dims.sizes_and_strides();
        shape.into_iter().zip(strides)
    });
    x.reaching(0, dims.into_iter().flatten())
}

/// Launches the stages of a reduction.
#[track_caller]
fn reduce(args: &WgpuArgs<'_>, op: Op, arguments: Arguments) -> Result<()> {
    let of: ReduceParams = args.params();
    let Some(compute) = compute(args.elem) else { return Err(args.unsupported()) };
    let (by_columns, lanes) = lanes(&of);
    let params = Params::new(&of, lanes, arguments)?;
    let (x, y) = (reached(args.input(0), &of), args.once(0)?);
    let stage = |entry: &'static str| -> Stage<'_> {
        args.stage(entry).file(op.file).define("OP", op.number).text(compute).text(out(y.slot()))
    };
    if params.parts == 1 {
        let entry = if by_columns { "reduce_columns" } else { "reduce_rows" };
        let stage = stage(entry).read("x", x).write("y", y.slot()).params(&params);
        stage.groups(params.groups(params.lanes)).run()?;
        return y.finish();
    }
    let n_accs = params.rows as usize * params.parts as usize;
    let accs = args.workspace(DType::U32, n_accs * op.words)?;
    let entry = if by_columns { "reduce_columns_parts" } else { "reduce_rows_parts" };
    let first = stage(entry).read("x", x).write("accs", accs.slot()).params(&params);
    first.groups(params.groups(params.lanes) * params.parts as usize).run()?;
    let lanes = FEW_LANES as u32;
    let last = stage("reduce_parts").read("accs", accs.slot()).write("y", y.slot());
    last.params(&Params { lanes, ..params }).groups(params.groups(lanes)).run()?;
    y.finish()
}

#[track_caller]
fn reduce_floats(args: &WgpuArgs<'_>, op: Op, arguments: Arguments) -> Result<()> {
    args.floats_only()?;
    reduce(args, op, arguments)
}

#[track_caller]
pub(crate) fn sum(args: &mut WgpuArgs<'_>) -> Result<()> {
    reduce(args, number(0), Arguments::default())
}

#[track_caller]
pub(crate) fn mean(args: &mut WgpuArgs<'_>) -> Result<()> {
    reduce_floats(args, number(1), Arguments::default())
}

#[track_caller]
pub(crate) fn prod(args: &mut WgpuArgs<'_>) -> Result<()> {
    reduce(args, number(2), Arguments::default())
}

#[track_caller]
pub(crate) fn max(args: &mut WgpuArgs<'_>) -> Result<()> {
    reduce(args, number(3), Arguments::default())
}

#[track_caller]
pub(crate) fn min(args: &mut WgpuArgs<'_>) -> Result<()> {
    reduce(args, number(4), Arguments::default())
}

#[track_caller]
pub(crate) fn any(args: &mut WgpuArgs<'_>) -> Result<()> {
    reduce(args, number(5), Arguments::default())
}

#[track_caller]
pub(crate) fn all(args: &mut WgpuArgs<'_>) -> Result<()> {
    reduce(args, number(6), Arguments::default())
}

#[track_caller]
pub(crate) fn argmax(args: &mut WgpuArgs<'_>) -> Result<()> {
    reduce(args, Op { file: "reduce_places", number: 0, words: 2 }, Arguments::default())
}

#[track_caller]
pub(crate) fn argmin(args: &mut WgpuArgs<'_>) -> Result<()> {
    reduce(args, Op { file: "reduce_places", number: 1, words: 2 }, Arguments::default())
}

#[track_caller]
pub(crate) fn norm(args: &mut WgpuArgs<'_>) -> Result<()> {
    let order = args.params::<ReduceParams>().argument;
    let number = match order {
        f64::INFINITY => 0,
        f64::NEG_INFINITY => 1,
        0.0 => 2,
        1.0 => 3,
        2.0 => 4,
        _ => 5,
    };
    let arguments = Arguments { argument: order as f32, root: (1.0 / order) as f32 };
    reduce_floats(args, Op { file: "reduce_norms", number, words: 1 }, arguments)
}

#[track_caller]
pub(crate) fn logsumexp(args: &mut WgpuArgs<'_>) -> Result<()> {
    reduce_floats(args, Op { file: "reduce_exponentials", number: 0, words: 2 }, Arguments::default())
}

/// A variance or, of the other number, a standard deviation.
#[track_caller]
fn moments(args: &WgpuArgs<'_>, number: u32) -> Result<()> {
    let ReduceParams { cols, argument: correction, .. } = args.params();
    let divisor = (cols as f64 - correction).max(0.0) as f32;
    let arguments = Arguments { argument: divisor, root: 0.0 };
    reduce_floats(args, Op { file: "reduce_moments", number, words: 3 }, arguments)
}

#[track_caller]
pub(crate) fn var(args: &mut WgpuArgs<'_>) -> Result<()> {
    moments(args, 0)
}

#[track_caller]
pub(crate) fn std(args: &mut WgpuArgs<'_>) -> Result<()> {
    moments(args, 1)
}

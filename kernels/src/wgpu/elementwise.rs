//! Elementwise ops on wgpu: what an op is, is its row of [`crate::elementwise`]'s table.

use bytemuck::{Pod, Zeroable};

use super::copy::{sizes, strides};
use super::windows::ranges;
use super::{Slot, Stage, WgpuArgs, size};
use crate::dims::MAX_RANK;
use crate::elementwise::{ElementwiseOp, ElementwiseParams, Typing};
use crate::{DType, Error, ErrorKind, Result};

/// The kernels' `ElementwiseParams`.
#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct Params {
    len: u32,
    rank: u32,
    unused: [u32; 2],
    shape: [u32; 8],
    strides: [[i32; 8]; 3],
    scalars: [u32; 4],
    values: [u32; 4],
}

/// The operands' names.
const NAMES: [(&str, &str); 3] = [("a", "KIND_A"), ("b", "KIND_B"), ("c", "KIND_C")];

/// The host side of every elementwise kernel.
#[track_caller]
pub(crate) fn run<O: ElementwiseOp>(args: &mut WgpuArgs<'_>) -> Result<()> {
    let p: ElementwiseParams = args.params();
    let op = O::ALL[p.op as usize];
    let elem = computed(args)?;
    let is_float = elem.is_float();
    if !is_float && op.int_block().is_none() {
        return Err(Error::dtype(op.name(), format!("got {elem}, expected a floating-point dtype")));
    }
    let y = args.output(0);
    if !is_contiguous(&p) {
        let views = args.inputs.iter().zip(strides_of_views(&p));
        let views = views.map(|(view, strides)| view.reaching(0, p.shape.into_iter().zip(strides)));
        return launch(args, op, elem, &p, &views.collect::<Vec<_>>(), y);
    }
    let slots: Vec<Slot> = args.inputs.iter().chain([&y]).copied().collect();
    for (first, len) in ranges(&args.device.limits(), &slots, y.len) {
        let views: Vec<Slot> = args.inputs.iter().map(|view| view.part(first, len)).collect();
        let of_range = ElementwiseParams { len: len as u64, ..p };
        launch(args, op, elem, &of_range, &views, y.part(first, len))?;
    }
    Ok(())
}

/// The op over the elements of `y`, whose operands are `views` where they are no numbers.
#[track_caller]
fn launch<O: ElementwiseOp>(
    args: &WgpuArgs<'_>,
    op: O,
    elem: DType,
    p: &ElementwiseParams,
    views: &[Slot],
    y: Slot,
) -> Result<()> {
    let words = y.len.div_ceil(4 / y.dtype.size_bytes());
    let mut stage = args.stage("elementwise").define("ARITY", O::ARITY as u32);
    stage = stage.define("CONTIGUOUS", is_contiguous(p).into()).text(compute(elem));
    stage = with_op(stage, elem, op.expression());
    stage = operands(views, stage, p).words("y", y);
    stage = stage.functions(if elem.is_float() { "reals" } else { "integers" });
    if op.row().typing == Typing::Quotient && !elem.is_float() {
        stage = stage.text("fn check(divisor: Compute, i: u32) { check_divisor(divisor, i); }");
        stage = stage.faults(op.name(), divided_by_zero);
    } else {
        stage = stage.text("fn check(divisor: Compute, i: u32) {}");
    }
    stage.params(&params(p, elem)?).groups_for(words).run()
}

/// The strides of the operands that are views, in the order of the inputs.
fn strides_of_views(p: &ElementwiseParams) -> impl Iterator<Item = [i64; MAX_RANK]> + '_ {
    p.kinds.iter().zip(p.strides).filter(|&(&kind, _)| kind == ElementwiseParams::VIEW).map(|(_, strides)| strides)
}

/// The dtype to compute in. Small integers beside a number are promoted to i64, whose values i32 holds as well unless
/// u32 takes part.
#[track_caller]
fn computed(args: &WgpuArgs<'_>) -> Result<DType> {
    let takes = |dtype: DType| args.inputs.iter().any(|input| input.dtype == dtype);
    match args.elem {
        DType::I64 if !takes(DType::U32) => Ok(DType::I32),
        elem if elem.size_bytes() == 8 => Err(args.unsupported()),
        elem => Ok(elem),
    }
}

fn divided_by_zero(_: i64, _: i64, _: i64) -> ErrorKind {
    ErrorKind::Argument("division of an integer by zero".into())
}

/// What is computed with.
fn compute(elem: DType) -> &'static str {
    match elem {
        DType::U32 => "alias Compute = u32;",
        elem if elem.is_float() => "alias Compute = f32;",
        _ => "alias Compute = i32;",
    }
}

/// Adds the function of the op.
fn with_op<'a>(stage: Stage<'a>, elem: DType, expression: &'static str) -> Stage<'a> {
    // Unsigned numbers have no sign to turn.
    let expression = if elem == DType::U32 && expression == "-x" { "Compute(0) - x" } else { expression };
    const HEAD: &str =
        "fn op(x: Compute, y: Compute, z: Compute, s0: Compute, s1: Compute) -> Compute { return Compute(";
    stage.text_of([HEAD, expression, "); }"])
}

/// Binds the views and says what the others are.
fn operands<'a>(views: &[Slot], mut stage: Stage<'a>, p: &ElementwiseParams) -> Stage<'a> {
    let mut views = views.iter();
    for (&(name, kind), &is) in NAMES.iter().zip(&p.kinds) {
        stage = stage.define(kind, is as u32);
        stage = stage.optional(name, if is == ElementwiseParams::VIEW { views.next().copied() } else { None });
    }
    stage
}

/// Whether element i of every view is its i-th in memory.
fn is_contiguous(p: &ElementwiseParams) -> bool {
    p.rank == 1 && (0..3).all(|i| p.kinds[i] != ElementwiseParams::VIEW || p.strides[i][0] == 1)
}

#[track_caller]
fn params(p: &ElementwiseParams, elem: DType) -> Result<Params> {
    let bits = |value: f64, integer: i64| match elem.is_float() {
        true => (value as f32).to_bits(),
        false => integer as u32,
    };
    let mut params = Params { len: size(p.len)?, rank: size(p.rank)?, shape: sizes(p.shape)?, ..Zeroable::zeroed() };
    for i in 0..3 {
        params.strides[i] = strides(p.strides[i])?;
        params.values[i] = bits(p.values[i], p.integers[i]);
    }
    for i in 0..2 {
        params.scalars[i] = bits(p.scalars[i], p.scalars[i] as i64);
    }
    Ok(params)
}

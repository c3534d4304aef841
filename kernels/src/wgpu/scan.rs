//! Scans on wgpu: formulas are in [`crate::scan`], the variants in `wgsl/scan.wgsl`.

use bytemuck::{Pod, Zeroable};

use super::{Stage, WgpuArgs, size};
use crate::scan::ScanParams;
use crate::{DType, Result};

/// Invocations of a workgroup.
const THREADS: usize = 256;
/// Elements that a workgroup scans of a line in one go.
const TILE: usize = 1024;
/// Elements of a column that an invocation should have at least.
const MIN_PER_THREAD: usize = 64;
/// Workgroups that keep a large GPU busy.
const BUSY: usize = 1024;

/// Floats accumulate in pairs of f32, which are kept as two neighbours.
const FLOATS: &str = "alias Item = f32;
alias Total = f32;
alias Wide = vec2<f32>;
fn widen(x: f32) -> Wide { return vec2<f32>(x, 0.0); }
fn narrow(x: Wide) -> f32 { return x.x; }
fn join(a: Wide, b: Wide) -> Wide { return join_floats(a, b); }
fn total_at(i: u32) -> Wide { return vec2<f32>(load_totals(2u * i), load_totals(2u * i + 1u)); }
fn set_total(i: u32, x: Wide) { store_totals(2u * i, x.x); store_totals(2u * i + 1u, x.y); }";

/// What comes before a part, where there are several.
const FLOAT_CARRIES: &str =
    "fn carry_at(i: u32) -> Wide { return vec2<f32>(load_carries(2u * i), load_carries(2u * i + 1u)); }";
const INTEGER_CARRIES: &str = "fn carry_at(i: u32) -> Wide { return load_carries(i); }";
const NO_CARRIES: &str = "fn carry_at(i: u32) -> Wide { return start(); }";

/// Integers accumulate in wrapping u32.
const INTEGERS: &str = "alias Item = u32;
alias Wide = u32;
fn widen(x: u32) -> u32 { return x; }
fn narrow(x: u32) -> u32 { return x; }
fn join(a: u32, b: u32) -> u32 { return join_integers(a, b); }
fn total_at(i: u32) -> u32 { return load_totals(i); }
fn set_total(i: u32, x: u32) { store_totals(i, x); }";

/// The kernels' `ScanParams`.
#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct Params {
    outer: u32,
    len: u32,
    inner: u32,
    reversed: u32,
    parts: u32,
    part_len: u32,
    zero: u32,
}

/// `wanted` parts of whole multiples of `unit`, at most one for each invocation of a workgroup: how many there are, and
/// how long they are.
fn split(len: usize, wanted: usize, unit: usize) -> [usize; 2] {
    let wanted = wanted.min(len / unit).clamp(1, THREADS);
    let part_len = len.div_ceil(wanted).next_multiple_of(unit);
    [len.div_ceil(part_len), part_len]
}

#[track_caller]
pub(crate) fn cumsum(args: &mut WgpuArgs<'_>) -> Result<()> {
    scan(args, 0)
}

#[track_caller]
pub(crate) fn cumprod(args: &mut WgpuArgs<'_>) -> Result<()> {
    scan(args, 1)
}

#[track_caller]
fn scan(args: &WgpuArgs<'_>, is_product: u32) -> Result<()> {
    let ScanParams { outer, len, inner, reversed } = args.params();
    let rows = (outer * inner) as usize;
    if rows == 0 || len == 0 {
        return Ok(());
    }
    // A short line is no work for a workgroup: its invocation finds it in the cache.
    let by_line = inner == 1 && len >= 64;
    let [parts, part_len] = match by_line {
        true => split(len as usize, BUSY / rows, TILE),
        false => split(len as usize, BUSY * THREADS / rows, MIN_PER_THREAD),
    };
    let params = Params {
        outer: size(outer)?,
        len: size(len)?,
        inner: size(inner)?,
        reversed: size(reversed)?,
        parts: parts as u32,
        part_len: size(part_len as u64)?,
        zero: 0,
    };
    let units = rows * parts;
    let y = args.once(0)?;
    let on = |entry| -> Stage<'_> {
        let stage = args.stage(entry).params(&params).define("IS_PRODUCT", is_product);
        let stage = texts(stage, args.elem, y.slot().dtype);
        if by_line { stage.groups(units) } else { stage.groups_for(units) }
    };
    let (totals, entry) = match by_line {
        true => ("scan_line_totals", "scan_lines"),
        false => ("scan_column_totals", "scan_columns"),
    };
    let last = on(entry).read("x", args.input(0)).write("y", y.slot());
    if parts == 1 {
        last.text(NO_CARRIES).run()?;
        return y.finish();
    }
    let (carries, carry) = match args.elem.is_float() {
        true => (args.workspace(DType::F32, 2 * units)?, FLOAT_CARRIES),
        false => (args.workspace(DType::U32, units)?, INTEGER_CARRIES),
    };
    on(totals).read("x", args.input(0)).write("totals", carries.slot()).run()?;
    on("scan_carries").write("totals", carries.slot()).groups(rows).run()?;
    last.read("carries", carries.slot()).text(carry).run()?;
    y.finish()
}

/// What elements are accumulated in, and what the results are.
fn texts(stage: Stage<'_>, elem: DType, total: DType) -> Stage<'_> {
    match total {
        _ if elem.is_float() => stage.text(FLOATS),
        DType::I32 => stage.text(INTEGERS).text("alias Total = i32;"),
        _ => stage.text(INTEGERS).text("alias Total = u32;"),
    }
}

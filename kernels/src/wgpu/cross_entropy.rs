//! Cross-entropy on wgpu: formulas are in [`crate::cross_entropy`].

use bytemuck::{Pod, Zeroable};

use super::args::Workspace;
use super::rows::row_threads;
use super::{Slot, Stage, WgpuArgs, size};
use crate::cross_entropy::{CrossEntropyParams, Reduction};
use crate::{DType, Error, ErrorKind, Result};

/// Losses that one workgroup adds up: the kernels' `CHUNK`.
const CHUNK: usize = 16384;

/// The kernels' `CrossEntropyParams`.
#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct Params {
    rows: u32,
    classes: u32,
    ignored: u32,
    has_ignored: u32,
    sharp: f32,
    spread: f32,
    reduction: u32,
    has_weight: u32,
}

impl Params {
    #[track_caller]
    fn new(params: &CrossEntropyParams, labels: DType) -> Result<Params> {
        let CrossEntropyParams { classes, ignore_index, label_smoothing, .. } = *params;
        let ignored = match labels {
            DType::I32 => i32::try_from(ignore_index).ok().map(|label| label as u32),
            DType::U8 => u8::try_from(ignore_index).ok().map(u32::from),
            _ => u32::try_from(ignore_index).ok(),
        };
        Ok(Params {
            rows: size(params.rows)?,
            classes: size(classes)?,
            ignored: ignored.unwrap_or(0),
            has_ignored: ignored.is_some().into(),
            sharp: (1.0 - label_smoothing) as f32,
            spread: (label_smoothing / classes as f64) as f32,
            reduction: params.reduction as u32,
            has_weight: params.has_weight as u32,
        })
    }
}

/// The kernels' `TotalsParams`.
#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct TotalsParams {
    rows: u32,
    reduction: u32,
}

/// The error for a label out of range. A report has place for three numbers, so only the usual `ignore_index` is named.
fn bad_label<const SIGNED: bool, const USUAL: bool>(label: i64, classes: i64, row: i64) -> ErrorKind {
    let label = if SIGNED { label } else { (label as u32).into() };
    let ignore_index = if USUAL { "ignore_index -100" } else { "ignore_index" };
    ErrorKind::Index(format!(
        "row {row} has label {label}, expected 0 <= label < {classes}, the number of classes, or {ignore_index}"
    ))
}

/// Reports labels that are neither a class nor ignored; an error unless labels are integers.
#[track_caller]
fn check_labels(args: &WgpuArgs<'_>, labels: Slot, params: &Params, ignore_index: i64) -> Result<()> {
    if !labels.dtype.is_int() {
        return Err(Error::new(ErrorKind::Unsupported { dtype: labels.dtype, device: "wgpu".into() }));
    }
    let describe = match (labels.dtype == DType::I32, ignore_index == -100) {
        (true, true) => bad_label::<true, true>,
        (true, false) => bad_label::<true, false>,
        (false, true) => bad_label::<false, true>,
        (false, false) => bad_label::<false, false>,
    };
    let stage = args.stage("cross_entropy_labels").read("labels", labels).params(params);
    stage.faults(args.kernel.name, describe).groups_for(params.rows as usize).run()
}

/// A stage of which each workgroup has a row.
fn rows<'a>(args: &WgpuArgs<'a>, params: &Params) -> Stage<'a> {
    let stage = args.stage(args.kernel.entry).threads(row_threads(params.classes));
    stage.params(params).groups(params.rows as usize)
}

#[track_caller]
pub(crate) fn forward(args: &mut WgpuArgs<'_>) -> Result<()> {
    args.floats_only()?;
    let of: CrossEntropyParams = args.params();
    let labels = args.input(1);
    let params = Params::new(&of, labels.dtype)?;
    check_labels(args, labels, &params, of.ignore_index)?;
    let loss = args.once(0)?;
    let [losses, weights] = two_of(args, params.rows as usize)?;
    let reduced = (of.reduction != Reduction::None as u64).then(|| losses.slot());
    rows(args, &params)
        .read("x", args.input(0))
        .read("labels", labels)
        .optional("weight", (of.has_weight != 0).then(|| args.input(2)))
        .write("max_out", args.output(1))
        .write("log_sum_out", args.output(2))
        .write("losses", reduced.unwrap_or(loss.slot()))
        .write("weights", weights.slot())
        .run()?;
    totals(args, reduced, weights.slot(), params.rows as usize, loss.slot())?;
    loss.finish()
}

/// Workspace for two numbers of each of `len` parts.
#[track_caller]
fn two_of(args: &WgpuArgs<'_>, len: usize) -> Result<[Workspace; 2]> {
    Ok([args.workspace(DType::F32, len)?, args.workspace(DType::F32, len)?])
}

/// The total weight, and where the losses are given, the loss that they are reduced to.
#[track_caller]
fn totals(args: &WgpuArgs<'_>, losses: Option<Slot>, weights: Slot, rows: usize, loss: Slot) -> Result<()> {
    let reduction = args.params::<CrossEntropyParams>().reduction as u32;
    let params = |rows: usize| TotalsParams { rows: rows as u32, reduction };
    let chunks = rows.div_ceil(CHUNK);
    let [loss_sums, weight_sums] = two_of(args, chunks)?;
    let mut last = (losses, weights, rows);
    if chunks > 1 {
        args.stage("cross_entropy_chunks")
            .optional("losses", losses)
            .read("weights", weights)
            .write("loss_sums", loss_sums.slot())
            .write("weight_sums", weight_sums.slot())
            .params(&params(rows))
            .groups(chunks)
            .run()?;
        last = (losses.map(|_| loss_sums.slot()), weight_sums.slot(), chunks);
    }
    args.stage("cross_entropy_finish")
        .optional("losses", last.0)
        .read("weights", last.1)
        .write("loss", loss)
        .write("total_weight", args.output(3))
        .params(&params(last.2))
        .run()
}

#[track_caller]
pub(crate) fn backward(args: &mut WgpuArgs<'_>) -> Result<()> {
    args.floats_only()?;
    let of: CrossEntropyParams = args.params();
    let labels = args.input(2);
    let params = Params::new(&of, labels.dtype)?;
    check_labels(args, labels, &params, of.ignore_index)?;
    let dlogits = args.runs(0, params.classes as usize)?;
    rows(args, &params)
        .read("dy", args.input(0))
        .read("x", args.input(1))
        .read("labels", labels)
        .read("max", args.input(3))
        .read("log_sum", args.input(4))
        .read("total_weight", args.input(5))
        .optional("weight", (of.has_weight != 0).then(|| args.input(6)))
        .write("dlogits", dlogits.slot())
        .run()?;
    dlogits.finish()
}

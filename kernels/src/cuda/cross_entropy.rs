//! Cross-entropy on CUDA: formulas are in [`crate::cross_entropy`].

use super::rows::RowPlan;
use super::{CudaArgs, CudaInput};
use crate::cross_entropy::CrossEntropyParams;
use crate::{Error, ErrorKind, Result};

/// Losses that one block adds up: the kernels' `CHUNK`.
const CHUNK: usize = 16384;

/// The error for a label out of range. The row and the number of classes share a number: they are the bits from 31 on
/// and the 31 below.
fn bad_label(label: i64, ignore_index: i64, at: i64) -> ErrorKind {
    let (row, classes) = (at as u64 >> 31, at & 0x7fff_ffff);
    ErrorKind::Index(format!(
        "row {row} has label {label}, expected 0 <= label < {classes}, the number of classes, \
         or ignore_index {ignore_index}"
    ))
}

/// The share of the label and that of every class: the kernels' `Target`.
fn target(params: &CrossEntropyParams) -> [f64; 2] {
    [1.0 - params.label_smoothing, params.label_smoothing / params.classes as f64]
}

/// An error unless labels are integers.
#[track_caller]
fn integers_only(args: &CudaArgs<'_>, labels: CudaInput) -> Result<()> {
    if labels.dtype.is_int() {
        return Ok(());
    }
    Err(Error::new(ErrorKind::Unsupported { dtype: labels.dtype, device: args.device.name().into() }))
}

#[track_caller]
pub(crate) fn forward(args: &mut CudaArgs<'_>) -> Result<()> {
    args.floats_only()?;
    let params: CrossEntropyParams = args.params();
    let rows = params.rows as usize;
    let (logits, labels, weight) = (args.input(0).address, args.input(1), args.optional_input(2));
    integers_only(args, labels)?;
    let [loss, max, log_sum, total_weight] = [0, 1, 2, 3].map(|index| args.output(index).address);
    let chunks = rows.div_ceil(CHUNK);
    let size = size_of::<f64>();
    let workspace = args.workspace(2 * (rows + chunks) * size)?;
    let losses = workspace.address();
    let weights = losses + (rows * size) as u64;
    RowPlan::new(args.elem, params.classes as usize, &[logits, weight])
        .stage(args, args.kernel.entry, rows)
        .param(logits)
        .param(labels.address)
        .param(weight)
        .param(loss)
        .param(max)
        .param(log_sum)
        .param(losses)
        .param(weights)
        .param(params)
        .param(target(&params))
        .param(labels.dtype as u32)
        .fault_param(args.kernel.name, bad_label)?
        .run()?;
    let mut totals = (losses, weights, rows);
    if chunks > 1 {
        let loss_sums = weights + (rows * size) as u64;
        let weight_sums = loss_sums + (chunks * size) as u64;
        args.stage("cross_entropy_chunks")
            .blocks(chunks)
            .param(losses)
            .param(weights)
            .param(loss_sums)
            .param(weight_sums)
            .param(params.rows)
            .run()?;
        totals = (loss_sums, weight_sums, chunks);
    }
    args.stage("cross_entropy_finish")
        .param(totals.0)
        .param(totals.1)
        .param(loss)
        .param(total_weight)
        .param(totals.2 as u64)
        .param(params)
        .run()
}

#[track_caller]
pub(crate) fn backward(args: &mut CudaArgs<'_>) -> Result<()> {
    args.floats_only()?;
    let params: CrossEntropyParams = args.params();
    let [dy, logits, _, max, log_sum, total_weight] = [0, 1, 2, 3, 4, 5].map(|index| args.input(index).address);
    let labels = args.input(2);
    integers_only(args, labels)?;
    let weight = args.optional_input(6);
    let dlogits = args.output(0).address;
    RowPlan::new(args.elem, params.classes as usize, &[logits, weight, dlogits])
        .stage(args, args.kernel.entry, params.rows as usize)
        .param(dy)
        .param(logits)
        .param(labels.address)
        .param(max)
        .param(log_sum)
        .param(total_weight)
        .param(weight)
        .param(dlogits)
        .param(params)
        .param(target(&params))
        .param(labels.dtype as u32)
        .fault_param(args.kernel.name, bad_label)?
        .run()
}

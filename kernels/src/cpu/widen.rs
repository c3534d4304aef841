//! Kernels for the compute types serve every dtype.
//!
//! A body that is compiled for each of nine dtypes and three vector widths costs minutes of compilation. Instead, inputs
//! of f16 and bf16 are widened to f32 (narrow integers and bools to i64) before the body runs, and outputs are rounded
//! after it: the same arithmetic and the same single rounding, at the price of one more pass over half-width data.

use super::parallel::{GRAIN, for_each_part};
use super::scratch::Scratch;
use super::strided::{Layout, gather_from, store_to};
use crate::kernel::{HostInput, HostOutput};
use crate::{Compute, CpuArgs, DType, Result};

/// A body compiled for f32, f64 and perhaps i64.
pub(crate) type Body<'a> = &'a dyn Fn(&mut CpuArgs<'_>) -> Result<()>;

/// Runs `body` with the element type widened to its compute type, and with it every input and output of that type.
/// Buffers of other dtypes (indices, statistics, masks) are passed on as they are.
pub(crate) fn run_widened(args: &mut CpuArgs<'_>, body: Body<'_>) -> Result<()> {
    run(args, true, body)
}

/// As [`run_widened`], for outputs of a fixed dtype that may happen to be the element type: truth values of bools.
pub(crate) fn run_with_wide_inputs(args: &mut CpuArgs<'_>, body: Body<'_>) -> Result<()> {
    run(args, false, body)
}

fn run(args: &mut CpuArgs<'_>, with_outputs: bool, body: Body<'_>) -> Result<()> {
    match args.elem.compute() {
        wide if wide == args.elem => body(args),
        DType::F32 => widened_to::<f32>(args, with_outputs, body),
        _ => widened_to::<i64>(args, with_outputs, body),
    }
}

fn widened_to<C: Compute>(args: &mut CpuArgs<'_>, with_outputs: bool, body: Body<'_>) -> Result<()> {
    let elem = args.elem;
    let is_narrow = |dtype: DType| dtype == elem;
    let inputs = args.inputs.iter().map(|x| if is_narrow(x.dtype) { widen::<C>(x).map(Some) } else { Ok(None) });
    let inputs = inputs.collect::<Result<Vec<Option<Scratch<C>>>>>()?;
    // An output may be read too, as those of the optimisers are, so it is widened with its contents.
    let outputs = args.outputs.iter().map(|y| {
        let x = HostInput { bytes: y.bytes, dtype: y.dtype, offset: 0 };
        if with_outputs && is_narrow(y.dtype) { widen::<C>(&x).map(Some) } else { Ok(None) }
    });
    let mut outputs = outputs.collect::<Result<Vec<Option<Scratch<C>>>>>()?;
    let mut wide_args = CpuArgs {
        elem: C::DTYPE,
        grid: args.grid,
        inputs: args
            .inputs
            .iter()
            .zip(&inputs)
            .map(|(x, wide)| match wide {
                Some(wide) => HostInput { bytes: bytemuck::cast_slice(wide), dtype: C::DTYPE, offset: x.offset },
                None => *x,
            })
            .collect(),
        outputs: args
            .outputs
            .iter_mut()
            .zip(&mut outputs)
            .map(|(y, wide)| match wide {
                Some(wide) => HostOutput { bytes: bytemuck::cast_slice_mut(wide), dtype: C::DTYPE },
                None => HostOutput { bytes: y.bytes, dtype: y.dtype },
            })
            .collect(),
        params: args.params,
    };
    body(&mut wide_args)?;
    for (y, wide) in args.outputs.iter_mut().zip(&outputs) {
        if let Some(wide) = wide {
            narrow(wide, y);
        }
    }
    Ok(())
}

fn widen<C: Compute>(x: &HostInput<'_>) -> Result<Scratch<C>> {
    let (gather, size) = (gather_from::<C>(x.dtype), x.dtype.size_bytes());
    let mut wide = Scratch::new(x.bytes.len() / size)?;
    for_each_part(&mut wide, GRAIN, |part, wide| {
        let layout = Layout::contiguous(wide.len());
        gather(&x.bytes[part * GRAIN * size..], &layout, &mut layout.cursor(0, 0), wide);
    });
    Ok(wide)
}

fn narrow<C: Compute>(wide: &[C], y: &mut HostOutput<'_>) {
    let (store, size) = (store_to::<C>(y.dtype), y.dtype.size_bytes());
    for_each_part(y.bytes, GRAIN * size, |part, bytes| store(&wide[part * GRAIN..], bytes));
}

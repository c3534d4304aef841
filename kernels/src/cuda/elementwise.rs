//! Elementwise ops on CUDA: what an op is, is its row of [`crate::elementwise`]'s table.

use bytemuck::{Pod, Zeroable};

use super::CudaArgs;
use crate::elementwise::{ElementwiseOp, ElementwiseParams, Typing};
use crate::{DType, Error, ErrorKind, Result};

/// From how many elements on the kernel for contiguous operands pays for one more unit.
const LARGE: u64 = 1 << 14;

/// The kernels' `Operands`.
#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct Operands {
    views: [u64; 3],
    dtypes: [u32; 3],
    y_dtype: u32,
}

/// The host side of every elementwise kernel.
#[track_caller]
pub(crate) fn run<O: ElementwiseOp>(args: &mut CudaArgs<'_>) -> Result<()> {
    let params: ElementwiseParams = args.params();
    let op = O::ALL[params.op as usize];
    let compute = args.elem.compute();
    if compute == DType::I64 && op.int_block().is_none() {
        return Err(Error::dtype(op.name(), format!("got {}, expected a floating-point dtype", args.elem)));
    }
    let divides = op.row().typing == Typing::Quotient && compute == DType::I64;
    let mut stage = if !divides && is_contiguous(args, &params) {
        let y = args.output(0);
        let addresses = operands(args, &params).views;
        let stage = args.stage("elementwise_contiguous").define("Result", type_name(y.dtype));
        let packs = params.len as usize * args.elem.size_bytes() / 16;
        addresses
            .into_iter()
            .fold(stage.blocks_for(packs), |stage, address| stage.param(address))
            .param(y.address)
            .param(params)
    } else {
        let far = params.len > u64::from(u32::MAX);
        let stage = args.stage("elementwise").unit("elementwise", compute).define("FAR", u8::from(far));
        let stage = stage.blocks_for(params.len as usize).param(operands(args, &params)).param(args.output(0).address);
        let stage = stage.param(params).fault_param(op.name(), divided_by_zero)?;
        stage.param(u64::from(divides))
    };
    stage = stage.define("ARITY", O::ARITY).define("EXPRESSION", op.expression());
    if divides { stage.run() } else { stage.without_faults().run() }
}

fn divided_by_zero(_: i64, _: i64, _: i64) -> ErrorKind {
    ErrorKind::Argument("division of an integer by zero".into())
}

/// The operands' addresses and dtypes in order; what is not a view has address 0.
fn operands(args: &CudaArgs<'_>, params: &ElementwiseParams) -> Operands {
    let mut operands = Operands { views: [0; 3], dtypes: [0; 3], y_dtype: args.output(0).dtype as u32 };
    let views = (0..3).filter(|&i| params.kinds[i] == ElementwiseParams::VIEW);
    for (input, i) in views.enumerate() {
        let input = args.input(input);
        (operands.views[i], operands.dtypes[i]) = (input.address, input.dtype as u32);
    }
    operands
}

/// Whether every view is contiguous, aligned and of the element type, and the output is as wide.
fn is_contiguous(args: &CudaArgs<'_>, params: &ElementwiseParams) -> bool {
    let whole = |i: usize| match params.kinds[i] {
        ElementwiseParams::VIEW => params.strides[i][0] == 1,
        ElementwiseParams::OUTPUT => false,
        _ => true,
    };
    let aligned = |address: u64| address.is_multiple_of(16);
    params.len >= LARGE
        && params.rank == 1
        && (0..3).all(whole)
        && args.inputs.iter().all(|input| input.dtype == args.elem && aligned(input.address))
        && aligned(args.output(0).address)
}

/// The kernels' name of a dtype.
fn type_name(dtype: DType) -> &'static str {
    if dtype == DType::Bool { "boolean" } else { dtype.name() }
}

//! The engine of the elementwise kernels: `y[i] = op(a[i], b[i], c[i])`.
//!
//! Elements are taken in blocks that stay in the first cache. An operand whose block is one contiguous run of the
//! compute type is used where it lies; any other is gathered into a block first, converted and broadcast. So only the
//! innermost loop, over three plain slices, is compiled once for each op, and any mix of dtypes and strides costs no
//! more code. The result of a block goes straight to the output, or through one more block where it must be rounded.

use std::sync::atomic::{AtomicBool, Ordering};

use super::parallel::for_each_chunk;
use super::simd::wide;
use super::strided::{Cursor, Gather, Layout, Store, gather_from, store_to};
use crate::elementwise::{Block, ElementwiseOp, ElementwiseParams, Row, Typing};
use crate::{Compute, CpuArgs, DType, Error, Result};

/// Elements of a block: four blocks of `f32` take half of a first-level cache.
pub(crate) const BLOCK: usize = 1024;

/// Elements of the one block of a tiny tensor, whose time would go into clearing longer ones.
const TINY: usize = 64;

/// The body of every elementwise kernel.
pub(crate) fn run<O: ElementwiseOp>(args: &mut CpuArgs<'_>) -> Result<()> {
    let params: ElementwiseParams = args.params();
    let op = O::ALL[params.op as usize];
    match args.elem.compute() {
        DType::F32 => for_all_blocks(args, &params, op.row(), op.real_block::<f32>()),
        DType::F64 => for_all_blocks(args, &params, op.row(), op.real_block::<f64>()),
        _ => match op.int_block() {
            Some(block) => for_all_blocks(args, &params, op.row(), block),
            None => Err(Error::dtype(op.name(), format!("got {}, expected a floating-point dtype", args.elem))),
        },
    }
}

/// What the blocks of one launch have in common.
struct Pass<'a, C> {
    sources: [Source<'a, C>; 3],
    scalars: [C; 2],
    block: Block<C>,
    /// How results are rounded to an output of another type than `C`.
    store: Option<Store<C>>,
    size_bytes: usize,
    zero_is_error: bool,
    divided_by_zero: AtomicBool,
}

fn for_all_blocks<C: Compute>(
    args: &mut CpuArgs<'_>,
    params: &ElementwiseParams,
    row: &Row,
    block: Block<C>,
) -> Result<()> {
    let (dtype, output) = (args.output_dtype(0), std::mem::take(&mut args.outputs[0].bytes));
    let pass = Pass {
        sources: sources(args, params),
        scalars: params.scalars.map(C::load),
        block,
        store: (dtype != C::DTYPE).then(|| store_to(dtype)),
        size_bytes: dtype.size_bytes(),
        zero_is_error: row.typing == Typing::Quotient && C::DTYPE == DType::I64,
        divided_by_zero: AtomicBool::new(false),
    };
    let cost = if row.typing == Typing::Float { 8 } else { 1 };
    let block_bytes = BLOCK * pass.size_bytes;
    if output.len() <= TINY * pass.size_bytes {
        pass.run::<TINY>(0, output);
    } else {
        for_each_chunk(output, block_bytes, BLOCK * cost, |first, chunk| pass.run::<BLOCK>(first * BLOCK, chunk));
    }
    if pass.divided_by_zero.into_inner() {
        return Err(Error::argument(row.kernel.entry, "division of an integer by zero"));
    }
    Ok(())
}

impl<C: Compute> Pass<'_, C> {
    /// Computes the elements of `chunk`, which starts at element `first`, in blocks of `N`.
    fn run<const N: usize>(&self, first: usize, chunk: &mut [u8]) {
        let chunk_len = chunk.len() / self.size_bytes;
        let mut operands = self.sources.each_ref().map(|source| BlockReader::<C, N>::new(source, first, chunk_len));
        let mut rounded = [C::default(); N];
        for bytes in chunk.chunks_mut(N * self.size_bytes) {
            let len = bytes.len() / self.size_bytes;
            let inputs = operands.each_mut().map(|operand| operand.next(bytes, len));
            if self.zero_is_error && inputs[1].contains(&C::default()) {
                self.divided_by_zero.store(true, Ordering::Relaxed);
            }
            match self.store {
                None => (self.block)(inputs, self.scalars, bytemuck::cast_slice_mut(bytes)),
                Some(store) => {
                    (self.block)(inputs, self.scalars, &mut rounded[..len]);
                    store(&rounded[..len], bytes);
                }
            }
        }
    }
}

/// Where the blocks of one operand come from.
enum Source<'a, C> {
    /// The op has no such operand.
    Absent,
    /// One value for all elements.
    Splat(C),
    /// The elements of the output before it is written.
    Output(Gather<C>),
    /// Contiguous elements of the compute type.
    Contiguous(&'a [C]),
    /// Anything else.
    Strided { bytes: &'a [u8], offset: usize, layout: Layout, gather: Gather<C>, in_place: bool },
}

/// The sources of the three operands, of which some may be scalars, absent, or the output itself.
fn sources<'a, C: Compute>(args: &CpuArgs<'a>, params: &ElementwiseParams) -> [Source<'a, C>; 3] {
    let mut views = 0;
    std::array::from_fn(|operand| match params.kinds[operand] {
        ElementwiseParams::VIEW => {
            let input = args.raw_input(views);
            views += 1;
            let layout = params.layout(operand);
            let gather = gather_from::<C>(input.dtype);
            let in_place = input.dtype == C::DTYPE;
            if layout.strides[..layout.rank].iter().all(|&stride| stride == 0) {
                let mut value = [C::default()];
                gather(input.bytes, &layout, &mut layout.cursor(input.offset, 0), &mut value);
                Source::Splat(value[0])
            } else if in_place && layout.is_contiguous() {
                Source::Contiguous(&bytemuck::cast_slice(input.bytes)[input.offset..])
            } else {
                Source::Strided { bytes: input.bytes, offset: input.offset, layout, gather, in_place }
            }
        }
        ElementwiseParams::OUTPUT => Source::Output(gather_from::<C>(args.output_dtype(0))),
        ElementwiseParams::SCALAR if C::DTYPE == DType::I64 => Source::Splat(C::load(params.integers[operand])),
        ElementwiseParams::SCALAR => Source::Splat(C::load(params.values[operand])),
        _ => Source::Absent,
    })
}

/// Hands out one block of an operand after the other.
struct BlockReader<'s, 'a, C, const N: usize> {
    source: &'s Source<'a, C>,
    cursor: Cursor,
    start: usize,
    block: [C; N],
}

impl<'s, 'a, C: Compute, const N: usize> BlockReader<'s, 'a, C, N> {
    /// A reader of `len` elements from element `start` on.
    fn new(source: &'s Source<'a, C>, start: usize, len: usize) -> Self {
        let mut block = [C::default(); N];
        let cursor = match source {
            Source::Strided { offset, layout, .. } => layout.cursor(*offset, start),
            _ => Cursor::default(),
        };
        if let Source::Splat(value) = source {
            block[..len.min(N)].fill(*value);
        }
        BlockReader { source, cursor, start, block }
    }

    /// The next `len` elements; `output` is where their results will go.
    fn next(&mut self, output: &[u8], len: usize) -> &[C] {
        match self.source {
            Source::Absent => return &[],
            Source::Splat(_) => {}
            Source::Output(gather) => {
                let layout = Layout::contiguous(len);
                gather(output, &layout, &mut layout.cursor(0, 0), &mut self.block[..len]);
            }
            Source::Contiguous(data) => {
                self.start += len;
                return &data[self.start - len..self.start];
            }
            Source::Strided { bytes, layout, gather, in_place, .. } => {
                if *in_place && layout.inner_stride() == 1 && layout.run_len(&self.cursor) >= len {
                    let first = self.cursor.position as usize;
                    layout.advance(&mut self.cursor, len);
                    return &bytemuck::cast_slice(bytes)[first..first + len];
                }
                gather(bytes, layout, &mut self.cursor, &mut self.block[..len]);
            }
        }
        &self.block[..len]
    }
}

// Loops are written with `for`: the closure of a `for_each` over a large op would not be inlined into the function that
// has the wide vectors enabled.

/// The loop of an op of one operand over a block.
#[inline(always)]
pub(crate) fn map1<C: Compute>([x, _, _]: [&[C]; 3], s: [C; 2], y: &mut [C], op: impl Fn([C; 1], [C; 2]) -> C) {
    wide::<C, _>(
        #[inline(always)]
        || {
            for (y, &x) in y.iter_mut().zip(x) {
                *y = op([x], s);
            }
        },
    );
}

/// The loop of an op of two operands over a block.
#[inline(always)]
pub(crate) fn map2<C: Compute>([a, b, _]: [&[C]; 3], s: [C; 2], y: &mut [C], op: impl Fn([C; 2], [C; 2]) -> C) {
    wide::<C, _>(
        #[inline(always)]
        || {
            for ((y, &a), &b) in y.iter_mut().zip(a).zip(b) {
                *y = op([a, b], s);
            }
        },
    );
}

/// The loop of an op of three operands over a block.
#[inline(always)]
pub(crate) fn map3<C: Compute>([a, b, c]: [&[C]; 3], s: [C; 2], y: &mut [C], op: impl Fn([C; 3], [C; 2]) -> C) {
    wide::<C, _>(
        #[inline(always)]
        || {
            for (((y, &a), &b), &c) in y.iter_mut().zip(a).zip(b).zip(c) {
                *y = op([a, b, c], s);
            }
        },
    );
}

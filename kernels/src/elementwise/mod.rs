//! Elementwise ops: `y[i] = op(a[i], b[i], c[i])` over operands of any dtypes and strides.
//!
//! What an op is, is one row of the table in `table.rs`; how elements are walked is `cpu/elementwise.rs` and its twins.
//! Operands are read in the compute type of their promoted dtype, and the result is rounded once to the output's.

mod collapse;
mod functions;
mod operand;
mod table;

use std::panic::Location;

use bytemuck::{Pod, Zeroable};

pub(crate) use collapse::contiguous_strides;
pub use collapse::{Collapsed, MAX_RANK, collapse};
use operand::promote_from;
pub use operand::{Operand, Scalar, View, promoted_dtype};
pub use table::{BinaryOp, ElementwiseOp, TernaryOp, UnaryOp};

use crate::copy;
use crate::cpu::strided::Layout;
use crate::{Buffer, DType, Error, Kernel, Launch, Result};

/// The host loop of an op over a block: up to three operands, the parameters, the result.
pub type Block<C> = fn([&[C]; 3], [C; 2], &mut [C]);

/// What an op accepts, and the dtype of its result.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Typing {
    /// Every dtype; the result has it too.
    Any,
    /// Every dtype but bool; the result has it too.
    Number,
    /// As `Number`; for integers the second operand must not be 0.
    Quotient,
    /// Every dtype; integers and bool are computed in f32 and give f32.
    Float,
    /// Every dtype; the result is bool.
    Test,
    /// As `Any`, and the first operand is a condition, whose dtype takes no part in promotion.
    Select,
}

impl Typing {
    /// Whether operands promoted to `dtype` can be computed with.
    pub fn accepts(self, dtype: DType) -> bool {
        dtype != DType::Bool || !matches!(self, Typing::Number | Typing::Quotient)
    }

    /// The dtype of the result for operands promoted to `dtype`.
    pub fn output_dtype(self, dtype: DType) -> DType {
        match self {
            Typing::Test => DType::Bool,
            Typing::Float if !dtype.is_float() => DType::F32,
            _ => dtype,
        }
    }
}

/// A row of the table.
pub struct Row {
    /// The kernel; its entry is the op's name.
    pub kernel: Kernel,
    /// What the op accepts and results in.
    pub typing: Typing,
    /// The range from which tests draw operands.
    pub range: std::ops::Range<f64>,
    /// The expression for devices.
    pub expression: &'static str,
}

/// The parameters of every elementwise kernel.
#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
pub struct ElementwiseParams {
    /// How many elements the output has.
    pub len: u64,
    /// The op's place in the table of its arity.
    pub op: u64,
    /// How many dims are in use: at least 1.
    pub rank: u64,
    /// What each operand is: 0 for none, or one of the constants below. The inputs of the launch are the views, in order.
    pub kinds: [u64; 3],
    /// The collapsed shape.
    pub shape: [u64; MAX_RANK],
    /// The strides of each operand, in elements.
    pub strides: [[i64; MAX_RANK]; 3],
    /// The op's own parameters.
    pub scalars: [f64; 2],
    /// Scalar operands, for floating-point ops.
    pub values: [f64; 3],
    /// Scalar operands, for integer ops.
    pub integers: [i64; 3],
}

impl ElementwiseParams {
    /// An operand that is a view of a buffer.
    pub const VIEW: u64 = 1;
    /// An operand that is one number.
    pub const SCALAR: u64 = 2;
    /// An operand that is the output's former contents.
    pub const OUTPUT: u64 = 3;

    /// The layout of one operand.
    pub(crate) fn layout(&self, operand: usize) -> Layout {
        Layout {
            rank: self.rank as usize,
            shape: self.shape.map(|len| len as usize),
            strides: self.strides[operand].map(|stride| stride as isize),
        }
    }
}

/// y = op(x), with the op's parameters in `scalars` (zeros where it has none).
///
/// `y` is contiguous, has the elements of `shape` and the dtype that the op gives for the promoted dtype of its operands
/// ([`promoted_dtype`], [`ElementwiseOp::output_dtype`]), or another float (integer) dtype where that is a float
/// (integer).
///
/// # Errors
/// A dtype that the op does not accept, or a result that `y` cannot hold.
#[track_caller]
pub fn unary(op: UnaryOp, x: Operand<'_>, shape: &[usize], scalars: [f64; 2], y: &mut Buffer) -> Result<()> {
    launch(op, [Some(x), None, None], shape, scalars, y)
}

/// y = op(y), in place.
///
/// # Errors
/// As [`unary`].
#[track_caller]
pub fn unary_in_place(op: UnaryOp, scalars: [f64; 2], y: &mut Buffer) -> Result<()> {
    launch(op, [None; 3], &[y.len()], scalars, y)
}

/// y = op(a, b), elementwise over `shape`; broadcasting is a stride of 0.
///
/// # Errors
/// As [`unary`]; and an integer divided by zero, after which the contents of `y` are unspecified.
#[track_caller]
pub fn binary(op: BinaryOp, a: Operand<'_>, b: Operand<'_>, shape: &[usize], y: &mut Buffer) -> Result<()> {
    launch(op, [Some(a), Some(b), None], shape, [0.0; 2], y)
}

/// y = op(y, b), in place: `y` is the first operand, contiguous over `shape`.
///
/// # Errors
/// As [`binary`].
#[track_caller]
pub fn binary_in_place(op: BinaryOp, y: &mut Buffer, b: Operand<'_>, shape: &[usize]) -> Result<()> {
    launch(op, [None, Some(b), None], shape, [0.0; 2], y)
}

/// y = op(a, b, c), elementwise over `shape`; `value` is the factor of `addcmul`. The dtype of the condition of `where`
/// takes no part in promotion.
///
/// # Errors
/// As [`unary`].
#[track_caller]
pub fn ternary(op: TernaryOp, operands: [Operand<'_>; 3], shape: &[usize], value: f64, y: &mut Buffer) -> Result<()> {
    launch(op, operands.map(Some), shape, [value, 0.0], y)
}

/// y = op(y, b, c), in place.
///
/// # Errors
/// As [`unary`].
#[track_caller]
pub fn ternary_in_place(
    op: TernaryOp,
    y: &mut Buffer,
    [b, c]: [Operand<'_>; 2],
    shape: &[usize],
    value: f64,
) -> Result<()> {
    launch(op, [None, Some(b), Some(c)], shape, [value, 0.0], y)
}

/// Builds the launch and runs it. A first operand of `None` is the output itself.
#[track_caller]
fn launch<O: ElementwiseOp>(
    op: O,
    operands: [Option<Operand<'_>>; 3],
    shape: &[usize],
    scalars: [f64; 2],
    y: &mut Buffer,
) -> Result<()> {
    launch_row(op.row(), op.index(), operands, shape, scalars, y)
}

/// As [`launch`], compiled once for ops of any arity; `index` is the op's place in its table.
#[track_caller]
fn launch_row(
    row: &'static Row,
    index: usize,
    operands: [Option<Operand<'_>>; 3],
    shape: &[usize],
    scalars: [f64; 2],
    y: &mut Buffer,
) -> Result<()> {
    let location = Location::caller();
    debug_assert_eq!(shape.iter().product::<usize>(), y.len(), "{}: {shape:?}", row.kernel.entry);
    let elem = compute_dtype(row, &operands, y.dtype())?;
    if y.is_empty() {
        return Ok(());
    }
    let copies =
        [straightened(operands[0], shape)?, straightened(operands[1], shape)?, straightened(operands[2], shape)?];
    let row_major = copy::row_major(if copies.iter().any(Option::is_some) { shape } else { &[] });
    let operands: [_; 3] = std::array::from_fn(|i| match &copies[i] {
        Some(buffer) => Some(Operand::View(View { buffer, offset: 0, strides: &row_major })),
        None => operands[i],
    });
    let params = ElementwiseParams { op: index as u64, ..params(row.kernel.entry, &operands, shape, scalars)? };
    let mut launch = Launch::new(&row.kernel, elem).params(&params).grid([y.len(), 1, 1]);
    for operand in operands {
        if let Some(Operand::View(View { buffer, offset, .. })) = operand {
            launch = launch.input(buffer, offset);
        }
    }
    launch.output(y).run().map_err(|error| error.at(location))
}

/// A contiguous copy of a large operand that lies transposed: copying goes through tiles, while an elementwise kernel
/// would touch another cache line, and another page, with every element.
#[track_caller]
fn straightened(operand: Option<Operand<'_>>, shape: &[usize]) -> Result<Option<Buffer>> {
    const LARGE: usize = 1 << 16;
    let len = shape.iter().product();
    let Some(Operand::View(view)) = operand else { return Ok(None) };
    if len < LARGE || !copy::is_transposed(view.strides, shape) {
        return Ok(None);
    }
    let mut straight = Buffer::allocate(&view.buffer.device(), view.buffer.dtype(), len)?;
    copy::copy(view, shape, &mut straight)?;
    Ok(Some(straight))
}

/// The dtype to compute in; an error where the op does not accept it or `y` cannot hold the result.
#[track_caller]
fn compute_dtype(row: &Row, operands: &[Option<Operand<'_>>; 3], y: DType) -> Result<DType> {
    let (name, typing) = (row.kernel.entry, row.typing);
    // The condition of a selection takes no part, and in place the output is the first operand.
    let taking_part = &operands[usize::from(typing == Typing::Select)..];
    let first = if taking_part[0].is_none() { y } else { DType::Bool };
    let dtype = promote_from(first, taking_part.iter().flatten().copied());
    if !typing.accepts(dtype) {
        return Err(Error::dtype(name, format!("got {dtype}, expected a number; cast it first")));
    }
    let result = typing.output_dtype(dtype);
    let holds = y == result || y.is_float() && result.is_float() || y.is_int() && result.is_int();
    if !holds {
        return Err(Error::dtype(name, format!("the result is {result}, which {y} cannot hold in place")));
    }
    Ok(if typing == Typing::Float { result } else { dtype })
}

#[track_caller]
fn params(
    name: &'static str,
    operands: &[Option<Operand<'_>>; 3],
    shape: &[usize],
    scalars: [f64; 2],
) -> Result<ElementwiseParams> {
    const ZEROS: [isize; 64] = [0; 64];
    let too_many = || Error::shape(name, format!("{shape:?} has more than {MAX_RANK} dims that cannot be merged"));
    let zeros = ZEROS.get(..shape.len()).ok_or_else(too_many)?;
    let strides = operands.map(|operand| match operand {
        Some(Operand::View(view)) => view.strides,
        _ => zeros,
    });
    let collapsed = collapse(shape, strides).ok_or_else(too_many)?;
    let mut params = ElementwiseParams {
        len: shape.iter().product::<usize>() as u64,
        rank: collapsed.rank as u64,
        shape: collapsed.shape.map(|len| len as u64),
        strides: collapsed.strides.map(|strides| strides.map(|stride| stride as i64)),
        scalars,
        ..Zeroable::zeroed()
    };
    for (i, operand) in operands.iter().enumerate() {
        params.kinds[i] = match operand {
            None if i == 0 => ElementwiseParams::OUTPUT,
            None => 0,
            Some(Operand::View(_)) => ElementwiseParams::VIEW,
            Some(Operand::Scalar(scalar)) => {
                (params.values[i], params.integers[i]) = (scalar.to_f64(), scalar.to_i64());
                ElementwiseParams::SCALAR
            }
        };
    }
    Ok(params)
}

#[cfg(test)]
mod tests;

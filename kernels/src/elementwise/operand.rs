//! What an elementwise kernel reads: strided views of buffers, and scalars.

use crate::{Buffer, DType};

/// A strided view of a buffer: element `i, j, ...` is at `offset + i strides[0] + j strides[1] + ...`.
///
/// Strides are in elements and may be zero (broadcasting) or negative; the shape is given beside the view.
#[derive(Clone, Copy)]
pub struct View<'a> {
    /// Where the elements are.
    pub buffer: &'a Buffer,
    /// The element at index 0, 0, ...
    pub offset: usize,
    /// One stride for each dim of the shape.
    pub strides: &'a [isize],
}

/// A number in the host's code. It takes part in promotion by its kind alone, as in PyTorch: `x * 2.5` keeps the
/// dtype of a float `x`, whichever it is.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Scalar {
    /// A floating-point number.
    Float(f64),
    /// An integer.
    Int(i64),
    /// A truth value.
    Bool(bool),
}

impl Scalar {
    /// The dtype of an op between a tensor of `dtype` and this scalar.
    ///
    /// ```
    /// use chainrule_kernels::{DType, Scalar};
    /// assert_eq!(Scalar::from(0.5).promote(DType::BF16), DType::BF16);
    /// assert_eq!(Scalar::from(0.5).promote(DType::U8), DType::F32);
    /// assert_eq!(Scalar::from(2i64).promote(DType::U8), DType::U8);
    /// assert_eq!(Scalar::from(2i64).promote(DType::Bool), DType::I64);
    /// ```
    pub fn promote(self, dtype: DType) -> DType {
        match self {
            Scalar::Float(_) if !dtype.is_float() => DType::F32,
            Scalar::Int(_) if dtype == DType::Bool => DType::I64,
            _ => dtype,
        }
    }

    /// The nearest `f64`.
    pub fn to_f64(self) -> f64 {
        match self {
            Scalar::Float(value) => value,
            Scalar::Int(value) => value as f64,
            Scalar::Bool(value) => value.into(),
        }
    }

    /// As an integer: floats are truncated, saturating.
    pub fn to_i64(self) -> i64 {
        match self {
            Scalar::Float(value) => value as i64,
            Scalar::Int(value) => value,
            Scalar::Bool(value) => value.into(),
        }
    }
}

impl From<f64> for Scalar {
    fn from(value: f64) -> Scalar {
        Scalar::Float(value)
    }
}

impl From<f32> for Scalar {
    fn from(value: f32) -> Scalar {
        Scalar::Float(value.into())
    }
}

impl From<i64> for Scalar {
    fn from(value: i64) -> Scalar {
        Scalar::Int(value)
    }
}

impl From<i32> for Scalar {
    fn from(value: i32) -> Scalar {
        Scalar::Int(value.into())
    }
}

impl From<u32> for Scalar {
    fn from(value: u32) -> Scalar {
        Scalar::Int(value.into())
    }
}

impl From<bool> for Scalar {
    fn from(value: bool) -> Scalar {
        Scalar::Bool(value)
    }
}

/// One operand of an elementwise op.
#[derive(Clone, Copy)]
pub enum Operand<'a> {
    /// Elements of a buffer.
    View(View<'a>),
    /// One number for every element; it needs no buffer.
    Scalar(Scalar),
}

impl<'a> From<View<'a>> for Operand<'a> {
    fn from(view: View<'a>) -> Self {
        Operand::View(view)
    }
}

impl<S: Into<Scalar>> From<S> for Operand<'_> {
    fn from(scalar: S) -> Self {
        Operand::Scalar(scalar.into())
    }
}

/// The dtype that an op on `operands` computes in and, if it keeps its dtype, results in.
///
/// Views decide by [`DType::promote`], scalars then by [`Scalar::promote`]; scalars alone give `f32`, `i64` or `bool`.
pub fn promoted_dtype(operands: &[Operand<'_>]) -> DType {
    promote_from(DType::Bool, operands.iter().copied())
}

/// As [`promoted_dtype`], with one more operand of dtype `first`.
pub(super) fn promote_from<'a>(first: DType, operands: impl Iterator<Item = Operand<'a>> + Clone) -> DType {
    let dtype = operands.clone().fold(first, |dtype, operand| match operand {
        Operand::View(view) => dtype.promote(view.buffer.dtype()),
        Operand::Scalar(_) => dtype,
    });
    operands.fold(dtype, |dtype, operand| match operand {
        Operand::View(_) => dtype,
        Operand::Scalar(scalar) => scalar.promote(dtype),
    })
}

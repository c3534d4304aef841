//! What kernels that only move or add elements share: the type of an element, and dims and indices as they read them.

use super::{WgpuArgs, place, size};
use crate::dims::MAX_RANK;
use crate::{DType, Error, ErrorKind, Result};

/// The declaration of `Elem`: how elements of `dtype` are computed with.
pub(crate) fn elem(dtype: DType) -> &'static str {
    match dtype {
        DType::I32 => "alias Elem = i32;",
        _ if dtype.is_float() => "alias Elem = f32;",
        _ => "alias Elem = u32;",
    }
}

/// The dtype that sums of elements of `dtype` are kept in.
pub(crate) fn sum(dtype: DType) -> DType {
    match dtype {
        DType::I32 => DType::I32,
        _ if dtype.is_float() => DType::F32,
        _ => DType::U32,
    }
}

/// Sizes of up to [`MAX_RANK`] dims; 1 for dims that there are not.
#[track_caller]
pub(crate) fn sizes(dims: impl IntoIterator<Item = u64>) -> Result<[u32; MAX_RANK]> {
    let mut sizes = [1; MAX_RANK];
    for (to, dim) in sizes.iter_mut().zip(dims) {
        *to = size(dim)?;
    }
    Ok(sizes)
}

/// Strides of up to [`MAX_RANK`] dims, which kernels add up in wrapping u32.
#[track_caller]
pub(crate) fn strides(dims: impl IntoIterator<Item = i64>) -> Result<[u32; MAX_RANK]> {
    let mut strides = [0; MAX_RANK];
    for (to, dim) in strides.iter_mut().zip(dims) {
        *to = place(dim)? as u32;
    }
    Ok(strides)
}

/// An error unless input `input` is an index.
///
/// # Errors
/// A dtype that is no integer of at most 32 bits.
#[track_caller]
pub(crate) fn check_index(op: &'static str, args: &WgpuArgs<'_>, input: usize) -> Result<()> {
    let dtype = args.input(input).dtype;
    match dtype {
        DType::U8 | DType::U32 | DType::I32 => Ok(()),
        _ => Err(Error::dtype(op, format!("index has dtype {dtype}, expected u8, u32 or i32"))),
    }
}

/// The error of an index that a kernel reports.
pub(crate) fn outside(index: i64, size: i64, at: i64) -> ErrorKind {
    ErrorKind::Index(format!("index {index} at position {at} is out of range for a dim of size {size}"))
}

//! Moving elements: strided to contiguous, into a part of a larger tensor, from one dtype to another, and filling.

use std::panic::Location;

use bytemuck::{Pod, Zeroable};

use crate::cpu::{copy as cpu, strided::Layout};
use crate::elementwise::{Collapsed, MAX_RANK, collapse};
use crate::{Buffer, Error, Kernel, Launch, Result, Scalar, View};

/// Copies elements of one dtype, between any strides.
pub static COPY: Kernel = Kernel {
    name: "copy",
    entry: "copy",
    cpu: cpu::copy,
    #[cfg(feature = "cuda")]
    cuda: crate::cuda::copy::copy,
    #[cfg(feature = "wgpu")]
    wgpu: crate::wgpu::copy::copy,
};

/// Adds elements to strided elements of the output, some of which may be the same one.
pub static ADD_INTO: Kernel = Kernel {
    name: "copy",
    entry: "add_into",
    cpu: cpu::add_into,
    #[cfg(feature = "cuda")]
    cuda: crate::cuda::add_into::add_into,
    #[cfg(feature = "wgpu")]
    wgpu: crate::wgpu::add_into::add_into,
};

/// Converts elements to the dtype of the output, which is contiguous.
pub static CAST: Kernel = Kernel {
    name: "copy",
    entry: "cast",
    cpu: cpu::cast,
    #[cfg(feature = "cuda")]
    cuda: crate::cuda::copy::cast,
    #[cfg(feature = "wgpu")]
    wgpu: crate::wgpu::copy::cast,
};

/// Sets every element to one value.
pub static FILL: Kernel = Kernel {
    name: "copy",
    entry: "fill",
    cpu: cpu::fill,
    #[cfg(feature = "cuda")]
    cuda: crate::cuda::per_element,
    #[cfg(feature = "wgpu")]
    wgpu: crate::wgpu::copy::fill,
};

/// The parameters of [`COPY`] and [`CAST`].
#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
pub struct CopyParams {
    /// How many elements are moved.
    pub len: u64,
    /// How many dims are in use: at least 1.
    pub rank: u64,
    /// The element of the output that index 0 goes to.
    pub y_offset: u64,
    /// The collapsed shape.
    pub shape: [u64; MAX_RANK],
    /// The strides of the input.
    pub x_strides: [i64; MAX_RANK],
    /// The strides of the output.
    pub y_strides: [i64; MAX_RANK],
}

/// The parameters of [`FILL`].
#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
pub struct FillParams {
    /// How many elements there are.
    pub len: u64,
    /// The value for floating-point dtypes and bool.
    pub value: f64,
    /// The value for integers.
    pub integer: i64,
}

/// y = x, where `y` is contiguous over `shape` and has the dtype of `x`.
///
/// # Errors
/// More dims than [`MAX_RANK`] that cannot be merged.
#[track_caller]
pub fn copy(x: View<'_>, shape: &[usize], y: &mut Buffer) -> Result<()> {
    debug_assert_eq!(shape.iter().product::<usize>(), y.len());
    copy_into(x, shape, y, 0, &row_major(shape))
}

/// Writes `x` to the elements of `y` at `offset` and `strides`: a block of a larger contiguous tensor, of the dtype of
/// `x`. Strides of `y` are positive and fall from dim to dim, as those of a block do.
///
/// # Errors
/// As [`copy`].
#[track_caller]
pub fn copy_into(x: View<'_>, shape: &[usize], y: &mut Buffer, offset: usize, strides: &[isize]) -> Result<()> {
    debug_assert_eq!(x.buffer.dtype(), y.dtype());
    transfer(&COPY, x, shape, y, offset, strides)
}

/// Adds `x` to the elements of `y` at `offset` and `strides` (of any sign), in row-major order of `shape`: where several
/// indices lead to one element of `y`, it receives them all, each sum rounded to the dtype.
///
/// # Errors
/// As [`copy`].
#[track_caller]
pub fn add_into(x: View<'_>, shape: &[usize], y: &mut Buffer, offset: usize, strides: &[isize]) -> Result<()> {
    debug_assert_eq!(x.buffer.dtype(), y.dtype());
    transfer(&ADD_INTO, x, shape, y, offset, strides)
}

/// y = x converted to the dtype of `y`, which is contiguous over `shape`.
///
/// Floats become integers by truncation, saturating, with NaN as 0; integers are rounded once to floats and wrap to
/// narrower integers; bool is `x != 0`; f64 becomes f16 or bf16 by way of f32.
///
/// # Differences
/// PyTorch leaves floats outside the range of the integer dtype undefined.
///
/// # Errors
/// As [`copy`].
#[track_caller]
pub fn cast(x: View<'_>, shape: &[usize], y: &mut Buffer) -> Result<()> {
    debug_assert_eq!(shape.iter().product::<usize>(), y.len());
    let kernel = if x.buffer.dtype() == y.dtype() { &COPY } else { &CAST };
    transfer(kernel, x, shape, y, 0, &row_major(shape))
}

/// Sets every element of `y` to `value`, converted as [`cast`] does.
#[track_caller]
pub fn fill(y: &mut Buffer, value: impl Into<Scalar>) -> Result<()> {
    if y.is_empty() {
        return Ok(());
    }
    let value = value.into();
    let params = FillParams { len: y.len() as u64, value: value.to_f64(), integer: value.to_i64() };
    Launch::new(&FILL, y.dtype()).params(&params).grid([y.len(), 1, 1]).output(y).run()
}

#[track_caller]
fn transfer(
    kernel: &'static Kernel,
    x: View<'_>,
    shape: &[usize],
    y: &mut Buffer,
    offset: usize,
    strides: &[isize],
) -> Result<()> {
    let location = Location::caller();
    let len: usize = shape.iter().product();
    if len == 0 {
        return Ok(());
    }
    let Some(Collapsed { rank, shape: merged, strides: [x_strides, y_strides] }) =
        collapse(shape, [x.strides, strides])
    else {
        return Err(Error::shape("copy", format!("{shape:?} has more than {MAX_RANK} dims that cannot be merged")));
    };
    let params = CopyParams {
        len: len as u64,
        rank: rank as u64,
        y_offset: offset as u64,
        shape: merged.map(|len| len as u64),
        x_strides: x_strides.map(|stride| stride as i64),
        y_strides: y_strides.map(|stride| stride as i64),
    };
    let launch = Launch::new(kernel, x.buffer.dtype()).params(&params).grid([len, 1, 1]);
    launch.input(x.buffer, x.offset).output(y).run().map_err(|error| error.at(location))
}

/// Whether elements next to each other in the last dim lie far apart, and those along another dim near.
pub(crate) fn is_transposed(strides: &[isize], shape: &[usize]) -> bool {
    collapse(shape, [strides]).is_some_and(|Collapsed { rank, shape, strides: [strides] }| {
        cpu::transposed_dim(&Layout { rank, shape, strides }).is_some()
    })
}

/// The strides of a contiguous tensor.
pub(crate) fn row_major(shape: &[usize]) -> Vec<isize> {
    let mut strides = vec![1; shape.len()];
    for dim in (1..shape.len()).rev() {
        strides[dim - 1] = strides[dim] * shape[dim] as isize;
    }
    strides
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Bool, DType, Device, bf16, f16};

    fn buffer(len: usize) -> Buffer {
        let values: Vec<i32> = (0..len as i32).collect();
        Buffer::from_slice(&Device::Cpu, &values).unwrap()
    }

    /// The elements that a view stands for, index by index.
    fn expected(shape: &[usize], strides: &[isize], offset: usize) -> Vec<i32> {
        let len: usize = shape.iter().product();
        let position = |mut linear: usize| {
            let mut at = offset as isize;
            for (&len, &stride) in shape.iter().zip(strides).rev() {
                at += (linear % len) as isize * stride;
                linear /= len;
            }
            at as i32
        };
        (0..len).map(position).collect()
    }

    #[test]
    fn strided_views_are_copied_in_order() {
        let x = buffer(300_000);
        let cases: [(&[usize], &[isize], usize); 10] = [
            (&[7, 5], &[5, 1], 3),
            (&[5, 7], &[1, 5], 0),
            (&[300, 500], &[1, 300], 17),
            (&[3, 33, 70], &[5000, 1, 33], 0),
            (&[33, 3, 70], &[1, 33, 99], 1),
            (&[70, 33], &[-1, 70], 69),
            (&[40, 40], &[0, 1], 5),
            (&[40, 40], &[1, 0], 5),
            (&[20, 100], &[-200, -2], 4998),
            (&[], &[], 9),
        ];
        for (shape, strides, offset) in cases {
            let mut y = Buffer::allocate(&Device::Cpu, DType::I32, shape.iter().product()).unwrap();
            copy(View { buffer: &x, offset, strides }, shape, &mut y).unwrap();
            assert!(y.to_vec::<i32>().unwrap() == expected(shape, strides, offset), "{shape:?} {strides:?}");
        }
    }

    #[test]
    fn a_block_of_a_larger_tensor_is_written_alone() {
        // (outer, taken, inner) written at index 1 of the middle dim of (outer, taken + 2, inner).
        for (outer, taken, inner) in [(1, 2, 3), (3, 2, 1), (4, 1, 1), (50, 30, 40), (2, 20_000, 3)] {
            let x = buffer(outer * taken * inner);
            let wide = taken + 2;
            let mut y = Buffer::allocate(&Device::Cpu, DType::I32, outer * wide * inner).unwrap();
            fill(&mut y, -1i64).unwrap();
            let x_strides = [1, (outer * inner) as isize, outer as isize];
            let y_strides = [(wide * inner) as isize, inner as isize, 1];
            let view = View { buffer: &x, offset: 0, strides: &x_strides };
            copy_into(view, &[outer, taken, inner], &mut y, inner, &y_strides).unwrap();
            let got = y.to_vec::<i32>().unwrap();
            let from = expected(&[outer, taken, inner], &x_strides, 0);
            for (i, &value) in got.iter().enumerate() {
                let (row, col) = (i / (wide * inner), i % (wide * inner));
                let inside = col >= inner && col < (taken + 1) * inner;
                let wanted = if inside { from[row * taken * inner + col - inner] } else { -1 };
                assert_eq!(value, wanted, "{outer} {taken} {inner}: {i}");
            }
        }
    }

    #[test]
    fn casts() {
        let x = [0.0f32, -0.5, 1.5, -1.5, 300.0, 3e9, f32::NAN, f32::NEG_INFINITY];
        let x = Buffer::from_slice(&Device::Cpu, &x).unwrap();
        let to = |dtype| {
            let mut y = Buffer::allocate(&Device::Cpu, dtype, 8).unwrap();
            cast(View { buffer: &x, offset: 0, strides: &[1] }, &[8], &mut y).unwrap();
            y
        };
        assert_eq!(to(DType::I64).to_vec::<i64>().unwrap(), [0, 0, 1, -1, 300, 3_000_000_000, 0, i64::MIN]);
        assert_eq!(to(DType::I32).to_vec::<i32>().unwrap(), [0, 0, 1, -1, 300, i32::MAX, 0, i32::MIN]);
        assert_eq!(to(DType::U8).to_vec::<u8>().unwrap(), [0, 0, 1, 0, 255, 255, 0, 0]);
        assert_eq!(to(DType::Bool).to_vec::<Bool>().unwrap(), [0, 1, 1, 1, 1, 1, 1, 1].map(Bool));
        assert_eq!(to(DType::F16).to_vec::<f16>().unwrap()[4], f16::from_f32(300.0));
        assert_eq!(to(DType::BF16).to_vec::<bf16>().unwrap()[5], bf16::from_f32(3e9));
        assert_eq!(to(DType::F64).to_vec::<f64>().unwrap()[5], 3e9);
        let big = Buffer::from_slice(&Device::Cpu, &[i64::MAX, -1, (1 << 24) + 1, (1 << 53) + 1]).unwrap();
        let mut y = Buffer::allocate(&Device::Cpu, DType::F32, 4).unwrap();
        cast(View { buffer: &big, offset: 3, strides: &[-1] }, &[4], &mut y).unwrap();
        assert_eq!(y.to_vec::<f32>().unwrap(), [9_007_199_254_740_992.0, 16_777_216.0, -1.0, i64::MAX as f32]);
        let mut y = Buffer::allocate(&Device::Cpu, DType::U32, 4).unwrap();
        cast(View { buffer: &big, offset: 0, strides: &[1] }, &[4], &mut y).unwrap();
        assert_eq!(y.to_vec::<u32>().unwrap(), [u32::MAX, u32::MAX, (1 << 24) + 1, 1]);
    }
}

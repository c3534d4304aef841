//! Indices of any integer dtype, checked, and elements as words where only their bits matter.

use bytemuck::Pod;

use crate::{CpuArgs, Error, Result, Stored, with_dtype};

/// The first `n` indices of input `input`, each checked to be in `0..size`.
///
/// # Errors
/// The first index outside, with its place and the size; a dtype that is no integer.
pub(crate) fn places(op: &'static str, args: &CpuArgs<'_>, input: usize, n: usize, size: u64) -> Result<Vec<usize>> {
    let dtype = args.input_dtype(input);
    with_dtype!(dtype, index I => checked(op, &args.input::<I>(input)[..n], size),
        else Err(Error::dtype(op, format!("index has dtype {dtype}, expected u8, u32, i32 or i64"))))
}

fn checked<I: Stored>(op: &'static str, index: &[I], size: u64) -> Result<Vec<usize>> {
    let mut fits = true;
    let places = index
        .iter()
        .map(|&index| {
            let place = index.to_i64() as u64;
            fits &= place < size;
            place as usize
        })
        .collect();
    if fits {
        return Ok(places);
    }
    let outside = index.iter().map(|index| index.to_i64()).enumerate().find(|&(_, index)| index as u64 >= size);
    let (at, index) = outside.unwrap_or_default();
    Err(Error::index(op, format!("index {index} at position {at} is out of range for a dim of size {size}")))
}

/// Input `input`, from its offset on, as words of the elements' size.
pub(crate) fn input_words<'a, W: Pod>(args: &CpuArgs<'a>, input: usize) -> &'a [W] {
    let input = args.raw_input(input);
    &bytemuck::cast_slice(input.bytes)[input.offset..]
}

/// As [`input_words`], but from the start of the buffer.
pub(crate) fn whole_input_words<'a, W: Pod>(args: &CpuArgs<'a>, input: usize) -> &'a [W] {
    bytemuck::cast_slice(args.raw_input(input).bytes)
}

/// Output 0 as words of the elements' size.
pub(crate) fn output_words<'a, W: Pod>(args: &mut CpuArgs<'a>) -> &'a mut [W] {
    bytemuck::cast_slice_mut(std::mem::take(&mut args.outputs[0].bytes))
}

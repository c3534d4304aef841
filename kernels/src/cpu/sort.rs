//! Sorting on the host: the order is described in [`crate::sort`].

use rayon::slice::ParallelSliceMut;

use crate::cpu::parallel::{GRAIN, for_each_item, items_per_chunk};
use crate::cpu::widen::run_widened;
use crate::sort::SortParams;
use crate::{CpuArgs, DType, Result, Stored};

pub(crate) fn sort(args: &mut CpuArgs<'_>) -> Result<()> {
    run_widened(args, &|args: &mut CpuArgs<'_>| {
        let params: SortParams = args.params();
        match args.elem {
            DType::F32 if params.cols <= u64::from(u32::MAX) => rows::<f32, u64>(args, params),
            DType::F32 => rows::<f32, u128>(args, params),
            DType::F64 => rows::<f64, u128>(args, params),
            _ => rows::<i64, u128>(args, params),
        }
        Ok(())
    })
}

/// An element's rank above its position in the row: distinct integers that sort as the elements do.
trait Ranked: Copy + Ord + Send {
    fn new(rank: u64, position: usize) -> Self;
    fn position(self) -> usize;
}

/// For ranks below 2^32 and rows below 2^32.
impl Ranked for u64 {
    #[inline(always)]
    fn new(rank: u64, position: usize) -> u64 {
        (rank << 32) | position as u64
    }
    #[inline(always)]
    fn position(self) -> usize {
        self as u32 as usize
    }
}

impl Ranked for u128 {
    #[inline(always)]
    fn new(rank: u64, position: usize) -> u128 {
        (u128::from(rank) << 64) | position as u128
    }
    #[inline(always)]
    fn position(self) -> usize {
        self as u64 as usize
    }
}

/// The top bit and all bits of ranks of 32 bits, or 64 for dtypes as wide.
#[inline(always)]
fn top_and_all<S: Stored>() -> (u64, u64) {
    if size_of::<S>() == 8 { (1 << 63, u64::MAX) } else { (1 << 31, u64::from(u32::MAX)) }
}

/// An unsigned integer of 32 bits, or 64 for dtypes as wide, that orders as the element does.
#[inline(always)]
fn rank<S: Stored>(x: S) -> u64 {
    let (top, all) = top_and_all::<S>();
    if !S::DTYPE.is_float() {
        return (x.to_i64() as u64).wrapping_add(if S::DTYPE == DType::U32 { 0 } else { top }) & all;
    }
    if x.to_f64().is_nan() {
        return all;
    }
    // Adding 0 turns -0.0 into 0.0. Negative numbers are ordered the wrong way round by their bits.
    let bits = match S::DTYPE {
        DType::F64 => (x.to_f64() + 0.0).to_bits(),
        _ => u64::from((x.to_f32() + 0.0).to_bits()),
    };
    if bits & top == 0 { bits | top } else { !bits & all }
}

fn rows<S: Stored, R: Ranked>(args: &mut CpuArgs<'_>, params: SortParams) {
    let x = args.input::<S>(0);
    let (values, indices) = (args.output::<S>(0), args.output::<i64>(1));
    let (rows, cols, k) = (params.rows as usize, params.cols as usize, params.k as usize);
    if k == 0 || rows == 0 {
        return;
    }
    // Sorting costs some ten operations per element.
    let per_chunk = items_per_chunk(rows, 10 * cols);
    let mut chunks: Vec<_> = values.chunks_mut(per_chunk * k).zip(indices.chunks_mut(per_chunk * k)).collect();
    for_each_item(&mut chunks, |index, (values, indices)| {
        let mut ranked: Vec<R> = Vec::with_capacity(cols);
        for (row, (values, indices)) in values.chunks_exact_mut(k).zip(indices.chunks_exact_mut(k)).enumerate() {
            let x = &x[(index * per_chunk + row) * cols..][..cols];
            ranked.clear();
            rank_row(x, params.descending != 0, &mut ranked);
            sort_row(&mut ranked, k, rows == 1);
            for ((value, index), ranked) in values.iter_mut().zip(indices).zip(&ranked) {
                (*value, *index) = (x[ranked.position()], ranked.position() as i64);
            }
        }
    });
}

fn rank_row<S: Stored, R: Ranked>(x: &[S], descending: bool, ranked: &mut Vec<R>) {
    let flip = if descending { top_and_all::<S>().1 } else { 0 };
    ranked.extend(x.iter().enumerate().map(|(position, &x)| R::new(rank(x) ^ flip, position)));
}

/// Puts the least `k` in order at the front.
fn sort_row<R: Ranked>(ranked: &mut [R], k: usize, alone: bool) {
    let n = ranked.len();
    if k < n {
        ranked.select_nth_unstable(k - 1);
    }
    if alone && k > GRAIN {
        ranked[..k].par_sort_unstable();
    } else {
        ranked[..k].sort_unstable();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Bool, Buffer, Device, Rng, bf16, f16};

    fn run<S: Stored>(x: &[S], rows: usize, k: usize, descending: bool) -> (Vec<S>, Vec<i64>) {
        let cols = x.len() / rows;
        let x = Buffer::from_slice(&Device::Cpu, x).unwrap();
        let mut values = Buffer::allocate(&Device::Cpu, S::DTYPE, rows * k).unwrap();
        let mut indices = Buffer::allocate(&Device::Cpu, DType::I64, rows * k).unwrap();
        let params = SortParams { rows: rows as u64, cols: cols as u64, k: k as u64, descending: descending.into() };
        crate::sort::sort((&x, 0), params, &mut values, &mut indices).unwrap();
        (values.to_vec().unwrap(), indices.to_vec().unwrap())
    }

    fn naive<S: Stored>(x: &[S], k: usize, descending: bool) -> Vec<i64> {
        let mut order: Vec<usize> = (0..x.len()).collect();
        let compare = |&a: &usize, &b: &usize| {
            let (a, b) = (x[a].to_f64(), x[b].to_f64());
            a.partial_cmp(&b).unwrap_or_else(|| a.is_nan().cmp(&b.is_nan()))
        };
        order.sort_by(|a, b| if descending { compare(b, a) } else { compare(a, b) });
        order[..k].iter().map(|&i| i as i64).collect()
    }

    fn check<S: Stored>() {
        let mut rng = Rng::seed(5);
        for (rows, cols) in [(1usize, 1usize), (3, 31), (40, 33), (2, 1000), (1, 40_000), (700, 100)] {
            // Few distinct values, so that ties are common, with NaN, infinities and both zeros among them.
            let special = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, -0.0, 0.0];
            let x: Vec<S> = (0..rows * cols)
                .map(|_| match rng.below(40) as usize {
                    n if n < 5 => special[n],
                    n => n as f32 - 20.0,
                })
                .map(S::from_f32)
                .collect();
            for (k, descending) in [(cols, false), (cols, true), (cols.div_ceil(3), true), (1, false)] {
                let (values, indices) = run(&x, rows, k, descending);
                for (row, x) in x.chunks(cols).enumerate() {
                    let got = &indices[row * k..][..k];
                    assert_eq!(got, naive(x, k, descending), "{} {rows} {cols} {k}", S::DTYPE);
                    let bits = |v: &S| bytemuck::bytes_of(v).to_vec();
                    assert!(got.iter().zip(&values[row * k..]).all(|(&i, v)| bits(&x[i as usize]) == bits(v)));
                }
            }
        }
    }

    #[test]
    fn every_dtype_sorts_stably() {
        check::<f32>();
        check::<f64>();
        check::<f16>();
        check::<bf16>();
        check::<i64>();
        check::<i32>();
        check::<u32>();
        check::<u8>();
        check::<Bool>();
    }

    #[test]
    fn extremes_of_wide_integers() {
        assert_eq!(run(&[i64::MAX, 0, i64::MIN, -1], 1, 4, false).1, [2, 3, 1, 0]);
        assert_eq!(run(&[i32::MAX, 0, i32::MIN, -1], 1, 2, true).1, [0, 1]);
        assert_eq!(run(&[u32::MAX, 0, 1 << 31], 1, 3, false).1, [1, 2, 0]);
        assert_eq!(run(&[0.0f32, -0.0, f32::NAN], 1, 3, true).1, [2, 0, 1]);
    }

    #[test]
    fn nothing_wanted_or_there() {
        assert_eq!(run::<f32>(&[1.0, 2.0], 1, 0, true), (vec![], vec![]));
    }
}

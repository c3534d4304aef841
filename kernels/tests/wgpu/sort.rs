//! Sorting and the places of elements that are not 0: rows that fit a workgroup, and rows that do not.

use chainrule_kernels::index::nonzero;
use chainrule_kernels::sort::{SortParams, sort};
use chainrule_kernels::{Bool, Buffer, Device, Rng, Stored, bf16, f16};

use crate::device;
use crate::indexing::values;

/// Numbers that tie often, with NaN, infinities, subnormal numbers and both zeros among them where the dtype has them.
fn specials<S: Stored>(n: usize, seed: u64) -> Vec<S> {
    let mut rng = Rng::seed(seed);
    let special = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, -0.0, 0.0, f32::from_bits(1), -f32::from_bits(7)];
    let mut draw = || match rng.below(400) as usize {
        n if n < 7 => special[n],
        n => (n % 40) as f32 - 20.0,
    };
    (0..n).map(|_| S::from_f32(draw())).collect()
}

fn run<S: Stored>(device: &Device, x: &[S], params: SortParams) -> (Vec<S>, Vec<f64>) {
    let x = Buffer::from_slice(device, x).unwrap();
    let len = (params.rows * params.k) as usize;
    let mut sorted = Buffer::allocate(device, S::DTYPE, len).unwrap();
    let mut indices = Buffer::allocate(device, device.index_dtype(), len).unwrap();
    sort((&x, 1), params, &mut sorted, &mut indices).unwrap();
    (sorted.to_vec().unwrap(), values(&indices).unwrap())
}

fn check<S: Stored>(x: &[S], shapes: &[[u64; 2]]) {
    for &[rows, cols] in shapes {
        for (k, descending) in [(cols, 0), (cols, 1), (cols.div_ceil(3), 1), (1, 0), (0, 0)] {
            let params = SortParams { rows, cols, k, descending };
            let (want, want_at) = run(&Device::Cpu, x, params);
            let (got, got_at) = run(&device(), x, params);
            assert!(got_at == want_at, "{} {params:?}", S::DTYPE);
            let numbers = |values: &[S]| values.iter().map(|x| x.to_f64().to_bits() << 1).collect::<Vec<_>>();
            assert!(numbers(&got) == numbers(&want), "{} {params:?}", S::DTYPE);
        }
    }
}

const SHORT: &[[u64; 2]] = &[[1, 1], [3, 31], [40, 33], [2, 1000]];
/// An odd number of chunks, the last of them short; then an even one.
const LONG: &[[u64; 2]] = &[[1, 9000], [2, 4100]];

#[test]
fn every_dtype_sorts_stably() {
    check(&specials::<f32>(9001, 5), SHORT);
    check(&specials::<f32>(9001, 5), LONG);
    check(&specials::<f16>(9001, 7), &[SHORT[2], SHORT[3], LONG[0]]);
    check(&specials::<bf16>(9001, 8), &SHORT[2..]);
    check(&[0, i32::MAX, 0, i32::MIN, -1].repeat(401), &SHORT[2..]);
    check(&[0, u32::MAX, 0, 1 << 31, 5].repeat(401), &SHORT[2..]);
    check(&(0..2001).map(|i| (i * 7) as u8).collect::<Vec<_>>(), &SHORT[2..]);
    check(&(0..2001).map(|i| Bool((i % 3 == 0).into())).collect::<Vec<_>>(), &SHORT[2..]);
}

#[test]
fn long_rows_are_sorted_by_groups() {
    // More elements than the workspace takes at once, of which the first few are wanted.
    let (cols, k) = (1_500_001, 1500);
    let mut rng = Rng::seed(3);
    let x: Vec<f32> = (0..3 * cols + 1).map(|_| rng.uniform()).collect();
    let (sorted, at) = run(&device(), &x, SortParams { rows: 3, cols: cols as u64, k: k as u64, descending: 1 });
    for (row, (sorted, at)) in x[1..].chunks(cols).zip(sorted.chunks(k).zip(at.chunks(k))) {
        let mut want = row.to_vec();
        want.sort_by(|a, b| b.total_cmp(a));
        assert!(*sorted == want[..k]);
        assert!(sorted.iter().zip(at).all(|(&value, &at)| row[at as usize] == value));
    }
}

/// Every third element, and every element from 5000 on, is not 0; an output too long ends in zeros.
fn places<S: Stored>(lens: &[usize]) {
    let x: Vec<S> = (0..9001).map(|i| S::from_i64((i % 3 == 0 || i >= 5000).into())).collect();
    let run = |device: &Device, n: usize, size: usize| {
        let x = Buffer::from_slice(device, &x).unwrap();
        let mut y = Buffer::allocate(device, device.index_dtype(), size).unwrap();
        nonzero((&x, 1), n, &mut y).unwrap();
        values(&y).unwrap()
    };
    for &n in lens {
        let want = run(&Device::Cpu, n, n + 3);
        assert_eq!(run(&device(), n, n + 3), want, "{} {n}", S::DTYPE);
        assert_eq!(run(&device(), n, n / 4), want[..n / 4], "{} {n}", S::DTYPE);
    }
}

#[test]
fn places_of_every_dtype() {
    places::<Bool>(&[0, 1, 31, 1000, 9000]);
    places::<f32>(&[33, 9000]);
    places::<f16>(&[1000]);
    places::<bf16>(&[1000]);
    places::<i32>(&[1000]);
    places::<u32>(&[1000]);
    places::<u8>(&[1000]);
}

#[test]
fn nan_is_not_zero_and_minus_zero_is() {
    let x = Buffer::from_slice(&device(), &[-0.0, f32::NAN, 0.0, f32::from_bits(1)]).unwrap();
    let mut y = Buffer::allocate(&device(), device().index_dtype(), 2).unwrap();
    nonzero((&x, 0), 4, &mut y).unwrap();
    assert_eq!(values(&y).unwrap(), [1.0, 3.0]);
}

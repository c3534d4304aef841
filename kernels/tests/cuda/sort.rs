//! Sorting: rows that fit a block, and rows that do not.

use chainrule_kernels::sort::{SortParams, sort};
use chainrule_kernels::{Bool, Buffer, DType, Device, Stored, bf16, f16};

use crate::{devices, specials};

fn run<S: Stored>(device: &Device, x: &[S], params: SortParams) -> (Vec<S>, Vec<i64>) {
    let x = Buffer::from_slice(device, x).unwrap();
    let len = (params.rows * params.k) as usize;
    let mut values = Buffer::allocate(device, S::DTYPE, len).unwrap();
    let mut indices = Buffer::allocate(device, DType::I64, len).unwrap();
    sort((&x, 1), params, &mut values, &mut indices).unwrap();
    (values.to_vec().unwrap(), indices.to_vec().unwrap())
}

fn check<S: Stored>(x: &[S], shapes: &[[u64; 2]]) {
    let [cpu, emulator] = devices();
    for &[rows, cols] in shapes {
        for (k, descending) in [(cols, 0), (cols, 1), (cols.div_ceil(3), 1), (1, 0), (0, 0)] {
            let params = SortParams { rows, cols, k, descending };
            let (want, want_at) = run(&cpu, x, params);
            let (got, got_at) = run(&emulator, x, params);
            assert!(got_at == want_at, "{} {params:?}", S::DTYPE);
            assert!(bytemuck::cast_slice::<S, u8>(&got) == bytemuck::cast_slice::<S, u8>(&want), "{params:?}");
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
    check(&specials::<f64>(9001, 6), &[SHORT[2], LONG[1]]);
    check(&specials::<f16>(9001, 7), &SHORT[2..]);
    check(&specials::<bf16>(9001, 8), &SHORT[2..]);
    check(&[0, i64::MAX, 0, i64::MIN, -1].repeat(401), SHORT);
    check(&[0, i32::MAX, 0, i32::MIN, -1].repeat(401), &SHORT[2..]);
    check(&[0, u32::MAX, 0, 1 << 31, 5].repeat(401), &SHORT[2..]);
    check(&(0..2001).map(|i| (i * 7) as u8).collect::<Vec<_>>(), &SHORT[2..]);
    check(&(0..2001).map(|i| Bool((i % 3 == 0).into())).collect::<Vec<_>>(), &SHORT[2..]);
}

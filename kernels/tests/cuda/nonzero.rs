//! Places of elements that are not 0.

use chainrule_kernels::index::nonzero;
use chainrule_kernels::{Bool, Buffer, DType, Device, Stored, bf16, f16};

use crate::devices;

fn run<S: Stored>(device: &Device, x: &[S], n: usize, size: usize) -> Vec<i64> {
    let x = Buffer::from_slice(device, x).unwrap();
    let mut y = Buffer::from_slice(device, &vec![-1i64; size]).unwrap();
    assert_eq!(y.dtype(), DType::I64);
    nonzero((&x, 1), n, &mut y).unwrap();
    y.to_vec().unwrap()
}

/// Every third element, and every element from 5000 on, is not 0; an output too long ends in zeros.
fn check<S: Stored>(lens: &[usize]) {
    let [cpu, emulator] = devices();
    let x: Vec<S> = (0..9001).map(|i| S::from_i64((i % 3 == 0 || i >= 5000).into())).collect();
    for &n in lens {
        let want = run(&cpu, &x, n, n + 3);
        assert_eq!(run(&emulator, &x, n, n + 3), want, "{} {n}", S::DTYPE);
        assert_eq!(run(&emulator, &x, n, n / 4), want[..n / 4], "{} {n}", S::DTYPE);
    }
}

#[test]
fn places_of_every_dtype() {
    check::<Bool>(&[0, 1, 31, 1000, 9000]);
    check::<f32>(&[33, 9000]);
    check::<f64>(&[1000]);
    check::<f16>(&[1000]);
    check::<bf16>(&[1000]);
    check::<i64>(&[1000]);
    check::<i32>(&[1000]);
    check::<u32>(&[1000]);
    check::<u8>(&[1000]);
}

#[test]
fn nan_is_not_zero_and_minus_zero_is() {
    let [_, emulator] = devices();
    assert_eq!(run(&emulator, &[1.0, -0.0, f32::NAN, 0.0, f32::from_bits(1)], 4, 2), [1, 3]);
}

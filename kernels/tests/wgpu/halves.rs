//! The bits of f16 and bf16 that kernels read and write, whether the adapter has f16 or not.

use chainrule_kernels::reduce::{ReduceDims, ReduceOp, reduce};
use chainrule_kernels::{Buffer, Device, Stored, bf16, f16};

use super::device;

/// Every `n` neighbours reduced to one: the mean of 8 numbers that lie close together is exact in f32, and rounded once.
fn reduced<S: Stored>(device: &Device, op: ReduceOp, x: &[S], n: usize) -> Vec<S> {
    let rows = x.len() / n;
    let x = Buffer::from_slice(device, x).unwrap();
    let mut y = Buffer::allocate(device, S::DTYPE, rows).unwrap();
    let strides = [n as isize];
    let dims = ReduceDims { kept_shape: &[rows], kept_strides: &strides, reduced_shape: &[n], reduced_strides: &[1] };
    reduce(op, (&x, 0), dims, &mut y).unwrap();
    y.to_vec().unwrap()
}

fn means<S: Stored>(device: &Device, x: &[S]) -> Vec<S> {
    reduced(device, ReduceOp::Mean, x, 8)
}

/// Neighbours `low` and `high` of both signs in rows whose means are halfway between them, and a quarter nearer to each.
fn rows<S: Stored>(neighbours: impl Iterator<Item = (S, S)>) -> Vec<S> {
    neighbours
        .flat_map(|(low, high)| {
            let negative = |x: S| S::from_f32(-x.to_f32());
            [(low, high), (negative(low), negative(high))]
        })
        .flat_map(|(low, high)| {
            [4, 3, 5].into_iter().flat_map(move |of_low| (0..8).map(move |i| if i < of_low { low } else { high }))
        })
        .collect()
}

#[test]
fn every_f16_is_read_and_written_as_it_is() {
    // The largest of one number is that number.
    let all: Vec<f16> = (0..=u16::MAX).map(f16::from_bits).collect();
    let got = reduced(&device(), ReduceOp::Max, &all, 1);
    for (x, got) in all.iter().zip(got) {
        assert!(
            got.to_bits() == x.to_bits() || got.is_nan() && x.is_nan(),
            "{:#x} became {:#x}",
            x.to_bits(),
            got.to_bits()
        );
    }
}

#[test]
fn f16_is_rounded_to_the_nearest_and_to_even_halfway() {
    let rows = rows((0..0x7bff).map(|bits| (f16::from_bits(bits), f16::from_bits(bits + 1))));
    let (got, want) = (means(&device(), &rows), means(&Device::Cpu, &rows));
    for ((row, got), want) in rows.chunks(8).zip(got).zip(want) {
        let low = row[0].to_bits();
        assert_eq!(got.to_bits(), want.to_bits(), "between {low:#x} and {:#x}", row[7].to_bits());
        let halfway = row[3] == row[0] && row[4] != row[0];
        // The host is right: halfway, the last bit is 0.
        assert!(!halfway || want.to_bits() % 2 == 0, "halfway above {low:#x} became {:#x}", want.to_bits());
    }
}

#[test]
fn bf16_is_rounded_to_the_nearest_and_to_even_halfway() {
    // Normal numbers, of which eight do not overflow f32: a driver may take smaller ones for 0.
    let rows = rows((0x0080..0x7d80).map(|bits| (bf16::from_bits(bits), bf16::from_bits(bits + 1))));
    let (got, want) = (means(&device(), &rows), means(&Device::Cpu, &rows));
    for ((row, got), want) in rows.chunks(8).zip(got).zip(want) {
        let low = row[0].to_bits();
        assert_eq!(got.to_bits(), want.to_bits(), "between {low:#x} and {:#x}", row[7].to_bits());
        let halfway = row[3] == row[0] && row[4] != row[0];
        assert!(!halfway || want.to_bits() % 2 == 0, "halfway above {low:#x} became {:#x}", want.to_bits());
    }
}

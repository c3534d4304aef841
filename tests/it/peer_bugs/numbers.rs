//! Bugs of precision, of the ends of a range, and of random numbers.

use chainrule::Rope;
use chainrule::prelude::*;

use super::{close, normal, values};

/// mlx#3630 showed once in some hundred runs.
#[test]
fn layer_norm_gives_the_same_gradients_two_hundred_times() {
    let (x, dy) = (normal(&[129, 257], DType::F32, 1), normal(&[129, 257], DType::F32, 2));
    let affine = normal(&[257], DType::F32, 3);
    let run = || {
        let tape = Tape::new();
        let leaves = [&x, &affine, &affine].map(|x| tape.leaf(x.clone()));
        let y = leaves[0].layer_norm(Some(&leaves[1]), Some(&leaves[2]), 1e-5).unwrap();
        let grads = y.mul(&dy).and_then(|y| y.sum(.., false)).unwrap().backward().unwrap();
        leaves.map(|leaf| grads.get(&leaf).unwrap().to_bytes().unwrap())
    };
    let first = run();
    (1..200).for_each(|round| assert!(run() == first, "round {round}"));
}

/// burn#4769: the sum of these is beyond f16, their mean is not. burn#5027: large numbers of f16 are numbers.
#[test]
fn f16_means_do_not_overflow() {
    let x = Tensor::full([64, 33], 60000.0, DType::F16, &Device::Cpu).unwrap();
    // 60,000 is a multiple of 32, the distance of f16 there.
    assert_eq!(values(&x.mean(.., false).unwrap()), [60000.0]);
    assert!(values(&x.mean(0, false).unwrap()).iter().all(|&mean| mean == 60000.0));
    assert_eq!(values(&x.var(.., 1.0, false).unwrap()), [0.0]);
    assert!(!values(&x.isnan().unwrap()).contains(&1.0));
    let tape = Tape::new();
    let leaf = tape.leaf(x);
    let grads = leaf.mean(.., false).and_then(|y| y.backward()).unwrap();
    close(
        grads.get(&leaf).unwrap(),
        &Tensor::full([64, 33], 1.0 / 2112.0, DType::F16, &Device::Cpu).unwrap(),
        1e-6,
        "dx",
    );
}

/// candle#3477: the forward is among the samples, whose gradients would need steps of 1e25.
#[test]
fn rms_norm_of_huge_values_has_a_gradient() {
    let x = normal(&[3, 33], DType::F64, 1).mul(1e30).unwrap();
    let gradient = |dtype: DType| {
        let tape = Tape::new();
        let leaf = tape.leaf(x.to_dtype(dtype).unwrap());
        let dy = normal(&[3, 33], DType::F64, 2).to_dtype(dtype).unwrap();
        let loss = leaf.rms_norm(None, 1e-6).and_then(|y| y.mul(&dy)).and_then(|y| y.sum(.., false)).unwrap();
        loss.backward().unwrap().get(&leaf).unwrap().to_dtype(DType::F64).and_then(|dx| dx.mul(1e30)).unwrap()
    };
    // A difference of sums of 33 products: some dozen roundings of 6e-8.
    close(&gradient(DType::F32), &gradient(DType::F64), 1e-5, "dx");
}

/// burn#4486, candle#3200: the ends of the integers' range.
#[test]
fn the_least_integer_survives() {
    let x = Tensor::new([i64::MIN, i64::MAX], &Device::Cpu).unwrap();
    let ints = |x: Tensor| x.to_vec::<i64>().unwrap();
    // As in two's complement, and in PyTorch: there is no positive twin.
    assert_eq!(ints(x.abs().unwrap()), [i64::MIN, i64::MAX]);
    assert_eq!(ints(x.neg().unwrap()), [i64::MIN, -i64::MAX]);
    assert_eq!(ints(x.min(.., false).unwrap()), [i64::MIN]);
    assert_eq!(ints(x.max(.., false).unwrap()), [i64::MAX]);
    assert_eq!(ints(x.floor_div(-1).unwrap()), [i64::MIN, -i64::MAX]);
    assert_eq!(ints(x.rem(-1).unwrap()), [0, 0]);
    assert_eq!(ints(x.sort(0, true).unwrap().0), [i64::MAX, i64::MIN]);
    let least = Tensor::new([i64::MIN, i64::MIN], &Device::Cpu).unwrap();
    assert_eq!(ints(least.max(0, false).unwrap()), [i64::MIN]);
}

/// candle#3005: angles of thousands of radians have no digits left in bf16.
#[test]
fn rope_computes_angles_in_full_precision() {
    let (positions, dim) = (5000, 64);
    let x = normal(&[3, dim], DType::F64, 1).to_dtype(DType::BF16).unwrap();
    let options = Rope { first_position: positions - 3, ..Rope::default() };
    let run = |dtype: DType, table: DType| {
        let (cos, sin) = Tensor::rope_tables(positions, dim, 10000.0, table, &Device::Cpu).unwrap();
        x.to_dtype(dtype).and_then(|x| x.rope(&cos, &sin, &options)).unwrap()
    };
    // One rounding to bf16.
    close(&run(DType::BF16, DType::F32), &run(DType::F64, DType::F64), 4e-3, "y");
    // The angle 4999 is known to 2^-12 in f32.
    close(&run(DType::F32, DType::F32), &run(DType::F64, DType::F64), 1e-3, "y in f32");
}

/// mlx#3432: a seed has 64 bits.
#[test]
fn seeds_differ_in_every_bit() {
    let draw = |seed: u64| values(&normal(&[4], DType::F32, seed));
    let first = draw(0);
    (0..64).for_each(|bit| assert_ne!(draw(1 << bit), first, "bit {bit}"));
}

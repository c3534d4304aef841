//! Operands that are larger than what one binding covers on this adapter.

use chainrule_kernels::copy::copy_into;
use chainrule_kernels::elementwise::{UnaryOp, View, unary};
use chainrule_kernels::reduce::{ReduceDims, ReduceOp, reduce};
use chainrule_kernels::{Buffer, DType, Device, Operand};

use super::device;

/// Above this many bytes a binding is too large for a test to exceed it.
const MOST_BYTES: u64 = 256 << 20;

/// The device and a number of f32 that needs two windows, where a test can have so many.
#[expect(clippy::print_stderr, reason = "a test that did not run must say so")]
fn device_and_len() -> Option<(Device, usize)> {
    let device = device();
    let Device::Wgpu(wgpu) = &device else { return None };
    let binding = wgpu.limits().binding_bytes;
    if binding > MOST_BYTES {
        eprintln!("skipped: a binding of this adapter covers {binding} bytes");
        return None;
    }
    Some((device, binding as usize / 4 + 70_001))
}

#[test]
fn elements_on_both_sides_of_the_limit_are_computed_reduced_and_copied() {
    let Some((device, len)) = device_and_len() else { return };
    let mut host: Vec<f32> = (0..len).map(|i| (i % 1021) as f32).collect();
    let far = len - 9;
    host[far] = 5000.0;
    let x = Buffer::from_slice(&device, &host).unwrap();

    let mut y = Buffer::allocate(&device, DType::F32, len).unwrap();
    let view = View { buffer: &x, offset: 0, strides: &[1] };
    unary(UnaryOp::Neg, Operand::View(view), &[len], [0.0; 2], &mut y).unwrap();
    let got: Vec<f32> = y.to_vec().unwrap();
    let wrong = got.iter().zip(&host).position(|(got, x)| *got != -x);
    assert!(wrong.is_none(), "element {wrong:?} of {len}");
    drop(got);

    let dims = ReduceDims { kept_shape: &[], kept_strides: &[], reduced_shape: &[len], reduced_strides: &[1] };
    let mut place = Buffer::allocate(&device, ReduceOp::ArgMax.output_dtype(DType::F32, &device), 1).unwrap();
    reduce(ReduceOp::ArgMax, (&x, 0), dims, &mut place).unwrap();
    assert_eq!(place.to_vec::<u32>().unwrap(), [far as u32]);

    // Every 100,003rd element, over the limit, into a small block, and a small one across the limit of a large one.
    let (count, limit) = (len / 100_003, len - 70_001);
    let mut picked = Buffer::allocate(&device, DType::F32, count).unwrap();
    copy_into(View { buffer: &x, offset: 5, strides: &[100_003] }, &[count], &mut picked, 0, &[1]).unwrap();
    let want: Vec<f32> = (0..count).map(|i| host[5 + i * 100_003]).collect();
    assert_eq!(picked.to_vec::<f32>().unwrap(), want);
    copy_into(View { buffer: &picked, offset: 0, strides: &[1] }, &[20], &mut y, limit - 10, &[1]).unwrap();
    let after: Vec<f32> = y.to_vec().unwrap();
    assert_eq!(after[limit - 10..limit + 10], want[..20]);
    assert_eq!([after[limit - 11], after[limit + 10]], [-host[limit - 11], -host[limit + 10]]);

    let Device::Wgpu(wgpu) = &device else { return };
    assert!(wgpu.units().iter().any(|unit| unit.has_windows()), "nothing was bound in windows");
}

//! Optimisers and the norm of gradients, over many tensors at once. Each element is a few operations in the same order
//! as on the host, so results agree to a few units, which a compiler that fuses multiplications and additions needs.

use chainrule_kernels::adamw::{AdamWParams, AdamWTensor, adamw_step};
use chainrule_kernels::l2_norm::{Span, l2_norm_clip, l2_norm_squared};
use chainrule_kernels::sgd::{SgdParams, SgdTensor, sgd_step};
use chainrule_kernels::{Buffer, DType, Device};

use super::device;
use super::rows::{DTYPES, buffer, compare, empty, noise, values};

/// Lengths of tensors: below, at and above a chunk, and none.
const LENS: [usize; 6] = [0, 1, 4096, 0, 33, 9001];

fn noises(device: &Device, dtype: DType, more: usize, seed: u64) -> Vec<Buffer> {
    LENS.map(|len| buffer(device, dtype, &noise(len + more, seed))).into()
}

fn zeros(device: &Device, dtype: DType) -> Vec<Buffer> {
    LENS.map(|len| buffer(device, dtype.compute(), &vec![0.0; len])).into()
}

#[test]
fn adamw() {
    for (dtype, amsgrad, beta1, offset) in DTYPES.into_iter().flat_map(|d| [(d, false, 0.9, 0), (d, true, 0.4, 1)]) {
        compare(8.0, &format!("adamw {dtype} {amsgrad}"), |device| {
            let mut param = noises(device, dtype, 0, 1);
            let [mut m, mut v, mut v_max] = [(); 3].map(|()| zeros(device, dtype));
            for step in 1..=2 {
                let grad = noises(device, dtype, offset, 10 + step);
                let params = AdamWParams {
                    lr: 1e-2,
                    beta1,
                    beta2: 0.99,
                    eps: 1e-8,
                    weight_decay: 0.1,
                    bias_correction1: 1.0 - f64::powi(beta1, step as i32),
                    bias_correction2: 1.0 - f64::powi(0.99, step as i32),
                    grad_scale: if step == 2 { 0.1 } else { 1.0 },
                    amsgrad: 0,
                };
                let states = m.iter_mut().zip(&mut v).zip(&mut v_max);
                let tensors =
                    param.iter_mut().zip(&grad).zip(states).map(|((param, grad), ((m, v), v_max))| AdamWTensor {
                        param,
                        grad: (grad, offset),
                        exp_avg: m,
                        exp_avg_sq: v,
                        max_exp_avg_sq: amsgrad.then_some(v_max),
                    });
                adamw_step(tensors.collect(), params).unwrap();
            }
            param.into_iter().chain(m).chain(v).chain(v_max).collect()
        });
    }
}

#[test]
fn sgd() {
    let settings = [(0.0, 0.0, false, 0), (0.9, 0.5, false, 1), (0.9, 0.0, true, 0)];
    for (dtype, (momentum, dampening, nesterov, offset)) in DTYPES.into_iter().flat_map(|d| settings.map(|s| (d, s))) {
        compare(8.0, &format!("sgd {dtype} {momentum} {nesterov}"), |device| {
            let mut param = noises(device, dtype, 0, 1);
            // The first step must not read them.
            let mut buffers: Vec<Buffer> = LENS.map(|len| buffer(device, dtype.compute(), &vec![f64::NAN; len])).into();
            for step in 1..=2 {
                let grad = noises(device, dtype, offset, 10 + step);
                let params = SgdParams {
                    lr: 0.1,
                    momentum,
                    dampening,
                    weight_decay: 0.01,
                    grad_scale: 0.5,
                    nesterov: nesterov.into(),
                    first_step: (step == 1).into(),
                    has_momentum: 0,
                };
                let tensors = param.iter_mut().zip(&grad).zip(&mut buffers).map(|((param, grad), buffer)| SgdTensor {
                    param,
                    grad: (grad, offset),
                    momentum_buffer: (momentum != 0.0).then_some(buffer),
                });
                sgd_step(tensors.collect(), params).unwrap();
            }
            param.into_iter().chain(buffers).collect()
        });
    }
}

#[test]
fn l2_norm() {
    for (dtype, offset) in DTYPES.into_iter().flat_map(|dtype| [(dtype, 0), (dtype, 1)]) {
        // Sums of some ten thousand squares in f64, in two orders.
        compare(64.0, &format!("l2_norm {dtype}"), |device| {
            let tensors = noises(device, dtype, offset + 1, 1);
            let spans: Vec<Span<'_>> =
                tensors.iter().zip(LENS).map(|(buffer, len)| Span { buffer, offset, len }).collect();
            let (mut wide, mut narrow) = (empty(device, DType::F64, 1), empty(device, DType::F32, 1));
            l2_norm_squared(&spans, &mut wide).unwrap();
            l2_norm_squared(&spans, &mut narrow).unwrap();
            vec![wide, narrow]
        });
    }
    let mut out = empty(&device(), DType::F64, 1);
    l2_norm_squared(&[], &mut out).unwrap();
    assert_eq!(values(&out), [0.0]);
    let huge = buffer(&device(), DType::F32, &[3e38; 100]);
    l2_norm_squared(&[Span { buffer: &huge, offset: 0, len: 100 }], &mut out).unwrap();
    assert!(values(&out)[0].is_finite());
}

#[test]
fn l2_norm_clipped() {
    for (dtype, max_norm) in DTYPES.into_iter().flat_map(|dtype| [(dtype, 1.0), (dtype, 1e6)]) {
        for wide in [DType::F64, DType::F32] {
            // One product, rounded once, as on the host; the factor comes from sums in two orders.
            compare(4.0, &format!("l2_norm_clip {dtype} {max_norm} {wide}"), |device| {
                let mut tensors = noises(device, dtype, 0, 1);
                let mut squared = empty(device, wide, 1);
                let spans: Vec<Span<'_>> =
                    tensors.iter().map(|buffer| Span { buffer, offset: 0, len: buffer.len() }).collect();
                l2_norm_squared(&spans, &mut squared).unwrap();
                l2_norm_clip(&squared, tensors.iter_mut().collect(), max_norm).unwrap();
                tensors
            });
        }
    }
}

#[test]
fn tensors_with_a_norm_that_is_not_finite_stay_as_they_are() {
    for device in super::devices() {
        for norm in [f64::INFINITY, f64::NAN] {
            let (squared, mut x) = (buffer(&device, DType::F64, &[norm]), buffer(&device, DType::F32, &[1.0, 2.0]));
            let clipped = l2_norm_clip(&squared, vec![&mut x], 1.0);
            // A GPU reports with the next look.
            let error = clipped.and_then(|()| device.synchronize()).unwrap_err().to_string();
            assert!(error.starts_with("clip_grad_norm: the norm of the gradients is "), "{error}");
            assert_eq!(values(&x), [1.0, 2.0]);
        }
    }
}

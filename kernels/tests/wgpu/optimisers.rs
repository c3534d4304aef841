//! Optimisers over many tensors at once. Each element is a few operations in the same order as on the host, so results
//! agree to a few units: compilers fuse, and roots and quotients have an error of their own here.

use chainrule_kernels::adamw::{AdamWParams, AdamWTensor, adamw_step};
use chainrule_kernels::sgd::{SgdParams, SgdTensor, sgd_step};
use chainrule_kernels::{Buffer, DType, Device};

use crate::device;
use crate::indexing::{FLOATS, buffer, noise, values};

/// Lengths of tensors: below, at and above a workgroup's, odd ones for the last word, and none.
const LENS: [usize; 6] = [0, 1, 4096, 0, 33, 9001];

fn noises(device: &Device, dtype: DType, more: usize, seed: u64) -> Vec<Buffer> {
    LENS.map(|len| buffer(device, dtype, &noise(len + more, seed))).into()
}

fn states(device: &Device, value: f64) -> Vec<Buffer> {
    LENS.map(|len| buffer(device, DType::F32, &vec![value; len])).into()
}

/// Runs `f` on both devices and compares all buffers that it gives.
#[track_caller]
fn compare(what: &str, f: impl Fn(&Device) -> Vec<Buffer>) {
    for (index, (got, want)) in f(&device()).iter().zip(&f(&Device::Cpu)).enumerate() {
        let dtype = want.dtype();
        let units = if dtype == DType::F32 { 16.0 } else { 2.0 };
        for (got, want) in values(got).unwrap().into_iter().zip(values(want).unwrap()) {
            let tolerance = units * dtype.epsilon() * want.abs().max(1.0);
            assert!((got - want).abs() <= tolerance, "{what}: output {index} {dtype}: {got:e} is not {want:e}");
        }
    }
}

#[test]
fn adamw() {
    for (dtype, amsgrad, beta1, offset) in FLOATS.into_iter().flat_map(|d| [(d, false, 0.9, 0), (d, true, 0.4, 1)]) {
        compare(&format!("adamw {dtype} {amsgrad}"), |device| {
            let mut param = noises(device, dtype, 0, 1);
            let [mut m, mut v, mut v_max] = [(); 3].map(|()| states(device, 0.0));
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
    for (dtype, (momentum, dampening, nesterov, offset)) in FLOATS.into_iter().flat_map(|d| settings.map(|s| (d, s))) {
        compare(&format!("sgd {dtype} {momentum} {nesterov}"), |device| {
            let mut param = noises(device, dtype, 0, 1);
            // The first step must not read them; without momentum nothing does.
            let mut buffers = states(device, if momentum != 0.0 { f64::NAN } else { 0.0 });
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

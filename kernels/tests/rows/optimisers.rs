use chainrule_kernels::adamw::{AdamWParams, AdamWTensor, adamw_step};
use chainrule_kernels::l2_norm::{Span, l2_norm_squared};
use chainrule_kernels::sgd::{SgdParams, SgdTensor, sgd_step};
use chainrule_kernels::{Buffer, DType};

use super::{DTYPES, assert_close, buffer, empty, noise, values};

/// Lengths of tensors: below, at and above a block, and none.
const LENS: [usize; 5] = [1, 8192, 0, 33, 20_001];

fn zeros(dtype: DType) -> Vec<Buffer> {
    LENS.map(|len| buffer(dtype.compute(), &vec![0.0; len])).into()
}

#[test]
fn adamw_matches_the_definition() {
    for (dtype, amsgrad, beta1) in DTYPES.into_iter().flat_map(|d| [(d, false, 0.9), (d, true, 0.9), (d, false, 0.4)]) {
        let mut param: Vec<Buffer> = LENS.map(|len| buffer(dtype, &noise(dtype, len, 1))).into();
        let (mut m, mut v, mut v_max) = (zeros(dtype), zeros(dtype), zeros(dtype));
        let mut want: Vec<[f64; 4]> = param.iter().flat_map(values).map(|p| [p, 0.0, 0.0, 0.0]).collect();
        for step in 1..=3 {
            let grad: Vec<Buffer> = LENS.map(|len| buffer(dtype, &noise(dtype, len, 10 + step))).into();
            let (lr, beta2, eps, weight_decay, grad_scale) = (1e-2, 0.99, 1e-8, 0.1, if step == 2 { 0.1 } else { 1.0 });
            let (bias_correction1, bias_correction2) =
                (1.0 - f64::powi(beta1, step as i32), 1.0 - f64::powi(beta2, step as i32));
            let params = AdamWParams {
                lr,
                beta1,
                beta2,
                eps,
                weight_decay,
                bias_correction1,
                bias_correction2,
                grad_scale,
                amsgrad: 0,
            };
            let states = m.iter_mut().zip(&mut v).zip(&mut v_max);
            let tensors = param.iter_mut().zip(&grad).zip(states).map(|((param, grad), ((m, v), v_max))| AdamWTensor {
                param,
                grad: (grad, 0),
                exp_avg: m,
                exp_avg_sq: v,
                max_exp_avg_sq: amsgrad.then_some(v_max),
            });
            adamw_step(tensors.collect(), params).unwrap();
            let got = param.iter().flat_map(values);
            for (([p, m, v, v_max], g), got) in want.iter_mut().zip(grad.iter().flat_map(values)).zip(got) {
                let g = g * grad_scale;
                *m = beta1 * *m + (1.0 - beta1) * g;
                *v = beta2 * *v + (1.0 - beta2) * g * g;
                *v_max = v_max.max(*v);
                let v = if amsgrad { *v_max } else { *v };
                *p -= lr * weight_decay * *p;
                *p -= lr * (*m / bias_correction1) / ((v / bias_correction2).sqrt() + eps);
                assert_close(dtype, &[got], &[*p], 4.0, "adamw");
                // The kernel goes on from the rounded parameter.
                *p = got;
            }
        }
    }
}

#[test]
fn sgd_matches_the_definition() {
    let settings = [(0.0, 0.0, false), (0.9, 0.0, false), (0.9, 0.5, false), (0.9, 0.0, true)];
    for (dtype, (momentum, dampening, nesterov)) in DTYPES.into_iter().flat_map(|d| settings.map(|s| (d, s))) {
        let mut param: Vec<Buffer> = LENS.map(|len| buffer(dtype, &noise(dtype, len, 1))).into();
        let mut buffers = zeros(dtype);
        let mut want: Vec<[f64; 2]> = param.iter().flat_map(values).map(|p| [p, 0.0]).collect();
        for step in 1..=3 {
            let grad: Vec<Buffer> = LENS.map(|len| buffer(dtype, &noise(dtype, len, 10 + step))).into();
            let (lr, weight_decay, grad_scale) = (0.1, 0.01, if step == 2 { 0.5 } else { 1.0 });
            let params = SgdParams {
                lr,
                momentum,
                dampening,
                weight_decay,
                grad_scale,
                nesterov: nesterov.into(),
                first_step: (step == 1).into(),
                has_momentum: 0,
            };
            let all = param.iter_mut().zip(&grad).zip(&mut buffers);
            let tensors = all.map(|((param, grad), buffer)| SgdTensor {
                param,
                grad: (grad, 0),
                momentum_buffer: (momentum != 0.0).then_some(buffer),
            });
            sgd_step(tensors.collect(), params).unwrap();
            let got = param.iter().flat_map(values);
            for (([p, b], g), got) in want.iter_mut().zip(grad.iter().flat_map(values)).zip(got) {
                let g = g * grad_scale + weight_decay * *p;
                *b = if step == 1 { g } else { momentum * *b + (1.0 - dampening) * g };
                *p -= lr
                    * match (momentum != 0.0, nesterov) {
                        (false, _) => g,
                        (true, false) => *b,
                        (true, true) => g + momentum * *b,
                    };
                assert_close(dtype, &[got], &[*p], 2.0, "sgd");
                *p = got;
            }
        }
    }
}

#[test]
fn no_tensors() {
    adamw_step(vec![], bytemuck::Zeroable::zeroed()).unwrap();
    sgd_step(vec![], bytemuck::Zeroable::zeroed()).unwrap();
    let mut out = empty(DType::F64, 1);
    l2_norm_squared(&[], &mut out).unwrap();
    assert_eq!(values(&out), [0.0]);
}

#[test]
fn l2_norm_of_many_tensors() {
    for dtype in DTYPES {
        let tensors = LENS.map(|len| buffer(dtype, &noise(dtype, len + 2, 1)));
        let spans: Vec<Span<'_>> =
            tensors.iter().zip(LENS).map(|(buffer, len)| Span { buffer, offset: 1, len }).collect();
        let mut out = empty(DType::F64, 1);
        l2_norm_squared(&spans, &mut out).unwrap();
        let want: f64 =
            tensors.iter().zip(LENS).flat_map(|(b, len)| values(b)[1..][..len].to_vec()).map(|x| x * x).sum();
        assert_close(DType::F64, &values(&out), &[want], 256.0, "l2_norm_squared");
    }
    let huge = buffer(DType::F32, &[3e38; 100]);
    let mut out = empty(DType::F64, 1);
    l2_norm_squared(&[Span { buffer: &huge, offset: 0, len: 100 }], &mut out).unwrap();
    assert!(values(&out)[0].is_finite());
}

//! Optimisers, clipping and schedules against PyTorch.

use std::collections::HashMap;

use chainrule::nn::optim::{Cosine, Linear, Schedule, Step, WarmupCosine};
use chainrule::nn::{Group, Optimizer};
use chainrule::prelude::*;

type Golden = HashMap<String, Tensor>;

/// A golden file by name.
pub(crate) fn golden(file: &str) -> Golden {
    let path = format!("{}/tests/golden/{file}.safetensors", env!("CARGO_MANIFEST_DIR"));
    chainrule::io::load_tensors(path, &Device::Cpu).unwrap().0.into_iter().collect()
}

/// The largest difference relative to `1 + |expected|`.
pub(crate) fn difference(got: &Tensor, expected: &Tensor) -> f64 {
    assert_eq!(got.shape(), expected.shape());
    let pairs = got.to_f64_vec().unwrap().into_iter().zip(expected.to_f64_vec().unwrap());
    pairs.fold(0.0, |most, (got, expected)| most.max((got - expected).abs() / (1.0 + expected.abs())))
}

#[derive(Clone, Module)]
struct Pair {
    w: Param,
    b: Param,
}

impl Pair {
    fn new(golden: &Golden, prefix: &str, dtype: DType) -> Pair {
        let param = |name: &str| Param::new(golden[&format!("{prefix}.{name}")].to_dtype(dtype).unwrap());
        Pair { w: param("w"), b: param("b") }
    }

    fn grads(&self, w: Tensor, b: Tensor) -> Gradients {
        let mut grads = Gradients::default();
        grads.insert(self.w.id(), w.to_dtype(self.w.dtype()).unwrap());
        grads.insert(self.b.id(), b.to_dtype(self.b.dtype()).unwrap());
        grads
    }
}

fn check(golden: &Golden, case: &str, make: &dyn Fn() -> Box<dyn Optimizer>) {
    // 100 steps of a few roundings each, in f32 and f64.
    for (dtype, name, tolerance) in [(DType::F32, "f32", 1e-6), (DType::F64, "f64", 1e-13)] {
        let mut pair = Pair::new(golden, "init", dtype);
        let mut optimizer = make();
        for step in 0..100 {
            let grad = |name: &str| golden[&format!("grads.{name}")].select(0, step).unwrap();
            let grads = pair.grads(grad("w"), grad("b"));
            if step == 40 {
                // Saved and restored, the rest is the same.
                let state = optimizer.state(&pair).unwrap();
                optimizer = make();
                optimizer.load_state(&pair, state).unwrap();
            }
            optimizer.step(&mut pair, &grads).unwrap();
            if let Some(expected) = golden.get(&format!("{case}.{name}.step_{}.w", step + 1)) {
                let expected_b = &golden[&format!("{case}.{name}.step_{}.b", step + 1)];
                let error = difference(pair.w.tensor(), expected).max(difference(pair.b.tensor(), expected_b));
                assert!(error < tolerance, "{case} in {name} after {} steps: {error:e}", step + 1);
            }
        }
    }
}

#[test]
fn sgd() {
    let golden = golden("optimizers");
    let case = |name: &str, sgd: Sgd| check(&golden, name, &move || Box::new(sgd.clone()));
    case("sgd.plain", Sgd::new(0.1));
    case("sgd.momentum", Sgd::new(0.1).momentum(0.9));
    case("sgd.dampening", Sgd::new(0.1).momentum(0.9).dampening(0.5));
    case("sgd.nesterov", Sgd::new(0.1).momentum(0.9).nesterov(true));
    case("sgd.weight_decay", Sgd::new(0.1).weight_decay(0.05));
    case("sgd.nesterov_weight_decay", Sgd::new(0.1).momentum(0.9).nesterov(true).weight_decay(0.05));
}

#[test]
fn adamw() {
    let golden = golden("optimizers");
    let case = |name: &str, adam: AdamW| check(&golden, name, &move || Box::new(adam.clone()));
    let plain = || AdamW::new(0.01).weight_decay(0.0);
    case("adamw.plain", plain());
    case("adamw.weight_decay", plain().weight_decay(0.1));
    case("adamw.betas_eps", AdamW::new(0.01).betas(0.8, 0.95).eps(1e-3).weight_decay(0.01));
    case("adamw.amsgrad", plain().amsgrad(true));
    case("adamw.amsgrad_weight_decay", plain().weight_decay(0.1).amsgrad(true));
    let vectors = Group::new(|_, param| param.rank() < 2).lr_scale(0.1).weight_decay(0.0);
    case("adamw.groups", plain().weight_decay(0.1).group(vectors));
}

#[test]
fn clipping() {
    let golden = golden("optimizers");
    let pair = Pair::new(&golden, "clip.grads", DType::F64);
    let clipped = |case: &str, clip: &dyn Fn(&mut Gradients) -> Option<f64>| {
        let mut grads = pair.grads(pair.w.tensor().clone(), pair.b.tensor().clone());
        let norm = clip(&mut grads);
        for (name, param) in [("w", &pair.w), ("b", &pair.b)] {
            let error = difference(grads.param(param.id()).unwrap(), &golden[&format!("clip.{case}.{name}")]);
            assert!(error < 1e-14, "{case} {name}: {error:e}");
        }
        if let Some(norm) = norm {
            let expected = golden[&format!("clip.{case}.total_norm")].item::<f64>().unwrap();
            assert!((norm - expected).abs() < 1e-14 * expected, "{case}: {norm}, expected {expected}");
        }
    };
    clipped("norm_1", &|grads| Some(clip_grad_norm(grads, 1.0).unwrap().item().unwrap()));
    clipped("norm_100", &|grads| Some(clip_grad_norm(grads, 100.0).unwrap().item().unwrap()));
    clipped("value_0.5", &|grads| {
        clip_grad_value(grads, 0.5).unwrap();
        None
    });
    let nan = Tensor::full([5], f64::NAN, DType::F64, &Device::Cpu).unwrap();
    let error = clip_grad_norm(&mut pair.grads(pair.w.tensor().clone(), nan), 1.0).unwrap_err();
    assert!(error.to_string().contains("the norm of the gradients is NaN"), "{error}");
}

#[test]
fn schedules() {
    let golden = golden("optimizers");
    let (base, least) = (0.1, 0.01);
    let cases: [(&str, &dyn Schedule); 5] = [
        ("linear", &Linear { base, start: 0.25, end: 1.0, steps: 20 }),
        ("linear_decay", &Linear { base, start: 1.0, end: 0.1, steps: 100 }),
        ("cosine", &Cosine { base, least, steps: 100 }),
        ("step", &Step { base, factor: 0.5, every: 30 }),
        ("warmup_cosine", &WarmupCosine { base, least, warmup: 10, steps: 100 }),
    ];
    for (name, schedule) in cases {
        let rates = golden[&format!("schedule.{name}")].to_f64_vec().unwrap();
        for (step, rate) in rates.into_iter().enumerate() {
            let got = schedule.at(step as u64);
            // PyTorch multiplies from step to step, so its own roundings add up.
            assert!((got - rate).abs() < 1e-14, "{name} at {step}: {got}, expected {rate}");
        }
    }
}

#[test]
fn the_first_step_needs_every_gradient() {
    let golden = golden("optimizers");
    let mut pair = Pair::new(&golden, "init", DType::F32);
    let mut grads = pair.grads(pair.w.tensor().clone(), pair.b.tensor().clone());
    grads.remove(pair.b.id());
    let before = pair.w.to_vec::<f32>().unwrap();
    let error = AdamW::new(0.1).step(&mut pair, &grads).unwrap_err().to_string();
    assert!(
        error.contains("parameters without a gradient; freeze those") && error.contains("\n  b: no gradient"),
        "{error}"
    );
    assert_eq!(pair.w.to_vec::<f32>().unwrap(), before);
    pair.freeze("b").unwrap();
    AdamW::new(0.1).step(&mut pair, &grads).unwrap();
    assert_ne!(pair.w.to_vec::<f32>().unwrap(), before);
}

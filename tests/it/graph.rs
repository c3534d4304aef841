//! Properties of the tape that no single op's samples show: what is tracked, cut, shared and repeated.

use chainrule::prelude::*;
use chainrule::{Cut, DType, Gelu, Precision, checkpoint, grad, hessian_vector_product, jacobian};

use crate::devices::devices;

fn tensor(values: &[f64]) -> Tensor {
    Tensor::from_slice(values, [values.len()], &Device::Cpu).unwrap()
}

fn values(x: &Tensor) -> Vec<f64> {
    x.to_f64_vec().unwrap()
}

/// A two-layer network and one step of its training.
#[derive(Clone, Module)]
struct Net {
    first: Linear,
    norm: LayerNorm,
    second: Linear,
}

impl Net {
    fn new(seed: u64) -> Net {
        let mut rng = Rng::seed(seed);
        Net {
            first: Linear::new(8, 16, &mut rng).unwrap(),
            norm: LayerNorm::new(16).unwrap(),
            second: Linear::new(16, 4, &mut rng).unwrap(),
        }
    }

    fn forward(&self, x: &Var) -> Result<Var> {
        self.second.forward(&self.norm.forward(&self.first.forward(x)?)?.gelu()?.dropout(0.1)?)
    }
}

#[test]
fn every_parameter_changes_after_one_step() {
    let mut net = Net::new(3);
    let before: Vec<Vec<f32>> = net.named_parameters().iter().map(|(_, p)| p.to_vec().unwrap()).collect();
    let x = Tensor::randn([16, 8], DType::F32, &Device::Cpu, &mut Rng::seed(4)).unwrap();
    let tape = Tape::new();
    let loss = net.on(&tape).forward(&x.into()).unwrap().square().unwrap().mean(.., false).unwrap();
    AdamW::new(1e-2).step(&mut net, &loss.backward().unwrap()).unwrap();
    for ((name, param), before) in net.named_parameters().iter().zip(before) {
        assert_ne!(param.to_vec::<f32>().unwrap(), before, "{name}");
    }
}

#[test]
fn a_result_is_tracked_for_every_subset_of_tracked_inputs_that_is_not_empty() {
    let inputs = [tensor(&[1.0, 2.0]), tensor(&[3.0, 0.5]), tensor(&[0.2, 0.7])];
    for tracked in 0..8u32 {
        let tape = Tape::new();
        let is_tracked = |i: usize| tracked >> i & 1 == 1;
        let vars: Vec<Var> =
            (0..3).map(|i| if is_tracked(i) { tape.leaf(inputs[i].clone()) } else { (&inputs[i]).into() }).collect();
        let y = vars[0].pow(&vars[1]).unwrap().lerp(&vars[1], &vars[2]).unwrap().sum(.., false).unwrap();
        assert_eq!(y.is_tracked(), tracked != 0);
        if tracked != 0 {
            let grads = y.backward().unwrap();
            for (i, x) in vars.iter().enumerate() {
                assert_eq!(grads.get(x).is_ok(), is_tracked(i), "input {i} of {tracked:03b}");
            }
        }
    }
}

#[test]
fn two_losses_share_a_graph_with_backward_retain() {
    let tape = Tape::new();
    let x = tape.leaf(tensor(&[2.0]));
    let shared = x.square().unwrap();
    let (a, b) = (shared.sum(.., false).unwrap(), shared.mul(3.0).unwrap().sum(.., false).unwrap());
    assert_eq!(values(a.backward_retain().unwrap().get(&x).unwrap()), [4.0]);
    assert_eq!(values(b.backward().unwrap().get(&x).unwrap()), [12.0]);
    let error = a.backward().err().unwrap().to_string();
    assert!(error.contains("freed by an earlier backward"), "{error}");
}

#[test]
fn misuse_of_tapes_says_what_to_do() {
    let (one, other) = (Tape::new(), Tape::new());
    let (x, y) = (one.leaf(tensor(&[1.0])), other.leaf(tensor(&[1.0])));
    let error = x.add(&y).err().unwrap().to_string();
    assert!(error.contains("two different tapes") && error.contains("graph.rs"), "{error}");
    let error = Var::from(tensor(&[1.0])).backward().err().unwrap().to_string();
    assert!(error.contains("on no tape"), "{error}");
    let error = one.leaf(tensor(&[1.0, 2.0])).backward().err().unwrap().to_string();
    assert!(error.contains("got shape [2]") && error.contains("sum or mean"), "{error}");
    let error = x.to_dtype(DType::I64).err().unwrap().to_string();
    assert!(error.contains("detach"), "{error}");
}

#[test]
fn an_error_inside_a_model_names_the_module_and_the_line_of_the_call() {
    let net = Net::new(5).on(&Tape::new());
    let x = Var::from(Tensor::zeros([2, 7], DType::F32, &Device::Cpu).unwrap());
    let error = net.forward(&x).err().unwrap();
    assert_eq!(error.module(), Some("first"), "{error}");
    assert!(error.is_shape(), "{error}");
}

#[test]
fn the_audit_names_what_cut_a_parameter_off() {
    let net = Net::new(6);
    let tape = Tape::new();
    let on_tape = net.on(&tape);
    let x = Var::from(Tensor::randn([4, 8], DType::F32, &Device::Cpu, &mut Rng::seed(7)).unwrap());
    let hidden = on_tape.first.forward(&x).unwrap().detach();
    let loss = on_tape.second.forward(&hidden.into()).unwrap().mean(.., false).unwrap();
    let grads = loss.backward().unwrap();
    assert!(matches!(grads.cut(net.first.weight.id()), Some(Cut::Detached(place)) if place.contains("graph.rs")));
    assert_eq!(grads.cut(net.norm.weight.as_ref().unwrap().id()), Some(&Cut::Unused));
    let report = grads.audit(&net).unwrap().to_string();
    assert!(report.contains("first.weight") && report.contains("detach"), "{report}");
    let mut copy = net.clone();
    let error = AdamW::new(1e-3).step(&mut copy, &grads).err().unwrap().to_string();
    assert!(error.contains("first.weight") || error.contains("norm"), "{error}");
}

#[test]
fn gradients_of_gradients_pass_through_fused_ops() {
    // For f = sum(softmax(x)^2), the product of its Hessian with v against a difference of gradients.
    let f = |x: &Var| x.softmax(-1)?.square()?.sum(.., false);
    let (x, v) = (tensor(&[0.3, -0.2, 0.9]), tensor(&[1.0, -2.0, 0.5]));
    let product = hessian_vector_product(f, &x, &v).unwrap();
    let gradient = |x: &Tensor| {
        let tape = Tape::new();
        let leaf = tape.leaf(x.clone());
        values(f(&leaf).unwrap().backward().unwrap().get(&leaf).unwrap())
    };
    let h = 1e-5;
    let (up, down) = (gradient(&(&x + &v * h)), gradient(&(&x - &v * h)));
    for ((got, up), down) in values(&product).into_iter().zip(up).zip(down) {
        // The truncation error of a central difference with step 1e-5 is near 1e-10.
        assert!((got - (up - down) / (2.0 * h)).abs() < 1e-8);
    }
}

#[test]
fn a_third_derivative_is_exact() {
    let tape = Tape::new();
    let x = tape.leaf(Tensor::new(2.0f64, &Device::Cpu).unwrap());
    let mut y = x.pow(5.0).unwrap();
    for _ in 0..3 {
        y = grad(&y, &[&x]).unwrap().remove(0);
    }
    assert_eq!(y.item::<f64>().unwrap(), 240.0);
}

#[test]
fn the_jacobian_of_a_linear_map_is_its_matrix() {
    let matrix = Tensor::new([[1.0f64, 2.0, 3.0], [4.0, 5.0, 6.0]], &Device::Cpu).unwrap();
    let w = Var::from(&matrix);
    let found = jacobian(|x| w.matmul(x), &tensor(&[1.0, -1.0, 2.0])).unwrap();
    assert_eq!(values(&found), values(&matrix));
}

#[test]
fn a_checkpointed_part_gives_the_same_gradients_with_the_same_dropout() {
    let x = Tensor::randn([64], DType::F64, &Device::Cpu, &mut Rng::seed(8)).unwrap();
    let part = |v: &[Var]| v[0].tanh()?.dropout(0.5)?.square();
    let run = |is_checkpointed: bool| {
        let tape = Tape::training(Rng::seed(9));
        let leaf = tape.leaf(x.clone());
        let y = if is_checkpointed { checkpoint(&[&leaf], part) } else { part(std::slice::from_ref(&leaf)) }.unwrap();
        let loss = y.dropout(0.5).unwrap().sum(.., false).unwrap();
        (loss.item::<f64>().unwrap(), values(loss.backward().unwrap().get(&leaf).unwrap()))
    };
    assert_eq!(run(true), run(false));
}

#[test]
fn dropout_is_the_identity_off_a_training_tape_and_keeps_the_mean_on_one() {
    let x = Tensor::ones([100_000], DType::F32, &Device::Cpu).unwrap();
    assert_eq!(Var::from(&x).dropout(0.3).unwrap().to_vec::<f32>().unwrap(), x.to_vec::<f32>().unwrap());
    let y = Tape::training(Rng::seed(10)).leaf(x).dropout(0.3).unwrap();
    let kept = y.to_vec::<f32>().unwrap().into_iter().filter(|&v| v != 0.0).count();
    // Five deviations of a binomial with n = 100,000 and p = 0.7.
    assert!((kept as f64 - 70_000.0).abs() < 725.0, "{kept}");
}

#[test]
fn autocast_computes_products_in_half_precision_and_gives_gradients_in_full() {
    let tape = Tape::new().autocast(DType::BF16);
    let mut rng = Rng::seed(11);
    let w = tape.leaf(Tensor::randn([4, 8], DType::F32, &Device::Cpu, &mut rng).unwrap());
    let x = Var::from(Tensor::randn([3, 8], DType::F32, &Device::Cpu, &mut rng).unwrap());
    let y = x.linear(&w, None).unwrap();
    assert_eq!(y.dtype(), DType::BF16);
    let grads = y.to_dtype(DType::F32).unwrap().sum(.., false).unwrap().backward().unwrap();
    assert_eq!(grads.get(&w).unwrap().dtype(), DType::F32);
}

#[test]
fn autocast_adds_a_product_in_half_precision_to_a_residual_in_full() {
    let run = |tape: &Tape, dtype: DType| {
        let mut rng = Rng::seed(12);
        let mut random = |shape: [usize; 2]| Tensor::randn(shape, DType::F32, &Device::Cpu, &mut rng).unwrap();
        let [x, w] = [random([3, 8]), random([4, 8])].map(|x| tape.leaf(x));
        let residual = tape.leaf(random([3, 4]).to_dtype(dtype).unwrap());
        let y = x.linear_add(&w, None, &residual).unwrap();
        let composed = x.linear(&w, None).unwrap().add(&residual).unwrap();
        let results = [&y, &composed].map(|y| values(&y.detach()));
        let grads = y.to_dtype(DType::F32).unwrap().square().unwrap().sum(.., false).unwrap().backward().unwrap();
        assert_eq!(grads.get(&residual).unwrap().dtype(), dtype);
        (y.dtype(), results)
    };
    let (dtype, [fused, composed]) = run(&Tape::new().autocast(DType::BF16), DType::F32);
    assert!(dtype == DType::F32 && fused == composed);
    let (dtype, [fused, composed]) = run(&Tape::new().autocast(DType::BF16), DType::BF16);
    assert_eq!(dtype, DType::BF16);
    // One rounding to eight bits instead of two.
    assert!(fused.iter().zip(&composed).all(|(a, b)| (a - b).abs() <= 2f64.powi(-7) * (1.0 + b.abs())));
}

/// `y`, `dx` and `dw` of a layer whose gradients are products too, in f32 on a device.
fn layer_on(tape: Tape, device: &Device) -> [Vec<f64>; 3] {
    let mut rng = Rng::seed(13);
    let mut random = |shape: [usize; 2]| tape.leaf(Tensor::randn(shape, DType::F32, device, &mut rng).unwrap());
    let (x, w) = (random([32, 48]), random([40, 48]));
    let y = x.linear_gelu(&w, None, Gelu::Exact).unwrap().matmul(&w).unwrap();
    let values_of_y = values(&y.detach());
    let grads = y.square().unwrap().sum(.., false).unwrap().backward().unwrap();
    [values_of_y, values(grads.get(&x).unwrap()), values(grads.get(&w).unwrap())]
}

#[test]
fn tf32_is_for_tapes_that_allow_it_and_reaches_the_gradients() {
    let host = layer_on(Tape::new(), &Device::Cpu);
    assert_eq!(layer_on(Tape::new().allow_tf32(), &Device::Cpu), host);
    assert_eq!(Tape::training(Rng::seed(1)).allow_tf32().autocast(DType::BF16).precision(), Precision::Tf32);
    for device in devices() {
        let (full, reduced) = (layer_on(Tape::new(), &device), layer_on(Tape::new().allow_tf32(), &device));
        for ((host, full), reduced) in host.iter().zip(&full).zip(&reduced) {
            let largest = host.iter().fold(0f64, |largest, x| largest.max(x.abs()));
            let distance = |got: &[f64]| {
                let far = host.iter().zip(got).map(|(a, b)| (a - b).abs());
                far.fold(0f64, f64::max) / largest
            };
            // Sums of some fifty products, three products deep: f32 keeps about six digits, tf32 three.
            assert!(distance(full) < 1e-5, "{device}: {}", distance(full));
            let off = distance(reduced);
            // It is a permission: who has no such products stays with all digits.
            let makes_use = device.to_string().starts_with("cuda");
            assert!((off > 1e-5) == makes_use && off < 1e-2, "{device}: {off}");
        }
    }
}

#[test]
fn backward_runs_on_several_threads_at_once() {
    let run = || {
        let tape = Tape::new();
        let x = tape.leaf(tensor(&[1.0, 2.0, 3.0]));
        values(x.exp().unwrap().sum(.., false).unwrap().backward().unwrap().get(&x).unwrap())
    };
    let expected = run();
    std::thread::scope(|scope| {
        let runs: Vec<_> = (0..8).map(|_| scope.spawn(run)).collect();
        runs.into_iter().for_each(|run| assert_eq!(run.join().unwrap(), expected));
    });
}

#[test]
fn shared_buffers_are_never_written() {
    let x = tensor(&[1.0, 2.0]);
    let view = x.slice(0, 1..).unwrap();
    let sum = Tensor::add_owned(x.clone(), &tensor(&[10.0, 10.0])).unwrap();
    assert_eq!((values(&x), values(&view), values(&sum)), (vec![1.0, 2.0], vec![2.0], vec![11.0, 12.0]));
}

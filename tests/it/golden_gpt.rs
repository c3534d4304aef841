//! A tiny GPT against PyTorch: logits, gradients, and 50 steps of training.

use std::collections::HashMap;

use chainrule::prelude::*;

use crate::golden_optimizers::{difference, golden};

const CONFIG: GptConfig =
    GptConfig { vocab_size: 11, context: 8, layers: 2, heads: 2, width: 16, dropout: 0.0, bias: true };

fn model(golden: &HashMap<String, Tensor>, dtype: DType) -> Gpt {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("gpt.safetensors");
    let init =
        golden.iter().filter_map(|(name, tensor)| Some((name.strip_prefix("init.")?.to_string(), tensor.clone())));
    chainrule::io::save_tensors(&path, &init.collect::<Vec<_>>(), &Default::default()).unwrap();
    let mut model = Gpt::new(CONFIG, &mut Rng::seed(0)).unwrap();
    model.load(&path).unwrap();
    model.to_dtype(dtype).unwrap()
}

/// A gradient as PyTorch's, but that of the keys' bias, which is zero but for rounding.
fn without_key_bias(name: &str, tensor: &Tensor) -> Tensor {
    if !name.ends_with("in_proj_bias") {
        return tensor.clone();
    }
    Tensor::cat(&[&tensor.narrow(0, 0, 16).unwrap(), &tensor.narrow(0, 32, 16).unwrap()], 0).unwrap()
}

fn check(dtype: DType, prefix: &str, tolerance: f64, final_tolerance: f64) {
    let golden = golden("gpt");
    let mut model = model(&golden, dtype);
    let mut adam = AdamW::new(3e-3).betas(0.9, 0.99).weight_decay(0.1).no_decay_below_rank(2);
    let losses = golden[&format!("{prefix}.losses")].to_f64_vec().unwrap();
    let norms = golden[&format!("{prefix}.grad_norms")].to_f64_vec().unwrap();
    for step in 0..50 {
        let batch = |name: &str| golden[name].select(0, step).unwrap();
        let (tokens, targets) = (batch("tokens"), batch("targets"));
        let logits = model.on(&Tape::new()).forward(&tokens).unwrap();
        let loss = logits.flatten(0, 1).unwrap().cross_entropy(&targets.flatten(0, -1).unwrap()).unwrap();
        let mut grads = loss.backward().unwrap();
        if step == 0 {
            let error = difference(&logits.detach(), &golden[&format!("{prefix}.logits")]);
            assert!(error < tolerance, "logits: {error:e}");
            for (name, param) in model.named_parameters() {
                let got = without_key_bias(&name, grads.param(param.id()).unwrap());
                let expected = without_key_bias(&name, &golden[&format!("{prefix}.grad.{name}")]);
                let error = difference(&got, &expected);
                assert!(error < tolerance, "gradient of {name}: {error:e}");
            }
        }
        let norm = clip_grad_norm(&mut grads, 1.0).unwrap().item::<f64>().unwrap();
        let (place, loss) = (step as usize, loss.detach().to_f64_vec().unwrap()[0]);
        assert!((norm - norms[place]).abs() < final_tolerance * norms[place], "norm of step {step}: {norm}");
        assert!(
            (loss - losses[place]).abs() < final_tolerance,
            "loss of step {step}: {loss}, expected {}",
            losses[place]
        );
        adam.step(&mut model, &grads).unwrap();
    }
    for (name, param) in model.named_parameters() {
        let got = without_key_bias(&name, param.tensor());
        let error = difference(&got, &without_key_bias(&name, &golden[&format!("{prefix}.final.{name}")]));
        assert!(error < final_tolerance, "{name} after 50 steps: {error:e}");
    }
}

#[test]
fn in_f64() {
    // AdamW magnifies the rounding of small gradients, so that of 50 steps is above that of one.
    check(DType::F64, "f64", 1e-13, 1e-9);
}

#[test]
fn in_f32() {
    // f32 and f64 of PyTorch itself agree to 1e-5 after 50 steps.
    check(DType::F32, "f32", 2e-6, 1e-4);
}

#[test]
fn cached_and_uncached_logits_agree() {
    let golden = golden("gpt");
    let model = model(&golden, DType::F64);
    let tokens = golden["tokens"].select(0, 0).unwrap();
    let whole = model.forward(&tokens).unwrap().detach();
    for sizes in [vec![1; 8], vec![3, 1, 4], vec![8], vec![2, 6]] {
        let mut caches = model.new_caches();
        let mut start = 0;
        for size in sizes {
            let part = model.forward_cached(&tokens.narrow(1, start, size).unwrap(), &mut caches).unwrap().detach();
            let error = difference(&part, &whole.narrow(1, start, size).unwrap());
            assert!(error < 1e-13, "{size} tokens after {start}: {error:e}");
            start += size;
        }
        let error = model.forward_cached(&tokens.narrow(1, 0, 1).unwrap(), &mut caches).unwrap_err();
        assert!(error.to_string().contains("9 tokens exceed the context of 8"), "{error}");
    }
}

#[test]
fn generation_follows_its_seed() {
    let model = Gpt::new(CONFIG, &mut Rng::seed(3)).unwrap();
    let options = chainrule::nn::Generation { tokens: 20, temperature: 1.0, top_k: Some(5) };
    let write = |seed| model.generate(&[1, 2], &options, &mut Rng::seed(seed)).unwrap();
    assert_eq!(write(1), write(1));
    assert_ne!(write(1), write(2));
    assert_eq!((write(1).len(), &write(1)[..2]), (22, &[1, 2][..]));
    // The likeliest token of the uncached model, also where the window has moved.
    let greedy = chainrule::nn::Generation { tokens: 15, temperature: 0.0, top_k: None };
    let text = model.generate(&[4], &greedy, &mut Rng::seed(0)).unwrap();
    for end in 1..text.len() {
        let window = &text[end.saturating_sub(8)..end];
        let window = Tensor::from_slice(window, [1, window.len()], &Device::Cpu).unwrap();
        let logits = model.forward(&window).unwrap().select(1, -1).unwrap().detach().to_f64_vec().unwrap();
        let best = (0..logits.len()).max_by(|&a, &b| logits[a].total_cmp(&logits[b])).unwrap();
        assert_eq!(text[end] as usize, best, "token {end}");
    }
}

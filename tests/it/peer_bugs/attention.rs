//! Bugs of attention.

use chainrule::Attention;
use chainrule::nn::layers::{Attend, MultiHeadConfig};
use chainrule::prelude::*;

use super::{close, normal, values};

/// pytorch#41508, pytorch#103963, burn#4697: a sequence of padding alone beside others.
#[test]
fn a_sequence_without_keys_spoils_no_shared_weight() {
    let layer = MultiHeadAttention::new(MultiHeadConfig::new(8, 2), &mut Rng::seed(1)).unwrap();
    let x = normal(&[2, 3, 8], DType::F32, 2);
    let padding = Tensor::new([[true, true, true], [false, false, true]], &Device::Cpu).unwrap();
    let run = |x: &Tensor, padding: &Tensor| {
        let attend = Attend { key_padding: Some(padding), ..Attend::causal() };
        let tape = Tape::new();
        let y = layer.on(&tape).forward(&x.into(), &attend).unwrap();
        let rows = y.narrow(0, y.shape()[0] - 1, 1).unwrap();
        let grads = rows.square().and_then(|y| y.sum(.., false)).unwrap().backward().unwrap();
        let weight = grads.param(layer.in_proj_weight.id()).unwrap().clone();
        (y.detach(), weight)
    };
    let (y, with) = run(&x, &padding);
    assert!(values(&y).iter().all(|y| y.is_finite()));
    let last = |x: &Tensor| x.narrow(0, 1, 1).unwrap();
    let (_, alone) = run(&last(&x), &last(&padding));
    // The same products, summed over zeros too.
    close(&with, &alone, 1e-6, "the weights' gradient");
}

/// pytorch#101967. The gradients of the backward kernels; that of the reference would multiply 0 by NaN.
#[test]
fn what_hidden_keys_hold_reaches_no_gradient() {
    let k_shape = [1, 1, 5, 4];
    let [q, k, v] = [[1, 1, 3, 4], k_shape, k_shape].map(|shape| normal(&shape, DType::F32, 5));
    let seen = Tensor::new([true, false, true, true, false], &Device::Cpu).unwrap();
    let hidden = seen.logical_not().and_then(|hidden| hidden.reshape([1, 1, 5, 1])).unwrap();
    let run = |fill: f64| {
        let tape = Tape::new();
        let [k, v] = [&k, &v].map(|x| x.masked_fill(&hidden, fill).unwrap());
        let leaves = [q.clone(), k, v].map(|x| tape.leaf(x));
        let options = Attention { mask: Some(seen.clone()), ..Attention::default() };
        let y = leaves[0].attention(&leaves[1], &leaves[2], &options).unwrap();
        let grads = y.square().and_then(|y| y.sum(.., false)).unwrap().backward().unwrap();
        [vec![y.detach()], leaves.iter().map(|leaf| grads.get(leaf).unwrap().clone()).collect()].concat()
    };
    let expected = run(0.0);
    for fill in [f64::NAN, f64::INFINITY, 3e38] {
        for ((got, expected), name) in run(fill).iter().zip(&expected).zip(["y", "dq", "dk", "dv"]) {
            // Where there are NaNs, hidden keys are passed over one by one: another order of sums.
            close(got, expected, 1e-6, &format!("{name} with {fill} in hidden keys"));
        }
    }
}

/// mlx#3361: an index of 16 bits.
#[test]
fn attention_reads_more_than_32768_keys() {
    let keys = 40_000;
    let tape = Tape::new();
    let q = tape.leaf(Tensor::zeros([1, 1, 1, 4], DType::F32, &Device::Cpu).unwrap());
    let k = tape.leaf(normal(&[1, 1, keys, 4], DType::F32, 1));
    // Equal scores, so the result is the mean; only the last key's value is not zero.
    let v = Tensor::cat(
        &[
            &Tensor::zeros([1, 1, keys - 1, 4], DType::F32, &Device::Cpu).unwrap(),
            &Tensor::full([1, 1, 1, 4], keys as f64, DType::F32, &Device::Cpu).unwrap(),
        ],
        2,
    );
    let v = tape.leaf(v.unwrap());
    let y = q.attention(&k, &v, &Attention::default()).unwrap();
    // A sum of 40,000 equal weights rounds in blocks.
    close(&y.detach(), &Tensor::ones([1, 1, 1, 4], DType::F32, &Device::Cpu).unwrap(), 1e-5, "y");
    let grads = y.sum(.., false).unwrap().backward().unwrap();
    let expected = Tensor::full([1, 1, keys, 4], 1.0 / keys as f64, DType::F32, &Device::Cpu).unwrap();
    close(grads.get(&v).unwrap(), &expected, 1e-9, "dv");
}

/// flash-attention's list of head sizes, of which some are no multiple of a vector or a tile.
#[test]
fn attention_takes_heads_of_any_size() {
    for dim in [1, 40, 72, 80, 96, 128, 192, 256] {
        let [q, k, v] = [(5, 1), (19, 2), (19, 3)].map(|(len, seed)| normal(&[1, 2, len, dim], DType::F32, seed));
        let run = |dtype: DType, is_fused: bool| {
            let tape = Tape::new();
            let leaves = [&q, &k, &v].map(|x| tape.leaf(x.to_dtype(dtype).unwrap()));
            let [q, k, v] = &leaves;
            let scores = || q.matmul(&k.transpose(-2, -1)?)?.mul((dim as f64).powf(-0.5))?.softmax(-1);
            let y = if is_fused { q.attention(k, v, &Attention::default()) } else { scores().unwrap().matmul(v) };
            let y = y.unwrap();
            let grads = y.square().and_then(|y| y.sum(.., false)).unwrap().backward().unwrap();
            [vec![y.detach()], leaves.iter().map(|x| grads.get(x).unwrap().clone()).collect()].concat()
        };
        let results = run(DType::F32, true).into_iter().zip(run(DType::F64, false));
        for ((got, expected), name) in results.zip(["y", "dq", "dk", "dv"]) {
            // Sums of up to 256 products in f32, twice over.
            close(&got, &expected, 2e-5, &format!("{name} of heads of {dim}"));
        }
    }
}

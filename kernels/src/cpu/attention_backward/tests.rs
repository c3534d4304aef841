//! Attention, forward and backward, against loops over all pairs in f64 and against finite differences.

mod case;

use crate::attention::{AttentionInputs, AttentionSaved, attention, attention_backward};
use crate::{Buffer, DType, Device, bf16, f16};
use case::{Case, Tensor};

#[test]
fn agrees_with_the_definition_on_uneven_sizes() {
    for sizes in [
        [1, 1, 1, 1, 1, 8, 8],
        [2, 2, 2, 7, 7, 20, 20],
        [1, 2, 2, 33, 65, 40, 24],
        [2, 1, 1, 65, 33, 64, 64],
        [1, 2, 2, 130, 130, 72, 8],
        [1, 1, 1, 1, 130, 64, 64],
        [1, 1, 1, 300, 150, 16, 16],
    ] {
        let case = Case::new(sizes);
        case.check_floats();
        case.clone().causal(0).check_floats();
        case.clone().causal(sizes[4] as i64 - sizes[3] as i64).check_floats();
        case.causal(-3).check_floats();
    }
}

#[test]
fn half_precision_rounds_inputs_and_results_only() {
    let case = Case::new([2, 2, 1, 33, 65, 40, 24]).causal(32);
    case.check::<f16>(2e-3);
    case.check::<bf16>(1.5e-2);
}

#[test]
fn biases_masks_and_key_lengths_broadcast() {
    let case = Case::new([2, 2, 2, 33, 70, 20, 20]);
    for keep in [[1, 1, 1, 1], [0, 1, 1, 1], [0, 0, 0, 1], [0, 0, 1, 0], [1, 0, 1, 1]] {
        case.clone().bias(keep).check_floats();
        case.clone().mask(keep).check_floats();
        case.clone().mask(keep).bias(keep).causal(37).check_floats();
    }
    for lengths in [[70, 3], [0, 65], [-1, 100]] {
        case.clone().key_lengths(&lengths).check_floats();
        case.clone().key_lengths(&lengths).causal(37).mask([1, 1, 1, 1]).check_floats();
    }
}

#[test]
fn groups_of_query_heads_share_keys() {
    for [h, h_kv] in [[4, 2], [4, 1], [6, 3]] {
        Case::new([2, h, h_kv, 40, 50, 24, 16]).check_floats();
        Case::new([2, h, h_kv, 40, 50, 24, 16]).causal(10).bias([1, 1, 1, 1]).check_floats();
    }
}

#[test]
fn dropout_is_the_same_in_both_directions_and_a_function_of_the_position() {
    for p in [0.3, 0.9, 1.0] {
        Case::new([2, 2, 1, 33, 70, 20, 20]).dropout(p).check_floats();
        Case::new([1, 2, 2, 70, 68, 16, 16]).dropout(p).causal(0).mask([0, 0, 1, 1]).check_floats();
    }
}

#[test]
fn reads_any_strides() {
    let [b, h, t, d] = [2usize, 3usize, 37usize, 16usize];
    let mut case = Case::new([b, h, h, t, t, d, d]).causal(0);
    let [_, hi, ti, di] = [b, h, t, d].map(|size| size as i64);
    // Slices of one projection [B, T, 3, H, D].
    let projection = [ti * 3 * hi * di, di, 3 * hi * di, 1];
    for (at, tensor) in [&mut case.q, &mut case.k, &mut case.v].into_iter().enumerate() {
        *tensor = Tensor::random([b, h, t, d], projection, at * h * d, 11);
    }
    case.d_o = Tensor::random([b, h, t, d], [ti * hi * di, di, hi * di, 1], 0, 12);
    case.check_floats();
    // Every second element, and transposed.
    case.k = Tensor::random([b, h, t, d], [hi * ti * di * 2, ti * di * 2, di * 2, 2], 5, 13);
    case.v = Tensor::random([b, h, t, d], [hi * ti * di, ti * di, 1, ti], 0, 14);
    case.check_floats();
}

#[test]
fn writes_any_strides() {
    let [b, h, t, d] = [2usize, 3usize, 37usize, 20usize];
    let case = Case::new([b, h, h, t, t, d, d]).causal(0);
    let mut other = case.clone();
    let swapped = [(t * h * d) as i64, d as i64, (h * d) as i64, 1];
    let p = &mut other.params;
    (p.o_strides, p.dq_strides, p.dk_strides, p.dv_strides) = (swapped, swapped, swapped, swapped);
    let (expected, got) = (case.got::<f32>(), other.got::<f32>());
    for (expected, got) in [(expected.o, got.o), (expected.dq, got.dq), (expected.dk, got.dk), (expected.dv, got.dv)] {
        let got = Tensor { values: got, offset: 0, sizes: [b, h, t, d], strides: swapped };
        assert_eq!(got.dense(), expected);
    }
}

#[test]
fn no_keys_and_no_queries() {
    Case::new([2, 2, 2, 5, 0, 8, 8]).check_floats();
    Case::new([2, 2, 1, 0, 5, 8, 8]).check_floats();
    Case::new([0, 2, 2, 5, 5, 8, 8]).check_floats();
    Case::new([1, 2, 2, 5, 5, 0, 8]).check_floats();
    Case::new([1, 2, 2, 5, 5, 8, 0]).check_floats();
}

#[test]
fn what_is_hidden_leaves_no_trace() {
    let mut case = Case::new([1, 1, 1, 70, 70, 16, 16]).causal(0);
    // Keys 40 and 69 hold no numbers; only queries from there on see them, and those are told apart below.
    for (key, value) in [(40, f64::NAN), (69, f64::INFINITY)] {
        for c in 0..16 {
            let at = case.k.at([0, 0, key, c]);
            (case.k.values[at], case.v.values[at]) = (value, value);
        }
    }
    let mut mask = Tensor::random([1, 1, 70, 70], [0, 0, 0, 1], 0, 1);
    mask.values = (0..70).map(|key| f64::from(key != 40 && key != 69)).collect();
    case.mask = Some(mask);
    case.check_floats();
    case.mask = None;
    case.params.causal_offset = -30;
    let got = case.got::<f32>();
    assert!(got.o.iter().all(|o| o.is_finite()) && got.dq.iter().all(|dq| dq.is_finite()));
    assert!(got.dk.iter().chain(&got.dv).all(|d| d.is_finite()));
    case.params.causal_offset = 0;
    let got = case.got::<f32>();
    assert!(got.o[..40 * 16].iter().all(|o| o.is_finite()) && got.o[40 * 16..].iter().all(|o| o.is_nan()));
    // NaN reaches who sees it also where nothing is masked.
    case.params.causal = 0;
    assert!(case.got::<f32>().o.iter().all(|o| o.is_nan()));
}

#[test]
fn gradients_agree_with_finite_differences() {
    let case = Case::new([1, 2, 1, 5, 6, 4, 3]).causal(1).bias([1, 1, 1, 1]).dropout(0.2);
    let loss = |case: &Case| -> f64 { case.got::<f64>().o.iter().zip(case.d_o.dense()).map(|(o, d_o)| o * d_o).sum() };
    let got = case.got::<f64>();
    let step = 1e-5;
    type Pick = fn(&mut Case) -> &mut Tensor;
    let picks: [(Pick, &[f64]); 4] = [
        (|case| &mut case.q, &got.dq),
        (|case| &mut case.k, &got.dk),
        (|case| &mut case.v, &got.dv),
        (|case| case.bias.as_mut().unwrap(), &got.dbias),
    ];
    for (pick, gradient) in picks {
        for (at, gradient) in gradient.iter().enumerate() {
            let shifted = |by: f64| {
                let mut case = case.clone();
                let tensor = pick(&mut case);
                let offset = tensor.offset;
                tensor.values[offset + at] += by;
                loss(&case)
            };
            let difference = (shifted(step) - shifted(-step)) / (2.0 * step);
            // The error of a central difference is about step^2 and epsilon / step.
            assert!((difference - gradient).abs() < 1e-8, "{difference} is not {gradient}");
        }
    }
}

#[test]
fn bits_do_not_depend_on_threads() {
    let case = Case::new([2, 4, 2, 300, 300, 40, 40]).causal(0).dropout(0.1);
    let run = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let r = pool.install(|| case.got::<f32>());
        [r.o, r.lse, r.dq, r.dk, r.dv].concat().into_iter().map(f64::to_bits).collect::<Vec<_>>()
    };
    let expected = run(1);
    assert!(run(2) == expected && run(5) == expected);
}

#[test]
fn long_sequences_need_little_memory() {
    use crate::cpu::memory;
    // Were the scores in memory, they would take 1 GiB.
    let case = Case::new([1, 1, 1, 16_384, 16_384, 8, 8]).causal(0);
    let before = memory::stats().live_bytes;
    memory::reset_peak();
    let p = case.params;
    let (q, k, v) = (case.q.buffer::<f32>(), case.k.buffer::<f32>(), case.v.buffer::<f32>());
    let mut o = Buffer::allocate(&Device::Cpu, DType::F32, 16_384 * 8).unwrap();
    let mut lse = Buffer::allocate(&Device::Cpu, DType::F32, 16_384).unwrap();
    let inputs = AttentionInputs::new((&q, 0), (&k, 0), (&v, 0));
    attention(inputs, &mut o, &mut lse, &p).unwrap();
    let [mut dq, mut dk, mut dv] = [0; 3].map(|_| Buffer::allocate(&Device::Cpu, DType::F32, 16_384 * 8).unwrap());
    let saved = AttentionSaved { o: (&o, 0), lse: (&lse, 0), d_o: (&q, 0) };
    attention_backward(inputs, saved, [&mut dq, &mut dk, &mut dv], None, &p).unwrap();
    // Other tests allocate too, so the limit is generous.
    assert!(memory::stats().peak_bytes - before < 128 << 20);
}

//! Attention, forward and backward, against loops over all pairs in f64 and against finite differences.

use crate::attention::{AttentionInputs, AttentionParams, AttentionSaved, attention, attention_backward};
use crate::philox::{Stream, unit_f32};
use crate::{Bool, Buffer, DType, Device, Stored, bf16, f16};

/// One tensor `[_, _, _, _]` in some layout.
#[derive(Clone)]
struct Tensor {
    values: Vec<f64>,
    offset: usize,
    sizes: [usize; 4],
    strides: [i64; 4],
}

fn contiguous(sizes: [usize; 4]) -> [i64; 4] {
    let [_, h, t, d] = sizes.map(|size| size as i64);
    [h * t * d, t * d, d, 1]
}

impl Tensor {
    fn random(sizes: [usize; 4], strides: [i64; 4], offset: usize, seed: u64) -> Tensor {
        let reach: i64 = (0..4).map(|dim| (sizes[dim] as i64 - 1).max(0) * strides[dim]).sum();
        let stream = Stream { seed, number: 0 };
        let values = (0..offset + reach as usize + 1).map(|at| 2.0 * stream.uniform(at as u64) as f64 - 1.0).collect();
        Tensor { values, offset, sizes, strides }
    }

    fn at(&self, index: [usize; 4]) -> usize {
        self.offset + (0..4).map(|dim| index[dim] * self.strides[dim] as usize).sum::<usize>()
    }

    fn get(&self, index: [usize; 4]) -> f64 {
        self.values[self.at(index)]
    }

    fn rounded<S: Stored>(mut self) -> Tensor {
        self.values.iter_mut().for_each(|value| *value = S::from_f64(*value).to_f64());
        self
    }

    fn buffer<S: Stored>(&self) -> Buffer {
        let values: Vec<S> = self.values.iter().map(|value| S::from_f64(*value)).collect();
        Buffer::from_slice(&Device::Cpu, &values).unwrap()
    }

    /// The elements in the order of the sizes.
    fn dense(&self) -> Vec<f64> {
        let [b, h, t, d] = self.sizes;
        (0..b * h * t * d).map(|at| self.get([at / (h * t * d), at / (t * d) % h, at / d % t, at % d])).collect()
    }
}

/// What one test runs.
#[derive(Clone)]
struct Case {
    params: AttentionParams,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    d_o: Tensor,
    bias: Option<Tensor>,
    mask: Option<Tensor>,
    key_lengths: Option<Vec<i64>>,
}

/// What attention gives, dense.
struct Results {
    o: Vec<f64>,
    lse: Vec<f64>,
    dq: Vec<f64>,
    dk: Vec<f64>,
    dv: Vec<f64>,
    dbias: Vec<f64>,
}

impl Case {
    fn new([b, h, h_kv, tq, tk, d, dv]: [usize; 7]) -> Case {
        let tensor = |sizes: [usize; 4], seed: u64| Tensor::random(sizes, contiguous(sizes), 0, seed);
        Case {
            params: AttentionParams::new([b, h, h_kv, tq, tk, d, dv]),
            q: tensor([b, h, tq, d], 1),
            k: tensor([b, h_kv, tk, d], 2),
            v: tensor([b, h_kv, tk, dv], 3),
            d_o: tensor([b, h, tq, dv], 4),
            bias: None,
            mask: None,
            key_lengths: None,
        }
    }

    fn causal(mut self, offset: i64) -> Case {
        self.params = self.params.with_causal(offset);
        self
    }

    fn dropout(mut self, p: f64) -> Case {
        self.params = self.params.with_dropout(p, Stream { seed: 7, number: 3 });
        self
    }

    fn scores_sizes(&self) -> [usize; 4] {
        [self.q.sizes[0], self.q.sizes[1], self.q.sizes[2], self.k.sizes[2]]
    }

    /// A bias that is the same for all of the dims where `keep` is 0.
    fn bias(mut self, keep: [i64; 4]) -> Case {
        let sizes = self.scores_sizes();
        let strides = contiguous(sizes);
        self.bias = Some(Tensor::random(sizes, std::array::from_fn(|dim| strides[dim] * keep[dim]), 2, 5));
        self
    }

    fn mask(mut self, keep: [i64; 4]) -> Case {
        let sizes = self.scores_sizes();
        let strides = contiguous(sizes);
        let mut mask = Tensor::random(sizes, std::array::from_fn(|dim| strides[dim] * keep[dim]), 1, 6);
        mask.values.iter_mut().for_each(|value| *value = f64::from(*value > -0.3));
        self.mask = Some(mask);
        self
    }

    fn key_lengths(mut self, lengths: &[i64]) -> Case {
        self.key_lengths = Some(lengths.to_vec());
        self
    }

    fn rounded<S: Stored>(&self) -> Case {
        let mut case = self.clone();
        for tensor in [&mut case.q, &mut case.k, &mut case.v, &mut case.d_o].into_iter().chain(&mut case.bias) {
            *tensor = tensor.clone().rounded::<S>();
        }
        case
    }

    fn is_seen(&self, b: usize, h: usize, i: usize, j: usize) -> bool {
        let p = &self.params;
        (p.causal == 0 || j as i64 <= i as i64 + p.causal_offset)
            && self.key_lengths.as_ref().is_none_or(|lengths| (j as i64) < lengths[b])
            && self.mask.as_ref().is_none_or(|mask| mask.get([b, h, i, j]) != 0.0)
    }

    /// The definition, pair by pair, in f64. Hidden pairs are left out, not multiplied by zero.
    fn expected(&self) -> Results {
        let [b_len, h_len, tq, d] = self.q.sizes;
        let [_, h_kv, tk, dv] = self.v.sizes;
        let p = &self.params;
        let mut r = Results {
            o: vec![0.0; b_len * h_len * tq * dv],
            lse: vec![f64::NEG_INFINITY; b_len * h_len * tq],
            dq: vec![0.0; b_len * h_len * tq * d],
            dk: vec![0.0; b_len * h_kv * tk * d],
            dv: vec![0.0; b_len * h_kv * tk * dv],
            dbias: vec![0.0; b_len * h_len * tq * tk],
        };
        for (b, h, i) in (0..b_len * h_len * tq).map(|at| (at / (h_len * tq), at / tq % h_len, at % tq)) {
            let g = h / (h_len / h_kv);
            let row = (b * h_len + h) * tq + i;
            let kv_row = |j: usize| (b * h_kv + g) * tk + j;
            let seen: Vec<usize> = (0..tk).filter(|&j| self.is_seen(b, h, i, j)).collect();
            let scores: Vec<f64> = seen
                .iter()
                .map(|&j| {
                    let dot: f64 = (0..d).map(|c| self.q.get([b, h, i, c]) * self.k.get([b, g, j, c])).sum();
                    p.scale * dot + self.bias.as_ref().map_or(0.0, |bias| bias.get([b, h, i, j]))
                })
                .collect();
            let max = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            if seen.is_empty() {
                continue;
            }
            r.lse[row] = max + scores.iter().map(|s| (s - max).exp()).sum::<f64>().ln();
            let factor = |j: usize| match p.dropout {
                0.0 => 1.0,
                p_drop => {
                    let word = p.stream().word((row * tk + j) as u64);
                    if f64::from(unit_f32(word)) < 1.0 - p_drop { 1.0 / (1.0 - p_drop) } else { 0.0 }
                }
            };
            let weights: Vec<f64> = scores.iter().map(|s| (s - r.lse[row]).exp()).collect();
            for (&j, weight) in seen.iter().zip(&weights) {
                for c in 0..dv {
                    r.o[row * dv + c] += factor(j) * weight * self.v.get([b, g, j, c]);
                    r.dv[kv_row(j) * dv + c] += factor(j) * weight * self.d_o.get([b, h, i, c]);
                }
            }
            let delta: f64 = (0..dv).map(|c| r.o[row * dv + c] * self.d_o.get([b, h, i, c])).sum();
            for (&j, weight) in seen.iter().zip(&weights) {
                let dp: f64 = (0..dv).map(|c| self.d_o.get([b, h, i, c]) * self.v.get([b, g, j, c])).sum();
                let ds = weight * (factor(j) * dp - delta);
                r.dbias[row * tk + j] = ds;
                for c in 0..d {
                    r.dq[row * d + c] += p.scale * ds * self.k.get([b, g, j, c]);
                    r.dk[kv_row(j) * d + c] += p.scale * ds * self.q.get([b, h, i, c]);
                }
            }
        }
        r
    }

    fn got<S: Stored>(&self) -> Results {
        let p = AttentionParams {
            q_strides: self.q.strides,
            k_strides: self.k.strides,
            v_strides: self.v.strides,
            do_strides: self.d_o.strides,
            bias_strides: self.bias.as_ref().map_or([0; 4], |bias| bias.strides),
            mask_strides: self.mask.as_ref().map_or([0; 4], |mask| mask.strides),
            ..self.params
        };
        let [b, h, tq, _] = self.q.sizes;
        let device = Device::Cpu;
        let out = |dtype: DType, len: usize| {
            let bytes = vec![0xff; len * dtype.size_bytes()];
            Buffer::from_bytes(&device, dtype, &bytes).unwrap()
        };
        let (q, k, v, d_o) = (self.q.buffer::<S>(), self.k.buffer::<S>(), self.v.buffer::<S>(), self.d_o.buffer::<S>());
        let bias = self.bias.as_ref().map(|bias| bias.buffer::<S>());
        let mask = self.mask.as_ref().map(|mask| mask.buffer::<Bool>());
        let lengths = self.key_lengths.as_ref().map(|lengths| Buffer::from_slice(&device, lengths).unwrap());
        let inputs = AttentionInputs {
            bias: bias.as_ref().map(|bias| (bias, self.bias.as_ref().unwrap().offset)),
            mask: mask.as_ref().map(|mask| (mask, self.mask.as_ref().unwrap().offset)),
            key_lengths: lengths.as_ref().map(|lengths| (lengths, 0)),
            ..AttentionInputs::new((&q, self.q.offset), (&k, self.k.offset), (&v, self.v.offset))
        };
        let count = |sizes: [usize; 4]| sizes.iter().product::<usize>();
        let mut o = out(S::DTYPE, count(self.d_o.sizes));
        let mut lse = out(S::Compute::DTYPE, b * h * tq);
        attention(inputs, &mut o, &mut lse, &p).unwrap();
        let mut dq = out(S::DTYPE, count(self.q.sizes));
        let mut dk = out(S::DTYPE, count(self.k.sizes));
        let mut dv = out(S::DTYPE, count(self.v.sizes));
        let mut dbias = out(S::DTYPE, count(self.scores_sizes()));
        let saved = AttentionSaved { o: (&o, 0), lse: (&lse, 0), d_o: (&d_o, self.d_o.offset) };
        attention_backward(inputs, saved, [&mut dq, &mut dk, &mut dv], Some(&mut dbias), &p).unwrap();
        let read = |buffer: &Buffer| buffer.to_vec::<S>().unwrap().into_iter().map(S::to_f64).collect();
        let lse = lse.to_vec::<S::Compute>().unwrap().into_iter().map(S::Compute::to_f64).collect();
        Results { o: read(&o), lse, dq: read(&dq), dk: read(&dk), dv: read(&dv), dbias: read(&dbias) }
    }

    /// Compares with the definition: values are around 1 and sums have at most some hundred terms, so the error is some
    /// epsilons of what is stored and accumulated.
    fn check<S: Stored>(&self, tolerance: f64) {
        let case = self.rounded::<S>();
        let (got, expected) = (case.got::<S>(), case.expected());
        for (name, got, expected) in [
            ("o", got.o, expected.o),
            ("lse", got.lse, expected.lse),
            ("dq", got.dq, expected.dq),
            ("dk", got.dk, expected.dk),
            ("dv", got.dv, expected.dv),
            ("dbias", got.dbias, expected.dbias),
        ] {
            for (at, (got, expected)) in got.iter().zip(&expected).enumerate() {
                let is_close = got == expected || (got - expected).abs() <= tolerance * (1.0 + expected.abs());
                assert!(is_close, "{} {name}[{at}]: {got} is not {expected}, {:?}", S::DTYPE, self.params);
            }
        }
    }

    fn check_floats(&self) {
        self.check::<f32>(3e-6);
        self.check::<f64>(1e-13);
    }
}

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

//! One call of attention in any layout, what it gives, and its definition: loops over all pairs in f64.

use crate::attention::{AttentionInputs, AttentionParams, AttentionSaved, attention, attention_backward};
use crate::philox::{Stream, unit_f32};
use crate::{Bool, Buffer, DType, Device, Stored};

/// One tensor `[_, _, _, _]` in some layout.
#[derive(Clone)]
pub(super) struct Tensor {
    pub(super) values: Vec<f64>,
    pub(super) offset: usize,
    pub(super) sizes: [usize; 4],
    pub(super) strides: [i64; 4],
}

fn contiguous(sizes: [usize; 4]) -> [i64; 4] {
    let [_, h, t, d] = sizes.map(|size| size as i64);
    [h * t * d, t * d, d, 1]
}

impl Tensor {
    pub(super) fn random(sizes: [usize; 4], strides: [i64; 4], offset: usize, seed: u64) -> Tensor {
        let reach: i64 = (0..4).map(|dim| (sizes[dim] as i64 - 1).max(0) * strides[dim]).sum();
        let stream = Stream { seed, number: 0 };
        let values = (0..offset + reach as usize + 1).map(|at| 2.0 * stream.uniform(at as u64) as f64 - 1.0).collect();
        Tensor { values, offset, sizes, strides }
    }

    pub(super) fn at(&self, index: [usize; 4]) -> usize {
        self.offset + (0..4).map(|dim| index[dim] * self.strides[dim] as usize).sum::<usize>()
    }

    fn get(&self, index: [usize; 4]) -> f64 {
        self.values[self.at(index)]
    }

    fn rounded<S: Stored>(mut self) -> Tensor {
        self.values.iter_mut().for_each(|value| *value = S::from_f64(*value).to_f64());
        self
    }

    pub(super) fn buffer<S: Stored>(&self) -> Buffer {
        let values: Vec<S> = self.values.iter().map(|value| S::from_f64(*value)).collect();
        Buffer::from_slice(&Device::Cpu, &values).unwrap()
    }

    /// The elements in the order of the sizes.
    pub(super) fn dense(&self) -> Vec<f64> {
        let [b, h, t, d] = self.sizes;
        (0..b * h * t * d).map(|at| self.get([at / (h * t * d), at / (t * d) % h, at / d % t, at % d])).collect()
    }
}

/// What one test runs.
#[derive(Clone)]
pub(super) struct Case {
    pub(super) params: AttentionParams,
    pub(super) q: Tensor,
    pub(super) k: Tensor,
    pub(super) v: Tensor,
    pub(super) d_o: Tensor,
    pub(super) bias: Option<Tensor>,
    pub(super) mask: Option<Tensor>,
    pub(super) key_lengths: Option<Vec<i64>>,
}

/// What attention gives, dense.
pub(super) struct Results {
    pub(super) o: Vec<f64>,
    pub(super) lse: Vec<f64>,
    pub(super) dq: Vec<f64>,
    pub(super) dk: Vec<f64>,
    pub(super) dv: Vec<f64>,
    pub(super) dbias: Vec<f64>,
}

impl Case {
    pub(super) fn new([b, h, h_kv, tq, tk, d, dv]: [usize; 7]) -> Case {
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

    pub(super) fn causal(mut self, offset: i64) -> Case {
        self.params = self.params.with_causal(offset);
        self
    }

    pub(super) fn dropout(mut self, p: f64) -> Case {
        self.params = self.params.with_dropout(p, Stream { seed: 7, number: 3 });
        self
    }

    fn scores_sizes(&self) -> [usize; 4] {
        [self.q.sizes[0], self.q.sizes[1], self.q.sizes[2], self.k.sizes[2]]
    }

    /// A bias that is the same for all of the dims where `keep` is 0.
    pub(super) fn bias(mut self, keep: [i64; 4]) -> Case {
        let sizes = self.scores_sizes();
        let strides = contiguous(sizes);
        self.bias = Some(Tensor::random(sizes, std::array::from_fn(|dim| strides[dim] * keep[dim]), 2, 5));
        self
    }

    pub(super) fn mask(mut self, keep: [i64; 4]) -> Case {
        let sizes = self.scores_sizes();
        let strides = contiguous(sizes);
        let mut mask = Tensor::random(sizes, std::array::from_fn(|dim| strides[dim] * keep[dim]), 1, 6);
        mask.values.iter_mut().for_each(|value| *value = f64::from(*value > -0.3));
        self.mask = Some(mask);
        self
    }

    pub(super) fn key_lengths(mut self, lengths: &[i64]) -> Case {
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

    pub(super) fn got<S: Stored>(&self) -> Results {
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
    pub(super) fn check<S: Stored>(&self, tolerance: f64) {
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

    pub(super) fn check_floats(&self) {
        self.check::<f32>(3e-6);
        self.check::<f64>(1e-13);
    }
}

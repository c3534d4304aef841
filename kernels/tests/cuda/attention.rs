//! Attention on CUDA against attention on the host, forward and backward, over sizes, features, layouts and dtypes.

mod halves;

use chainrule_kernels::attention::{AttentionInputs, AttentionParams, AttentionSaved, attention, attention_backward};
use chainrule_kernels::{Bool, Buffer, DType, Device, Stored, Stream, bf16, f16};

/// A tensor `[_, _, _, _]` in some layout, from `offset` on.
#[derive(Clone)]
struct Tensor {
    values: Vec<f64>,
    offset: usize,
    strides: [i64; 4],
}

fn contiguous([_, h, t, d]: [usize; 4]) -> [i64; 4] {
    [h * t * d, t * d, d, 1].map(|stride| stride as i64)
}

impl Tensor {
    fn random(sizes: [usize; 4], strides: [i64; 4], offset: usize, seed: u64) -> Tensor {
        let reach: i64 = (0..4).map(|dim| (sizes[dim] as i64 - 1).max(0) * strides[dim]).sum();
        let stream = Stream { seed, number: 0 };
        let values = (0..offset + reach as usize + 1).map(|at| 2.0 * stream.uniform(at as u64) as f64 - 1.0).collect();
        Tensor { values, offset, strides }
    }

    fn buffer<S: Stored>(&self, device: &Device) -> Buffer {
        let values: Vec<S> = self.values.iter().map(|value| S::from_f64(*value)).collect();
        Buffer::from_slice(device, &values).unwrap()
    }
}

/// What one test runs; sizes are `[B, H, Hkv, Tq, Tk, D, Dv]`.
#[derive(Clone)]
struct Case {
    sizes: [usize; 7],
    params: AttentionParams,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    d_o: Tensor,
    bias: Option<Tensor>,
    mask: Option<Tensor>,
    key_lengths: Option<Vec<i64>>,
    has_bias_gradient: bool,
}

/// o, lse, dq, dk, dv and dbias, each as it lies in memory.
type Results = [Vec<f64>; 6];

const NAMES: [&str; 6] = ["o", "lse", "dq", "dk", "dv", "dbias"];

impl Case {
    fn new(sizes: [usize; 7]) -> Case {
        let [b, h, h_kv, tq, tk, d, dv] = sizes;
        let tensor = |sizes: [usize; 4], seed: u64| Tensor::random(sizes, contiguous(sizes), 0, seed);
        Case {
            sizes,
            params: AttentionParams::new(sizes),
            q: tensor([b, h, tq, d], 1),
            k: tensor([b, h_kv, tk, d], 2),
            v: tensor([b, h_kv, tk, dv], 3),
            d_o: tensor([b, h, tq, dv], 4),
            bias: None,
            mask: None,
            key_lengths: None,
            has_bias_gradient: true,
        }
    }

    fn causal(mut self, offset: i64) -> Case {
        self.params = self.params.with_causal(offset);
        self
    }

    fn dropout(mut self, p: f64) -> Case {
        self.params = self.params.with_dropout(p, Stream { seed: 7 << 40 | 9, number: 3 });
        self
    }

    fn scores_sizes(&self) -> [usize; 4] {
        let [b, h, _, tq, tk, _, _] = self.sizes;
        [b, h, tq, tk]
    }

    /// A bias that is the same for all of the dims where `keep` is 0.
    fn bias(mut self, keep: [i64; 4]) -> Case {
        let strides = contiguous(self.scores_sizes());
        let strides = std::array::from_fn(|dim| strides[dim] * keep[dim]);
        self.bias = Some(Tensor::random(self.scores_sizes(), strides, 2, 5));
        self
    }

    fn mask(mut self, keep: [i64; 4]) -> Case {
        let strides = contiguous(self.scores_sizes());
        let strides = std::array::from_fn(|dim| strides[dim] * keep[dim]);
        let mut mask = Tensor::random(self.scores_sizes(), strides, 1, 6);
        mask.values.iter_mut().for_each(|value| *value = f64::from(*value > -0.3));
        self.mask = Some(mask);
        self
    }

    fn key_lengths(mut self, lengths: &[i64]) -> Case {
        self.key_lengths = Some(lengths.to_vec());
        self
    }

    fn run<S: Stored>(&self, device: &Device) -> Results {
        let p = AttentionParams {
            q_strides: self.q.strides,
            k_strides: self.k.strides,
            v_strides: self.v.strides,
            do_strides: self.d_o.strides,
            bias_strides: self.bias.as_ref().map_or([0; 4], |bias| bias.strides),
            mask_strides: self.mask.as_ref().map_or([0; 4], |mask| mask.strides),
            ..self.params
        };
        let [b, h, h_kv, tq, tk, d, dv_len] = self.sizes;
        let out = |dtype: DType, len: usize| {
            Buffer::from_bytes(device, dtype, &vec![0xff; len * dtype.size_bytes()]).unwrap()
        };
        let [q, k, v, d_o] = [&self.q, &self.k, &self.v, &self.d_o].map(|tensor| tensor.buffer::<S>(device));
        let bias = self.bias.as_ref().map(|bias| bias.buffer::<S>(device));
        let mask = self.mask.as_ref().map(|mask| mask.buffer::<Bool>(device));
        let lengths = self.key_lengths.as_ref().map(|lengths| Buffer::from_slice(device, lengths).unwrap());
        let inputs = AttentionInputs {
            bias: bias.as_ref().map(|bias| (bias, self.bias.as_ref().unwrap().offset)),
            mask: mask.as_ref().map(|mask| (mask, self.mask.as_ref().unwrap().offset)),
            key_lengths: lengths.as_ref().map(|lengths| (lengths, 0)),
            ..AttentionInputs::new((&q, self.q.offset), (&k, self.k.offset), (&v, self.v.offset))
        };
        let mut o = out(S::DTYPE, b * h * tq * dv_len);
        let mut lse = out(S::Compute::DTYPE, b * h * tq);
        attention(inputs, &mut o, &mut lse, &p).unwrap();
        let mut dq = out(S::DTYPE, b * h * tq * d);
        let mut dk = out(S::DTYPE, b * h_kv * tk * d);
        let mut dv = out(S::DTYPE, b * h_kv * tk * dv_len);
        let mut dbias = out(S::DTYPE, b * h * tq * tk);
        let saved = AttentionSaved { o: (&o, 0), lse: (&lse, 0), d_o: (&d_o, self.d_o.offset) };
        let asked = self.has_bias_gradient.then_some(&mut dbias);
        attention_backward(inputs, saved, [&mut dq, &mut dk, &mut dv], asked, &p).unwrap();
        let read = |buffer: &Buffer| buffer.to_vec::<S>().unwrap().into_iter().map(S::to_f64).collect();
        let lse = lse.to_vec::<S::Compute>().unwrap().into_iter().map(S::Compute::to_f64).collect();
        let dbias = if self.has_bias_gradient { read(&dbias) } else { Vec::new() };
        [read(&o), lse, read(&dq), read(&dk), read(&dv), dbias]
    }

    /// Compares with the host. Values are around 1 and sums have at most some hundred terms, in another order here, so
    /// the error is some epsilons of what is stored and accumulated.
    fn check<S: Stored>(&self, tolerance: f64) {
        let got = self.run::<S>(&super::device());
        let expected = self.run::<S>(&Device::Cpu);
        for (name, (got, expected)) in NAMES.iter().zip(got.iter().zip(&expected)) {
            assert_eq!(got.len(), expected.len());
            for (at, (got, expected)) in got.iter().zip(expected).enumerate() {
                let is_close = got == expected || (got - expected).abs() <= tolerance * (1.0 + expected.abs());
                assert!(is_close, "{} {name}[{at}]: {got} is not {expected}, {:?}", S::DTYPE, self.params);
            }
        }
    }

    fn check_f32(&self) {
        self.check::<f32>(3e-6);
    }
}

#[test]
fn uneven_sizes() {
    for sizes in [[1, 1, 1, 1, 1, 8, 8], [2, 2, 2, 7, 70, 16, 16], [1, 1, 1, 65, 33, 16, 12], [1, 1, 1, 130, 130, 8, 8]]
    {
        let case = Case::new(sizes);
        case.check_f32();
        case.clone().causal(0).check_f32();
        case.clone().causal(sizes[4] as i64 - sizes[3] as i64).check_f32();
        case.causal(-3).check_f32();
    }
}

#[test]
fn every_float_dtype() {
    let case = Case::new([1, 2, 1, 33, 65, 40, 24]).causal(32).bias([0, 1, 0, 1]);
    case.check::<f32>(3e-6);
    case.check::<f64>(1e-13);
    // Weights are not rounded before the second product, as on the host, so only the last rounding can differ.
    case.check::<f16>(2e-3);
    case.check::<bf16>(1.6e-2);
}

#[test]
fn wide_and_narrow_heads() {
    for (d, dv) in [(64, 64), (80, 128), (256, 96), (20, 260)] {
        Case::new([1, 1, 1, 20, 70, d, dv]).causal(50).check_f32();
    }
    Case::new([1, 1, 1, 20, 70, 136, 64]).causal(50).check::<f64>(1e-13);
    Case::new([1, 1, 1, 20, 300, 64, 64]).causal(250).check::<bf16>(1.6e-2);
}

#[test]
fn biases_masks_and_key_lengths_broadcast() {
    let case = Case::new([2, 2, 2, 33, 70, 16, 16]);
    for keep in [[1, 1, 1, 1], [0, 0, 0, 1], [0, 0, 1, 0], [1, 0, 1, 1]] {
        case.clone().mask(keep).check_f32();
        case.clone().mask(keep).bias(keep).causal(37).check_f32();
    }
    for lengths in [[70, 3], [0, 65], [-1, 100]] {
        case.clone().key_lengths(&lengths).check_f32();
        case.clone().key_lengths(&lengths).causal(37).mask([1, 1, 1, 1]).check_f32();
    }
}

#[test]
fn groups_of_query_heads_share_keys() {
    for [h, h_kv] in [[4, 1], [6, 3]] {
        Case::new([2, h, h_kv, 40, 50, 16, 16]).causal(10).bias([1, 1, 1, 1]).check_f32();
    }
}

#[test]
fn dropout_draws_the_same_on_every_device() {
    for p in [0.3, 1.0] {
        Case::new([2, 2, 1, 33, 70, 16, 16]).dropout(p).check_f32();
        Case::new([1, 2, 2, 70, 67, 16, 16]).dropout(p).causal(0).mask([0, 0, 1, 1]).check_f32();
    }
}

#[test]
fn any_strides() {
    let [b, h, t, d] = [2usize, 3usize, 37usize, 16usize];
    let [hi, ti, di] = [h, t, d].map(|size| size as i64);
    let mut case = Case::new([b, h, h, t, t, d, d]).causal(0);
    // Slices of one projection [B, T, 3, H, D], and results as [B, T, H, D].
    let projection = [ti * 3 * hi * di, di, 3 * hi * di, 1];
    for (at, tensor) in [&mut case.q, &mut case.k, &mut case.v].into_iter().enumerate() {
        *tensor = Tensor::random([b, h, t, d], projection, at * h * d, 11);
    }
    let swapped = [ti * hi * di, di, hi * di, 1];
    case.d_o = Tensor::random([b, h, t, d], swapped, 0, 12);
    let p = &mut case.params;
    (p.o_strides, p.dq_strides, p.dk_strides, p.dv_strides) = (swapped, swapped, swapped, swapped);
    case.check_f32();
    // Every second element, transposed, and from an odd element on.
    case.k = Tensor::random([b, h, t, d], [hi * ti * di * 2, ti * di * 2, di * 2, 2], 5, 13);
    case.v = Tensor::random([b, h, t, d], [hi * ti * di, ti * di, 1, ti], 0, 14);
    case.q.offset = 0;
    case.check_f32();
    case.check::<f16>(2e-3);
}

#[test]
fn no_keys_and_no_queries() {
    for sizes in [[2, 2, 2, 5, 0, 8, 8], [2, 2, 1, 0, 5, 8, 8], [0, 2, 2, 5, 5, 8, 8], [1, 2, 2, 5, 5, 0, 8]] {
        Case::new(sizes).check_f32();
    }
    Case::new([1, 2, 2, 5, 5, 8, 0]).check_f32();
}

#[test]
fn what_is_hidden_leaves_no_trace() {
    hides::<f32>(16);
    hides::<bf16>(16);
    hides::<f16>(64);
    hides::<bf16>(160);
}

fn hides<S: Stored>(d: usize) {
    let mut clean = Case::new([1, 1, 1, 70, 70, d, d]).causal(0);
    let mut mask = Tensor::random([1, 1, 70, 70], [0, 0, 70, 1], 0, 1);
    mask.values = (0..70 * 70).map(|at| f64::from(at % 70 != 40 && at % 70 != 69 && at / 70 != 69)).collect();
    clean.mask = Some(mask);
    let mut case = clean.clone();
    for (key, value) in [(40, f64::NAN), (69, f64::INFINITY)] {
        case.k.values[key * d..][..d].fill(value);
        case.v.values[key * d..][..d].fill(value);
    }
    // The last query sees nothing; its gradient holds no numbers either.
    case.d_o.values[69 * d..].fill(f64::NAN);
    let got = case.run::<S>(&super::device());
    assert!(got[0].iter().all(|o| o.is_finite()) && got[0][69 * d..].iter().all(|o| *o == 0.0));
    assert_eq!(got[1][69], f64::NEG_INFINITY);
    assert!(got[2..].iter().flatten().all(|gradient| gradient.is_finite()));
    assert!(got[2][69 * d..].iter().all(|dq| *dq == 0.0));
    assert!(got == clean.run::<S>(&super::device()), "what is hidden changed a result, {:?} {d}", S::DTYPE);
    // Causality alone hides them from the queries before.
    case.mask = None;
    let got = case.run::<S>(&super::device());
    assert!(got[0][..40 * d].iter().all(|o| o.is_finite()) && got[0][40 * d..].iter().all(|o| o.is_nan()));
    // NaN reaches who sees it also where nothing is masked.
    case.params.causal = 0;
    assert!(case.run::<S>(&super::device())[0].iter().all(|o| o.is_nan()));
}

#[test]
fn bits_do_not_depend_on_the_run() {
    let case = Case::new([1, 4, 2, 70, 70, 16, 16]).causal(0).dropout(0.1);
    assert_eq!(case.run::<f32>(&super::device()), case.run::<f32>(&super::device()));
}

#[test]
fn the_bias_gradient_is_optional() {
    let mut case = Case::new([1, 2, 1, 33, 20, 16, 16]).bias([1, 1, 1, 1]);
    case.has_bias_gradient = false;
    case.check_f32();
}

//! Attention on wgpu against attention on the host, forward and backward: many tiles and their edges, every width of the
//! register tiles, features together, layouts, dtypes, and what is hidden.

use chainrule_kernels::attention::{AttentionInputs, AttentionParams, AttentionSaved, attention, attention_backward};
use chainrule_kernels::{Bool, Buffer, DType, Device, Stored, Stream, bf16, f16};

use crate::device;

/// A tensor `[_, _, _, _]` in some layout, from `offset` on.
#[derive(Clone)]
struct Tensor {
    values: Vec<f32>,
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
        let values = (0..offset + reach as usize + 1).map(|at| 2.0 * stream.uniform(at as u64) - 1.0).collect();
        Tensor { values, offset, strides }
    }

    /// Of sizes of which those where `keep` is 0 are broadcast.
    fn broadcast(sizes: [usize; 4], keep: [i64; 4], offset: usize, seed: u64) -> Tensor {
        let strides = contiguous(sizes);
        Tensor::random(sizes, std::array::from_fn(|dim| strides[dim] * keep[dim]), offset, seed)
    }

    fn buffer<S: Stored>(&self, device: &Device) -> Buffer {
        let values: Vec<S> = self.values.iter().map(|value| S::from_f32(*value)).collect();
        Buffer::from_slice(device, &values).unwrap()
    }
}

/// What one test runs; sizes are `[B, H, Hkv, Tq, Tk, D, Dv]`.
#[derive(Clone)]
struct Case {
    sizes: [usize; 7],
    params: AttentionParams,
    /// q, k, v and do.
    tensors: [Tensor; 4],
    bias: Option<Tensor>,
    mask: Option<Tensor>,
    key_lengths: Option<Vec<i32>>,
}

/// o, lse, dq, dk, dv and dbias, each as it lies in memory.
type Results = [Vec<f64>; 6];

const NAMES: [&str; 6] = ["o", "lse", "dq", "dk", "dv", "dbias"];

impl Case {
    fn new(sizes: [usize; 7]) -> Case {
        let [b, h, h_kv, tq, tk, d, dv] = sizes;
        let tensor = |sizes: [usize; 4], seed: u64| Tensor::random(sizes, contiguous(sizes), 0, seed);
        let tensors = [
            tensor([b, h, tq, d], 1),
            tensor([b, h_kv, tk, d], 2),
            tensor([b, h_kv, tk, dv], 3),
            tensor([b, h, tq, dv], 4),
        ];
        Case { sizes, params: AttentionParams::new(sizes), tensors, bias: None, mask: None, key_lengths: None }
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

    fn bias(mut self, keep: [i64; 4]) -> Case {
        self.bias = Some(Tensor::broadcast(self.scores_sizes(), keep, 2, 5));
        self
    }

    fn mask(mut self, keep: [i64; 4]) -> Case {
        let mut mask = Tensor::broadcast(self.scores_sizes(), keep, 1, 6);
        mask.values.iter_mut().for_each(|value| *value = f32::from(u8::from(*value > -0.3)));
        self.mask = Some(mask);
        self
    }

    fn key_lengths(mut self, lengths: &[i32]) -> Case {
        self.key_lengths = Some(lengths.to_vec());
        self
    }

    fn params(&self) -> AttentionParams {
        let [q, k, v, d_o] = [0, 1, 2, 3].map(|at| self.tensors[at].strides);
        AttentionParams {
            q_strides: q,
            k_strides: k,
            v_strides: v,
            do_strides: d_o,
            bias_strides: self.bias.as_ref().map_or([0; 4], |bias| bias.strides),
            mask_strides: self.mask.as_ref().map_or([0; 4], |mask| mask.strides),
            ..self.params
        }
    }

    fn run<S: Stored>(&self, device: &Device) -> Results {
        let p = self.params();
        let [b, h, h_kv, tq, tk, d, dv_len] = self.sizes;
        let out = |dtype: DType, len: usize| {
            Buffer::from_bytes(device, dtype, &vec![0xff; len * dtype.size_bytes()]).unwrap()
        };
        let [q, k, v, d_o] = [0, 1, 2, 3].map(|at| self.tensors[at].buffer::<S>(device));
        let [q, k, v, d_o] = [(&q, 0), (&k, 1), (&v, 2), (&d_o, 3)].map(|(x, at)| (x, self.tensors[at].offset));
        let bias = self.bias.as_ref().map(|bias| (bias.buffer::<S>(device), bias.offset));
        let mask = self.mask.as_ref().map(|mask| (mask.buffer::<Bool>(device), mask.offset));
        // Each device has its own dtype for positions.
        let lengths = self.key_lengths.as_ref().map(|lengths| match device {
            Device::Cpu => Buffer::from_slice(device, &lengths.iter().map(|n| i64::from(*n)).collect::<Vec<_>>()),
            _ => Buffer::from_slice(device, lengths),
        });
        let lengths = lengths.transpose().unwrap();
        let inputs = AttentionInputs {
            bias: bias.as_ref().map(|(bias, offset)| (bias, *offset)),
            mask: mask.as_ref().map(|(mask, offset)| (mask, *offset)),
            key_lengths: lengths.as_ref().map(|lengths| (lengths, 0)),
            ..AttentionInputs::new(q, k, v)
        };
        let (mut o, mut lse) = (out(S::DTYPE, b * h * tq * dv_len), out(DType::F32, b * h * tq));
        attention(inputs, &mut o, &mut lse, &p).unwrap();
        let [mut dq, mut dk, mut dv] =
            [b * h * tq * d, b * h_kv * tk * d, b * h_kv * tk * dv_len].map(|len| out(S::DTYPE, len));
        let mut dbias = self.bias.is_some().then(|| out(S::DTYPE, b * h * tq * tk));
        let saved = AttentionSaved { o: (&o, 0), lse: (&lse, 0), d_o };
        attention_backward(inputs, saved, [&mut dq, &mut dk, &mut dv], dbias.as_mut(), &p).unwrap();
        let read = |buffer: &Buffer| buffer.to_vec::<S>().unwrap().into_iter().map(S::to_f64).collect();
        let lse = lse.to_vec::<f32>().unwrap().into_iter().map(f64::from).collect();
        [read(&o), lse, read(&dq), read(&dk), read(&dv), dbias.as_ref().map_or(Vec::new(), read)]
    }

    /// Compares with the host. Values are around 1 and sums have at most some hundred terms, in another order here, so
    /// the error is some epsilons of what is stored and accumulated.
    #[track_caller]
    fn check<S: Stored>(&self, tolerance: f64) {
        let (got, expected) = (self.run::<S>(&device()), self.run::<S>(&Device::Cpu));
        for (name, (got, expected)) in NAMES.iter().zip(got.iter().zip(&expected)) {
            assert_eq!(got.len(), expected.len());
            for (at, (got, expected)) in got.iter().zip(expected).enumerate() {
                let is_close = got == expected || (got - expected).abs() <= tolerance * (1.0 + expected.abs());
                assert!(is_close, "{} {name}[{at}]: {got} is not {expected}, {:?}", S::DTYPE, self.params);
            }
        }
    }

    #[track_caller]
    fn check_f32(&self) {
        self.check::<f32>(3e-6);
    }
}

#[test]
fn many_tiles_and_their_edges() {
    for sizes in [[1, 1, 1, 1, 1, 8, 8], [2, 2, 2, 7, 70, 16, 16], [1, 1, 1, 65, 33, 16, 12], [1, 1, 1, 130, 131, 8, 8]]
    {
        let case = Case::new(sizes);
        case.check_f32();
        case.clone().causal(sizes[4] as i64 - sizes[3] as i64).check_f32();
        case.causal(-3).check_f32();
    }
    Case::new([1, 1, 1, 64, 64, 16, 16]).check_f32();
    Case::new([1, 1, 1, 64, 64, 16, 16]).causal(1 << 40).check_f32();
}

#[test]
fn every_float_dtype() {
    let case = Case::new([1, 2, 1, 33, 65, 40, 24]).causal(32).bias([0, 1, 0, 1]);
    case.check_f32();
    // Weights are not rounded before the second product, as on the host, so only the last rounding can differ.
    case.check::<f16>(2e-3);
    case.check::<bf16>(1.6e-2);
    let case = Case::new([1, 1, 1, 33, 65, 40, 24]);
    for dtype in [DType::I32, DType::U8] {
        let new = || Buffer::allocate(&device(), dtype, 4).unwrap();
        let (x, mut o, mut lse) = (new(), new(), new());
        let inputs = AttentionInputs::new((&x, 0), (&x, 0), (&x, 0));
        assert!(attention(inputs, &mut o, &mut lse, &case.params).is_err());
    }
}

#[test]
fn heads_of_every_width() {
    for (d, dv) in [(32, 32), (64, 64), (96, 80), (128, 128), (20, 260), (256, 256)] {
        Case::new([1, 1, 1, 20, 70, d, dv]).causal(50).check_f32();
    }
    Case::new([1, 1, 1, 66, 70, 64, 64]).causal(4).dropout(0.2).check::<bf16>(2.5e-2);
    Case::new([1, 1, 1, 66, 70, 100, 100]).causal(4).bias([1, 1, 1, 1]).check::<f16>(3e-3);
}

#[test]
fn biases_masks_and_key_lengths_broadcast() {
    let case = Case::new([2, 2, 2, 33, 70, 16, 16]);
    for keep in [[1, 1, 1, 1], [0, 0, 0, 1], [0, 0, 1, 0], [1, 0, 1, 1]] {
        case.clone().mask(keep).check_f32();
        case.clone().mask(keep).bias([1, 0, 1, 1]).causal(37).check_f32();
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
    for (at, tensor) in case.tensors.iter_mut().take(3).enumerate() {
        *tensor = Tensor::random([b, h, t, d], projection, at * h * d, 11);
    }
    let swapped = [ti * hi * di, di, hi * di, 1];
    case.tensors[3] = Tensor::random([b, h, t, d], swapped, 0, 12);
    let p = &mut case.params;
    (p.o_strides, p.dq_strides, p.dk_strides, p.dv_strides) = (swapped, swapped, swapped, swapped);
    case.check_f32();
    // Every second element, transposed, and from an odd element on.
    case.tensors[1] = Tensor::random([b, h, t, d], [hi * ti * di * 2, ti * di * 2, di * 2, 2], 5, 13);
    case.tensors[2] = Tensor::random([b, h, t, d], [hi * ti * di, ti * di, 1, ti], 0, 14);
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
    hides::<f32>();
    hides::<bf16>();
}

fn hides<S: Stored>() {
    let mut case = Case::new([1, 1, 1, 70, 70, 16, 16]).causal(0);
    for (key, value) in [(40, f32::NAN), (69, f32::INFINITY)] {
        case.tensors[1].values[key * 16..][..16].fill(value);
        case.tensors[2].values[key * 16..][..16].fill(value);
    }
    // The last query sees nothing; its gradient holds no numbers either.
    case.tensors[3].values[69 * 16..].fill(f32::NAN);
    let is_seen = |at: usize| at % 70 != 40 && at % 70 != 69 && at / 70 != 69;
    let mut mask = Tensor::random([1, 1, 70, 70], [0, 0, 70, 1], 0, 1);
    mask.values = (0..70 * 70).map(|at| f32::from(u8::from(is_seen(at)))).collect();
    // The mask alone, with a bias, and as a bias of negative infinity.
    let mut additive = mask.clone();
    additive.values.iter_mut().for_each(|value| *value = if *value == 1.0 { 0.5 } else { f32::NEG_INFINITY });
    let plain = Tensor::random([1, 1, 70, 70], [0, 0, 0, 1], 0, 8);
    for (bias, mask) in [(None, Some(mask.clone())), (Some(plain), Some(mask)), (Some(additive), None)] {
        (case.bias, case.mask) = (bias, mask);
        let got = case.run::<S>(&device());
        assert!(got[0].iter().all(|o| o.is_finite()) && got[0][69 * 16..].iter().all(|o| *o == 0.0));
        assert_eq!(got[1][69], f64::NEG_INFINITY);
        assert!(got[2..].iter().flatten().all(|gradient| gradient.is_finite()));
        assert!(got[2][69 * 16..].iter().all(|dq| *dq == 0.0));
    }
    // Causality alone hides them from the queries before.
    (case.bias, case.mask) = (None, None);
    let got = case.run::<S>(&device());
    assert!(got[0][..40 * 16].iter().all(|o| o.is_finite()) && got[0][40 * 16..].iter().all(|o| o.is_nan()));
    // NaN reaches who sees it also where nothing is masked.
    case.params.causal = 0;
    assert!(case.run::<S>(&device())[0].iter().all(|o| o.is_nan()));
}

#[test]
fn bits_do_not_depend_on_the_run() {
    let case = Case::new([1, 4, 2, 70, 70, 16, 16]).causal(0).dropout(0.1);
    assert_eq!(case.run::<f32>(&device()), case.run::<f32>(&device()));
}

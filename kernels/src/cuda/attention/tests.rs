//! Which variant serves what, and the tiles that GPUs with less shared memory take.

use super::tensor::{Wanted, backward_tiles, launches};
use super::*;
use crate::attention::{AttentionInputs, AttentionSaved, attention, attention_backward};
use crate::cuda::CudaDevice;
use crate::cuda::emulator::Emulator;
use crate::{Buffer, Device, Stream, bf16};

/// What a block can have on GPUs of 8.9, 8.0 and 9.0.
const SHARED_BYTES: [usize; 3] = [99 << 10, 163 << 10, 227 << 10];

/// Contiguous attention, at addresses that are aligned.
fn request(head_dim: u64, value_dim: u64) -> Request {
    let params = AttentionParams::new([1, 1, 1, 64, 64, head_dim as usize, value_dim as usize]);
    let (d, d_v) = (head_dim, value_dim);
    let operands = vec![(4096, params.q_strides, d), (4096, params.v_strides, d_v)];
    Request { elem: DType::BF16, architecture: 90, max_shared_bytes: SHARED_BYTES[2], params, operands }
}

#[test]
fn the_first_variant_that_serves_is_taken() {
    let place = |request: &Request| {
        [&FORWARD, &BACKWARD].map(|variants| {
            let taken = request.variant(variants).unwrap();
            variants.iter().position(|variant| std::ptr::eq(variant, taken)).unwrap()
        })
    };
    let halves = request(40, 64);
    assert_eq!(place(&halves), [0, 0]);
    assert_eq!(place(&Request { elem: DType::F16, architecture: 80, ..request(8, 256) }), [0, 0]);
    assert_eq!(place(&Request { elem: DType::F32, ..request(64, 64) }), [1, 1]);
    assert_eq!(place(&Request { elem: DType::F64, ..request(64, 64) }), [1, 1]);
    assert_eq!(place(&Request { architecture: 75, ..request(64, 64) }), [1, 1]);
    assert_eq!(place(&request(60, 64)), [1, 1]);
    assert_eq!(place(&request(64, 264)), [1, 1]);
    assert_eq!(place(&Request { max_shared_bytes: 48 << 10, ..request(256, 256) }), [1, 1]);
    let shifted = vec![(4096 + 8, halves.params.q_strides, 40)];
    assert_eq!(place(&Request { operands: shifted, ..request(40, 64) }), [1, 1]);
    let [batch, head, _, col] = halves.params.q_strides;
    let padded = vec![(4096, [batch, head, 44, col], 40)];
    assert_eq!(place(&Request { operands: padded, ..request(40, 64) }), [1, 1]);
    assert!(Request { elem: DType::I64, ..halves }.variant(&FORWARD).is_none());
}

#[test]
fn tiles_fit_every_gpu_with_tensor_cores() {
    for max_shared_bytes in SHARED_BYTES {
        for (d, d_v) in (8..=256).step_by(8).flat_map(|d| [(d, d), (d, 64), (256, d)]) {
            let request = Request { max_shared_bytes, ..request(d, d_v) };
            assert!(tensor::serves_forward(&request) && tensor::serves_backward(&request), "{d} {d_v}");
            for wanted in launches(&request) {
                let tiles = backward_tiles(&request, wanted).unwrap();
                // A warp owns 16 or 32 rows; products take 16 rows of what streams by.
                let (own, others) = match wanted {
                    Wanted::Keys { .. } => (tiles.keys, tiles.queries),
                    Wanted::Queries => (tiles.queries, tiles.keys),
                };
                assert!([64, 128].contains(&own) && others.is_multiple_of(16), "{tiles:?}");
            }
        }
    }
}

/// q, k, v and do of values in [-1, 1), and dq, dk and dv that `device` gives; `[B, H, Hkv, Tq, Tk, D, Dv]`.
fn gradients(device: &Device, sizes: [usize; 7]) -> Vec<f32> {
    let [b, h, h_kv, tq, tk, d, d_v] = sizes;
    let lens = [b * h * tq * d, b * h_kv * tk * d, b * h_kv * tk * d_v, b * h * tq * d_v];
    let buffers = [0, 1, 2, 3].map(|which| {
        let stream = Stream { seed: which as u64, number: 0 };
        let values = (0..lens[which] as u64).map(|at| bf16::from_f32(2.0 * stream.uniform(at) - 1.0));
        Buffer::from_slice(device, &values.collect::<Vec<_>>()).unwrap()
    });
    let [q, k, v, d_o] = &buffers;
    let out = |dtype, len| Buffer::allocate(device, dtype, len).unwrap();
    let (mut o, mut lse) = (out(DType::BF16, lens[3]), out(DType::F32, b * h * tq));
    let [mut dq, mut dk, mut dv] = [0, 1, 2].map(|which| out(DType::BF16, lens[which]));
    let params = AttentionParams::new(sizes).with_causal(5).with_dropout(0.2, Stream { seed: 5, number: 1 });
    let inputs = AttentionInputs::new((q, 0), (k, 0), (v, 0));
    attention(inputs, &mut o, &mut lse, &params).unwrap();
    let saved = AttentionSaved { o: (&o, 0), lse: (&lse, 0), d_o: (d_o, 0) };
    attention_backward(inputs, saved, [&mut dq, &mut dk, &mut dv], None, &params).unwrap();
    [dq, dk, dv].iter().flat_map(|dx| dx.to_vec::<bf16>().unwrap()).map(bf16::to_f32).collect()
}

#[test]
fn smaller_tiles_give_the_same_gradients() {
    if Device::cuda_emu().is_err() {
        return;
    }
    for dim in [64, 128, 256] {
        let sizes = [1, 2, 1, 70, 90, dim, dim];
        let expected = gradients(&Device::Cpu, sizes);
        let largest = expected.iter().fold(0.0f32, |largest, x| largest.max(x.abs()));
        for max_shared_bytes in SHARED_BYTES {
            let emulator = Emulator::with_shared_bytes(max_shared_bytes).unwrap();
            let device = CudaDevice::with_engine(Box::new(emulator));
            let got = gradients(&Device::Cuda(device.clone()), sizes);
            // Weights and gradients of scores are rounded to 8 bits, of which sums keep the relative size.
            for (got, expected) in got.iter().zip(&expected) {
                assert!((got - expected).abs() <= largest / 64.0, "{dim} {max_shared_bytes}: {got} is not {expected}");
            }
            assert!(device.units().iter().any(|unit| unit.name == "attention_tensor_backward"));
            assert!(device.units().iter().all(|unit| unit.name != "attention_backward"));
        }
    }
}

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

/// dq, dk and dv that `device` gives for q, k, v and do of values in [-1, 1) that begin at element `starts`.
fn gradients(device: &Device, params: &AttentionParams, starts: [usize; 4]) -> Vec<f32> {
    let p = params;
    let [q, k] = [[p.batch, p.heads, p.q_len, p.head_dim], [p.batch, p.kv_heads, p.k_len, p.head_dim]];
    let [v, o] = [[k[0], k[1], k[2], p.value_dim], [q[0], q[1], q[2], p.value_dim]];
    let layouts = [(q, p.q_strides), (k, p.k_strides), (v, p.v_strides), (o, p.do_strides)];
    let inputs = [0, 1, 2, 3].map(|which| {
        let (sizes, strides) = layouts[which];
        let last: i64 = sizes.iter().zip(strides).map(|(&size, stride)| (size as i64 - 1) * stride).sum();
        let stream = Stream { seed: which as u64, number: 0 };
        let values = (0..=starts[which] as u64 + last as u64).map(|at| bf16::from_f32(2.0 * stream.uniform(at) - 1.0));
        Buffer::from_slice(device, &values.collect::<Vec<_>>()).unwrap()
    });
    let out = |sizes: [u64; 4]| Buffer::allocate(device, DType::BF16, sizes.iter().product::<u64>() as usize).unwrap();
    let mut lse = Buffer::allocate(device, DType::F32, (q[0] * q[1] * q[2]) as usize).unwrap();
    let [mut o, mut dq, mut dk, mut dv] = [o, q, k, v].map(out);
    let d_o = (&inputs[3], starts[3]);
    let inputs = AttentionInputs::new((&inputs[0], starts[0]), (&inputs[1], starts[1]), (&inputs[2], starts[2]));
    attention(inputs, &mut o, &mut lse, params).unwrap();
    let saved = AttentionSaved { o: (&o, 0), lse: (&lse, 0), d_o };
    attention_backward(inputs, saved, [&mut dq, &mut dk, &mut dv], None, params).unwrap();
    [dq, dk, dv].iter().flat_map(|dx| dx.to_vec::<bf16>().unwrap()).map(bf16::to_f32).collect()
}

/// Compares the gradients of an emulator of its own with the host's, and gives the names of the units that ran.
fn units_that_ran(max_shared_bytes: usize, params: &AttentionParams, starts: [usize; 4]) -> Vec<&'static str> {
    let device = CudaDevice::with_engine(Box::new(Emulator::with_shared_bytes(max_shared_bytes).unwrap()));
    let got = gradients(&Device::Cuda(device.clone()), params, starts);
    let expected = gradients(&Device::Cpu, params, starts);
    let largest = expected.iter().fold(0.0f32, |largest, x| largest.max(x.abs()));
    // Weights and gradients of scores are rounded to 8 bits, of which sums keep the relative size.
    for (got, expected) in got.iter().zip(&expected) {
        assert!((got - expected).abs() <= largest / 64.0, "{max_shared_bytes} {params:?}: {got} is not {expected}");
    }
    let mut names: Vec<_> =
        device.units().iter().map(|unit| unit.name).filter(|name| *name != "attention_delta").collect();
    names.sort_unstable();
    names.dedup();
    names
}

#[test]
fn smaller_tiles_give_the_same_gradients() {
    if Device::cuda_emu().is_err() {
        return;
    }
    for dim in [64, 128, 256] {
        let params = AttentionParams::new([1, 2, 1, 70, 90, dim, dim]).with_causal(5);
        let params = params.with_dropout(0.2, Stream { seed: 5, number: 1 });
        for max_shared_bytes in SHARED_BYTES {
            let names = units_that_ran(max_shared_bytes, &params, [0; 4]);
            assert_eq!(names, ["attention_tensor", "attention_tensor_backward"]);
        }
    }
}

#[test]
fn layouts_decide_which_kernels_run() {
    if Device::cuda_emu().is_err() {
        return;
    }
    // q, k and v as slices of one projection [B, T, 3, H, D], with `padding` elements after each token; do as [B, T, H, D].
    let [b, h, t, d] = [2, 2, 40, 32];
    let params = |padding: i64| {
        let row = 3 * h * d + padding;
        let projection = [t * row, d, row, 1];
        AttentionParams {
            q_strides: projection,
            k_strides: projection,
            v_strides: projection,
            do_strides: [t * h * d, d, h * d, 1],
            ..AttentionParams::new([b, h, h, t, t, d, d].map(|size| size as usize)).with_causal(0)
        }
    };
    let (k, v) = ((h * d) as usize, (2 * h * d) as usize);
    let ran = |padding, starts| units_that_ran(SHARED_BYTES[2], &params(padding), starts);
    assert_eq!(ran(0, [0, k, v, 0]), ["attention_tensor", "attention_tensor_backward"]);
    assert_eq!(ran(8, [8, k, v, 16]), ["attention_tensor", "attention_tensor_backward"]);
    // Rows that do not begin at multiples of 16 bytes: by where a tensor begins, and by its strides.
    assert_eq!(ran(0, [0, k + 1, v, 0]), ["attention", "attention_backward"]);
    assert_eq!(ran(4, [0, k, v, 0]), ["attention", "attention_backward"]);
    // The forward does not read do.
    assert_eq!(ran(0, [0, k, v, 4]), ["attention_backward", "attention_tensor"]);
}

//! Bad input that only kernels see: the texts of the host. One test, because the next read of the device gives the error,
//! whichever thread reads.

use chainrule_kernels::cross_entropy::{
    CrossEntropyInputs, CrossEntropyOutputs, CrossEntropyParams, Reduction, cross_entropy_forward,
};
use chainrule_kernels::gather::{self, GatherParams};
use chainrule_kernels::index::{self, IndexParams};
use chainrule_kernels::rope::{RopeParams, rope};
use chainrule_kernels::{Buffer, DType, Device, Result};

/// What fails, given a device, the dtype of the index and the bad index.
type Case = fn(&Device, DType, f64) -> Result<Buffer>;

const CASES: [(&str, Case); 10] = [
    ("cross_entropy", |device, dtype, bad| {
        let (logits, labels, mut loss) = (floats(device, 700), list(device, dtype, bad), floats(device, 100));
        let [mut max, mut log_sum, mut total_weight] = [100, 100, 1].map(|len| floats(device, len));
        let inputs = CrossEntropyInputs { logits: (&logits, 0), labels: (&labels, 0), weight: None };
        let outputs = CrossEntropyOutputs {
            loss: &mut loss,
            max: &mut max,
            log_sum: &mut log_sum,
            total_weight: &mut total_weight,
        };
        cross_entropy_forward(inputs, outputs, CrossEntropyParams::new(100, 7, Reduction::None)).map(|()| loss)
    }),
    ("gather", |device, dtype, bad| {
        let (x, list, mut y) = (floats(device, 200), list(device, dtype, bad), floats(device, 100));
        gather::gather((&x, 0), (&list, 0), along(), &mut y).map(|()| y)
    }),
    ("scatter", |device, dtype, bad| {
        let (src, list, mut y) = (floats(device, 100), list(device, dtype, bad), floats(device, 7));
        gather::scatter((&src, 0), (&list, 0), along(), &mut y).map(|()| y)
    }),
    ("scatter_add", |device, dtype, bad| {
        let (src, list, mut y) = (floats(device, 100), list(device, dtype, bad), floats(device, 7));
        gather::scatter_add((&src, 0), (&list, 0), along(), &mut y).map(|()| y)
    }),
    ("index_add", |device, dtype, bad| {
        let (src, list, mut y) = (floats(device, 200), list(device, dtype, bad), floats(device, 14));
        index::index_add((&src, 0), (&list, 0), rows(2), &mut y).map(|()| y)
    }),
    ("embedding_backward", |device, dtype, bad| {
        let (dy, list, mut dweight) = (floats(device, 200), list(device, dtype, bad), floats(device, 14));
        index::embedding_backward((&dy, 0), (&list, 0), rows(2), None, &mut dweight).map(|()| dweight)
    }),
    ("embedding", |device, dtype, bad| {
        let (weight, list, mut y) = (floats(device, 14), list(device, dtype, bad), floats(device, 200));
        index::embedding_forward((&weight, 0), (&list, 0), rows(2), &mut y).map(|()| y)
    }),
    ("index_select", |device, dtype, bad| {
        let (x, list, mut y) = (floats(device, 0), list(device, dtype, bad), floats(device, 0));
        index::index_select((&x, 0), (&list, 0), rows(0), &mut y).map(|()| y)
    }),
    ("one_hot", |device, dtype, bad| {
        let (list, mut y) = (list(device, dtype, bad), floats(device, 700));
        index::one_hot((&list, 0), rows(1), &mut y).map(|()| y)
    }),
    ("rope", |device, _, bad| {
        let params = RopeParams { position_strides: [0, 1], ..RopeParams::new([1, 1, 100, 2], 7) };
        let (x, table, at) = (floats(device, 200), floats(device, 7), list(device, device.index_dtype(), bad));
        let mut y = floats(device, 200);
        rope((&x, 0), [(&table, 0), (&table, 0)], Some((&at, 0)), &mut y, &params).map(|()| y)
    }),
];

fn floats(device: &Device, len: usize) -> Buffer {
    Buffer::from_slice(device, &vec![1.0f32; len]).unwrap()
}

/// A hundred indices below 7, the bad one at place 61.
fn list(device: &Device, dtype: DType, bad: f64) -> Buffer {
    let values: Vec<f64> = (0..100).map(|i| if i == 61 { bad } else { f64::from(i % 7) }).collect();
    match dtype {
        DType::U8 => Buffer::from_slice(device, &values.iter().map(|&x| x as u8).collect::<Vec<_>>()),
        DType::I32 => Buffer::from_slice(device, &values.iter().map(|&x| x as i32).collect::<Vec<_>>()),
        DType::U32 => Buffer::from_slice(device, &values.iter().map(|&x| x as u32).collect::<Vec<_>>()),
        _ => Buffer::from_slice(device, &values.iter().map(|&x| x as i64).collect::<Vec<_>>()),
    }
    .unwrap()
}

fn along() -> GatherParams {
    GatherParams::new(&[100], &[7], &[1], 0).unwrap()
}

fn rows(inner: u64) -> IndexParams {
    IndexParams { outer: 1, size: 7, n: 100, inner }
}

#[expect(clippy::print_stderr, reason = "a test that did not run must say so")]
#[test]
fn bad_indices_are_the_errors_of_the_host() {
    let wgpu = match Device::wgpu() {
        Ok(device) => device,
        Err(error) if std::env::var("CHAINRULE_REQUIRE").is_ok_and(|required| required.contains("wgpu")) => {
            panic!("CHAINRULE_REQUIRE asks for wgpu: {error}")
        }
        Err(error) => return eprintln!("skipped without wgpu: {error}"),
    };
    for (name, case) in CASES {
        for (bad, dtype) in [(7.0, DType::U32), (-1.0, DType::I32), (255.0, DType::U8)] {
            // Positions of the embedding have the device's index dtype, which holds no negative numbers here.
            if name == "rope" && bad < 0.0 {
                continue;
            }
            let [want, got] = [&Device::Cpu, &wgpu].map(|device| {
                let read = case(device, dtype, bad).and_then(|y| y.to_vec::<f32>());
                let text = read.expect_err(name).to_string();
                text.split(" (").next().unwrap_or_default().to_string()
            });
            assert_eq!(got, want);
        }
    }
}

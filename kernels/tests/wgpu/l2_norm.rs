//! The sum of squares. Tolerances are units of the last place of f32, in which some ten thousand squares are added up as
//! a tree.

use chainrule_kernels::l2_norm::{Span, l2_norm_squared};
use chainrule_kernels::{Buffer, DType, ErrorKind};

use super::device;
use super::rows::{buffer, compare, empty, noise, values};

/// Lengths of tensors: below and above a chunk, and none.
const LENS: [usize; 5] = [0, 1, 0, 33, 9001];

#[test]
fn the_sum_of_squares_of_many_tensors() {
    for (dtype, offset) in [DType::F32, DType::F16, DType::BF16].into_iter().flat_map(|dtype| [(dtype, 0), (dtype, 1)])
    {
        compare(64.0, &format!("l2_norm {dtype}"), |device| {
            let tensors = LENS.map(|len| buffer(device, dtype, &noise(len + offset + 1, 1)));
            let span = |(buffer, len)| Span { buffer, offset, len };
            let spans: Vec<Span<'_>> = tensors.iter().zip(LENS).map(span).collect();
            let mut out = empty(device, DType::F32, 1);
            l2_norm_squared(&spans, &mut out).unwrap();
            vec![out]
        });
    }
    let mut out = empty(&device(), DType::F32, 1);
    l2_norm_squared(&[], &mut out).unwrap();
    assert_eq!(values(&out), [0.0]);
}

#[test]
fn integers_have_no_norm() {
    let x = Buffer::from_slice(&device(), &[1i32]).unwrap();
    let mut out = empty(&device(), DType::F32, 1);
    let error = l2_norm_squared(&[Span { buffer: &x, offset: 0, len: 1 }], &mut out).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Unsupported { .. }), "{error}");
}

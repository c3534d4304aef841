use chainrule_kernels::softmax::{
    SoftmaxParams, log_softmax_backward, log_softmax_forward, softmax_backward, softmax_forward,
};
use chainrule_kernels::{Buffer, DType, Device};

use super::{COLS, DTYPES, assert_close, buffer, empty, noise, values};

/// Applies `f(x column, out column)` to each run of `len` elements.
fn along(shape: [usize; 3], inputs: [&[f64]; 2], f: impl Fn(&[f64], &[f64]) -> Vec<f64>) -> Vec<f64> {
    let [outer, len, inner] = shape;
    let mut out = vec![0.0; outer * len * inner];
    for o in 0..outer {
        for i in 0..inner {
            let at = |l: usize| (o * len + l) * inner + i;
            let [a, b] = inputs.map(|input| (0..len).map(|l| input[at(l)]).collect::<Vec<_>>());
            for (l, y) in f(&a, &b).into_iter().enumerate() {
                out[at(l)] = y;
            }
        }
    }
    out
}

fn naive_log_softmax(x: &[f64]) -> Vec<f64> {
    let max = x.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let log_sum = x.iter().map(|x| (x - max).exp()).sum::<f64>().ln();
    x.iter().map(|x| x - max - log_sum).collect()
}

fn params([outer, len, inner]: [usize; 3]) -> SoftmaxParams {
    SoftmaxParams { outer: outer as u64, len: len as u64, inner: inner as u64 }
}

fn check(dtype: DType, shape: [usize; 3], x: &[f64]) {
    let n = x.len();
    let params = params(shape);
    let (x_buffer, mut y, mut dx) = (buffer(dtype, x), empty(dtype, n), empty(dtype, n));
    let dy = noise(dtype, n, 7);
    let dy_buffer = buffer(dtype, &dy);
    let log_y = along(shape, [x, x], |x, _| naive_log_softmax(x));

    softmax_forward((&x_buffer, 0), &mut y, params).unwrap();
    let want: Vec<f64> = log_y.iter().map(|y| y.exp()).collect();
    assert_close(dtype, &values(&y), &want, 8.0, "softmax");
    softmax_backward((&y, 0), (&dy_buffer, 0), &mut dx, params).unwrap();
    let want = along(shape, [&values(&y), &dy], |y, dy| {
        let total: f64 = y.iter().zip(dy).map(|(y, dy)| y * dy).sum();
        y.iter().zip(dy).map(|(y, dy)| y * (dy - total)).collect()
    });
    assert_close(dtype, &values(&dx), &want, 8.0, "softmax backward");

    log_softmax_forward((&x_buffer, 0), &mut y, params).unwrap();
    assert_close(dtype, &values(&y), &log_y, 8.0, "log_softmax");
    log_softmax_backward((&y, 0), (&dy_buffer, 0), &mut dx, params).unwrap();
    let want = along(shape, [&values(&y), &dy], |y, dy| {
        let total: f64 = dy.iter().sum();
        y.iter().zip(dy).map(|(y, dy)| dy - y.exp() * total).collect()
    });
    assert_close(dtype, &values(&dx), &want, 64.0, "log_softmax backward");
}

#[test]
fn last_dim() {
    for dtype in DTYPES {
        for cols in COLS {
            check(dtype, [7, cols, 1], &noise(dtype, 7 * cols, 3));
        }
    }
}

#[test]
fn inner_dims() {
    for dtype in DTYPES {
        for shape in [[1, 5, 3], [3, 31, 33], [2, 300, 7], [1, 4, 4099], [40, 17, 129]] {
            check(dtype, shape, &noise(dtype, shape.iter().product(), 5));
        }
    }
}

#[test]
fn large_logits_lose_no_digits() {
    let x: Vec<f64> = noise(DType::F32, 4 * 1000, 1).iter().map(|x| (x + 1e4) as f32 as f64).collect();
    check(DType::F32, [4, 1000, 1], &x);
    check(DType::F32, [4, 10, 100], &x);
    let x: Vec<f64> = noise(DType::F32, 4 * 33, 1).iter().map(|x| (x * 1e37) as f32 as f64).collect();
    check(DType::F32, [4, 33, 1], &x);
}

#[test]
fn infinities_and_nan_are_as_in_pytorch() {
    let (inf, nan) = (f64::INFINITY, f64::NAN);
    let x = [-inf, -inf, inf, 0.0, nan, 0.0, -inf, 0.0];
    let want = [nan, nan, nan, nan, nan, nan, 0.0, 1.0];
    let want_log = [nan, nan, nan, nan, nan, nan, -inf, 0.0];
    for dtype in DTYPES {
        let mut y = empty(dtype, 8);
        softmax_forward((&buffer(dtype, &x), 0), &mut y, params([4, 2, 1])).unwrap();
        assert_close(dtype, &values(&y), &want, 1.0, "softmax");
        log_softmax_forward((&buffer(dtype, &x), 0), &mut y, params([4, 2, 1])).unwrap();
        assert_close(dtype, &values(&y), &want_log, 1.0, "log_softmax");
    }
}

#[test]
fn empty_extents_offsets_and_other_dtypes() {
    for shape in [[0, 5, 1], [5, 0, 1], [5, 3, 0], [0, 0, 0]] {
        check(DType::F32, shape, &[]);
    }
    let mut y = empty(DType::F32, 2);
    softmax_forward((&buffer(DType::F32, &[9.0, 1.0, 1.0]), 1), &mut y, params([1, 2, 1])).unwrap();
    assert_eq!(values(&y), [0.5, 0.5]);
    let x = Buffer::from_slice(&Device::Cpu, &[1i64]).unwrap();
    let mut y = Buffer::from_slice(&Device::Cpu, &[1i64]).unwrap();
    assert!(softmax_forward((&x, 0), &mut y, params([1, 1, 1])).unwrap_err().is_unsupported());
}

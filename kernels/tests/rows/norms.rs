use chainrule_kernels::layer_norm::{
    LayerNormGradients, LayerNormInputs, LayerNormOutputs, LayerNormParams, LayerNormSaved, layer_norm_backward,
    layer_norm_forward,
};
use chainrule_kernels::rms_norm::{RmsNormParams, RmsNormSaved, rms_norm_backward, rms_norm_forward};
use chainrule_kernels::{Buffer, DType};

use super::{COLS, DTYPES, assert_close, buffer, empty, noise, values};

const EPS: f64 = 1e-5;

/// Gradients `dx, dweight, dbias` of `y = (x - mean) rstd weight + bias` in f64; `centre` is 0 for the rms norm.
fn naive_backward(dy: &[f64], xhat: &[f64], rstd: &[f64], weight: &[f64], centre: f64) -> [Vec<f64>; 3] {
    let cols = weight.len();
    let (mut dx, mut dweight, mut dbias) = (vec![], vec![0.0; cols], vec![0.0; cols]);
    for ((dy, xhat), rstd) in dy.chunks(cols).zip(xhat.chunks(cols)).zip(rstd) {
        let g: Vec<f64> = dy.iter().zip(weight).map(|(dy, w)| dy * w).collect();
        let shift = centre * g.iter().sum::<f64>() / cols as f64;
        let scale = g.iter().zip(xhat).map(|(g, xhat)| g * xhat).sum::<f64>() / cols as f64;
        dx.extend(g.iter().zip(xhat).map(|(g, xhat)| rstd * (g - shift - xhat * scale)));
        for c in 0..cols {
            dweight[c] += dy[c] * xhat[c];
            dbias[c] += dy[c];
        }
    }
    [dx, dweight, dbias]
}

fn check_layer_norm(dtype: DType, rows: usize, cols: usize, offset: f64, affine: bool) {
    let n = rows * cols;
    let x = values(&buffer(dtype, &noise(dtype, n, 1).iter().map(|x| x + offset).collect::<Vec<_>>()));
    let (weight, bias, dy) = (noise(dtype, cols, 2), noise(dtype, cols, 3), noise(dtype, n, 4));
    let (x_buffer, w_buffer, b_buffer, dy_buffer) =
        (buffer(dtype, &x), buffer(dtype, &weight), buffer(dtype, &bias), buffer(dtype, &dy));
    let (mut y, mut mean, mut rstd) = (empty(dtype, n), empty(dtype.compute(), rows), empty(dtype.compute(), rows));
    let params = LayerNormParams::new(rows, cols, EPS);
    let optional = |buffer| affine.then_some((buffer, 0));
    let inputs = LayerNormInputs { x: (&x_buffer, 0), weight: optional(&w_buffer), bias: optional(&b_buffer) };
    let outputs = LayerNormOutputs { y: &mut y, mean: &mut mean, rstd: &mut rstd };
    layer_norm_forward(inputs, outputs, params).unwrap();

    let weight = if affine { weight } else { vec![1.0; cols] };
    let bias = if affine { bias } else { vec![0.0; cols] };
    let (mut want_mean, mut want_rstd, mut xhat, mut want_y) = (vec![], vec![], vec![], vec![]);
    for row in x.chunks(cols) {
        let mean = row.iter().sum::<f64>() / cols as f64;
        let variance = row.iter().map(|x| (x - mean) * (x - mean)).sum::<f64>() / cols as f64;
        let rstd = 1.0 / (variance + EPS).sqrt();
        want_mean.push(mean);
        want_rstd.push(rstd);
        for (c, x) in row.iter().enumerate() {
            xhat.push((x - mean) * rstd);
            want_y.push((x - mean) * rstd * weight[c] + bias[c]);
        }
    }
    let what = format!("layer_norm [{rows}, {cols}] about {offset}");
    assert_close(dtype.compute(), &values(&mean), &want_mean, 2.0, &what);
    assert_close(dtype.compute(), &values(&rstd), &want_rstd, 64.0, &what);
    assert_close(dtype, &values(&y), &want_y, 16.0, &what);

    let (mut dx, mut dweight, mut dbias) = (empty(dtype, n), empty(dtype, cols), empty(dtype, cols));
    let saved = LayerNormSaved {
        dy: (&dy_buffer, 0),
        x: (&x_buffer, 0),
        mean: (&mean, 0),
        rstd: (&rstd, 0),
        weight: optional(&w_buffer),
    };
    let gradients = LayerNormGradients {
        dx: &mut dx,
        dweight: affine.then_some(&mut dweight),
        dbias: affine.then_some(&mut dbias),
    };
    layer_norm_backward(saved, gradients, params).unwrap();
    let [want_dx, want_dweight, want_dbias] = naive_backward(&dy, &xhat, &want_rstd, &weight, 1.0);
    // The saved mean is rounded once, which moves each normalised value by up to `offset * epsilon / 2 * rstd`. A row
    // of one element has rstd = 1 / sqrt(eps) and a gradient of 0, where rounding is magnified by the former.
    let units = (64.0 + 4.0 * offset.abs()) * if cols == 1 { 300.0 } else { 1.0 };
    assert_close(dtype, &values(&dx), &want_dx, units, &what);
    if affine {
        assert_close(dtype, &values(&dweight), &want_dweight, units * (rows as f64).sqrt(), &what);
        assert_close(dtype, &values(&dbias), &want_dbias, 16.0 * (rows as f64).sqrt(), &what);
    }
}

#[test]
fn layer_norm_matches_a_naive_loop() {
    for dtype in DTYPES {
        for cols in COLS {
            check_layer_norm(dtype, 7, cols, 0.0, true);
            check_layer_norm(dtype, 3, cols, 0.0, false);
        }
        check_layer_norm(dtype, 700, 33, 0.0, true);
    }
}

#[test]
fn layer_norm_survives_a_large_mean() {
    check_layer_norm(DType::F32, 5, 1000, 1e4, true);
    check_layer_norm(DType::F32, 5, 4099, -1e4, true);
}

#[test]
fn layer_norm_of_a_constant_row_is_the_bias() {
    let (x, bias) = (buffer(DType::F32, &[1234.567; 31]), noise(DType::F32, 31, 1));
    let bias_buffer = buffer(DType::F32, &bias);
    let (mut y, mut mean, mut rstd) = (empty(DType::F32, 31), empty(DType::F32, 1), empty(DType::F32, 1));
    let inputs = LayerNormInputs { x: (&x, 0), weight: None, bias: Some((&bias_buffer, 0)) };
    let outputs = LayerNormOutputs { y: &mut y, mean: &mut mean, rstd: &mut rstd };
    layer_norm_forward(inputs, outputs, LayerNormParams::new(1, 31, EPS)).unwrap();
    assert_close(DType::F32, &values(&y), &bias, 1.0, "constant row");
}

fn run_rms_norm(x: &Buffer, weight: Option<&Buffer>, rows: usize, cols: usize, eps: f64) -> (Buffer, Buffer) {
    let (mut y, mut rstd) = (empty(x.dtype(), rows * cols), empty(x.dtype().compute(), rows));
    let weight = weight.map(|weight| (weight, 0));
    rms_norm_forward((x, 0), weight, &mut y, &mut rstd, RmsNormParams::new(rows, cols, eps)).unwrap();
    (y, rstd)
}

#[test]
fn rms_norm_matches_a_naive_loop() {
    for (dtype, cols) in DTYPES.into_iter().flat_map(|dtype| COLS.map(|cols| (dtype, cols))) {
        let rows = if cols == 33 { 700 } else { 5 };
        let n = rows * cols;
        let (x, weight, dy) = (noise(dtype, n, 1), noise(dtype, cols, 2), noise(dtype, n, 3));
        let (x_buffer, w_buffer, dy_buffer) = (buffer(dtype, &x), buffer(dtype, &weight), buffer(dtype, &dy));
        let (y, rstd) = run_rms_norm(&x_buffer, Some(&w_buffer), rows, cols, EPS);
        let rms = |row: &[f64]| 1.0 / (row.iter().map(|x| x * x).sum::<f64>() / cols as f64 + EPS).sqrt();
        let want_rstd: Vec<f64> = x.chunks(cols).map(rms).collect();
        let xhat: Vec<f64> = x.iter().enumerate().map(|(i, x)| x * want_rstd[i / cols]).collect();
        let want_y: Vec<f64> = xhat.iter().enumerate().map(|(i, xhat)| xhat * weight[i % cols]).collect();
        assert_close(dtype, &values(&y), &want_y, 16.0, "rms_norm");
        let (mut dx, mut dweight) = (empty(dtype, n), empty(dtype, cols));
        let saved =
            RmsNormSaved { dy: (&dy_buffer, 0), x: (&x_buffer, 0), rstd: (&rstd, 0), weight: Some((&w_buffer, 0)) };
        rms_norm_backward(saved, &mut dx, Some(&mut dweight), RmsNormParams::new(rows, cols, EPS)).unwrap();
        let [want_dx, want_dweight, _] = naive_backward(&dy, &xhat, &want_rstd, &weight, 0.0);
        assert_close(dtype, &values(&dx), &want_dx, 64.0, "rms_norm dx");
        assert_close(dtype, &values(&dweight), &want_dweight, 64.0 * (rows as f64).sqrt(), "rms_norm dweight");
    }
}

#[test]
fn rms_norm_of_huge_values_is_finite() {
    let x: Vec<f64> = noise(DType::F32, 1000, 1).iter().map(|x| x * 1e38).collect();
    let (y, _) = run_rms_norm(&buffer(DType::F32, &x), None, 1, 1000, EPS);
    let (want, _) = run_rms_norm(&buffer(DType::F64, &x), None, 1, 1000, EPS);
    assert_close(DType::F32, &values(&y), &values(&want), 16.0, "huge");
}

#[test]
fn empty_rows_and_columns() {
    for (rows, cols) in [(0, 5), (3, 0)] {
        let (x, weight) = (empty(DType::F32, 0), noise(DType::F32, cols, 1));
        let weight = buffer(DType::F32, &weight);
        let (y, rstd) = run_rms_norm(&x, Some(&weight), rows, cols, EPS);
        assert!(y.is_empty() && values(&rstd).iter().all(|rstd| rstd.is_nan()));
        let (mut y, mut mean, mut rstd) = (empty(DType::F32, 0), empty(DType::F32, rows), empty(DType::F32, rows));
        let params = LayerNormParams::new(rows, cols, EPS);
        let inputs = LayerNormInputs { x: (&x, 0), weight: None, bias: None };
        layer_norm_forward(inputs, LayerNormOutputs { y: &mut y, mean: &mut mean, rstd: &mut rstd }, params).unwrap();
        let (mut dx, mut dweight, mut dbias) = (empty(DType::F32, 0), empty(DType::F32, cols), empty(DType::F32, cols));
        let (dweight_out, dbias_out) = (Some(&mut dweight), Some(&mut dbias));
        let gradients = LayerNormGradients { dx: &mut dx, dweight: dweight_out, dbias: dbias_out };
        let saved =
            LayerNormSaved { dy: (&x, 0), x: (&x, 0), mean: (&mean, 0), rstd: (&rstd, 0), weight: Some((&weight, 0)) };
        layer_norm_backward(saved, gradients, params).unwrap();
        assert_eq!((values(&dweight), values(&dbias)), (vec![0.0; cols], vec![0.0; cols]));
    }
}

#[test]
fn the_number_of_threads_changes_no_bit() {
    let (rows, cols) = (2000, 130);
    let [x, dy] = [1, 2].map(|seed| buffer(DType::F32, &noise(DType::F32, rows * cols, seed)));
    let run = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let params = LayerNormParams::new(rows, cols, EPS);
        let [mut y, mut dx] = [rows * cols; 2].map(|len| empty(DType::F32, len));
        let [mut mean, mut rstd, mut dweight, mut dbias] = [rows, rows, cols, cols].map(|len| empty(DType::F32, len));
        pool.install(|| {
            let outputs = LayerNormOutputs { y: &mut y, mean: &mut mean, rstd: &mut rstd };
            layer_norm_forward(LayerNormInputs { x: (&x, 0), weight: None, bias: None }, outputs, params).unwrap();
            let saved = LayerNormSaved { dy: (&dy, 0), x: (&x, 0), mean: (&mean, 0), rstd: (&rstd, 0), weight: None };
            let gradients = LayerNormGradients { dx: &mut dx, dweight: Some(&mut dweight), dbias: Some(&mut dbias) };
            layer_norm_backward(saved, gradients, params).unwrap();
        });
        [y, dx, dweight, dbias].map(|buffer| values(&buffer))
    };
    assert_eq!(run(1), run(3));
}

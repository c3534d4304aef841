//! The LSTM cell. Tolerances are units of the dtype's epsilon, relative to the larger of 1 and the value: exponentials
//! and tanh differ by a few units of the last place of f32, and a gradient is a product of several of them.

use chainrule_kernels::lstm_cell::{LstmCellInputs, LstmCellParams, lstm_cell_backward, lstm_cell_forward};
use chainrule_kernels::{Buffer, DType, Device, ErrorKind};

use super::device;
use super::rows::{DTYPES, buffer, compare, empty, noise};

/// Which of the optional inputs there are: `gates_h`, `dh`, `dc_next`.
type Given = [bool; 3];

/// Both kernels with `gates` and all other inputs at `offset`.
fn cells(dtype: DType, gates: &[f64], [rows, cols]: [usize; 2], offset: usize, given: Given) {
    if !device().supports(dtype) {
        return;
    }
    let n = rows * cols;
    let params = LstmCellParams::new(rows, cols);
    compare(32.0, &format!("lstm_cell {dtype} {rows} {cols} {given:?}"), |device| {
        let random = |len: usize, seed: u64| buffer(device, dtype, &noise(len + offset, seed));
        let (gates, gates_h, c) = (buffer(device, dtype, gates), random(4 * n, 2), random(n, 3));
        let (dh, dc_next) = (random(n, 4), random(n, 5));
        let optional = |index: usize, buffer| given[index].then_some((buffer, offset));
        let inputs = LstmCellInputs { gates: (&gates, offset), c: (&c, offset), gates_h: optional(0, &gates_h) };
        let [mut h, mut c_next, mut dc] = [(); 3].map(|()| empty(device, dtype, n));
        let mut dgates: Buffer = empty(device, dtype, 4 * n);
        lstm_cell_forward(inputs, &mut h, &mut c_next, params).unwrap();
        lstm_cell_backward(inputs, [optional(1, &dh), optional(2, &dc_next)], &mut dgates, &mut dc, params).unwrap();
        vec![h, c_next, dgates, dc]
    });
}

#[test]
fn lstm_cells_agree_with_the_host() {
    let all = [true; 3];
    for dtype in DTYPES {
        for [rows, cols] in [[1, 1], [7, 31], [300, 33], [3, 1000], [5, 64]] {
            // At an offset of 8 elements every dtype is aligned to sixteen bytes, at 3 none is.
            for offset in [0, 3, 8] {
                cells(dtype, &noise(4 * rows * cols + offset, 1), [rows, cols], offset, all);
            }
        }
    }
}

#[test]
fn inputs_of_the_lstm_cell_that_are_absent_are_zero() {
    for given in [[false, true, true], [true, true, false], [true, false, true], [false, false, true], [false; 3]] {
        for cols in [5, 16] {
            cells(DType::F32, &noise(4 * 3 * cols, 1), [3, cols], 0, given);
        }
    }
}

#[test]
fn lstm_cells_without_elements_do_nothing() {
    for shape in [[0, 5], [5, 0], [0, 0]] {
        cells(DType::BF16, &[], shape, 0, [true; 3]);
    }
}

#[test]
fn gates_of_the_lstm_cell_that_are_not_finite_give_what_they_give_on_the_host() {
    let specials = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 1e4, -1e4, 0.0, -0.0];
    for dtype in DTYPES {
        for cols in [7, 16] {
            // One special value after the other in each gate.
            let mut gates = noise(4 * 28 * cols, 1);
            for row in 0..28 {
                gates[row * 4 * cols + row % 4 * cols + row / 4] = specials[row / 4];
            }
            cells(dtype, &gates, [28, cols], 0, [false, true, true]);
        }
    }
}

#[test]
fn the_lstm_cell_refuses_integers() {
    for device in [Device::Cpu, device()] {
        let x = Buffer::from_slice(&device, &[1i32; 4]).unwrap();
        let [mut h, mut c_next] = [(); 2].map(|()| Buffer::allocate(&device, DType::I32, 1).unwrap());
        let inputs = LstmCellInputs { gates: (&x, 0), c: (&x, 0), gates_h: None };
        let error = lstm_cell_forward(inputs, &mut h, &mut c_next, LstmCellParams::new(1, 1)).unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::Unsupported { .. }), "{error}");
    }
}

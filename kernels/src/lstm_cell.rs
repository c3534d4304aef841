//! The pointwise part of a step of an LSTM (Hochreiter and Schmidhuber, 1997; gates as in `torch.nn.LSTMCell`).
//!
//! ```text
//! a = gates + gates_h    (i, f, g, o) = (sigmoid(a_i), sigmoid(a_f), tanh(a_g), sigmoid(a_o))
//! c_next = f c + i g     t = tanh(c_next)     h = o t
//!
//! dcn = dc_next + dh o (1 - t^2)              dc = dcn f
//! dgates = (dcn g i (1 - i), dcn c f (1 - f), dcn i (1 - g^2), dh t o (1 - o))
//! ```
//!
//! Contiguous `gates [rows, 4 cols]`, in each row all of i, then f, g and o; `c, c_next, h [rows, cols]`. Computed in
//! f32, of `f64` in `f64`, and rounded once on store: `h` comes of `c_next` before it is rounded.
//!
//! Backward reads the inputs and computes the activations again instead of keeping them. A tape holds the inputs anyway,
//! for gradients of gradients, so activated gates would nearly double the memory of a step to save five exponentials in
//! a kernel that waits for memory. In half precision it is more exact too: of a rounded gate near 1, `1 - i` has few
//! digits left.

use bytemuck::{Pod, Zeroable};

use crate::{Buffer, Kernel, Launch, Result, cpu};

/// What the kernels of the LSTM cell read beside their buffers.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Debug, Pod, Zeroable)]
pub struct LstmCellParams {
    /// How many steps are taken, each by itself: the examples of a batch.
    pub rows: u64,
    /// The width of the state, a quarter of that of the gates.
    pub cols: u64,
    /// 1 where `gates_h` is the input after `gates` and `c`.
    pub has_gates_h: u64,
    /// Backward: 1 where `dh` is the input after those.
    pub has_dh: u64,
    /// Backward: 1 where `dc_next` is the input after those.
    pub has_dc_next: u64,
}

impl LstmCellParams {
    /// Extents; the functions below set the flags from the buffers that they are given.
    pub fn new(rows: usize, cols: usize) -> LstmCellParams {
        LstmCellParams { rows: rows as u64, cols: cols as u64, ..LstmCellParams::zeroed() }
    }
}

/// `gates, c, [gates_h] -> h, c_next`.
pub static LSTM_CELL_FORWARD: Kernel = Kernel {
    name: "lstm_cell",
    entry: "lstm_cell_forward",
    cpu: cpu::lstm_cell::forward,
    #[cfg(feature = "cuda")]
    cuda: crate::cuda::lstm_cell::forward,
    #[cfg(feature = "wgpu")]
    wgpu: crate::wgpu::lstm_cell::forward,
};
/// `gates, c, [gates_h], [dh], [dc_next] -> dgates, dc`.
pub static LSTM_CELL_BACKWARD: Kernel = Kernel {
    name: "lstm_cell",
    entry: "lstm_cell_backward",
    cpu: cpu::lstm_cell::backward,
    #[cfg(feature = "cuda")]
    cuda: crate::cuda::lstm_cell::backward,
    #[cfg(feature = "wgpu")]
    wgpu: crate::wgpu::lstm_cell::backward,
};

/// What both kernels read, each with the element at which its data start.
#[derive(Clone, Copy)]
pub struct LstmCellInputs<'a> {
    /// `[rows, 4 cols]`, before the activations.
    pub gates: (&'a Buffer, usize),
    /// The state of the cell, `[rows, cols]`.
    pub c: (&'a Buffer, usize),
    /// `[rows, 4 cols]`, added to `gates`: the share of the hidden state.
    pub gates_h: Option<(&'a Buffer, usize)>,
}

/// `h` and `c_next` from inputs of their dtype.
///
/// # Errors
/// A dtype that is no float.
#[track_caller]
pub fn lstm_cell_forward(
    inputs: LstmCellInputs<'_>,
    h: &mut Buffer,
    c_next: &mut Buffer,
    params: LstmCellParams,
) -> Result<()> {
    let LstmCellInputs { gates, c, gates_h } = inputs;
    let params = LstmCellParams { has_gates_h: gates_h.is_some().into(), ..params };
    let mut launch = Launch::new(&LSTM_CELL_FORWARD, h.dtype()).input(gates.0, gates.1).input(c.0, c.1);
    launch.inputs.extend(gates_h);
    launch.output(h).output(c_next).params(&params).grid([params.rows as usize, 1, 1]).run()
}

/// `dgates`, which is the gradient of `gates` and of `gates_h`, and `dc`, from the gradients `dh` and `dc_next` of the
/// results; one that is absent is zero.
///
/// # Errors
/// A dtype that is no float.
#[track_caller]
pub fn lstm_cell_backward(
    inputs: LstmCellInputs<'_>,
    [dh, dc_next]: [Option<(&Buffer, usize)>; 2],
    dgates: &mut Buffer,
    dc: &mut Buffer,
    params: LstmCellParams,
) -> Result<()> {
    let LstmCellInputs { gates, c, gates_h } = inputs;
    let params = LstmCellParams {
        has_gates_h: gates_h.is_some().into(),
        has_dh: dh.is_some().into(),
        has_dc_next: dc_next.is_some().into(),
        ..params
    };
    let mut launch = Launch::new(&LSTM_CELL_BACKWARD, dc.dtype()).input(gates.0, gates.1).input(c.0, c.1);
    launch.inputs.extend(gates_h);
    launch.inputs.extend(dh);
    launch.inputs.extend(dc_next);
    launch.output(dgates).output(dc).params(&params).grid([params.rows as usize, 1, 1]).run()
}

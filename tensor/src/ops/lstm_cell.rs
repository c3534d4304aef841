//! The pointwise part of a step of an LSTM, and its backward pass.

use chainrule_kernels::Buffer;
use chainrule_kernels::lstm_cell::{self, LstmCellInputs, LstmCellParams};

use crate::{Error, Result, Shape, Tensor};

const OP: &str = "lstm_cell";

/// A row-major tensor as kernels take it.
fn data(x: &Tensor) -> (&Buffer, usize) {
    (x.buffer(), x.layout().offset())
}

/// The inputs in row-major order, checked.
struct Cell {
    gates: Tensor,
    c: Tensor,
    gates_h: Option<Tensor>,
}

impl Cell {
    #[track_caller]
    fn new(gates: &Tensor, c: &Tensor, gates_h: Option<&Tensor>) -> Result<Cell> {
        let mut sizes = gates.shape().to_vec();
        let Some(width) = sizes.last_mut().filter(|width| width.is_multiple_of(4)) else {
            let got = format!("gates have shape {}", gates.shape());
            return Err(Error::shape(OP, format!("{got}, expected [..., 4 H]: the gates i, f, g, o side by side")));
        };
        *width /= 4;
        let state = Shape::new(&sizes)?;
        for (name, x, shape) in [("c", Some(c), &state), ("gates_h", gates_h, gates.shape())] {
            let Some(x) = x else { continue };
            if x.shape() != shape {
                let message =
                    format!("{name} has shape {}, expected {shape} to match gates {}", x.shape(), gates.shape());
                return Err(Error::shape(OP, message));
            }
            if x.dtype() != gates.dtype() {
                let message =
                    format!("{name} is {}, expected {} as gates: cast with to_dtype", x.dtype(), gates.dtype());
                return Err(Error::dtype(OP, message));
            }
            gates.same_device(OP, x)?;
        }
        let gates_h = gates_h.map(Tensor::contiguous).transpose()?;
        Ok(Cell { gates: gates.float_rows(OP)?, c: c.contiguous()?, gates_h })
    }

    fn inputs(&self) -> LstmCellInputs<'_> {
        LstmCellInputs { gates: data(&self.gates), c: data(&self.c), gates_h: self.gates_h.as_ref().map(data) }
    }

    fn params(&self) -> LstmCellParams {
        let cols = self.c.shape().last().copied().unwrap_or(1);
        LstmCellParams::new(self.c.elements() / cols.max(1), cols)
    }
}

impl Tensor {
    /// One step of an LSTM from its gates before the activations (this): the hidden state and the state of the cell that
    /// follow.
    ///
    /// ```text
    /// a = gates + gates_h    (i, f, g, o) = (sigmoid(a_i), sigmoid(a_f), tanh(a_g), sigmoid(a_o))
    /// c' = f c + i g         h' = o tanh(c')
    /// ```
    ///
    /// `gates [..., 4 H]`, the gates i, f, g and o side by side; `c, h', c' [..., H]`; all of one dtype. In a step of
    /// `torch.nn.LSTMCell`, `gates` is `x W_ih^T + b_ih + h W_hh^T + b_hh`. The two products may also be given apart, as
    /// `gates` and `gates_h`, which saves the pass that adds them. Computed in `f32`, in `f64` for `f64`.
    ///
    /// # Errors
    /// A last dim of the gates that is no multiple of 4, another shape or dtype of `c` or `gates_h`, a dtype that is no
    /// float.
    ///
    /// ```
    /// use chainrule_tensor::{DType, Device, Tensor};
    /// // At zero a sigmoid is a half and tanh is zero: half of the cell's state is forgotten, and nothing comes in.
    /// let gates = Tensor::zeros([1, 4], DType::F64, &Device::Cpu)?;
    /// let (h, c) = gates.lstm_cell(&Tensor::new([[2.0f64]], &Device::Cpu)?, None)?;
    /// assert_eq!((h.item::<f64>()?, c.item::<f64>()?), (0.5 * 1f64.tanh(), 1.0));
    /// # Ok::<(), chainrule_tensor::Error>(())
    /// ```
    ///
    /// Source: Hochreiter and Schmidhuber, Long Short-Term Memory (1997), with the forget gate of Gers, Schmidhuber and
    /// Cummins (2000); `torch.nn.LSTMCell`.
    #[track_caller]
    pub fn lstm_cell(&self, c: &Tensor, gates_h: Option<&Tensor>) -> Result<(Tensor, Tensor)> {
        let cell = Cell::new(self, c, gates_h)?;
        let (device, dtype, shape) = (self.device(), self.dtype(), *c.shape());
        let mut h = Buffer::allocate(&device, dtype, shape.elements())?;
        let c_next = Tensor::build(&device, dtype, shape, |c_next| {
            lstm_cell::lstm_cell_forward(cell.inputs(), &mut h, c_next, cell.params())
        })?;
        Ok((Tensor::from_buffer(h, shape), c_next))
    }

    /// The gradients of [`Tensor::lstm_cell`] in one pass, from those of `h'` and `c'`, of which an absent one is zero:
    /// that of `gates`, which is also that of `gates_h`, and that of `c`.
    ///
    /// # Errors
    /// As [`Tensor::lstm_cell`], and another shape or dtype of a gradient.
    #[track_caller]
    pub fn lstm_cell_backward(
        &self,
        c: &Tensor,
        gates_h: Option<&Tensor>,
        dh: Option<&Tensor>,
        dc_next: Option<&Tensor>,
    ) -> Result<(Tensor, Tensor)> {
        let cell = Cell::new(self, c, gates_h)?;
        let (device, dtype) = (self.device(), self.dtype());
        let gradient = |dy: Option<&Tensor>| dy.map(|dy| dy.gradient_of(OP, c.shape(), dtype)).transpose();
        let (dh, dc_next) = (gradient(dh)?, gradient(dc_next)?);
        let dys = [dh.as_ref().map(data), dc_next.as_ref().map(data)];
        let mut dgates = Buffer::allocate(&device, dtype, self.elements())?;
        let dc = Tensor::build(&device, dtype, *c.shape(), |dc| {
            lstm_cell::lstm_cell_backward(cell.inputs(), dys, &mut dgates, dc, cell.params())
        })?;
        Ok((Tensor::from_buffer(dgates, *self.shape()), dc))
    }
}

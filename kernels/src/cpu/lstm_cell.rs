//! The LSTM cell on the host; formulas in `crate::lstm_cell`.

use super::real::Real;
use super::rows::{for_each_rows, unsupported, widened};
use super::simd::wide;
use crate::cpu::widen::run_widened;
use crate::lstm_cell::LstmCellParams;
use crate::{Compute, CpuArgs, Result, Stored, with_dtype};

/// What a column costs, in element operations: five exponentials and their like.
const COST: usize = 64;

/// The host body of `LSTM_CELL_FORWARD`.
pub(crate) fn forward(args: &mut CpuArgs<'_>) -> Result<()> {
    run_widened(
        args,
        &|args: &mut CpuArgs<'_>| with_dtype!(args.elem, real E => forward_rows::<E>(args), else Err(unsupported(args.elem))),
    )
}

/// The host body of `LSTM_CELL_BACKWARD`.
pub(crate) fn backward(args: &mut CpuArgs<'_>) -> Result<()> {
    run_widened(
        args,
        &|args: &mut CpuArgs<'_>| with_dtype!(args.elem, real E => backward_rows::<E>(args), else Err(unsupported(args.elem))),
    )
}

/// What both directions read.
struct Inputs<'a, E> {
    gates: &'a [E],
    c: &'a [E],
    gates_h: Option<&'a [E]>,
    cols: usize,
}

impl<'a, E: Stored<Compute: Real>> Inputs<'a, E> {
    fn of(args: &CpuArgs<'a>, params: &LstmCellParams) -> Self {
        let gates_h = (params.has_gates_h != 0).then(|| args.input(2));
        Inputs { gates: args.input(0), c: args.input(1), gates_h, cols: params.cols as usize }
    }

    /// The gates of a row before the activations, `i, f, g, o`, and the state of its cell. They are summed and widened
    /// into `scratch`, of five rows, where they do not stand as they are needed.
    #[inline(always)]
    fn row<'s>(&'s self, row: usize, scratch: &'s mut [E::Compute]) -> ([&'s [E::Compute]; 4], &'s [E::Compute]) {
        let n = self.cols;
        let (gates_scratch, c_scratch) = scratch.split_at_mut(4 * n);
        let c = widened(&self.c[row * n..][..n], c_scratch);
        let gates = &self.gates[4 * row * n..][..4 * n];
        let gates: &[E::Compute] = match self.gates_h {
            None => widened(gates, gates_scratch),
            Some(gates_h) => {
                let gates_h = &gates_h[4 * row * n..][..4 * n];
                for ((sum, x), h) in gates_scratch.iter_mut().zip(gates).zip(gates_h) {
                    *sum = x.widen() + h.widen();
                }
                gates_scratch
            }
        };
        let (i, rest) = gates.split_at(n);
        let (f, rest) = rest.split_at(n);
        let (g, o) = rest.split_at(n);
        ([i, f, g, o], c)
    }

    /// Scratch memory for [`Inputs::row`].
    fn scratch(&self) -> Vec<E::Compute> {
        vec![E::Compute::c(0.0); 5 * self.cols]
    }
}

fn forward_rows<E: Stored<Compute: Real>>(args: &mut CpuArgs<'_>) -> Result<()> {
    let params: LstmCellParams = args.params();
    let inputs = Inputs::<E>::of(args, &params);
    let (rows, cols) = (params.rows as usize, inputs.cols);
    let (h, c_next) = (args.output::<E>(0), args.output::<E>(1));
    debug_assert_eq!((h.len(), c_next.len()), (rows * cols, rows * cols));
    if cols == 0 {
        return Ok(());
    }
    for_each_rows(rows, COST * cols, (h, c_next, &mut []), &|range, h, c_next, _| {
        let mut scratch = inputs.scratch();
        wide::<E::Compute, _>(
            #[inline(always)]
            || {
                let outputs = h.chunks_exact_mut(cols).zip(c_next.chunks_exact_mut(cols));
                for (row, (h, c_next)) in range.zip(outputs) {
                    let (gates, c) = inputs.row(row, &mut scratch);
                    forward_row(gates, c, h, c_next);
                }
            },
        );
    });
    Ok(())
}

/// Writes the states of one row.
#[inline(always)]
fn forward_row<E: Stored<Compute: Real>>(
    [i, f, g, o]: [&[E::Compute]; 4],
    c: &[E::Compute],
    h: &mut [E],
    c_next: &mut [E],
) {
    let cols = h.len();
    // Slices of one known length, so that the loop has no checks.
    let (i, f, g, o, c, c_next) = (&i[..cols], &f[..cols], &g[..cols], &o[..cols], &c[..cols], &mut c_next[..cols]);
    for col in 0..cols {
        // 1. The activations.
        let [i, f, o] = [i[col].sigmoid(), f[col].sigmoid(), o[col].sigmoid()];
        // 2. The states.
        let cn = f * c[col] + i * g[col].tanh();
        h[col] = E::Compute::store(o * cn.tanh());
        c_next[col] = E::Compute::store(cn);
    }
}

fn backward_rows<E: Stored<Compute: Real>>(args: &mut CpuArgs<'_>) -> Result<()> {
    let params: LstmCellParams = args.params();
    let inputs = Inputs::<E>::of(args, &params);
    let (rows, cols) = (params.rows as usize, inputs.cols);
    let first = 2 + params.has_gates_h as usize;
    let dh = (params.has_dh != 0).then(|| args.input::<E>(first));
    let dc_next = (params.has_dc_next != 0).then(|| args.input::<E>(first + params.has_dh as usize));
    let (dgates, dc) = (args.output::<E>(0), args.output::<E>(1));
    debug_assert_eq!((dgates.len(), dc.len()), (4 * rows * cols, rows * cols));
    if cols == 0 {
        return Ok(());
    }
    let zeros = vec![E::default(); cols];
    for_each_rows(rows, COST * cols, (dgates, dc, &mut []), &|range, dgates, dc, _| {
        let mut scratch = inputs.scratch();
        wide::<E::Compute, _>(
            #[inline(always)]
            || {
                let outputs = dgates.chunks_exact_mut(4 * cols).zip(dc.chunks_exact_mut(cols));
                for (row, (dgates, dc)) in range.zip(outputs) {
                    let [dh, dc_next] = [dh, dc_next].map(|dy| dy.map_or(&zeros[..], |dy| &dy[row * cols..][..cols]));
                    let (gates, c) = inputs.row(row, &mut scratch);
                    backward_row(gates, c, (dh, dc_next), dgates, dc);
                }
            },
        );
    });
    Ok(())
}

/// Writes the gradients of one row.
#[inline(always)]
fn backward_row<E: Stored<Compute: Real>>(
    [i, f, g, o]: [&[E::Compute]; 4],
    c: &[E::Compute],
    (dh, dc_next): (&[E], &[E]),
    dgates: &mut [E],
    dc: &mut [E],
) {
    let (one, cols) = (E::Compute::c(1.0), dc.len());
    let (di, rest) = dgates.split_at_mut(cols);
    let (df, rest) = rest.split_at_mut(cols);
    let (dg, d_o) = rest.split_at_mut(cols);
    let (i, f, g, o, c) = (&i[..cols], &f[..cols], &g[..cols], &o[..cols], &c[..cols]);
    let (dh, dc_next, d_o) = (&dh[..cols], &dc_next[..cols], &mut d_o[..cols]);
    for col in 0..cols {
        // 1. The activations, again.
        let [i, f, o] = [i[col].sigmoid(), f[col].sigmoid(), o[col].sigmoid()];
        let (g, c) = (g[col].tanh(), c[col]);
        let t = (f * c + i * g).tanh();
        // 2. What arrives at c_next, directly and through h.
        let dh = dh[col].widen();
        let dcn = dc_next[col].widen() + dh * o * (one - t * t);
        // 3. The gradients.
        di[col] = E::Compute::store(dcn * g * i * (one - i));
        df[col] = E::Compute::store(dcn * c * f * (one - f));
        dg[col] = E::Compute::store(dcn * i * (one - g * g));
        d_o[col] = E::Compute::store(dh * t * o * (one - o));
        dc[col] = E::Compute::store(dcn * f);
    }
}

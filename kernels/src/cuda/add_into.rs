//! Adding to strided elements on CUDA: the formula is in [`crate::copy::add_into`].

use super::CudaArgs;
use crate::Result;
use crate::copy::CopyParams;
use crate::dims::{Dims, MAX_RANK};
use crate::overlap::{Step, for_each_step};

/// From this many elements on for each element of `y`, a block adds them up.
const MANY: usize = 64;

#[track_caller]
pub(crate) fn add_into(args: &mut CudaArgs<'_>) -> Result<()> {
    let args = &*args;
    for_each_step(&args.params(), |step| launch(args, step))
}

/// Adds one step: a thread or a block for each element of `y`.
#[track_caller]
fn launch(args: &CudaArgs<'_>, Step { threads, inside, x, y }: Step<'_>) -> Result<()> {
    let sizes: Vec<usize> = inside.iter().map(|dim| dim.len as usize).collect();
    let strides: Vec<isize> = inside.iter().map(|dim| dim.x as isize).collect();
    let inside = Dims::new(&sizes, &strides)?;
    let n_inside = inside.len();
    let len = threads.iter().map(|dim| dim.len).product::<u64>();
    let mut params = CopyParams {
        len,
        rank: threads.len() as u64,
        y_offset: 0,
        shape: [1; MAX_RANK],
        x_strides: [0; MAX_RANK],
        y_strides: [0; MAX_RANK],
    };
    for (at, dim) in threads.iter().enumerate() {
        (params.shape[at], params.x_strides[at], params.y_strides[at]) = (dim.len, dim.x, dim.y);
    }
    let size = args.elem.size_bytes() as i64;
    let from = args.input(0).address.wrapping_add_signed(x * size);
    let to = args.output(0).address.wrapping_add_signed(y * size);
    let stage = match n_inside < MANY {
        true => args.stage("add_into").blocks_for(len as usize),
        false => args.stage("add_into_rows").blocks(len as usize),
    };
    stage.param(from).param(to).param(params).param(inside).param(n_inside as u64).run()
}

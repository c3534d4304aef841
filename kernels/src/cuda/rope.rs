//! The rotary position embedding on CUDA: formulas are in [`crate::rope`].

use super::CudaArgs;
use crate::rope::RopeParams;
use crate::{Error, ErrorKind, Result};

#[track_caller]
pub(crate) fn forward(args: &mut CudaArgs<'_>) -> Result<()> {
    args.floats_only()?;
    let params: RopeParams = args.params();
    let rows = params.batch * params.heads * params.len;
    if rows == 0 {
        return Ok(());
    }
    // Without an array of positions, it is known here which of them the tables lack.
    if params.has_positions == 0 && params.first_position.saturating_add(params.len) > params.table_rows {
        let first = params.first_position.max(params.table_rows);
        return Err(Error::new(outside(first as i64, params.table_rows as i64, 0)).in_op("rope"));
    }
    let vector = vector(args, &params);
    let units = rows * (params.rotary_dim / 2 + (params.dim - params.rotary_dim)).div_ceil(vector);
    let mut stage = args.stage("rope_forward").blocks_for(units as usize);
    if vector > 1 {
        stage = stage.define("VECTOR", vector);
    }
    for input in 0..3 {
        stage = stage.param(args.input(input).address);
    }
    let stage = stage.param(args.optional_input(3)).param(args.output(0).address).param(params);
    stage.fault_param("rope", outside)?.run()
}

fn outside(position: i64, rows: i64, _: i64) -> ErrorKind {
    ErrorKind::Index(format!("position {position} is outside tables of {rows} positions"))
}

/// How many elements a thread takes together: 16 bytes' worth where rows are contiguous and everything is aligned to
/// that, else 1.
fn vector(args: &CudaArgs<'_>, params: &RopeParams) -> u64 {
    let size = args.elem.size_bytes() as u64;
    let n = 16 / size;
    let steps = |sizes: [u64; 3], strides: [i64; 4]| {
        let outer = sizes.iter().zip(strides).all(|(&size, stride)| size == 1 || stride % n as i64 == 0);
        outer && strides[3] == 1
    };
    let sizes = [params.batch, params.heads, params.len];
    let data = [args.input(0).address, args.output(0).address];
    let tables = [args.input(1).address, args.input(2).address];
    let table_bytes = n * args.elem.compute().size_bytes() as u64;
    let fits = steps(sizes, params.x_strides)
        && steps(sizes, params.y_strides)
        && data.iter().all(|address| address.is_multiple_of(16))
        && (params.rotary_dim / 2).is_multiple_of(n)
        && (params.dim - params.rotary_dim).is_multiple_of(n)
        && tables.iter().all(|address| address.is_multiple_of(table_bytes))
        && params.table_stride % n as i64 == 0;
    if fits { n } else { 1 }
}

//! The rotary position embedding on wgpu: formulas are in [`crate::rope`].

use bytemuck::{Pod, Zeroable};

use super::wide::run_of;
use super::{Stage, WgpuArgs, place, size};
use crate::rope::RopeParams;
use crate::{Error, ErrorKind, Result};

/// The kernels' `RopeParams`.
#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct Params {
    x_strides: [u32; 4],
    y_strides: [u32; 4],
    batch: u32,
    heads: u32,
    len: u32,
    dim: u32,
    rotary_dim: u32,
    table_rows: u32,
    table_stride: u32,
    first_position: u32,
    has_positions: u32,
    position_strides: [u32; 2],
    interleaved: u32,
    sign: f32,
}

impl Params {
    #[track_caller]
    fn new(p: &RopeParams) -> Result<Params> {
        let stride = |stride: i64| place(stride).map(|stride| stride as u32);
        let four = |[b, h, t, d]: [i64; 4]| Ok::<_, Error>([stride(b)?, stride(h)?, stride(t)?, stride(d)?]);
        Ok(Params {
            x_strides: four(p.x_strides)?,
            y_strides: four(p.y_strides)?,
            batch: size(p.batch)?,
            heads: size(p.heads)?,
            len: size(p.len)?,
            dim: size(p.dim)?,
            rotary_dim: size(p.rotary_dim)?,
            table_rows: size(p.table_rows)?,
            table_stride: stride(p.table_stride)?,
            first_position: size(p.first_position)?,
            has_positions: size(p.has_positions)?,
            position_strides: [stride(p.position_strides[0])?, stride(p.position_strides[1])?],
            interleaved: size(p.interleaved)?,
            sign: if p.inverse == 1 { -1.0 } else { 1.0 },
        })
    }
}

#[track_caller]
pub(crate) fn forward(args: &mut WgpuArgs<'_>) -> Result<()> {
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
    let device_params = Params::new(&params)?;
    let on = |entry| -> Stage<'_> {
        let stage = args.stage(entry).params(&device_params);
        if params.has_positions == 1 { stage.read("positions", args.input(3)) } else { stage.absent("positions") }
    };
    if params.has_positions == 1 {
        on("check_positions").groups_for((params.batch * params.len) as usize).faults("rope", outside).run()?;
    }
    let y = args.runs(0, run_of(params.dim, params.y_strides))?;
    let stage = on("rope_forward").read("x", args.input(0)).read("cos", args.input(1)).read("sin", args.input(2));
    stage.write("y", y.slot()).groups_for((rows * params.dim) as usize / y.lanes()).run()?;
    y.finish()
}

fn outside(position: i64, rows: i64, _: i64) -> ErrorKind {
    ErrorKind::Index(format!("position {position} is outside tables of {rows} positions"))
}

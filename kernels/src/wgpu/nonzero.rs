//! The places of elements that are not 0, on wgpu: `wgsl/nonzero.wgsl`.

use bytemuck::{Pod, Zeroable};

use super::{WgpuArgs, size};
use crate::index::IndexParams;
use crate::{DType, Result};

/// Elements that a workgroup looks at in one go.
const TILE: usize = 1024;
/// Parts that keep a large GPU busy.
const PARTS: usize = 1024;

/// The kernels' `NonzeroParams`.
#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct Params {
    size: u32,
    n: u32,
    parts: u32,
    part_len: u32,
}

/// What counts as not 0.
fn truth(dtype: DType) -> &'static str {
    match dtype {
        DType::I32 => "fn is_true(x: i32) -> bool { return x != 0i; }",
        _ if dtype.is_float() => "fn is_true(x: f32) -> bool { return is_true_f32(x); }",
        _ => "fn is_true(x: u32) -> bool { return x != 0u; }",
    }
}

#[track_caller]
pub(crate) fn nonzero(args: &mut WgpuArgs<'_>) -> Result<()> {
    let IndexParams { size: wanted, n, .. } = args.params();
    if wanted == 0 {
        return Ok(());
    }
    // At least one part: its workgroup fills what is left of the output.
    let part_len = (n as usize).div_ceil(TILE).div_ceil(PARTS).max(1) * TILE;
    let parts = (n as usize).div_ceil(part_len).max(1);
    let counts = args.workspace(DType::U32, parts + 1)?;
    let params = Params { size: size(wanted)?, n: size(n)?, parts: parts as u32, part_len: part_len as u32 };
    let on = |entry| args.stage(entry).file("nonzero").text(truth(args.elem)).params(&params);
    on("nonzero_counts").read("x", args.input(0)).write("counts", counts.slot()).groups(parts).run()?;
    on("nonzero_starts").write("counts", counts.slot()).run()?;
    let stage = on("nonzero").read("x", args.input(0)).read("counts", counts.slot());
    stage.write("y", args.output(0)).groups(parts).run()
}

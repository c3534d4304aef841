//! The sum of squares over many tensors on wgpu, and clipping by it: method in [`crate::l2_norm`].

use bytemuck::{Pod, Zeroable};

use super::windows::ranges;
use super::{WgpuArgs, size};
use crate::l2_norm::{ClipParams, EPS, lens, not_finite};
use crate::{DType, Error, ErrorKind, Result};

/// Elements of a chunk: the kernel's `CHUNK`.
const CHUNK: usize = 8192;

/// The kernels' `L2NormParams`.
#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct Params {
    len: u32,
    first: u32,
}

/// The kernels' `ClipParams`.
#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct Clip {
    len: u32,
    max_norm: f32,
    eps: f32,
}

#[track_caller]
pub(crate) fn squared(args: &mut WgpuArgs<'_>) -> Result<()> {
    args.floats_only()?;
    let out = args.output(0);
    if out.dtype != DType::F32 {
        return Err(Error::new(ErrorKind::Unsupported { dtype: out.dtype, device: "wgpu".into() }));
    }
    let lens = lens(args.params);
    let chunks = lens.iter().map(|len| len.div_ceil(CHUNK)).sum();
    let partial = args.workspace(DType::F32, chunks)?;
    let mut first = 0;
    for (index, &len) in lens.iter().enumerate() {
        args.stage("l2_norm_squared")
            .read("x", args.input(index).part(0, len))
            .write("partial", partial.slot())
            .params(&Params { len: size(len as u64)?, first })
            .groups(len.div_ceil(CHUNK))
            .run()?;
        first += len.div_ceil(CHUNK) as u32;
    }
    args.stage("l2_norm_total")
        .read("partial", partial.slot())
        .write("y", out)
        .params(&Params { len: first, first: 0 })
        .run()
}

#[track_caller]
pub(crate) fn clip(args: &mut WgpuArgs<'_>) -> Result<()> {
    args.floats_only()?;
    let params: ClipParams = args.params();
    for index in 0..args.n_outputs() {
        let x = args.output(index);
        for (first, len) in ranges(&args.device.limits(), &[args.input(0), x], x.len) {
            let clip = Clip { len: size(len as u64)?, max_norm: params.max_norm as f32, eps: EPS as f32 };
            args.stage("l2_norm_clip")
                .read("squared", args.input(0))
                .words("x", x.part(first, len))
                .faults("clip_grad_norm", |norm, _, _| not_finite(f32::from_bits(norm as u32).into()))
                .params(&clip)
                .groups_for(len.div_ceil(4 / x.dtype.size_bytes()))
                .run()?;
        }
    }
    Ok(())
}

//! Copies, casts and fills on CUDA: formulas are in [`crate::copy`].

use super::CudaArgs;
use crate::Result;
use crate::copy::CopyParams;

#[track_caller]
pub(crate) fn copy(args: &mut CudaArgs<'_>) -> Result<()> {
    let params: CopyParams = args.params();
    let (x, y) = (args.input(0).address, args.output(0).address);
    let size = args.elem.size_bytes() as u64;
    let dense = params.rank == 1 && params.x_strides[0] == 1 && params.y_strides[0] == 1;
    let to = y + params.y_offset * size;
    if dense && x.is_multiple_of(16) && to.is_multiple_of(16) {
        let len = params.len as usize;
        let packs = len.div_ceil(16 / size as usize);
        return args.stage("copy_contiguous").blocks_for(packs).param(x).param(to).param(params.len).run();
    }
    super::per_element(args)
}

#[track_caller]
pub(crate) fn cast(args: &mut CudaArgs<'_>) -> Result<()> {
    let params: CopyParams = args.params();
    let (x, y) = (args.input(0).address, args.output(0));
    let stage = args.stage("cast").blocks_for(params.len as usize);
    stage.param(x).param(y.address).param(params).param(y.dtype as u32).run()
}

//! Stochastic gradient descent on CUDA: formulas are in [`crate::sgd`].

use super::CudaArgs;
use super::tensor_list::TensorList;
use crate::Result;
use crate::sgd::SgdParams;

#[track_caller]
pub(crate) fn step(args: &mut CudaArgs<'_>) -> Result<()> {
    args.floats_only()?;
    let list = TensorList::new(args)?;
    let [entries, count] = list.params();
    let params: SgdParams = args.params();
    args.stage(args.kernel.entry).blocks(list.chunks).param(entries).param(count).param(params).run()
}

//! Outputs whose elements share words: written by whole words, alone where a device can do that, or with one element to a
//! word, and packed afterwards.
//!
//! Two invocations must not write one word, and which elements of a row share a word with the next row depends on the
//! row's length. Where it fills whole words, an invocation takes the elements of a word; elements of native f16 are stored
//! one by one. What is left (rows of odd length, sums that are added to, u8 and bool) is written as f32 (or u32 for u8 and
//! bool), and one more pass rounds and packs.

use bytemuck::{Pod, Zeroable};

use super::args::Workspace;
use super::windows::ranges;
use super::{Slot, Stage, WgpuArgs, WgpuDevice, size};
use crate::{DType, Result};

/// Elements of a word that one invocation packs or unpacks.
#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
pub(super) struct WideParams {
    pub(super) len: u32,
}

/// An output as a kernel writes it: itself, or with one element to a word.
pub(crate) struct Wide<'a> {
    device: &'a WgpuDevice,
    output: Slot,
    workspace: Option<Workspace>,
}

/// How many neighbouring elements of a matrix with `dim` columns and any strides fill words that no other row shares: the
/// runs of [`WgpuArgs::runs`].
pub(crate) fn run_of(dim: u64, strides: [i64; 4]) -> usize {
    let is_even = strides[..3].iter().all(|stride| stride % 2 == 0);
    if dim.is_multiple_of(2) && strides[3] == 1 && is_even { dim as usize } else { 1 }
}

/// How many elements share a word.
fn per_word(dtype: DType) -> usize {
    (4 / dtype.size_bytes()).max(1)
}

impl<'a> WgpuArgs<'a> {
    /// Output `index` to be written whole, each element once and by itself; none may be read.
    #[track_caller]
    pub(crate) fn once(&self, index: usize) -> Result<Wide<'a>> {
        self.runs(index, 1)
    }

    /// Output `index` to be written whole, each element once, in runs of `len` neighbours: those of a word together, through
    /// `store_lanes_<name>`. None may be read.
    #[track_caller]
    pub(crate) fn runs(&self, index: usize, len: usize) -> Result<Wide<'a>> {
        let output = self.output(index);
        if self.device.stores_alone(output.dtype) || len.is_multiple_of(per_word(output.dtype)) {
            return Ok(Wide { device: self.device, output, workspace: None });
        }
        self.wide(index)
    }

    /// Output `index` to be written whole, with one element to a word.
    #[track_caller]
    pub(crate) fn wide(&self, index: usize) -> Result<Wide<'a>> {
        let output = self.output(index);
        let wide = match output.dtype {
            DType::F16 | DType::BF16 => Some(DType::F32),
            DType::U8 | DType::Bool => Some(DType::U32),
            _ => None,
        };
        let workspace = wide.map(|dtype| self.workspace(dtype, output.len)).transpose()?;
        Ok(Wide { device: self.device, output, workspace })
    }

    /// Output `index` with what it holds, to be written in part or added to.
    #[track_caller]
    pub(crate) fn wide_kept(&self, index: usize) -> Result<Wide<'a>> {
        let wide = self.wide(index)?;
        if let Some(workspace) = &wide.workspace {
            let (x, y) = (wide.output, workspace.slot());
            for (first, len) in ranges(&self.device.limits(), &[x, y], x.len) {
                let stage = Stage::new(self.device, "wide", "unpack").read("x", x.part(first, len));
                let stage = stage.write("y", y.part(first, len)).params(&WideParams { len: size(len as u64)? });
                stage.groups_for(len).run()?;
            }
        }
        Ok(wide)
    }
}

impl Wide<'_> {
    /// How many elements are written at a time: the kernel's `LANES_<name>`.
    pub(crate) fn lanes(&self) -> usize {
        let is_alone = self.workspace.is_some() || self.device.stores_alone(self.output.dtype);
        if is_alone { 1 } else { per_word(self.output.dtype) }
    }

    /// What the kernel is bound to.
    pub(crate) fn slot(&self) -> Slot {
        self.workspace.as_ref().map_or(self.output, Workspace::slot)
    }

    /// Packs what was written.
    ///
    /// # Errors
    /// As for any launch.
    #[track_caller]
    pub(crate) fn finish(self) -> Result<()> {
        let Some(workspace) = &self.workspace else { return Ok(()) };
        let (x, y) = (workspace.slot(), self.output);
        for (first, len) in ranges(&self.device.limits(), &[x, y], y.len) {
            let stage = Stage::new(self.device, "wide", "pack").read("x", x.part(first, len));
            let stage = stage.words("y", y.part(first, len)).params(&WideParams { len: size(len as u64)? });
            stage.groups_for(len.div_ceil(per_word(y.dtype))).run()?;
        }
        Ok(())
    }
}

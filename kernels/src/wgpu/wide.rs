//! Outputs whose elements share words: kernels write them with one element to a word, and they are packed afterwards.
//!
//! Two invocations must not write one word, and which elements of a row share a word with the next row depends on the
//! row's length. So a kernel writes f32 (or u32 for u8 and bool), and one more pass rounds and packs.

use bytemuck::{Pod, Zeroable};

use super::args::Workspace;
use super::windows::ranges;
use super::{Slot, Stage, WgpuArgs, WgpuDevice, size};
use crate::{DType, Result};

/// Elements of a word that one invocation packs or unpacks.
#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct WideParams {
    len: u32,
}

/// An output with one element to a word.
pub(crate) struct Wide<'a> {
    device: &'a WgpuDevice,
    output: Slot,
    workspace: Option<Workspace>,
}

impl<'a> WgpuArgs<'a> {
    /// Output `index` to be written whole.
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
            stage.groups_for(len.div_ceil(4 / y.dtype.size_bytes())).run()?;
        }
        Ok(())
    }
}

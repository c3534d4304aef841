//! The kernels' source text.
//!
//! The text is part of the program. Where `CHAINRULE_KERNELS` names a folder with the same files, they are read from
//! there when a unit is compiled, so that a kernel can be changed without building anything again.

use std::borrow::Cow;

use sha2::{Digest, Sha256};

/// Every file under `cuda/`, by the name under which others include it.
const FILES: &[(&str, &str)] = &[
    ("adamw.cu", include_str!("../../cuda/adamw.cu")),
    ("attention.cu", include_str!("../../cuda/attention.cu")),
    ("attention.cuh", include_str!("../../cuda/attention.cuh")),
    ("attention_backward.cu", include_str!("../../cuda/attention_backward.cu")),
    ("attention_delta.cu", include_str!("../../cuda/attention_delta.cu")),
    ("attention_tensor.cu", include_str!("../../cuda/attention_tensor.cu")),
    ("attention_tensor.cuh", include_str!("../../cuda/attention_tensor.cuh")),
    ("attention_tensor_backward.cu", include_str!("../../cuda/attention_tensor_backward.cu")),
    ("column_sums.cu", include_str!("../../cuda/column_sums.cu")),
    ("copy.cu", include_str!("../../cuda/copy.cu")),
    ("cross_entropy.cu", include_str!("../../cuda/cross_entropy.cu")),
    ("dropout.cu", include_str!("../../cuda/dropout.cu")),
    ("elementwise.cu", include_str!("../../cuda/elementwise.cu")),
    ("emu/block.h", include_str!("../../cuda/emu/block.h")),
    ("emu/bulk.h", include_str!("../../cuda/emu/bulk.h")),
    ("emu/collective.h", include_str!("../../cuda/emu/collective.h")),
    ("emu/emu.cpp", include_str!("../../cuda/emu/emu.cpp")),
    ("emu/emu.h", include_str!("../../cuda/emu/emu.h")),
    ("emu/fiber.h", include_str!("../../cuda/emu/fiber.h")),
    ("emu/hopper.h", include_str!("../../cuda/emu/hopper.h")),
    ("emu/mbarrier.h", include_str!("../../cuda/emu/mbarrier.h")),
    ("emu/pending.h", include_str!("../../cuda/emu/pending.h")),
    ("emu/sanitizer.h", include_str!("../../cuda/emu/sanitizer.h")),
    ("emu/scheduler.h", include_str!("../../cuda/emu/scheduler.h")),
    ("emu/tensor_core.h", include_str!("../../cuda/emu/tensor_core.h")),
    ("emu/warpgroup.h", include_str!("../../cuda/emu/warpgroup.h")),
    ("emu/wgmma.h", include_str!("../../cuda/emu/wgmma.h")),
    ("gather.cu", include_str!("../../cuda/gather.cu")),
    ("groups.cu", include_str!("../../cuda/groups.cu")),
    ("groups.cuh", include_str!("../../cuda/groups.cuh")),
    ("hopper.cuh", include_str!("../../cuda/hopper.cuh")),
    ("index.cu", include_str!("../../cuda/index.cu")),
    ("l2_norm.cu", include_str!("../../cuda/l2_norm.cu")),
    ("layer_norm.cu", include_str!("../../cuda/layer_norm.cu")),
    ("lstm_cell.cu", include_str!("../../cuda/lstm_cell.cu")),
    ("matmul.cu", include_str!("../../cuda/matmul.cu")),
    ("matmul.cuh", include_str!("../../cuda/matmul.cuh")),
    ("matmul_reduce.cu", include_str!("../../cuda/matmul_reduce.cu")),
    ("matmul_tensor.cu", include_str!("../../cuda/matmul_tensor.cu")),
    ("matmul_vector.cu", include_str!("../../cuda/matmul_vector.cu")),
    ("nonzero.cu", include_str!("../../cuda/nonzero.cu")),
    ("philox.cuh", include_str!("../../cuda/philox.cuh")),
    ("prelude.cuh", include_str!("../../cuda/prelude.cuh")),
    ("random.cu", include_str!("../../cuda/random.cu")),
    ("reduce.cu", include_str!("../../cuda/reduce.cu")),
    ("reduce.cuh", include_str!("../../cuda/reduce.cuh")),
    ("rms_norm.cu", include_str!("../../cuda/rms_norm.cu")),
    ("rope.cu", include_str!("../../cuda/rope.cu")),
    ("rows.cuh", include_str!("../../cuda/rows.cuh")),
    ("scan.cu", include_str!("../../cuda/scan.cu")),
    ("scan.cuh", include_str!("../../cuda/scan.cuh")),
    ("sgd.cu", include_str!("../../cuda/sgd.cu")),
    ("softmax.cu", include_str!("../../cuda/softmax.cu")),
    ("softmax_sums.cuh", include_str!("../../cuda/softmax_sums.cuh")),
    ("sort.cu", include_str!("../../cuda/sort.cu")),
    ("tensor_core.cuh", include_str!("../../cuda/tensor_core.cuh")),
    ("tensor_list.cuh", include_str!("../../cuda/tensor_list.cuh")),
    ("wgmma.cuh", include_str!("../../cuda/wgmma.cuh")),
];

/// Kernels of tests: some that must fail, one that shows how it was launched, and some of which each part is looked at.
#[cfg(test)]
const TEST_FILES: &[(&str, &str)] = &[
    ("faulty.cu", include_str!("../../tests/cuda/faulty.cu")),
    ("fragments.cu", include_str!("../../tests/cuda/fragments.cu")),
    ("hopper_copies.cu", include_str!("../../tests/cuda/hopper_copies.cu")),
    ("hopper_pipeline.cu", include_str!("../../tests/cuda/hopper_pipeline.cu")),
    ("hopper_wrappers.cu", include_str!("../../tests/cuda/hopper_wrappers.cu")),
    ("runtime.cu", include_str!("../../tests/cuda/runtime.cu")),
];
#[cfg(not(test))]
const TEST_FILES: &[(&str, &str)] = &[];

/// A key of everything that decides what a compiler gives: `text` with all that it includes, and `with`, the compiler,
/// its options and its target.
pub(crate) fn key(text: &str, with: &[&str]) -> String {
    let mut hash = Sha256::new();
    let files = included(text);
    let files = files.iter().map(|(_, text)| &text[..]);
    for part in files.chain([text]).chain(with.iter().copied()) {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part);
    }
    hash.finalize().iter().take(16).map(|byte| format!("{byte:02x}")).collect()
}

/// The text of a file, if there is one of that name.
pub(crate) fn read(name: &str) -> Option<Cow<'static, str>> {
    let folder = std::env::var_os("CHAINRULE_KERNELS").filter(|folder| !folder.is_empty());
    if let Some(text) = folder.and_then(|folder| std::fs::read_to_string(std::path::Path::new(&folder).join(name)).ok())
    {
        return Some(text.into());
    }
    FILES.iter().chain(TEST_FILES).find(|(file, _)| *file == name).map(|(_, text)| Cow::Borrowed(*text))
}

/// Every file with its text.
pub(crate) fn files() -> impl Iterator<Item = (&'static str, Cow<'static, str>)> {
    FILES.iter().chain(TEST_FILES).map(|&(name, text)| (name, read(name).unwrap_or(Cow::Borrowed(text))))
}

/// The files that `text` includes, directly or through others, each once.
pub(crate) fn included(text: &str) -> Vec<(String, Cow<'static, str>)> {
    let mut found: Vec<(String, Cow<'static, str>)> = Vec::new();
    let mut names: Vec<String> = includes(text).collect();
    while !names.is_empty() {
        let name = names.remove(0);
        if found.iter().any(|(known, _)| *known == name) {
            continue;
        }
        let text = read(&name).unwrap_or_default();
        names.extend(includes(&text));
        found.push((name, text));
    }
    found
}

fn includes(text: &str) -> impl Iterator<Item = String> {
    text.lines().filter_map(|line| Some(line.trim().strip_prefix("#include \"")?.strip_suffix('"')?.to_string()))
}

#[cfg(test)]
mod tests {
    use super::super::Unit;
    use super::*;
    use crate::DType;

    #[test]
    fn the_key_covers_text_definitions_and_compiler() {
        let unit = Unit::new("copy", DType::F32);
        let of = |unit: &Unit, with: &str| key(&unit.text(), &[with]);
        let first = of(&unit, "g++ 12");
        assert_eq!(first, of(&unit.clone(), "g++ 12"));
        assert_ne!(first, of(&unit, "g++ 13"));
        assert_ne!(first, of(&Unit::new("copy", DType::F64), "g++ 12"));
        let defined = |name, value| of(&unit.clone().define(name, value), "g++ 12");
        assert_ne!(first, defined("N", 1));
        assert_ne!(defined("N", 1), defined("N", 2));
        assert_ne!(defined("N", 1), defined("M", 1));
    }

    #[test]
    fn includes_are_followed() {
        let names: Vec<String> = included("#include \"copy.cu\"\n").into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["copy.cu", "prelude.cuh", "emu/emu.h"]);
    }

    #[test]
    fn every_file_is_listed() {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("cuda");
        let mut names = Vec::new();
        for (prefix, folder) in [("", folder.clone()), ("emu/", folder.join("emu"))] {
            for entry in std::fs::read_dir(folder).unwrap().map(Result::unwrap) {
                let is_source = entry.path().extension().is_some_and(|kind| kind != "sh");
                if is_source {
                    names.push(format!("{prefix}{}", entry.file_name().to_str().unwrap()));
                }
            }
        }
        names.sort();
        assert_eq!(names, FILES.iter().map(|(name, _)| *name).collect::<Vec<_>>());
    }
}

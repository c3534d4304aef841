//! What an entry point needs, as the compiler's log says, and the table of it.

use std::collections::BTreeMap;

use chainrule::DType;
use chainrule::cuda::{Architecture, Unit};

use super::ARCHITECTURES;

/// Spills that are accepted: the file, the element type, how many bytes, and why.
const ALLOWED_SPILLS: &[(&str, DType, u32, &str)] = &[
    ("attention", DType::F32, 120, "the smallest head dim, on 8.0 alone"),
    ("attention", DType::F16, 120, "the smallest head dim, on 8.0 alone"),
    ("attention", DType::BF16, 120, "the smallest head dim, on 8.0 alone"),
    ("attention", DType::F64, 56, "f64 is for checks, not for speed"),
    ("attention_backward", DType::F32, 272, "the smallest head dim, on 10.0 alone"),
    ("attention_backward", DType::F16, 272, "the smallest head dim, on 9.0 and 10.0"),
    ("attention_backward", DType::BF16, 272, "the smallest head dim, on 9.0 and 10.0"),
    ("attention_tensor_backward", DType::F16, 156, "heads of 128 on 8.9, which has smaller tiles for want of memory"),
    ("attention_tensor_backward", DType::BF16, 156, "heads of 128 on 8.9, which has smaller tiles for want of memory"),
    ("cross_entropy", DType::F64, 416, "f64 is for checks, not for speed"),
    ("elementwise", DType::F32, 16, "sine and cosine of large angles"),
    ("elementwise", DType::F64, 168, "f64 is for checks, not for speed"),
    ("layer_norm", DType::F16, 16, "single-element accesses on 9.0"),
    ("layer_norm", DType::BF16, 16, "single-element accesses on 9.0"),
    ("matmul", DType::BF16, 16, "the smallest tile with single-element accesses, on 9.0 alone"),
    ("matmul", DType::F32, 24, "the smallest tile with a residual, on 9.0 alone"),
    ("matmul", DType::F64, 8, "f64 is for checks, not for speed"),
    ("matmul_vector", DType::F32, 8, "two vectors on 9.0"),
    ("reduce", DType::F64, 32, "f64 is for checks, not for speed"),
];

/// What one entry point needs on one architecture.
#[derive(Clone, Copy, Default, PartialEq, Debug)]
pub(crate) struct Needs {
    pub(crate) registers: u32,
    pub(crate) shared_bytes: u32,
    pub(crate) spill_bytes: u32,
    /// Local memory: what is spilled, and arrays that are not in registers.
    pub(crate) stack_bytes: u32,
}

/// What each entry point needs on each architecture, by file, type and name.
#[derive(Default)]
pub(crate) struct Table(BTreeMap<String, [Option<Needs>; ARCHITECTURES.len()]>);

impl Table {
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// Enters what a log says, and gives what is wrong. Units of one file and type that differ in definitions share a
    /// row: the most that any needs.
    pub(crate) fn enter(&mut self, unit: &Unit, place: usize, log: &str) -> Vec<String> {
        let architecture = Architecture { number: ARCHITECTURES[place] }.name();
        let mut complaints = Vec::new();
        for (entry, needs) in entries(log) {
            let allowed = ALLOWED_SPILLS.iter().find(|(name, elem, ..)| *name == unit.name && *elem == unit.elem);
            if needs.spill_bytes > allowed.map_or(0, |(_, _, bytes, _)| *bytes) {
                complaints.push(format!(
                    "{} {entry} spills {} bytes on {architecture}",
                    unit.label(),
                    needs.spill_bytes
                ));
            }
            let row = self.0.entry(format!("{} | {} | {entry}", unit.name, unit.elem)).or_default();
            let most = row[place].get_or_insert_default();
            most.registers = most.registers.max(needs.registers);
            most.shared_bytes = most.shared_bytes.max(needs.shared_bytes);
            most.spill_bytes = most.spill_bytes.max(needs.spill_bytes);
        }
        // A spill is a warning too, and has been counted.
        let warnings = log.lines().filter(|line| line.contains("warning") && !line.contains("spill"));
        complaints.extend(warnings.map(|line| format!("{} on {architecture}: {line}", unit.label())));
        complaints
    }

    /// The table as a page of the docs.
    pub(crate) fn page(&self) -> String {
        let heads = ARCHITECTURES.map(|number| Architecture { number }.name()).join(" | ");
        let mut table = format!(
            "# What the CUDA kernels need\n\n\
             Registers of a thread / bytes of fixed shared memory of a block (and spilled bytes, where there are any), as\n\
             NVRTC 13.0 gives them; a dash where a kernel does not exist. Of units that differ only in their definitions,\n\
             the most that any needs. Written by `cargo run --release -p chainrule-bench --features cuda -- kernels --write\n\
             docs/kernels.md` and compared on every change.\n\n| file | type | entry | {heads} |\n|---|---|---|{}\n",
            "---|".repeat(ARCHITECTURES.len())
        );
        for (name, needs) in &self.0 {
            let cells = needs.map(|needs| match needs {
                None => "-".to_string(),
                Some(Needs { registers, shared_bytes, spill_bytes: 0, .. }) => format!("{registers} / {shared_bytes}"),
                Some(needs) => format!("{} / {} (spills {})", needs.registers, needs.shared_bytes, needs.spill_bytes),
            });
            table += &format!("| {name} | {} |\n", cells.join(" | "));
        }
        table
    }
}

/// The entry points of a compiler's log with what they need.
pub(crate) fn entries(log: &str) -> Vec<(String, Needs)> {
    let mut entries: Vec<(String, Needs)> = Vec::new();
    let number_before = |line: &str, words: &str| -> u32 {
        let before = line.split(words).next().filter(|before| before.len() < line.len()).unwrap_or_default();
        before.split_whitespace().last().and_then(|number| number.parse().ok()).unwrap_or(0)
    };
    for line in log.lines() {
        if let Some((_, rest)) = line.split_once("Compiling entry function '") {
            entries.push((rest.split('\'').next().unwrap_or_default().into(), Needs::default()));
        } else if let Some((_, needs)) = entries.last_mut() {
            needs.spill_bytes += number_before(line, " bytes spill stores") + number_before(line, " bytes spill loads");
            needs.stack_bytes += number_before(line, " bytes stack frame");
            needs.registers += number_before(line, " registers");
            needs.shared_bytes += number_before(line, " bytes smem");
        }
    }
    entries
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_is_read() {
        let log = "ptxas info    : 0 bytes gmem\n\
            ptxas info    : Compiling entry function 'copy' for 'sm_80'\n\
            ptxas info    : Function properties for copy\n    \
                8 bytes stack frame, 12 bytes spill stores, 16 bytes spill loads\n\
            ptxas info    : Used 20 registers, used 1 barriers, 4096 bytes smem, 392 bytes cmem[0]\n";
        assert_eq!(
            entries(log),
            [("copy".into(), Needs { registers: 20, shared_bytes: 4096, spill_bytes: 28, stack_bytes: 8 })]
        );
    }
}

//! What NVIDIA's compiler makes of every kernel: registers, shared memory and spills for each architecture.
//!
//! Which units there are is not written down anywhere: the samples are run on the emulator, and what they compiled
//! there is compiled here for GPUs.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use chainrule::cuda::{Architecture, Unit, compile};
use chainrule::{DType, Device, Error, ErrorKind, Result};
use clap::Args;

use crate::check::check;

/// The architectures: Turing, Ampere, Ada, Hopper, Blackwell.
const ARCHITECTURES: [u32; 5] = [75, 80, 89, 90, 100];

/// Spills that are accepted: the file, the element type, how many bytes, and why.
const ALLOWED_SPILLS: &[(&str, DType, u32, &str)] = &[
    ("attention", DType::F32, 120, "the smallest head dim, on 8.0 alone"),
    ("attention", DType::F16, 120, "the smallest head dim, on 8.0 alone"),
    ("attention", DType::BF16, 120, "the smallest head dim, on 8.0 alone"),
    ("attention_backward", DType::F32, 272, "the smallest head dim, on 10.0 alone"),
    ("attention_backward", DType::F16, 272, "the smallest head dim, on 9.0 and 10.0"),
    ("attention_backward", DType::BF16, 272, "the smallest head dim, on 9.0 and 10.0"),
    ("cross_entropy", DType::F64, 416, "f64 is for checks, not for speed"),
    ("elementwise", DType::F32, 16, "sine and cosine of large angles"),
    ("elementwise", DType::F64, 168, "f64 is for checks, not for speed"),
    ("layer_norm", DType::F16, 16, "single-element accesses on 9.0"),
    ("layer_norm", DType::BF16, 16, "single-element accesses on 9.0"),
    ("matmul_vector", DType::F32, 8, "two vectors on 9.0"),
    ("reduce", DType::F64, 32, "f64 is for checks, not for speed"),
];

/// Only ops whose names start with this, and where the table goes.
#[derive(Args)]
pub(crate) struct Options {
    /// Only ops whose names start with this.
    #[arg(default_value = "")]
    op: String,
    /// Write the table to this file.
    #[arg(long)]
    write: Option<PathBuf>,
    /// Fail where the table in this file differs.
    #[arg(long, conflicts_with = "write")]
    compare: Option<PathBuf>,
}

/// What one entry point needs on one architecture.
#[derive(Clone, Copy, Default, PartialEq, Debug)]
struct Needs {
    registers: u32,
    shared_bytes: u32,
    spill_bytes: u32,
}

pub(crate) fn run(options: &Options) -> Result<ExitCode> {
    let device = Device::cuda_emu()?;
    let (_, failed, _) = check(&device, &options.op, false)?;
    let Device::Cuda(cuda) = &device else { return Err(Error::argument("lab", "the emulator is no CUDA device")) };
    let mut units = cuda.units();
    units.sort_by_key(Unit::label);
    let (rows, complaints) = compile_all(&units)?;
    let table = table(&rows);
    complaints.iter().for_each(|complaint| println!("{complaint}"));
    println!("{} units, {} entry points, {} complaints", units.len(), rows.len(), complaints.len());
    let io = |path: &PathBuf, error| Error::io(path.display().to_string(), error);
    if let Some(path) = &options.write {
        std::fs::write(path, &table).map_err(|error| io(path, error))?;
    }
    let mut sound = failed == 0 && complaints.is_empty();
    if let Some(path) = &options.compare {
        let written = std::fs::read_to_string(path).map_err(|error| io(path, error))?;
        let differing: Vec<&str> = table.lines().filter(|line| !written.lines().any(|other| other == *line)).collect();
        differing.iter().for_each(|line| println!("not in {}: {line}", path.display()));
        sound &= differing.is_empty();
    }
    Ok(if sound { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// What each entry point needs on each architecture, by file, type and name.
type Rows = BTreeMap<String, [Option<Needs>; ARCHITECTURES.len()]>;

/// Compiles every unit for every architecture that has it, on all processors; gives the table's rows and what is wrong.
fn compile_all(units: &[Unit]) -> Result<(Rows, Vec<String>)> {
    let jobs: Vec<(&Unit, usize)> = (0..ARCHITECTURES.len())
        .flat_map(|place| units.iter().map(move |unit| (unit, place)))
        .filter(|(unit, place)| unit.exists_for(ARCHITECTURES[*place]))
        .collect();
    let (next, logs) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    let work = || {
        while let Some((unit, place)) = jobs.get(next.fetch_add(1, Ordering::Relaxed)) {
            let compiled = compile(unit, Architecture { number: ARCHITECTURES[*place] });
            logs.lock().unwrap_or_else(PoisonError::into_inner).push((*unit, *place, compiled));
        }
    };
    let processors = std::thread::available_parallelism().map_or(1, |n| n.get());
    std::thread::scope(|scope| (0..processors).for_each(|_| drop(scope.spawn(work))));
    let (mut rows, mut complaints) = (Rows::new(), Vec::new());
    for (unit, place, compiled) in logs.into_inner().unwrap_or_else(PoisonError::into_inner) {
        match compiled {
            Ok(compiled) => enter(&mut rows, &mut complaints, unit, place, &compiled.log),
            Err(error) if matches!(error.kind(), ErrorKind::KernelCompile { .. }) => complaints.push(error.to_string()),
            Err(error) => return Err(error),
        }
    }
    complaints.sort();
    Ok((rows, complaints))
}

/// Enters what a log says into the table and the complaints. Units of one file and type that differ in definitions
/// share a row: the most that any needs.
fn enter(rows: &mut Rows, complaints: &mut Vec<String>, unit: &Unit, place: usize, log: &str) {
    let architecture = Architecture { number: ARCHITECTURES[place] }.name();
    for (entry, needs) in entries(log) {
        let allowed = ALLOWED_SPILLS.iter().find(|(name, elem, ..)| *name == unit.name && *elem == unit.elem);
        if needs.spill_bytes > allowed.map_or(0, |(_, _, bytes, _)| *bytes) {
            complaints.push(format!("{} {entry} spills {} bytes on {architecture}", unit.label(), needs.spill_bytes));
        }
        let most =
            rows.entry(format!("{} | {} | {entry}", unit.name, unit.elem)).or_default()[place].get_or_insert_default();
        most.registers = most.registers.max(needs.registers);
        most.shared_bytes = most.shared_bytes.max(needs.shared_bytes);
        most.spill_bytes = most.spill_bytes.max(needs.spill_bytes);
    }
    // A spill is a warning too, and has been counted.
    let warnings = log.lines().filter(|line| line.contains("warning") && !line.contains("spill"));
    complaints.extend(warnings.map(|line| format!("{} on {architecture}: {line}", unit.label())));
}

/// The entry points of a compiler's log with what they need.
fn entries(log: &str) -> Vec<(String, Needs)> {
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
            needs.registers += number_before(line, " registers");
            needs.shared_bytes += number_before(line, " bytes smem");
        }
    }
    entries
}

fn table(rows: &BTreeMap<String, [Option<Needs>; ARCHITECTURES.len()]>) -> String {
    let heads = ARCHITECTURES.map(|number| Architecture { number }.name()).join(" | ");
    let mut table = format!(
        "# What the CUDA kernels need\n\n\
         Registers of a thread / bytes of fixed shared memory of a block (and spilled bytes, where there are any), as\n\
         NVRTC 13.0 gives them; a dash where a kernel does not exist. Of units that differ only in their definitions,\n\
         the most that any needs. Written by `cargo run --release -p chainrule-bench --features cuda -- kernels --write\n\
         docs/kernels.md` and compared on every change.\n\n| file | type | entry | {heads} |\n|---|---|---|{}\n",
        "---|".repeat(ARCHITECTURES.len())
    );
    for (name, needs) in rows {
        let cells = needs.map(|needs| match needs {
            None => "-".to_string(),
            Some(Needs { registers, shared_bytes, spill_bytes: 0 }) => format!("{registers} / {shared_bytes}"),
            Some(needs) => format!("{} / {} (spills {})", needs.registers, needs.shared_bytes, needs.spill_bytes),
        });
        table += &format!("| {name} | {} |\n", cells.join(" | "));
    }
    table
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
        assert_eq!(entries(log), [("copy".into(), Needs { registers: 20, shared_bytes: 4096, spill_bytes: 28 })]);
    }
}

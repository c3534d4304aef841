//! What NVIDIA's compiler makes of every kernel: registers, shared memory and spills for each architecture, and whether
//! products of matrices are products on tensor cores.
//!
//! Which units there are is not written down anywhere: the samples are run on the emulator, and what they compiled
//! there is compiled here for GPUs.

mod needs;
mod sass;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use chainrule::cuda::{Architecture, Unit, compile_cached};
use chainrule::{Device, Error, ErrorKind, Result};
use clap::Args;

use crate::check::check;
use needs::{Table, entries};
use sass::{Disassembler, Instructions};

/// The architectures: Turing, Ampere, Ada, Hopper, Blackwell.
const ARCHITECTURES: [u32; 5] = [75, 80, 89, 90, 100];

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

pub(crate) fn run(options: &Options) -> Result<ExitCode> {
    let disassembler = Disassembler::find()?;
    let device = Device::cuda_emu()?;
    let (_, failed, _) = check(&device, &options.op, false)?;
    let Device::Cuda(cuda) = &device else { return Err(Error::argument("lab", "the emulator is no CUDA device")) };
    let mut units = cuda.units();
    units.sort_by_key(Unit::label);
    let (table, mut complaints) = compile_all(&units, disassembler.as_ref())?;
    complaints.extend(unchecked(disassembler.as_ref()));
    let page = table.page();
    if let Some(path) = &options.write {
        std::fs::write(path, &page).map_err(|error| Error::io(path.display().to_string(), error))?;
    }
    if let Some(path) = &options.compare {
        complaints.extend(differences(&page, path, options.op.is_empty())?);
    }
    complaints.iter().for_each(|complaint| println!("{complaint}"));
    println!("{} units, {} entry points, {} complaints", units.len(), table.len(), complaints.len());
    Ok(if failed == 0 && complaints.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Says so where there is no disassembler; a complaint where `CHAINRULE_REQUIRE` lists it.
fn unchecked(disassembler: Option<&Disassembler>) -> Option<String> {
    if disassembler.is_some() {
        return None;
    }
    let message = "use of tensor cores: NOT CHECKED, there is no nvdisasm; CHAINRULE_NVDISASM can name it";
    let required = std::env::var("CHAINRULE_REQUIRE").unwrap_or_default();
    if required.split(',').any(|required| required == "nvdisasm") {
        return Some(format!("{message}, and CHAINRULE_REQUIRE asks for it"));
    }
    println!("{message}");
    None
}

/// The lines in which a page and the one in a file differ; where only some ops were compiled, the file has more.
fn differences(page: &str, path: &Path, is_whole: bool) -> Result<Vec<String>> {
    let written = std::fs::read_to_string(path).map_err(|error| Error::io(path.display().to_string(), error))?;
    let missing = |of: &str, other: &str, what: &str| -> Vec<String> {
        let lines = of.lines().filter(|line| !other.lines().any(|other| other == *line));
        lines.map(|line| format!("{what} {}: {line}", path.display())).collect()
    };
    let mut differences = missing(page, &written, "not in");
    if is_whole {
        differences.extend(missing(&written, page, "only in"));
    }
    Ok(differences)
}

/// What became of a unit on one architecture.
struct Outcome {
    log: String,
    /// For units that are for tensor cores, where there is a disassembler.
    instructions: Option<Vec<Instructions>>,
}

impl Outcome {
    fn of(unit: &Unit, architecture: Architecture, disassembler: Option<&Disassembler>) -> Result<Outcome> {
        let compiled = compile_cached(unit, architecture)?;
        let disassembler = disassembler.filter(|_| unit.is_for_tensor_cores());
        let instructions = disassembler.map(|it| it.instructions(&compiled.code)).transpose()?;
        Ok(Outcome { log: compiled.log, instructions })
    }

    /// What the instructions show that should not be.
    fn complaints(&self, unit: &Unit, architecture: Architecture) -> Vec<String> {
        let Some(instructions) = &self.instructions else { return Vec::new() };
        let (label, on, mut complaints) = (unit.label(), architecture.name(), Vec::new());
        if !instructions.iter().any(|entry| entry.multiplies_matrices) {
            complaints.push(format!("{label} is for tensor cores and has no matrix instruction on {on}"));
        }
        let logged = entries(&self.log);
        let in_memory = |entry: &str| logged.iter().any(|(name, needs)| name == entry && needs.stack_bytes > 0);
        let silent = instructions.iter().filter(|found| found.uses_local_memory && !in_memory(&found.entry));
        complaints.extend(silent.map(|found| format!("{label} {} uses local memory on {on} unannounced", found.entry)));
        complaints
    }
}

/// Compiles every unit for every architecture that has it, on all processors; gives the table and what is wrong.
fn compile_all(units: &[Unit], disassembler: Option<&Disassembler>) -> Result<(Table, Vec<String>)> {
    let jobs: Vec<(&Unit, usize)> = (0..ARCHITECTURES.len())
        .flat_map(|place| units.iter().map(move |unit| (unit, place)))
        .filter(|(unit, place)| unit.exists_for(ARCHITECTURES[*place]))
        .collect();
    let (next, outcomes) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    let work = || {
        while let Some((unit, place)) = jobs.get(next.fetch_add(1, Ordering::Relaxed)) {
            let outcome = Outcome::of(unit, Architecture { number: ARCHITECTURES[*place] }, disassembler);
            outcomes.lock().unwrap_or_else(PoisonError::into_inner).push((*unit, *place, outcome));
        }
    };
    let processors = std::thread::available_parallelism().map_or(1, |n| n.get());
    std::thread::scope(|scope| (0..processors).for_each(|_| drop(scope.spawn(work))));
    let (mut table, mut complaints) = (Table::default(), Vec::new());
    for (unit, place, outcome) in outcomes.into_inner().unwrap_or_else(PoisonError::into_inner) {
        match outcome {
            Ok(outcome) => {
                complaints.extend(table.enter(unit, place, &outcome.log));
                complaints.extend(outcome.complaints(unit, Architecture { number: ARCHITECTURES[place] }));
            }
            Err(error) if matches!(error.kind(), ErrorKind::KernelCompile { .. }) => complaints.push(error.to_string()),
            Err(error) => return Err(error),
        }
    }
    complaints.sort();
    Ok((table, complaints))
}

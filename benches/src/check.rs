//! The whole check of a device: every sample of every op, and every error that the samples expect.

use std::process::ExitCode;

use chainrule::samples;
use chainrule::{Device, Error, Result};
use clap::Args;

/// Which device, and which ops.
#[derive(Args)]
pub(crate) struct Options {
    /// The device: cpu, cuda:0, cuda-emu, wgpu. Default: what CHAINRULE_DEVICE names, else the host.
    #[arg(long)]
    device: Option<String>,
    /// Only ops whose names start with this: softmax. Samples that are made for measuring are skipped.
    #[arg(default_value = "")]
    op: String,
    /// Print every case, not only those that fail.
    #[arg(long)]
    verbose: bool,
}

pub(crate) fn run(options: &Options) -> Result<ExitCode> {
    let device = crate::device(options.device.as_deref())?;
    let (passed, failed, skipped) = check(&device, &options.op, options.verbose)?;
    println!("{passed} passed, {failed} failed, {skipped} skipped on {device}{}", order(&device));
    if let Some((windowed, units)) = windowed(&device) {
        println!("{windowed} of {units} units were bound to operands larger than a binding");
    }
    Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The order in which the emulator runs threads and blocks, where it is not that of their numbers.
fn order(device: &Device) -> String {
    match std::env::var("CHAINRULE_EMU_SEED") {
        Ok(seed) if device.to_string() == "cuda-emu" && !seed.is_empty() => format!(", CHAINRULE_EMU_SEED={seed}"),
        _ => String::new(),
    }
}

/// How many units of a wgpu device had operands in several windows, and how many units there were.
fn windowed(device: &Device) -> Option<(usize, usize)> {
    #[cfg(feature = "wgpu")]
    if let Device::Wgpu(device) = device {
        let units = device.units();
        return Some((units.iter().filter(|unit| unit.has_windows()).count(), units.len()));
    }
    let _ = device;
    None
}

/// The ops whose names start as `op` does, for an op that does not exist.
fn alike(op: &str) -> Result<String> {
    let mut names: Vec<&str> = samples::all()?.iter().map(|sample| sample.op).collect();
    let common = |name: &str| name.chars().zip(op.chars()).take_while(|(a, b)| a == b).count();
    let most = names.iter().map(|name| common(name)).max().unwrap_or(0);
    names.retain(|name| common(name) == most);
    names.sort_unstable();
    names.dedup();
    Ok(names.join(", "))
}

/// Checks all samples whose op starts with `op`; gives how many passed, failed, and were left out because they are
/// made for measuring, or for a dtype that the device does not have.
pub(crate) fn check(device: &Device, op: &str, verbose: bool) -> Result<(usize, usize, usize)> {
    let (mut passed, mut failed, mut skipped) = (0, 0, 0);
    let mut count = |name: String, result: std::result::Result<(), String>| match result {
        Ok(()) => {
            passed += 1;
            if verbose {
                println!("passed  {name}");
            }
        }
        Err(error) => {
            failed += 1;
            println!("FAILED  {name}: {error}{}", order(device));
        }
    };
    for sample in samples::all()?.iter().filter(|sample| sample.op.starts_with(op)) {
        for &dtype in &sample.dtypes {
            if sample.is_bench || !sample.exists_on(device, dtype) {
                skipped += 1;
                continue;
            }
            count(format!("{} ({}) {dtype}", sample.op, sample.case), sample.agrees_with_host(dtype, device));
        }
    }
    for sample in samples::errors()?.iter().filter(|sample| sample.op.starts_with(op)) {
        if sample.exists_on(device) {
            count(format!("{}: {:?}", sample.op, sample.message), sample.fails_on(device));
        } else {
            skipped += 1;
        }
    }
    // A misspelt op must not look like one that passed.
    if passed + failed + skipped == 0 {
        return Err(Error::argument("lab", format!("no op starts with {op:?}; there are {}", alike(op)?)));
    }
    Ok((passed, failed, skipped))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_op_that_does_not_exist_does_not_pass() {
        let error = check(&Device::Cpu, "sofmax", false).unwrap_err().to_string();
        assert!(error.contains("no op starts with \"sofmax\"; there are softmax, softplus"), "{error}");
        let (passed, failed, _) = check(&Device::Cpu, "softmax", false).unwrap();
        assert!(passed > 0 && failed == 0);
    }
}

//! The kernel lab: checks the kernels of every device on the ops' samples, and times them.
//!
//! ```sh
//! cargo run --release -p chainrule-bench -- time attention
//! cargo run --release -p chainrule-bench --features cuda -- check --device cuda-emu
//! cargo run --release -p chainrule-bench --features cuda -- bench --device cuda:0 --rival python3
//! cargo run --release -p chainrule-bench --features wgpu -- bench --device wgpu --dtype f32 --rival burn
//! ```

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program that prints tables, and why there is none")]

mod bench;
mod check;
#[cfg(feature = "cuda")]
mod kernels;
mod time;

use std::process::ExitCode;

use chainrule::{Device, Result};
use clap::{Parser, Subcommand};

/// Checks and times the kernels of chainrule.
#[derive(Parser)]
#[command(version)]
struct Options {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Holds every op of a device against the host, forward and backward, in every dtype.
    Check(check::Options),
    /// Times ops on the shapes that their samples mark for measuring, forward and with backward.
    Time(time::Options),
    /// Times the ops that training spends its time in, beside what the machine can do and beside PyTorch or burn.
    Bench(bench::Options),
    /// Compiles every CUDA kernel for every architecture and lists registers, shared memory and spills.
    #[cfg(feature = "cuda")]
    Kernels(kernels::Options),
}

/// The device of a name; without one, the one that `CHAINRULE_DEVICE` names, else the host.
#[track_caller]
fn device(name: Option<&str>) -> Result<Device> {
    match name {
        Some(name) => Device::from_name(name),
        None => Device::from_env(),
    }
}

fn main() -> ExitCode {
    let result: Result<ExitCode> = match &Options::parse().command {
        Command::Check(options) => check::run(options),
        Command::Time(options) => time::run(options),
        Command::Bench(options) => bench::run(options),
        #[cfg(feature = "cuda")]
        Command::Kernels(options) => kernels::run(options),
    };
    result.unwrap_or_else(|error| {
        eprintln!("error: {error}");
        ExitCode::FAILURE
    })
}

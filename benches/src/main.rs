//! The kernel lab: checks and times the kernels of every device on the ops' samples.
//!
//! ```sh
//! cargo run --release -p chainrule-bench -- bench attention
//! cargo run --release -p chainrule-bench --features cuda -- check --device cuda-emu
//! ```

#![allow(clippy::print_stdout, reason = "a program that prints tables")]

mod bench;
mod check;
#[cfg(feature = "cuda")]
mod kernels;

use std::process::ExitCode;

use chainrule::Result;
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
    /// Times ops on the shapes that their samples mark for measuring.
    Bench(bench::Options),
    /// Compiles every CUDA kernel for every architecture and lists registers, shared memory and spills.
    #[cfg(feature = "cuda")]
    Kernels(kernels::Options),
}

fn main() -> ExitCode {
    let result: Result<ExitCode> = match &Options::parse().command {
        Command::Check(options) => check::run(options),
        Command::Bench(options) => bench::run(options),
        #[cfg(feature = "cuda")]
        Command::Kernels(options) => kernels::run(options),
    };
    result.unwrap_or_else(|error| {
        println!("error: {error}");
        ExitCode::FAILURE
    })
}

//! The kernel lab: times the shapes that the ops' samples mark for measuring.
//!
//! ```sh
//! cargo run --release -p chainrule-bench -- attention
//! ```
//!
//! Each line gives the median of the forward and of the forward with its backward, in milliseconds, after a warm-up.

#![allow(clippy::print_stdout, reason = "a program that prints a table")]

use std::time::{Duration, Instant};

use chainrule::samples::{self, Sample};
use chainrule::{DType, Error, Result, Tape, Tensor, Var};
use clap::Parser;

/// Times the ops of chainrule on the shapes that their samples mark for measuring.
#[derive(Parser)]
struct Options {
    /// Only ops whose names start with this.
    #[arg(default_value = "")]
    op: String,
    /// How long each case is repeated, in seconds.
    #[arg(long, default_value_t = 0.5)]
    seconds: f64,
}

fn main() -> std::process::ExitCode {
    match run(&Options::parse()) {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(error) => {
            println!("error: {error}");
            std::process::ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> Result<()> {
    let samples = samples::all()?;
    let chosen: Vec<_> = samples.iter().filter(|s| s.is_bench && s.op.starts_with(&options.op)).collect();
    if chosen.is_empty() {
        return Err(Error::argument("lab", format!("no op starts with {:?} and has a shape to measure", options.op)));
    }
    println!("{:20} {:30} {:>12} {:>18}", "op", "case", "forward ms", "with backward ms");
    for sample in chosen {
        let inputs = sample.inputs.iter().map(in_f32).collect::<Result<Vec<_>>>()?;
        let forward = median_ms(options.seconds, || evaluate(sample, &inputs))?;
        let both = if sample.has_gradient {
            format!("{:.3}", median_ms(options.seconds, || differentiate(sample, &inputs))?)
        } else {
            "-".into()
        };
        println!("{:20} {:30} {forward:>12.3} {both:>18}", sample.op, sample.case);
    }
    Ok(())
}

fn in_f32(x: &Tensor) -> Result<Tensor> {
    if x.dtype().is_float() { x.to_dtype(DType::F32) } else { Ok(x.clone()) }
}

fn evaluate(sample: &Sample, inputs: &[Tensor]) -> Result<()> {
    (sample.call)(&inputs.iter().map(Var::from).collect::<Vec<_>>()).map(drop)
}

fn differentiate(sample: &Sample, inputs: &[Tensor]) -> Result<()> {
    let tape = Tape::new();
    let leaf = |x: &Tensor| if x.dtype().is_float() { tape.leaf(x.clone()) } else { Var::from(x) };
    let leaves: Vec<Var> = inputs.iter().map(leaf).collect();
    (sample.call)(&leaves)?.sum(.., false)?.backward().map(drop)
}

/// The median time of a call, after one that is not counted.
fn median_ms(seconds: f64, mut call: impl FnMut() -> Result<()>) -> Result<f64> {
    call()?;
    let (start, budget) = (Instant::now(), Duration::from_secs_f64(seconds.max(0.0)));
    let mut times = Vec::new();
    while times.len() < 3 || start.elapsed() < budget {
        let begin = Instant::now();
        call()?;
        times.push(begin.elapsed().as_secs_f64() * 1e3);
    }
    times.sort_by(f64::total_cmp);
    Ok(times[times.len() / 2])
}

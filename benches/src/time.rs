//! Times of ops: the median of the forward and of the forward with its backward, in milliseconds, after a warm-up.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use chainrule::samples::{self, Sample};
use chainrule::{DType, Device, Error, Result, Tape, Tensor, Var};
use clap::Args;

/// Which ops, on which device, for how long.
#[derive(Args)]
pub(crate) struct Options {
    /// Only ops whose names start with this.
    #[arg(default_value = "")]
    op: String,
    /// The device: cpu, cuda:0, cuda-emu. Default: what CHAINRULE_DEVICE names, else the host.
    #[arg(long)]
    device: Option<String>,
    /// How long each case is repeated, in seconds.
    #[arg(long, default_value_t = 0.5)]
    seconds: f64,
}

pub(crate) fn run(options: &Options) -> Result<ExitCode> {
    let device = crate::device(options.device.as_deref())?;
    let samples = samples::all()?;
    let chosen: Vec<_> = samples.iter().filter(|s| s.is_bench && s.op.starts_with(&options.op)).collect();
    if chosen.is_empty() {
        return Err(Error::argument("lab", format!("no op starts with {:?} and has a shape to measure", options.op)));
    }
    println!("{:20} {:30} {:>12} {:>18}", "op", "case", "forward ms", "with backward ms");
    for sample in chosen {
        let inputs = sample.inputs_as(DType::F32, &device)?;
        let forward = median_ms(options.seconds, &device, || evaluate(sample, &inputs))?;
        let both = if sample.has_gradient {
            format!("{:.3}", median_ms(options.seconds, &device, || differentiate(sample, &inputs))?)
        } else {
            "-".into()
        };
        println!("{:20} {:30} {forward:>12.3} {both:>18}", sample.op, sample.case);
    }
    Ok(ExitCode::SUCCESS)
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

/// The median time of a call, until the device has done its work, after one that is not counted.
fn median_ms(seconds: f64, device: &Device, mut call: impl FnMut() -> Result<()>) -> Result<f64> {
    call()?;
    device.synchronize()?;
    let (start, budget) = (Instant::now(), Duration::from_secs_f64(seconds.max(0.0)));
    let mut times = Vec::new();
    while times.len() < 3 || start.elapsed() < budget {
        let begin = Instant::now();
        call()?;
        device.synchronize()?;
        times.push(begin.elapsed().as_secs_f64() * 1e3);
    }
    times.sort_by(f64::total_cmp);
    Ok(times[times.len() / 2])
}

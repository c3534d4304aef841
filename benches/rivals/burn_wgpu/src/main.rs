//! burn's wgpu backend on the cases of `chainrule-bench bench`, measured in the same way.
//!
//! ```sh
//! cargo run --release -- --device gpu --scale full --dtype f32
//! chainrule-bench bench --device wgpu --dtype f32 --rival burn     # both, case by case, with the ratio
//! ```
//!
//! With `--serve` it answers lines `matmul f32 m=64 n=64 k=64` until there are no more, else it goes through
//! `../cases.txt`. An answer is a line of JSON: the rows, or why there are none.

mod measure;
mod ops;

use std::io::{BufRead, Write};
use std::process::ExitCode;

use burn::tensor::{DType, Device, DeviceKind};
use serde_json::{Value, json};

const CASES: &str = include_str!("../../cases.txt");
const USAGE: &str = "options: --device gpu|cpu, --scale full|small, --dtype f32|f16|bf16, --seconds 0.3, --serve";

/// What the command line says.
pub struct Options {
    pub device: Device,
    pub is_small: bool,
    pub seconds: f64,
    dtype: String,
    serves: bool,
}

impl Options {
    fn parse(mut words: impl Iterator<Item = String>) -> Result<Options, String> {
        let device = Device::wgpu(DeviceKind::DefaultDevice);
        let mut options = Options { device, is_small: false, seconds: 0.3, dtype: "f32".into(), serves: false };
        while let Some(word) = words.next() {
            let mut value = || words.next().ok_or(format!("{word} needs a value; {USAGE}"));
            match &word[..] {
                "--serve" => options.serves = true,
                "--device" => match &value()?[..] {
                    // wgpu takes a driver that computes on the processor only where it is asked for.
                    "cpu" => options.device = Device::wgpu(DeviceKind::Cpu),
                    "gpu" => {}
                    other => return Err(format!("no device {other:?}; {USAGE}")),
                },
                "--scale" => options.is_small = value()? == "small",
                "--seconds" => options.seconds = value()?.parse().map_err(|_| USAGE)?,
                "--dtype" => options.dtype = value()?,
                _ => return Err(format!("no option {word:?}; {USAGE}")),
            }
        }
        Ok(options)
    }
}

fn main() -> ExitCode {
    let outcome = Options::parse(std::env::args().skip(1)).and_then(|options| {
        let about = guarded(|| Ok(description(&options)));
        say(&about.map_or_else(|error| json!({ "error": error }), |about| json!({ "ready": about })))?;
        if options.serves { serve(&options) } else { run(&options) }
    });
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Versions and hardware; opens the device.
fn description(options: &Options) -> String {
    let name = options.device.identity().map_or("an adapter without a name".into(), |identity| identity.name);
    format!("burn {} on wgpu ({name})", env!("BURN_VERSION"))
}

fn serve(options: &Options) -> Result<(), String> {
    for line in std::io::stdin().lock().lines() {
        let line = line.map_err(|error| error.to_string())?;
        let mut words = line.splitn(3, ' ');
        let [op, dtype, sizes] = [(); 3].map(|()| words.next().unwrap_or_default());
        say(&answer(options, op, dtype, sizes))?;
    }
    Ok(())
}

/// Goes through the cases of the scale.
fn run(options: &Options) -> Result<(), String> {
    let scale = if options.is_small { "small " } else { "full " };
    for case in CASES.lines().filter_map(|line| line.strip_prefix(scale)) {
        let (op, sizes) = case.split_once(' ').unwrap_or((case, ""));
        let mut answer = answer(options, op, &options.dtype, sizes);
        answer["case"] = case.into();
        say(&answer)?;
    }
    Ok(())
}

fn say(value: &Value) -> Result<(), String> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{value}").and_then(|()| out.flush()).map_err(|error| error.to_string())
}

/// The rows of a case: none where this program does not have the op.
fn answer(options: &Options, op: &str, dtype: &str, sizes: &str) -> Value {
    let sizes: Vec<(&str, usize)> = sizes
        .split_whitespace()
        .filter_map(|size| size.split_once('='))
        .filter_map(|(name, size)| Some((name, size.parse().ok()?)))
        .collect();
    let row = guarded(|| {
        let case = ops::Case { op, sizes: &sizes, dtype: dtype_of(options, dtype)?, device: &options.device };
        let Some(mut sets) = case.sets(options.is_small)? else { return Ok(None) };
        measure::measure(options, &mut sets).map(Some)
    });
    match row {
        Ok(Some(row)) => json!({ "rows": [row] }),
        Ok(None) => json!({ "rows": [] }),
        Err(error) => json!({ "rows": [{ "by": measure::NAME, "error": error }] }),
    }
}

fn dtype_of(options: &Options, name: &str) -> Result<DType, String> {
    let dtype = match name {
        "f32" => DType::F32,
        "f16" => DType::F16,
        "bf16" => DType::BF16,
        "f64" => DType::F64,
        _ => return Err(format!("burn has no dtype {name}")),
    };
    // What a device can store only is computed wrongly there without a word.
    let computes = options.device.supports_dtype(dtype);
    if computes { Ok(dtype) } else { Err(format!("burn does not compute in {name} on this device")) }
}

/// What `f` gives; burn reports with panics, of which the first line becomes the error.
fn guarded<T>(f: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
    let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(f));
    caught.unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string));
        Err(format!("burn panicked: {}", text.unwrap_or_default().lines().next().unwrap_or_default()))
    })
}

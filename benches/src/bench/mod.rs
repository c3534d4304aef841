//! The ops that training spends its time in, timed on a device beside what the machine can do and beside PyTorch or burn.

mod case;
mod clock;
mod measure;
mod rival;
mod statistics;
mod table;
mod work;

use std::path::PathBuf;
use std::process::ExitCode;

use chainrule::{DType, Device, Error, Result};
use clap::Args;
use serde_json::{Value, json};

use case::{CONVENTIONS, Case, Scale, cases};
use measure::measure;
use rival::Rival;
use table::{Ceilings, OWN, Row, head};
use work::calls;

/// What the columns are.
const COLUMNS: &str = "\
Of ceiling: the least time that the copies and the products of this run allow, over the median; which of them limits.
Extra MB: memory in use during a call beyond its inputs. Ratio: the rival's median over chainrule's, so above 1
chainrule is faster. Cases are interleaved with the rival's, one by one.";

/// Which ops, on which device, beside whom.
#[derive(Args)]
pub(crate) struct Options {
    /// The device: cpu, cuda:0, cuda-emu, wgpu. Default: what CHAINRULE_DEVICE names, else the host.
    #[arg(long)]
    device: Option<String>,
    /// Only ops whose names start with one of these, beside those that measure the ceilings: matmul,attention.
    #[arg(long, value_delimiter = ',')]
    op: Vec<String>,
    /// The dtype: bf16, f16, f32, f64. AdamW always runs in f32.
    #[arg(long, default_value = "bf16", value_parser = float)]
    dtype: DType,
    /// How long each case is repeated, in seconds.
    #[arg(long, default_value_t = 0.3)]
    seconds: f64,
    /// The shapes. Default: full on GPUs, small on the emulator and the host.
    #[arg(long)]
    scale: Option<Scale>,
    /// Measure a rival too: PyTorch, under the Python that is named (python3), or burn's wgpu backend (burn).
    ///
    /// The script of PyTorch is part of this program and needs torch alone; on cuda-emu and wgpu it measures the host. By
    /// itself, it is benches/rivals/torch_gpu.py. burn builds the program in benches/rivals/burn_wgpu first, with cargo;
    /// the path of a built burn-wgpu-rival starts that. A rival is handed each case right after chainrule's turn, so that
    /// both see the machine in one state.
    #[arg(long, value_name = "PYTHON|burn")]
    rival: Option<String>,
    /// Write the rows to this file as JSON.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// The float dtype of a name.
fn float(name: &str) -> std::result::Result<DType, String> {
    let found = DType::ALL.into_iter().find(|dtype| dtype.is_float() && dtype.name() == name);
    found.ok_or_else(|| "expected bf16, f16, f32 or f64".to_string())
}

pub(crate) fn run(options: &Options) -> Result<ExitCode> {
    let device = crate::device(options.device.as_deref())?;
    let is_gpu = clock::is_of_gpu(&device);
    let scale = options.scale.unwrap_or(if is_gpu { Scale::Full } else { Scale::Small });
    let cases = cases(scale, &options.op)?;
    let start = |program: &String| Rival::start(program, &device, scale, options.seconds);
    let rival = options.rival.as_ref().map(start).transpose()?;
    let mut run = Run { options, device, scale, rival, ceilings: Ceilings::default(), rows: Vec::new() };
    println!("{}\n\n{CONVENTIONS}\n{COLUMNS}\nClock: {}.\n", run.title(), clock::name(&run.device));
    if !is_gpu {
        println!("These are no times of a GPU, and the ratios say nothing of one: they show that everything runs.\n");
    }
    run.measure(&cases)?;
    Ok(if run.rows.iter().all(Row::is_sound) { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// A run of the suite.
struct Run<'a> {
    options: &'a Options,
    device: Device,
    scale: Scale,
    rival: Option<Rival>,
    ceilings: Ceilings,
    rows: Vec<Row>,
}

impl Run<'_> {
    fn title(&self) -> String {
        let version = env!("CARGO_PKG_VERSION");
        let rival = self.rival.as_ref().map_or(String::new(), |rival| format!(", beside {}", rival.description));
        format!("chainrule {version} on {} ({}){rival}", self.device, hardware(&self.device))
    }

    /// Measures and prints the cases that tell the ceilings, then the others.
    fn measure(&mut self, cases: &[Case]) -> Result<()> {
        let (ceilings, others): (Vec<&Case>, Vec<&Case>) = cases.iter().partition(|case| case.is_ceiling);
        for case in ceilings {
            let rows = self.rows_of(case)?;
            rows.iter().for_each(|row| self.ceilings.take(row));
            self.keep(rows)?;
        }
        println!("{}", head());
        self.rows.iter().for_each(|row| println!("{}", row.line(&self.ceilings)));
        for case in others {
            let rows = self.rows_of(case)?;
            rows.iter().for_each(|row| println!("{}", row.line(&self.ceilings)));
            self.keep(rows)?;
        }
        Ok(())
    }

    /// What chainrule takes for a case, then the rival.
    fn rows_of(&mut self, case: &Case) -> Result<Vec<Row>> {
        let dtype = self.options.dtype;
        // The calls, and with them the inputs, are gone before the rival starts.
        let outcome = calls(case, self.scale, dtype, &self.device)
            .and_then(|mut calls| measure(&self.device, self.options.seconds, &mut calls));
        let own = Row::new(case, dtype, OWN, outcome.map_err(|error| error.to_string()), None)?;
        let own_us = own.median_us();
        let mut rows = vec![own];
        if let Some(rival) = &mut self.rival {
            // A rival that fails, for want of memory say, does not take chainrule's figures with it.
            let answers = rival.measure(case, dtype);
            for (by, outcome) in answers.unwrap_or_else(|error| vec![("rival".into(), Err(error.to_string()))]) {
                rows.push(Row::new(case, dtype, by, outcome, own_us)?);
            }
        }
        Ok(rows)
    }

    /// Adds rows, and writes all so far: a run that is cut short leaves what it measured.
    fn keep(&mut self, rows: Vec<Row>) -> Result<()> {
        self.rows.extend(rows);
        let Some(path) = &self.options.json else { return Ok(()) };
        let text = format!("{:#}\n", self.json());
        std::fs::write(path, text).map_err(|error| Error::io(path.display().to_string(), error))
    }

    fn json(&self) -> Value {
        json!({
            "chainrule": env!("CARGO_PKG_VERSION"),
            "device": self.device.to_string(),
            "hardware": hardware(&self.device),
            "clock": clock::name(&self.device),
            "rival": self.rival.as_ref().map(|rival| &rival.description),
            "conventions": CONVENTIONS,
            "ceilings": { "tflops": self.ceilings.flops / 1e12, "gbps": self.ceilings.bytes / 1e9 },
            "rows": self.rows.iter().map(|row| row.json(&self.ceilings)).collect::<Vec<_>>(),
        })
    }
}

/// What the device calls itself.
fn hardware(device: &Device) -> String {
    match device {
        #[cfg(feature = "cuda")]
        Device::Cuda(cuda) => cuda.model().into(),
        #[cfg(feature = "wgpu")]
        Device::Wgpu(wgpu) => wgpu.model(),
        _ => "the host's processor".into(),
    }
}

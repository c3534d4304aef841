//! The command line.

use std::path::PathBuf;
use std::process::exit;

use chainrule::prelude::*;
use clap::error::ErrorKind;
use clap::{CommandFactory, Parser, ValueEnum};

use crate::common::{at_least_one, positive};

/// Train a GPT on the characters of a text, then let it write.
#[derive(Parser)]
#[command(name = "train_gpt")]
pub(crate) struct Options {
    /// A UTF-8 text; its last tenth is held out for validation [default: Shakespeare, shipped with the examples]
    #[arg(long)]
    pub(crate) text: Option<PathBuf>,
    /// Where to compute [default: CHAINRULE_DEVICE, or cpu]
    #[arg(long)]
    pub(crate) device: Option<String>,
    /// Launch each step as one CUDA graph (cuda:N and cuda-emu)
    #[arg(long)]
    pub(crate) graph: bool,
    /// nanoGPT's small model for the CPU, or its larger one
    #[arg(long, value_enum, default_value = "cpu")]
    preset: Preset,
    /// Training steps [default: 2000; baby: 5000]
    #[arg(long, value_parser = at_least_one)]
    steps: Option<usize>,
    /// Decides everything that is random
    #[arg(long, default_value_t = 1337)]
    pub(crate) seed: u64,
    /// Transformer blocks [default: 4; baby: 6]
    #[arg(long, value_parser = at_least_one)]
    layers: Option<usize>,
    /// Heads of attention in each block; they divide the width [default: 4; baby: 6]
    #[arg(long, value_parser = at_least_one)]
    heads: Option<usize>,
    /// Width of the residual stream [default: 128; baby: 384]
    #[arg(long, value_parser = at_least_one)]
    width: Option<usize>,
    /// Characters that the model sees at once [default: 64; baby: 256]
    #[arg(long, value_parser = at_least_one)]
    context: Option<usize>,
    /// Windows of text in each step [default: 12; baby: 64]
    #[arg(long, value_parser = at_least_one)]
    batch: Option<usize>,
    /// Highest learning rate; it falls to a tenth
    #[arg(long, default_value_t = 1e-3, value_parser = positive)]
    pub(crate) lr: f64,
    /// Where the metrics, the loss curve and the checkpoint go
    #[arg(long, default_value = "runs/train_gpt")]
    pub(crate) out: PathBuf,
    /// Continue from the checkpoint in --out, with the same options
    #[arg(long)]
    pub(crate) resume: bool,
    /// Characters to write at the end
    #[arg(long, default_value_t = 500)]
    pub(crate) sample: usize,
    /// Below 1 the text is more cautious, above 1 wilder
    #[arg(long, default_value_t = 0.8, value_parser = positive)]
    pub(crate) temperature: f64,
    /// Draw from the likeliest so many characters only
    #[arg(long, value_parser = at_least_one)]
    pub(crate) top_k: Option<usize>,
}

#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum Preset {
    /// 4 layers, 4 heads, width 128, context 64, batch 12, 2000 steps
    Cpu,
    /// 6 layers, 6 heads, width 384, context 256, batch 64, 5000 steps, dropout 0.2
    Baby,
}

/// Sizes and lengths with the preset's values where none are given.
pub(crate) struct Sizes {
    pub(crate) layers: usize,
    pub(crate) heads: usize,
    pub(crate) width: usize,
    pub(crate) context: usize,
    pub(crate) batch: usize,
    pub(crate) steps: u64,
    pub(crate) dropout: f64,
}

impl Options {
    /// The options of this process; leaves with code 2 where they make no sense.
    pub(crate) fn from_command_line() -> Options {
        let options = Options::parse();
        let Sizes { heads, width, .. } = options.sizes();
        if !width.is_multiple_of(heads) {
            let message = format!("--width {width} does not divide into --heads {heads}");
            let _ = Options::command().error(ErrorKind::ValueValidation, message).print();
            exit(2);
        }
        options
    }

    /// The sizes of the model and of the training.
    pub(crate) fn sizes(&self) -> Sizes {
        let [layers, heads, width, context, batch, steps] = match self.preset {
            Preset::Cpu => [4, 4, 128, 64, 12, 2000],
            Preset::Baby => [6, 6, 384, 256, 64, 5000],
        };
        Sizes {
            layers: self.layers.unwrap_or(layers),
            heads: self.heads.unwrap_or(heads),
            width: self.width.unwrap_or(width),
            context: self.context.unwrap_or(context),
            batch: self.batch.unwrap_or(batch),
            steps: self.steps.unwrap_or(steps) as u64,
            dropout: if matches!(self.preset, Preset::Baby) { 0.2 } else { 0.0 },
        }
    }

    /// Where to compute.
    pub(crate) fn device(&self) -> Result<Device> {
        match &self.device {
            Some(name) => Device::from_name(name),
            None => Device::from_env(),
        }
    }
}

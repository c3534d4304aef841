//! Trains a GPT on the characters of a text, then lets it write.
//!
//! `cargo run --release --example train_gpt` learns Shakespeare in nanoGPT's setting for the CPU.

#[path = "../common/mod.rs"]
mod common;
mod options;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use chainrule::nn::optim::WarmupCosine;
use chainrule::nn::text::{CharTokenizer, Windows, read_text};
use chainrule::nn::train::MetricsCsv;
use chainrule::nn::{Generation, checkpoint};
use chainrule::prelude::*;
use common::{Progress, Steps, exit_code, plot_losses, say};
use options::{Options, Sizes};
use serde::{Deserialize, Serialize};

const DATA: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/data/text_en");
const COLUMNS: [&str; 5] = ["step", "train_loss", "val_loss", "lr", "tokens_per_s"];
const WARMUP_STEPS: u64 = 100;
const EVAL_EVERY: u64 = 250;

/// All that a checkpoint holds beside weights and optimiser.
#[derive(Serialize, Deserialize)]
struct Run {
    config: GptConfig,
    tokenizer: CharTokenizer,
    step: u64,
    rng: [u64; 3],
}

fn main() -> ExitCode {
    exit_code(train(&Options::from_command_line()))
}

fn train(options: &Options) -> Result<()> {
    let (device, sizes) = (options.device()?, options.sizes());
    let mut launched = Steps::new(&device, options.graph)?;
    let (train_text, val_text) = texts(options)?;
    let tokenizer = CharTokenizer::new(&format!("{train_text}{val_text}"));
    let train = Windows::new(tokenizer.encode(&train_text)?, sizes.context)?;
    let val = Windows::new(tokenizer.encode(&val_text)?, sizes.context)?.consecutive(sizes.batch, &device)?;

    let mut rng = Rng::seed(options.seed);
    let config = config(&sizes, tokenizer.vocab_size());
    let mut model = Gpt::new(config, &mut rng)?.to_device(&device)?;
    let mut adam = AdamW::new(options.lr).betas(0.9, 0.99).weight_decay(0.1).no_decay_below_rank(2);
    let schedule =
        WarmupCosine { base: options.lr, least: options.lr / 10.0, warmup: WARMUP_STEPS, steps: sizes.steps };

    let file = |name| options.out.join(name);
    std::fs::create_dir_all(file("")).map_err(|error| Error::io(format!("making {}", file("").display()), error))?;
    let mut run = Run { config, tokenizer, step: 0, rng: rng.state() };
    if options.resume && file("checkpoint.safetensors").exists() {
        let saved: Run = checkpoint::state(file("checkpoint.safetensors"))?;
        check_same(&saved, &run)?;
        run = checkpoint::load(file("checkpoint.safetensors"), &mut model, &mut adam)?;
        rng = Rng::from_state(run.rng);
    }
    let mut metrics = MetricsCsv::open(file("metrics.csv"), &COLUMNS, options.resume.then_some(run.step))?;
    say(model.summary());
    let (mut time, mut steps) = (Duration::ZERO, 0);
    let progress = Progress::new(sizes.steps, run.step);
    while run.step < sizes.steps {
        let (start, lr) = (Instant::now(), schedule.at(run.step));
        let (x, y) = train.random_batch(sizes.batch, &mut rng, &device)?;
        adam.set_lr(lr);
        let loss = launched.run(|| {
            let loss = model.on(&Tape::training(rng.fork())).loss(&x, &y)?;
            let mut grads = loss.backward()?;
            clip_grad_norm(&mut grads, 1.0)?;
            adam.step(&mut model, &grads)?;
            Ok(loss)
        })?;
        let loss = loss.item::<f32>()?.into();
        (run.step, run.rng) = (run.step + 1, rng.state());
        (time, steps) = (time + start.elapsed(), steps + 1);
        let speed = (steps * x.elements()) as f64 / time.as_secs_f64();
        progress.step(run.step, loss, speed, time / steps as u32);
        let is_eval = run.step.is_multiple_of(EVAL_EVERY) || run.step == sizes.steps;
        let val_loss = if is_eval { Some(evaluate(&model, &val)?) } else { None };
        metrics.row(run.step, &[Some(loss), val_loss, Some(lr), Some(speed.round())])?;
        if let Some(val_loss) = val_loss {
            progress.say(&format!("step {}/{}  validation loss {val_loss:.4}", run.step, sizes.steps));
            checkpoint::save(file("checkpoint.safetensors"), &model, &adam, &run)?;
            plot_losses(&file("metrics.csv"), &file("curve.svg"))?;
        }
    }
    progress.finish();
    say(write(options, &model, &run.tokenizer, &mut rng)?);
    say(last_line(&MetricsCsv::read(file("metrics.csv"))?));
    Ok(())
}

/// The text to train on and the text held out.
fn texts(options: &Options) -> Result<(String, String)> {
    let Some(path) = &options.text else {
        return Ok((
            read_text(format!("{DATA}/shakespeare_train.txt"))?,
            read_text(format!("{DATA}/shakespeare_val.txt"))?,
        ));
    };
    let text = read_text(path)?;
    let (train, val) = text.split_at(text.floor_char_boundary(text.len() / 10 * 9));
    Ok((train.into(), val.into()))
}

fn config(sizes: &Sizes, vocab_size: usize) -> GptConfig {
    let Sizes { layers, heads, width, context, dropout, .. } = *sizes;
    GptConfig { vocab_size, context, layers, heads, width, dropout, bias: false }
}

/// Refuses to continue with another model or another text.
fn check_same(saved: &Run, now: &Run) -> Result<()> {
    if saved.config != now.config {
        let message = format!("the checkpoint has {:?}, the options give {:?}", saved.config, now.config);
        return Err(Error::argument("resume", message));
    }
    if saved.tokenizer != now.tokenizer {
        return Err(Error::argument("resume", "the checkpoint was trained on a text with other characters"));
    }
    Ok(())
}

/// The mean loss of every token of the text held out.
fn evaluate(model: &Gpt, batches: &[(Tensor, Tensor)]) -> Result<f64> {
    let (mut sum, mut tokens) = (0.0, 0);
    for (x, y) in batches {
        sum += f64::from(model.loss(x, y)?.item::<f32>()?) * x.elements() as f64;
        tokens += x.elements();
    }
    Ok(sum / tokens as f64)
}

/// Text by the model, begun with a line end or the first character there is.
fn write(options: &Options, model: &Gpt, tokenizer: &CharTokenizer, rng: &mut Rng) -> Result<String> {
    let prompt = tokenizer.encode("\n").unwrap_or(vec![0]);
    let draw = Generation { tokens: options.sample, temperature: options.temperature, top_k: options.top_k };
    tokenizer.decode(&model.generate(&prompt, &draw, rng)?[1..])
}

/// What the run came to, from its metrics.
fn last_line(rows: &[(u64, Vec<Option<f64>>)]) -> String {
    let last = |cell: usize| rows.iter().rev().find_map(|(_, cells)| cells[cell]).unwrap_or(f64::NAN);
    let (steps, speed) = (rows.last().map_or(0, |(step, _)| *step), last(3));
    format!("final: steps={steps} train_loss={:.4} val_loss={:.4} tokens_per_s={speed:.0}", last(0), last(1))
}

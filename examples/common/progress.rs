//! A progress bar, or plain lines where the output is no terminal.

use std::io::IsTerminal;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

/// How many steps lie between two plain lines.
const LINE_EVERY: u64 = 50;

/// The progress of a training run.
pub(crate) struct Progress {
    bar: Option<ProgressBar>,
    total: u64,
}

impl Progress {
    /// A run of `total` steps of which `done` are done.
    pub(crate) fn new(total: u64, done: u64) -> Progress {
        let is_terminal = std::io::stdout().is_terminal() && std::io::stderr().is_terminal();
        let bar = is_terminal.then(|| ProgressBar::new(total).with_position(done));
        if let Some(bar) = &bar
            && let Ok(style) = ProgressStyle::with_template("{bar:30} {pos}/{len} {msg} {eta} left")
        {
            bar.set_style(style);
        }
        Progress { bar, total }
    }

    /// Shows a step that took `time`.
    pub(crate) fn step(&self, step: u64, loss: f64, tokens_per_s: f64, time: Duration) {
        match &self.bar {
            Some(bar) => {
                bar.set_position(step);
                bar.set_message(format!("loss {loss:.3} {tokens_per_s:.0} tokens/s"));
            }
            None if step.is_multiple_of(LINE_EVERY) || step == self.total => {
                let left = time.as_secs_f64() * self.total.saturating_sub(step) as f64;
                let speed = format!("{tokens_per_s:.0} tokens/s  {left:.0} s left");
                super::say(format!("step {step}/{}  loss {loss:.4}  {speed}", self.total));
            }
            None => {}
        }
    }

    /// Shows a line above the bar.
    pub(crate) fn say(&self, line: &str) {
        match &self.bar {
            Some(bar) => bar.suspend(|| super::say(line)),
            None => super::say(line),
        }
    }

    /// Takes the bar away.
    pub(crate) fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

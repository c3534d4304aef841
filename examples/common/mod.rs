//! What the training programs share: progress on the terminal, and a picture of the loss.

mod plot;
mod progress;
mod steps;

use std::io::Write;
use std::process::ExitCode;

pub(crate) use plot::plot_losses;
pub(crate) use progress::Progress;
pub(crate) use steps::Steps;

/// Prints a line; a reader that has gone away is no error.
pub(crate) fn say(line: impl std::fmt::Display) {
    let _ = writeln!(std::io::stdout(), "{line}");
}

/// 0, or 1 after the error is printed.
pub(crate) fn exit_code(result: chainrule::Result<()>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// A whole number that is not 0, for the command line.
pub(crate) fn at_least_one(text: &str) -> Result<usize, String> {
    text.parse().ok().filter(|&number| number > 0).ok_or_else(|| "expected a whole number of at least 1".into())
}

/// A number above 0, for the command line.
pub(crate) fn positive(text: &str) -> Result<f64, String> {
    text.parse()
        .ok()
        .filter(|&number: &f64| number > 0.0 && number.is_finite())
        .ok_or_else(|| "expected a number above 0".into())
}

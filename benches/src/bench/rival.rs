//! A rival in a process of its own, asked for one case at a time: the script of PyTorch, or the program of burn.
//!
//! The script is part of this program, so that the program alone can be copied to another machine; that of burn is built
//! where it lies, `rivals/burn_wgpu`, or was copied too. A rival is given one line for each case,
//! `matmul bf16 m=64 n=64 k=64`, and answers with one line of JSON: its rows, or why there are none.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use chainrule::{DType, Device, Error, ErrorKind, Result};
use serde_json::Value;

use super::case::{Case, Scale};
use super::clock;
use super::measure::Timing;
use super::statistics::Spread;

const SCRIPT: &str = include_str!("../../rivals/torch_gpu.py");
/// Where burn's program is built from.
const BURN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/rivals/burn_wgpu/Cargo.toml");

/// What a rival is called, and what it took or why it gave no result.
pub(crate) type Answer = (String, std::result::Result<Timing, String>);

pub(crate) struct Rival {
    child: Child,
    /// `None` once the child is told to end.
    questions: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
    /// Versions and hardware, in its own words.
    pub(crate) description: String,
}

impl Rival {
    /// Starts the rival that `program` names: `burn`, which is built before, or what was built of it
    /// (`burn-wgpu-rival`), or an interpreter for the script of PyTorch.
    pub(crate) fn start(program: &str, device: &Device, scale: Scale, seconds: f64) -> Result<Rival> {
        let is_burn = Path::new(program).file_name().is_some_and(|name| name.to_string_lossy().starts_with("burn"));
        let mut command = if is_burn { burn(program, device)? } else { torch(program, device) };
        command.args(["--serve", "--seconds", &seconds.to_string()]);
        if scale == Scale::Small {
            command.args(["--scale", "small"]);
            command.args((!is_burn).then_some("--no-compile"));
        }
        let spawned = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        let mut child = spawned.map_err(|error| Error::io(format!("cannot start the rival {program:?}"), error))?;
        let (Some(questions), Some(answers)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(broken("it was started without pipes"));
        };
        let answers = BufReader::new(answers);
        let mut rival = Rival { child, questions: Some(questions), answers, description: String::new() };
        let greeting = rival.answer()?;
        rival.description = greeting["ready"].as_str().map(String::from).ok_or_else(|| refusal(&greeting))?;
        Ok(rival)
    }

    /// What the rival takes for a case, one answer for each of its implementations.
    pub(crate) fn measure(&mut self, case: &Case, dtype: DType) -> Result<Vec<Answer>> {
        let question = format!("{} {} {}\n", case.op, case.dtype(dtype), case.sizes);
        let Some(questions) = &mut self.questions else { return Err(broken("it has been told to end")) };
        let asked = questions.write_all(question.as_bytes()).and_then(|()| questions.flush());
        asked.map_err(|error| Error::io("cannot ask the rival", error))?;
        answers(&self.answer()?)
    }

    /// The next line; other lines, which libraries print, are passed over.
    fn answer(&mut self) -> Result<Value> {
        loop {
            let mut line = String::new();
            let read = self.answers.read_line(&mut line);
            if read.map_err(|error| Error::io("cannot read from the rival", error))? == 0 {
                return Err(broken("it ended; what it said stands above"));
            }
            if let Ok(answer @ Value::Object(_)) = serde_json::from_str(&line) {
                return Ok(answer);
            }
        }
    }
}

impl Drop for Rival {
    fn drop(&mut self) {
        // The end of its questions ends the script. How it ends says nothing about the rows it gave.
        self.questions = None;
        let _ = self.child.wait();
    }
}

/// The script of PyTorch under the interpreter `python`.
fn torch(python: &str, device: &Device) -> Command {
    let name = device.to_string();
    let mut command = Command::new(python);
    // The rival of the emulator is PyTorch on the host.
    command.args(["-c", SCRIPT, "--device", if name.starts_with("cuda:") { &name } else { "cpu" }]);
    command
}

/// The program of burn, for the same kind of adapter as chainrule's.
fn burn(program: &str, device: &Device) -> Result<Command> {
    if device.to_string() != "wgpu" {
        return Err(broken(&format!("burn is measured on wgpu, and this is {device}; give --device wgpu")));
    }
    let is_gpu = clock::is_of_gpu(device);
    let mut command = Command::new(program);
    if program == "burn" {
        command = Command::new(std::env::var("CARGO").unwrap_or("cargo".into()));
        command.args(["run", "--release", "--manifest-path", BURN]);
        // Drivers that compute on the processor do not take all of the SPIR-V that burn makes.
        command.args((!is_gpu).then_some("--no-default-features")).arg("--");
    }
    command.args(["--device", if is_gpu { "gpu" } else { "cpu" }]);
    Ok(command)
}

/// The rows of an answer.
fn answers(answer: &Value) -> Result<Vec<Answer>> {
    let rows = answer["rows"].as_array().ok_or_else(|| refusal(answer))?;
    rows.iter().map(|row| Ok((row["by"].as_str().unwrap_or("rival").to_string(), outcome(row)))).collect()
}

fn outcome(row: &Value) -> std::result::Result<Timing, String> {
    let number =
        |name: &str| row[name].as_f64().ok_or_else(|| row["error"].as_str().unwrap_or("no figure").to_string());
    let us = Spread { median: number("median_us")?, p10: number("p10_us")?, p90: number("p90_us")? };
    Ok(Timing { us, extra_bytes: row["extra_bytes"].as_u64() })
}

#[track_caller]
fn refusal(answer: &Value) -> Error {
    broken(answer["error"].as_str().unwrap_or("it gave an answer without rows"))
}

#[track_caller]
fn broken(message: &str) -> Error {
    Error::new(ErrorKind::Device(format!("the rival: {message}")))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn answers_are_read() {
        let answer = json!({ "rows": [
            { "by": "torch flash", "median_us": 2.0, "p10_us": 1.5, "p90_us": 3, "extra_bytes": 64 },
            { "by": "torch cudnn", "error": "no kernel" },
        ]});
        let us = Spread { median: 2.0, p10: 1.5, p90: 3.0 };
        let expected = [
            ("torch flash".to_string(), Ok(Timing { us, extra_bytes: Some(64) })),
            ("torch cudnn".to_string(), Err("no kernel".to_string())),
        ];
        assert_eq!(answers(&answer).unwrap(), expected);
        let error = answers(&json!({ "error": "out of memory" })).unwrap_err().to_string();
        assert!(error.contains("the rival: out of memory"), "{error}");
    }

    #[test]
    fn an_interpreter_that_is_not_there_is_named() {
        let Err(error) = Rival::start("no-such-python", &Device::Cpu, Scale::Small, 0.0) else { panic!("it started") };
        assert!(error.to_string().contains("cannot start the rival \"no-such-python\""), "{error}");
    }

    #[test]
    fn burn_is_no_rival_of_the_host() {
        for program in ["burn", "target/release/burn-wgpu-rival"] {
            let Err(error) = Rival::start(program, &Device::Cpu, Scale::Small, 0.0) else { panic!("it started") };
            assert!(error.to_string().contains("and this is cpu; give --device wgpu"), "{error}");
        }
    }

    #[test]
    fn a_rival_may_have_no_row_for_a_case() {
        assert_eq!(answers(&json!({ "rows": [] })).unwrap(), []);
    }
}

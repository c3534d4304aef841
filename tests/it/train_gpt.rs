//! The example program as its users meet it: exit codes, messages, files, and runs that are interrupted.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

const STEPS: usize = 600;
const FIRST_CHECKPOINT: usize = 250;
const SIZES: [&str; 12] =
    ["--layers", "1", "--heads", "1", "--width", "8", "--context", "8", "--batch", "2", "--sample", "20"];

/// The program that `cargo test` builds beside the tests.
pub(crate) fn program() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let folder = test.parent().and_then(Path::parent).expect("a test lies in target/<profile>/deps");
    let program = folder.join("examples").join(format!("train_gpt{}", std::env::consts::EXE_SUFFIX));
    assert!(program.exists(), "{} is missing: build it with cargo build --example train_gpt", program.display());
    program
}

/// A folder for one test, with a text to learn in it.
pub(crate) fn folder() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("text.txt"), "the cat sat on the mat, and the dog sat on the log.\n".repeat(20))
        .unwrap();
    folder
}

/// The small model on the text of `folder`, writing to `out` in it.
fn training(folder: &Path, out: &str) -> Command {
    let mut command = Command::new(program());
    command.env_remove("CHAINRULE_DEVICE").stdin(Stdio::null()).args(SIZES);
    command.arg("--steps").arg(STEPS.to_string()).arg("--out").arg(folder.join(out));
    command
}

fn with_text(folder: &Path, out: &str) -> Command {
    let mut command = training(folder, out);
    command.arg("--text").arg(folder.join("text.txt"));
    command
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Runs to the end, which has to be a success, and gives what was printed.
pub(crate) fn succeed(mut command: Command) -> String {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{:?}\n{}", output.status, text(&output.stderr));
    text(&output.stdout)
}

/// Runs to an end with this exit code and a message that contains `words`.
pub(crate) fn fail(mut command: Command, code: i32, words: &[&str]) {
    let Output { status, stdout, stderr } = command.output().unwrap();
    let message = text(&stderr);
    assert_eq!(status.code(), Some(code), "{message}");
    assert!(message.starts_with("error: "), "{message}");
    assert!(!message.contains("panicked"), "{message}");
    for word in words {
        assert!(message.contains(word), "no {word:?} in {message}");
    }
    assert!(!text(&stdout).contains("final:"), "a run that failed came to a result");
}

fn checkpoint(folder: &Path, out: &str) -> PathBuf {
    folder.join(out).join("checkpoint.safetensors")
}

fn metrics(folder: &Path, out: &str) -> Vec<String> {
    let table = fs::read_to_string(folder.join(out).join("metrics.csv")).unwrap();
    table.lines().map(str::to_string).collect()
}

/// The rows without the speed, which is another each time.
fn without_speed(rows: &[String]) -> Vec<&str> {
    rows.iter().map(|row| row.rsplit_once(',').unwrap().0).collect()
}

/// Kills a run as soon as it has a checkpoint. Gives false where the run was over before that.
fn interrupt(folder: &Path, out: &str) -> bool {
    let _ = fs::remove_dir_all(folder.join(out));
    let mut child = with_text(folder, out).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let deadline = Instant::now() + Duration::from_secs(120);
    while !checkpoint(folder, out).exists() && Instant::now() < deadline && child.try_wait().unwrap().is_none() {
        std::thread::sleep(Duration::from_millis(1));
    }
    child.kill().unwrap();
    let status = child.wait().unwrap();
    assert!(checkpoint(folder, out).exists(), "no checkpoint, {status}");
    !status.success()
}

#[test]
fn a_killed_run_continues_to_the_same_bytes() {
    let folder = folder();
    let folder = folder.path();
    succeed(with_text(folder, "whole"));
    let whole = fs::read(checkpoint(folder, "whole")).unwrap();
    // A machine under load may let a run finish before it is killed.
    let is_partial = || interrupt(folder, "killed") && fs::read(checkpoint(folder, "killed")).unwrap() != whole;
    assert!((0..10).any(|_| is_partial()), "every run was over before it could be killed");

    let before = metrics(folder, "killed");
    let mut resumed = with_text(folder, "killed");
    resumed.arg("--resume");
    succeed(resumed);
    assert!(fs::read(checkpoint(folder, "killed")).unwrap() == whole, "the resumed run came to other bytes");
    let after = metrics(folder, "killed");
    assert_eq!(without_speed(&after), without_speed(&metrics(folder, "whole")));
    // A run that had begun anew would have come to the same bytes, but not at the same speeds.
    assert_eq!(before[..=FIRST_CHECKPOINT], after[..=FIRST_CHECKPOINT]);
}

#[test]
fn a_run_reports_its_result_and_every_step() {
    let folder = folder();
    let printed = succeed(with_text(folder.path(), "out"));
    let last = printed.lines().last().unwrap();
    assert!(last.starts_with(&format!("final: steps={STEPS} ")), "{last}");

    let table = metrics(folder.path(), "out");
    assert_eq!(table[0], "step,train_loss,val_loss,lr,tokens_per_s");
    let steps: Vec<usize> = table[1..].iter().map(|row| row.split(',').next().unwrap().parse().unwrap()).collect();
    assert_eq!(steps, (1..=STEPS).collect::<Vec<_>>());
    assert!(folder.path().join("out/curve.svg").exists());
}

#[test]
fn wrong_options_exit_with_2() {
    let run = |options: &[&str], word: &str| {
        let mut command = Command::new(program());
        command.args(options);
        fail(command, 2, &[word]);
    };
    run(&["--colour", "red"], "--colour");
    run(&["--heads", "3", "--width", "8"], "--heads 3");
    run(&["--steps", "0"], "at least 1");
    run(&["--batch", "-1"], "-1");
    run(&["--lr", "NaN"], "above 0");
    run(&["--temperature", "0"], "above 0");
    run(&["--preset", "huge"], "huge");
    run(&["--seed", "many"], "many");
}

#[test]
fn a_device_that_is_not_there_exits_with_1_and_says_where_it_was_asked_for() {
    let folder = folder();
    let words = ["no device \"abacus\"", "it has: cpu", "examples/train_gpt/options.rs"];
    let mut by_option = with_text(folder.path(), "out");
    by_option.args(["--device", "abacus"]);
    fail(by_option, 1, &words);
    let mut by_variable = with_text(folder.path(), "out");
    by_variable.env("CHAINRULE_DEVICE", "abacus");
    fail(by_variable, 1, &words);
}

#[test]
fn texts_that_cannot_be_learnt_exit_with_1() {
    let folder = folder();
    let folder = folder.path();
    let run = |file: &str, words: &[&str]| {
        let mut command = training(folder, "out");
        command.arg("--text").arg(folder.join(file));
        fail(command, 1, words);
    };
    run("missing.txt", &["missing.txt"]);
    run("", &["reading"]);
    fs::write(folder.join("latin1.txt"), b"caf\xe9 ".repeat(100)).unwrap();
    run("latin1.txt", &["latin1.txt", "UTF-8"]);
    fs::write(folder.join("short.txt"), "short").unwrap();
    run("short.txt", &["a context of 8"]);
    fs::write(folder.join("empty.txt"), "").unwrap();
    run("empty.txt", &["a context of 8"]);
    assert!(!folder.join("out").exists(), "nothing is written before the text is known to do");
}

#[test]
fn an_output_path_that_is_a_file_exits_with_1() {
    let folder = folder();
    fs::write(folder.path().join("out"), "mine").unwrap();
    fail(with_text(folder.path(), "out"), 1, &["out"]);
    assert_eq!(fs::read(folder.path().join("out")).unwrap(), b"mine");
}

#[test]
fn checkpoints_that_do_not_fit_exit_with_1() {
    let folder = folder();
    let folder = folder.path();
    let small = |file: &str, width: &str| {
        let mut command = Command::new(program());
        command.env_remove("CHAINRULE_DEVICE").args([
            "--layers",
            "1",
            "--heads",
            "1",
            "--context",
            "8",
            "--batch",
            "2",
        ]);
        command.args(["--steps", "1", "--sample", "1", "--width", width, "--text"]).arg(folder.join(file));
        command.arg("--out").arg(folder.join("out"));
        command
    };
    let resume = |file: &str, width: &str, words: &[&str]| {
        let mut command = small(file, width);
        command.arg("--resume");
        fail(command, 1, words);
    };
    succeed(small("text.txt", "8"));
    let path = checkpoint(folder, "out");
    let whole = fs::read(&path).unwrap();
    resume("text.txt", "16", &["the checkpoint has", "width: 8", "width: 16"]);
    fs::write(folder.join("other.txt"), "THE CAT SAT ON THE MAT, AND THE DOG SAT ON THE LOG.\n".repeat(20)).unwrap();
    resume("other.txt", "8", &["other characters"]);
    assert!(fs::read(&path).unwrap() == whole, "a run that failed changed the checkpoint");

    for length in [0, 4, 8, 100, whole.len() / 2, whole.len() - 1] {
        fs::write(&path, &whole[..length]).unwrap();
        resume("text.txt", "8", &["checkpoint.safetensors"]);
    }
    fs::write(&path, b"not a checkpoint at all").unwrap();
    resume("text.txt", "8", &["checkpoint.safetensors"]);
}

/// Training on another device is the same training: losses agree to 1e-4 (f32 sums in another order) over three steps,
/// and to 1e-3 over twenty, in which such differences grow. The emulator is too slow for those.
#[cfg(any(feature = "cuda", feature = "wgpu"))]
#[test]
fn every_device_gives_the_losses_of_the_host() {
    let folder = folder();
    let losses = |device: &str, steps: usize| -> Vec<f64> {
        let mut command = Command::new(program());
        command.env_remove("CHAINRULE_DEVICE").stdin(Stdio::null()).args(["--device", device, "--sample", "20"]);
        command.args(["--layers", "2", "--heads", "2", "--width", "32", "--context", "16", "--batch", "2"]);
        let out = format!("{device}-{steps}");
        command.arg("--steps").arg(steps.to_string()).arg("--out").arg(folder.path().join(&out));
        command.arg("--text").arg(folder.path().join("text.txt"));
        succeed(command);
        let fields = |row: &String| row.split(',').skip(1).take(2).filter_map(|x| x.parse().ok()).collect::<Vec<f64>>();
        metrics(folder.path(), &out).iter().skip(1).flat_map(fields).collect()
    };
    for device in crate::devices::devices() {
        let device = device.to_string();
        let (steps, tolerance) = if device == "cuda-emu" { (3, 1e-4) } else { (20, 1e-3) };
        let (got, want) = (losses(&device, steps), losses("cpu", steps));
        assert_eq!(want.len(), steps + 1, "the losses of training and one of validation");
        let close = got.len() == want.len() && got.iter().zip(&want).all(|(got, want)| (got - want).abs() < tolerance);
        assert!(close, "{device}: {got:?}, on the host {want:?}");
    }
}

/// Each step as one graph is the same training to the last bit. Three steps: the first makes the optimiser's state, the
/// others change a graph that is there.
#[cfg(feature = "cuda")]
#[test]
fn a_step_as_a_graph_gives_the_same_bytes() {
    let folder = folder();
    let folder = folder.path();
    let run = |device: &str, out: &str, graph: &[&str]| {
        let mut command = Command::new(program());
        command.env_remove("CHAINRULE_DEVICE").stdin(Stdio::null()).args(["--steps", "3", "--device", device]);
        command.args(["--layers", "2", "--heads", "2", "--width", "32", "--context", "16", "--batch", "2"]);
        command.args(["--sample", "5"]).args(graph);
        command.arg("--text").arg(folder.join("text.txt")).arg("--out").arg(folder.join(out));
        command
    };
    let devices = crate::devices::devices();
    for device in devices.iter().map(ToString::to_string).filter(|device| device.starts_with("cuda")) {
        succeed(run(&device, "plain", &[]));
        succeed(run(&device, "graph", &["--graph"]));
        let losses = |out: &str| without_speed(&metrics(folder, out)).join("\n");
        assert_eq!(losses("graph"), losses("plain"), "{device}");
        let bytes = |out: &str| fs::read(checkpoint(folder, out)).unwrap();
        assert!(bytes("graph") == bytes("plain"), "{device}: other weights");
    }
    fail(run("cpu", "out", &["--graph"]), 1, &["--graph: cpu launches no graphs", "cuda-emu"]);
}

#[cfg(feature = "cuda")]
#[test]
fn the_emulator_without_a_compiler_exits_with_1_and_names_it() {
    let folder = folder();
    let mut command = with_text(folder.path(), "out");
    command.args(["--device", "cuda-emu"]).env("CHAINRULE_CXX", "/nonexistent/c++");
    fail(command, 1, &["found none: tried /nonexistent/c++", "CHAINRULE_CXX", "examples/train_gpt/options.rs"]);
}

//! Disks that are full: what the kernel refuses to write is an error that names the file, and what was there stays.
//!
//! A limit on the size of files (`ulimit -f`) makes a write fail half-way, on any file system and without rights. Where
//! user namespaces exist, a file system of one megabyte is filled too.

#![cfg(target_os = "linux")]

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use chainrule::nn::train::MetricsCsv;

use crate::train_gpt::{fail, folder, program, succeed, text};

/// A model whose checkpoint takes 600 kB.
const SIZES: [&str; 12] =
    ["--layers", "1", "--heads", "2", "--width", "64", "--context", "8", "--batch", "2", "--sample", "1"];

/// The options of a run with results in `out`.
fn options(folder: &Path, out: &Path, steps: &str) -> Vec<String> {
    let path = |path: &Path| path.to_str().expect("a path of text").to_string();
    let given = ["--steps", steps, "--resume", "--text"].map(str::to_string);
    let sizes = SIZES.map(str::to_string);
    [&sizes[..], &given, &[path(&folder.join("text.txt")), "--out".into(), path(out)]].concat()
}

/// The program, and a limit of so many blocks (of 512 or 1024 bytes, as the shell counts) on each file that it writes.
fn run(folder: &Path, steps: &str, blocks: Option<u32>) -> Command {
    // A signal that is ignored stays ignored in what is executed, so the write fails instead of ending the program.
    let limit = blocks.map_or(String::new(), |blocks| format!("trap '' XFSZ; ulimit -f {blocks}; "));
    let mut command = Command::new("sh");
    command.env_remove("CHAINRULE_DEVICE").stdin(Stdio::null());
    command.args(["-c", &format!("{limit}exec \"$0\" \"$@\"")]).arg(program());
    command.args(options(folder, &folder.join("out"), steps));
    command
}

fn file(folder: &Path, name: &str) -> PathBuf {
    folder.join("out").join(name)
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder.join("out")).unwrap();
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

#[test]
fn a_checkpoint_that_does_not_fit_leaves_the_old_one() {
    let folder = folder();
    let folder = folder.path();
    succeed(run(folder, "2", None));
    let old = fs::read(file(folder, "checkpoint.safetensors")).unwrap();
    let files = names(folder);

    fail(run(folder, "4", Some(200)), 1, &["writing", "checkpoint.safetensors", "File too large"]);
    assert!(fs::read(file(folder, "checkpoint.safetensors")).unwrap() == old, "the old checkpoint changed");
    assert_eq!(names(folder), files, "something half written lies about");

    succeed(run(folder, "4", None));
    let rows = fs::read_to_string(file(folder, "metrics.csv")).unwrap();
    let steps: Vec<&str> = rows.lines().map(|row| row.split(',').next().unwrap()).collect();
    assert_eq!(steps, ["step", "1", "2", "3", "4"]);
}

#[test]
fn metrics_that_do_not_fit_stop_the_run_and_continue_whole() {
    let folder = folder();
    let folder = folder.path();
    succeed(run(folder, "2", None));
    let old = fs::read(file(folder, "checkpoint.safetensors")).unwrap();
    fail(run(folder, "100", Some(1)), 1, &["writing", "metrics.csv", "File too large"]);
    assert!(fs::read(file(folder, "checkpoint.safetensors")).unwrap() == old, "the old checkpoint changed");
    succeed(run(folder, "100", None));
    assert_eq!(MetricsCsv::read(file(folder, "metrics.csv")).unwrap().len(), 100);
}

#[test]
fn a_row_that_was_cut_short_is_dropped_when_a_run_continues() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("metrics.csv");
    // Step 12 was being written when the disk was full: what is left reads as step 1.
    fs::write(&path, "step,loss,lr\n1,2.5,0.1\n2,,0.1\n1").unwrap();
    MetricsCsv::open(&path, &["step", "loss", "lr"], Some(2)).unwrap().row(3, &[Some(0.5), None]).unwrap();
    assert_eq!(fs::read_to_string(&path).unwrap(), "step,loss,lr\n1,2.5,0.1\n2,,0.1\n3,0.5,\n");
}

/// Mounts a small file system, trains on it until it is full, and says how the last run ended.
const ON_A_SMALL_DISK: &str = r#"
out="$1"; kept="$2"; shift 2
mount -t tmpfs -o size=1m none "$out" || exit 77
"$@" --steps 2 > "$kept.log" 2>&1 || exit 78
cp "$out/checkpoint.safetensors" "$kept"
"$@" --steps 4 > "$kept.log"
code=$?
cmp "$out/checkpoint.safetensors" "$kept" || exit 79
ls "$out" | grep -v -e checkpoint.safetensors -e metrics.csv -e curve.svg && exit 80
exit $code
"#;

#[test]
fn a_full_file_system_leaves_the_old_checkpoint() {
    let folder = folder();
    let (out, kept) = (folder.path().join("disk"), folder.path().join("kept"));
    fs::create_dir(&out).unwrap();
    let mut options = options(folder.path(), &out, "0");
    let steps = options.iter().position(|option| option == "--steps").unwrap();
    options.drain(steps..steps + 2);
    let mut command = Command::new("unshare");
    command.args(["-rm", "sh", "-c", ON_A_SMALL_DISK, "sh"]).arg(&out).arg(&kept).arg(program()).args(options);
    let output = command.env_remove("CHAINRULE_DEVICE").stdin(Stdio::null()).output();
    let cannot_mount = |output: &std::process::Output| {
        output.status.code() == Some(77) || (text(&output.stderr).starts_with("unshare:") && !kept.exists())
    };
    match output {
        Ok(output) if !cannot_mount(&output) => {
            let message = text(&output.stderr);
            assert_eq!(output.status.code(), Some(1), "{message}{}", text(&output.stdout));
            for word in ["error: ", "writing", "checkpoint.safetensors", "No space left on device"] {
                assert!(message.contains(word), "no {word:?} in {message}");
            }
        }
        _ => {
            let _ = writeln!(std::io::stderr(), "skipped: no file system can be mounted here");
        }
    }
}

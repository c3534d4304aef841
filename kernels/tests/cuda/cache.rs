//! The folder of compiled units, shared by processes: this test's program is run again as each of them.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::SystemTime;

use chainrule_kernels::{Buffer, DType, Device, copy};

use super::device;

/// What each process does: it compiles the emulator's runtime and one unit, and uses them.
#[test]
fn a_unit_is_compiled_and_used() {
    let mut y = Buffer::allocate(&device(), DType::F32, 3).unwrap();
    copy::fill(&mut y, 0.5).unwrap();
    assert_eq!(y.to_vec::<f32>().unwrap(), [0.5; 3]);
}

fn process(cache: &Path) -> Child {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "cache::a_unit_is_compiled_and_used"]).env("CHAINRULE_CACHE", cache);
    command.env("CHAINRULE_DEVICE", "cuda-emu").stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

#[track_caller]
fn succeed(process: Child) {
    let output = process.wait_with_output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
}

/// Every compiled unit with the time at which it was written.
fn compiled(cache: &Path) -> BTreeMap<String, SystemTime> {
    let files = std::fs::read_dir(cache).unwrap().map(Result::unwrap).filter(|entry| entry.path().is_file());
    files.map(|file| (file.file_name().into_string().unwrap(), file.metadata().unwrap().modified().unwrap())).collect()
}

#[test]
fn processes_share_one_folder() {
    if device() == Device::Cpu {
        return;
    }
    let cache = tempfile::tempdir().unwrap();
    // Neither finds anything, so both compile the same.
    [(); 2].map(|()| process(cache.path())).into_iter().for_each(succeed);
    let first = compiled(cache.path());
    assert_eq!(first.len(), 2, "the runtime and the unit, and nothing half written: {first:?}");
    assert!(first.keys().all(|name| name.ends_with(".so")), "{first:?}");
    // A third finds both.
    succeed(process(cache.path()));
    assert_eq!(compiled(cache.path()), first);
}

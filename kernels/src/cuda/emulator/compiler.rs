//! The system's C++ compiler, which makes a shared library of each unit.

use std::path::{Path, PathBuf};
use std::process::Command;

use libloading::os::unix::{Library, RTLD_NOW};

use super::device_error;
use crate::cuda::{cache, source};
use crate::{Error, ErrorKind, Result};

/// The runtime as a unit.
pub(super) const RUNTIME: &str = "#include \"emu/emu.cpp\"\n";
/// What a sanitizer's runtime is brought into this program with, and should not be into the compiler.
const PRELOAD: &str = "LD_PRELOAD";

/// The system's C++ compiler.
pub(super) struct Compiler {
    program: String,
    version: String,
    flags: Vec<String>,
    /// Where the kernels' files are written for it, and for debuggers.
    sources: PathBuf,
}

impl Compiler {
    pub(super) fn find() -> Result<Compiler> {
        let named = |variable: &str| std::env::var(variable).ok().filter(|name| !name.is_empty());
        let candidates: Vec<String> = match named("CHAINRULE_CXX") {
            Some(name) => vec![name],
            None => named("CXX").into_iter().chain(["g++", "c++", "clang++"].map(String::from)).collect(),
        };
        let found = candidates.iter().find_map(|program| {
            let output = Command::new(program)
                .env_remove(PRELOAD)
                .arg("--version")
                .output()
                .ok()
                .filter(|output| output.status.success())?;
            Some((program.clone(), String::from_utf8_lossy(&output.stdout).lines().next()?.to_string()))
        });
        let Some((program, version)) = found else {
            return Err(device_error(format!(
                "cuda-emu compiles kernels with a C++ compiler and found none: tried {}; install one (Debian: apt-get \
                 install g++) or name it in CHAINRULE_CXX",
                candidates.join(", ")
            )));
        };
        let flags = named("CHAINRULE_EMU_FLAGS").unwrap_or_default();
        let flags = flags.split_whitespace().map(String::from).collect();
        let sources = cache::folder().join(format!("cuda-{}", source_key()));
        write_sources(&sources)?;
        Ok(Compiler { program, version, flags, sources })
    }

    /// The shared library that `text` compiles to, loaded.
    pub(super) fn build(&self, label: &str, text: &str, optimisation: &str, scope: i32) -> Result<Library> {
        let fixed = ["-std=c++17", "-g", "-fPIC", "-shared", "-ffp-contract=off", "-fno-strict-aliasing", "-fwrapv"];
        let mut options: Vec<&str> = fixed.to_vec();
        options.extend(["-DCHAINRULE_EMU", optimisation]);
        // The runtime tells the thread sanitizer what it does and is itself not looked at.
        let of_flag = |flag| match flag {
            "-fsanitize=thread" if text == RUNTIME => "-DEMU_TSAN",
            other => other,
        };
        options.extend(self.flags.iter().map(String::as_str).map(of_flag));
        let with: Vec<&str> = [&self.version[..]].into_iter().chain(options.iter().copied()).collect();
        let key = format!("{}.so", source::key(text, &with));
        let path = cache::path_of(&key, || self.compile(label, text, &options))?;
        // SAFETY: the library is our own; it registers nothing and starts nothing when loaded.
        unsafe { Library::open(Some(&path), RTLD_NOW | scope) }
            .map_err(|error| device_error(format!("cannot load {label} from {}: {error}", path.display())))
    }

    fn compile(&self, label: &str, text: &str, options: &[&str]) -> Result<Vec<u8>> {
        let io = |error| Error::io(format!("cannot compile {label}"), error);
        let folder = tempfile::tempdir().map_err(io)?;
        let (input, output) = (folder.path().join("unit.cpp"), folder.path().join("unit.so"));
        std::fs::write(&input, text).map_err(io)?;
        let mut command = Command::new(&self.program);
        command
            .env_remove(PRELOAD)
            .args(options)
            .arg("-I")
            .arg(&self.sources)
            .arg(&input)
            .arg("-o")
            .arg(&output)
            .arg("-lpthread");
        let result = command.output().map_err(io)?;
        if !result.status.success() {
            let log = String::from_utf8_lossy(&result.stderr).into_owned();
            return Err(Error::new(ErrorKind::KernelCompile { kernel: label.into(), log }));
        }
        std::fs::read(&output).map_err(io)
    }
}

/// One key for all files, so that a folder of them never changes once it is written.
fn source_key() -> String {
    let files: Vec<_> = source::files().collect();
    let all: Vec<&str> = files.iter().flat_map(|(name, text)| [*name, &text[..]]).collect();
    source::key("", &all)
}

fn write_sources(folder: &Path) -> Result<()> {
    for (name, text) in source::files() {
        let path = folder.join(name);
        if std::fs::read(&path).is_ok_and(|present| present == text.as_bytes()) {
            continue;
        }
        let io = |error| Error::io(format!("cannot write {}", path.display()), error);
        let parent = path.parent().unwrap_or(folder);
        std::fs::create_dir_all(parent).map_err(io)?;
        let file = tempfile::NamedTempFile::new_in(parent).map_err(io)?;
        std::fs::write(file.path(), &*text).map_err(io)?;
        file.persist(&path).map_err(|error| io(error.error))?;
    }
    Ok(())
}

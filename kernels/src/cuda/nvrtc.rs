//! NVIDIA's run-time compiler: units to machine code for one architecture, with or without a GPU in the machine.

use std::ffi::{CStr, CString, c_char};
use std::path::PathBuf;
use std::sync::OnceLock;

use cudarc::nvrtc::result::{NvrtcError, compile_program, destroy_program, get_program_log, get_ptx};
use cudarc::nvrtc::sys;
use libloading::os::unix::{Library, RTLD_GLOBAL, RTLD_NOW};

use super::{Unit, source};
use crate::{Error, ErrorKind, Result};

/// What machine code is made for.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Architecture {
    /// Ten times the compute capability: 90 for 9.0.
    pub number: u32,
}

impl Architecture {
    /// The compiler's name: `sm_90a`. From 9.0 on, with the features of that one architecture.
    pub fn name(self) -> String {
        let features = if self.number >= 90 { "a" } else { "" };
        format!("sm_{}{features}", self.number)
    }
}

/// What the compiler is asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Target {
    /// Machine code of one architecture.
    Machine(Architecture),
    /// Intermediate code of one that the compiler knows, which the driver of a GPU that it does not know translates.
    Intermediate(Architecture),
}

impl Target {
    /// Machine code where the compiler knows the architecture, else the intermediate code of the newest before it.
    #[track_caller]
    fn new(architecture: Architecture) -> Result<Target> {
        let known = known_architectures()?;
        if known.contains(&architecture.number) {
            return Ok(Target::Machine(architecture));
        }
        match known.iter().filter(|&&number| number < architecture.number).max() {
            Some(&number) => Ok(Target::Intermediate(Architecture { number })),
            None => {
                let oldest = known.iter().min().copied().unwrap_or_default();
                let message = format!(
                    "this NVRTC compiles for GPUs of compute capability {}.{} and above; this one has {}.{}, which an \
                     older NVRTC compiles for",
                    oldest / 10,
                    oldest % 10,
                    architecture.number / 10,
                    architecture.number % 10
                );
                Err(Error::new(ErrorKind::Device(message)))
            }
        }
    }

    /// The option that asks for it. Intermediate code is without the features of one architecture: others lack them.
    fn option(self) -> String {
        match self {
            Target::Machine(architecture) => format!("--gpu-architecture={}", architecture.name()),
            Target::Intermediate(Architecture { number }) => format!("--gpu-architecture=compute_{number}"),
        }
    }
}

/// The architectures for which the compiler makes machine code.
#[track_caller]
fn known_architectures() -> Result<Vec<u32>> {
    let mut count = 0;
    // SAFETY: the library is there, and the number outlives the call.
    unsafe { sys::nvrtcGetNumSupportedArchs(&mut count) }.result().map_err(nvrtc_error)?;
    let mut numbers = vec![0; count.max(0) as usize];
    // SAFETY: the compiler writes as many numbers as it said.
    unsafe { sys::nvrtcGetSupportedArchs(numbers.as_mut_ptr()) }.result().map_err(nvrtc_error)?;
    Ok(numbers.into_iter().map(|number| number as u32).collect())
}

/// What the compiler gave.
pub struct Compiled {
    /// Machine code; for a GPU that the compiler does not know, intermediate code that ends with a NUL.
    pub code: Vec<u8>,
    /// What it said: warnings, registers and spills.
    pub log: String,
}

/// Compiles a unit.
///
/// # Errors
/// No compiler in the machine, named with where it was looked for; a unit that does not compile, with its log.
#[track_caller]
pub fn compile(unit: &Unit, architecture: Architecture) -> Result<Compiled> {
    present()?;
    let text = unit.text();
    let target = Target::new(architecture)?;
    let options = options(target);
    let program = Program::new(unit, &text)?;
    // SAFETY: the program was made above and is destroyed when it goes out of scope.
    let result = unsafe { compile_program(program.0, &options) };
    let log = program.log();
    match result {
        Ok(()) => Ok(Compiled { code: program.code(target)?, log }),
        Err(NvrtcError(sys::nvrtcResult::NVRTC_ERROR_COMPILATION)) => {
            Err(Error::new(ErrorKind::KernelCompile { kernel: unit.label(), log }))
        }
        Err(error) => Err(nvrtc_error(error)),
    }
}

/// The options of every unit: no fast math, sources that debuggers and profilers find, registers and spills in the log.
fn options(target: Target) -> Vec<String> {
    let fixed = ["--std=c++17", "--generate-line-info", "--ptxas-options=-v", "--ptxas-options=--warn-on-spills"];
    fixed.map(String::from).into_iter().chain([target.option()]).collect()
}

/// All that decides what the compiler makes of a text, for keys of it: its options and its version.
#[track_caller]
pub(crate) fn setting(architecture: Architecture) -> Result<Vec<String>> {
    present()?;
    let mut setting = options(Target::new(architecture)?);
    setting.push(version()?);
    Ok(setting)
}

#[track_caller]
fn version() -> Result<String> {
    let (mut major, mut minor) = (0, 0);
    // SAFETY: the library is there, and both numbers outlive the call.
    unsafe { sys::nvrtcVersion(&mut major, &mut minor) }.result().map_err(nvrtc_error)?;
    Ok(format!("nvrtc {major}.{minor}"))
}

/// An error unless the compiler can be loaded.
///
/// `CHAINRULE_NVRTC` names a folder that holds it (a Python wheel's `nvidia/cu13/lib`, say); else the system's loader
/// looks for it.
#[track_caller]
pub(crate) fn present() -> Result<()> {
    static PRELOADED: OnceLock<Vec<Library>> = OnceLock::new();
    let folder = std::env::var_os("CHAINRULE_NVRTC").filter(|folder| !folder.is_empty()).map(PathBuf::from);
    PRELOADED.get_or_init(|| folder.as_deref().map(preload).unwrap_or_default());
    // SAFETY: this only tries to load the library.
    if unsafe { sys::is_culib_present() } {
        return Ok(());
    }
    let looked = match folder {
        Some(folder) => format!("in {} (CHAINRULE_NVRTC) and on the loader's path", folder.display()),
        None => "on the loader's path; CHAINRULE_NVRTC can name its folder".into(),
    };
    Err(Error::new(ErrorKind::Device(format!(
        "CUDA kernels need NVRTC: libnvrtc.so.13 (or .12) was not found {looked}"
    ))))
}

/// Loads what the compiler itself does not find beside it: its built-in functions, and then itself.
fn preload(folder: &std::path::Path) -> Vec<Library> {
    let names = std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    let mut paths: Vec<PathBuf> = names
        .filter(|path| {
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            name.starts_with("libnvrtc") && name.contains(".so") && !name.contains(".alt.")
        })
        .collect();
    // "libnvrtc-builtins" sorts before "libnvrtc.so".
    paths.sort();
    // SAFETY: NVIDIA's libraries; loading them only defines symbols.
    paths.iter().filter_map(|path| unsafe { Library::open(Some(path), RTLD_NOW | RTLD_GLOBAL) }.ok()).collect()
}

struct Program(sys::nvrtcProgram);

impl Program {
    fn new(unit: &Unit, text: &str) -> Result<Program> {
        let c_string = |text: &str| {
            CString::new(text).map_err(|_| Error::new(ErrorKind::Device(format!("{} holds a NUL", unit.label()))))
        };
        let (source, name) = (c_string(text)?, c_string(&format!("{}.unit", unit.name))?);
        let files = source::included(text);
        let names = files.iter().map(|(name, _)| c_string(name)).collect::<Result<Vec<_>>>()?;
        let texts = files.iter().map(|(_, text)| c_string(text)).collect::<Result<Vec<_>>>()?;
        let pointers = |strings: &[CString]| strings.iter().map(|text| text.as_ptr()).collect::<Vec<*const c_char>>();
        let (name_pointers, text_pointers) = (pointers(&names), pointers(&texts));
        let mut program = std::ptr::null_mut();
        // SAFETY: the compiler copies all texts; the arrays have the length that is given.
        unsafe {
            sys::nvrtcCreateProgram(
                &mut program,
                source.as_ptr(),
                name.as_ptr(),
                files.len() as i32,
                text_pointers.as_ptr(),
                name_pointers.as_ptr(),
            )
        }
        .result()
        .map_err(nvrtc_error)?;
        Ok(Program(program))
    }

    fn log(&self) -> String {
        // SAFETY: the program is alive.
        let log = unsafe { get_program_log(self.0) }.unwrap_or_default();
        let bytes: Vec<u8> = log.into_iter().map(|c| c as u8).collect();
        CStr::from_bytes_until_nul(&bytes).unwrap_or_default().to_string_lossy().into_owned()
    }

    fn code(&self, target: Target) -> Result<Vec<u8>> {
        if let Target::Intermediate(_) = target {
            // SAFETY: the program is alive and was compiled.
            let ptx = unsafe { get_ptx(self.0) }.map_err(nvrtc_error)?;
            return Ok(ptx.into_iter().map(|c| c as u8).collect());
        }
        let mut len = 0;
        // SAFETY: the program is alive and was compiled.
        unsafe { sys::nvrtcGetCUBINSize(self.0, &mut len) }.result().map_err(nvrtc_error)?;
        let mut code = vec![0u8; len];
        // SAFETY: the buffer has the length that the compiler gave.
        unsafe { sys::nvrtcGetCUBIN(self.0, code.as_mut_ptr().cast()) }.result().map_err(nvrtc_error)?;
        Ok(code)
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // SAFETY: the program was created once and is destroyed once.
        let _ = unsafe { destroy_program(self.0) };
    }
}

#[track_caller]
fn nvrtc_error(error: NvrtcError) -> Error {
    Error::new(ErrorKind::Device(format!("NVRTC: {error}")))
}

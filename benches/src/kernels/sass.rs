//! The instructions of a unit's machine code, by NVIDIA's `nvdisasm`: what the compiler's log does not tell.

use std::path::PathBuf;
use std::process::Command;

use chainrule::{Error, ErrorKind, Result};

/// The program.
pub(crate) struct Disassembler(PathBuf);

/// Which instructions an entry point has.
#[derive(Default, PartialEq, Debug)]
pub(crate) struct Instructions {
    pub(crate) entry: String,
    /// A product of matrices: HMMA, HGMMA, IMMA, DMMA, UTCHMMA.
    pub(crate) multiplies_matrices: bool,
    /// Loads or stores of local memory, which is where registers spill to.
    pub(crate) uses_local_memory: bool,
}

impl Disassembler {
    /// The program that `CHAINRULE_NVDISASM` names, else `nvdisasm` where the system finds it; nothing where neither is.
    ///
    /// # Errors
    /// The named program does not run.
    pub(crate) fn find() -> Result<Option<Disassembler>> {
        let named = std::env::var_os("CHAINRULE_NVDISASM").filter(|name| !name.is_empty()).map(PathBuf::from);
        let program = named.clone().unwrap_or("nvdisasm".into());
        match Command::new(&program).arg("--version").output() {
            Ok(output) if output.status.success() => Ok(Some(Disassembler(program))),
            _ if named.is_none() => Ok(None),
            Ok(output) => Err(broken(&program, &String::from_utf8_lossy(&output.stderr))),
            Err(error) => Err(broken(&program, &error.to_string())),
        }
    }

    /// The instructions of each entry point in machine code.
    ///
    /// # Errors
    /// Code that the program does not read, with what it says.
    pub(crate) fn instructions(&self, code: &[u8]) -> Result<Vec<Instructions>> {
        let io = |error| Error::io("cannot write machine code for nvdisasm", error);
        let file = tempfile::NamedTempFile::new().map_err(io)?;
        std::fs::write(file.path(), code).map_err(io)?;
        // Code alone, and without the analysis of jumps, which takes half of the time.
        let output = Command::new(&self.0).args(["--print-code", "--no-dataflow"]).arg(file.path()).output();
        let output = output.map_err(|error| broken(&self.0, &error.to_string()))?;
        if !output.status.success() {
            return Err(broken(&self.0, &String::from_utf8_lossy(&output.stderr)));
        }
        Ok(parse(&String::from_utf8_lossy(&output.stdout)))
    }
}

fn broken(program: &std::path::Path, why: &str) -> Error {
    Error::new(ErrorKind::Device(format!("{} does not disassemble: {}", program.display(), why.trim())))
}

/// The entry points of a listing, each a section of its own.
fn parse(listing: &str) -> Vec<Instructions> {
    let mut found: Vec<Instructions> = Vec::new();
    for line in listing.lines() {
        if let Some((_, section)) = line.split_once(".section\t.text.") {
            let entry = section.split(',').next().unwrap_or_default().into();
            found.push(Instructions { entry, ..Instructions::default() });
        } else if let (Some(opcode), Some(last)) = (opcode(line), found.last_mut()) {
            last.multiplies_matrices |= opcode.ends_with("MMA");
            last.uses_local_memory |= ["LDL", "STL"].contains(&opcode);
        }
    }
    found
}

/// `HMMA` of `/*44d0*/  @P0 HMMA.16816.F32 R24, R76, R72, R24 ;`: the word after the address and the predicate, up to its
/// first point.
fn opcode(line: &str) -> Option<&str> {
    let (_, instruction) = line.trim_start().strip_prefix("/*")?.split_once("*/")?;
    instruction.split_whitespace().find(|word| !word.starts_with('@'))?.split('.').next()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listing_is_read() {
        let listing = "\t.section\t.text.matmul_forward,\"ax\",@progbits\n\
            \t.sectioninfo\t@\"SHI_REGISTERS=126\"\n\
            .text.matmul_forward:\n        \
            /*0000*/                   MOV R1, c[0x0][0x28] ;\n        \
            /*44d0*/              @!P0 HMMA.16816.F32 R24, R76.reuse, R72, R24 ;\n\
            .L_x_MMA:\n\
            \t.section\t.text.fill,\"ax\",@progbits\n        \
            /*0010*/                   LDG.E R4, [R2.64] ;\n        \
            /*0020*/               @P1 STL.64 [R1+0x8], R4 ;\n        \
            /*0058*/ \t.dword\tMMA_ROWS\n";
        let of = |entry: &str, multiplies_matrices, uses_local_memory| Instructions {
            entry: entry.into(),
            multiplies_matrices,
            uses_local_memory,
        };
        assert_eq!(parse(listing), [of("matmul_forward", true, false), of("fill", false, true)]);
    }
}

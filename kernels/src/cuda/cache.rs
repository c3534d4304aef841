//! What compilers gave, kept on disk: one file per unit, named by the key of all that went into it.
//!
//! A file is written beside its place and renamed, so that several processes can use one folder and a crash leaves no
//! half. It ends with a digest of its contents; one that does not match is compiled again.

use std::io::Write;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::{Error, Result};

const DIGEST_BYTES: usize = 32;

/// The folder: `CHAINRULE_CACHE`, else `chainrule` in the user's cache folder, else in the system's temporary one.
pub(crate) fn folder() -> PathBuf {
    let named = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    named("CHAINRULE_CACHE")
        .or_else(|| named("XDG_CACHE_HOME").map(|base| base.join("chainrule")))
        .or_else(|| named("HOME").map(|home| home.join(".cache").join("chainrule")))
        .unwrap_or_else(|| std::env::temp_dir().join("chainrule"))
}

/// The contents kept under `key`, or else those that `compile` makes, which are then kept.
pub(crate) fn get_or(key: &str, compile: impl FnOnce() -> Result<Vec<u8>>) -> Result<Vec<u8>> {
    let path = folder().join(key);
    if let Some(contents) = read(&path) {
        return Ok(contents);
    }
    let contents = compile()?;
    // A folder that cannot be written costs time, not the run.
    let _ = write(&path, &contents);
    Ok(contents)
}

/// As [`get_or`], for contents that are used as a file; this one has to be written.
pub(crate) fn path_of(key: &str, compile: impl FnOnce() -> Result<Vec<u8>>) -> Result<PathBuf> {
    let path = folder().join(key);
    if read(&path).is_none() {
        write(&path, &compile()?)?;
    }
    Ok(path)
}

fn read(path: &Path) -> Option<Vec<u8>> {
    let mut contents = std::fs::read(path).ok()?;
    let digest = contents.split_off(contents.len().checked_sub(DIGEST_BYTES)?);
    (Sha256::digest(&contents)[..] == digest[..]).then_some(contents)
}

fn write(path: &Path, contents: &[u8]) -> Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let io = |error| Error::io(format!("cannot write {}", path.display()), error);
    std::fs::create_dir_all(folder).map_err(io)?;
    let mut file = tempfile::NamedTempFile::new_in(folder).map_err(io)?;
    file.write_all(contents).and_then(|()| file.write_all(&Sha256::digest(contents))).map_err(io)?;
    file.persist(path).map(drop).map_err(|error| io(error.error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_damaged_is_not_used() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("sub").join("key");
        assert_eq!(read(&path), None);
        write(&path, b"machine code").unwrap();
        assert_eq!(read(&path).unwrap(), b"machine code");
        let whole = std::fs::read(&path).unwrap();
        for at in [0, 5, whole.len() - 1] {
            let mut damaged = whole.clone();
            damaged[at] ^= 1;
            std::fs::write(&path, damaged).unwrap();
            assert_eq!(read(&path), None, "byte {at}");
        }
        for len in [0, 3, whole.len() - 1] {
            std::fs::write(&path, &whole[..len]).unwrap();
            assert_eq!(read(&path), None, "{len} bytes");
        }
    }
}

//! Files of named tensors in the safetensors format.
//!
//! ```text
//! [header length: u64, little-endian][header: JSON][data of the tensors, one after another]
//! header: {"__metadata__": {...}, "name": {"dtype": "F32", "shape": [2, 3], "data_offsets": [begin, end]}, ...}
//! ```
//!
//! A file is replaced in one step: it is written beside the old one, synced, and renamed. A crash at any moment leaves
//! the old file or the new one. A file that is read is not trusted: every length is checked before memory is taken.
//!
//! Source: <https://github.com/huggingface/safetensors>, "Format".

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{BufWriter, Read, Write};
use std::path::Path;

use safetensors::tensor::{Dtype, Metadata};
use serde_json::{Map, Value, json};

use crate::{DType, Device, Error, Result, Tensor};

/// Headers beyond this are refused, as the reference reader does.
const MAX_HEADER_BYTES: u64 = 100_000_000;

/// Tensors with their names.
pub type NamedTensors = Vec<(String, Tensor)>;

/// Writes named tensors and text entries to a file, replacing it in one step. Equal contents give equal bytes.
///
/// # Errors
/// Two tensors of one name, or a file that cannot be written; the old file is then untouched.
#[track_caller]
pub fn save_tensors(
    path: impl AsRef<Path>,
    tensors: &[(String, Tensor)],
    metadata: &BTreeMap<String, String>,
) -> Result<()> {
    let path = path.as_ref();
    // Wider elements first, so that every tensor in the file is aligned to its element.
    let mut sorted: Vec<&(String, Tensor)> = tensors.iter().collect();
    sorted.sort_by(|(a, x), (b, y)| y.dtype().size_bytes().cmp(&x.dtype().size_bytes()).then(a.cmp(b)));
    let header = header(&sorted, metadata)?;
    replace_file(path, |file| {
        let io_error = |error| writing(path, error);
        file.write_all(&(header.len() as u64).to_le_bytes()).map_err(io_error)?;
        file.write_all(&header).map_err(io_error)?;
        sorted.iter().try_for_each(|(_, tensor)| file.write_all(&tensor.to_bytes()?).map_err(io_error))
    })
}

/// Writes a file beside `path` with `write`, syncs it and renames it to `path`.
///
/// # Errors
/// What `write` reports, or a directory that cannot be written; the old file is then untouched.
#[track_caller]
pub fn replace_file(path: impl AsRef<Path>, write: impl FnOnce(&mut dyn Write) -> Result<()>) -> Result<()> {
    let path = path.as_ref();
    let io_error = |error| writing(path, error);
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut temporary = temporary_file(directory).map_err(io_error)?;
    let mut file = BufWriter::new(temporary.as_file_mut());
    write(&mut file)?;
    file.flush().map_err(io_error)?;
    drop(file);
    temporary.as_file().sync_all().map_err(io_error)?;
    temporary.persist(path).map_err(|error| writing(path, error.error))?;
    // The new name is durable once its directory is; where directories cannot be opened, the system sees to it.
    File::open(directory).map_or(Ok(()), |directory| directory.sync_all().map_err(io_error))
}

/// A file with the permissions that any new file gets: a temporary one alone would be readable by its owner only.
fn temporary_file(directory: &Path) -> std::io::Result<tempfile::NamedTempFile> {
    let mut builder = tempfile::Builder::new();
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    builder.tempfile_in(directory)
}

#[track_caller]
fn writing(path: &Path, error: std::io::Error) -> Error {
    Error::io(format!("writing {}", path.display()), error)
}

fn header(tensors: &[&(String, Tensor)], metadata: &BTreeMap<String, String>) -> Result<Vec<u8>> {
    let mut entries = Map::new();
    if !metadata.is_empty() {
        entries.insert("__metadata__".into(), json!(metadata));
    }
    let mut names = BTreeSet::from(["__metadata__"]);
    let mut begin = 0;
    for (name, tensor) in tensors {
        if !names.insert(name) {
            return Err(Error::argument("save_tensors", format!("the name {name:?} is used twice or reserved")));
        }
        let end = begin + tensor.elements() * tensor.dtype().size_bytes();
        let (dtype, shape) = (file_dtype(tensor.dtype()), &tensor.shape()[..]);
        entries.insert(name.clone(), json!({"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}));
        begin = end;
    }
    let mut header = Value::Object(entries).to_string().into_bytes();
    // Spaces up to a multiple of 8 align the data.
    header.resize(header.len().next_multiple_of(8), b' ');
    Ok(header)
}

fn file_dtype(dtype: DType) -> &'static str {
    match dtype {
        DType::Bool => "BOOL",
        DType::U8 => "U8",
        DType::U32 => "U32",
        DType::I32 => "I32",
        DType::I64 => "I64",
        DType::F16 => "F16",
        DType::BF16 => "BF16",
        DType::F32 => "F32",
        DType::F64 => "F64",
    }
}

/// Reads all tensors of a file to a device, in the order of the file, and its text entries.
///
/// # Errors
/// A file that cannot be read, is cut short or is not in the format, or a dtype that tensors here cannot have.
#[track_caller]
pub fn load_tensors(path: impl AsRef<Path>, device: &Device) -> Result<(NamedTensors, BTreeMap<String, String>)> {
    let path = path.as_ref();
    let (mut file, header) = open(path)?;
    let mut tensors = Vec::new();
    for name in header.offset_keys() {
        let Some(info) = header.info(&name) else { continue };
        let at = || format!("{}: tensor {name:?}", path.display());
        let dtype = tensor_dtype(info.dtype)
            .ok_or_else(|| Error::format(format!("{} has dtype {:?}, which tensors cannot have", at(), info.dtype)))?;
        let mut bytes = vec![0; info.data_offsets.1 - info.data_offsets.0];
        file.read_exact(&mut bytes).map_err(|error| reading(path, error))?;
        if dtype == DType::Bool {
            bytes.iter_mut().for_each(|byte| *byte = u8::from(*byte != 0));
        }
        let tensor = Tensor::from_bytes(&bytes, dtype, &info.shape[..], device);
        tensors.push((name.clone(), tensor.map_err(|error| Error::format(format!("{}: {}", at(), error.kind())))?));
    }
    Ok((tensors, text_entries(&header)))
}

/// Reads the text entries of a file, but none of its tensors.
///
/// # Errors
/// As [`load_tensors`].
#[track_caller]
pub fn load_metadata(path: impl AsRef<Path>) -> Result<BTreeMap<String, String>> {
    open(path.as_ref()).map(|(_, header)| text_entries(&header))
}

fn text_entries(header: &Metadata) -> BTreeMap<String, String> {
    header.metadata().iter().flatten().map(|(key, value)| (key.clone(), value.clone())).collect()
}

/// The file, at the first byte of its data, and its header, whose offsets are checked against the file's length.
#[track_caller]
fn open(path: &Path) -> Result<(File, Metadata)> {
    let io_error = |error| reading(path, error);
    let broken = |what: &str| Error::format(format!("{}: no safetensors file, or cut short: {what}", path.display()));
    let mut file = File::open(path).map_err(io_error)?;
    let len = file.metadata().map_err(io_error)?.len();
    let mut header_len = [0; 8];
    if len < 8 {
        return Err(broken(&format!("it has {len} bytes")));
    }
    file.read_exact(&mut header_len).map_err(io_error)?;
    let header_len = u64::from_le_bytes(header_len);
    if header_len > MAX_HEADER_BYTES.min(len - 8) {
        return Err(broken(&format!("it announces a header of {header_len} bytes in a file of {len}")));
    }
    let mut header = vec![0; header_len as usize];
    file.read_exact(&mut header).map_err(io_error)?;
    let header: Metadata = serde_json::from_slice(&header).map_err(|error| broken(&format!("its header: {error}")))?;
    let data_len = len - 8 - header_len;
    if header.data_len() as u64 != data_len {
        return Err(broken(&format!("it announces {} bytes of data and has {data_len}", header.data_len())));
    }
    Ok((file, header))
}

#[track_caller]
fn reading(path: &Path, error: std::io::Error) -> Error {
    Error::io(format!("reading {}", path.display()), error)
}

fn tensor_dtype(dtype: Dtype) -> Option<DType> {
    DType::ALL.into_iter().find(|&ours| file_dtype(ours) == format!("{dtype:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> NamedTensors {
        let cpu = Device::Cpu;
        vec![
            ("a.flags".into(), Tensor::from_vec(vec![true, false, true], [3], &cpu).unwrap()),
            ("b".into(), Tensor::from_vec(vec![1.5f32, -2.0], [2, 1], &cpu).unwrap()),
            ("empty".into(), Tensor::from_vec(Vec::<f64>::new(), [0, 4], &cpu).unwrap()),
            ("scalar".into(), Tensor::from_vec(vec![7i64], (), &cpu).unwrap()),
        ]
    }

    #[test]
    fn what_is_saved_is_loaded() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("x.safetensors");
        let metadata = BTreeMap::from([("step".to_string(), "12 \"quoted\"".to_string()), ("b".into(), "".into())]);
        save_tensors(&path, &sample(), &metadata).unwrap();
        let (loaded, texts) = load_tensors(&path, &Device::Cpu).unwrap();
        assert_eq!(texts, metadata);
        assert_eq!(load_metadata(&path).unwrap(), metadata);
        for (name, tensor) in sample() {
            let (_, same) = loaded.iter().find(|(other, _)| *other == name).unwrap();
            assert_eq!((same.shape(), same.dtype()), (tensor.shape(), tensor.dtype()));
            assert_eq!(same.to_bytes().unwrap(), tensor.to_bytes().unwrap());
        }
        let first = std::fs::read(&path).unwrap();
        save_tensors(&path, &sample(), &metadata).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), first);
        assert!(
            save_tensors(&path, &[sample(), sample()].concat(), &metadata).unwrap_err().to_string().contains("twice")
        );
        assert_eq!(std::fs::read(&path).unwrap(), first);
    }

    /// Every prefix of a file, and every file with one byte of its header changed, gives an error or a tensor, no panic.
    #[test]
    fn broken_files_are_errors() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("x.safetensors");
        save_tensors(&path, &sample(), &BTreeMap::new()).unwrap();
        let good = std::fs::read(&path).unwrap();
        for len in 0..good.len() {
            std::fs::write(&path, &good[..len]).unwrap();
            let error = load_tensors(&path, &Device::Cpu).expect_err("a cut file");
            assert!(error.to_string().contains("x.safetensors"), "{error}");
        }
        for at in 0..good.len() - 27 {
            for byte in [0, b'9', b'"', 0xff] {
                let mut bad = good.clone();
                bad[at] = byte;
                std::fs::write(&path, &bad).unwrap();
                let _ = load_tensors(&path, &Device::Cpu);
            }
        }
        let missing = load_tensors(directory.path().join("none"), &Device::Cpu).err().unwrap();
        assert!(missing.is_io() && missing.to_string().contains("none"), "{missing}");
    }

    #[test]
    fn foreign_dtypes_and_bool_bytes() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("x.safetensors");
        let write = |dtype: &str| {
            let header = format!("{{\"x\":{{\"dtype\":\"{dtype}\",\"shape\":[2],\"data_offsets\":[0,2]}}}}");
            let file = [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), &[0, 7]].concat();
            std::fs::write(&path, file).unwrap();
            load_tensors(&path, &Device::Cpu)
        };
        assert_eq!(write("BOOL").unwrap().0[0].1.to_bytes().unwrap(), [0, 1]);
        assert!(write("F8_E4M3").err().unwrap().to_string().contains("\"x\" has dtype F8_E4M3"));
    }

    #[test]
    fn a_failed_write_keeps_the_old_file() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("x.safetensors");
        std::fs::write(&path, "old").unwrap();
        let full = |_: &mut dyn Write| Err(writing(&path, std::io::Error::from(std::io::ErrorKind::StorageFull)));
        assert!(replace_file(&path, full).unwrap_err().is_io());
        assert_eq!(std::fs::read(&path).unwrap(), b"old");
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1);
        let error = save_tensors(directory.path().join("no/such/dir"), &sample(), &BTreeMap::new()).unwrap_err();
        assert!(error.is_io() && error.to_string().contains("no/such/dir"), "{error}");
    }
}

//! The invariants of docs/architecture.md, checked on the source.

use std::fs;

use crate::registry::sources;

/// The lines of code of the files below `folder`, without comments and without what follows `#[cfg(test)]`.
fn code(folder: &str) -> Vec<(String, usize, String)> {
    let mut lines = Vec::new();
    for path in sources(folder) {
        // Tests may unwrap; samples are test data.
        let below = path.strip_prefix(env!("CARGO_MANIFEST_DIR")).unwrap_or(&path);
        if below.components().any(|part| part.as_os_str() == "tests" || part.as_os_str() == "tests.rs") {
            continue;
        }
        let text = fs::read_to_string(&path).expect("a readable source file");
        for (number, line) in text.lines().enumerate() {
            if line.trim_start().starts_with("#[cfg(test)]") {
                break;
            }
            let line = line.split("//").next().unwrap_or_default();
            lines.push((path.display().to_string(), number + 1, line.to_string()));
        }
    }
    lines
}

/// Fails with every line below `folders` that contains one of `words`.
fn forbid(folders: &[&str], words: &[&str], why: &str) {
    let found: Vec<String> = folders
        .iter()
        .flat_map(|folder| code(folder))
        .filter(|(path, _, line)| {
            // Operators are the one place where an error becomes a panic, as + on integers does.
            words.iter().any(|word| line.contains(word)) && !path.ends_with("tensor/src/operators.rs")
        })
        .map(|(path, number, line)| format!("{path}:{number}: {}", line.trim()))
        .collect();
    assert!(found.is_empty(), "{why}\n{}", found.join("\n"));
}

#[test]
fn kernels_know_no_gradients_and_no_tape() {
    forbid(&["kernels/src"], &["Tape::", "Var::", "autograd"], "kernels know buffers, dtypes, devices and integers");
}

#[test]
fn the_tensor_crate_knows_no_tape() {
    forbid(&["tensor/src"], &["Tape", "Var::", "autograd"], "tensors know no tape");
}

#[test]
fn autograd_tells_no_devices_or_dtypes_apart() {
    forbid(
        &["autograd/src"],
        &["match self.dtype()", "match dtype", "Device::Cpu =>", "with_dtype!", "DType::F32 =>"],
        "a rule is the same for every dtype and device",
    );
}

#[test]
fn only_kernels_use_unsafe() {
    forbid(
        &["tensor/src", "autograd/src", "nn/src", "nn/derive/src", "src"],
        &["unsafe {", "unsafe fn", "unsafe impl"],
        "unsafe is for kernels",
    );
    for file in ["tensor/src/lib.rs", "autograd/src/lib.rs", "nn/src/lib.rs", "nn/derive/src/lib.rs", "src/lib.rs"] {
        let path = format!("{}/{file}", env!("CARGO_MANIFEST_DIR"));
        let text = fs::read_to_string(&path).expect("a readable source file");
        assert!(text.contains("#![forbid(unsafe_code)]"), "{file} does not forbid unsafe code");
    }
}

#[test]
fn layers_name_no_kernel() {
    forbid(&["nn/src"], &["chainrule_kernels", "Launch::new"], "layers are written in ops on variables");
}

#[test]
fn the_library_does_not_panic() {
    forbid(
        &["kernels/src", "tensor/src", "autograd/src", "nn/src"],
        &[".unwrap()", ".expect(", "panic!(", "todo!(", "unimplemented!(", "unreachable!("],
        "errors are results",
    );
}

#[test]
fn files_are_read_in_one_sitting() {
    let long: Vec<String> = ["kernels/src", "tensor/src", "autograd/src", "nn/src", "examples"]
        .iter()
        .flat_map(|folder| sources(folder))
        .filter(|path| path.file_stem().is_some_and(|stem| stem != "tests"))
        .filter_map(|path| {
            let limit = if path.components().any(|part| part.as_os_str() == "examples") { 150 } else { 450 };
            let lines = fs::read_to_string(&path).expect("a readable source file").lines().count();
            (lines > limit).then(|| format!("{}: {lines} lines, at most {limit}", path.display()))
        })
        .collect();
    assert!(long.is_empty(), "split where the subject splits\n{}", long.join("\n"));
}

#[test]
fn no_file_is_called_after_nothing() {
    let vague: Vec<String> = ["kernels/src", "tensor/src", "autograd/src", "nn/src"]
        .iter()
        .flat_map(|folder| sources(folder))
        .filter(|path| path.file_stem().is_some_and(|stem| stem == "utils" || stem == "helpers" || stem == "common"))
        .map(|path| path.display().to_string())
        .collect();
    assert!(vague.is_empty(), "name a file after its subject\n{}", vague.join("\n"));
}

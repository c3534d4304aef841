//! No public op without samples: the names are read from the source.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use chainrule::samples;

/// Methods in the op files that are no ops of their own, each with the reason.
const NOT_OPS: &[(&str, &str)] = &[
    ("attention_backward", "the backward of attention, checked as its gradient"),
    ("backward", "the backward of cross_entropy, checked as its gradient"),
    ("copy", "contiguous is the op"),
    ("cross_entropy_forward", "the forward of cross_entropy with what its backward needs"),
    ("full_like", "creates a tensor"),
    ("layer_norm_backward", "the backward of layer_norm, checked as its gradient"),
    ("layer_norm_forward", "the forward of layer_norm with what its backward needs"),
    ("linear_forward", "linear, linear_gelu and linear_add with what a backward needs"),
    ("log_softmax_backward", "the backward of log_softmax, checked as its gradient"),
    ("lstm_cell_backward", "the backward of lstm_cell, checked as its gradient"),
    ("matmul_with", "matmul in a precision that is said"),
    ("ones_like", "creates a tensor"),
    ("place_through", "the gradient of views, checked as such"),
    ("rms_norm_backward", "the backward of rms_norm, checked as its gradient"),
    ("rms_norm_forward", "the forward of rms_norm with what its backward needs"),
    ("softmax_backward", "the backward of softmax, checked as its gradient"),
    ("zeros_like", "creates a tensor"),
];

/// Every `.rs` file below a folder.
pub(crate) fn sources(folder: &str) -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let mut found = Vec::new();
    let mut folders = vec![root];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display())) {
            let path = entry.expect("a readable folder").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

/// The names of the public methods that take `self` and give a result, in the files below `folder`.
fn public_methods(folder: &str) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for path in sources(folder) {
        let text = fs::read_to_string(&path).expect("a readable source file");
        for (at, _) in text.match_indices("\n    pub fn ") {
            let declaration = &text[at + "\n    pub fn ".len()..];
            let header = &declaration[..declaration.find('{').unwrap_or(0)];
            if header.contains("&self") && header.contains("Result<") {
                names.insert(declaration.split(['(', '<']).next().unwrap_or_default().to_string());
            }
        }
    }
    names
}

#[test]
fn every_op_on_variables_has_samples() {
    let sampled: BTreeSet<String> =
        samples::all().expect("samples are well formed").iter().map(|sample| sample.op.to_string()).collect();
    let exempt = |name: &String| NOT_OPS.iter().any(|(exempt, _)| exempt == name);
    let missing: Vec<String> = public_methods("autograd/src/ops")
        .into_iter()
        .filter(|name| !sampled.contains(name) && !exempt(name))
        .collect();
    assert!(missing.is_empty(), "ops without samples: {missing:?}");
}

#[test]
fn every_tensor_op_is_an_op_on_variables_or_has_no_gradient() {
    let on_variables = public_methods("autograd/src/ops");
    let sampled: BTreeSet<String> =
        samples::all().expect("samples are well formed").iter().map(|sample| sample.op.to_string()).collect();
    let exempt = |name: &String| NOT_OPS.iter().any(|(exempt, _)| exempt == name);
    let missing: Vec<String> = public_methods("tensor/src/ops")
        .into_iter()
        .filter(|name| !on_variables.contains(name) && !sampled.contains(name) && !exempt(name))
        .collect();
    assert!(missing.is_empty(), "tensor ops that variables lack and no sample covers: {missing:?}");
}

/// Whether the public item that `before` leads up to has an example in its docs.
fn has_example(before: &str) -> bool {
    let docs = before.lines().rev().take_while(|line| {
        let line = line.trim_start();
        line.starts_with("///") || line.starts_with("#[") || line.is_empty()
    });
    docs.take_while(|line| !line.is_empty()).any(|line| line.trim_start() == "/// ```")
}

#[test]
fn every_op_shows_an_example() {
    let exempt = |name: &str| NOT_OPS.iter().any(|(exempt, _)| *exempt == name && !name.ends_with("_like"));
    let mut missing = Vec::new();
    for path in ["autograd/src", "tensor/src"].into_iter().flat_map(sources) {
        let text = fs::read_to_string(&path).expect("a readable source file");
        for (at, declaration) in text.match_indices("\n    pub fn ") {
            let name = text[at + declaration.len()..].split(['(', '<']).next().unwrap_or_default();
            let header = text[at..].split('{').next().unwrap_or_default();
            let subject = text[..at].lines().rev().find(|line| line.starts_with("impl"));
            let is_op = subject.is_some_and(|line| line == "impl Var {" || line == "impl Tensor {");
            if is_op && header.contains("Result<") && !exempt(name) && !has_example(&text[..at]) {
                missing.push(format!("{}: {name}", path.display()));
            }
        }
    }
    assert!(missing.is_empty(), "ops without an example in their docs\n{}", missing.join("\n"));
}

/// The parts of a text between pairs of backticks.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

#[test]
fn the_tests_that_cover_the_bugs_of_peers_exist() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let table = fs::read_to_string(root.join("docs/peer-bugs.md")).expect("the table of bugs");
    let sampled: BTreeSet<String> =
        samples::all().expect("samples are well formed").iter().map(|sample| sample.op.to_string()).collect();
    let mut wrong = Vec::new();
    let rows = table.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| bug |"));
    for row in rows {
        let [_, bug, cover, _] = row.split('|').collect::<Vec<_>>()[..] else {
            wrong.push(format!("two cells expected: {row}"));
            continue;
        };
        let names: Vec<&str> = quoted(cover).collect();
        if names.is_empty() && !cover.contains("none") && !cover.contains("samples without elements") {
            wrong.push(format!("neither a test nor a reason: {bug}"));
        }
        for name in names {
            let Some((file, test)) = name.split_once("::") else {
                if !sampled.contains(name) {
                    wrong.push(format!("no op {name} has samples"));
                }
                continue;
            };
            let source = fs::read_to_string(root.join(file)).unwrap_or_default();
            if !source.contains(&format!("#[test]\nfn {test}()"))
                && !source.contains(&format!("#[test]\n    fn {test}()"))
            {
                wrong.push(format!("there is no test {name}"));
            }
        }
    }
    assert!(wrong.is_empty(), "docs/peer-bugs.md\n{}", wrong.join("\n"));
}

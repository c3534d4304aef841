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
    ("log_softmax_backward", "the backward of log_softmax, checked as its gradient"),
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

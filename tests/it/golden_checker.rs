//! Comparing values, dtypes and gradients with PyTorch's, case by case.

use std::collections::HashMap;

use chainrule::prelude::*;
use chainrule::vector_jacobian_product;

use crate::golden_optimizers::golden;

/// The largest error in f64 relative to `1 + |expected|`: a few dozen roundings of 1e-16.
const F64: f64 = 1e-13;
/// As much in f32: a few dozen roundings of 6e-8.
const F32: f64 = 4e-6;

/// The precisions that are tried, and how each may differ.
pub(crate) const FLOATS: [(&str, DType, f64); 2] = [("f64", DType::F64, F64), ("f32", DType::F32, F32)];

/// Compares with one golden file and gathers what differs, so that a run tells everything at once.
pub(crate) struct Checker {
    pub(crate) golden: HashMap<String, Tensor>,
    /// Patterns of names that differ for a reason, which stands beside each.
    exempt: &'static [(&'static str, &'static str)],
    used: Vec<bool>,
    failures: Vec<String>,
    compared: usize,
}

impl Checker {
    pub(crate) fn new(exempt: &'static [(&'static str, &'static str)]) -> Checker {
        Checker { golden: golden("ops"), exempt, used: vec![false; exempt.len()], failures: Vec::new(), compared: 0 }
    }

    pub(crate) fn get(&self, name: &str) -> Tensor {
        self.golden.get(name).unwrap_or_else(|| panic!("no {name} in the golden file")).clone()
    }

    /// The names under `prefix` that end in `suffix`, without both.
    pub(crate) fn cases(&self, prefix: &str, suffix: &str) -> Vec<String> {
        let strip = |name: &String| Some(name.strip_prefix(prefix)?.strip_suffix(suffix)?.to_string());
        let mut cases: Vec<String> = self.golden.keys().filter_map(strip).collect();
        cases.sort();
        assert!(!cases.is_empty(), "nothing is called {prefix}*{suffix}");
        cases
    }

    /// Whether an exemption covers the message: its pattern is what the message starts with and, after a `*`, holds.
    fn is_exempt(&mut self, message: &str) -> bool {
        let covers = |pattern: &str| {
            let (start, rest) = pattern.split_once('*').unwrap_or((pattern, ""));
            message.starts_with(start) && message.contains(rest)
        };
        let found = self.exempt.iter().position(|(pattern, _)| covers(pattern));
        found.inspect(|&found| self.used[found] = true).is_some()
    }

    pub(crate) fn fail(&mut self, message: String) {
        if !self.is_exempt(&message) {
            self.failures.push(message);
        }
    }

    /// Shape and elements agree; NaN and infinities agree with themselves only. A relative tolerance of 0 means the
    /// same number, and so the same sign of zero.
    pub(crate) fn agree(&mut self, name: &str, got: &Tensor, expected: &Tensor, tolerance: f64) {
        self.compared += 1;
        if got.shape() != expected.shape() {
            return self.fail(format!("{name}: got shape {}, PyTorch {}", got.shape(), expected.shape()));
        }
        let pairs = got.to_f64_vec().unwrap().into_iter().zip(expected.to_f64_vec().unwrap());
        for (index, (got, expected)) in pairs.enumerate() {
            let agrees = (got.is_nan() && expected.is_nan())
                || (got == expected && (tolerance > 0.0 || got.is_sign_negative() == expected.is_sign_negative()))
                || (got - expected).abs() <= tolerance * (1.0 + expected.abs());
            if !agrees {
                self.fail(format!("{name}[{index}]: got {got:e}, PyTorch {expected:e}"));
            }
        }
    }

    /// As [`Checker::agree`] with the golden tensor of that name, and in dtype.
    pub(crate) fn value(&mut self, name: &str, got: Result<Tensor>, tolerance: f64) {
        let expected = self.get(name);
        match got {
            Ok(got) if got.dtype() != expected.dtype() => {
                self.fail(format!("{name}: got {}, PyTorch {}", got.dtype(), expected.dtype()));
            }
            Ok(got) => self.agree(name, &got, &expected, tolerance),
            Err(error) => self.fail(format!("{name}: {error}")),
        }
    }

    /// Value and gradients of `f` in one dtype: `<prefix>.y` and `<prefix>.d<input>` for `dy`.
    pub(crate) fn gradients(
        &mut self,
        prefix: &str,
        inputs: &[(&str, Tensor)],
        dy: &Tensor,
        (precision, dtype, tolerance): (&str, DType, f64),
        f: impl Fn(&[Var]) -> Result<Var>,
    ) {
        let tape = Tape::new();
        let leaves: Vec<Var> = inputs.iter().map(|(_, x)| tape.leaf(x.to_dtype(dtype).unwrap())).collect();
        let label = |name: &str| format!("{prefix}.{name} in {precision}");
        let y = match f(&leaves) {
            Ok(y) => y,
            Err(error) => return self.fail(format!("{}: {error}", label("y"))),
        };
        self.agree(&label("y"), &y.detach(), &self.get(&format!("{prefix}.y")), tolerance);
        if y.shape() != dy.shape() {
            return;
        }
        let dy = Var::from(dy.to_dtype(dtype).unwrap());
        let grads = vector_jacobian_product(&y, &leaves.iter().collect::<Vec<_>>(), &dy);
        // The pass above is recorded and goes through the references; this one through the backward kernels.
        let fused = y.mul(&dy).and_then(|y| y.sum(.., false)).and_then(|y| y.backward());
        let (grads, fused) = match (grads, fused) {
            (Ok(grads), Ok(fused)) => (grads, fused),
            (Err(error), _) | (_, Err(error)) => return self.fail(format!("{}: {error}", label("dx"))),
        };
        for (((input, _), leaf), grad) in inputs.iter().zip(&leaves).zip(grads) {
            let Some(expected) = self.golden.get(&format!("{prefix}.d{input}")).cloned() else { continue };
            self.agree(&label(&format!("d{input}, reference")), &grad.detach(), &expected, tolerance);
            self.agree(&label(&format!("d{input}")), fused.get(leaf).unwrap(), &expected, tolerance);
        }
    }

    /// As [`Checker::gradients`] for a case that holds its inputs and `dy`, in f64 and in f32.
    pub(crate) fn case(&mut self, case: &str, inputs: &[&str], f: impl Fn(&[Var]) -> Result<Var>) {
        let inputs: Vec<(&str, Tensor)> =
            inputs.iter().map(|&name| (name, self.get(&format!("{case}.{name}")))).collect();
        let dy = self.get(&format!("{case}.dy"));
        for precision in FLOATS {
            self.gradients(case, &inputs, &dy, precision, &f);
        }
    }

    /// Fails with everything that differed, and where an exemption is no longer needed.
    pub(crate) fn finish(self) {
        let unused = self.exempt.iter().zip(&self.used).filter(|(_, used)| !**used);
        let unused: Vec<&str> = unused.map(|((pattern, _), _)| *pattern).collect();
        assert!(unused.is_empty(), "these agree and need no exemption: {unused:?}");
        let count = self.failures.len();
        let shown = &self.failures[..count];
        assert!(count == 0, "{count} differences in {} tensors:\n{}", self.compared, shown.join("\n"));
    }
}

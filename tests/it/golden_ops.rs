//! Elementwise ops, reductions, scans and sorting against PyTorch at their edges: values, dtypes and gradients.

use std::collections::HashMap;

use chainrule::prelude::*;
use chainrule::{Dims, vector_jacobian_product};

use crate::golden_optimizers::golden;

/// The largest error in f64 relative to `1 + |expected|`: a few dozen roundings of 1e-16.
const F64: f64 = 1e-13;
/// As much in f32: a few dozen roundings of 6e-8.
const F32: f64 = 4e-6;

/// The precisions that are tried, and how each may differ.
const FLOATS: [(&str, DType, f64); 2] = [("f64", DType::F64, F64), ("f32", DType::F32, F32)];

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

type Unary = fn(&Var) -> Result<Var>;
type Binary = fn(&Var, &Var) -> Result<Var>;
type Comparison = fn(&Tensor, &Tensor) -> Result<Tensor>;

const UNARY: [(&str, Unary); 38] = [
    ("abs", Var::abs),
    ("acos", Var::acos),
    ("asin", Var::asin),
    ("atan", Var::atan),
    ("ceil", Var::ceil),
    ("cos", Var::cos),
    ("cosh", Var::cosh),
    ("elu", |x| x.elu(1.0)),
    ("elu_alpha_0.5", |x| x.elu(0.5)),
    ("erf", Var::erf),
    ("exp", Var::exp),
    ("exp2", Var::exp2),
    ("expm1", Var::expm1),
    ("floor", Var::floor),
    ("gelu", Var::gelu),
    ("gelu_tanh", Var::gelu_tanh),
    ("leaky_relu", |x| x.leaky_relu(0.01)),
    ("log", Var::log),
    ("log10", Var::log10),
    ("log1p", Var::log1p),
    ("log2", Var::log2),
    ("mish", Var::mish),
    ("neg", Var::neg),
    ("reciprocal", Var::reciprocal),
    ("relu", Var::relu),
    ("round", Var::round),
    ("rsqrt", Var::rsqrt),
    ("sigmoid", Var::sigmoid),
    ("sign", Var::sign),
    ("silu", Var::silu),
    ("sin", Var::sin),
    ("sinh", Var::sinh),
    ("softplus", Var::softplus),
    ("sqrt", Var::sqrt),
    ("square", Var::square),
    ("tan", Var::tan),
    ("tanh", Var::tanh),
    ("trunc", Var::trunc),
];

const BINARY: [(&str, Binary); 11] = [
    ("add", |a, b| a.add(b)),
    ("sub", |a, b| a.sub(b)),
    ("mul", |a, b| a.mul(b)),
    ("div", |a, b| a.div(b)),
    ("div_floor", |a, b| a.floor_div(b)),
    ("remainder", |a, b| a.rem(b)),
    ("fmod", |a, b| a.fmod(b)),
    ("pow", |a, b| a.pow(b)),
    ("maximum", |a, b| a.maximum(b)),
    ("minimum", |a, b| a.minimum(b)),
    ("atan2", |a, b| a.atan2(b)),
];

const COMPARISONS: [(&str, Comparison); 9] = [
    ("eq", |a, b| a.eq(b)),
    ("ne", |a, b| a.ne(b)),
    ("lt", |a, b| a.lt(b)),
    ("le", |a, b| a.le(b)),
    ("gt", |a, b| a.gt(b)),
    ("ge", |a, b| a.ge(b)),
    ("logical_and", |a, b| a.logical_and(b)),
    ("logical_or", |a, b| a.logical_or(b)),
    ("logical_xor", |a, b| a.logical_xor(b)),
];

#[test]
fn unary() {
    let mut checker = Checker::new(&[
        ("unary.f64.elu*[42]:", "known difference: the gradient at NaN is NaN, PyTorch passes dy"),
        ("unary.f32.elu*[42]:", "as in f64"),
        ("unary.f64.softplus*[35]:", "known difference: there is no threshold, PyTorch is linear above 20"),
        ("unary.f32.gelu.y in f32[41]", "PyTorch's f32 kernel gives NaN at infinity"),
    ]);
    for precision in FLOATS {
        let prefix = format!("unary.{}", precision.0);
        let (x, dy) = (checker.get(&format!("{prefix}.x")), checker.get(&format!("{prefix}.dy")));
        for (op, f) in UNARY {
            checker.gradients(&format!("{prefix}.{op}"), &[("x", x.clone())], &dy, precision, |x| f(&x[0]));
        }
        checker.value(&format!("{prefix}.isnan.y"), x.isnan(), 0.0);
        checker.value(&format!("{prefix}.isinf.y"), x.isinf(), 0.0);
        checker.value(&format!("{prefix}.isfinite.y"), x.isfinite(), 0.0);
        checker.value(&format!("{prefix}.logical_not.y"), x.logical_not(), 0.0);
        // The signs of zeros too, where the result is exact.
        for (op, f) in UNARY {
            if ["abs", "ceil", "floor", "neg", "relu", "round", "trunc", "reciprocal"].contains(&op) {
                checker.value(&format!("{prefix}.{op}.y"), f(&Var::from(x.clone())).map(|y| y.detach()), 0.0);
            }
        }
    }
    checker.finish();
}

#[test]
fn binary_of_floats() {
    let mut checker = Checker::new(&[]);
    for precision in FLOATS {
        let prefix = format!("binary.{}", precision.0);
        let inputs = ["a", "b"].map(|name| (name, checker.get(&format!("{prefix}.{name}"))));
        let dy = checker.get(&format!("{prefix}.dy"));
        for (op, f) in BINARY {
            checker.gradients(&format!("{prefix}.{op}"), &inputs, &dy, precision, |x| f(&x[0], &x[1]));
        }
        let [(_, a), (_, b)] = &inputs;
        for (op, f) in COMPARISONS {
            checker.value(&format!("{prefix}.{op}.y"), f(a, b), 0.0);
        }
        // The signs of zeros too, where the result is exact; which of two equal zeros is greater is not told.
        for (op, f) in BINARY {
            if !["maximum", "minimum", "pow", "atan2"].contains(&op) {
                let y = f(&Var::from(a.clone()), &Var::from(b.clone())).map(|y| y.detach());
                checker.value(&format!("{prefix}.{op}.y"), y, 0.0);
            }
        }
    }
    checker.finish();
}

#[test]
fn binary_of_integers() {
    let mut checker = Checker::new(&[]);
    for dtype in ["i64", "i32", "u8"] {
        let prefix = format!("binary.{dtype}");
        let [a, b] = ["a", "b"].map(|name| Var::from(checker.get(&format!("{prefix}.{name}"))));
        for (op, f) in BINARY {
            if !["pow", "atan2"].contains(&op) {
                // True division is in f32: one rounding.
                let tolerance = if op == "div" { 1e-7 } else { 0.0 };
                checker.value(&format!("{prefix}.{op}.y"), f(&a, &b).map(|y| y.detach()), tolerance);
            }
        }
    }
    let [a, b] = ["a", "b"].map(|name| checker.get(&format!("binary.i64.pow.{name}")));
    checker.value("binary.i64.pow.y", a.pow(&b), 0.0);
    for dtype in ["i64", "u8"] {
        let x = checker.get(&format!("wrapping.{dtype}.x"));
        checker.value(&format!("wrapping.{dtype}.add_1"), x.add(1), 0.0);
        checker.value(&format!("wrapping.{dtype}.mul_3"), x.mul(3), 0.0);
        checker.value(&format!("wrapping.{dtype}.neg"), x.neg(), 0.0);
    }
    checker.finish();
}

/// A reduction of the dims, all where there is none.
type Reduce = fn(&Var, Dims) -> Result<Var>;

const REDUCE: [(&str, Reduce); 14] = [
    ("sum", |x, dims| x.sum(dims, false)),
    ("mean", |x, dims| x.mean(dims, false)),
    ("prod", |x, dims| x.prod(dims, false)),
    ("logsumexp", |x, dims| x.logsumexp(dims, false)),
    ("var", |x, dims| x.var(dims, 1.0, false)),
    ("var_correction_0", |x, dims| x.var(dims, 0.0, false)),
    ("std", |x, dims| x.std(dims, 1.0, false)),
    ("std_correction_0", |x, dims| x.std(dims, 0.0, false)),
    ("norm_1", |x, dims| x.norm(1.0, dims, false)),
    ("norm_2", |x, dims| x.norm(2.0, dims, false)),
    ("norm_3", |x, dims| x.norm(3.0, dims, false)),
    ("norm_inf", |x, dims| x.norm(f64::INFINITY, dims, false)),
    ("amax", |x, dims| x.max(dims, false)),
    ("amin", |x, dims| x.min(dims, false)),
];

const DIMS: [(&str, Option<isize>); 3] = [("dim_0", Some(0)), ("dim_1", Some(1)), ("all", None)];

fn dims(dim: Option<isize>) -> Dims {
    dim.map_or(Dims::All, Dims::from)
}

#[test]
fn reductions_of_floats() {
    let mut checker = Checker::new(&[
        ("reduce.nan.amax", "known difference: a NaN gets the gradient, PyTorch makes that of the whole row NaN"),
        ("reduce.nan.amin", "known difference: a NaN gets the gradient, PyTorch makes that of the whole row NaN"),
        ("reduce.one_col.amax", "known difference: a NaN gets the gradient, PyTorch makes that of the whole row NaN"),
        ("reduce.one_col.amin", "known difference: a NaN gets the gradient, PyTorch makes that of the whole row NaN"),
        (
            "reduce.infinite.prod",
            "the product of the others without division, which PyTorch divides out: NaN or inf / inf",
        ),
        (
            "reduce.one_col.prod",
            "the product of the others without division, which PyTorch divides out: NaN or inf / inf",
        ),
        (
            "reduce.huge.var.dim_1.dx*in f32",
            "the mean of 1000 is rounded to 3e-5 in f32, and the deviations of 1 inherit that",
        ),
        (
            "reduce.huge.var_correction_0.dim_1.dx*in f32",
            "the mean of 1000 is rounded to 3e-5 in f32, and the deviations of 1 inherit that",
        ),
        (
            "reduce.huge.std.dim_1.dx*in f32",
            "the mean of 1000 is rounded to 3e-5 in f32, and the deviations of 1 inherit that",
        ),
        (
            "reduce.huge.std_correction_0.dim_1.dx*in f32",
            "the mean of 1000 is rounded to 3e-5 in f32, and the deviations of 1 inherit that",
        ),
    ]);
    for input in ["plain", "ties", "nan", "infinite", "zeros", "huge", "no_rows", "no_cols", "one_col"] {
        let x = checker.get(&format!("reduce.{input}.x"));
        for (dim_name, dim) in DIMS {
            let name = |op: &str| format!("reduce.{input}.{op}.{dim_name}");
            for (op, f) in REDUCE {
                let Some(dy) = checker.golden.get(&format!("{}.dy", name(op))).cloned() else { continue };
                for precision in FLOATS {
                    checker.gradients(&name(op), &[("x", x.clone())], &dy, precision, |x| f(&x[0], dims(dim)));
                }
            }
            checker.value(&format!("{}.y", name("any")), x.any(dims(dim), false), 0.0);
            checker.value(&format!("{}.y", name("all")), x.all(dims(dim), false), 0.0);
            let arg = format!("{}.y", name("argmax"));
            if !checker.golden.contains_key(&arg) {
                assert!(x.argmax(dims(dim), false).is_err(), "{arg} over nothing");
                continue;
            }
            checker.value(&arg, x.argmax(dims(dim), false), 0.0);
            checker.value(&format!("{}.y", name("argmin")), x.argmin(dims(dim), false), 0.0);
            let Some(dim) = dim else { continue };
            for (op, f) in [("max", Var::max_with_index as fn(&Var, _, _) -> _), ("min", Var::min_with_index)] {
                let (name, dy) = (name(op), checker.get(&format!("{}.dy", name(op))));
                for precision in FLOATS {
                    checker.gradients(&name, &[("x", x.clone())], &dy, precision, |x| Ok(f(&x[0], dim, false)?.0));
                }
                let index = f(&Var::from(x.clone()), dim, false).map(|(_, index): (Var, Tensor)| index);
                checker.value(&format!("{name}.index"), index, 0.0);
            }
        }
    }
    checker.finish();
}

#[test]
fn reductions_of_integers() {
    let mut checker = Checker::new(&[
        ("reduce.u8.any", "any is bool for every dtype, PyTorch's is u8 for u8 alone"),
        ("reduce.u8.all", "as any"),
    ]);
    for input in ["i64", "i32", "u8", "bool"] {
        let x = checker.get(&format!("reduce.{input}.x"));
        for (dim_name, dim) in DIMS {
            let name = |op: &str| format!("reduce.{input}.{op}.{dim_name}.y");
            checker.value(&name("sum"), x.sum(dims(dim), false), 0.0);
            checker.value(&name("prod"), x.prod(dims(dim), false), 0.0);
            checker.value(&name("any"), x.any(dims(dim), false), 0.0);
            checker.value(&name("all"), x.all(dims(dim), false), 0.0);
            checker.value(&name("amax"), x.max(dims(dim), false), 0.0);
            checker.value(&name("amin"), x.min(dims(dim), false), 0.0);
            if input != "bool" {
                checker.value(&name("argmax"), x.argmax(dims(dim), false), 0.0);
                checker.value(&name("argmin"), x.argmin(dims(dim), false), 0.0);
            }
        }
    }
    checker.finish();
}

#[test]
fn a_mean_far_from_zero() {
    let mut checker = Checker::new(&[]);
    let x = checker.get("large_mean.x");
    let near = |name: &str, got: Result<Tensor>, checker: &mut Checker, tolerance| {
        let expected = checker.get(name);
        checker.agree(name, &got.unwrap(), &expected, tolerance);
    };
    near("large_mean.mean_f64", x.mean(1, false), &mut checker, 1e-7);
    // The mean is rounded to 0.06 in f32, which two passes must make up for.
    near("large_mean.var_f64", x.var(1, 1.0, false), &mut checker, 1e-2);
    near("large_mean.std_f64", x.std(1, 1.0, false), &mut checker, 1e-2);
    checker.finish();
}

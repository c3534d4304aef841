//! Elementwise ops against PyTorch at their edges: values, dtypes and gradients.

use chainrule::prelude::*;

use crate::golden_checker::{Checker, FLOATS};

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

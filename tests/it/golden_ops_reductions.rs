//! Reductions against PyTorch at their edges: values, dtypes and gradients.

use chainrule::Dims;
use chainrule::prelude::*;

use crate::golden_checker::{Checker, FLOATS};

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

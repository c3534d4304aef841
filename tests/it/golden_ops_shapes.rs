//! Scans, sorting, selection, products, views, indexing, promotion, casts and creation against PyTorch.

use chainrule::Scalar;
use chainrule::prelude::*;

use crate::golden_checker::Checker;

type View = fn(&Var) -> Result<Var>;
type Unary = fn(&Tensor) -> Result<Tensor>;
type Binary = fn(&Tensor, &Tensor) -> Result<Tensor>;
type WithScalar = fn(&Tensor, Scalar) -> Result<Tensor>;

#[test]
fn scans() {
    let mut checker = Checker::new(&[(
        "cumprod.nan",
        "PyTorch divides by x, so a NaN spoils its own derivative, and a zero after a NaN hides it; see below",
    )]);
    for (op, f) in [("cumsum", Var::cumsum as fn(&Var, isize) -> Result<Var>), ("cumprod", Var::cumprod)] {
        for input in ["plain", "nan", "zeros", "no_cols"] {
            for dim in [0, 1] {
                checker.case(&format!("{op}.{input}.dim_{dim}"), &["x"], |x| f(&x[0], dim));
            }
        }
        for dtype in ["i64", "i32", "u8", "bool"] {
            let x = Var::from(checker.get(&format!("{op}.{dtype}.x")));
            checker.value(&format!("{op}.{dtype}.y"), f(&x, 1).map(|y| y.detach()), 0.0);
        }
    }
    checker.finish();
}

/// `dx_k = sum over i >= k of dy_i * (the product of x_0 .. x_i without x_k)`, in f64 and in that order.
fn cumprod_gradient(x: &[f64], dy: &[f64]) -> Vec<f64> {
    let without = |k: usize, i: usize| (0..=i).filter(|&j| j != k).map(|j| x[j]).product::<f64>();
    (0..x.len()).map(|k| (k..x.len()).map(|i| dy[i] * without(k, i)).sum()).collect()
}

#[test]
fn the_gradient_of_cumprod_beside_nan_is_its_definition() {
    let checker = Checker::new(&[]);
    for dim in [0, 1] {
        let name = format!("cumprod.nan.dim_{dim}");
        let [x, dy] = ["x", "dy"].map(|part| checker.get(&format!("{name}.{part}")));
        let tape = Tape::new();
        let leaf = tape.leaf(x.clone());
        let loss = leaf.cumprod(dim).and_then(|y| y.mul(&dy)).and_then(|y| y.sum(.., false)).unwrap();
        let dx = loss.backward().unwrap().get(&leaf).unwrap().clone();
        for line in 0..x.size(1 - dim).unwrap() as isize {
            let values = |x: &Tensor| x.select(1 - dim, line).unwrap().to_f64_vec().unwrap();
            let (x, got, expected) = (values(&x), values(&dx), cumprod_gradient(&values(&x), &values(&dy)));
            // Infinity times zero is NaN, or zero came first: there the order of the products decides.
            let is_open = x.contains(&f64::INFINITY) && x.contains(&0.0);
            for (got, expected) in got.into_iter().zip(expected) {
                let agrees = (got - expected).abs() < 1e-13 || got == expected || (got.is_nan() && expected.is_nan());
                assert!(agrees || (is_open && !got.is_finite()), "{name}, {x:?}: {got}, expected {expected}");
            }
        }
    }
}

#[test]
fn sorting() {
    let mut checker = Checker::new(&[]);
    for input in ["plain", "ties", "nan", "i64"] {
        let x = checker.get(&format!("sort.{input}.x"));
        for (order, descending) in [("ascending", false), ("descending", true)] {
            for dim in [0, 1] {
                let name = format!("sort.{input}.{order}.dim_{dim}");
                let (y, index) = x.sort(dim, descending).unwrap();
                checker.value(&format!("{name}.y"), Ok(y), 0.0);
                checker.value(&format!("{name}.index"), Ok(index), 0.0);
            }
        }
    }
    for input in ["plain", "nan"] {
        for (order, largest) in [("largest", true), ("smallest", false)] {
            let name = format!("topk.{input}.{order}");
            checker.case(&name, &["x"], |x| Ok(x[0].topk(3, 1, largest)?.0));
            let x = checker.get(&format!("{name}.x"));
            checker.value(&format!("{name}.index"), x.topk(3, 1, largest).map(|(_, index)| index), 0.0);
        }
    }
    checker.finish();
}

#[test]
fn selection() {
    let mut checker = Checker::new(&[
        ("clamp.min*[8]:", "a bound of infinity counts as a bound, where PyTorch has none"),
        ("clamp.max*[0]:", "a bound of infinity counts as a bound, where PyTorch has none"),
    ]);
    for (case, low, high) in
        [("both", -1.0, 1.0), ("min", 0.0, f64::INFINITY), ("max", f64::NEG_INFINITY, 0.0), ("crossed", 1.0, -1.0)]
    {
        checker.case(&format!("clamp.{case}"), &["x"], |x| x[0].clamp(low, high));
    }
    checker.case("lerp", &["a", "b", "weight"], |x| x[0].lerp(&x[1], &x[2]));
    checker.case("addcmul", &["x", "a", "b"], |x| x[0].addcmul(&x[1], &x[2], 0.5));
    let mask = checker.get("where.mask");
    checker.case("where", &["a", "b"], |x| x[0].where_(&mask, &x[1]));
    let mask = checker.get("masked_fill.mask");
    checker.case("masked_fill", &["x"], |x| x[0].masked_fill(&mask, 7.0));
    let mask = checker.get("masked_select.mask");
    checker.case("masked_select", &["x"], |x| x[0].masked_select(&mask));
    checker.finish();
}

#[test]
fn softmax() {
    let mut checker = Checker::new(&[]);
    for dim in [0, 1] {
        checker.case(&format!("softmax.edges.dim_{dim}"), &["x"], |x| x[0].softmax(dim));
        checker.case(&format!("log_softmax.edges.dim_{dim}"), &["x"], |x| x[0].log_softmax(dim));
    }
    checker.finish();
}

#[test]
fn products() {
    let mut checker = Checker::new(&[]);
    for equation in checker.cases("einsum.", ".y") {
        let case = format!("einsum.{equation}");
        let has = |name: &&&str| checker.golden.contains_key(&format!("{case}.{name}"));
        let operands: Vec<&str> = ["a", "b", "c"].iter().filter(has).copied().collect();
        checker.case(&case, &operands, |x| Var::einsum(&equation, &x.iter().collect::<Vec<_>>()));
    }
    for case in checker.cases("matmul.", ".y") {
        checker.case(&format!("matmul.{case}"), &["a", "b"], |x| x[0].matmul(&x[1]));
    }
    checker.finish();
}

#[test]
fn views() {
    let mut checker = Checker::new(&[]);
    let cases: [(&str, View); 21] = [
        ("unfold.size_3_step_2", |x| x.unfold(1, 3, 2)),
        ("unfold.size_2_step_3", |x| x.unfold(1, 2, 3)),
        ("unfold.dim_0", |x| x.unfold(0, 2, 1)),
        ("roll.dim_1_by_1", |x| x.roll(1, 1)),
        ("roll.dim_0_by_-1", |x| x.roll(-1, 0)),
        ("roll.dims_0_1_by_5_-2", |x| x.roll(5, 0)?.roll(-2, 1)),
        ("roll.flat_by_3", |x| x.flatten(0, -1)?.roll(3, 0)?.reshape(x.shape())),
        ("diagonal.-1", |x| x.diagonal(-1, 0, 1)),
        ("diagonal.0", |x| x.diagonal(0, 0, 1)),
        ("diagonal.2", |x| x.diagonal(2, 0, 1)),
        ("tril.-1", |x| x.tril(-1)),
        ("tril.0", |x| x.tril(0)),
        ("tril.2", |x| x.tril(2)),
        ("triu.-1", |x| x.triu(-1)),
        ("triu.0", |x| x.triu(0)),
        ("triu.2", |x| x.triu(2)),
        ("pad.last_1_2", |x| x.pad(&[(1, 2)], 7.0)),
        ("pad.last_1_2_first_0_1", |x| x.pad(&[(1, 2), (0, 1)], 7.0)),
        ("pad.crop_-1_1", |x| x.pad(&[(-1, 1)], 0.0)),
        ("repeat.2_3", |x| x.repeat([2, 3])),
        ("repeat.2_1_3", |x| x.repeat([2, 1, 3])),
    ];
    for (case, f) in cases {
        checker.case(case, &["x"], |x| f(&x[0]));
    }
    let pieces = Tensor::arange(0, 10, 1, &Device::Cpu).unwrap().chunk(4, 0).unwrap();
    let sizes: Vec<i64> = pieces.iter().map(|piece| piece.elements() as i64).collect();
    checker.value("chunk.10_in_4.sizes", Tensor::from_vec(sizes, [4], &Device::Cpu), 0.0);
    let [rows, cols] = [2, 3].map(|n| Tensor::arange(0, n, 1, &Device::Cpu).unwrap());
    for (index, grid) in Tensor::meshgrid(&[&rows, &cols]).unwrap().into_iter().enumerate() {
        checker.value(&format!("meshgrid.xy.{index}"), grid.transpose(0, 1), 0.0);
        checker.value(&format!("meshgrid.ij.{index}"), Ok(grid), 0.0);
    }
    checker.finish();
}

#[test]
fn indexing() {
    let mut checker = Checker::new(&[]);
    for dim in [0, 1] {
        let (name, ids) = (format!("gather.dim_{dim}"), checker.get(&format!("gather.dim_{dim}.index")));
        checker.case(&name, &["x"], |x| x[0].gather(dim, &ids));
        let (name, ids) = (format!("index_select.dim_{dim}"), checker.get(&format!("index_select.dim_{dim}.index")));
        checker.case(&name, &["x"], |x| x[0].index_select(dim, &ids));
    }
    let ids = checker.get("scatter.dim_0.index");
    checker.case("scatter.dim_0", &["x", "src"], |x| x[0].scatter(0, &ids, &x[1]));
    let ids = checker.get("scatter_add.dim_0.index");
    checker.case("scatter_add.dim_0", &["x", "src"], |x| x[0].scatter_add(0, &ids, &x[1]));
    let ids = checker.get("index_add.dim_0.index");
    checker.case("index_add.dim_0", &["x", "src"], |x| x[0].index_add(0, &ids, &x[1]));
    checker.finish();
}

#[test]
fn creation() {
    let mut checker = Checker::new(&[]);
    let cpu = &Device::Cpu;
    // Ours are f32 or i64; where PyTorch's are f64 the numbers are compared in f32.
    let cases = [
        ("arange.0_1_0.1.f32", Tensor::arange(0.0, 1.0, 0.1, cpu)),
        ("arange.0_1_0.1.f64", Tensor::arange(0.0, 1.0, 0.1, cpu)),
        ("arange.1_-1_-0.3.f32", Tensor::arange(1.0, -1.0, -0.3, cpu)),
        ("arange.5.i64", Tensor::arange(0, 5, 1, cpu)),
        ("arange.7_-3_-2.i64", Tensor::arange(7, -3, -2, cpu)),
        ("arange.3_3_1.i64", Tensor::arange(3, 3, 1, cpu)),
        ("linspace.-1_1_7.f32", Tensor::linspace(-1.0, 1.0, 7, cpu)),
        ("linspace.0_1_11.f32", Tensor::linspace(0.0, 1.0, 11, cpu)),
        ("linspace.0_1_11.f64", Tensor::linspace(0.0, 1.0, 11, cpu)),
        ("linspace.3_-2_6.f64", Tensor::linspace(3.0, -2.0, 6, cpu)),
        ("linspace.2_5_1.f64", Tensor::linspace(2.0, 5.0, 1, cpu)),
        ("linspace.2_5_0.f64", Tensor::linspace(2.0, 5.0, 0, cpu)),
    ];
    for (name, got) in cases {
        let (got, expected) = (got.unwrap(), checker.get(name));
        assert_eq!(got.dtype() == DType::I64, expected.dtype() == DType::I64, "{name}");
        // One rounding of each number to f32.
        checker.agree(name, &got, &expected, 1e-7);
    }
    checker.finish();
}

#[test]
fn casts() {
    let mut checker = Checker::new(&[]);
    let dtypes = [
        ("f32", DType::F32),
        ("f64", DType::F64),
        ("f16", DType::F16),
        ("bf16", DType::BF16),
        ("i64", DType::I64),
        ("i32", DType::I32),
        ("u8", DType::U8),
        ("bool", DType::Bool),
    ];
    for from in ["f32", "f64", "i64", "small"] {
        let x = checker.get(&format!("cast.{from}.x"));
        for (to, dtype) in dtypes {
            let name = format!("cast.{from}.{to}");
            if checker.golden.contains_key(&name) {
                checker.value(&name, x.to_dtype(dtype), 0.0);
            }
        }
    }
    let x = checker.get("cast.small.x").abs().unwrap();
    checker.value("cast.small.u8_of_abs", x.to_dtype(DType::U8), 0.0);
    checker.finish();
}

const ORDER: [DType; 8] =
    [DType::F32, DType::F64, DType::F16, DType::BF16, DType::I64, DType::I32, DType::U8, DType::Bool];

/// The place of a result's dtype in [`ORDER`], -1 for an error.
fn code(result: Result<Tensor>) -> i64 {
    result.map_or(-1, |y| ORDER.iter().position(|&dtype| dtype == y.dtype()).unwrap() as i64)
}

#[test]
fn promotion() {
    let mut checker = Checker::new(&[
        ("promotion.add_0d", "known difference: a tensor of no dims promotes like any other"),
        ("promotion.abs.bool", "known difference: bool stays bool, PyTorch refuses it"),
        ("promotion.floor.bool", "as abs"),
        ("promotion.round.bool", "as abs"),
        ("promotion.square.bool", "known difference: bool stays bool, PyTorch gives i64"),
        ("promotion.argmax.bool", "known difference: the first true, PyTorch refuses it"),
    ]);
    let one = |dtype| Tensor::ones([1], dtype, &Device::Cpu).unwrap();
    let tables: [(&str, Binary); 5] = [
        ("add", |a, b| a.add(b)),
        ("div", |a, b| a.div(b)),
        ("pow", |a, b| a.pow(b)),
        ("atan2", |a, b| a.atan2(b)),
        ("add_0d", |a, b| a.add(&b.squeeze(0)?)),
    ];
    for (op, f) in tables {
        let table: Vec<i64> = ORDER.iter().flat_map(|&a| ORDER.map(|b| code(f(&one(a), &one(b))))).collect();
        let expected = checker.get(&format!("promotion.{op}")).to_vec::<i64>().unwrap();
        for (index, (got, expected)) in table.into_iter().zip(expected).enumerate() {
            if got != expected {
                let (a, b) = (ORDER[index / 8], ORDER[index % 8]);
                checker.fail(format!("promotion.{op}.{a}.{b}: got {got}, PyTorch {expected}"));
            }
        }
    }
    let scalars: [(&str, WithScalar); 2] =
        [("add_scalar", |a, scalar| a.add(scalar)), ("div_scalar", |a, scalar| a.div(scalar))];
    for (op, f) in scalars {
        let expected = checker.get(&format!("promotion.{op}")).to_vec::<i64>().unwrap();
        for (row, a) in ORDER.into_iter().enumerate() {
            for (col, scalar) in [Scalar::Bool(true), Scalar::Int(2), Scalar::Float(2.5)].into_iter().enumerate() {
                let (got, expected) = (code(f(&one(a), scalar)), expected[row * 3 + col]);
                if got != expected {
                    checker.fail(format!("promotion.{op}.{a}.{scalar:?}: got {got}, PyTorch {expected}"));
                }
            }
        }
    }
    let alone: [(&str, Unary); 16] = [
        ("sum", |x| x.sum(.., false)),
        ("prod", |x| x.prod(.., false)),
        ("mean", |x| x.mean(.., false)),
        ("cumsum", |x| x.cumsum(0)),
        ("exp", Tensor::exp),
        ("sqrt", Tensor::sqrt),
        ("sigmoid", Tensor::sigmoid),
        ("neg", Tensor::neg),
        ("abs", Tensor::abs),
        ("floor", Tensor::floor),
        ("round", Tensor::round),
        ("sign", Tensor::sign),
        ("square", Tensor::square),
        ("reciprocal", Tensor::reciprocal),
        ("argmax", |x| x.argmax(.., false)),
        ("amax", |x| x.max(0, false)),
    ];
    for (op, f) in alone {
        let expected = checker.get(&format!("promotion.{op}")).to_vec::<i64>().unwrap();
        for (dtype, expected) in ORDER.into_iter().zip(expected) {
            let got = code(f(&one(dtype)));
            if got != expected {
                checker.fail(format!("promotion.{op}.{dtype}: got {got}, PyTorch {expected}"));
            }
        }
    }
    checker.finish();
}

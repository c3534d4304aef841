//! Samples of the elementwise ops. Their oracles are the functions of Rust's standard library in f64, or the formula.

use chainrule_tensor::{BinaryOp, DType, Device, ElementwiseOp, Result, Tensor, UnaryOp};

use crate::Var;
use crate::samples::{Array, ErrorSample, Sample, uniform};

type Function = (UnaryOp, fn(&Var) -> Result<Var>, fn(f64) -> f64);
type Operation = (BinaryOp, fn(&Var, &Var) -> Result<Var>, fn(f64, f64) -> f64);
type Test = (UnaryOp, fn(&Var) -> Result<Tensor>, fn(f64) -> bool);
type Comparison = (BinaryOp, fn(&Var, &Var) -> Result<Tensor>, fn(f64, f64) -> bool);

/// `2/sqrt(pi) exp(-x^2) sum 2^n x^(2n+1) / (2n+1)!!`, all of whose terms have one sign (DLMF 7.6.2).
fn erf(x: f64) -> f64 {
    let (mut term, mut sum, mut n) = (x, x, 1.0);
    while term.abs() > 1e-18 * sum.abs() {
        term *= 2.0 * x * x / (2.0 * n + 1.0);
        sum += term;
        n += 1.0;
    }
    2.0 / std::f64::consts::PI.sqrt() * (-x * x).exp() * sum
}

fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

fn gelu_tanh(x: f64) -> f64 {
    0.5 * x * (1.0 + ((2.0 / std::f64::consts::PI).sqrt() * (x + 0.044715 * x.powi(3))).tanh())
}

fn sign(x: f64) -> f64 {
    if x == 0.0 { 0.0 } else { x.signum() }
}

const FUNCTIONS: &[Function] = &[
    (UnaryOp::Neg, Var::neg, |x| -x),
    (UnaryOp::Abs, Var::abs, f64::abs),
    (UnaryOp::Sign, Var::sign, sign),
    (UnaryOp::Square, Var::square, |x| x * x),
    (UnaryOp::Exp, Var::exp, f64::exp),
    (UnaryOp::Exp2, Var::exp2, f64::exp2),
    (UnaryOp::Expm1, Var::expm1, f64::exp_m1),
    (UnaryOp::Log, Var::log, f64::ln),
    (UnaryOp::Log2, Var::log2, f64::log2),
    (UnaryOp::Log10, Var::log10, f64::log10),
    (UnaryOp::Log1p, Var::log1p, f64::ln_1p),
    (UnaryOp::Sqrt, Var::sqrt, f64::sqrt),
    (UnaryOp::Rsqrt, Var::rsqrt, |x| 1.0 / x.sqrt()),
    (UnaryOp::Reciprocal, Var::reciprocal, |x| 1.0 / x),
    (UnaryOp::Sin, Var::sin, f64::sin),
    (UnaryOp::Cos, Var::cos, f64::cos),
    (UnaryOp::Tan, Var::tan, f64::tan),
    (UnaryOp::Asin, Var::asin, f64::asin),
    (UnaryOp::Acos, Var::acos, f64::acos),
    (UnaryOp::Atan, Var::atan, f64::atan),
    (UnaryOp::Sinh, Var::sinh, f64::sinh),
    (UnaryOp::Cosh, Var::cosh, f64::cosh),
    (UnaryOp::Tanh, Var::tanh, f64::tanh),
    (UnaryOp::Asinh, Var::asinh, f64::asinh),
    (UnaryOp::Acosh, Var::acosh, f64::acosh),
    (UnaryOp::Atanh, Var::atanh, f64::atanh),
    (UnaryOp::Erf, Var::erf, erf),
    (UnaryOp::Floor, Var::floor, f64::floor),
    (UnaryOp::Ceil, Var::ceil, f64::ceil),
    (UnaryOp::Round, Var::round, f64::round_ties_even),
    (UnaryOp::Trunc, Var::trunc, f64::trunc),
    (UnaryOp::Relu, Var::relu, |x| x.max(0.0)),
    (UnaryOp::LeakyRelu, |x| x.leaky_relu(0.1), |x| if x > 0.0 { x } else { 0.1 * x }),
    (UnaryOp::Elu, |x| x.elu(1.5), |x| if x > 0.0 { x } else { 1.5 * x.exp_m1() }),
    (UnaryOp::Sigmoid, Var::sigmoid, sigmoid),
    (UnaryOp::LogSigmoid, Var::log_sigmoid, |x| sigmoid(x).ln()),
    (UnaryOp::Gelu, Var::gelu, |x| 0.5 * x * (1.0 + erf(x / 2f64.sqrt()))),
    (UnaryOp::GeluTanh, Var::gelu_tanh, gelu_tanh),
    (UnaryOp::Silu, Var::silu, |x| x * sigmoid(x)),
    (UnaryOp::Softplus, Var::softplus, |x| x.exp().ln_1p()),
    (UnaryOp::Mish, Var::mish, |x| x * x.exp().ln_1p().tanh()),
    (UnaryOp::Clamp, |x| x.clamp(-1.0, 1.5), |x| x.clamp(-1.0, 1.5)),
];

const TESTS: &[Test] = &[
    (UnaryOp::IsNan, Var::isnan, f64::is_nan),
    (UnaryOp::IsInf, Var::isinf, f64::is_infinite),
    (UnaryOp::IsFinite, Var::isfinite, f64::is_finite),
    (UnaryOp::LogicalNot, Var::logical_not, |x| x == 0.0),
];

const OPERATIONS: &[Operation] = &[
    (BinaryOp::Add, |a, b| a.add(b), |a, b| a + b),
    (BinaryOp::Sub, |a, b| a.sub(b), |a, b| a - b),
    (BinaryOp::Mul, |a, b| a.mul(b), |a, b| a * b),
    (BinaryOp::Div, |a, b| a.div(b), |a, b| a / b),
    (BinaryOp::FloorDiv, |a, b| a.floor_div(b), |a, b| (a / b).floor()),
    (BinaryOp::Rem, |a, b| a.rem(b), |a, b| a - b * (a / b).floor()),
    (BinaryOp::Fmod, |a, b| a.fmod(b), |a, b| a % b),
    (BinaryOp::Pow, |a, b| a.pow(b), f64::powf),
    (BinaryOp::Maximum, |a, b| a.maximum(b), f64::max),
    (BinaryOp::Minimum, |a, b| a.minimum(b), f64::min),
    (BinaryOp::Atan2, |a, b| a.atan2(b), f64::atan2),
];

const COMPARISONS: &[Comparison] = &[
    (BinaryOp::Eq, |a, b| a.eq(b), |a, b| a == b),
    (BinaryOp::Ne, |a, b| a.ne(b), |a, b| a != b),
    (BinaryOp::Lt, |a, b| a.lt(b), |a, b| a < b),
    (BinaryOp::Le, |a, b| a.le(b), |a, b| a <= b),
    (BinaryOp::Gt, |a, b| a.gt(b), |a, b| a > b),
    (BinaryOp::Ge, |a, b| a.ge(b), |a, b| a >= b),
    (BinaryOp::LogicalAnd, |a, b| a.logical_and(b), |a, b| a != 0.0 && b != 0.0),
    (BinaryOp::LogicalOr, |a, b| a.logical_or(b), |a, b| a != 0.0 || b != 0.0),
    (BinaryOp::LogicalXor, |a, b| a.logical_xor(b), |a, b| (a != 0.0) != (b != 0.0)),
];

/// `f` of broadcast operands, index by index.
fn broadcast(a: &[Array], f: impl Fn(f64, f64) -> f64) -> Array {
    let rank = a[0].shape.len().max(a[1].shape.len());
    let size = |x: &Array, dim: usize| (dim + x.shape.len()).checked_sub(rank).map_or(1, |dim| x.shape[dim]);
    let shape: Vec<usize> =
        (0..rank).map(|dim| if size(&a[0], dim) == 1 { size(&a[1], dim) } else { size(&a[0], dim) }).collect();
    Array::build(&shape, |i| f(a[0].at(i), a[1].at(i)))
}

fn flag(value: bool) -> f64 {
    value.into()
}

/// Values around and at the points where tests change their answer.
fn special(shape: &[usize], offset: usize) -> Result<Tensor> {
    let values = [0.0, 1.0, -1.0, f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 2.5];
    let n: usize = shape.iter().product();
    Tensor::from_vec((0..n).map(|i| values[(i * 3 + offset) % 7]).collect(), shape, &Device::Cpu)
}

fn function_samples() -> Result<Vec<Sample>> {
    let mut samples = Vec::new();
    for &(op, call, oracle) in FUNCTIONS {
        let range = op.sample_range();
        for (shape, seed) in [(vec![3, 5], 1), (vec![], 2), (vec![0, 2], 3)] {
            let case = format!("shape {shape:?}");
            let x = uniform(&shape, range.start, range.end, seed)?;
            // A function of a rounded argument amplifies the rounding by its slope, at most 10 in the sample ranges.
            let sample = Sample::new(op.name(), case, vec![x], move |x| call(&x[0]));
            let sample = sample.plain(move |a| a[0].clone().map(oracle)).tolerance(32.0);
            samples.push(if seed == 1 { sample.elementwise() } else { sample });
        }
    }
    for &(op, call, oracle) in TESTS {
        let sample =
            Sample::new(op.name(), "special values", vec![special(&[3, 7], 0)?], move |x| Ok(Var::from(call(&x[0])?)));
        samples.push(sample.plain(move |a| a[0].clone().map(|x| flag(oracle(x)))).no_gradient().elementwise());
    }
    Ok(samples)
}

fn operation_samples() -> Result<Vec<Sample>> {
    let mut samples = Vec::new();
    for &(op, call, oracle) in OPERATIONS {
        let range = op.sample_range();
        for (a, b) in [(vec![3, 4], vec![3, 4]), (vec![3, 1, 2], vec![4, 1]), (vec![], vec![2]), (vec![0, 1], vec![3])]
        {
            let case = format!("shapes {a:?} and {b:?}");
            let inputs = vec![uniform(&a, range.start, range.end, 1)?, uniform(&b, range.start, range.end, 2)?];
            let sample = Sample::new(op.name(), case, inputs, move |x| call(&x[0], &x[1]));
            let sample = sample.plain(move |a| broadcast(a, oracle));
            samples.push(if a == b { sample.elementwise() } else { sample });
        }
        let square = vec![uniform(&[5], range.start, range.end, 3)?];
        samples.push(
            Sample::new(op.name(), "of a value and 1.25", square.clone(), move |x| {
                call(&x[0], &Tensor::full((), 1.25, x[0].dtype(), &x[0].device())?.into())
            })
            .plain(move |a| a[0].clone().map(|x| oracle(x, 1.25)))
            .elementwise(),
        );
    }
    for &(op, call, oracle) in COMPARISONS {
        for (case, shape) in [("special values", vec![2, 7]), ("special values, broadcast", vec![7])] {
            let inputs = vec![special(&[2, 7], 0)?, special(&shape, 1)?];
            let sample = Sample::new(op.name(), case, inputs, move |x| Ok(Var::from(call(&x[0], &x[1])?)));
            let sample = sample.plain(move |a| broadcast(a, |a, b| flag(oracle(a, b)))).no_gradient();
            samples.push(if shape.len() == 2 { sample.elementwise() } else { sample });
        }
    }
    Ok(samples)
}

/// Integers: signs of quotients and remainders, and wrapping.
fn integer_samples() -> Result<Vec<Sample>> {
    let ints = |values: &[i64]| Tensor::from_slice(values, [values.len()], &Device::Cpu);
    let (a, b) = (ints(&[7, -7, 7, -7, 6])?, ints(&[2, 2, -2, -2, 3])?);
    let sample = |op, call: fn(&[Var]) -> Result<Var>, expected: [f64; 5]| {
        let oracle = move |_: &[Array]| Array { shape: vec![5], data: expected.to_vec() };
        Sample::new(op, "integers of both signs", vec![a.clone(), b.clone()], call)
            .plain(oracle)
            .no_gradient()
            .dtypes(&[DType::F32])
    };
    Ok(vec![
        sample("floor_div", |x| x[0].floor_div(&x[1]), [3.0, -4.0, -4.0, 3.0, 2.0]),
        sample("rem", |x| x[0].rem(&x[1]), [1.0, 1.0, -1.0, -1.0, 0.0]),
        sample("fmod", |x| x[0].fmod(&x[1]), [1.0, -1.0, 1.0, -1.0, 0.0]),
        sample("div", |x| x[0].div(&x[1]), [3.5, -3.5, -3.5, 3.5, 2.0]),
        sample("mul", |x| x[0].mul(&x[1]), [14.0, -14.0, -14.0, 14.0, 18.0]),
        sample("maximum", |x| x[0].maximum(&x[1]), [7.0, 2.0, 7.0, -2.0, 6.0]),
    ])
}

/// Ops with numbers on the left, of three operands, and choices.
fn mixed_samples() -> Result<Vec<Sample>> {
    let x = || uniform(&[3, 4], 0.5, 2.0, 1);
    let three = || Ok(vec![x()?, uniform(&[4], -1.0, 1.0, 2)?, uniform(&[3, 1], -1.0, 1.0, 3)?]);
    let one_shape = || (1..4).map(|seed| uniform(&[5], -1.0, 1.0, seed)).collect::<Result<Vec<_>>>();
    let mask = Tensor::new([[true, false, true, false]], &Device::Cpu)?;
    let masks = [mask.clone(), mask];
    let [chosen, filled] = masks;
    Ok(vec![
        Sample::new("rsub", "2 - x", vec![x()?], |x| x[0].rsub(2.0)).plain(|a| a[0].clone().map(|x| 2.0 - x)),
        Sample::new("rdiv", "2 / x", vec![x()?], |x| x[0].rdiv(2.0)).plain(|a| a[0].clone().map(|x| 2.0 / x)),
        Sample::new("rpow", "2^x", vec![x()?], |x| x[0].rpow(2.0)).plain(|a| a[0].clone().map(|x| 2f64.powf(x))),
        Sample::new("lerp", "three shapes", three()?, |x| x[0].lerp(&x[1], &x[2]))
            .plain(|a| Array::build(&[3, 4], |i| a[0].at(i) + a[2].at(i) * (a[1].at(i) - a[0].at(i)))),
        Sample::new("lerp", "one shape", one_shape()?, |x| x[0].lerp(&x[1], &x[2]))
            .plain(|a| Array::build(&[5], |i| a[0].at(i) + a[2].at(i) * (a[1].at(i) - a[0].at(i))))
            .elementwise(),
        Sample::new("addcmul", "three shapes", three()?, |x| x[0].addcmul(&x[1], &x[2], 0.5))
            .plain(|a| Array::build(&[3, 4], |i| a[0].at(i) + 0.5 * a[1].at(i) * a[2].at(i))),
        Sample::new("where_", "by column", vec![x()?, uniform(&[4], -1.0, 1.0, 4)?], move |x| {
            x[0].where_(&chosen.to_device(&x[0].device())?, &x[1])
        })
        .plain(|a| Array::build(&[3, 4], |i| if i[1] % 2 == 0 { a[0].at(i) } else { a[1].at(i) })),
        Sample::new("masked_fill", "by column", vec![x()?], move |x| {
            x[0].masked_fill(&filled.to_device(&x[0].device())?, -1.0)
        })
        .plain(|a| Array::build(&[3, 4], |i| if i[1] % 2 == 0 { -1.0 } else { a[0].at(i) })),
        Sample::new("to_dtype", "to f64 and back", vec![x()?], |x| x[0].to_dtype(DType::F64)?.to_dtype(x[0].dtype()))
            .plain(|a| a[0].clone())
            .needs(DType::F64),
        Sample::new("to_device", "to the same", vec![x()?], |x| x[0].to_device(&x[0].device())).plain(|a| a[0].clone()),
        Sample::new("gelu", "bench", vec![uniform(&[1024, 1024], -3.0, 3.0, 5)?], |x| x[0].gelu()).bench(),
        Sample::new(
            "add",
            "bench",
            vec![uniform(&[1024, 1024], -3.0, 3.0, 5)?, uniform(&[1024], -3.0, 3.0, 6)?],
            |x| x[0].add(&x[1]),
        )
        .bench(),
    ])
}

pub(crate) fn samples() -> Result<Vec<Sample>> {
    Ok([function_samples()?, operation_samples()?, integer_samples()?, mixed_samples()?].concat())
}

pub(crate) fn error_samples() -> Result<Vec<ErrorSample>> {
    let two = |a: &[usize], b: &[usize]| Ok(vec![uniform(a, 0.0, 1.0, 1)?, uniform(b, 0.0, 1.0, 2)?]);
    let zero = || Ok(vec![Tensor::new([1i64], &Device::Cpu)?, Tensor::new([0i64], &Device::Cpu)?]);
    let bools = || Ok(vec![Tensor::new([true], &Device::Cpu)?]);
    let floats = two(&[2, 3], &[2, 3])?;
    Ok(vec![
        ErrorSample::new(
            "add",
            two(&[2, 3], &[2])?,
            |x| x[0].add(&x[1]),
            "add: shapes [2, 3] and [2] do not broadcast",
        ),
        ErrorSample::new("floor_div", zero()?, |x| x[0].floor_div(&x[1]), "division of an integer by zero"),
        ErrorSample::new("rem", zero()?, |x| x[0].rem(&x[1]), "division of an integer by zero"),
        ErrorSample::new("neg", bools()?, |x| x[0].neg(), "neg: is not defined for bool"),
        ErrorSample::new("sub", bools()?, |x| x[0].sub(&x[0]), "sub: is not defined for bool"),
        ErrorSample::new(
            "where",
            floats.clone(),
            |x| x[0].where_(&x[1].detach(), 0.0),
            "the condition is f64, expected bool",
        ),
        ErrorSample::new(
            "masked_fill",
            floats,
            |x| x[0].masked_fill(&x[1].detach(), 0.0),
            "the condition is f64, expected bool",
        ),
    ])
}

/// Every row of the table of kernels is sampled; the hot gradients are sampled as gradients of their ops.
#[cfg(test)]
#[test]
fn every_row_of_the_table_has_a_sample() {
    let unary = |op: &UnaryOp| FUNCTIONS.iter().any(|row| row.0 == *op) || TESTS.iter().any(|row| row.0 == *op);
    let binary =
        |op: &BinaryOp| OPERATIONS.iter().any(|row| row.0 == *op) || COMPARISONS.iter().any(|row| row.0 == *op);
    assert!(UnaryOp::ALL.iter().all(unary));
    assert!(BinaryOp::ALL.iter().all(|op| binary(op) || op.name().ends_with("_backward")));
}

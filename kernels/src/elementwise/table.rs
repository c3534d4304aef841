//! The table of elementwise ops: one row for each.
//!
//! A row says, in this order: variant and name; what it accepts and results in ([`Typing`]); the range from which tests
//! draw its operands; its expression for devices; its expression for `f32` and `f64`; and, where integers have a meaning
//! of their own, the one for `i64`. Operands are `x`, `y` and `z`; `s` holds up to two parameters.
//!
//! The device expression is text that is valid in CUDA and in WGSL: constants are written `c(0.5)`, parameters `s0` and
//! `s1`, choices `select(if_false, if_true, condition)`, and functions that the two languages lack or spell differently
//! by their names here (`erf`, `log1p`, `is_nan`, `floor_div`, ...). A device's prelude defines all of them for its element
//! type. Expressions of [`Typing::Test`] are truth values there, and 1 or 0 here. They compare with `==` and negate it:
//! `!=` is false for NaN on some devices.

use super::functions::*;
use super::{Block, Row, Typing};
use crate::Kernel;
use crate::cpu::elementwise::{map1, map2, map3, run};
use crate::cpu::real::Real;

/// An elementwise op: an enum variant of [`UnaryOp`], [`BinaryOp`] or [`TernaryOp`].
pub trait ElementwiseOp: Copy + 'static {
    /// Every op, in the order of the table.
    const ALL: &'static [Self];
    /// How many operands it has.
    const ARITY: usize;
    /// Its row of the table.
    fn row(self) -> &'static Row;
    /// Its place in [`ElementwiseOp::ALL`].
    fn index(self) -> usize;
    /// Its loop over a block of reals.
    fn real_block<R: Real>(self) -> Block<R>;
    /// Its loop over a block of integers, if it has one.
    fn int_block(self) -> Option<Block<i64>>;

    /// The name, as of the method: `log1p`.
    #[expect(clippy::misnamed_getters, reason = "the kernels of all ops share the name of the file")]
    fn name(self) -> &'static str {
        self.row().kernel.entry
    }
    /// The expression for devices: `exp(x) - c(1.0)`.
    fn expression(self) -> &'static str {
        self.row().expression
    }
    /// The range from which tests draw operands.
    fn sample_range(self) -> std::ops::Range<f64> {
        self.row().range.clone()
    }
    /// Whether operands promoted to `dtype` can be computed with.
    fn accepts(self, dtype: crate::DType) -> bool {
        self.row().typing.accepts(dtype)
    }
    /// The dtype of the result for operands promoted to `dtype`.
    fn output_dtype(self, dtype: crate::DType) -> crate::DType {
        self.row().typing.output_dtype(dtype)
    }
}

/// Makes an enum of ops from rows. `elementwise! { /// Doc. Op [x] [1] s map1; (Neg "neg", Number, ..., -x, x.wrapping_neg()) }`
/// expands to
///
/// ```text
/// /// Doc.
/// pub enum Op { #[doc = "`neg`: `-x`"] Neg }
/// impl ElementwiseOp for Op {
///     const ALL: &'static [Op] = &[Op::Neg];
///     fn row(self) -> &'static Row { static ROWS: &[Row] = &[Row { ... }]; &ROWS[self as usize] }
///     fn real_block<R: Real>(self) -> Block<R> {
///         match self { Op::Neg => { fn op<R: Real>([x]: [R; 1], s: [R; 2]) -> R { -x } |i, s, y| map1(i, s, y, op::<R>) } }
///     }
///     ...
/// }
/// ```
macro_rules! elementwise {
    ($(#[$doc:meta])* $Op:ident $x:tt [$arity:literal] $s:ident $map:ident;
     $(($Name:ident $name:literal, $typing:ident, $range:expr, $text:literal, $real:expr $(, $int:expr)?))*) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
        pub enum $Op { $(#[doc = concat!("`", $name, "`: `", $text, "`.")] $Name),* }

        #[allow(unused_variables, unreachable_code)]
        impl ElementwiseOp for $Op {
            const ALL: &'static [$Op] = &[$($Op::$Name),*];
            const ARITY: usize = $arity;
            fn row(self) -> &'static Row {
                static ROWS: &[Row] = &[$(Row {
                    kernel: Kernel { name: "elementwise", entry: $name, cpu: run::<$Op>, #[cfg(feature = "cuda")] cuda: crate::cuda::elementwise::run::<$Op>, #[cfg(feature = "wgpu")] wgpu: crate::wgpu::elementwise::run::<$Op> },
                    typing: Typing::$typing, range: $range, expression: $text,
                }),*];
                &ROWS[self as usize]
            }
            fn index(self) -> usize { self as usize }
            fn real_block<R: Real>(self) -> Block<R> {
                match self { $($Op::$Name => {
                    #[inline(always)] fn op<R: Real>($x: [R; $arity], $s: [R; 2]) -> R { $real }
                    |inputs, s, y| $map(inputs, s, y, op::<R>)
                })* }
            }
            fn int_block(self) -> Option<Block<i64>> {
                match self { $($Op::$Name => {
                    $(#[inline(always)] fn op($x: [i64; $arity], $s: [i64; 2]) -> i64 { $int }
                    return Some(|inputs, s, y| $map(inputs, s, y, op));)?
                    None
                })* }
            }
        }
    };
}

elementwise! {
    /// Ops of one operand.
    UnaryOp [x] [1] s map1;
    (Neg "neg", Number, -3.0..3.0, "-x", -x, x.wrapping_neg())
    (Abs "abs", Any, -3.0..3.0, "abs(x)", x.abs(), x.wrapping_abs())
    (Sign "sign", Any, -3.0..3.0, "sign(x)", sign(x), x.signum())
    (Square "square", Any, -3.0..3.0, "x * x", x * x, x.wrapping_mul(x))
    (Exp "exp", Float, -3.0..3.0, "exp(x)", x.exp())
    (Exp2 "exp2", Float, -3.0..3.0, "exp2(x)", x.exp2())
    (Expm1 "expm1", Float, -3.0..3.0, "expm1(x)", x.expm1())
    (Log "log", Float, 0.1..4.0, "log(x)", x.ln())
    (Log2 "log2", Float, 0.1..4.0, "log2(x)", x.log2())
    (Log10 "log10", Float, 0.1..4.0, "log10(x)", x.log10())
    (Log1p "log1p", Float, -0.9..4.0, "log1p(x)", x.log1p())
    (Sqrt "sqrt", Float, 0.1..4.0, "sqrt(x)", x.sqrt())
    (Rsqrt "rsqrt", Float, 0.1..4.0, "c(1.0) / sqrt(x)", R::c(1.0) / x.sqrt())
    (Reciprocal "reciprocal", Float, 0.2..3.0, "c(1.0) / x", R::c(1.0) / x)
    (Sin "sin", Float, -4.0..4.0, "sin(x)", x.sin())
    (Cos "cos", Float, -4.0..4.0, "cos(x)", x.cos())
    (Tan "tan", Float, -1.2..1.2, "tan(x)", x.tan())
    (Asin "asin", Float, -0.9..0.9, "asin(x)", x.asin())
    (Acos "acos", Float, -0.9..0.9, "acos(x)", x.acos())
    (Atan "atan", Float, -3.0..3.0, "atan(x)", x.atan())
    (Sinh "sinh", Float, -3.0..3.0, "sinh(x)", x.sinh())
    (Cosh "cosh", Float, -3.0..3.0, "cosh(x)", x.cosh())
    (Tanh "tanh", Float, -3.0..3.0, "tanh(x)", x.tanh())
    (Asinh "asinh", Float, -3.0..3.0, "asinh(x)", x.asinh())
    (Acosh "acosh", Float, 1.1..4.0, "acosh(x)", x.acosh())
    (Atanh "atanh", Float, -0.9..0.9, "atanh(x)", x.atanh())
    (Sigmoid "sigmoid", Float, -4.0..4.0, "sigmoid(x)", x.sigmoid())
    (LogSigmoid "log_sigmoid", Float, -4.0..4.0, "-softplus(-x)", -(-x).softplus())
    (Relu "relu", Any, -3.0..3.0, "select(x, c(0.0), x <= c(0.0))", if x <= R::c(0.0) { R::c(0.0) } else { x }, x.max(0))
    (LeakyRelu "leaky_relu", Float, -3.0..3.0, "select(x * s0, x, x > c(0.0))", if x > R::c(0.0) { x } else { x * s[0] })
    (Elu "elu", Float, -3.0..3.0, "select(s0 * expm1(x), x, x > c(0.0))", if x > R::c(0.0) { x } else { s[0] * x.expm1() })
    (Gelu "gelu", Float, -3.0..3.0, "c(0.5) * x * (c(1.0) + erf(x * c(0.7071067811865476)))", gelu(x))
    (GeluTanh "gelu_tanh", Float, -3.0..3.0,
        "c(0.5) * x * (c(1.0) + tanh(c(0.7978845608028654) * (x + c(0.044715) * x * x * x)))", gelu_tanh(x))
    (Silu "silu", Float, -4.0..4.0, "x * sigmoid(x)", x * x.sigmoid())
    (Softplus "softplus", Float, -4.0..4.0, "softplus(x)", x.softplus())
    (Mish "mish", Float, -4.0..4.0, "x * tanh(softplus(x))", mish(x))
    (Erf "erf", Float, -3.0..3.0, "erf(x)", x.erf())
    (Floor "floor", Any, -3.0..3.0, "floor(x)", x.floor(), x)
    (Ceil "ceil", Any, -3.0..3.0, "ceil(x)", x.ceil(), x)
    (Round "round", Any, -3.0..3.0, "round_ties_even(x)", x.round(), x)
    (Trunc "trunc", Any, -3.0..3.0, "trunc(x)", x.trunc(), x)
    (Clamp "clamp", Number, -3.0..3.0, "min(max(x, s0), s1)", clamp(x, s[0], s[1]), x.max(s[0]).min(s[1]))
    (IsNan "isnan", Test, -3.0..3.0, "is_nan(x)", R::flag(x.is_nan()), 0)
    (IsInf "isinf", Test, -3.0..3.0, "is_inf(x)", R::flag(x.abs() == R::c(f64::INFINITY)), 0)
    (IsFinite "isfinite", Test, -3.0..3.0, "is_finite(x)", R::flag(x.abs() < R::c(f64::INFINITY)), 1)
    (LogicalNot "logical_not", Test, -3.0..3.0, "x == c(0.0)", R::flag(x == R::c(0.0)), (x == 0).into())
}

elementwise! {
    /// Ops of two operands.
    BinaryOp [x, y] [2] s map2;
    (Add "add", Any, -3.0..3.0, "x + y", x + y, x.wrapping_add(y))
    (Sub "sub", Number, -3.0..3.0, "x - y", x - y, x.wrapping_sub(y))
    (Mul "mul", Any, -3.0..3.0, "x * y", x * y, x.wrapping_mul(y))
    (Div "div", Float, 0.5..3.0, "x / y", x / y)
    (FloorDiv "floor_div", Quotient, 0.5..3.0, "floor_div(x, y)", floor_div(x, y), int_floor_div(x, y))
    (Rem "rem", Quotient, 0.5..3.0, "rem(x, y)", rem(x, y), int_rem(x, y))
    (Fmod "fmod", Quotient, 0.5..3.0, "fmod(x, y)", x % y, int_fmod(x, y))
    (Pow "pow", Number, 0.2..2.0, "pow(x, y)", x.pow(y), int_pow(x, y))
    (Maximum "maximum", Any, -3.0..3.0, "maximum(x, y)", maximum(x, y), x.max(y))
    (Minimum "minimum", Any, -3.0..3.0, "minimum(x, y)", minimum(x, y), x.min(y))
    (Atan2 "atan2", Float, 0.2..3.0, "atan2(x, y)", x.atan2(y))
    (Eq "eq", Test, -3.0..3.0, "x == y", R::flag(x == y), (x == y).into())
    (Ne "ne", Test, -3.0..3.0, "!(x == y)", R::flag(x != y), (x != y).into())
    (Lt "lt", Test, -3.0..3.0, "x < y", R::flag(x < y), (x < y).into())
    (Le "le", Test, -3.0..3.0, "x <= y", R::flag(x <= y), (x <= y).into())
    (Gt "gt", Test, -3.0..3.0, "x > y", R::flag(x > y), (x > y).into())
    (Ge "ge", Test, -3.0..3.0, "x >= y", R::flag(x >= y), (x >= y).into())
    (LogicalAnd "logical_and", Test, -3.0..3.0, "!(x == c(0.0)) && !(y == c(0.0))",
        R::flag((x != R::c(0.0)) & (y != R::c(0.0))), ((x != 0) & (y != 0)).into())
    (LogicalOr "logical_or", Test, -3.0..3.0, "!(x == c(0.0)) || !(y == c(0.0))",
        R::flag((x != R::c(0.0)) | (y != R::c(0.0))), ((x != 0) | (y != 0)).into())
    (LogicalXor "logical_xor", Test, -3.0..3.0, "(x == c(0.0)) != (y == c(0.0))",
        R::flag((x != R::c(0.0)) != (y != R::c(0.0))), ((x != 0) != (y != 0)).into())
    // The hot gradients, each in one pass. Of sigmoid and tanh `x` is the result of the forward op, of the others its
    // operand; `y` is the gradient that arrives.
    (SigmoidBackward "sigmoid_backward", Float, 0.1..0.9, "y * (c(1.0) - x) * x", y * (R::c(1.0) - x) * x)
    (TanhBackward "tanh_backward", Float, -0.9..0.9, "y * (c(1.0) - x * x)", y * (R::c(1.0) - x * x))
    (ReluBackward "relu_backward", Float, -3.0..3.0, "select(y, c(0.0), x <= c(0.0))",
        if x <= R::c(0.0) { R::c(0.0) } else { y })
    (GeluBackward "gelu_backward", Float, -3.0..3.0,
        "y * (c(0.5) * (c(1.0) + erf(x * c(0.7071067811865476))) + x * exp(c(-0.5) * x * x) * c(0.3989422804014327))",
        gelu_backward(x, y))
    (GeluTanhBackward "gelu_tanh_backward", Float, -3.0..3.0, "gelu_tanh_backward(x, y)", gelu_tanh_backward(x, y))
    (SiluBackward "silu_backward", Float, -4.0..4.0, "y * sigmoid(x) * (c(1.0) + x * (c(1.0) - sigmoid(x)))",
        silu_backward(x, y))
}

elementwise! {
    /// Ops of three operands.
    TernaryOp [x, y, z] [3] s map3;
    (Where "where", Select, -3.0..3.0, "select(y, z, x == c(0.0))", if x != R::c(0.0) { y } else { z }, if x != 0 { y } else { z })
    (Lerp "lerp", Float, -3.0..3.0, "lerp(x, y, z)", lerp(x, y, z))
    (Addcmul "addcmul", Number, -3.0..3.0, "x + s0 * y * z", x + s[0] * y * z, x.wrapping_add(s[0].wrapping_mul(y).wrapping_mul(z)))
}

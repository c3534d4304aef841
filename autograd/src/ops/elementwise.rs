//! The derivatives of elementwise ops: one table for functions of one variable, one for those of two.
//!
//! They are written in variables, so that derivatives of every order follow. The hot ones are ops of their own that
//! compute `f'(x) dy` in one pass.

use chainrule_tensor::{Arg, BinaryOp, ElementwiseOp, Error, Result, Scalar, Tensor, UnaryOp};

use crate::record::{record, record_keeping_output};
use crate::{Pull, Var};

/// An operand: a variable, a tensor, or a number that takes the dtype of what it meets.
#[derive(Clone, Debug)]
pub enum VarArg<'a> {
    /// A variable, borrowed.
    Var(&'a Var),
    /// A variable (or a constant tensor), owned.
    Owned(Var),
    /// A number.
    Scalar(Scalar),
}

impl VarArg<'_> {
    /// The operand as the tensor ops take it.
    pub(crate) fn arg(&self) -> Arg<'_> {
        match self {
            VarArg::Var(x) => x.value().into(),
            VarArg::Owned(x) => x.value().into(),
            VarArg::Scalar(value) => Arg::Scalar(*value),
        }
    }

    fn var(&self) -> Option<&Var> {
        match self {
            VarArg::Var(x) => Some(x),
            VarArg::Owned(x) => Some(x),
            VarArg::Scalar(_) => None,
        }
    }
}

impl<'a> From<&'a Var> for VarArg<'a> {
    fn from(x: &'a Var) -> Self {
        VarArg::Var(x)
    }
}

impl From<Var> for VarArg<'_> {
    fn from(x: Var) -> Self {
        VarArg::Owned(x)
    }
}

impl From<&Tensor> for VarArg<'_> {
    fn from(x: &Tensor) -> Self {
        VarArg::Owned(x.into())
    }
}

impl From<Tensor> for VarArg<'_> {
    fn from(x: Tensor) -> Self {
        VarArg::Owned(x.into())
    }
}

impl<'a> From<&'a crate::Param> for VarArg<'a> {
    fn from(x: &'a crate::Param) -> Self {
        VarArg::Var(x)
    }
}

impl From<Scalar> for VarArg<'_> {
    fn from(value: Scalar) -> Self {
        VarArg::Scalar(value)
    }
}

impl From<f64> for VarArg<'_> {
    fn from(value: f64) -> Self {
        VarArg::Scalar(value.into())
    }
}

impl From<f32> for VarArg<'_> {
    fn from(value: f32) -> Self {
        VarArg::Scalar(value.into())
    }
}

impl From<i64> for VarArg<'_> {
    fn from(value: i64) -> Self {
        VarArg::Scalar(value.into())
    }
}

impl From<i32> for VarArg<'_> {
    fn from(value: i32) -> Self {
        VarArg::Scalar(value.into())
    }
}

/// The gradient `f'(x) dy` of a function of one variable with result `y` and parameters `s`.
///
/// Exhaustive: an op that is added to the table of kernels does not compile without its derivative here.
fn unary_gradient(op: UnaryOp, x: &Var, y: &Var, dy: &Var, s: [f64; 2]) -> Result<Var> {
    use std::f64::consts::{LN_2, LN_10, PI};
    let one_minus_square = |x: &Var| x.square()?.rsub(1.0);
    match op {
        UnaryOp::Neg => dy.neg(),
        UnaryOp::Abs => dy.mul(x.sign()?),
        UnaryOp::Square => dy.mul(x)?.mul(2.0),
        UnaryOp::Exp => dy.mul(y),
        UnaryOp::Exp2 => dy.mul(y)?.mul(LN_2),
        UnaryOp::Expm1 => dy.mul(y.add(1.0)?),
        UnaryOp::Log => dy.div(x),
        UnaryOp::Log2 => dy.div(x.mul(LN_2)?),
        UnaryOp::Log10 => dy.div(x.mul(LN_10)?),
        UnaryOp::Log1p => dy.div(x.add(1.0)?),
        UnaryOp::Sqrt => dy.div(y.mul(2.0)?),
        UnaryOp::Rsqrt => dy.mul(y.square()?.mul(y)?)?.mul(-0.5),
        UnaryOp::Reciprocal => dy.mul(y.square()?)?.neg(),
        UnaryOp::Sin => dy.mul(x.cos()?),
        UnaryOp::Cos => dy.mul(x.sin()?)?.neg(),
        UnaryOp::Tan => dy.mul(y.square()?.add(1.0)?),
        UnaryOp::Asin => dy.mul(one_minus_square(x)?.rsqrt()?),
        UnaryOp::Acos => dy.mul(one_minus_square(x)?.rsqrt()?)?.neg(),
        UnaryOp::Atan => dy.div(x.square()?.add(1.0)?),
        UnaryOp::Sinh => dy.mul(x.cosh()?),
        UnaryOp::Cosh => dy.mul(x.sinh()?),
        UnaryOp::Tanh => y.activation_backward(BinaryOp::TanhBackward, dy),
        UnaryOp::Asinh => dy.mul(x.square()?.add(1.0)?.rsqrt()?),
        UnaryOp::Acosh => dy.mul(x.square()?.sub(1.0)?.rsqrt()?),
        UnaryOp::Atanh => dy.div(one_minus_square(x)?),
        UnaryOp::Sigmoid => y.activation_backward(BinaryOp::SigmoidBackward, dy),
        UnaryOp::LogSigmoid => dy.mul(x.neg()?.sigmoid()?),
        UnaryOp::Relu => x.activation_backward(BinaryOp::ReluBackward, dy),
        UnaryOp::LeakyRelu => dy.where_(&x.gt(0.0)?, dy.mul(s[0])?),
        UnaryOp::Elu => dy.where_(&x.gt(0.0)?, dy.mul(y.add(s[0])?)?),
        UnaryOp::Gelu => x.activation_backward(BinaryOp::GeluBackward, dy),
        UnaryOp::GeluTanh => x.activation_backward(BinaryOp::GeluTanhBackward, dy),
        UnaryOp::Silu => x.activation_backward(BinaryOp::SiluBackward, dy),
        UnaryOp::Softplus => dy.mul(x.sigmoid()?),
        UnaryOp::Mish => {
            let t = x.softplus()?.tanh()?;
            dy.mul(t.add(x.mul(one_minus_square(&t)?)?.mul(x.sigmoid()?)?)?)
        }
        UnaryOp::Erf => dy.mul(x.square()?.neg()?.exp()?)?.mul(2.0 / PI.sqrt()),
        UnaryOp::Clamp => dy.where_(&x.gt(s[0])?.logical_and(&x.lt(s[1])?)?, 0.0),
        UnaryOp::Sign | UnaryOp::Floor | UnaryOp::Ceil | UnaryOp::Round | UnaryOp::Trunc => dy.mul(0.0),
        UnaryOp::IsNan | UnaryOp::IsInf | UnaryOp::IsFinite | UnaryOp::LogicalNot => no_gradient(op.name()),
    }
}

/// The gradients of an op of two operands, before they are summed to the shapes of the operands.
///
/// `when(0, ...)` and `when(1, ...)` compute what is wanted.
fn binary_gradient(op: BinaryOp, a: &Var, b: &Var, y: &Var, pull: &Pull<'_>) -> Result<[Option<Var>; 2]> {
    let dy = pull.dy()?;
    let (da, db): (Result<_>, Result<_>) = match op {
        BinaryOp::Add => (pull.when(0, || Ok(dy.clone())), pull.when(1, || Ok(dy.clone()))),
        BinaryOp::Sub => (pull.when(0, || Ok(dy.clone())), pull.when(1, || dy.neg())),
        BinaryOp::Mul => (pull.when(0, || dy.mul(b)), pull.when(1, || dy.mul(a))),
        BinaryOp::Div => (pull.when(0, || dy.div(b)), pull.when(1, || dy.mul(y)?.div(b)?.neg())),
        BinaryOp::FloorDiv => (pull.when(0, || dy.mul(0.0)), pull.when(1, || dy.mul(0.0))),
        BinaryOp::Rem => {
            let quotient = || Var::from(a.value().floor_div(b.value())?).neg();
            (pull.when(0, || Ok(dy.clone())), pull.when(1, || dy.mul(quotient()?)))
        }
        BinaryOp::Fmod => {
            let quotient = || Var::from(a.value().div(b.value())?.trunc()?).neg();
            (pull.when(0, || Ok(dy.clone())), pull.when(1, || dy.mul(quotient()?)))
        }
        BinaryOp::Pow => (
            // d/da a^b = b a^(b-1), which is 0 for b = 0 even where a^(b-1) is infinite.
            pull.when(0, || dy.mul(b.mul(a.pow(b.sub(1.0)?)?)?.masked_fill(&b.eq(0.0)?, 0.0)?)),
            // d/db a^b = a^b ln a, which is 0 for a = 0 and b >= 0.
            pull.when(1, || {
                let zero = a.eq(0.0)?.logical_and(&b.ge(0.0)?)?;
                dy.mul(y.mul(a.log()?)?.masked_fill(&zero, 0.0)?)
            }),
        ),
        BinaryOp::Maximum => extremum(pull, &a.lt(b)?, &a.gt(b)?, &a.eq(b)?),
        BinaryOp::Minimum => extremum(pull, &a.gt(b)?, &a.lt(b)?, &a.eq(b)?),
        BinaryOp::Atan2 => {
            // Over infinity at the origin: no gradient there, where the angle has none.
            let square = a.square()?.add(b.square()?)?;
            let scaled = dy.div(square.where_(&square.ne(0.0)?, f64::INFINITY)?)?;
            (pull.when(0, || scaled.mul(b)), pull.when(1, || scaled.mul(a)?.neg()))
        }
        BinaryOp::SigmoidBackward => {
            // y (1 - x) x: d/dx = y (1 - 2x).
            (pull.when(0, || dy.mul(b)?.mul(a.mul(-2.0)?.add(1.0)?)), pull.when(1, || a.activation_backward(op, dy)))
        }
        BinaryOp::TanhBackward => {
            (pull.when(0, || dy.mul(b)?.mul(a)?.mul(-2.0)), pull.when(1, || a.activation_backward(op, dy)))
        }
        BinaryOp::ReluBackward => (pull.when(0, || dy.mul(0.0)), pull.when(1, || a.activation_backward(op, dy))),
        BinaryOp::GeluBackward | BinaryOp::GeluTanhBackward | BinaryOp::SiluBackward => {
            (pull.when(0, || dy.mul(b)?.mul(second_derivative(op, a)?)), pull.when(1, || a.activation_backward(op, dy)))
        }
        BinaryOp::Eq
        | BinaryOp::Ne
        | BinaryOp::Lt
        | BinaryOp::Le
        | BinaryOp::Gt
        | BinaryOp::Ge
        | BinaryOp::LogicalAnd
        | BinaryOp::LogicalOr
        | BinaryOp::LogicalXor => return no_gradient(op.name()),
    };
    Ok([da?, db?])
}

/// The second derivative of an activation, composed of primitives.
fn second_derivative(op: BinaryOp, x: &Var) -> Result<Var> {
    use std::f64::consts::PI;
    match op {
        BinaryOp::GeluBackward => {
            // phi(x) (2 - x^2), with the normal density phi.
            let density = x.square()?.mul(-0.5)?.exp()?.mul(1.0 / (2.0 * PI).sqrt())?;
            density.mul(x.square()?.rsub(2.0)?)
        }
        BinaryOp::SiluBackward => {
            // s' (2 + x (1 - 2 s)) with s' = s (1 - s).
            let s = x.sigmoid()?;
            let slope = s.mul(s.rsub(1.0)?)?;
            slope.mul(x.mul(s.mul(-2.0)?.add(1.0)?)?.add(2.0)?)
        }
        _ => {
            // x/2 (1 + t) with t = tanh(u), u = k (x + c x^3): t' + x/2 t'', t' = (1 - t^2) u'.
            let (k, c) = ((2.0 / PI).sqrt(), 0.044715);
            let t = x.add(x.square()?.mul(x)?.mul(c)?)?.mul(k)?.tanh()?;
            let slope = t.square()?.rsub(1.0)?;
            let du = x.square()?.mul(3.0 * c)?.add(1.0)?.mul(k)?;
            let ddu = x.mul(6.0 * c * k)?;
            let bend = ddu.sub(t.mul(du.square()?)?.mul(2.0)?)?;
            slope.mul(du.add(x.mul(bend)?.mul(0.5)?)?)
        }
    }
}

/// The gradients of maximum and minimum: to the operand chosen, and half to each of two that are equal, as PyTorch.
fn extremum(
    pull: &Pull<'_>,
    first_loses: &Tensor,
    second_loses: &Tensor,
    tie: &Tensor,
) -> (Result<Option<Var>>, Result<Option<Var>>) {
    // Beside a NaN neither loses, and both get all of it.
    let unless = |loses: &Tensor| {
        let kept = pull.dy()?.where_(&loses.logical_not()?, 0.0)?;
        pull.dy()?.mul(0.5)?.where_(tie, kept)
    };
    (pull.when(0, || unless(first_loses)), pull.when(1, || unless(second_loses)))
}

fn no_gradient<T>(op: &'static str) -> Result<T> {
    Err(Error::argument(op, "has no gradient: its result is bool"))
}

impl Var {
    /// Records a function of one variable; it keeps `x` or `y`, whichever its derivative is written in.
    #[track_caller]
    pub(crate) fn unary(
        &self,
        op: UnaryOp,
        s: [f64; 2],
        forward: impl FnOnce(&Tensor) -> Result<Tensor>,
    ) -> Result<Var> {
        let by_output = matches!(
            op,
            UnaryOp::Exp
                | UnaryOp::Exp2
                | UnaryOp::Expm1
                | UnaryOp::Sqrt
                | UnaryOp::Rsqrt
                | UnaryOp::Reciprocal
                | UnaryOp::Tan
                | UnaryOp::Tanh
                | UnaryOp::Sigmoid
        );
        if by_output {
            let rule = move |pull: &Pull<'_>| {
                let y = pull.y()?;
                Ok([pull.when(0, || unary_gradient(op, &y, &y, pull.dy()?, s))?])
            };
            return record_keeping_output(op.name(), [self], |[x]| forward(x), rule);
        }
        let x = self.save();
        let rule = move |pull: &Pull<'_>| {
            let x = pull.var(&x);
            // Elu is the one op of this branch whose derivative uses its result.
            let y = if op == UnaryOp::Elu { x.elu(s[0])? } else { x.clone() };
            Ok([pull.when(0, || unary_gradient(op, &x, &y, pull.dy()?, s))?])
        };
        record(op.name(), [self], |[x]| forward(x), rule)
    }

    /// Records an op of two operands; numbers have no gradient.
    #[track_caller]
    pub(crate) fn binary(op: BinaryOp, a: VarArg<'_>, b: VarArg<'_>) -> Result<Var> {
        let y = Tensor::binary(op, a.arg(), b.arg());
        let constant = |arg: &VarArg<'_>, like: Option<&Var>| -> Result<Var> {
            match (arg, like) {
                (VarArg::Var(x), _) => Ok((*x).clone()),
                (VarArg::Owned(x), _) => Ok(x.clone()),
                (VarArg::Scalar(value), Some(like)) => {
                    Ok(Tensor::full((), *value, like.dtype(), &like.device())?.into())
                }
                (VarArg::Scalar(_), None) => no_gradient(op.name()),
            }
        };
        let tracked = [&a, &b].into_iter().filter_map(VarArg::var).any(Var::is_tracked);
        if !tracked {
            let inputs: Vec<&Var> = [&a, &b].into_iter().filter_map(VarArg::var).collect();
            let location = std::panic::Location::caller();
            return y.map(Var::from).map_err(|error| crate::record::locate(error, op.name(), &inputs, location));
        }
        let (a, b) = (constant(&a, b.var())?, constant(&b, a.var())?);
        binary_recorded(op, &a, &b, y)
    }

    /// `f'(self) dy` of a hot activation in one pass.
    #[track_caller]
    fn activation_backward(&self, op: BinaryOp, dy: &Var) -> Result<Var> {
        binary_recorded(op, self, dy, Tensor::binary(op, self.value().into(), dy.value().into()))
    }
}

#[track_caller]
fn binary_recorded(op: BinaryOp, a: &Var, b: &Var, y: Result<Tensor>) -> Result<Var> {
    let (shape_a, shape_b) = (*a.shape(), *b.shape());
    let (type_a, type_b) = (a.dtype(), b.dtype());
    // Add and subtract need no values; saving them would keep whole activations alive for nothing.
    let keeps_inputs = !matches!(op, BinaryOp::Add | BinaryOp::Sub);
    let saved = keeps_inputs.then(|| (a.save(), b.save()));
    let rule = move |pull: &Pull<'_>| {
        let dy = pull.dy()?;
        let (a, b) = saved.as_ref().map_or_else(|| (dy.clone(), dy.clone()), |(a, b)| (pull.var(a), pull.var(b)));
        let y = if matches!(op, BinaryOp::Div | BinaryOp::Pow) { pull.y()? } else { dy.clone() };
        let [da, db] = binary_gradient(op, &a, &b, &y, pull)?;
        let back = |dx: Option<Var>, shape, dtype| dx.map(|dx| dx.sum_to(shape)?.to_dtype(dtype)).transpose();
        Ok([back(da, shape_a, type_a)?, back(db, shape_b, type_b)?])
    };
    match op {
        BinaryOp::Div | BinaryOp::Pow => record_keeping_output(op.name(), [a, b], |_| y, rule),
        _ => record(op.name(), [a, b], |_| y, rule),
    }
}

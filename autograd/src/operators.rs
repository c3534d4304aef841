//! The operators on variables; see [`Tensor`](chainrule_tensor::Tensor) for what they do on failure.

use chainrule_tensor::{BinaryOp, operators};

use crate::{Var, VarArg};

operators!(Var, VarArg:
    Add add |a, b| Var::binary(BinaryOp::Add, a, b), Sub sub |a, b| Var::binary(BinaryOp::Sub, a, b),
    Mul mul |a, b| Var::binary(BinaryOp::Mul, a, b), Div div |a, b| Var::binary(BinaryOp::Div, a, b),
    Rem rem |a, b| Var::binary(BinaryOp::Rem, a, b));

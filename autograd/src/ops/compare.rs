//! Tests on variables: their results are tensors of bools, which no gradient flows through.

use chainrule_tensor::{Result, Tensor};

use crate::{Var, VarArg};

impl Var {
    /// True where `x` is not a number; see [`Tensor::isnan`].
    #[track_caller]
    pub fn isnan(&self) -> Result<Tensor> {
        self.value().isnan()
    }

    /// True where `x` is an infinity of either sign; see [`Tensor::isinf`].
    #[track_caller]
    pub fn isinf(&self) -> Result<Tensor> {
        self.value().isinf()
    }

    /// True where `x` is neither NaN nor infinite; see [`Tensor::isfinite`].
    #[track_caller]
    pub fn isfinite(&self) -> Result<Tensor> {
        self.value().isfinite()
    }

    /// True where `x` is 0 or false; see [`Tensor::logical_not`].
    #[track_caller]
    pub fn logical_not(&self) -> Result<Tensor> {
        self.value().logical_not()
    }

    /// True where `a == b`; see [`Tensor::eq`].
    #[track_caller]
    pub fn eq<'a>(&self, other: impl Into<VarArg<'a>>) -> Result<Tensor> {
        self.value().eq(other.into().arg())
    }

    /// True where `a != b`; see [`Tensor::ne`].
    #[track_caller]
    pub fn ne<'a>(&self, other: impl Into<VarArg<'a>>) -> Result<Tensor> {
        self.value().ne(other.into().arg())
    }

    /// True where `a < b`; see [`Tensor::lt`].
    #[track_caller]
    pub fn lt<'a>(&self, other: impl Into<VarArg<'a>>) -> Result<Tensor> {
        self.value().lt(other.into().arg())
    }

    /// True where `a <= b`; see [`Tensor::le`].
    #[track_caller]
    pub fn le<'a>(&self, other: impl Into<VarArg<'a>>) -> Result<Tensor> {
        self.value().le(other.into().arg())
    }

    /// True where `a > b`; see [`Tensor::gt`].
    #[track_caller]
    pub fn gt<'a>(&self, other: impl Into<VarArg<'a>>) -> Result<Tensor> {
        self.value().gt(other.into().arg())
    }

    /// True where `a >= b`; see [`Tensor::ge`].
    #[track_caller]
    pub fn ge<'a>(&self, other: impl Into<VarArg<'a>>) -> Result<Tensor> {
        self.value().ge(other.into().arg())
    }

    /// True where both are true (not 0); see [`Tensor::logical_and`].
    #[track_caller]
    pub fn logical_and<'a>(&self, other: impl Into<VarArg<'a>>) -> Result<Tensor> {
        self.value().logical_and(other.into().arg())
    }

    /// True where at least one is true (not 0); see [`Tensor::logical_or`].
    #[track_caller]
    pub fn logical_or<'a>(&self, other: impl Into<VarArg<'a>>) -> Result<Tensor> {
        self.value().logical_or(other.into().arg())
    }

    /// True where exactly one is true (not 0); see [`Tensor::logical_xor`].
    #[track_caller]
    pub fn logical_xor<'a>(&self, other: impl Into<VarArg<'a>>) -> Result<Tensor> {
        self.value().logical_xor(other.into().arg())
    }
}

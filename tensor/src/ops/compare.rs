//! Tests that give bools, element by element. NaN is equal to nothing and neither above nor below anything.

use chainrule_kernels::elementwise::{BinaryOp, UnaryOp};

use crate::{Arg, Result, Tensor};

impl Tensor {
    /// True where `x` is not a number.
    ///
    /// ```
    /// use chainrule_tensor::{Device, Tensor};
    /// let x = Tensor::new([f32::NAN, 1.0], &Device::Cpu)?;
    /// assert_eq!(x.isnan()?.to_vec::<bool>()?, [true, false]);
    /// # Ok::<(), chainrule_tensor::Error>(())
    /// ```
    ///
    /// Source: `torch.isnan`.
    #[track_caller]
    pub fn isnan(&self) -> Result<Tensor> {
        self.unary(UnaryOp::IsNan, [0.0; 2])
    }

    /// True where `x` is an infinity of either sign.
    ///
    /// ```
    /// use chainrule_tensor::{Device, Tensor};
    /// let x = Tensor::new([f32::INFINITY, 1.0], &Device::Cpu)?;
    /// assert_eq!(x.isinf()?.to_vec::<bool>()?, [true, false]);
    /// # Ok::<(), chainrule_tensor::Error>(())
    /// ```
    ///
    /// Source: `torch.isinf`.
    #[track_caller]
    pub fn isinf(&self) -> Result<Tensor> {
        self.unary(UnaryOp::IsInf, [0.0; 2])
    }

    /// True where `x` is neither NaN nor infinite.
    ///
    /// ```
    /// use chainrule_tensor::{Device, Tensor};
    /// let x = Tensor::new([f32::INFINITY, 1.0], &Device::Cpu)?;
    /// assert_eq!(x.isfinite()?.to_vec::<bool>()?, [false, true]);
    /// # Ok::<(), chainrule_tensor::Error>(())
    /// ```
    ///
    /// Source: `torch.isfinite`.
    #[track_caller]
    pub fn isfinite(&self) -> Result<Tensor> {
        self.unary(UnaryOp::IsFinite, [0.0; 2])
    }

    /// True where `x` is 0 or false.
    ///
    /// ```
    /// use chainrule_tensor::{Device, Tensor};
    /// let x = Tensor::new([0.0f32, 2.0], &Device::Cpu)?;
    /// assert_eq!(x.logical_not()?.to_vec::<bool>()?, [true, false]);
    /// # Ok::<(), chainrule_tensor::Error>(())
    /// ```
    ///
    /// Source: `torch.logical_not`.
    #[track_caller]
    pub fn logical_not(&self) -> Result<Tensor> {
        self.unary(UnaryOp::LogicalNot, [0.0; 2])
    }

    /// True where `a == b`; the operands are broadcast and compared in their promoted dtype.
    ///
    /// ```
    /// use chainrule_tensor::{Device, Tensor};
    /// let a = Tensor::new([1.0f32, 2.0, 3.0], &Device::Cpu)?;
    /// assert_eq!(a.eq(2.0)?.to_vec::<bool>()?, [false, true, false]);
    /// # Ok::<(), chainrule_tensor::Error>(())
    /// ```
    ///
    /// Source: `torch.eq`.
    #[track_caller]
    pub fn eq<'a>(&self, other: impl Into<Arg<'a>>) -> Result<Tensor> {
        Tensor::binary(BinaryOp::Eq, self.into(), other.into())
    }

    /// True where `a != b`; the operands are broadcast and compared in their promoted dtype.
    ///
    /// ```
    /// use chainrule_tensor::{Device, Tensor};
    /// let a = Tensor::new([1.0f32, 2.0, 3.0], &Device::Cpu)?;
    /// assert_eq!(a.ne(2.0)?.to_vec::<bool>()?, [true, false, true]);
    /// # Ok::<(), chainrule_tensor::Error>(())
    /// ```
    ///
    /// Source: `torch.ne`.
    #[track_caller]
    pub fn ne<'a>(&self, other: impl Into<Arg<'a>>) -> Result<Tensor> {
        Tensor::binary(BinaryOp::Ne, self.into(), other.into())
    }

    /// True where `a < b`; the operands are broadcast and compared in their promoted dtype.
    ///
    /// ```
    /// use chainrule_tensor::{Device, Tensor};
    /// let a = Tensor::new([1.0f32, 2.0, 3.0], &Device::Cpu)?;
    /// assert_eq!(a.lt(2.0)?.to_vec::<bool>()?, [true, false, false]);
    /// # Ok::<(), chainrule_tensor::Error>(())
    /// ```
    ///
    /// Source: `torch.lt`.
    #[track_caller]
    pub fn lt<'a>(&self, other: impl Into<Arg<'a>>) -> Result<Tensor> {
        Tensor::binary(BinaryOp::Lt, self.into(), other.into())
    }

    /// True where `a <= b`; the operands are broadcast and compared in their promoted dtype.
    ///
    /// ```
    /// use chainrule_tensor::{Device, Tensor};
    /// let a = Tensor::new([1.0f32, 2.0, 3.0], &Device::Cpu)?;
    /// assert_eq!(a.le(2.0)?.to_vec::<bool>()?, [true, true, false]);
    /// # Ok::<(), chainrule_tensor::Error>(())
    /// ```
    ///
    /// Source: `torch.le`.
    #[track_caller]
    pub fn le<'a>(&self, other: impl Into<Arg<'a>>) -> Result<Tensor> {
        Tensor::binary(BinaryOp::Le, self.into(), other.into())
    }

    /// True where `a > b`; the operands are broadcast and compared in their promoted dtype.
    ///
    /// ```
    /// use chainrule_tensor::{Device, Tensor};
    /// let a = Tensor::new([1.0f32, 2.0, 3.0], &Device::Cpu)?;
    /// assert_eq!(a.gt(2.0)?.to_vec::<bool>()?, [false, false, true]);
    /// # Ok::<(), chainrule_tensor::Error>(())
    /// ```
    ///
    /// Source: `torch.gt`.
    #[track_caller]
    pub fn gt<'a>(&self, other: impl Into<Arg<'a>>) -> Result<Tensor> {
        Tensor::binary(BinaryOp::Gt, self.into(), other.into())
    }

    /// True where `a >= b`; the operands are broadcast and compared in their promoted dtype.
    ///
    /// ```
    /// use chainrule_tensor::{Device, Tensor};
    /// let a = Tensor::new([1.0f32, 2.0, 3.0], &Device::Cpu)?;
    /// assert_eq!(a.ge(2.0)?.to_vec::<bool>()?, [false, true, true]);
    /// # Ok::<(), chainrule_tensor::Error>(())
    /// ```
    ///
    /// Source: `torch.ge`.
    #[track_caller]
    pub fn ge<'a>(&self, other: impl Into<Arg<'a>>) -> Result<Tensor> {
        Tensor::binary(BinaryOp::Ge, self.into(), other.into())
    }

    /// True where both are true (not 0).
    ///
    /// ```
    /// use chainrule_tensor::{Device, Tensor};
    /// let a = Tensor::new([true, false], &Device::Cpu)?;
    /// assert_eq!(a.logical_and(true)?.to_vec::<bool>()?, [true, false]);
    /// # Ok::<(), chainrule_tensor::Error>(())
    /// ```
    ///
    /// Source: `torch.logical_and`.
    #[track_caller]
    pub fn logical_and<'a>(&self, other: impl Into<Arg<'a>>) -> Result<Tensor> {
        Tensor::binary(BinaryOp::LogicalAnd, self.into(), other.into())
    }

    /// True where at least one is true (not 0).
    ///
    /// ```
    /// use chainrule_tensor::{Device, Tensor};
    /// let a = Tensor::new([true, false], &Device::Cpu)?;
    /// assert_eq!(a.logical_or(true)?.to_vec::<bool>()?, [true, true]);
    /// # Ok::<(), chainrule_tensor::Error>(())
    /// ```
    ///
    /// Source: `torch.logical_or`.
    #[track_caller]
    pub fn logical_or<'a>(&self, other: impl Into<Arg<'a>>) -> Result<Tensor> {
        Tensor::binary(BinaryOp::LogicalOr, self.into(), other.into())
    }

    /// True where exactly one is true (not 0).
    ///
    /// ```
    /// use chainrule_tensor::{Device, Tensor};
    /// let a = Tensor::new([true, false], &Device::Cpu)?;
    /// assert_eq!(a.logical_xor(true)?.to_vec::<bool>()?, [false, true]);
    /// # Ok::<(), chainrule_tensor::Error>(())
    /// ```
    ///
    /// Source: `torch.logical_xor`.
    #[track_caller]
    pub fn logical_xor<'a>(&self, other: impl Into<Arg<'a>>) -> Result<Tensor> {
        Tensor::binary(BinaryOp::LogicalXor, self.into(), other.into())
    }
}

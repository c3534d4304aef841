//! Tests on variables: their results are tensors of bools, which no gradient flows through.

use chainrule_tensor::{Result, Tensor};

use crate::{Var, VarArg};

impl Var {
    /// True where `x` is not a number; see [`Tensor::isnan`].
    ///
    /// ```
    /// # use chainrule_autograd::Var;
    /// # use chainrule_tensor::{Device, Tensor};
    /// let x = Var::from(Tensor::new([1.0, f64::NAN], &Device::Cpu)?);
    /// assert_eq!(x.isnan()?.to_vec::<bool>()?, [false, true]);
    /// # Ok::<(), chainrule_tensor::Error>(())
    /// ```
    #[track_caller]
    pub fn isnan(&self) -> Result<Tensor> {
        self.value().isnan()
    }

    /// True where `x` is an infinity of either sign; see [`Tensor::isinf`].
    ///
    /// ```
    /// # use chainrule_autograd::Var;
    /// # use chainrule_tensor::{Device, Tensor};
    /// let x = Var::from(Tensor::new([1.0, f64::NEG_INFINITY], &Device::Cpu)?);
    /// assert_eq!(x.isinf()?.to_vec::<bool>()?, [false, true]);
    /// # Ok::<(), chainrule_tensor::Error>(())
    /// ```
    #[track_caller]
    pub fn isinf(&self) -> Result<Tensor> {
        self.value().isinf()
    }

    /// True where `x` is neither NaN nor infinite; see [`Tensor::isfinite`].
    ///
    /// ```
    /// # use chainrule_autograd::Var;
    /// # use chainrule_tensor::{Device, Tensor};
    /// let x = Var::from(Tensor::new([1.0, f64::NAN], &Device::Cpu)?);
    /// assert_eq!(x.isfinite()?.to_vec::<bool>()?, [true, false]);
    /// # Ok::<(), chainrule_tensor::Error>(())
    /// ```
    #[track_caller]
    pub fn isfinite(&self) -> Result<Tensor> {
        self.value().isfinite()
    }

    /// True where `x` is 0 or false; see [`Tensor::logical_not`].
    ///
    /// ```
    /// # use chainrule_autograd::Var;
    /// # use chainrule_tensor::{Device, Tensor};
    /// let x = Var::from(Tensor::new([0.0f64, 2.0], &Device::Cpu)?);
    /// assert_eq!(x.logical_not()?.to_vec::<bool>()?, [true, false]);
    /// # Ok::<(), chainrule_tensor::Error>(())
    /// ```
    #[track_caller]
    pub fn logical_not(&self) -> Result<Tensor> {
        self.value().logical_not()
    }

    /// True where `a == b`; see [`Tensor::eq`].
    ///
    /// ```
    /// # use chainrule_autograd::Var;
    /// # use chainrule_tensor::{Device, Tensor};
    /// let x = Var::from(Tensor::new([1.0f64, 2.0, 3.0], &Device::Cpu)?);
    /// assert_eq!(x.eq(2.0)?.to_vec::<bool>()?, [false, true, false]);
    /// # Ok::<(), chainrule_tensor::Error>(())
    /// ```
    #[track_caller]
    pub fn eq<'a>(&self, other: impl Into<VarArg<'a>>) -> Result<Tensor> {
        self.value().eq(other.into().arg())
    }

    /// True where `a != b`; see [`Tensor::ne`].
    ///
    /// ```
    /// # use chainrule_autograd::Var;
    /// # use chainrule_tensor::{Device, Tensor};
    /// let x = Var::from(Tensor::new([1.0f64, 2.0, 3.0], &Device::Cpu)?);
    /// assert_eq!(x.ne(2.0)?.to_vec::<bool>()?, [true, false, true]);
    /// # Ok::<(), chainrule_tensor::Error>(())
    /// ```
    #[track_caller]
    pub fn ne<'a>(&self, other: impl Into<VarArg<'a>>) -> Result<Tensor> {
        self.value().ne(other.into().arg())
    }

    /// True where `a < b`; see [`Tensor::lt`].
    ///
    /// ```
    /// # use chainrule_autograd::Var;
    /// # use chainrule_tensor::{Device, Tensor};
    /// let x = Var::from(Tensor::new([1.0f64, 2.0, 3.0], &Device::Cpu)?);
    /// assert_eq!(x.lt(2.0)?.to_vec::<bool>()?, [true, false, false]);
    /// # Ok::<(), chainrule_tensor::Error>(())
    /// ```
    #[track_caller]
    pub fn lt<'a>(&self, other: impl Into<VarArg<'a>>) -> Result<Tensor> {
        self.value().lt(other.into().arg())
    }

    /// True where `a <= b`; see [`Tensor::le`].
    ///
    /// ```
    /// # use chainrule_autograd::Var;
    /// # use chainrule_tensor::{Device, Tensor};
    /// let x = Var::from(Tensor::new([1.0f64, 2.0, 3.0], &Device::Cpu)?);
    /// assert_eq!(x.le(2.0)?.to_vec::<bool>()?, [true, true, false]);
    /// # Ok::<(), chainrule_tensor::Error>(())
    /// ```
    #[track_caller]
    pub fn le<'a>(&self, other: impl Into<VarArg<'a>>) -> Result<Tensor> {
        self.value().le(other.into().arg())
    }

    /// True where `a > b`; see [`Tensor::gt`].
    ///
    /// ```
    /// # use chainrule_autograd::Var;
    /// # use chainrule_tensor::{Device, Tensor};
    /// let x = Var::from(Tensor::new([1.0f64, 2.0, 3.0], &Device::Cpu)?);
    /// assert_eq!(x.gt(2.0)?.to_vec::<bool>()?, [false, false, true]);
    /// # Ok::<(), chainrule_tensor::Error>(())
    /// ```
    #[track_caller]
    pub fn gt<'a>(&self, other: impl Into<VarArg<'a>>) -> Result<Tensor> {
        self.value().gt(other.into().arg())
    }

    /// True where `a >= b`; see [`Tensor::ge`].
    ///
    /// ```
    /// # use chainrule_autograd::Var;
    /// # use chainrule_tensor::{Device, Tensor};
    /// let x = Var::from(Tensor::new([1.0f64, 2.0, 3.0], &Device::Cpu)?);
    /// assert_eq!(x.ge(2.0)?.to_vec::<bool>()?, [false, true, true]);
    /// # Ok::<(), chainrule_tensor::Error>(())
    /// ```
    #[track_caller]
    pub fn ge<'a>(&self, other: impl Into<VarArg<'a>>) -> Result<Tensor> {
        self.value().ge(other.into().arg())
    }

    /// True where both are true (not 0); see [`Tensor::logical_and`].
    ///
    /// ```
    /// # use chainrule_autograd::Var;
    /// # use chainrule_tensor::{Device, Tensor};
    /// let x = Var::from(Tensor::new([0.0f64, 2.0], &Device::Cpu)?);
    /// assert_eq!(x.logical_and(1.0)?.to_vec::<bool>()?, [false, true]);
    /// # Ok::<(), chainrule_tensor::Error>(())
    /// ```
    #[track_caller]
    pub fn logical_and<'a>(&self, other: impl Into<VarArg<'a>>) -> Result<Tensor> {
        self.value().logical_and(other.into().arg())
    }

    /// True where at least one is true (not 0); see [`Tensor::logical_or`].
    ///
    /// ```
    /// # use chainrule_autograd::Var;
    /// # use chainrule_tensor::{Device, Tensor};
    /// let x = Var::from(Tensor::new([0.0f64, 2.0], &Device::Cpu)?);
    /// assert_eq!(x.logical_or(0.0)?.to_vec::<bool>()?, [false, true]);
    /// # Ok::<(), chainrule_tensor::Error>(())
    /// ```
    #[track_caller]
    pub fn logical_or<'a>(&self, other: impl Into<VarArg<'a>>) -> Result<Tensor> {
        self.value().logical_or(other.into().arg())
    }

    /// True where exactly one is true (not 0); see [`Tensor::logical_xor`].
    ///
    /// ```
    /// # use chainrule_autograd::Var;
    /// # use chainrule_tensor::{Device, Tensor};
    /// let x = Var::from(Tensor::new([0.0f64, 2.0], &Device::Cpu)?);
    /// assert_eq!(x.logical_xor(1.0)?.to_vec::<bool>()?, [true, false]);
    /// # Ok::<(), chainrule_tensor::Error>(())
    /// ```
    #[track_caller]
    pub fn logical_xor<'a>(&self, other: impl Into<VarArg<'a>>) -> Result<Tensor> {
        self.value().logical_xor(other.into().arg())
    }
}

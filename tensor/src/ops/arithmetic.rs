//! Arithmetic of two or three operands, which are broadcast to one shape and promoted to one dtype.

use chainrule_kernels::elementwise::{BinaryOp, TernaryOp};

use crate::{Arg, Result, Tensor};

impl Tensor {
    /// `a + b`.
    ///
    /// ```
    /// use chainrule_tensor::{Device, Tensor};
    /// let a = Tensor::new([1.0f32, 2.0], &Device::Cpu)?;
    /// let b = Tensor::new([0.5f32, 3.0], &Device::Cpu)?;
    /// assert_eq!(a.add(&b)?.to_vec::<f32>()?, [1.5, 5.0]);
    /// # Ok::<(), chainrule_tensor::Error>(())
    /// ```
    ///
    /// Source: `torch.add`.
    #[track_caller]
    pub fn add<'a>(&self, other: impl Into<Arg<'a>>) -> Result<Tensor> {
        Tensor::binary(BinaryOp::Add, self.into(), other.into())
    }

    /// `a - b`.
    ///
    /// ```
    /// use chainrule_tensor::{Device, Tensor};
    /// let a = Tensor::new([1.0f32, 2.0], &Device::Cpu)?;
    /// let b = Tensor::new([0.5f32, 3.0], &Device::Cpu)?;
    /// assert_eq!(a.sub(&b)?.to_vec::<f32>()?, [0.5, -1.0]);
    /// # Ok::<(), chainrule_tensor::Error>(())
    /// ```
    ///
    /// Source: `torch.sub`.
    #[track_caller]
    pub fn sub<'a>(&self, other: impl Into<Arg<'a>>) -> Result<Tensor> {
        Tensor::binary(BinaryOp::Sub, self.into(), other.into())
    }

    /// `a * b`.
    ///
    /// ```
    /// use chainrule_tensor::{Device, Tensor};
    /// let a = Tensor::new([1.0f32, 2.0], &Device::Cpu)?;
    /// let b = Tensor::new([0.5f32, 3.0], &Device::Cpu)?;
    /// assert_eq!(a.mul(&b)?.to_vec::<f32>()?, [0.5, 6.0]);
    /// # Ok::<(), chainrule_tensor::Error>(())
    /// ```
    ///
    /// Source: `torch.mul`.
    #[track_caller]
    pub fn mul<'a>(&self, other: impl Into<Arg<'a>>) -> Result<Tensor> {
        Tensor::binary(BinaryOp::Mul, self.into(), other.into())
    }

    /// `a / b`; the quotient of integers is f32.
    ///
    /// ```
    /// use chainrule_tensor::{Device, Tensor};
    /// let a = Tensor::new([1i64, 3], &Device::Cpu)?;
    /// let b = Tensor::new([2i64, 2], &Device::Cpu)?;
    /// assert_eq!(a.div(&b)?.to_vec::<f32>()?, [0.5f32, 1.5]);
    /// # Ok::<(), chainrule_tensor::Error>(())
    /// ```
    ///
    /// Source: `torch.div`.
    #[track_caller]
    pub fn div<'a>(&self, other: impl Into<Arg<'a>>) -> Result<Tensor> {
        Tensor::binary(BinaryOp::Div, self.into(), other.into())
    }

    /// `floor(a / b)`, which for integers stays an integer.
    ///
    /// An integer division by zero is an error.
    ///
    /// ```
    /// use chainrule_tensor::{Device, Tensor};
    /// let a = Tensor::new([7i64, -7], &Device::Cpu)?;
    /// let b = Tensor::new([2i64, 2], &Device::Cpu)?;
    /// assert_eq!(a.floor_div(&b)?.to_vec::<i64>()?, [3i64, -4]);
    /// # Ok::<(), chainrule_tensor::Error>(())
    /// ```
    ///
    /// Source: torch.div with rounding_mode="floor".
    #[track_caller]
    pub fn floor_div<'a>(&self, other: impl Into<Arg<'a>>) -> Result<Tensor> {
        Tensor::binary(BinaryOp::FloorDiv, self.into(), other.into())
    }

    /// `a - b floor(a / b)`: the remainder with the sign of the divisor.
    ///
    /// An integer division by zero is an error.
    ///
    /// ```
    /// use chainrule_tensor::{Device, Tensor};
    /// let a = Tensor::new([7i64, -7], &Device::Cpu)?;
    /// let b = Tensor::new([2i64, 2], &Device::Cpu)?;
    /// assert_eq!(a.rem(&b)?.to_vec::<i64>()?, [1i64, 1]);
    /// # Ok::<(), chainrule_tensor::Error>(())
    /// ```
    ///
    /// Source: `torch.remainder`.
    #[track_caller]
    pub fn rem<'a>(&self, other: impl Into<Arg<'a>>) -> Result<Tensor> {
        Tensor::binary(BinaryOp::Rem, self.into(), other.into())
    }

    /// `a - b trunc(a / b)`: the remainder with the sign of the dividend.
    ///
    /// An integer division by zero is an error.
    ///
    /// ```
    /// use chainrule_tensor::{Device, Tensor};
    /// let a = Tensor::new([7i64, -7], &Device::Cpu)?;
    /// let b = Tensor::new([2i64, 2], &Device::Cpu)?;
    /// assert_eq!(a.fmod(&b)?.to_vec::<i64>()?, [1i64, -1]);
    /// # Ok::<(), chainrule_tensor::Error>(())
    /// ```
    ///
    /// Source: `torch.fmod`.
    #[track_caller]
    pub fn fmod<'a>(&self, other: impl Into<Arg<'a>>) -> Result<Tensor> {
        Tensor::binary(BinaryOp::Fmod, self.into(), other.into())
    }

    /// `a^b`.
    ///
    /// An integer to a negative integer power is an error unless the base is 1 or -1, as in PyTorch.
    ///
    /// ```
    /// use chainrule_tensor::{Device, Tensor};
    /// let a = Tensor::new([2.0f32, 3.0], &Device::Cpu)?;
    /// let b = Tensor::new([3.0f32, 2.0], &Device::Cpu)?;
    /// assert_eq!(a.pow(&b)?.to_vec::<f32>()?, [8.0, 9.0]);
    /// # Ok::<(), chainrule_tensor::Error>(())
    /// ```
    ///
    /// Source: `torch.pow`.
    #[track_caller]
    pub fn pow<'a>(&self, other: impl Into<Arg<'a>>) -> Result<Tensor> {
        Tensor::binary(BinaryOp::Pow, self.into(), other.into())
    }

    /// The larger of `a` and `b`; NaN where one of them is.
    ///
    /// ```
    /// use chainrule_tensor::{Device, Tensor};
    /// let a = Tensor::new([1.0f32, 4.0], &Device::Cpu)?;
    /// let b = Tensor::new([2.0f32, 3.0], &Device::Cpu)?;
    /// assert_eq!(a.maximum(&b)?.to_vec::<f32>()?, [2.0, 4.0]);
    /// # Ok::<(), chainrule_tensor::Error>(())
    /// ```
    ///
    /// Source: `torch.maximum`.
    #[track_caller]
    pub fn maximum<'a>(&self, other: impl Into<Arg<'a>>) -> Result<Tensor> {
        Tensor::binary(BinaryOp::Maximum, self.into(), other.into())
    }

    /// The smaller of `a` and `b`; NaN where one of them is.
    ///
    /// ```
    /// use chainrule_tensor::{Device, Tensor};
    /// let a = Tensor::new([1.0f32, 4.0], &Device::Cpu)?;
    /// let b = Tensor::new([2.0f32, 3.0], &Device::Cpu)?;
    /// assert_eq!(a.minimum(&b)?.to_vec::<f32>()?, [1.0, 3.0]);
    /// # Ok::<(), chainrule_tensor::Error>(())
    /// ```
    ///
    /// Source: `torch.minimum`.
    #[track_caller]
    pub fn minimum<'a>(&self, other: impl Into<Arg<'a>>) -> Result<Tensor> {
        Tensor::binary(BinaryOp::Minimum, self.into(), other.into())
    }

    /// The angle of the point `(b, a)` in -pi..pi.
    ///
    /// ```
    /// use chainrule_tensor::{Device, Tensor};
    /// let a = Tensor::new([0.0f32], &Device::Cpu)?;
    /// let b = Tensor::new([1.0f32], &Device::Cpu)?;
    /// assert_eq!(a.atan2(&b)?.to_vec::<f32>()?, [0.0]);
    /// # Ok::<(), chainrule_tensor::Error>(())
    /// ```
    ///
    /// Source: `torch.atan2`.
    #[track_caller]
    pub fn atan2<'a>(&self, other: impl Into<Arg<'a>>) -> Result<Tensor> {
        Tensor::binary(BinaryOp::Atan2, self.into(), other.into())
    }

    /// `a - x`, with `a` a number: [`Tensor::sub`] with the number on the left.
    ///
    /// ```
    /// use chainrule_tensor::{Device, Tensor};
    /// let x = Tensor::new([1.0f64, 2.0], &Device::Cpu)?;
    /// assert_eq!(x.rsub(10.0)?.to_vec::<f64>()?, [9.0, 8.0]);
    /// # Ok::<(), chainrule_tensor::Error>(())
    /// ```
    #[track_caller]
    pub fn rsub<'a>(&self, left: impl Into<Arg<'a>>) -> Result<Tensor> {
        Tensor::binary(BinaryOp::Sub, left.into(), self.into())
    }

    /// `a / x`, with `a` a number: [`Tensor::div`] with the number on the left.
    ///
    /// ```
    /// use chainrule_tensor::{Device, Tensor};
    /// let x = Tensor::new([1.0f64, 2.0], &Device::Cpu)?;
    /// assert_eq!(x.rdiv(6.0)?.to_vec::<f64>()?, [6.0, 3.0]);
    /// # Ok::<(), chainrule_tensor::Error>(())
    /// ```
    #[track_caller]
    pub fn rdiv<'a>(&self, left: impl Into<Arg<'a>>) -> Result<Tensor> {
        Tensor::binary(BinaryOp::Div, left.into(), self.into())
    }

    /// `a^x`, with `a` a number: [`Tensor::pow`] with the number on the left.
    ///
    /// ```
    /// use chainrule_tensor::{Device, Tensor};
    /// let x = Tensor::new([1.0f64, 3.0], &Device::Cpu)?;
    /// assert_eq!(x.rpow(2.0)?.to_vec::<f64>()?, [2.0, 8.0]);
    /// # Ok::<(), chainrule_tensor::Error>(())
    /// ```
    #[track_caller]
    pub fn rpow<'a>(&self, left: impl Into<Arg<'a>>) -> Result<Tensor> {
        Tensor::binary(BinaryOp::Pow, left.into(), self.into())
    }

    /// `x + weight (end - x)`.
    ///
    /// ```
    /// use chainrule_tensor::{Device, Tensor};
    /// let [a, b] = [Tensor::new([1.0f64, 2.0], &Device::Cpu)?, Tensor::new([3.0f64, 6.0], &Device::Cpu)?];
    /// assert_eq!(a.lerp(&b, 0.5)?.to_vec::<f64>()?, [2.0, 4.0]);
    /// # Ok::<(), chainrule_tensor::Error>(())
    /// ```
    ///
    /// Source: `torch.lerp`.
    #[track_caller]
    pub fn lerp<'a>(&self, end: &Tensor, weight: impl Into<Arg<'a>>) -> Result<Tensor> {
        Tensor::ternary(TernaryOp::Lerp, [self.into(), end.into(), weight.into()], 0.0)
    }

    /// `x + value a b`.
    ///
    /// ```
    /// use chainrule_tensor::{Device, Tensor};
    /// let [a, b] = [Tensor::new([1.0f64, 2.0], &Device::Cpu)?, Tensor::new([3.0f64, 6.0], &Device::Cpu)?];
    /// assert_eq!(a.addcmul(&a, &b, 0.5)?.to_vec::<f64>()?, [2.5, 8.0]);
    /// # Ok::<(), chainrule_tensor::Error>(())
    /// ```
    ///
    /// Source: `torch.addcmul`.
    #[track_caller]
    pub fn addcmul(&self, a: &Tensor, b: &Tensor, value: f64) -> Result<Tensor> {
        Tensor::ternary(TernaryOp::Addcmul, [self.into(), a.into(), b.into()], value)
    }

    /// This tensor where `condition` (bool) is true, `other` elsewhere.
    ///
    /// # Errors
    /// A condition that is not bool, or shapes that do not broadcast.
    ///
    /// ```
    /// use chainrule_tensor::{Device, Tensor};
    /// let x = Tensor::new([1.0f32, 2.0], &Device::Cpu)?;
    /// let condition = Tensor::new([true, false], &Device::Cpu)?;
    /// assert_eq!(x.where_(&condition, 0.0)?.to_vec::<f32>()?, [1.0, 0.0]);
    /// # Ok::<(), chainrule_tensor::Error>(())
    /// ```
    ///
    /// Source: `torch.where`.
    #[track_caller]
    pub fn where_<'a>(&self, condition: &Tensor, other: impl Into<Arg<'a>>) -> Result<Tensor> {
        condition.must_be_bool("where")?;
        Tensor::ternary(TernaryOp::Where, [condition.into(), self.into(), other.into()], 0.0)
    }

    /// `value` where `mask` (bool) is true, this tensor elsewhere; the mask broadcasts to this tensor's shape.
    ///
    /// # Errors
    /// A mask that is not bool, or does not broadcast to this shape.
    ///
    /// ```
    /// use chainrule_tensor::{Device, Tensor};
    /// let x = Tensor::new([1.0f64, 2.0], &Device::Cpu)?;
    /// assert_eq!(x.masked_fill(&x.gt(1.0)?, 7.0)?.to_vec::<f64>()?, [1.0, 7.0]);
    /// # Ok::<(), chainrule_tensor::Error>(())
    /// ```
    ///
    /// Source: `torch.masked_fill`.
    #[track_caller]
    pub fn masked_fill(&self, mask: &Tensor, value: impl Into<chainrule_kernels::Scalar>) -> Result<Tensor> {
        mask.must_be_bool("masked_fill")?;
        let mask = mask.expand(self.shape()).map_err(|error| error.in_op("masked_fill"))?;
        Tensor::ternary(TernaryOp::Where, [(&mask).into(), value.into().into(), self.into()], 0.0)
            .and_then(|y| y.to_dtype(self.dtype()))
    }
}

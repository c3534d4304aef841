//! Arithmetic on variables, which broadcast; the gradient of a broadcast operand is summed to its shape.

use chainrule_tensor::{BinaryOp, Result, Tensor};

use crate::record::record;
use crate::{Pull, Var, VarArg};

impl Var {
    /// `a + b`; see [`Tensor::add`].
    ///
    /// Gradient: `dy` to both operands.
    ///
    /// ```
    /// # use chainrule_autograd::value_and_grad;
    /// # use chainrule_tensor::{Device, Tensor};
    /// let [a, b] = [Tensor::new(3.0f64, &Device::Cpu)?, Tensor::new(2.0f64, &Device::Cpu)?];
    /// let (y, grads) = value_and_grad(|x| x[0].add(&x[1]), &[a, b])?;
    /// assert_eq!(y.item::<f64>()?, 5.0);
    /// assert_eq!((grads[0].item::<f64>()?, grads[1].item::<f64>()?), (1.0, 1.0));
    /// # Ok::<(), chainrule_tensor::Error>(())
    /// ```
    #[track_caller]
    pub fn add<'a>(&self, other: impl Into<VarArg<'a>>) -> Result<Var> {
        Var::binary(BinaryOp::Add, self.into(), other.into())
    }

    /// `a - b`; see [`Tensor::sub`].
    ///
    /// Gradient: `dy` and `-dy`.
    ///
    /// ```
    /// # use chainrule_autograd::value_and_grad;
    /// # use chainrule_tensor::{Device, Tensor};
    /// let [a, b] = [Tensor::new(3.0f64, &Device::Cpu)?, Tensor::new(2.0f64, &Device::Cpu)?];
    /// let (y, grads) = value_and_grad(|x| x[0].sub(&x[1]), &[a, b])?;
    /// assert_eq!(y.item::<f64>()?, 1.0);
    /// assert_eq!((grads[0].item::<f64>()?, grads[1].item::<f64>()?), (1.0, -1.0));
    /// # Ok::<(), chainrule_tensor::Error>(())
    /// ```
    #[track_caller]
    pub fn sub<'a>(&self, other: impl Into<VarArg<'a>>) -> Result<Var> {
        Var::binary(BinaryOp::Sub, self.into(), other.into())
    }

    /// `a * b`; see [`Tensor::mul`].
    ///
    /// Gradient: `b dy` and `a dy`.
    ///
    /// ```
    /// # use chainrule_autograd::value_and_grad;
    /// # use chainrule_tensor::{Device, Tensor};
    /// let [a, b] = [Tensor::new(3.0f64, &Device::Cpu)?, Tensor::new(2.0f64, &Device::Cpu)?];
    /// let (y, grads) = value_and_grad(|x| x[0].mul(&x[1]), &[a, b])?;
    /// assert_eq!(y.item::<f64>()?, 6.0);
    /// assert_eq!((grads[0].item::<f64>()?, grads[1].item::<f64>()?), (2.0, 3.0));
    /// # Ok::<(), chainrule_tensor::Error>(())
    /// ```
    #[track_caller]
    pub fn mul<'a>(&self, other: impl Into<VarArg<'a>>) -> Result<Var> {
        Var::binary(BinaryOp::Mul, self.into(), other.into())
    }

    /// `a / b`; see [`Tensor::div`].
    ///
    /// Gradient: `dy / b` and `-y dy / b`.
    ///
    /// ```
    /// # use chainrule_autograd::value_and_grad;
    /// # use chainrule_tensor::{Device, Tensor};
    /// let [a, b] = [Tensor::new(3.0f64, &Device::Cpu)?, Tensor::new(2.0f64, &Device::Cpu)?];
    /// let (y, grads) = value_and_grad(|x| x[0].div(&x[1]), &[a, b])?;
    /// assert_eq!(y.item::<f64>()?, 1.5);
    /// assert_eq!((grads[0].item::<f64>()?, grads[1].item::<f64>()?), (0.5, -0.75));
    /// # Ok::<(), chainrule_tensor::Error>(())
    /// ```
    #[track_caller]
    pub fn div<'a>(&self, other: impl Into<VarArg<'a>>) -> Result<Var> {
        Var::binary(BinaryOp::Div, self.into(), other.into())
    }

    /// `floor(a / b)`; see [`Tensor::floor_div`].
    ///
    /// Gradient: 0.
    ///
    /// ```
    /// # use chainrule_autograd::value_and_grad;
    /// # use chainrule_tensor::{Device, Tensor};
    /// let [a, b] = [Tensor::new(7.0f64, &Device::Cpu)?, Tensor::new(2.0f64, &Device::Cpu)?];
    /// let (y, grads) = value_and_grad(|x| x[0].floor_div(&x[1]), &[a, b])?;
    /// assert_eq!(y.item::<f64>()?, 3.0);
    /// assert_eq!((grads[0].item::<f64>()?, grads[1].item::<f64>()?), (0.0, 0.0));
    /// # Ok::<(), chainrule_tensor::Error>(())
    /// ```
    #[track_caller]
    pub fn floor_div<'a>(&self, other: impl Into<VarArg<'a>>) -> Result<Var> {
        Var::binary(BinaryOp::FloorDiv, self.into(), other.into())
    }

    /// `a - b floor(a / b)`; see [`Tensor::rem`].
    ///
    /// Gradient: `dy` and `-floor(a / b) dy`.
    ///
    /// ```
    /// # use chainrule_autograd::value_and_grad;
    /// # use chainrule_tensor::{Device, Tensor};
    /// let [a, b] = [Tensor::new(-7.0f64, &Device::Cpu)?, Tensor::new(2.0f64, &Device::Cpu)?];
    /// let (y, grads) = value_and_grad(|x| x[0].rem(&x[1]), &[a, b])?;
    /// assert_eq!(y.item::<f64>()?, 1.0);
    /// assert_eq!((grads[0].item::<f64>()?, grads[1].item::<f64>()?), (1.0, 4.0));
    /// # Ok::<(), chainrule_tensor::Error>(())
    /// ```
    #[track_caller]
    pub fn rem<'a>(&self, other: impl Into<VarArg<'a>>) -> Result<Var> {
        Var::binary(BinaryOp::Rem, self.into(), other.into())
    }

    /// `a - b trunc(a / b)`; see [`Tensor::fmod`].
    ///
    /// Gradient: `dy` and `-trunc(a / b) dy`.
    ///
    /// ```
    /// # use chainrule_autograd::value_and_grad;
    /// # use chainrule_tensor::{Device, Tensor};
    /// let [a, b] = [Tensor::new(-7.0f64, &Device::Cpu)?, Tensor::new(2.0f64, &Device::Cpu)?];
    /// let (y, grads) = value_and_grad(|x| x[0].fmod(&x[1]), &[a, b])?;
    /// assert_eq!(y.item::<f64>()?, -1.0);
    /// assert_eq!((grads[0].item::<f64>()?, grads[1].item::<f64>()?), (1.0, 3.0));
    /// # Ok::<(), chainrule_tensor::Error>(())
    /// ```
    #[track_caller]
    pub fn fmod<'a>(&self, other: impl Into<VarArg<'a>>) -> Result<Var> {
        Var::binary(BinaryOp::Fmod, self.into(), other.into())
    }

    /// `a^b`; see [`Tensor::pow`].
    ///
    /// Gradient: `b a^(b-1) dy` (0 where `b` is 0) and `a^b ln(a) dy` (0 where `a` is 0 and `b >= 0`).
    ///
    /// ```
    /// # use chainrule_autograd::value_and_grad;
    /// # use chainrule_tensor::{Device, Tensor};
    /// let [a, b] = [Tensor::new(2.0f64, &Device::Cpu)?, Tensor::new(3.0f64, &Device::Cpu)?];
    /// let (y, grads) = value_and_grad(|x| x[0].pow(&x[1]), &[a, b])?;
    /// assert_eq!(y.item::<f64>()?, 8.0);
    /// assert_eq!((grads[0].item::<f64>()?, grads[1].item::<f64>()?), (12.0, 8.0 * std::f64::consts::LN_2));
    /// # Ok::<(), chainrule_tensor::Error>(())
    /// ```
    #[track_caller]
    pub fn pow<'a>(&self, other: impl Into<VarArg<'a>>) -> Result<Var> {
        Var::binary(BinaryOp::Pow, self.into(), other.into())
    }

    /// The larger of `a` and `b`; see [`Tensor::maximum`].
    ///
    /// Gradient: `dy` to the larger; half to each of two that are equal, all to both beside a NaN.
    ///
    /// ```
    /// # use chainrule_autograd::value_and_grad;
    /// # use chainrule_tensor::{Device, Tensor};
    /// let [a, b] = [Tensor::new(3.0f64, &Device::Cpu)?, Tensor::new(2.0f64, &Device::Cpu)?];
    /// let (y, grads) = value_and_grad(|x| x[0].maximum(&x[1]), &[a, b])?;
    /// assert_eq!(y.item::<f64>()?, 3.0);
    /// assert_eq!((grads[0].item::<f64>()?, grads[1].item::<f64>()?), (1.0, 0.0));
    /// # Ok::<(), chainrule_tensor::Error>(())
    /// ```
    #[track_caller]
    pub fn maximum<'a>(&self, other: impl Into<VarArg<'a>>) -> Result<Var> {
        Var::binary(BinaryOp::Maximum, self.into(), other.into())
    }

    /// The smaller of `a` and `b`; see [`Tensor::minimum`].
    ///
    /// Gradient: `dy` to the smaller; half to each of two that are equal, all to both beside a NaN.
    ///
    /// ```
    /// # use chainrule_autograd::value_and_grad;
    /// # use chainrule_tensor::{Device, Tensor};
    /// let [a, b] = [Tensor::new(3.0f64, &Device::Cpu)?, Tensor::new(2.0f64, &Device::Cpu)?];
    /// let (y, grads) = value_and_grad(|x| x[0].minimum(&x[1]), &[a, b])?;
    /// assert_eq!(y.item::<f64>()?, 2.0);
    /// assert_eq!((grads[0].item::<f64>()?, grads[1].item::<f64>()?), (0.0, 1.0));
    /// # Ok::<(), chainrule_tensor::Error>(())
    /// ```
    #[track_caller]
    pub fn minimum<'a>(&self, other: impl Into<VarArg<'a>>) -> Result<Var> {
        Var::binary(BinaryOp::Minimum, self.into(), other.into())
    }

    /// The angle of the point `(b, a)`; see [`Tensor::atan2`].
    ///
    /// Gradient: `b dy / (a^2 + b^2)` and `-a dy / (a^2 + b^2)`; 0 where both are 0.
    ///
    /// ```
    /// # use chainrule_autograd::value_and_grad;
    /// # use chainrule_tensor::{Device, Tensor};
    /// let [a, b] = [Tensor::new(0.0f64, &Device::Cpu)?, Tensor::new(2.0f64, &Device::Cpu)?];
    /// let (y, grads) = value_and_grad(|x| x[0].atan2(&x[1]), &[a, b])?;
    /// assert_eq!(y.item::<f64>()?, 0.0);
    /// assert_eq!((grads[0].item::<f64>()?, grads[1].item::<f64>()?), (0.5, 0.0));
    /// # Ok::<(), chainrule_tensor::Error>(())
    /// ```
    #[track_caller]
    pub fn atan2<'a>(&self, other: impl Into<VarArg<'a>>) -> Result<Var> {
        Var::binary(BinaryOp::Atan2, self.into(), other.into())
    }

    /// `a - x` with `a` on the left; see [`Tensor::rsub`].
    ///
    /// Gradient: `-dy`.
    ///
    /// ```
    /// # use chainrule_autograd::value_and_grad;
    /// # use chainrule_tensor::{Device, Tensor};
    /// let x = Tensor::new(3.0f64, &Device::Cpu)?;
    /// let (y, dx) = value_and_grad(|x| x[0].rsub(10.0), &[x])?;
    /// assert_eq!((y.item::<f64>()?, dx[0].item::<f64>()?), (7.0, -1.0));
    /// # Ok::<(), chainrule_tensor::Error>(())
    /// ```
    #[track_caller]
    pub fn rsub<'a>(&self, left: impl Into<VarArg<'a>>) -> Result<Var> {
        Var::binary(BinaryOp::Sub, left.into(), self.into())
    }

    /// `a / x` with `a` on the left; see [`Tensor::rdiv`].
    ///
    /// Gradient: `-y dy / x`.
    ///
    /// ```
    /// # use chainrule_autograd::value_and_grad;
    /// # use chainrule_tensor::{Device, Tensor};
    /// let x = Tensor::new(2.0f64, &Device::Cpu)?;
    /// let (y, dx) = value_and_grad(|x| x[0].rdiv(6.0), &[x])?;
    /// assert_eq!((y.item::<f64>()?, dx[0].item::<f64>()?), (3.0, -1.5));
    /// # Ok::<(), chainrule_tensor::Error>(())
    /// ```
    #[track_caller]
    pub fn rdiv<'a>(&self, left: impl Into<VarArg<'a>>) -> Result<Var> {
        Var::binary(BinaryOp::Div, left.into(), self.into())
    }

    /// `a^x` with `a` on the left; see [`Tensor::rpow`].
    ///
    /// Gradient: `y ln(a) dy`.
    ///
    /// ```
    /// # use chainrule_autograd::value_and_grad;
    /// # use chainrule_tensor::{Device, Tensor};
    /// let x = Tensor::new(3.0f64, &Device::Cpu)?;
    /// let (y, dx) = value_and_grad(|x| x[0].rpow(2.0), &[x])?;
    /// assert_eq!((y.item::<f64>()?, dx[0].item::<f64>()?), (8.0, 8.0 * std::f64::consts::LN_2));
    /// # Ok::<(), chainrule_tensor::Error>(())
    /// ```
    #[track_caller]
    pub fn rpow<'a>(&self, left: impl Into<VarArg<'a>>) -> Result<Var> {
        Var::binary(BinaryOp::Pow, left.into(), self.into())
    }

    /// `x + weight (end - x)`; see [`Tensor::lerp`].
    ///
    /// ```
    /// # use chainrule_autograd::value_and_grad;
    /// # use chainrule_tensor::{Device, Tensor};
    /// let of = |x: f64| Tensor::new(x, &Device::Cpu);
    /// let (y, grads) = value_and_grad(|x| x[0].lerp(&x[1], &x[2]), &[of(1.0)?, of(3.0)?, of(0.5)?])?;
    /// assert_eq!((y.item::<f64>()?, grads[2].item::<f64>()?), (2.0, 2.0));
    /// # Ok::<(), chainrule_tensor::Error>(())
    /// ```
    #[track_caller]
    pub fn lerp<'a>(&self, end: &Var, weight: impl Into<VarArg<'a>>) -> Result<Var> {
        self.add(end.sub(self)?.mul(weight)?)
    }

    /// `x + value a b`; see [`Tensor::addcmul`].
    ///
    /// ```
    /// # use chainrule_autograd::value_and_grad;
    /// # use chainrule_tensor::{Device, Tensor};
    /// let of = |x: f64| Tensor::new(x, &Device::Cpu);
    /// let (y, grads) = value_and_grad(|x| x[0].addcmul(&x[1], &x[2], 0.5), &[of(1.0)?, of(2.0)?, of(3.0)?])?;
    /// assert_eq!((y.item::<f64>()?, grads[2].item::<f64>()?), (4.0, 1.0));
    /// # Ok::<(), chainrule_tensor::Error>(())
    /// ```
    #[track_caller]
    pub fn addcmul(&self, a: &Var, b: &Var, value: f64) -> Result<Var> {
        self.add(a.mul(b)?.mul(value)?)
    }

    /// This variable where `condition` (bool) is true, `other` elsewhere; see [`Tensor::where_`].
    ///
    /// Gradient: `dy` to the one chosen, 0 to the other.
    ///
    /// ```
    /// # use chainrule_autograd::value_and_grad;
    /// # use chainrule_tensor::{Device, Tensor};
    /// let [a, b] = [Tensor::new([1.0f64, 2.0], &Device::Cpu)?, Tensor::new([10.0f64, 20.0], &Device::Cpu)?];
    /// let condition = Tensor::new([true, false], &Device::Cpu)?;
    /// let (y, grads) = value_and_grad(|x| x[0].where_(&condition, &x[1])?.sum(.., false), &[a, b])?;
    /// assert_eq!(y.item::<f64>()?, 21.0);
    /// assert_eq!((grads[0].to_vec::<f64>()?, grads[1].to_vec::<f64>()?), (vec![1.0, 0.0], vec![0.0, 1.0]));
    /// # Ok::<(), chainrule_tensor::Error>(())
    /// ```
    #[track_caller]
    pub fn where_<'a>(&self, condition: &Tensor, other: impl Into<VarArg<'a>>) -> Result<Var> {
        let other = match other.into() {
            VarArg::Var(x) => x.clone(),
            VarArg::Owned(x) => x,
            VarArg::Scalar(value) => Tensor::full((), value, self.dtype(), &self.device())?.into(),
        };
        let ((shape, dtype), (other_shape, other_dtype)) =
            ((*self.shape(), self.dtype()), (*other.shape(), other.dtype()));
        let chosen = condition.clone();
        let rule = move |pull: &Pull<'_>| {
            let dy = pull.dy()?;
            Ok([
                pull.when(0, || dy.where_(&chosen, 0.0)?.sum_to(shape)?.to_dtype(dtype))?,
                pull.when(1, || dy.masked_fill(&chosen, 0.0)?.sum_to(other_shape)?.to_dtype(other_dtype))?,
            ])
        };
        record("where", [self, &other], |[x, other]| x.where_(condition, other), rule)
    }

    /// `value` where `mask` (bool) is true; see [`Tensor::masked_fill`].
    ///
    /// Gradient: `dy` where the mask is false, 0 elsewhere.
    ///
    /// ```
    /// # use chainrule_autograd::value_and_grad;
    /// # use chainrule_tensor::{Device, Tensor};
    /// let x = Tensor::new([1.0f64, 2.0], &Device::Cpu)?;
    /// let mask = Tensor::new([true, false], &Device::Cpu)?;
    /// let (y, dx) = value_and_grad(|x| x[0].masked_fill(&mask, 7.0)?.sum(.., false), &[x])?;
    /// assert_eq!((y.item::<f64>()?, dx[0].to_vec::<f64>()?), (9.0, vec![0.0, 1.0]));
    /// # Ok::<(), chainrule_tensor::Error>(())
    /// ```
    #[track_caller]
    pub fn masked_fill(&self, mask: &Tensor, value: impl Into<chainrule_tensor::Scalar>) -> Result<Var> {
        let kept = mask.clone();
        let rule = move |pull: &Pull<'_>| Ok([pull.when(0, || pull.dy()?.masked_fill(&kept, 0.0))?]);
        record("masked_fill", [self], |[x]| x.masked_fill(mask, value), rule)
    }
}

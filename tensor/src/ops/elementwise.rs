//! How elementwise ops get to the table of kernels: promotion, broadcasting and the allocation of the result.

use chainrule_kernels::elementwise::{self, BinaryOp, ElementwiseOp, TernaryOp, UnaryOp};
use chainrule_kernels::{Operand, View};

use crate::{DType, Device, Error, Layout, Result, Scalar, Shape, Tensor};

/// An operand: a tensor, or a number that takes the dtype of the tensor it meets.
#[derive(Clone, Debug)]
pub enum Arg<'a> {
    /// A tensor, borrowed.
    Tensor(&'a Tensor),
    /// A tensor, owned.
    Owned(Tensor),
    /// A number.
    Scalar(Scalar),
}

impl Arg<'_> {
    fn tensor(&self) -> Option<&Tensor> {
        match self {
            Arg::Tensor(x) => Some(x),
            Arg::Owned(x) => Some(x),
            Arg::Scalar(_) => None,
        }
    }
}

impl<'a> From<&'a Tensor> for Arg<'a> {
    fn from(x: &'a Tensor) -> Arg<'a> {
        Arg::Tensor(x)
    }
}

impl From<Tensor> for Arg<'_> {
    fn from(x: Tensor) -> Self {
        Arg::Owned(x)
    }
}

impl From<Scalar> for Arg<'_> {
    fn from(value: Scalar) -> Self {
        Arg::Scalar(value)
    }
}

impl From<f64> for Arg<'_> {
    fn from(value: f64) -> Self {
        Arg::Scalar(value.into())
    }
}

impl From<f32> for Arg<'_> {
    fn from(value: f32) -> Self {
        Arg::Scalar(value.into())
    }
}

impl From<i64> for Arg<'_> {
    fn from(value: i64) -> Self {
        Arg::Scalar(value.into())
    }
}

impl From<i32> for Arg<'_> {
    fn from(value: i32) -> Self {
        Arg::Scalar(value.into())
    }
}

impl From<bool> for Arg<'_> {
    fn from(value: bool) -> Self {
        Arg::Scalar(value.into())
    }
}

/// The dtype, shape and device of the result of an op on some operands.
struct Common {
    dtype: DType,
    shape: Shape,
    device: Device,
}

#[track_caller]
fn common(op: &'static str, args: &[Arg<'_>]) -> Result<Common> {
    let tensors: Vec<&Tensor> = args.iter().filter_map(Arg::tensor).collect();
    let Some((&first, rest)) = tensors.split_first() else {
        return Err(Error::argument(op, "needs at least one tensor among its operands"));
    };
    let (mut dtype, mut shape) = (first.dtype(), *first.shape());
    for x in rest {
        first.same_device(op, x)?;
        dtype = dtype.promote(x.dtype());
        shape = Shape::broadcast(op, &shape, x.shape())?;
    }
    for arg in args {
        if let Arg::Scalar(value) = arg {
            dtype = value.promote(dtype);
        }
    }
    Ok(Common { dtype, shape, device: first.device() })
}

/// The layouts that the tensors among `args` have when expanded to `shape`; numbers get an unused one.
#[track_caller]
fn expanded(op: &'static str, args: &[Arg<'_>], shape: Shape) -> Result<Vec<Layout>> {
    let layout = |arg: &Arg<'_>| match arg.tensor() {
        Some(x) => x.layout().expand(op, shape),
        None => Ok(Layout::contiguous(Shape::SCALAR)),
    };
    args.iter().map(layout).collect()
}

fn operand<'a>(arg: &'a Arg<'_>, layout: &'a Layout) -> Operand<'a> {
    match arg {
        Arg::Scalar(value) => Operand::Scalar(*value),
        Arg::Tensor(x) => {
            Operand::View(View { buffer: x.buffer(), offset: layout.offset(), strides: layout.strides() })
        }
        Arg::Owned(x) => Operand::View(View { buffer: x.buffer(), offset: layout.offset(), strides: layout.strides() }),
    }
}

#[track_caller]
fn check_dtype(op: impl ElementwiseOp, dtype: DType) -> Result<()> {
    if op.accepts(dtype) {
        return Ok(());
    }
    Err(Error::dtype(op.name(), format!("is not defined for {dtype}")))
}

impl Tensor {
    #[track_caller]
    pub(crate) fn unary(&self, op: UnaryOp, scalars: [f64; 2]) -> Result<Tensor> {
        check_dtype(op, self.dtype())?;
        Tensor::build(&self.device(), op.output_dtype(self.dtype()), *self.shape(), |y| {
            elementwise::unary(op, Operand::View(self.view()), self.shape(), scalars, y)
        })
    }

    /// An op of the table on two operands, broadcast and promoted; the named methods call it.
    ///
    /// # Errors
    /// Shapes that do not broadcast, different devices, a dtype the op is not defined for, two numbers.
    ///
    /// ```
    /// use chainrule_tensor::{BinaryOp, Device, Tensor};
    /// let x = Tensor::new([1.0f64, 2.0], &Device::Cpu)?;
    /// let y = Tensor::binary(BinaryOp::Pow, (&x).into(), 2.into())?;
    /// assert_eq!(y.to_vec::<f64>()?, [1.0, 4.0]);
    /// # Ok::<(), chainrule_tensor::Error>(())
    /// ```
    #[track_caller]
    pub fn binary(op: BinaryOp, a: Arg<'_>, b: Arg<'_>) -> Result<Tensor> {
        let args = [a, b];
        let Common { dtype, shape, device } = common(op.name(), &args)?;
        check_dtype(op, dtype)?;
        let layouts = expanded(op.name(), &args, shape)?;
        Tensor::build(&device, op.output_dtype(dtype), shape, |y| {
            elementwise::binary(op, operand(&args[0], &layouts[0]), operand(&args[1], &layouts[1]), &shape, y)
        })
    }

    /// A ternary op; the condition of `where` takes no part in promotion.
    #[track_caller]
    pub(crate) fn ternary(op: TernaryOp, args: [Arg<'_>; 3], value: f64) -> Result<Tensor> {
        let is_where = op == TernaryOp::Where;
        let Common { shape, device, .. } = common(op.name(), &args)?;
        let promoting: Vec<Arg<'_>> = args.iter().skip(usize::from(is_where)).cloned().collect();
        let dtype = match common(op.name(), &promoting) {
            Ok(common) => common.dtype,
            // Two numbers chosen by a tensor of bools.
            Err(_) => promoting.iter().fold(DType::Bool, |dtype, arg| match arg {
                Arg::Scalar(value) => value.promote(dtype),
                _ => dtype,
            }),
        };
        check_dtype(op, dtype)?;
        let layouts = expanded(op.name(), &args, shape)?;
        let operands = [0, 1, 2].map(|i| operand(&args[i], &layouts[i]));
        Tensor::build(&device, op.output_dtype(dtype), shape, |y| elementwise::ternary(op, operands, &shape, value, y))
    }

    /// `op(a, b)` in the buffer of `a` where nothing else uses it and the result has its shape and dtype.
    #[track_caller]
    pub(crate) fn binary_owned(op: BinaryOp, mut a: Tensor, b: Arg<'_>) -> Result<Tensor> {
        let args = [Arg::Scalar(0i64.into()), b];
        let fits = match args[1].tensor() {
            Some(b) => {
                a.same_device(op.name(), b)?;
                op.output_dtype(a.dtype().promote(b.dtype())) == a.dtype()
                    && Shape::broadcast(op.name(), a.shape(), b.shape())? == *a.shape()
                    && !a.shares_buffer(b)
            }
            None => false,
        };
        let shape = *a.shape();
        if fits && op.accepts(a.dtype()) {
            let layout = expanded(op.name(), &args[1..], shape)?;
            if let Some(buffer) = a.unique_buffer() {
                elementwise::binary_in_place(op, buffer, operand(&args[1], &layout[0]), &shape)?;
                return Ok(a);
            }
        }
        let [_, b] = args;
        Tensor::binary(op, Arg::Owned(a), b)
    }

    /// `a + b`, written into `a` where nothing else uses its buffer: how gradients are summed.
    ///
    /// ```
    /// use chainrule_tensor::{Device, Tensor};
    /// let x = Tensor::new([1.0f64, 2.0], &Device::Cpu)?;
    /// let kept = x.clone();
    /// assert_eq!(Tensor::add_owned(x, &kept)?.to_vec::<f64>()?, [2.0, 4.0]);
    /// assert_eq!(kept.to_vec::<f64>()?, [1.0, 2.0]);
    /// # Ok::<(), chainrule_tensor::Error>(())
    /// ```
    #[track_caller]
    pub fn add_owned(a: Tensor, b: &Tensor) -> Result<Tensor> {
        Tensor::binary_owned(BinaryOp::Add, a, b.into())
    }

    #[track_caller]
    pub(crate) fn must_be_bool(&self, op: &'static str) -> Result<()> {
        if self.dtype() == DType::Bool {
            return Ok(());
        }
        Err(Error::dtype(op, format!("the condition is {}, expected bool: compare it with 0", self.dtype())))
    }
}

//! New tensors.

use chainrule_kernels::{Scalar, copy};

use crate::{DType, Device, Element, Error, ErrorKind, Result, Shape, Sizes, Tensor};

impl Tensor {
    /// A tensor of a number, an array, or a nested array.
    ///
    /// ```
    /// use chainrule_tensor::{Device, Tensor};
    /// let x = Tensor::new([[1.0f32, 2.0], [3.0, 4.0]], &Device::Cpu)?;
    /// assert_eq!(x.shape(), &[2, 2]);
    /// # Ok::<(), chainrule_tensor::Error>(())
    /// ```
    #[track_caller]
    pub fn new<N: Nested>(values: N, device: &Device) -> Result<Tensor> {
        let mut flat = Vec::new();
        values.flatten(&mut flat);
        Tensor::from_vec(flat, N::shape(), device)
    }

    /// Every element `value`, converted to `dtype`.
    ///
    /// ```
    /// use chainrule_tensor::{DType, Device, Tensor};
    /// let x = Tensor::full([2], 7, DType::F32, &Device::Cpu)?;
    /// assert_eq!(x.to_vec::<f32>()?, [7.0, 7.0]);
    /// # Ok::<(), chainrule_tensor::Error>(())
    /// ```
    ///
    /// Source: `torch.full`.
    #[track_caller]
    pub fn full(shape: impl Sizes, value: impl Into<Scalar>, dtype: DType, device: &Device) -> Result<Tensor> {
        let shape = Shape::new(shape.sizes())?;
        Tensor::build(device, dtype, shape, |y| copy::fill(y, value))
    }

    /// Every element 0.
    ///
    /// ```
    /// use chainrule_tensor::{DType, Device, Tensor};
    /// let x = Tensor::zeros([2], DType::F32, &Device::Cpu)?;
    /// assert_eq!(x.to_vec::<f32>()?, [0.0, 0.0]);
    /// # Ok::<(), chainrule_tensor::Error>(())
    /// ```
    ///
    /// Source: `torch.zeros`.
    #[track_caller]
    pub fn zeros(shape: impl Sizes, dtype: DType, device: &Device) -> Result<Tensor> {
        Tensor::full(shape, 0i64, dtype, device)
    }

    /// Every element 1.
    ///
    /// ```
    /// use chainrule_tensor::{DType, Device, Tensor};
    /// let x = Tensor::ones([2], DType::I64, &Device::Cpu)?;
    /// assert_eq!(x.to_vec::<i64>()?, [1, 1]);
    /// # Ok::<(), chainrule_tensor::Error>(())
    /// ```
    ///
    /// Source: `torch.ones`.
    #[track_caller]
    pub fn ones(shape: impl Sizes, dtype: DType, device: &Device) -> Result<Tensor> {
        Tensor::full(shape, 1i64, dtype, device)
    }

    /// Zeros of this tensor's shape, dtype and device.
    ///
    /// ```
    /// use chainrule_tensor::{Device, Tensor};
    /// let x = Tensor::new([1.0f64, 2.0], &Device::Cpu)?;
    /// assert_eq!(x.zeros_like()?.to_vec::<f64>()?, [0.0, 0.0]);
    /// # Ok::<(), chainrule_tensor::Error>(())
    /// ```
    #[track_caller]
    pub fn zeros_like(&self) -> Result<Tensor> {
        Tensor::zeros(self.shape(), self.dtype(), &self.device())
    }

    /// Ones of this tensor's shape, dtype and device.
    ///
    /// ```
    /// use chainrule_tensor::{Device, Tensor};
    /// let x = Tensor::new([5.0f64, 2.0], &Device::Cpu)?;
    /// assert_eq!(x.ones_like()?.to_vec::<f64>()?, [1.0, 1.0]);
    /// # Ok::<(), chainrule_tensor::Error>(())
    /// ```
    #[track_caller]
    pub fn ones_like(&self) -> Result<Tensor> {
        Tensor::ones(self.shape(), self.dtype(), &self.device())
    }

    /// `value` in this tensor's shape, dtype and device.
    ///
    /// ```
    /// use chainrule_tensor::{Device, Tensor};
    /// let x = Tensor::new([1.0f64, 2.0], &Device::Cpu)?;
    /// assert_eq!(x.full_like(7)?.to_vec::<f64>()?, [7.0, 7.0]);
    /// # Ok::<(), chainrule_tensor::Error>(())
    /// ```
    #[track_caller]
    pub fn full_like(&self, value: impl Into<Scalar>) -> Result<Tensor> {
        Tensor::full(self.shape(), value, self.dtype(), &self.device())
    }

    /// The integers (i64) or numbers (f32) `start, start + step, ...` before `end`: integers where all three are such, on
    /// wgpu i32.
    ///
    /// Element `i` is `start + i * step`, so errors do not add up.
    ///
    /// # Errors
    /// A step of 0, a bound that is not finite, integers that the device does not have, or more elements than an address
    /// can count.
    ///
    /// ```
    /// use chainrule_tensor::{Device, Tensor};
    /// assert_eq!(Tensor::arange(5, 0, -2, &Device::Cpu)?.to_vec::<i64>()?, [5, 3, 1]);
    /// assert_eq!(Tensor::arange(0.0, 1.0, 0.5, &Device::Cpu)?.to_vec::<f32>()?, [0.0, 0.5]);
    /// # Ok::<(), chainrule_tensor::Error>(())
    /// ```
    ///
    /// # Differences
    /// A step away from `end` gives no elements, as in NumPy; PyTorch refuses it.
    ///
    /// Source: `torch.arange`.
    #[track_caller]
    pub fn arange<S: Into<Scalar>>(start: S, end: S, step: S, device: &Device) -> Result<Tensor> {
        let (start, end, step) = (start.into(), end.into(), step.into());
        let (from, to, by) = (start.to_f64(), end.to_f64(), step.to_f64());
        if by == 0.0 || !by.is_finite() || !from.is_finite() || !to.is_finite() {
            return Err(Error::argument("arange", format!("cannot count from {from} to {to} by {by}")));
        }
        if let (Scalar::Int(start), Scalar::Int(end), Scalar::Int(step)) = (start, end, step) {
            let distance =
                if step > 0 { i128::from(end) - i128::from(start) } else { i128::from(start) - i128::from(end) };
            let count = count("arange", distance.max(0) as f64, step.unsigned_abs() as f64)?;
            let values = numbers("arange", count, |i| start.wrapping_add((i as i64).wrapping_mul(step)))?;
            let dtype = device.sum_dtype(DType::I64);
            if dtype == DType::I32 && values.iter().any(|&value| i32::try_from(value).is_err()) {
                return Err(Error::argument("arange", format!("{device} has integers of 32 bits, got {from} to {to}")));
            }
            return Tensor::from_vec(values, [count], &Device::Cpu)?.to_dtype(dtype)?.to_device(device);
        }
        let count = count("arange", ((to - from) / by).max(0.0), 1.0)?;
        let values = numbers("arange", count, |i| (from + i as f64 * by) as f32)?;
        Tensor::from_vec(values, [count], device)
    }

    /// `count` evenly spaced f32 numbers from `start` to `end`, both included.
    ///
    /// The second half is counted back from `end`, so that the last element is `end` exactly.
    ///
    /// ```
    /// use chainrule_tensor::{Device, Tensor};
    /// assert_eq!(Tensor::linspace(0.0, 1.0, 5, &Device::Cpu)?.to_vec::<f32>()?, [0.0, 0.25, 0.5, 0.75, 1.0]);
    /// # Ok::<(), chainrule_tensor::Error>(())
    /// ```
    ///
    /// Source: `torch.linspace`.
    #[track_caller]
    pub fn linspace(start: f64, end: f64, count: usize, device: &Device) -> Result<Tensor> {
        let step = if count > 1 { (end - start) / (count - 1) as f64 } else { 0.0 };
        let value =
            |i: usize| if 2 * i < count { start + i as f64 * step } else { end - (count - 1 - i) as f64 * step };
        let values = numbers("linspace", count, |i| if count == 1 { start } else { value(i) } as f32)?;
        Tensor::from_vec(values, [count], device)
    }

    /// The `rows x cols` matrix with ones on its diagonal.
    ///
    /// ```
    /// use chainrule_tensor::{DType, Device, Tensor};
    /// assert_eq!(Tensor::eye(2, 3, DType::I64, &Device::Cpu)?.to_vec::<i64>()?, [1, 0, 0, 0, 1, 0]);
    /// # Ok::<(), chainrule_tensor::Error>(())
    /// ```
    ///
    /// Source: `torch.eye`.
    #[track_caller]
    pub fn eye(rows: usize, cols: usize, dtype: DType, device: &Device) -> Result<Tensor> {
        let shape = Shape::new(&[rows, cols])?;
        let values = numbers("eye", shape.elements(), |i| f32::from(u8::from(i / cols == i % cols)))?;
        Tensor::from_vec(values, [rows, cols], device)?.to_dtype(dtype)
    }

    /// The elements on and below diagonal `shift` of the last two dims; zeros above.
    ///
    /// ```
    /// use chainrule_tensor::{Device, Tensor};
    /// let x = Tensor::new([[1i64, 2], [3, 4]], &Device::Cpu)?;
    /// assert_eq!(x.tril(0)?.to_vec::<i64>()?, [1, 0, 3, 4]);
    /// # Ok::<(), chainrule_tensor::Error>(())
    /// ```
    ///
    /// Source: `torch.tril`.
    #[track_caller]
    pub fn tril(&self, shift: isize) -> Result<Tensor> {
        self.keep_triangle("tril", |row, col| col <= row + shift)
    }

    /// The elements on and above diagonal `shift` of the last two dims; zeros below.
    ///
    /// ```
    /// use chainrule_tensor::{Device, Tensor};
    /// let x = Tensor::new([[1i64, 2], [3, 4]], &Device::Cpu)?;
    /// assert_eq!(x.triu(1)?.to_vec::<i64>()?, [0, 2, 0, 0]);
    /// # Ok::<(), chainrule_tensor::Error>(())
    /// ```
    ///
    /// Source: `torch.triu`.
    #[track_caller]
    pub fn triu(&self, shift: isize) -> Result<Tensor> {
        self.keep_triangle("triu", |row, col| col >= row + shift)
    }

    #[track_caller]
    fn keep_triangle(&self, op: &'static str, keeps: impl Fn(isize, isize) -> bool) -> Result<Tensor> {
        let &[.., rows, cols] = &self.shape()[..] else {
            return Err(Error::shape(op, format!("needs at least 2 dims, got shape {}", self.shape())));
        };
        let keep = |i: usize| keeps((i / cols) as isize, (i % cols) as isize);
        let mask: Vec<bool> = (0..rows * cols).map(keep).collect();
        self.where_(&Tensor::from_vec(mask, [rows, cols], &self.device())?, 0)
    }

    /// The index of each element along every dim: one tensor for each input, all of the shape of their lengths.
    ///
    /// With `[x, y]` of lengths X and Y the results are `[X, Y]`: `x[i]` and `y[j]` at `[i, j]` (PyTorch's `ij`).
    ///
    /// # Errors
    /// Inputs that are not 1-d.
    ///
    /// ```
    /// use chainrule_tensor::{Device, Tensor};
    /// let [x, y] = [Tensor::new([1i64, 2], &Device::Cpu)?, Tensor::new([3i64, 4, 5], &Device::Cpu)?];
    /// let grid = Tensor::meshgrid(&[&x, &y])?;
    /// assert_eq!(grid[0].to_vec::<i64>()?, [1, 1, 1, 2, 2, 2]);
    /// assert_eq!(grid[1].to_vec::<i64>()?, [3, 4, 5, 3, 4, 5]);
    /// # Ok::<(), chainrule_tensor::Error>(())
    /// ```
    ///
    /// Source: `torch.meshgrid` with `indexing="ij"`.
    #[track_caller]
    pub fn meshgrid(axes: &[&Tensor]) -> Result<Vec<Tensor>> {
        let sizes = axes.iter().map(|axis| Ok(axis.dims::<1>()?[0])).collect::<Result<Vec<_>>>()?;
        let grid = |(dim, axis): (usize, &&Tensor)| {
            let mut shape = vec![1; sizes.len()];
            shape[dim] = sizes[dim];
            axis.reshape(shape)?.expand(&sizes)
        };
        axes.iter().enumerate().map(grid).collect()
    }
}

/// `count` numbers in host memory, or an error where there is no room: a vector alone would end the program.
#[track_caller]
fn numbers<T>(op: &'static str, count: usize, number: impl Fn(usize) -> T) -> Result<Vec<T>> {
    let mut numbers = Vec::new();
    if numbers.try_reserve_exact(count).is_err() {
        let requested_bytes = count.saturating_mul(size_of::<T>());
        let live_bytes = Device::Cpu.memory_stats().live_bytes;
        return Err(Error::new(ErrorKind::OutOfMemory { requested_bytes, live_bytes }).in_op(op));
    }
    numbers.extend((0..count).map(number));
    Ok(numbers)
}

/// `ceil(distance / step)` as a number of elements.
#[track_caller]
fn count(op: &'static str, distance: f64, step: f64) -> Result<usize> {
    let count = (distance / step).ceil();
    if count < (1u64 << 48) as f64 {
        return Ok(count as usize);
    }
    Err(Error::argument(op, format!("{count} elements are more than any device holds")))
}

/// A number or a nested array of numbers.
pub trait Nested {
    /// The type of the numbers.
    type Number: Element;
    /// The sizes, outermost first.
    fn shape() -> Vec<usize>;
    /// Appends the numbers in row-major order.
    fn flatten(self, to: &mut Vec<Self::Number>);
}

macro_rules! number {
    ($($type:ty)*) => {$(
        impl Nested for $type {
            type Number = $type;
            fn shape() -> Vec<usize> { Vec::new() }
            fn flatten(self, to: &mut Vec<$type>) { to.push(self) }
        }
    )*};
}

number! { f32 f64 crate::f16 crate::bf16 i64 i32 u32 u8 bool }

impl<N: Nested, const LEN: usize> Nested for [N; LEN] {
    type Number = N::Number;

    fn shape() -> Vec<usize> {
        let mut shape = vec![LEN];
        shape.extend(N::shape());
        shape
    }

    fn flatten(self, to: &mut Vec<N::Number>) {
        self.into_iter().for_each(|inner| inner.flatten(to));
    }
}

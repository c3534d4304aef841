//! Random tensors. The numbers follow from the [`Rng`] alone and are the same on every device; see
//! [`chainrule_kernels::random`] for the formulas.

use chainrule_kernels::random;

use crate::{DType, Device, Error, Result, Rng, Shape, Sizes, Tensor};

impl Tensor {
    /// Numbers evenly spread over `[0, 1)`.
    ///
    /// # Errors
    /// A dtype that is no float.
    ///
    /// ```
    /// use chainrule_tensor::{DType, Device, Rng, Tensor};
    /// let x = Tensor::rand([2, 3], DType::F32, &Device::Cpu, &mut Rng::seed(1))?;
    /// assert!(x.to_vec::<f32>()?.iter().all(|x| (0.0..1.0).contains(x)));
    /// # Ok::<(), chainrule_tensor::Error>(())
    /// ```
    ///
    /// Source: `torch.rand`.
    #[track_caller]
    pub fn rand(shape: impl Sizes, dtype: DType, device: &Device, rng: &mut Rng) -> Result<Tensor> {
        let shape = float_shape("rand", shape, dtype)?;
        Tensor::build(device, dtype, shape, |y| random::fill_uniform(rng.next_stream(), 0.0, 1.0, y))
    }

    /// Numbers from the normal distribution of mean 0 and deviation 1.
    ///
    /// # Errors
    /// A dtype that is no float.
    ///
    /// ```
    /// use chainrule_tensor::{DType, Device, Rng, Tensor};
    /// let (mut a, mut b) = (Rng::seed(7), Rng::seed(7));
    /// let x = Tensor::randn([4], DType::F32, &Device::Cpu, &mut a)?;
    /// assert_eq!(x.to_vec::<f32>()?, Tensor::randn([4], DType::F32, &Device::Cpu, &mut b)?.to_vec::<f32>()?);
    /// # Ok::<(), chainrule_tensor::Error>(())
    /// ```
    ///
    /// Source: `torch.randn`.
    #[track_caller]
    pub fn randn(shape: impl Sizes, dtype: DType, device: &Device, rng: &mut Rng) -> Result<Tensor> {
        let shape = float_shape("randn", shape, dtype)?;
        Tensor::build(device, dtype, shape, |y| random::fill_normal(rng.next_stream(), 0.0, 1.0, y))
    }

    /// Numbers evenly spread over `[low, high)`.
    ///
    /// # Errors
    /// A dtype that is no float; bounds that are not finite or the wrong way round.
    ///
    /// ```
    /// use chainrule_tensor::{DType, Device, Rng, Tensor};
    /// let x = Tensor::uniform([100], -2.0, 3.0, DType::F32, &Device::Cpu, &mut Rng::seed(1))?;
    /// assert!(x.to_vec::<f32>()?.iter().all(|x| (-2.0..3.0).contains(x)));
    /// # Ok::<(), chainrule_tensor::Error>(())
    /// ```
    ///
    /// Source: `torch.Tensor.uniform_`.
    #[track_caller]
    pub fn uniform(
        shape: impl Sizes,
        low: f64,
        high: f64,
        dtype: DType,
        device: &Device,
        rng: &mut Rng,
    ) -> Result<Tensor> {
        if !(low <= high && (high - low).is_finite()) {
            return Err(Error::argument("uniform", format!("the bounds are {low} and {high}, expected low <= high")));
        }
        let shape = float_shape("uniform", shape, dtype)?;
        Tensor::build(device, dtype, shape, |y| random::fill_uniform(rng.next_stream(), low, high, y))
    }

    /// Numbers from the normal distribution of this mean and standard deviation.
    ///
    /// # Errors
    /// A dtype that is no float; a deviation below 0.
    ///
    /// ```
    /// use chainrule_tensor::{DType, Device, Rng, Tensor};
    /// let x = Tensor::normal([2], 5.0, 0.0, DType::F32, &Device::Cpu, &mut Rng::seed(1))?;
    /// assert_eq!(x.to_vec::<f32>()?, [5.0, 5.0]);
    /// # Ok::<(), chainrule_tensor::Error>(())
    /// ```
    ///
    /// Source: `torch.normal`.
    #[track_caller]
    pub fn normal(
        shape: impl Sizes,
        mean: f64,
        std: f64,
        dtype: DType,
        device: &Device,
        rng: &mut Rng,
    ) -> Result<Tensor> {
        if !(std >= 0.0 && std.is_finite() && mean.is_finite()) {
            let message = format!("the mean is {mean} and the deviation {std}, expected finite ones, not below 0");
            return Err(Error::argument("normal", message));
        }
        let shape = float_shape("normal", shape, dtype)?;
        Tensor::build(device, dtype, shape, |y| random::fill_normal(rng.next_stream(), mean, std, y))
    }

    /// Integers evenly drawn from `low..high`, in any dtype.
    ///
    /// # Errors
    /// No integer between the bounds.
    ///
    /// ```
    /// use chainrule_tensor::{DType, Device, Rng, Tensor};
    /// let x = Tensor::randint([100], -2, 3, DType::I64, &Device::Cpu, &mut Rng::seed(1))?;
    /// assert!(x.to_vec::<i64>()?.iter().all(|x| (-2..3).contains(x)));
    /// # Ok::<(), chainrule_tensor::Error>(())
    /// ```
    ///
    /// Source: `torch.randint`.
    #[track_caller]
    pub fn randint(
        shape: impl Sizes,
        low: i64,
        high: i64,
        dtype: DType,
        device: &Device,
        rng: &mut Rng,
    ) -> Result<Tensor> {
        if low >= high {
            return Err(Error::argument("randint", format!("there is no integer from {low} up to before {high}")));
        }
        let shape = Shape::new(shape.sizes())?;
        Tensor::build(device, dtype, shape, |y| random::fill_integers(rng.next_stream(), low, high, y))
    }

    /// The integers `0..n` in a random order, as [`Device::index_dtype`], which is i64 but on wgpu.
    ///
    /// ```
    /// use chainrule_tensor::{Device, Rng, Tensor};
    /// let mut order = Tensor::randperm(4, &Device::Cpu, &mut Rng::seed(1))?.to_vec::<i64>()?;
    /// order.sort();
    /// assert_eq!(order, [0, 1, 2, 3]);
    /// # Ok::<(), chainrule_tensor::Error>(())
    /// ```
    ///
    /// Source: `torch.randperm`.
    #[track_caller]
    pub fn randperm(n: usize, device: &Device, rng: &mut Rng) -> Result<Tensor> {
        Shape::new(&[n])?;
        let order = Tensor::from_vec(rng.permutation(n), [n], &Device::Cpu)?;
        order.to_dtype(device.index_dtype())?.to_device(device)
    }

    /// Ones with probability `p` and zeros, in any dtype.
    ///
    /// # Errors
    /// A probability outside `0..=1`.
    ///
    /// ```
    /// use chainrule_tensor::{DType, Device, Rng, Tensor};
    /// let x = Tensor::bernoulli([3], 1.0, DType::Bool, &Device::Cpu, &mut Rng::seed(1))?;
    /// assert_eq!(x.to_vec::<bool>()?, [true; 3]);
    /// # Ok::<(), chainrule_tensor::Error>(())
    /// ```
    ///
    /// # Differences
    /// One probability for all; PyTorch takes a tensor of them.
    ///
    /// Source: `torch.bernoulli`.
    #[track_caller]
    pub fn bernoulli(shape: impl Sizes, p: f64, dtype: DType, device: &Device, rng: &mut Rng) -> Result<Tensor> {
        if !(0.0..=1.0).contains(&p) {
            return Err(Error::argument("bernoulli", format!("the probability is {p}, expected 0 to 1")));
        }
        let shape = Shape::new(shape.sizes())?;
        Tensor::build(device, dtype, shape, |y| random::fill_bernoulli(rng.next_stream(), p, y))
    }
}

/// The shape, after dtypes that are no floats are refused.
#[track_caller]
fn float_shape(op: &'static str, shape: impl Sizes, dtype: DType) -> Result<Shape> {
    if !dtype.is_float() {
        return Err(Error::dtype(op, format!("is not defined for {dtype}, expected a float")));
    }
    Shape::new(shape.sizes())
}

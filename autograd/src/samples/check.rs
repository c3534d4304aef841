//! What is checked of a sample beyond its oracle: its gradients, other layouts, and other devices.

use chainrule_tensor::{DType, Device, Result, Slice, Tensor};

use super::{Array, ErrorSample, Sample};
use crate::{Tape, Var};

/// What a check found: a failure is a line of text for people.
pub type Checked<T> = std::result::Result<T, String>;

fn text(error: chainrule_tensor::Error) -> String {
    error.to_string()
}

impl Sample {
    /// The inputs with floats cast to `dtype`, on `device`; integers of 64 bits become i32 where it has none.
    ///
    /// # Errors
    /// No room on the device.
    pub fn inputs_as(&self, dtype: DType, device: &Device) -> Result<Vec<Tensor>> {
        let cast = |x: &Tensor| if x.dtype().is_float() { x.to_dtype(dtype) } else { Ok(x.clone()) };
        self.inputs.iter().map(|x| narrowed(&cast(x)?, device)).collect()
    }

    /// Whether a device has this call in `dtype`.
    pub fn exists_on(&self, device: &Device, dtype: DType) -> bool {
        device.supports(dtype) && self.needs.is_none_or(|needed| device.supports(needed))
    }

    /// The result for these inputs, off any tape.
    ///
    /// # Errors
    /// The op's error as text.
    pub fn result(&self, inputs: &[Tensor]) -> Checked<Tensor> {
        let vars: Vec<Var> = inputs.iter().map(Var::from).collect();
        (self.call)(&vars).map(|y| y.detach()).map_err(text)
    }

    /// The gradients of `sum(y * cotangent)` with respect to every floating input, in the dtype of the inputs.
    ///
    /// # Errors
    /// The op's error as text.
    pub fn gradients(&self, inputs: &[Tensor]) -> Checked<Vec<Tensor>> {
        self.gradients_of(inputs, |index| inputs[index].dtype().is_float())
    }

    /// As [`Sample::gradients`], with respect to some of the inputs.
    ///
    /// # Errors
    /// The op's error as text.
    pub fn gradients_of(&self, inputs: &[Tensor], is_tracked: impl Fn(usize) -> bool) -> Checked<Vec<Tensor>> {
        let run = || -> Result<Vec<Tensor>> {
            let tape = Tape::new();
            let leaf =
                |(index, x): (usize, &Tensor)| if is_tracked(index) { tape.leaf(x.clone()) } else { Var::from(x) };
            let leaves: Vec<Var> = inputs.iter().enumerate().map(leaf).collect();
            let y = (self.call)(&leaves)?;
            let weights: Vec<f64> = (0..y.elements()).map(|i| (i as f64 * 0.7).sin()).collect();
            let weights = Tensor::from_vec(weights, y.shape(), &Device::Cpu)?.to_dtype(y.dtype())?;
            let grads = y.mul(&weights.to_device(&y.device())?)?.sum(.., false)?.backward()?;
            leaves.iter().filter(|x| x.is_tracked()).map(|x| grads.get(x).cloned()).collect()
        };
        run().map_err(text)
    }

    /// Compares result and gradients on `device` with the host's, the first dtype of the sample that it has in every layout and,
    /// where elements do not meet, at a length that takes the kernels for many elements.
    ///
    /// # Errors
    /// What differs, or what the device refuses.
    pub fn agrees_with_host(&self, dtype: DType, device: &Device) -> Checked<()> {
        let (host, base) = (self.inputs_as(dtype, &Device::Cpu), self.inputs_as(dtype, device));
        let (host, base) = (host.map_err(text)?, base.map_err(text)?);
        let want = self.everything(&host)?;
        self.gives(&want, &base, dtype)?;
        if self.dtypes.iter().find(|&&dtype| device.supports(dtype)) != Some(&dtype) {
            return Ok(());
        }
        for index in 0..base.len() {
            for (layout, variant) in layouts(&base[index]).map_err(text)? {
                let mut inputs = base.clone();
                inputs[index] = variant;
                self.gives(&want, &inputs, dtype).map_err(|error| format!("input {index} {layout}: {error}"))?;
            }
        }
        if self.is_elementwise {
            let long = |inputs: &[Tensor]| inputs.iter().map(repeated).collect::<Result<Vec<_>>>().map_err(text);
            let want = self.everything(&long(&host)?)?;
            self.gives(&want, &long(&base)?, dtype).map_err(|error| format!("repeated: {error}"))?;
        }
        Ok(())
    }

    /// The result and all gradients.
    fn everything(&self, inputs: &[Tensor]) -> Checked<Vec<Array>> {
        let mut results = vec![self.result(inputs)?];
        if self.has_gradient {
            results.extend(self.gradients(inputs)?);
        }
        results.iter().map(Array::of).collect::<Result<_>>().map_err(text)
    }

    /// Compares the result and all gradients with what they must be.
    fn gives(&self, want: &[Array], inputs: &[Tensor], dtype: DType) -> Checked<()> {
        for (index, (got, want)) in self.everything(inputs)?.iter().zip(want).enumerate() {
            // Both sides round, and backwards of f16 and bf16 round between their steps.
            compare_arrays(got, want, dtype, 4.0 * self.tolerance)
                .map_err(|error| if index == 0 { error } else { format!("gradient {}: {error}", index - 1) })?;
        }
        Ok(())
    }
}

/// `x` on `device`, in 32 bits where it has no numbers of 64.
///
/// # Errors
/// No room on the device.
pub fn narrowed(x: &Tensor, device: &Device) -> Result<Tensor> {
    let narrow = if x.dtype().is_float() { DType::F32 } else { DType::I32 };
    let x = if device.supports(x.dtype()) { x.clone() } else { x.to_dtype(narrow)? };
    x.to_device(device)
}

impl ErrorSample {
    /// Whether a device has this call: not where the error tells of a dtype that it does not have.
    pub fn exists_on(&self, device: &Device) -> bool {
        let tells = |dtype: DType| self.message.contains(dtype.name());
        DType::ALL.into_iter().all(|dtype| device.supports(dtype) || !tells(dtype))
    }

    /// Checks that the call fails on `device` with the text that the sample says; what only a kernel can see may come
    /// with the next read.
    ///
    /// # Errors
    /// What happened instead.
    pub fn fails_on(&self, device: &Device) -> Checked<()> {
        let inputs = self.inputs.iter().map(|x| narrowed(x, device)).collect::<Result<Vec<_>>>().map_err(text)?;
        let vars: Vec<Var> = inputs.iter().map(Var::from).collect();
        let result = (self.call)(&vars).and_then(|y| device.synchronize().map(|()| y));
        let got = match result {
            Ok(y) => format!("a result of shape {}", y.shape()),
            Err(error) if error.to_string().contains(self.message) => return Ok(()),
            Err(error) => error.to_string(),
        };
        Err(format!("got {got:?}, expected an error with {:?}", self.message))
    }
}

/// Compares with an absolute and relative tolerance of `epsilons` units of the dtype; NaN matches NaN only.
///
/// # Errors
/// The first element that differs.
pub fn compare(got: &Tensor, expected: &Array, dtype: DType, epsilons: f64) -> Checked<()> {
    compare_arrays(&Array::of(got).map_err(text)?, expected, dtype, epsilons)
}

fn compare_arrays(got: &Array, expected: &Array, dtype: DType, epsilons: f64) -> Checked<()> {
    if got.shape != expected.shape {
        return Err(format!("shape {:?}, expected {:?}", got.shape, expected.shape));
    }
    let tolerance = epsilons * dtype.epsilon();
    for (index, (got, want)) in got.data.iter().zip(&expected.data).enumerate() {
        let agrees =
            got == want || (got.is_nan() && want.is_nan()) || (got - want).abs() <= tolerance * (1.0 + want.abs());
        if !agrees {
            return Err(format!("element {index} is {got}, expected {want} (difference {:e})", (got - want).abs()));
        }
    }
    Ok(())
}

/// The elements of `x` in one dim, over and over until there are more than devices take for few.
fn repeated(x: &Tensor) -> Result<Tensor> {
    const FEW: usize = 1 << 14;
    x.flatten(0, -1)?.repeat([FEW / x.elements() + 1])
}

/// The same values in other layouts: transposed memory, every second element of a larger buffer walked backwards, and a
/// window in the middle of a larger buffer.
///
/// # Errors
/// No room on the device.
pub fn layouts(x: &Tensor) -> Result<Vec<(&'static str, Tensor)>> {
    let mut variants = Vec::new();
    if x.rank() >= 2 {
        variants.push(("transposed", x.transpose(0, -1)?.copy()?.transpose(0, -1)?));
    }
    if x.rank() >= 1 {
        let doubled = Tensor::stack(&[&x.flip(..)?, &x.flip(..)?], -1)?.flatten(-2, -1)?;
        let stepped = doubled.slice(-1, Slice::from(..).step(-2))?;
        let rest: Vec<isize> = (0..x.rank() as isize - 1).collect();
        variants.push(("stepped backwards", stepped.flip(rest)?));
        let padded = Tensor::cat(&[x, x, x], 0)?;
        variants.push(("offset", padded.narrow(0, x.shape()[0], x.shape()[0])?));
    }
    Ok(variants)
}

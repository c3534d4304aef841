//! Samples: what each op is tested and measured with, kept beside the op.
//!
//! A sample is data: inputs, the call, and an oracle that says what the result must be. One harness derives all tests
//! from it: the forward result against the oracle in every dtype and on every device; gradients of first and second
//! order in f64; transposed, sliced, stepped, expanded and offset inputs; and the text of errors.

mod check;

use std::sync::Arc;

use chainrule_tensor::{DType, Device, Result, Rng, Tensor};

use crate::Var;
pub use check::{Checked, compare, layouts, narrowed};

type Call = Arc<dyn Fn(&[Var]) -> Result<Var> + Send + Sync>;
type Plain = Arc<dyn Fn(&[Array]) -> Array + Send + Sync>;

/// A small array for oracles: row-major f64 values that are read index by index.
#[derive(Clone, Debug, PartialEq)]
pub struct Array {
    /// The sizes of the dims.
    pub shape: Vec<usize>,
    /// The values in row-major order; bools are 0 and 1.
    pub data: Vec<f64>,
}

impl Array {
    /// The array whose element at each index is `f(index)`.
    pub fn build(shape: &[usize], mut f: impl FnMut(&[usize]) -> f64) -> Array {
        let n: usize = shape.iter().product();
        let mut index = vec![0; shape.len()];
        let mut data = Vec::with_capacity(n);
        for _ in 0..n {
            data.push(f(&index));
            for dim in (0..shape.len()).rev() {
                index[dim] += 1;
                if index[dim] < shape[dim] {
                    break;
                }
                index[dim] = 0;
            }
        }
        Array { shape: shape.to_vec(), data }
    }

    /// The values of a tensor on any device.
    ///
    /// # Errors
    /// What the device reports.
    pub fn of(x: &Tensor) -> Result<Array> {
        Ok(Array { shape: x.shape().to_vec(), data: x.to_f64_vec()? })
    }

    /// The array of `f(value)` for each value.
    pub fn map(mut self, f: impl Fn(f64) -> f64) -> Array {
        for value in &mut self.data {
            *value = f(*value);
        }
        self
    }

    /// The element at an index; missing leading dims and sizes of 1 are broadcast.
    pub fn at(&self, index: &[usize]) -> f64 {
        let skipped = index.len() - self.shape.len();
        let flat =
            self.shape.iter().zip(&index[skipped..]).fold(0, |flat, (&n, &i)| flat * n + if n == 1 { 0 } else { i });
        self.data[flat]
    }
}

/// What a result is compared with.
#[derive(Clone)]
pub enum Oracle {
    /// A function written index by index, independent of the library.
    Plain(Plain),
    /// The same function composed of other ops: the reference of a fused op.
    Composed(Call),
}

/// One call of an op with its inputs and its oracle.
#[derive(Clone)]
pub struct Sample {
    /// The method's name: `matmul`.
    pub op: &'static str,
    /// What is particular: `batch broadcast`.
    pub case: String,
    /// The inputs; floats are f64 and are cast to the dtype under test.
    pub inputs: Vec<Tensor>,
    /// The call.
    pub call: Call,
    /// What the result must be; `None` where only properties are checked elsewhere.
    pub oracle: Option<Oracle>,
    /// The dtypes that floating inputs are tried in.
    pub dtypes: Vec<DType>,
    /// False for ops whose result carries no gradient (comparisons, argmax) or where it does not exist at the sample.
    pub has_gradient: bool,
    /// The allowed error in units of the dtype's epsilon, relative to `1 + |expected|`, and why it is not the default:
    /// long sums, or functions that amplify the rounding of their input.
    pub tolerance: f64,
    /// True where each element of the result depends on the same element of every input alone, all of one shape: such a
    /// sample is also run with its inputs repeated, because devices have kernels of their own for many elements.
    pub is_elementwise: bool,
    /// True for shapes that are measured, too large for the exhaustive checks.
    pub is_bench: bool,
    /// A dtype that the call works in beside that of its inputs: a device without it has no such call.
    pub needs: Option<DType>,
}

/// Epsilons allowed by default: the inputs are rounded to the dtype first, so a result of a few roundings stays within.
const DEFAULT_TOLERANCE: f64 = 16.0;

impl Sample {
    /// A sample of `op`.
    pub fn new(
        op: &'static str,
        case: impl Into<String>,
        inputs: Vec<Tensor>,
        call: impl Fn(&[Var]) -> Result<Var> + Send + Sync + 'static,
    ) -> Sample {
        Sample {
            op,
            case: case.into(),
            inputs,
            call: Arc::new(call),
            oracle: None,
            dtypes: vec![DType::F32, DType::F64, DType::F16, DType::BF16],
            has_gradient: true,
            tolerance: DEFAULT_TOLERANCE,
            is_elementwise: false,
            is_bench: false,
            needs: None,
        }
    }

    /// Sets an oracle written index by index.
    pub fn plain(mut self, oracle: impl Fn(&[Array]) -> Array + Send + Sync + 'static) -> Sample {
        self.oracle = Some(Oracle::Plain(Arc::new(oracle)));
        self
    }

    /// Sets an oracle composed of other ops.
    pub fn composed(mut self, oracle: impl Fn(&[Var]) -> Result<Var> + Send + Sync + 'static) -> Sample {
        self.oracle = Some(Oracle::Composed(Arc::new(oracle)));
        self
    }

    /// Restricts the dtypes that floating inputs are tried in.
    pub fn dtypes(mut self, dtypes: &[DType]) -> Sample {
        self.dtypes = dtypes.to_vec();
        self
    }

    /// Says that no gradient is to be checked.
    pub fn no_gradient(mut self) -> Sample {
        self.has_gradient = false;
        self
    }

    /// Sets the allowed error in epsilons; say why beside the call.
    pub fn tolerance(mut self, epsilons: f64) -> Sample {
        self.tolerance = epsilons;
        self
    }

    /// Says that elements do not meet.
    pub fn elementwise(mut self) -> Sample {
        self.is_elementwise = true;
        self
    }

    /// Names a dtype that the call works in beside that of its inputs.
    pub fn needs(mut self, dtype: DType) -> Sample {
        self.needs = Some(dtype);
        self
    }

    /// Marks a shape that is measured.
    pub fn bench(mut self) -> Sample {
        self.is_bench = true;
        self
    }
}

/// A call that must fail, and the text it must fail with.
#[derive(Clone)]
pub struct ErrorSample {
    /// The method's name.
    pub op: &'static str,
    /// The inputs.
    pub inputs: Vec<Tensor>,
    /// The call.
    pub call: Call,
    /// A part of the message: what was got, what was needed.
    pub message: &'static str,
}

impl ErrorSample {
    /// A call that must fail.
    pub fn new(
        op: &'static str,
        inputs: Vec<Tensor>,
        call: impl Fn(&[Var]) -> Result<Var> + Send + Sync + 'static,
        message: &'static str,
    ) -> ErrorSample {
        ErrorSample { op, inputs, call: Arc::new(call), message }
    }
}

/// f64 values drawn evenly from `low..high`, the same for the same seed.
///
/// # Errors
/// A shape that is too large.
pub fn uniform(shape: &[usize], low: f64, high: f64, seed: u64) -> Result<Tensor> {
    let mut rng = Rng::seed(seed);
    let values: Vec<f64> = (0..shape.iter().product()).map(|_| low + (high - low) * f64::from(rng.uniform())).collect();
    Tensor::from_vec(values, shape, &Device::Cpu)
}

/// A tensor that is part of a sample's call, on the device of its inputs, in 32 bits where it has no numbers of 64.
///
/// # Errors
/// No room on the device.
pub fn on_device_of(tensor: &Option<Tensor>, inputs: &[Var]) -> Result<Option<Tensor>> {
    tensor.as_ref().map(|tensor| check::narrowed(tensor, &inputs[0].device())).transpose()
}

/// Indices drawn evenly from `0..below`, as u32.
///
/// # Errors
/// A shape that is too large.
pub fn indices(shape: &[usize], below: usize, seed: u64) -> Result<Tensor> {
    let mut rng = Rng::seed(seed);
    let values: Vec<u32> = (0..shape.iter().product()).map(|_| rng.below(below as u64) as u32).collect();
    Tensor::from_vec(values, shape, &Device::Cpu)
}

/// Every sample of every op.
///
/// # Errors
/// Only where a sample's inputs cannot be made.
pub fn all() -> Result<Vec<Sample>> {
    crate::ops::samples()
}

/// Every call that must fail.
///
/// # Errors
/// Only where a sample's inputs cannot be made.
pub fn errors() -> Result<Vec<ErrorSample>> {
    crate::ops::error_samples()
}

//! Reductions over any dims of an input with any strides.
//!
//! ```text
//! y[kept] = finish(fold over reduced of x[kept, reduced])          x: kept and reduced dims in any order in memory
//! sum, mean = sum / n, prod, max, min, any, all, argmax, argmin
//! norm      = (sum |x|^p)^(1/p);  p = 0: how many are not 0;  p = inf, -inf: max |x|, min |x|
//! logsumexp = m + ln(sum exp(x - m)),  m = max x
//! var       = (sum d^2 - (sum d)^2 / n) / max(0, n - correction),  d = x - mean;  std = sqrt(var)
//! ```
//!
//! f16, bf16 and f32 accumulate in f32, f64 in f64, integers and bool in wrapping i64, or in 32 bits where the device
//! has no more. Sums are taken in short runs that are added pairwise, so rounding errors grow with the logarithm of the
//! length. The variance is two-pass, and its second term takes out the rounding of the mean (Chan, Golub and LeVeque,
//! "Algorithms for computing the sample variance", 1983, eq. 1.7), so it holds where the mean is large. Max and min give
//! NaN where there is one; argmax and argmin give the first place of what max and min give, so NaN counts as the
//! extreme, as in PyTorch.

use bytemuck::{Pod, Zeroable};

use crate::dims::Dims;
use crate::{Buffer, DType, Device, Kernel, Launch, Result, cpu};

/// What to reduce to.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum ReduceOp {
    /// The sum; 0 of nothing. Integers and bool give [`Device::sum_dtype`].
    Sum,
    /// The sum over the count; NaN of nothing. Floats only.
    Mean,
    /// The product; 1 of nothing. Integers and bool give [`Device::sum_dtype`].
    Prod,
    /// The greatest, or NaN where there is one.
    Max,
    /// The least, or NaN where there is one.
    Min,
    /// Whether one is not 0, as bool; false of nothing.
    Any,
    /// Whether none is 0, as bool; true of nothing.
    All,
    /// The first place of the greatest along the reduced dims taken as one, as [`Device::index_dtype`].
    ArgMax,
    /// The first place of the least.
    ArgMin,
    /// The norm of order `p`; 0 of nothing. Floats only.
    Norm {
        /// The order: any number, infinities too.
        p: f64,
    },
    /// The logarithm of the sum of exponentials; minus infinity of nothing. Floats only.
    LogSumExp,
    /// The variance; NaN of nothing. Floats only.
    Var {
        /// What is taken from the count: 1 for an unbiased estimate.
        correction: f64,
    },
    /// The square root of the variance.
    Std {
        /// As for the variance.
        correction: f64,
    },
}

/// Sizes of the kept and the reduced dims of an input and its strides along them, both in any order of memory.
/// The order of kept dims is that of the output, the order of reduced dims the one in which argmax counts.
#[derive(Clone, Copy, Debug)]
pub struct ReduceDims<'a> {
    /// Sizes of the dims that stay.
    pub kept_shape: &'a [usize],
    /// Strides along them, in elements.
    pub kept_strides: &'a [isize],
    /// Sizes of the dims that go.
    pub reduced_shape: &'a [usize],
    /// Strides along them, in elements.
    pub reduced_strides: &'a [isize],
}

/// Parameters of every reduction.
#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
pub struct ReduceParams {
    /// How many outputs there are.
    pub rows: u64,
    /// How many elements go into each.
    pub cols: u64,
    /// The dims of the output, in its order.
    pub kept: Dims,
    /// The dims that are reduced.
    pub reduced: Dims,
    /// The order of a norm or the correction of a variance; 0 else.
    pub argument: f64,
}

/// Sums.
pub static REDUCE_SUM: Kernel = Kernel {
    name: "reduce",
    entry: "reduce_sum",
    cpu: cpu::reduce::sum,
    #[cfg(feature = "cuda")]
    cuda: crate::cuda::reduce::sum,
    #[cfg(feature = "wgpu")]
    wgpu: crate::wgpu::reduce::sum,
};
/// Means.
pub static REDUCE_MEAN: Kernel = Kernel {
    name: "reduce",
    entry: "reduce_mean",
    cpu: cpu::reduce::mean,
    #[cfg(feature = "cuda")]
    cuda: crate::cuda::reduce::mean,
    #[cfg(feature = "wgpu")]
    wgpu: crate::wgpu::reduce::mean,
};
/// Products.
pub static REDUCE_PROD: Kernel = Kernel {
    name: "reduce",
    entry: "reduce_prod",
    cpu: cpu::reduce::prod,
    #[cfg(feature = "cuda")]
    cuda: crate::cuda::reduce::prod,
    #[cfg(feature = "wgpu")]
    wgpu: crate::wgpu::reduce::prod,
};
/// Maxima.
pub static REDUCE_MAX: Kernel = Kernel {
    name: "reduce",
    entry: "reduce_max",
    cpu: cpu::reduce::max,
    #[cfg(feature = "cuda")]
    cuda: crate::cuda::reduce::max,
    #[cfg(feature = "wgpu")]
    wgpu: crate::wgpu::reduce::max,
};
/// Minima.
pub static REDUCE_MIN: Kernel = Kernel {
    name: "reduce",
    entry: "reduce_min",
    cpu: cpu::reduce::min,
    #[cfg(feature = "cuda")]
    cuda: crate::cuda::reduce::min,
    #[cfg(feature = "wgpu")]
    wgpu: crate::wgpu::reduce::min,
};
/// Whether any is true.
pub static REDUCE_ANY: Kernel = Kernel {
    name: "reduce",
    entry: "reduce_any",
    cpu: cpu::reduce::any,
    #[cfg(feature = "cuda")]
    cuda: crate::cuda::reduce::any,
    #[cfg(feature = "wgpu")]
    wgpu: crate::wgpu::reduce::any,
};
/// Whether all are true.
pub static REDUCE_ALL: Kernel = Kernel {
    name: "reduce",
    entry: "reduce_all",
    cpu: cpu::reduce::all,
    #[cfg(feature = "cuda")]
    cuda: crate::cuda::reduce::all,
    #[cfg(feature = "wgpu")]
    wgpu: crate::wgpu::reduce::all,
};
/// Places of maxima.
pub static REDUCE_ARGMAX: Kernel = Kernel {
    name: "reduce",
    entry: "reduce_argmax",
    cpu: cpu::reduce::argmax,
    #[cfg(feature = "cuda")]
    cuda: crate::cuda::reduce::argmax,
    #[cfg(feature = "wgpu")]
    wgpu: crate::wgpu::reduce::argmax,
};
/// Places of minima.
pub static REDUCE_ARGMIN: Kernel = Kernel {
    name: "reduce",
    entry: "reduce_argmin",
    cpu: cpu::reduce::argmin,
    #[cfg(feature = "cuda")]
    cuda: crate::cuda::reduce::argmin,
    #[cfg(feature = "wgpu")]
    wgpu: crate::wgpu::reduce::argmin,
};
/// Norms.
pub static REDUCE_NORM: Kernel = Kernel {
    name: "reduce",
    entry: "reduce_norm",
    cpu: cpu::reduce::norm,
    #[cfg(feature = "cuda")]
    cuda: crate::cuda::reduce::norm,
    #[cfg(feature = "wgpu")]
    wgpu: crate::wgpu::reduce::norm,
};
/// Logarithms of sums of exponentials.
pub static REDUCE_LOGSUMEXP: Kernel = Kernel {
    name: "reduce",
    entry: "reduce_logsumexp",
    cpu: cpu::reduce::logsumexp,
    #[cfg(feature = "cuda")]
    cuda: crate::cuda::reduce::logsumexp,
    #[cfg(feature = "wgpu")]
    wgpu: crate::wgpu::reduce::logsumexp,
};
/// Variances.
pub static REDUCE_VAR: Kernel = Kernel {
    name: "reduce",
    entry: "reduce_var",
    cpu: cpu::reduce::var,
    #[cfg(feature = "cuda")]
    cuda: crate::cuda::reduce::var,
    #[cfg(feature = "wgpu")]
    wgpu: crate::wgpu::reduce::var,
};
/// Standard deviations.
pub static REDUCE_STD: Kernel = Kernel {
    name: "reduce",
    entry: "reduce_std",
    cpu: cpu::reduce::std,
    #[cfg(feature = "cuda")]
    cuda: crate::cuda::reduce::std,
    #[cfg(feature = "wgpu")]
    wgpu: crate::wgpu::reduce::std,
};

impl ReduceOp {
    /// The kernel and its argument.
    fn kernel(self) -> (&'static Kernel, f64) {
        match self {
            ReduceOp::Sum => (&REDUCE_SUM, 0.0),
            ReduceOp::Mean => (&REDUCE_MEAN, 0.0),
            ReduceOp::Prod => (&REDUCE_PROD, 0.0),
            ReduceOp::Max => (&REDUCE_MAX, 0.0),
            ReduceOp::Min => (&REDUCE_MIN, 0.0),
            ReduceOp::Any => (&REDUCE_ANY, 0.0),
            ReduceOp::All => (&REDUCE_ALL, 0.0),
            ReduceOp::ArgMax => (&REDUCE_ARGMAX, 0.0),
            ReduceOp::ArgMin => (&REDUCE_ARGMIN, 0.0),
            ReduceOp::Norm { p } => (&REDUCE_NORM, p),
            ReduceOp::LogSumExp => (&REDUCE_LOGSUMEXP, 0.0),
            ReduceOp::Var { correction } => (&REDUCE_VAR, correction),
            ReduceOp::Std { correction } => (&REDUCE_STD, correction),
        }
    }

    /// The dtype of the output for inputs of `dtype` on `device`.
    pub fn output_dtype(self, dtype: DType, device: &Device) -> DType {
        match self {
            ReduceOp::Sum | ReduceOp::Prod if !dtype.is_float() => device.sum_dtype(dtype),
            ReduceOp::Any | ReduceOp::All => DType::Bool,
            ReduceOp::ArgMax | ReduceOp::ArgMin => device.index_dtype(),
            _ => dtype,
        }
    }
}

/// Reduces `x`, whose first element is at its offset, into the contiguous `y`, whose dtype is
/// [`ReduceOp::output_dtype`] and whose length is the product of the kept sizes.
///
/// # Errors
/// A dtype that the op does not take, or more dims than [`crate::dims::MAX_RANK`] that do not merge. The extremes of nothing are for
/// the caller to refuse.
#[track_caller]
pub fn reduce(op: ReduceOp, x: (&Buffer, usize), dims: ReduceDims<'_>, y: &mut Buffer) -> Result<()> {
    debug_assert_eq!(y.dtype(), op.output_dtype(x.0.dtype(), &y.device()));
    let (kernel, argument) = op.kernel();
    let kept = Dims::new(dims.kept_shape, dims.kept_strides)?;
    let reduced = Dims::new(dims.reduced_shape, dims.reduced_strides)?;
    let params = ReduceParams { rows: kept.len() as u64, cols: reduced.len() as u64, kept, reduced, argument };
    let grid = [kept.len(), 1, 1];
    Launch::new(kernel, x.0.dtype()).input(x.0, x.1).output(y).params(&params).grid(grid).run()
}

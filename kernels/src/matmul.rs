//! Batched matrix products.
//!
//! `C[.., m, n] = alpha * sum over k of A[.., m, k] * B[.., k, n] + beta * C[.., m, n] + bias[n]`, and of that, if the
//! [`Epilogue`] says so, the GELU or the sum with a residual, before it is stored.
//!
//! A `[batch.., M, K]` and B `[batch.., K, N]` are read through any strides, so a transposed, sliced or broadcast
//! operand needs no copy; C `[batch.., M, N]` is row-major. f16, bf16 and f32 accumulate in f32 and round once at the
//! store, f64 in f64, integers in wrapping 64-bit arithmetic. The GELU is that of the rounded value, so that its bits are
//! those of a product and a GELU one after the other.

use bytemuck::{Pod, Zeroable};

use crate::cpu::matmul::MATMUL_FORWARD;
use crate::elementwise::{BinaryOp, UnaryOp};
use crate::{Buffer, Error, Launch, Result};

/// How many batch dims the kernel takes after those that can be merged are merged.
pub const MAX_BATCH_DIMS: usize = 6;

/// The two forms of the Gaussian error linear unit.
///
/// Source: Hendrycks and Gimpel, "Gaussian Error Linear Units" (2016), section 2; `torch.nn.functional.gelu`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Gelu {
    /// `x / 2 (1 + erf(x / sqrt 2))`
    #[default]
    Exact,
    /// `x / 2 (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3)))`, as GPT-2 has it.
    Tanh,
}

impl Gelu {
    /// The op of this form by itself.
    pub fn op(self) -> UnaryOp {
        match self {
            Gelu::Exact => UnaryOp::Gelu,
            Gelu::Tanh => UnaryOp::GeluTanh,
        }
    }

    /// The op that gives its gradient from its operand and the gradient that arrives.
    pub fn backward_op(self) -> BinaryOp {
        match self {
            Gelu::Exact => BinaryOp::GeluBackward,
            Gelu::Tanh => BinaryOp::GeluTanhBackward,
        }
    }
}

/// How precisely f32 is multiplied. Products of other dtypes know only one precision.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Precision {
    /// In f32.
    #[default]
    Full,
    /// Where tensor cores take it, with operands rounded to tf32: 8 bits of exponent and 10 behind the point, a relative
    /// error of at most 2^-11 each. Sums stay f32. It is a permission: where there are no such cores (the host, GPUs before
    /// 8.0), for few rows or columns, and for rows that are not aligned to 16 bytes, the product is in f32.
    Tf32,
}

/// What sums go through before they are stored. Buffers come with the element at which they start.
#[derive(Default)]
pub struct Epilogue<'a> {
    /// Added to every row, `[N]`.
    pub bias: Option<(&'a Buffer, usize)>,
    /// What follows.
    pub then: Then<'a>,
}

/// What an [`Epilogue`] does last.
#[derive(Default)]
pub enum Then<'a> {
    /// The value is stored.
    #[default]
    Store,
    /// Its GELU is stored: floats only.
    Gelu {
        /// Which.
        form: Gelu,
        /// Where the value itself goes, laid out as C, if the backward pass is to have it.
        pre: Option<&'a mut Buffer>,
    },
    /// Its sum with an element of a residual, laid out as C, is stored.
    Add {
        /// The residual.
        residual: (&'a Buffer, usize),
    },
}

/// The sizes and strides (in elements) of a product. Unused batch dims have size 1.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Debug, Pod, Zeroable)]
pub struct MatmulParams {
    /// Rows of A and C.
    pub m: u64,
    /// Columns of B and C.
    pub n: u64,
    /// Columns of A and rows of B.
    pub k: u64,
    /// 1 where a bias is added to every row of C, else 0.
    pub has_bias: u64,
    /// What follows: one of the constants below.
    pub then: u64,
    /// 1 where f32 may be multiplied as [`Precision::Tf32`], else 0.
    pub allows_tf32: u64,
    /// The sizes of the batch dims, outermost first.
    pub batch_sizes: [u64; MAX_BATCH_DIMS],
    /// What one step along a batch dim means in A; 0 where A is broadcast.
    pub a_batch_strides: [i64; MAX_BATCH_DIMS],
    /// As `a_batch_strides`, in B.
    pub b_batch_strides: [i64; MAX_BATCH_DIMS],
    /// The strides of A along m and k.
    pub a_strides: [i64; 2],
    /// The strides of B along k and n.
    pub b_strides: [i64; 2],
    /// The stride of the bias along n.
    pub bias_stride: i64,
    /// Scales the product.
    pub alpha: f64,
    /// Scales what C held before; with 0 it is not read.
    pub beta: f64,
}

impl MatmulParams {
    /// Sums are stored.
    pub const STORE: u64 = 0;
    /// Their GELU in the exact form is.
    pub const GELU: u64 = 1;
    /// Their GELU in the tanh form is.
    pub const GELU_TANH: u64 = 2;
    /// Their sum with a residual is.
    pub const ADD: u64 = 3;

    /// One product of row-major matrices.
    pub fn new(m: usize, n: usize, k: usize) -> Self {
        MatmulParams {
            m: m as u64,
            n: n as u64,
            k: k as u64,
            has_bias: 0,
            then: MatmulParams::STORE,
            allows_tf32: 0,
            batch_sizes: [1; MAX_BATCH_DIMS],
            a_batch_strides: [0; MAX_BATCH_DIMS],
            b_batch_strides: [0; MAX_BATCH_DIMS],
            a_strides: [k as i64, 1],
            b_strides: [n as i64, 1],
            bias_stride: 1,
            alpha: 1.0,
            beta: 0.0,
        }
    }

    /// The same product with f32 multiplied in this precision.
    pub fn with_precision(self, precision: Precision) -> Self {
        MatmulParams { allows_tf32: (precision == Precision::Tf32).into(), ..self }
    }

    /// The activation that follows, if one does.
    pub(crate) fn activation(&self) -> Option<UnaryOp> {
        match self.then {
            MatmulParams::GELU => Some(Gelu::Exact.op()),
            MatmulParams::GELU_TANH => Some(Gelu::Tanh.op()),
            _ => None,
        }
    }

    /// Which input of the launch the residual is, if there is one: the last.
    pub(crate) fn residual_input(&self) -> Option<usize> {
        (self.then == MatmulParams::ADD).then_some(2 + self.has_bias as usize)
    }

    /// Sets the batch dims from `(size, stride in A, stride in B)`, outermost first, merging dims that both operands
    /// step through alike. Gives `None` where more than [`MAX_BATCH_DIMS`] remain.
    pub fn with_batch(mut self, dims: &[(usize, i64, i64)]) -> Option<Self> {
        let mut merged: Vec<(usize, i64, i64)> = Vec::new();
        for &(size, a, b) in dims.iter().filter(|dim| dim.0 != 1) {
            match merged.last_mut() {
                Some(last) if last.1 == a * size as i64 && last.2 == b * size as i64 => *last = (last.0 * size, a, b),
                _ => merged.push((size, a, b)),
            }
        }
        // Rows that share one B are rows of one taller A: one large product is faster than many small ones.
        if let &[.., (size, a, 0)] = &merged[..]
            && (self.m == 1 || a == self.a_strides[0] * self.m as i64)
        {
            self.a_strides[0] = if self.m == 1 { a } else { self.a_strides[0] };
            self.m *= size as u64;
            merged.pop();
        }
        if merged.len() > MAX_BATCH_DIMS {
            return None;
        }
        let unused = MAX_BATCH_DIMS - merged.len();
        for (dim, (size, a, b)) in merged.into_iter().enumerate() {
            self.batch_sizes[unused + dim] = size as u64;
            self.a_batch_strides[unused + dim] = a;
            self.b_batch_strides[unused + dim] = b;
        }
        Some(self)
    }

    /// How many products there are.
    pub fn batch(&self) -> usize {
        self.batch_sizes.iter().product::<u64>() as usize
    }

    /// Where product `index` starts in A and B, relative to the first.
    pub fn batch_offsets(&self, index: usize) -> [i64; 2] {
        let mut rest = index as u64;
        let mut offsets = [0; 2];
        for dim in (0..MAX_BATCH_DIMS).rev() {
            let at = (rest % self.batch_sizes[dim]) as i64;
            rest /= self.batch_sizes[dim];
            offsets[0] += at * self.a_batch_strides[dim];
            offsets[1] += at * self.b_batch_strides[dim];
        }
        offsets
    }
}

/// Writes C, given buffers with the elements at which A and B start. What the epilogue names is set in `params` here.
///
/// # Errors
/// A dtype that has no product (bool) or no GELU (integers), a residual or a buffer for the value before the GELU that is
/// not as long as C, or no room for working memory.
#[track_caller]
pub fn matmul(
    a: (&Buffer, usize),
    b: (&Buffer, usize),
    epilogue: Epilogue<'_>,
    c: &mut Buffer,
    params: &MatmulParams,
) -> Result<()> {
    let (elem, len) = (c.dtype(), c.len());
    let mut params = MatmulParams { has_bias: epilogue.bias.is_some().into(), then: MatmulParams::STORE, ..*params };
    let grid = [params.n as usize, params.m as usize, params.batch()];
    let mut launch = Launch::new(&MATMUL_FORWARD, elem).input(a.0, a.1).input(b.0, b.1);
    if let Some((bias, offset)) = epilogue.bias {
        launch = launch.input(bias, offset);
    }
    launch = launch.output(c);
    match epilogue.then {
        Then::Store => {}
        Then::Gelu { form, pre } => {
            params.then = if form == Gelu::Exact { MatmulParams::GELU } else { MatmulParams::GELU_TANH };
            if !elem.is_float() {
                return Err(Error::dtype(
                    "matmul",
                    format!("the GELU of {elem} is not defined: cast to a float first"),
                ));
            }
            if let Some(pre) = pre {
                check_len("the value before the GELU", pre.len(), len)?;
                launch = launch.output(pre);
            }
        }
        Then::Add { residual: (residual, offset) } => {
            params.then = MatmulParams::ADD;
            check_len("the residual", residual.len().saturating_sub(offset).min(len), len)?;
            launch = launch.input(residual, offset);
        }
    }
    launch.params(&params).grid(grid).run()
}

/// Refuses a buffer that is not as long as C, whose layout it shares.
#[track_caller]
fn check_len(name: &str, got: usize, len: usize) -> Result<()> {
    if got == len {
        return Ok(());
    }
    Err(Error::shape("matmul", format!("{name} has {got} elements, expected {len}, as C")))
}

//! `C = alpha * A @ B + beta * C + bias`, and what follows by its epilogue: the host's body of the batched matrix product.
//!
//! f32 and f64 run on the packed, register-blocked kernels of the `gemm` crates (Goto and van de Geijn, "Anatomy of
//! High-Performance Matrix Multiplication", 2008). f16 and bf16 are widened in panels and rounded once. Many products
//! run in parallel with one thread each; one large product is itself split. Neither changes a bit of the result.
//!
//! Differs from CUDA: bias and residual are what the product is added to, so they come before it in the sum; an activation
//! takes a pass of its own, because a product in parts that stay in a cache would pack B once for each part; and f32 is
//! always multiplied in f32.

use gemm_common::Parallelism;

use crate::cpu::matmul_activation::activate;
use crate::cpu::matmul_integer::integer;
use crate::cpu::matrix_view::MatrixView;
use crate::cpu::parallel::{for_each_part, try_for_each_part};
use crate::cpu::real::Real;
use crate::cpu::scratch::Scratch;
use crate::cpu::simd::vectorized;
use crate::matmul::MatmulParams;
use crate::{Compute, CpuArgs, DType, Error, ErrorKind, Kernel, Result, Stored, bf16, f16, with_dtype};

/// The batched matrix product.
pub static MATMUL_FORWARD: Kernel = Kernel {
    name: "matmul",
    entry: "matmul_forward",
    cpu: forward,
    #[cfg(feature = "cuda")]
    cuda: crate::cuda::matmul::matmul_forward,
    #[cfg(feature = "wgpu")]
    wgpu: crate::wgpu::matmul::matmul_forward,
};

/// Multiplications that one task of a batch takes at least.
const TASK_WORK: usize = 1 << 17;

/// Multiplications from which one product is worth several threads by itself.
const PRODUCT_WORK: usize = 1 << 22;

/// Elements of a matrix from which its product with a vector is worth several threads.
const VECTOR_WORK: usize = 1 << 18;

/// Rows that are widened at a time.
const PANEL_ROWS: usize = 256;

/// Elements of B that are widened at a time.
const PANEL_ELEMENTS: usize = 1 << 22;

fn forward(args: &mut CpuArgs<'_>) -> Result<()> {
    match args.elem {
        DType::F32 => floats::<f32>(args, product),
        DType::F64 => floats::<f64>(args, product),
        DType::F16 => floats::<f16>(args, widened_product),
        DType::BF16 => floats::<bf16>(args, widened_product),
        dtype => with_dtype!(dtype, index E => { let c = args.output(0); batched::<E>(args, c, integer) },
            else Err(Error::new(ErrorKind::Unsupported { dtype, device: "cpu".into() }))),
    }
}

/// One product of a batch, and how it is to be stored.
#[derive(Clone, Copy)]
pub(crate) struct Product<'a, S> {
    pub(crate) a: MatrixView<'a, S>,
    pub(crate) b: MatrixView<'a, S>,
    pub(crate) bias: Option<MatrixView<'a, S>>,
    /// As C, row-major.
    pub(crate) residual: Option<&'a [S]>,
    pub(crate) alpha: f64,
    pub(crate) beta: f64,
    /// True where the product may use several threads.
    pub(crate) parallel: bool,
}

/// Products of floats, and the activation of all of them.
fn floats<S: Stored>(
    args: &mut CpuArgs<'_>,
    one: impl Fn(Product<'_, S>, &mut [S]) -> Result<()> + Send + Sync,
) -> Result<()>
where
    S::Compute: Real,
{
    let params: MatmulParams = args.params();
    let c = args.output::<S>(0);
    let Some(activation) = params.activation() else { return batched(args, c, one) };
    if args.n_outputs() == 1 {
        batched(args, c, one)?;
        activate(activation, None, c);
        return Ok(());
    }
    let pre = args.output::<S>(1);
    if params.beta != 0.0 {
        pre.copy_from_slice(c);
    }
    batched(args, pre, one)?;
    activate(activation, Some(pre), c);
    Ok(())
}

/// Runs `one` for every product of the batch.
fn batched<S: Stored>(
    args: &CpuArgs<'_>,
    c: &mut [S],
    one: impl Fn(Product<'_, S>, &mut [S]) -> Result<()> + Send + Sync,
) -> Result<()> {
    let params: MatmulParams = args.params();
    let [m, n, k] = [params.m, params.n, params.k].map(|size| size as usize);
    let view = |input: usize, sizes: [usize; 2], strides: [i64; 2], batch_offset: i64| {
        MatrixView::new(args.whole_input::<S>(input), args.offset(input) as i64 + batch_offset, sizes, strides)
    };
    let bias = (params.has_bias == 1).then(|| view(2, [1, n], [0, params.bias_stride], 0)).transpose()?;
    let residual = params.residual_input().map(|input| args.input::<S>(input));
    let item = |index: usize, parallel: bool, c: &mut [S]| {
        let residual = residual.map(|residual| &residual[index * m * n..][..m * n]);
        let [a_offset, b_offset] = params.batch_offsets(index);
        let a = view(0, [m, k], params.a_strides, a_offset)?;
        let b = view(1, [k, n], params.b_strides, b_offset)?;
        one(Product { a, b, bias, residual, alpha: params.alpha, beta: params.beta, parallel }, c)
    };
    let c = &mut c[..params.batch() * m * n];
    if c.is_empty() {
        return Ok(());
    }
    let work = m.saturating_mul(n).saturating_mul(k).max(1);
    let per_task = TASK_WORK.div_ceil(work);
    if params.batch() == 1 || work >= PRODUCT_WORK {
        return c.chunks_exact_mut(m * n).enumerate().try_for_each(|(index, c)| item(index, true, c));
    }
    try_for_each_part(c, per_task.min(params.batch()) * m * n, |task, c| {
        c.chunks_exact_mut(m * n).enumerate().try_for_each(|(index, c)| item(task * per_task + index, false, c))
    })
}

/// One product in f32 or f64.
fn product<T: Gemm>(product: Product<'_, T>, c: &mut [T]) -> Result<()> {
    let Product { a, b, bias, residual, alpha, beta, parallel } = product;
    let ([m, k], [_, n]) = (a.sizes(), b.sizes());
    let beta = if bias.is_some() || residual.is_some() {
        // Bias and residual are what the product is added to, so that they cost no further pass.
        for (row, c) in c.chunks_exact_mut(n).enumerate() {
            fill(beta, bias, residual.map(|residual| &residual[row * n..][..n]), c);
        }
        1.0
    } else {
        beta
    };
    if k == 0 || alpha == 0.0 {
        c.iter_mut().for_each(|value| *value = if beta == 0.0 { T::default() } else { value.scale(beta) });
        return Ok(());
    }
    if parallel && m.min(n) == 1 && k.saturating_mul(m.max(n)) >= VECTOR_WORK {
        return matrix_vector(a, b, alpha, beta, c);
    }
    multiply(a, b, alpha, beta, c, if parallel { Parallelism::Rayon(0) } else { Parallelism::None });
    Ok(())
}

/// `c = beta * c + bias + residual` of one row.
fn fill<T: Gemm>(beta: f64, bias: Option<MatrixView<'_, T>>, residual: Option<&[T]>, c: &mut [T]) {
    if beta == 0.0 {
        c.fill(T::default());
    } else {
        c.iter_mut().for_each(|value| *value = value.scale(beta));
    }
    if let Some(bias) = bias {
        c.iter_mut().enumerate().for_each(|(col, value)| *value = value.plus(bias.get(0, col)));
    }
    if let Some(residual) = residual {
        c.iter_mut().zip(residual).for_each(|(value, residual)| *value = value.plus(*residual));
    }
}

/// A product with one row or one column is bound by reading the matrix, which several threads do faster. The vector is
/// made dense, and each task computes some of the results.
fn matrix_vector<T: Gemm>(
    a: MatrixView<'_, T>,
    b: MatrixView<'_, T>,
    alpha: f64,
    beta: f64,
    c: &mut [T],
) -> Result<()> {
    let is_row = a.sizes()[0] == 1;
    let (vector, k) = if is_row { (a, a.sizes()[1]) } else { (b, b.sizes()[0]) };
    let mut dense = Scratch::<T>::new(k)?;
    let strides = vector.widen(&mut dense);
    let vector = MatrixView::dense(&dense, vector.sizes(), strides)?;
    let per_task = (VECTOR_WORK / 4).div_ceil(k).next_multiple_of(16);
    for_each_part(c, per_task, |task, c| {
        let first = task * per_task;
        match is_row {
            true => multiply(vector, b.cols(first, c.len()), alpha, beta, c, Parallelism::None),
            false => multiply(a.rows(first, c.len()), vector, alpha, beta, c, Parallelism::None),
        }
    });
    Ok(())
}

/// A product of f16 or bf16: operands are widened in panels, products summed in f32, results rounded once.
fn widened_product<S: Stored<Compute = f32>>(product: Product<'_, S>, c: &mut [S]) -> Result<()> {
    let Product { a, b, bias, residual, alpha, beta, parallel } = product;
    let ([m, k], [_, n]) = (a.sizes(), b.sizes());
    let panel_rows = m.min(PANEL_ROWS);
    let panel_cols = n.min((PANEL_ELEMENTS / k.max(1)).max(64));
    let mut a_panel = Scratch::<f32>::new(panel_rows * k)?;
    let mut b_panel = Scratch::<f32>::new(k * panel_cols)?;
    let mut c_panel = Scratch::<f32>::new(panel_rows * panel_cols)?;
    for col in (0..n).step_by(panel_cols) {
        let cols = panel_cols.min(n - col);
        let b_strides = b.cols(col, cols).widen(&mut b_panel[..k * cols]);
        let b = MatrixView::dense(&b_panel, [k, cols], b_strides)?;
        for row in (0..m).step_by(panel_rows) {
            let rows = panel_rows.min(m - row);
            let a_strides = a.rows(row, rows).widen(&mut a_panel[..rows * k]);
            let a = MatrixView::dense(&a_panel, [rows, k], a_strides)?;
            let sums = &mut c_panel[..rows * cols];
            self::product(Product { a, b, bias: None, residual: None, alpha, beta: 0.0, parallel }, sums)?;
            for (at, sums) in sums.chunks_exact_mut(cols).enumerate() {
                let start = (row + at) * n + col;
                let residual = residual.map(|residual| &residual[start..][..cols]);
                round_row(sums, beta, bias.map(|bias| bias.cols(col, cols)), residual, &mut c[start..][..cols]);
            }
        }
    }
    Ok(())
}

/// `c = sums + beta * c + bias + residual`, rounded once.
fn round_row<S: Stored<Compute = f32>>(
    sums: &mut [f32],
    beta: f64,
    bias: Option<MatrixView<'_, S>>,
    residual: Option<&[S]>,
    c: &mut [S],
) {
    vectorized(
        #[inline(always)]
        || {
            if beta != 0.0 {
                sums.iter_mut().zip(&*c).for_each(|(sum, c)| *sum += c.to_f32() * beta as f32);
            }
            if let Some(bias) = bias {
                sums.iter_mut().enumerate().for_each(|(col, sum)| *sum += bias.get(0, col).to_f32());
            }
            if let Some(residual) = residual {
                sums.iter_mut().zip(residual).for_each(|(sum, residual)| *sum += residual.to_f32());
            }
            c.iter_mut().zip(sums).for_each(|(c, sum)| *c = S::from_f32(*sum));
        },
    );
}

/// `c = alpha * a @ b + beta * c`, with c row-major. The gemm crates prefer a column-major result, so this is their
/// `c^T = b^T @ a^T`.
fn multiply<T: Gemm>(
    a: MatrixView<'_, T>,
    b: MatrixView<'_, T>,
    alpha: f64,
    beta: f64,
    c: &mut [T],
    parallelism: Parallelism,
) {
    let ([m, k], [b_rows, n]) = (a.sizes(), b.sizes());
    assert!(b_rows == k && c.len() == m * n);
    let ([a_row, a_col], [b_row, b_col]) = (a.strides(), b.strides());
    // SAFETY: a view keeps all its elements inside its slice, `c` has m * n elements and is borrowed mutably, and the
    // sizes agree, as just checked.
    unsafe {
        T::gemm()(
            n,
            m,
            k,
            c.as_mut_ptr(),
            n as isize,
            1,
            beta != 0.0,
            b.as_ptr(),
            b_row,
            b_col,
            a.as_ptr(),
            a_row,
            a_col,
            T::from_f64(beta),
            T::from_f64(alpha),
            false,
            false,
            false,
            parallelism,
        );
    }
}

/// The signature of the gemm crates: sizes; the result with its column and row strides and whether it is read; both
/// operands likewise; factors of the old result and of the product; conjugations; threads.
type GemmFn<T> = unsafe fn(
    usize,
    usize,
    usize,
    *mut T,
    isize,
    isize,
    bool,
    *const T,
    isize,
    isize,
    *const T,
    isize,
    isize,
    T,
    T,
    bool,
    bool,
    bool,
    Parallelism,
);

/// The types that the gemm crates multiply.
trait Gemm: Compute {
    fn gemm() -> GemmFn<Self>;
    fn scale(self, factor: f64) -> Self;
    fn plus(self, other: Self) -> Self;
}

impl Gemm for f32 {
    fn gemm() -> GemmFn<f32> {
        gemm_f32::gemm::f32::get_gemm_fn()
    }
    fn scale(self, factor: f64) -> f32 {
        self * factor as f32
    }
    fn plus(self, other: f32) -> f32 {
        self + other
    }
}

impl Gemm for f64 {
    fn gemm() -> GemmFn<f64> {
        gemm_f64::gemm::f64::get_gemm_fn()
    }
    fn scale(self, factor: f64) -> f64 {
        self * factor
    }
    fn plus(self, other: f64) -> f64 {
        self + other
    }
}

#[cfg(test)]
mod tests;

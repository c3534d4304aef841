//! Scaled dot-product attention: shape checks and allocations of the fused kernels.

use chainrule_kernels::Stream;
use chainrule_kernels::attention::{self, AttentionInputs, AttentionParams, AttentionSaved};

use crate::{Buffer, DType, Error, Layout, Result, Shape, Tensor};

/// What [`Tensor::attention`] does beside the two products. The default hides no key.
#[derive(Clone, Debug, Default)]
pub struct AttentionOptions {
    /// Query i sees key j only if `j <= i + offset`: 0 aligns the first query with the first key, `Tk - Tq` the last
    /// with the last. `None` hides nothing.
    pub causal_offset: Option<isize>,
    /// Bool, true where query i sees key j; broadcasts to `[B, H, Tq, Tk]`.
    pub mask: Option<Tensor>,
    /// Integers `[B]`: of batch b only the first `key_lengths[b]` keys are seen. Numbers outside `0..=Tk` are clamped.
    pub key_lengths: Option<Tensor>,
    /// The factor of `q k^T`; `1 / sqrt(D)` where it is `None`.
    pub scale: Option<f64>,
    /// The probability that a weight is dropped, and where the random numbers come from.
    pub dropout: Option<(f64, Stream)>,
}

/// The gradients that [`Tensor::attention_backward`] gives.
#[derive(Clone, Debug)]
pub struct AttentionGradients {
    /// `[B, H, Tq, D]`.
    pub dq: Tensor,
    /// `[B, Hkv, Tk, D]`.
    pub dk: Tensor,
    /// `[B, Hkv, Tk, Dv]`.
    pub dv: Tensor,
    /// Of the bias, in its shape, where it was asked for.
    pub dbias: Option<Tensor>,
}

impl Tensor {
    /// Attention of queries (this) to keys and values, without the matrix of scores in memory; gives `(o, lse)`.
    ///
    /// ```text
    /// s[i, j] = scale q[i] . k[j] + bias[i, j],   -inf where key j is hidden from query i
    /// lse[i]  = log sum over j of exp(s[i, j])
    /// o[i]    = sum over j of dropout(exp(s[i, j] - lse[i])) v[j]
    /// ```
    ///
    /// q `[B, H, Tq, D]`, k `[B, Hkv, Tk, D]`, v `[B, Hkv, Tk, Dv]`, bias broadcast to `[B, H, Tq, Tk]`, o `[B, H, Tq, Dv]`,
    /// lse `[B, H, Tq]`; H is a multiple of Hkv and query head h reads key head `h / (H / Hkv)`. Any strides are read in
    /// place. o lies in memory as `[B, Tq, H, Dv]`, so `o.transpose(1, 2)?.reshape([B, Tq, H * Dv])` copies nothing. A
    /// query that sees no key has o = 0 and lse = -inf, and hidden keys reach no result, whatever they hold. f16, bf16
    /// and f32 accumulate in f32, f64 in f64; lse is f32, of f64 f64.
    ///
    /// # Errors
    /// Shapes that are not these, different dtypes or devices, a mask that is not bool, a dropout outside 0 to 1.
    ///
    /// # Differences
    /// PyTorch gives NaN for a query that sees no key in some of its kernels and zeros in others.
    ///
    /// ```
    /// use chainrule_tensor::{AttentionOptions, Device, Tensor};
    /// let q = Tensor::new([[[[0.0f32], [0.0]]]], &Device::Cpu)?;
    /// let v = Tensor::new([[[[1.0f32], [3.0]]]], &Device::Cpu)?;
    /// // Equal scores: the first query sees one key only, the second both.
    /// let causal = AttentionOptions { causal_offset: Some(0), ..AttentionOptions::default() };
    /// let (o, lse) = q.attention(&q, &v, None, &causal)?;
    /// assert_eq!(o.to_vec::<f32>()?, [1.0, 2.0]);
    /// assert_eq!(lse.to_vec::<f32>()?, [0.0, 2.0f32.ln()]);
    /// # Ok::<(), chainrule_tensor::Error>(())
    /// ```
    ///
    /// Source: Dao, "FlashAttention-2" (2023), algorithm 1; `torch.nn.functional.scaled_dot_product_attention`.
    #[track_caller]
    pub fn attention(
        &self,
        k: &Tensor,
        v: &Tensor,
        bias: Option<&Tensor>,
        options: &AttentionOptions,
    ) -> Result<(Tensor, Tensor)> {
        let call = Call::new(self, k, v, bias, options)?;
        let [batch, heads, q_len, value_dim] = call.o_shape();
        let lse_dtype = if self.dtype() == DType::F64 { DType::F64 } else { DType::F32 };
        let lse_shape = Shape::new(&[batch, heads, q_len])?;
        let (mut o, o_layout) = rows_of_heads(self, [batch, heads, q_len, value_dim])?;
        let mut lse = Buffer::allocate(&self.device(), lse_dtype, lse_shape.elements())?;
        let params = AttentionParams { o_strides: strides(&o_layout), ..call.params };
        attention::attention(call.inputs(), &mut o, &mut lse, &params)?;
        Ok((transposed(o, [batch, heads, q_len, value_dim])?, Tensor::from_buffer(lse, lse_shape)))
    }

    /// The gradients of [`Tensor::attention`] for its queries (this), keys, values and, where `wants_bias`, its bias,
    /// given its results and the gradient `dy` of o. The weights are computed again, block by block; only the gradient
    /// of a bias takes memory of `[B, H, Tq, Tk]`.
    ///
    /// # Errors
    /// As [`Tensor::attention`], and results of another shape.
    ///
    /// Source: Dao, "FlashAttention-2" (2023), algorithm 2.
    #[track_caller]
    #[expect(clippy::too_many_arguments, reason = "the inputs of the forward, its two results and a gradient")]
    pub fn attention_backward(
        &self,
        k: &Tensor,
        v: &Tensor,
        bias: Option<&Tensor>,
        (o, lse): (&Tensor, &Tensor),
        dy: &Tensor,
        wants_bias: bool,
        options: &AttentionOptions,
    ) -> Result<AttentionGradients> {
        let call = Call::new(self, k, v, bias, options)?;
        let (o_shape, lse) = (call.o_shape(), lse.contiguous()?);
        if o.shape()[..] != o_shape || dy.shape()[..] != o_shape || lse.shape()[..] != o_shape[..3] {
            let message = format!("got o {}, lse {} and dy {}", o.shape(), lse.shape(), dy.shape());
            return Err(Error::shape("attention_backward", format!("{message}, expected o and dy {o_shape:?}")));
        }
        self.same_dtype("attention_backward", "dy", dy)?;
        let [batch, heads, q_len, k_len] = call.score_shape();
        let (k_shape, v_shape, q_shape) = (k.dims()?, v.dims()?, self.dims()?);
        let (mut dq, dq_layout) = rows_of_heads(self, q_shape)?;
        let (mut dk, dk_layout) = rows_of_heads(self, k_shape)?;
        let (mut dv, dv_layout) = rows_of_heads(self, v_shape)?;
        let scores = Shape::new(&[batch, heads, q_len, k_len])?;
        let wanted = bias.filter(|_| wants_bias);
        let mut dbias =
            wanted.map(|_| Buffer::allocate(&self.device(), self.dtype(), scores.elements())).transpose()?;
        let params = AttentionParams {
            o_strides: strides(o.layout()),
            do_strides: strides(dy.layout()),
            dq_strides: strides(&dq_layout),
            dk_strides: strides(&dk_layout),
            dv_strides: strides(&dv_layout),
            ..call.params
        };
        let saved = AttentionSaved { o: start(o), lse: start(&lse), d_o: start(dy) };
        let outputs = [&mut dq, &mut dk, &mut dv];
        attention::attention_backward(call.inputs(), saved, outputs, dbias.as_mut(), &params)?;
        let to_bias = |(full, bias): (Buffer, &Tensor)| Tensor::from_buffer(full, scores).sum_to(*bias.shape());
        Ok(AttentionGradients {
            dq: transposed(dq, q_shape)?,
            dk: transposed(dk, k_shape)?,
            dv: transposed(dv, v_shape)?,
            dbias: dbias.zip(wanted).map(to_bias).transpose()?,
        })
    }

    #[track_caller]
    fn same_dtype(&self, op: &'static str, name: &str, other: &Tensor) -> Result<()> {
        self.same_device(op, other)?;
        if other.dtype() == self.dtype() {
            return Ok(());
        }
        Err(Error::dtype(op, format!("{name} is {}, expected {} as q", other.dtype(), self.dtype())))
    }
}

/// The checked inputs of one attention.
struct Call<'a> {
    q: &'a Tensor,
    k: &'a Tensor,
    v: &'a Tensor,
    bias: Option<(&'a Tensor, Layout)>,
    mask: Option<(&'a Tensor, Layout)>,
    key_lengths: Option<Tensor>,
    params: AttentionParams,
}

impl<'a> Call<'a> {
    #[track_caller]
    fn new(
        q: &'a Tensor,
        k: &'a Tensor,
        v: &'a Tensor,
        bias: Option<&'a Tensor>,
        options: &'a AttentionOptions,
    ) -> Result<Call<'a>> {
        let sizes = sizes(q, k, v)?;
        let [batch, heads, _, q_len, k_len, head_dim, _] = sizes;
        let scores = Shape::new(&[batch, heads, q_len, k_len])?;
        let spread = |name: &str, x: &'a Tensor| -> Result<(&'a Tensor, Layout)> {
            let refuse = |_| {
                let message = format!("{name} has shape {}, expected one that broadcasts to {scores}", x.shape());
                Error::shape("attention", message)
            };
            Ok((x, x.layout().expand("attention", scores).map_err(refuse)?))
        };
        if let Some(bias) = bias {
            q.same_dtype("attention", "bias", bias)?;
        }
        if let Some(mask) = &options.mask {
            q.same_device("attention", mask)?;
            mask.must_be_bool("attention")?;
        }
        let bias = bias.map(|bias| spread("bias", bias)).transpose()?;
        let mask = options.mask.as_ref().map(|mask| spread("mask", mask)).transpose()?;
        let key_lengths = options.key_lengths.as_ref().map(|lengths| check_lengths(q, lengths, batch)).transpose()?;
        let mut params = AttentionParams {
            q_strides: strides(q.layout()),
            k_strides: strides(k.layout()),
            v_strides: strides(v.layout()),
            bias_strides: bias.as_ref().map_or([0; 4], |(_, layout)| strides(layout)),
            mask_strides: mask.as_ref().map_or([0; 4], |(_, layout)| strides(layout)),
            scale: options.scale.unwrap_or(1.0 / (head_dim.max(1) as f64).sqrt()),
            ..AttentionParams::new(sizes)
        };
        if let Some(offset) = options.causal_offset {
            params = params.with_causal(offset as i64);
        }
        if let Some((p, stream)) = options.dropout {
            super::dropout::check_probability("attention", p)?;
            params = params.with_dropout(p, stream);
        }
        Ok(Call { q, k, v, bias, mask, key_lengths, params })
    }

    fn o_shape(&self) -> [usize; 4] {
        let p = &self.params;
        [p.batch, p.heads, p.q_len, p.value_dim].map(|size| size as usize)
    }

    fn score_shape(&self) -> [usize; 4] {
        let p = &self.params;
        [p.batch, p.heads, p.q_len, p.k_len].map(|size| size as usize)
    }

    fn inputs(&self) -> AttentionInputs<'_> {
        AttentionInputs {
            bias: self.bias.as_ref().map(|(bias, layout)| (bias.buffer(), layout.offset())),
            mask: self.mask.as_ref().map(|(mask, layout)| (mask.buffer(), layout.offset())),
            key_lengths: self.key_lengths.as_ref().map(start),
            ..AttentionInputs::new(start(self.q), start(self.k), start(self.v))
        }
    }
}

/// `[B, H, Hkv, Tq, Tk, D, Dv]` of operands that fit together.
#[track_caller]
fn sizes(q: &Tensor, k: &Tensor, v: &Tensor) -> Result<[usize; 7]> {
    q.same_dtype("attention", "k", k)?;
    q.same_dtype("attention", "v", v)?;
    if !q.dtype().is_float() {
        return Err(Error::dtype("attention", format!("is not defined for {}", q.dtype())));
    }
    let shapes = || format!("q {}, k {} and v {}", q.shape(), k.shape(), v.shape());
    let refuse = |needed: &str| Err(Error::shape("attention", format!("got {}, expected {needed}", shapes())));
    let (Ok([batch, heads, q_len, head_dim]), Ok(k_dims), Ok(v_dims)) = (q.dims(), k.dims(), v.dims()) else {
        return refuse("[B, H, Tq, D], [B, Hkv, Tk, D] and [B, Hkv, Tk, Dv]");
    };
    let [k_batch, kv_heads, k_len, k_dim] = k_dims;
    let [v_batch, v_heads, v_len, value_dim] = v_dims;
    if [k_batch, v_batch] != [batch; 2] {
        return refuse("equal batches");
    }
    if k_dim != head_dim {
        return refuse("q and k of equal last dims");
    }
    if (v_heads, v_len) != (kv_heads, k_len) {
        return refuse("k and v of equal heads and lengths");
    }
    if !heads.is_multiple_of(kv_heads) {
        return refuse("query heads that are a multiple of the key heads");
    }
    Ok([batch, heads, kv_heads, q_len, k_len, head_dim, value_dim])
}

#[track_caller]
fn check_lengths(q: &Tensor, lengths: &Tensor, batch: usize) -> Result<Tensor> {
    q.same_device("attention", lengths)?;
    if lengths.dtype().is_float() || lengths.dtype() == DType::Bool {
        return Err(Error::dtype("attention", format!("key_lengths are {}, expected integers", lengths.dtype())));
    }
    if lengths.shape()[..] != [batch] {
        let message = format!("key_lengths have shape {}, expected [{batch}]", lengths.shape());
        return Err(Error::shape("attention", message));
    }
    lengths.to_dtype(q.device().sum_dtype(lengths.dtype()))?.contiguous()
}

/// A buffer for `[B, H, T, D]` that lies as `[B, T, H, D]`, and the layout of the former.
#[track_caller]
pub(crate) fn rows_of_heads(like: &Tensor, [batch, heads, len, dim]: [usize; 4]) -> Result<(Buffer, Layout)> {
    let shape = Shape::new(&[batch, len, heads, dim])?;
    let buffer = Buffer::allocate(&like.device(), like.dtype(), shape.elements())?;
    Ok((buffer, Layout::contiguous(shape).permute(&[0, 2, 1, 3])?))
}

/// The buffer of [`rows_of_heads`] as a tensor.
pub(crate) fn transposed(buffer: Buffer, [batch, heads, len, dim]: [usize; 4]) -> Result<Tensor> {
    Tensor::from_buffer(buffer, Shape::new(&[batch, len, heads, dim])?).transpose(1, 2)
}

pub(crate) fn strides(layout: &Layout) -> [i64; 4] {
    std::array::from_fn(|dim| layout.strides()[dim] as i64)
}

pub(crate) fn start(x: &Tensor) -> (&Buffer, usize) {
    (x.buffer(), x.layout().offset())
}

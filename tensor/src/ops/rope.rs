//! Rotary position embedding.

use chainrule_kernels::rope::{self, RopeParams};

use crate::ops::attention::{rows_of_heads, start, strides, transposed};
use crate::{DType, Device, Error, Layout, Result, Shape, Tensor};

/// Which elements [`Tensor::rope`] pairs, and where the sequence is.
#[derive(Clone, Debug, Default)]
pub struct Rope {
    /// Pairs (2 i, 2 i + 1), as the paper and GPT-J; else (i, i + R / 2), as GPT-NeoX and Llama.
    pub interleaved: bool,
    /// The position of the first element of the sequence: how many tokens a cache of keys holds.
    pub first_position: usize,
    /// The position of each element instead: integers `[T]` or `[B, T]`.
    pub positions: Option<Tensor>,
    /// Turns by the negative angle: the inverse, and the gradient.
    pub inverse: bool,
}

impl Tensor {
    /// Pairs of elements turned by an angle that grows with the position.
    ///
    /// ```text
    /// y1 = x1 cos(a) - x2 sin(a),   y2 = x2 cos(a) + x1 sin(a)
    /// ```
    ///
    /// x and y `[B, H, T, D]`, `[B, T, D]` or `[T, D]`, of any strides; tables of cosines and sines `[positions, R / 2]`
    /// with `R <= D`, as [`Tensor::rope_tables`] gives them. Elements from R on stay as they are. Computed in f32, of f64
    /// in f64, and the tables are read in that precision.
    ///
    /// # Errors
    /// Shapes that are not these, a position that the tables do not have, a dtype that is no float.
    ///
    /// ```
    /// use chainrule_tensor::{DType, Device, Rope, Tensor};
    /// let (cos, sin) = Tensor::rope_tables(2, 2, 10000.0, DType::F32, &Device::Cpu)?;
    /// let x = Tensor::new([[1.0f32, 0.0], [1.0, 0.0]], &Device::Cpu)?;
    /// // Position 0 is not turned, position 1 by one radian.
    /// assert_eq!(x.rope(&cos, &sin, &Rope::default())?.to_vec::<f32>()?, [1.0, 0.0, 1f32.cos(), 1f32.sin()]);
    /// # Ok::<(), chainrule_tensor::Error>(())
    /// ```
    ///
    /// Source: Su et al., "RoFormer" (2021), equation 34.
    #[track_caller]
    pub fn rope(&self, cos: &Tensor, sin: &Tensor, options: &Rope) -> Result<Tensor> {
        let x = match self.rank() {
            2 => self.unsqueeze(0)?.unsqueeze(0)?,
            3 => self.unsqueeze(1)?,
            4 => self.clone(),
            _ => return Err(Error::shape("rope", format!("got shape {}, expected [B, H, T, D]", self.shape()))),
        };
        let sizes @ [batch, _, len, dim] = x.dims()?;
        let [rows, pairs] = self.check_tables(cos, sin, dim)?;
        let table_dtype = if self.dtype() == DType::F64 { DType::F64 } else { DType::F32 };
        let [cos, sin] = [cos, sin].map(|table| table.to_dtype(table_dtype).and_then(|table| table.contiguous()));
        let (cos, sin) = (cos?, sin?);
        let positions = options.positions.as_ref().map(|at| self.check_positions(at, batch, len)).transpose()?;
        let (mut y, layout) = rows_of_heads(self, sizes)?;
        let is_dense = x.is_contiguous();
        let layout = if is_dense { Layout::contiguous(*x.shape()) } else { layout };
        let params = RopeParams {
            rotary_dim: 2 * pairs as u64,
            x_strides: strides(x.layout()),
            y_strides: strides(&layout),
            table_stride: pairs as i64,
            first_position: options.first_position as u64,
            position_strides: positions
                .as_ref()
                .map_or([0; 2], |(_, layout)| [layout.strides()[0] as i64, layout.strides()[1] as i64]),
            interleaved: options.interleaved.into(),
            inverse: options.inverse.into(),
            ..RopeParams::new(sizes, rows)
        };
        let at = positions.as_ref().map(|(at, layout)| (at.buffer(), layout.offset()));
        rope::rope(start(&x), [start(&cos), start(&sin)], at, &mut y, &params)?;
        let y = if is_dense { Tensor::from_buffer(y, *x.shape()) } else { transposed(y, sizes)? };
        y.reshape(self.shape())
    }

    /// The cosines and sines of `position * base^(-2 i / rotary_dim)` for [`Tensor::rope`]: two tables
    /// `[positions, rotary_dim / 2]`, computed in f64. The base is commonly 10000.
    ///
    /// # Errors
    /// An odd number of elements.
    ///
    /// ```
    /// use chainrule_tensor::{DType, Device, Tensor};
    /// let (cos, sin) = Tensor::rope_tables(2, 2, 10000.0, DType::F64, &Device::Cpu)?;
    /// assert_eq!((cos.to_vec::<f64>()?, sin.to_vec::<f64>()?), (vec![1.0, 1f64.cos()], vec![0.0, 1f64.sin()]));
    /// # Ok::<(), chainrule_tensor::Error>(())
    /// ```
    ///
    /// Source: Su et al., "RoFormer" (2021), section 3.2.2.
    #[track_caller]
    pub fn rope_tables(
        positions: usize,
        rotary_dim: usize,
        base: f64,
        dtype: DType,
        device: &Device,
    ) -> Result<(Tensor, Tensor)> {
        if !rotary_dim.is_multiple_of(2) {
            return Err(Error::argument("rope_tables", format!("rotary_dim is {rotary_dim}, expected an even number")));
        }
        let pairs = rotary_dim / 2;
        let angle = |at: usize| (at / pairs) as f64 * base.powf(-2.0 * (at % pairs) as f64 / rotary_dim as f64);
        let table = |f: fn(f64) -> f64| {
            let values: Vec<f64> = (0..positions * pairs).map(|at| f(angle(at))).collect();
            Tensor::from_vec(values, [positions, pairs], &Device::Cpu)?.to_dtype(dtype)?.to_device(device)
        };
        Ok((table(f64::cos)?, table(f64::sin)?))
    }

    /// Positions and pairs of two tables that fit.
    #[track_caller]
    fn check_tables(&self, cos: &Tensor, sin: &Tensor, dim: usize) -> Result<[usize; 2]> {
        self.same_device("rope", cos)?;
        self.same_device("rope", sin)?;
        if ![self, cos, sin].iter().all(|x| x.dtype().is_float()) {
            let message = format!("x is {}, the tables {} and {}", self.dtype(), cos.dtype(), sin.dtype());
            return Err(Error::dtype("rope", message + ", expected floats"));
        }
        match cos.dims() {
            Ok([rows, pairs]) if cos.shape() == sin.shape() && 2 * pairs <= dim => Ok([rows, pairs]),
            _ => {
                let message = format!("tables have shapes {} and {}", cos.shape(), sin.shape());
                let needed =
                    format!("expected [positions, R / 2] both with R at most the last dim of x {}", self.shape());
                Err(Error::shape("rope", format!("{message}, {needed}")))
            }
        }
    }

    /// Positions of the device's index dtype, and their layout over `[B, T]`.
    #[track_caller]
    fn check_positions(&self, at: &Tensor, batch: usize, len: usize) -> Result<(Tensor, Layout)> {
        self.same_device("rope", at)?;
        if at.dtype().is_float() || at.dtype() == DType::Bool {
            return Err(Error::dtype("rope", format!("positions are {}, expected integers", at.dtype())));
        }
        let at = at.to_dtype(self.device().index_dtype())?;
        let layout = at.layout().expand("rope", Shape::new(&[batch, len])?)?;
        Ok((at, layout))
    }
}

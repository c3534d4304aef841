//! Rotary position embedding.

use chainrule_tensor::{Result, Rope, Tensor};

use crate::record::record;
use crate::{Pull, Var};

impl Var {
    /// Pairs of elements turned by an angle that grows with the position; see [`Tensor::rope`].
    ///
    /// Gradient: dy turned back.
    ///
    /// ```
    /// # use chainrule_autograd::value_and_grad;
    /// # use chainrule_tensor::{DType, Device, Rope, Tensor};
    /// let (cos, sin) = Tensor::rope_tables(2, 2, 10000.0, DType::F64, &Device::Cpu)?;
    /// let x = Tensor::new([[1.0f64, 0.0], [1.0, 0.0]], &Device::Cpu)?;
    /// // Position 1 is turned by one radian, and so is its gradient, backwards.
    /// let (y, dx) = value_and_grad(|x| x[0].rope(&cos, &sin, &Rope::default())?.select(0, 1)?.select(0, 0), &[x])?;
    /// assert_eq!((y.item::<f64>()?, dx[0].to_vec::<f64>()?), (1f64.cos(), vec![0.0, 0.0, 1f64.cos(), -1f64.sin()]));
    /// # Ok::<(), chainrule_tensor::Error>(())
    /// ```
    #[track_caller]
    pub fn rope(&self, cos: &Tensor, sin: &Tensor, options: &Rope) -> Result<Var> {
        let back = Rope { inverse: !options.inverse, ..options.clone() };
        let tables = (cos.clone(), sin.clone());
        let rule = move |pull: &Pull<'_>| Ok([pull.when(0, || pull.dy()?.rope(&tables.0, &tables.1, &back))?]);
        record("rope", [self], |[x]| x.rope(cos, sin, options), rule)
    }
}

#[cfg(feature = "samples")]
mod declared {
    use super::*;
    use crate::samples::{Array, ErrorSample, Sample, narrowed, on_device_of, uniform};
    use chainrule_tensor::{DType, Device};

    /// `x [B, H, T, D]` turned: pair and half as the options say.
    fn turned(x: &Array, rotary: usize, interleaved: bool, position: fn(usize, usize) -> usize) -> Array {
        Array::build(&x.shape, |i| {
            let (d, half) = (i[3], rotary / 2);
            let (pair, other, sign) = match interleaved {
                _ if d >= rotary => return x.at(i),
                true => (d / 2, d ^ 1, if d % 2 == 0 { -1.0 } else { 1.0 }),
                false if d < half => (d, d + half, -1.0),
                false => (d - half, d - half, 1.0),
            };
            let angle = position(i[0], i[2]) as f64 * 100f64.powf(-2.0 * pair as f64 / rotary as f64);
            x.at(i) * angle.cos() + sign * x.at(&[i[0], i[1], i[2], other]) * angle.sin()
        })
    }

    fn rotary(case: &str, rotary: usize, options: Rope, position: fn(usize, usize) -> usize) -> Result<Sample> {
        let (cos, sin) = Tensor::rope_tables(9, rotary, 100.0, DType::F64, &Device::Cpu)?;
        let interleaved = options.interleaved;
        let call = move |x: &[Var]| {
            let device = x[0].device();
            let positions = on_device_of(&options.positions, x)?;
            let (cos, sin) = (narrowed(&cos, &device)?, narrowed(&sin, &device)?);
            x[0].rope(&cos, &sin, &Rope { positions, ..options.clone() })
        };
        let sample = Sample::new("rope", case, vec![uniform(&[2, 2, 3, 6], -1.0, 1.0, 1)?], call);
        Ok(sample.plain(move |a| turned(&a[0], rotary, interleaved, position)))
    }

    pub(crate) fn samples() -> Result<Vec<Sample>> {
        let none = Rope::default;
        let at = Some(Tensor::new([[3i64, 0, 8], [1, 1, 2]], &Device::Cpu)?);
        Ok(vec![
            rotary("halves", 6, none(), |_, t| t)?,
            rotary("neighbours", 6, Rope { interleaved: true, ..none() }, |_, t| t)?,
            rotary("some elements, later positions", 4, Rope { first_position: 5, ..none() }, |_, t| t + 5)?,
            rotary("own positions", 4, Rope { positions: at, interleaved: true, ..none() }, |b, t| {
                [[3, 0, 8], [1, 1, 2]][b][t]
            })?,
        ])
    }

    pub(crate) fn error_samples() -> Result<Vec<ErrorSample>> {
        let fails = |x: &[usize], rotary: usize, options: Rope, message| {
            let (cos, sin) = Tensor::rope_tables(4, rotary, 100.0, DType::F32, &Device::Cpu)?;
            let call = move |x: &[Var]| {
                let device = x[0].device();
                let positions = on_device_of(&options.positions, x)?;
                x[0].rope(&cos.to_device(&device)?, &sin.to_device(&device)?, &Rope { positions, ..options.clone() })
            };
            Ok(ErrorSample::new("rope", vec![uniform(x, -1.0, 1.0, 1)?], call, message))
        };
        Ok(vec![
            fails(&[4], 2, Rope::default(), "got shape [4], expected [B, H, T, D]")?,
            fails(
                &[3, 4],
                6,
                Rope::default(),
                "tables have shapes [4, 3] and [4, 3], expected [positions, R / 2] both",
            )?,
            fails(
                &[3, 4],
                4,
                Rope { first_position: 2, ..Rope::default() },
                "position 4 is outside tables of 4 positions",
            )?,
        ])
    }
}

#[cfg(feature = "samples")]
pub(crate) use declared::{error_samples, samples};

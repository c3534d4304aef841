//! Initial values of parameters. All are f32 on the host, follow from the [`Rng`] alone, and so are the same on every
//! device; move a finished model with [`to_device`](crate::Module::to_device).
//!
//! `fan_in` and `fan_out` of a weight `[out, in, ...]` are `in` and `out` times the sizes of the further dims.
//!
//! Source: `torch.nn.init`.

use chainrule_tensor::{Device, Error, Result, Rng, Shape, Sizes, Tensor};

/// Which fan a Kaiming initialisation keeps the variance of.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Fan {
    /// The variance of activations in the forward pass.
    #[default]
    In,
    /// The variance of gradients in the backward pass.
    Out,
}

/// Every element `value`.
///
/// # Errors
/// A shape that is too large.
#[track_caller]
pub fn constant(shape: impl Sizes, value: f32) -> Result<Tensor> {
    let shape = Shape::new(shape.sizes())?;
    Tensor::from_vec(vec![value; shape.elements()], shape, &Device::Cpu)
}

/// Evenly from `low` to `high`.
///
/// # Errors
/// A shape that is too large.
#[track_caller]
pub fn uniform(shape: impl Sizes, low: f64, high: f64, rng: &mut Rng) -> Result<Tensor> {
    let shape = Shape::new(shape.sizes())?;
    let stream = rng.next_stream();
    let value = |i| (low + (high - low) * f64::from(stream.uniform(i))) as f32;
    Tensor::from_vec((0..shape.elements() as u64).map(value).collect(), shape, &Device::Cpu)
}

/// From the normal distribution of this mean and standard deviation.
///
/// # Errors
/// A shape that is too large.
#[track_caller]
pub fn normal(shape: impl Sizes, mean: f64, std: f64, rng: &mut Rng) -> Result<Tensor> {
    let shape = Shape::new(shape.sizes())?;
    let stream = rng.next_stream();
    // Box and Muller: two even numbers make two normal ones, of which the cosine is taken. 1 - u is never 0.
    let value = |i| {
        let radius = (-2.0 * (1.0 - f64::from(stream.uniform(2 * i))).ln()).sqrt();
        (mean + std * radius * (std::f64::consts::TAU * f64::from(stream.uniform(2 * i + 1))).cos()) as f32
    };
    Tensor::from_vec((0..shape.elements() as u64).map(value).collect(), shape, &Device::Cpu)
}

/// From the normal distribution of this mean and standard deviation, drawn again until within `low..=high`.
///
/// # Errors
/// Bounds more than 8 deviations from the mean on one side, or the wrong way round.
#[track_caller]
pub fn truncated_normal(shape: impl Sizes, mean: f64, std: f64, low: f64, high: f64, rng: &mut Rng) -> Result<Tensor> {
    let shape = Shape::new(shape.sizes())?;
    if !(low < high && low < mean + 8.0 * std && high > mean - 8.0 * std) {
        let message = format!("nothing of the normal distribution of {mean}, {std} is between {low} and {high}");
        return Err(Error::argument("truncated_normal", message));
    }
    // The distribution function is inverted by bisection: one even number for each element, whatever the bounds.
    let stream = rng.next_stream();
    let (from, to) = (cumulative((low - mean) / std), cumulative((high - mean) / std));
    let value = |i| {
        let goal = from + (to - from) * f64::from(stream.uniform(i));
        let (mut a, mut b) = (((low - mean) / std).max(-9.0), ((high - mean) / std).min(9.0));
        for _ in 0..40 {
            let middle = 0.5 * (a + b);
            if cumulative(middle) < goal { a = middle } else { b = middle }
        }
        (mean + std * 0.5 * (a + b)).clamp(low, high) as f32
    };
    Tensor::from_vec((0..shape.elements() as u64).map(value).collect(), shape, &Device::Cpu)
}

/// Evenly within `±gain sqrt(6 / (fan_in + fan_out))`.
///
/// Source: Glorot and Bengio, 2010; `torch.nn.init.xavier_uniform_`.
///
/// # Errors
/// Fewer than 2 dims.
#[track_caller]
pub fn xavier_uniform(shape: impl Sizes, gain: f64, rng: &mut Rng) -> Result<Tensor> {
    let (fan_in, fan_out) = fans(shape.sizes())?;
    let bound = gain * (6.0 / (fan_in + fan_out)).sqrt();
    uniform(shape, -bound, bound, rng)
}

/// Normal with deviation `gain sqrt(2 / (fan_in + fan_out))`.
///
/// # Errors
/// Fewer than 2 dims.
#[track_caller]
pub fn xavier_normal(shape: impl Sizes, gain: f64, rng: &mut Rng) -> Result<Tensor> {
    let (fan_in, fan_out) = fans(shape.sizes())?;
    normal(shape, 0.0, gain * (2.0 / (fan_in + fan_out)).sqrt(), rng)
}

/// Evenly within `±gain sqrt(3 / fan)`; the gain for ReLU is `sqrt(2)`.
///
/// Source: He et al., 2015; `torch.nn.init.kaiming_uniform_`.
///
/// # Errors
/// Fewer than 2 dims.
#[track_caller]
pub fn kaiming_uniform(shape: impl Sizes, gain: f64, fan: Fan, rng: &mut Rng) -> Result<Tensor> {
    let bound = gain * (3.0 / one_fan(shape.sizes(), fan)?).sqrt();
    uniform(shape, -bound, bound, rng)
}

/// Normal with deviation `gain / sqrt(fan)`; the gain for ReLU is `sqrt(2)`.
///
/// # Errors
/// Fewer than 2 dims.
#[track_caller]
pub fn kaiming_normal(shape: impl Sizes, gain: f64, fan: Fan, rng: &mut Rng) -> Result<Tensor> {
    let std = gain / one_fan(shape.sizes(), fan)?.sqrt();
    normal(shape, 0.0, std, rng)
}

fn one_fan(sizes: &[usize], fan: Fan) -> Result<f64> {
    let (fan_in, fan_out) = fans(sizes)?;
    Ok(if fan == Fan::In { fan_in } else { fan_out })
}

#[track_caller]
fn fans(sizes: &[usize]) -> Result<(f64, f64)> {
    let [out, inputs, rest @ ..] = sizes else {
        return Err(Error::shape("init", format!("needs a weight of at least 2 dims, got shape {sizes:?}")));
    };
    let field: usize = rest.iter().product();
    // An empty weight has nothing to scale; a fan of 1 keeps its bound finite.
    Ok(((inputs * field).max(1) as f64, (out * field).max(1) as f64))
}

/// The distribution function of the standard normal distribution.
///
/// Source: W. J. Cody's approach through a continued fraction in the tails and a series in the middle; absolute error
/// below 1e-12 where it is used.
fn cumulative(x: f64) -> f64 {
    let density = (-0.5 * x * x).exp() / std::f64::consts::TAU.sqrt();
    if x.abs() > 4.0 {
        let fraction = (1..=40).rev().fold(x.abs(), |tail, n| x.abs() + f64::from(n) / tail);
        return if x < 0.0 { density / fraction } else { 1.0 - density / fraction };
    }
    let (mut term, mut sum, mut n) = (x, x, 1.0);
    while term.abs() > 1e-17 * sum.abs() {
        n += 2.0;
        term *= x * x / n;
        sum += term;
    }
    0.5 + density * sum
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moments(x: &Tensor) -> (f64, f64) {
        let x = x.to_f64_vec().unwrap();
        let mean = x.iter().sum::<f64>() / x.len() as f64;
        (mean, (x.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / x.len() as f64).sqrt())
    }

    #[test]
    fn means_and_deviations() {
        let mut rng = Rng::seed(1);
        // 40,000 draws: the mean is within 5 / sqrt(40000) deviations, the deviation within 2 percent.
        let cases = [
            (normal([200, 200], 1.0, 2.0, &mut rng).unwrap(), 1.0, 2.0),
            (uniform([200, 200], -1.0, 3.0, &mut rng).unwrap(), 1.0, 4.0 / 12f64.sqrt()),
            (xavier_uniform([100, 400], 1.0, &mut rng).unwrap(), 0.0, (2.0f64 / 500.0).sqrt()),
            (xavier_normal([100, 400], 1.0, &mut rng).unwrap(), 0.0, (2.0f64 / 500.0).sqrt()),
            (kaiming_uniform([100, 400], 2f64.sqrt(), Fan::In, &mut rng).unwrap(), 0.0, (2.0f64 / 400.0).sqrt()),
            (kaiming_normal([100, 400], 2f64.sqrt(), Fan::Out, &mut rng).unwrap(), 0.0, (2.0f64 / 100.0).sqrt()),
            // The deviation of a standard normal within two deviations is 0.8796.
            (truncated_normal([200, 200], 0.0, 0.1, -0.2, 0.2, &mut rng).unwrap(), 0.0, 0.08796),
        ];
        for (i, (x, mean, std)) in cases.iter().enumerate() {
            let (got_mean, got_std) = moments(x);
            assert!((got_mean - mean).abs() < 5.0 * std / 200.0, "case {i}: mean {got_mean}");
            assert!((got_std / std - 1.0).abs() < 0.02, "case {i}: std {got_std}, expected {std}");
        }
        assert!(cases[6].0.to_vec::<f32>().unwrap().iter().all(|v| v.abs() <= 0.2));
    }

    #[test]
    fn seeds_decide() {
        let draw = |seed| normal([5], 0.0, 1.0, &mut Rng::seed(seed)).unwrap().to_vec::<f32>().unwrap();
        assert_eq!(draw(7), draw(7));
        assert_ne!(draw(7), draw(8));
        assert!(truncated_normal([1], 0.0, 1.0, 2.0, 1.0, &mut Rng::seed(0)).is_err());
        assert!(xavier_normal([3], 1.0, &mut Rng::seed(0)).is_err());
    }
}

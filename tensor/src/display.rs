//! Printing as NumPy does: nested brackets, aligned columns, the middle of long dims left out.

use std::fmt;

use crate::{DType, Slice, Tensor};

/// More elements than this are summarised.
const THRESHOLD: usize = 1000;

/// How many indices are shown at each end of a dim that is summarised.
const EDGE: usize = 3;

/// Decimals shown at most.
const PRECISION: usize = 8;

impl fmt::Display for Tensor {
    /// The elements, as `numpy.array2string` with its defaults.
    ///
    /// ```
    /// use chainrule_tensor::{Device, Tensor};
    /// let x = Tensor::new([[1.0f32, 2.5], [-3.0, 4.0]], &Device::Cpu)?;
    /// assert_eq!(x.to_string(), "[[ 1.   2.5]\n [-3.   4. ]]");
    /// # Ok::<(), chainrule_tensor::Error>(())
    /// ```
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is_short = self.elements() <= THRESHOLD;
        let shown = if is_short { Ok(self.clone()) } else { edges(self) };
        let values = shown.and_then(|shown| Ok((shown.to_f64_vec()?, shown.shape().to_vec())));
        let Ok((values, shape)) = values else { return write!(f, "<tensor that cannot be read back>") };
        let mut words = if self.dtype().is_float() {
            float_words(&values)
        } else if self.dtype() == DType::Bool {
            values.iter().map(|&x| if x == 0.0 { "False".into() } else { "True".into() }).collect()
        } else {
            integer_words(self, is_short, &values)
        };
        let width = words.iter().map(String::len).max().unwrap_or(0);
        words.iter_mut().for_each(|word| *word = format!("{word:>width$}"));
        let cut: Vec<bool> = self.shape().iter().map(|&size| !is_short && size > 2 * EDGE).collect();
        write_dim(f, &words, &shape, &cut, 0)
    }
}

impl fmt::Debug for Tensor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tensor({}, {}, {})", self.shape(), self.dtype(), self.device())
    }
}

/// The first and last indices of every long dim.
fn edges(x: &Tensor) -> crate::Result<Tensor> {
    let mut shown = x.clone();
    for dim in 0..x.rank() as isize {
        if shown.size(dim)? > 2 * EDGE {
            let (first, last) =
                (shown.slice(dim, Slice::from(..EDGE as isize))?, shown.slice(dim, -(EDGE as isize)..)?);
            shown = Tensor::cat(&[&first, &last], dim)?;
        }
    }
    Ok(shown)
}

/// Integers digit for digit; those beyond 2^53 do not pass through f64.
fn integer_words(x: &Tensor, is_short: bool, values: &[f64]) -> Vec<String> {
    match x.to_vec::<i64>() {
        Ok(exact) if is_short => exact.iter().map(i64::to_string).collect(),
        _ => values.iter().map(|x| format!("{x:.0}")).collect(),
    }
}

fn float_words(values: &[f64]) -> Vec<String> {
    let finite = || values.iter().copied().filter(|x| x.is_finite() && *x != 0.0).map(f64::abs);
    let (largest, smallest) = (finite().fold(0.0, f64::max), finite().fold(f64::INFINITY, f64::min));
    let is_scientific = largest >= 1e8 || (largest > 0.0 && (smallest < 1e-4 || largest / smallest > 1000.0));
    let decimals = values.iter().filter(|x| x.is_finite()).map(|&x| decimals(x, is_scientific)).max().unwrap_or(0);
    let word = |&x: &f64| match x {
        _ if x.is_nan() => "nan".to_string(),
        _ if x.is_infinite() => if x > 0.0 { "inf" } else { "-inf" }.to_string(),
        _ if is_scientific => scientific(x, decimals),
        _ if decimals == 0 => format!("{x:.0}."),
        _ => {
            // Zeros at the end become blanks, so that points stay aligned.
            let text = format!("{x:.decimals$}");
            let kept = text.trim_end_matches('0').len();
            format!("{:<width$}", &text[..kept], width = text.len())
        }
    };
    values.iter().map(word).collect()
}

/// The decimals that an f32 or f64 needs, at most [`PRECISION`].
fn decimals(x: f64, is_scientific: bool) -> usize {
    let text = if is_scientific { format!("{x:.PRECISION$e}") } else { format!("{x:.PRECISION$}") };
    let mantissa = text.split('e').next().unwrap_or_default();
    mantissa.split('.').nth(1).map_or(0, |fraction| fraction.trim_end_matches('0').len())
}

/// `1.5e-05`: at least two digits of exponent, with its sign.
fn scientific(x: f64, decimals: usize) -> String {
    let text = format!("{x:.decimals$e}");
    let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let (sign, digits) = exponent.strip_prefix('-').map_or(("+", exponent), |digits| ("-", digits));
    let point = if decimals == 0 { "." } else { "" };
    format!("{mantissa}{point}e{sign}{digits:0>2}")
}

fn write_dim(f: &mut fmt::Formatter<'_>, words: &[String], shape: &[usize], cut: &[bool], depth: usize) -> fmt::Result {
    let Some((&size, rest)) = shape.split_first() else {
        return write!(f, "{}", words.first().map_or("", |word| word.trim_end()));
    };
    write!(f, "[")?;
    let each: usize = rest.iter().product();
    for index in 0..size {
        if index > 0 && rest.is_empty() {
            write!(f, " ")?;
        } else if index > 0 {
            write!(f, "{}{}", "\n".repeat(rest.len()), " ".repeat(depth + 1))?;
        }
        if cut[0] && index == EDGE {
            write!(f, "...")?;
            let next = if rest.is_empty() {
                " ".to_string()
            } else {
                format!("{}{}", "\n".repeat(rest.len()), " ".repeat(depth + 1))
            };
            write!(f, "{next}")?;
        }
        if rest.is_empty() {
            write!(f, "{}", words[index])?;
        } else {
            write_dim(f, &words[index * each..(index + 1) * each], rest, &cut[1..], depth + 1)?;
        }
    }
    write!(f, "]")
}

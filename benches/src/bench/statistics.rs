//! What is told of many times.

/// The value below which the share `q` of the sorted values lies, interpolated between neighbours as NumPy does; NaN
/// where there are none.
pub(crate) fn quantile(sorted: &[f64], q: f64) -> f64 {
    let Some(last) = sorted.len().checked_sub(1) else { return f64::NAN };
    let place = q.clamp(0.0, 1.0) * last as f64;
    let (below, part) = (place as usize, place.fract());
    let above = (below + 1).min(last);
    sorted[below] + part * (sorted[above] - sorted[below])
}

/// A median with the tenth and the ninetieth percentile.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) p10: f64,
    pub(crate) p90: f64,
}

impl Spread {
    pub(crate) fn of(mut values: Vec<f64>) -> Spread {
        values.sort_by(f64::total_cmp);
        Spread { median: quantile(&values, 0.5), p10: quantile(&values, 0.1), p90: quantile(&values, 0.9) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_interpolated() {
        let values = [1.0, 2.0, 3.0, 4.0];
        assert_eq!(quantile(&values, 0.0), 1.0);
        assert_eq!(quantile(&values, 0.5), 2.5);
        assert_eq!(quantile(&values, 1.0), 4.0);
        assert_eq!(quantile(&[7.0], 0.9), 7.0);
        assert!(quantile(&[], 0.5).is_nan());
    }

    #[test]
    fn a_spread_does_not_depend_on_the_order_and_ignores_an_outlier() {
        let mut values: Vec<f64> = (0..11).rev().map(f64::from).collect();
        assert_eq!(Spread::of(values.clone()), Spread { median: 5.0, p10: 1.0, p90: 9.0 });
        values[0] = 1e9;
        assert_eq!(Spread::of(values).median, 5.0);
    }
}

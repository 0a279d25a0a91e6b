//! How far measured times lie from true ones.

use serde::Serialize;

/// A distribution of times in milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub(crate) struct Spread {
    /// Mean.
    pub(crate) mean: f64,
    /// Median.
    pub(crate) p50: f64,
    /// 99th percentile.
    pub(crate) p99: f64,
    /// Largest.
    pub(crate) max: f64,
}

impl Spread {
    /// Of these values; `None` when there are none.
    pub(crate) fn of(mut values: Vec<f64>) -> Option<Self> {
        values.sort_by(f64::total_cmp);
        Some(Self {
            mean: sagellm_stats::mean(&values)?,
            p50: sagellm_stats::quantile(&values, 0.5)?,
            p99: sagellm_stats::quantile(&values, 0.99)?,
            max: *values.last()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spread_is_that_of_its_values() {
        let spread = Spread::of((0..=100).rev().map(f64::from).collect()).unwrap();
        assert_eq!(spread, Spread { mean: 50.0, p50: 50.0, p99: 99.0, max: 100.0 });
        assert_eq!(Spread::of(Vec::new()), None);
    }
}

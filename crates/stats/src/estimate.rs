//! A figure, how far it can be off, and how two of them differ.

use crate::student::{t_975, t_beyond};
use crate::{Interval, correlated_quantile_interval, quantile, quantile_effective_n};

/// A figure with its 95 % interval.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Estimate {
    /// The figure.
    pub value: f64,
    /// Its 95 % interval.
    pub interval: Interval,
    /// Degrees of freedom of its spread: how well the interval itself is known.
    pub degrees: f64,
    /// No p-value below this can be told from it.
    pub least_p: f64,
}

/// How a positive figure differs from what it was before.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Change {
    /// Now over before: 1 when nothing changed.
    pub ratio: f64,
    /// 95 % interval of the ratio.
    pub ratio_interval: Interval,
    /// Now less before, in the unit of the figure.
    pub shift: f64,
    /// 95 % interval of the shift.
    pub shift_interval: Interval,
    /// How likely a difference so large, either way, would be if there were none. Below 0.05 when the interval of the
    /// ratio leaves out 1, unless the data behind a percentile are too few to tell; see [`least_p_of_quantile`].
    pub p_value: f64,
}

impl Estimate {
    /// The `q` quantile of observations in the order in which they were made, with the interval of
    /// [`correlated_quantile_interval`]. `None` when they are too few for it.
    pub fn quantile(values: &[f64], q: f64) -> Option<Self> {
        let effective_n = quantile_effective_n(values, q)?;
        let mut sorted = values.to_vec();
        sorted.sort_unstable_by(f64::total_cmp);
        let interval = correlated_quantile_interval(&sorted, q, effective_n)?;
        Some(Self {
            value: quantile(&sorted, q)?,
            interval,
            degrees: effective_n - 1.0,
            least_p: least_p_of_quantile(q, effective_n),
        })
    }

    /// How this figure differs from `before`, which was estimated from other observations.
    ///
    /// The intervals of the two make that of their difference: by Zou & Donner, "Construction of confidence limits about
    /// effect measures" (2008), each end lies as far from the difference as the two ends of which it consists, squared
    /// and added up. For the ratio this is done on logarithms. The p-value takes the degrees of freedom of Welch, "The
    /// generalization of Student's problem" (1947).
    ///
    /// `None` when a figure or an end of its interval is not a positive number.
    pub fn change_from(&self, before: &Self) -> Option<Change> {
        let logarithm = self.map(f64::ln)?.less(&before.map(f64::ln)?);
        let shift = self.less(before);
        let difference = logarithm.value;
        let toward_none = difference.abs() / if difference > 0.0 { logarithm.below } else { logarithm.above };
        let p_value: f64 =
            if difference == 0.0 { 1.0 } else { t_beyond(toward_none * t_975(logarithm.degrees), logarithm.degrees) };
        let change = Change {
            ratio: difference.exp(),
            ratio_interval: Interval {
                low: (difference - logarithm.below).exp(),
                high: (difference + logarithm.above).exp(),
            },
            shift: shift.value,
            shift_interval: Interval { low: shift.value - shift.below, high: shift.value + shift.above },
            p_value: p_value.max(self.least_p).max(before.least_p),
        };
        p_value.is_finite().then_some(change)
    }

    /// The same on another scale, if all of it is there.
    fn map(&self, to: fn(f64) -> f64) -> Option<Self> {
        let interval = Interval { low: to(self.interval.low), high: to(self.interval.high) };
        let mapped = Self { value: to(self.value), interval, ..*self };
        (mapped.value.is_finite() && interval.low.is_finite() && interval.high.is_finite()).then_some(mapped)
    }

    fn less(&self, other: &Self) -> Difference {
        let above = [self.interval.high - self.value, other.value - other.interval.low];
        let below = [self.value - self.interval.low, other.interval.high - other.value];
        let value = self.value - other.value;
        let spreads = if value > 0.0 { below } else { above };
        let [own, others] = spreads.map(|spread| spread * spread);
        let uncertain = own * own / self.degrees + others * others / other.degrees;
        Difference {
            value,
            below: below[0].hypot(below[1]),
            above: above[0].hypot(above[1]),
            degrees: (own + others).powi(2) / uncertain,
        }
    }
}

/// The smallest p-value, of a test on both sides, that `effective_n` independent observations can give about their `q`
/// quantile: 2 max(q, 1 − q)ⁿ. Order statistics make no interval of a higher confidence, since the quantile lies beyond
/// the largest observation with a probability of qⁿ, and nothing is known of what lies there.
pub fn least_p_of_quantile(q: f64, effective_n: f64) -> f64 {
    (2.0 * q.max(1.0 - q).powf(effective_n)).min(1.0)
}

/// A difference and the distances to the ends of its interval.
struct Difference {
    value: f64,
    below: f64,
    above: f64,
    degrees: f64,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn estimate(value: f64, low: f64, high: f64) -> Estimate {
        Estimate { value, interval: Interval { low, high }, degrees: 1e9, least_p: 0.0 }
    }

    #[test]
    fn distances_add_up_squared() {
        // 3 below and 4 above; 12 above: √(3² + 12²)… each end of the difference takes the opposite end of the other.
        let change = estimate(100.0, 97.0, 104.0).change_from(&estimate(60.0, 57.0, 64.0)).unwrap();
        assert_eq!((change.shift, change.shift_interval), (40.0, Interval { low: 35.0, high: 45.0 }));
        assert!((change.ratio - 100.0 / 60.0).abs() < 1e-12);
    }

    #[test]
    fn symmetric_intervals_give_the_classical_test() {
        // On logarithms 0.1 ± 0.0392 less 0 ± 0.0392: z = 0.1 / (0.02 √2) = 3.5355, p = 4.0695e-4
        // (2 * scipy.stats.norm.sf(0.1 / (0.02 * 2**0.5))).
        let half: f64 = 1.959_963_984_540_054 * 0.02;
        let now = estimate(0.1_f64.exp(), (0.1 - half).exp(), (0.1 + half).exp());
        let before = estimate(1.0, (-half).exp(), half.exp());
        let change = now.change_from(&before).unwrap();
        assert!((change.p_value / 4.069_520_174e-4 - 1.0).abs() < 1e-6, "{}", change.p_value);
        let back = before.change_from(&now).unwrap();
        assert!((back.p_value - change.p_value).abs() < 1e-12, "either way is the same");
        assert!((change.ratio_interval.low * back.ratio_interval.high - 1.0).abs() < 1e-12);
    }

    #[test]
    fn a_percentile_tells_no_more_than_the_data_beyond_it() {
        // 2 · 0.95^100 = 0.01184; of the median of 100 next to nothing.
        assert!((least_p_of_quantile(0.95, 100.0) - 0.011_841).abs() < 1e-6);
        assert!(least_p_of_quantile(0.5, 100.0) < 1e-29);
        assert_eq!(least_p_of_quantile(0.99, 10.0), 1.0);
        let few = Estimate { least_p: 0.011_841, ..estimate(200.0, 199.0, 201.0) };
        assert_eq!(few.change_from(&estimate(100.0, 99.0, 101.0)).unwrap().p_value, 0.011_841);
    }

    #[test]
    fn no_difference_is_no_finding_and_no_number_no_change() {
        let same = estimate(5.0, 4.0, 6.0);
        assert_eq!(same.change_from(&same).unwrap().p_value, 1.0);
        assert_eq!(estimate(0.0, 0.0, 1.0).change_from(&same), None);
        assert_eq!(same.change_from(&estimate(-1.0, -2.0, 1.0)), None);
    }
}

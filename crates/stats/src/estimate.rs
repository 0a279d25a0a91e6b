//! A figure, how far it can be off, and how two of them differ.

use crate::Interval;
use crate::student::{t_975, t_beyond};

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
    /// The same relative interval about another value of the figure: where the interval comes from a part of what the
    /// figure is made of. Both values must be positive.
    pub fn about(self, value: f64) -> Self {
        let by = value / self.value;
        let interval = Interval { low: self.interval.low * by, high: self.interval.high * by };
        Self { value, interval, ..self }
    }

    /// How this figure differs from `before`, which was estimated from other observations.
    ///
    /// The intervals of the two make that of their difference: by Zou & Donner, "Construction of confidence limits about
    /// effect measures" (2008), each end lies as far from the difference as the two ends of which it consists, squared
    /// and added up. For the ratio this is done on logarithms. What is added up are standard errors, and the end and the
    /// p-value take the degrees of freedom of Welch, "The generalization of Student's problem" (1947).
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
        let value = self.value - other.value;
        let (below, degrees_below) =
            add_up((self.value - self.interval.low, self.degrees), (other.interval.high - other.value, other.degrees));
        let (above, degrees_above) =
            add_up((self.interval.high - self.value, self.degrees), (other.value - other.interval.low, other.degrees));
        Difference { value, below, above, degrees: if value > 0.0 { degrees_below } else { degrees_above } }
    }
}

/// The distance from a difference to an end of its interval, and its degrees of freedom, from those of the two ends of
/// which it consists. Each distance is a standard error times Student's t of its own degrees.
fn add_up(own: (f64, f64), others: (f64, f64)) -> (f64, f64) {
    let [own, others] = [own, others].map(|(distance, degrees)| (distance / t_975(degrees), degrees));
    let (a, b) = (own.0 * own.0, others.0 * others.0);
    let degrees = (a + b).powi(2) / (a * a / own.1 + b * b / others.1);
    let error = own.0.hypot(others.0);
    (if error > 0.0 { t_975(degrees) * error } else { 0.0 }, degrees)
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
        let Interval { low, high } = change.shift_interval;
        assert!(change.shift == 40.0 && (low - 35.0).abs() < 1e-9 && (high - 45.0).abs() < 1e-9, "{change:?}");
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
        assert!((change.p_value / 4.069_520_174e-4 - 1.0).abs() < 1e-5, "{}", change.p_value);
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
    fn few_batches_have_the_test_of_welch() {
        // (1/5 + 4/10)² / ((1/5)²/4 + (4/10)²/9), and √0.6 · scipy.stats.t.ppf(0.975, 12.96).
        let of = |mean: f64, std: f64, n: f64| {
            let half = t_975(n - 1.0) * std / n.sqrt();
            Estimate {
                value: mean,
                interval: Interval { low: mean - half, high: mean + half },
                degrees: n - 1.0,
                least_p: 0.0,
            }
        };
        let difference = of(10.0, 1.0, 5.0).less(&of(8.0, 2.0, 10.0));
        assert!((difference.degrees - 12.96).abs() < 1e-9, "{}", difference.degrees);
        assert!((difference.below - 1.673_939_541).abs() < 1e-6, "{}", difference.below);
    }

    #[test]
    fn an_interval_moves_with_its_value() {
        assert_eq!(estimate(10.0, 9.0, 12.0).about(20.0), estimate(20.0, 18.0, 24.0));
    }

    #[test]
    fn no_difference_is_no_finding_and_no_number_no_change() {
        let same = estimate(5.0, 4.0, 6.0);
        assert_eq!(same.change_from(&same).unwrap().p_value, 1.0);
        assert_eq!(estimate(0.0, 0.0, 1.0).change_from(&same), None);
        assert_eq!(same.change_from(&estimate(-1.0, -2.0, 1.0)), None);
    }
}

//! Quantiles, and intervals for them that assume no distribution.

use crate::Interval;

/// Share of cases that each end of an interval may miss.
const TAIL: f64 = 0.025;

/// The `q` quantile of ascending values by linear interpolation between order statistics: type 7 of Hyndman & Fan,
/// "Sample quantiles in statistical packages" (1996), which is NumPy's default. `q` is held within 0 and 1.
pub fn quantile(sorted: &[f64], q: f64) -> Option<f64> {
    let (below, above, weight) = interpolate(sorted.len() as u64, q)?;
    let (below, above) = (sorted[below as usize], sorted[above as usize]);
    // Written so that equal neighbours give exactly their value.
    Some(below + (above - below) * weight)
}

/// The ranks, counted from zero, between which the `q` quantile of `n` values lies, and the weight of the upper one.
pub(crate) fn interpolate(n: u64, q: f64) -> Option<(u64, u64, f64)> {
    let last = n.checked_sub(1)?;
    let place = q.clamp(0.0, 1.0) * last as f64;
    let below = (place.floor() as u64).min(last);
    Some((below, (below + 1).min(last), place - below as f64))
}

/// The 95 % interval of the `q` quantile from ascending values: the pair of order statistics outside of which the true
/// quantile lies with at most 2.5 % on either side, whatever the distribution (David & Nagaraja, "Order statistics",
/// §7.1). `None` when there are too few values for both ends: the median needs 6, p95 72, p99 368.
pub fn quantile_interval(sorted: &[f64], q: f64) -> Option<Interval> {
    let (low, high) = interval_ranks(sorted.len() as u64, q)?;
    Some(Interval { low: sorted[low as usize], high: sorted[high as usize] })
}

/// The ranks, counted from zero, of the ends of [`quantile_interval`].
pub(crate) fn interval_ranks(n: u64, q: f64) -> Option<(u64, u64)> {
    if !(0.0..=1.0).contains(&q) || n == 0 {
        return None;
    }
    // How many of the n values lie below the true quantile is binomial; its distribution function is walked once.
    let pmf = Binomial::around_its_mode(n as usize, q);
    let mut low = None;
    let mut high = None;
    let mut below = 0.0;
    for (count, probability) in pmf.terms() {
        let count = count as u64;
        // `below` is P(B < count).
        if below <= TAIL && count >= 1 {
            low = Some(count - 1);
        }
        below += probability;
        // `1 - below` is P(B > count), that is P(B >= count + 1).
        if high.is_none() && 1.0 - below <= TAIL && count < n {
            high = Some(count);
        }
    }
    low.zip(high)
}

/// The fewest values for which [`quantile_interval`] has both ends. `None` unless 0 < q < 1.
pub fn values_for_quantile_interval(q: f64) -> Option<u64> {
    // All values on one side of the quantile must be less likely than what one end may miss.
    (q > 0.0 && q < 1.0).then(|| (TAIL.ln() / q.max(1.0 - q).ln()).ceil() as u64)
}

/// The probabilities of a binomial distribution that are not negligible.
struct Binomial {
    first: usize,
    probabilities: Vec<f64>,
}

impl Binomial {
    /// Starts at the mode and follows the ratio of neighbours both ways until the terms no longer matter, then
    /// normalises: no factorial is ever formed, and the work grows with the square root of `n`.
    fn around_its_mode(n: usize, p: f64) -> Self {
        const NEGLIGIBLE: f64 = 1e-18;
        let mode = (((n + 1) as f64 * p).floor() as usize).min(n);
        let odds = p / (1.0 - p);
        let mut lower = Vec::new();
        let mut term = 1.0;
        for count in (1..=mode).rev() {
            term *= count as f64 / ((n - count + 1) as f64 * odds);
            if term < NEGLIGIBLE {
                break;
            }
            lower.push(term);
        }
        let first = mode - lower.len();
        let mut probabilities: Vec<f64> = lower.into_iter().rev().collect();
        probabilities.push(1.0);
        term = 1.0;
        for count in mode..n {
            term *= (n - count) as f64 / (count + 1) as f64 * odds;
            if term < NEGLIGIBLE {
                break;
            }
            probabilities.push(term);
        }
        let total: f64 = probabilities.iter().sum();
        probabilities.iter_mut().for_each(|term| *term /= total);
        Self { first, probabilities }
    }

    fn terms(&self) -> impl Iterator<Item = (usize, f64)> + '_ {
        self.probabilities.iter().enumerate().map(|(place, probability)| (self.first + place, *probability))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::SplitMix64;

    fn count_to(n: usize) -> Vec<f64> {
        (1..=n).map(|value| value as f64).collect()
    }

    #[test]
    fn agrees_with_numpy() {
        // numpy.quantile([1, 2, 4, 8], [0, .25, .5, .9, 1])
        let values = [1.0, 2.0, 4.0, 8.0];
        let wanted = [(0.0, 1.0), (0.25, 1.75), (0.5, 3.0), (0.9, 6.8), (1.0, 8.0)];
        for (q, value) in wanted {
            let got = quantile(&values, q).unwrap();
            assert!((got - value).abs() < 1e-12, "q {q}: {got} is not {value}");
        }
        assert_eq!(quantile(&[], 0.5), None);
        assert_eq!(quantile(&[7.0], 0.99), Some(7.0));
    }

    #[test]
    fn binomial_terms_are_exact() {
        let terms: Vec<_> = Binomial::around_its_mode(4, 0.5).terms().collect();
        let wanted = [1.0, 4.0, 6.0, 4.0, 1.0];
        for ((count, probability), coefficient) in terms.iter().zip(wanted) {
            assert!((probability - coefficient / 16.0).abs() < 1e-15, "P(B = {count}) = {probability}");
        }
        let p3 = Binomial::around_its_mode(10, 0.3).terms().find(|(count, _)| *count == 3).unwrap().1;
        // 120 * 0.3^3 * 0.7^7
        assert!((p3 - 120.0 * 0.3_f64.powi(3) * 0.7_f64.powi(7)).abs() < 1e-14);
    }

    #[test]
    fn textbook_intervals_of_the_median() {
        // The ranks of the sign-test interval for the median, as tabulated: n = 6 → (1, 6), 10 → (2, 9), 20 → (6, 15),
        // 100 → (40, 61).
        for (n, low, high) in [(6, 1.0, 6.0), (10, 2.0, 9.0), (20, 6.0, 15.0), (100, 40.0, 61.0)] {
            assert_eq!(quantile_interval(&count_to(n), 0.5), Some(Interval { low, high }), "n = {n}");
        }
    }

    #[test]
    fn the_fewest_values_for_an_interval() {
        for (q, fewest) in [(0.5, 6), (0.95, 72), (0.99, 368)] {
            assert_eq!(values_for_quantile_interval(q), Some(fewest as u64));
            assert_eq!(quantile_interval(&count_to(fewest - 1), q), None, "q = {q}");
            assert!(quantile_interval(&count_to(fewest), q).is_some(), "q = {q}");
        }
        assert_eq!(quantile_interval(&[], 0.5), None);
        assert_eq!(quantile_interval(&count_to(100), 1.0), None);
        assert_eq!(quantile_interval(&count_to(100), 0.0), None);
    }

    #[test]
    fn covers_the_true_quantile_at_least_as_often_as_it_says() {
        let mut random = SplitMix64::new(11);
        let truth = -(0.1_f64).ln();
        let runs = 2000;
        let covered = (0..runs)
            .filter(|_| {
                let mut values: Vec<f64> = (0..120).map(|_| -(1.0 - random.unit()).ln()).collect();
                values.sort_by(f64::total_cmp);
                let interval = quantile_interval(&values, 0.9).unwrap();
                (interval.low..=interval.high).contains(&truth)
            })
            .count();
        let share = covered as f64 / f64::from(runs);
        assert!(share > 0.945, "covered {share}");
    }

    proptest! {
        #[test]
        fn lies_between_its_neighbours(mut values in prop::collection::vec(-1e9..1e9_f64, 1..200), q in 0.0..1.0_f64) {
            values.sort_by(f64::total_cmp);
            let got = quantile(&values, q).unwrap();
            prop_assert!(values[0] <= got && got <= *values.last().unwrap());
            if let Some(interval) = quantile_interval(&values, q) {
                prop_assert!(interval.low <= got && got <= interval.high);
            }
        }

        #[test]
        fn grows_with_q(mut values in prop::collection::vec(-1e9..1e9_f64, 1..50), a in 0.0..1.0_f64, b in 0.0..1.0_f64) {
            values.sort_by(f64::total_cmp);
            prop_assert!(quantile(&values, a.min(b)) <= quantile(&values, a.max(b)));
        }
    }
}

//! How much data a percentile needs.

use crate::binomial::at_most;

/// Confidence with which a tail is claimed.
const CONFIDENCE: f64 = 0.99;

/// The fewest observations, none of them over the limit, that show with 99 % confidence that at least the share `q` of
/// all observations keeps it: the smallest n with `1 − qⁿ ≥ 0.99`. See [`queries_needed`]. `None` unless 0 < q < 1.
pub fn successes_needed(q: f64) -> Option<u64> {
    queries_needed(q, 0)
}

/// The fewest observations that show with 99 % confidence that at least the share `q` of all observations keeps a limit
/// when `over` of them do not: the smallest n for which `P(B ≤ over) ≤ 0.01` where B of n is binomial with 1 − q. This is
/// MLPerf's early stopping with tolerance 0. `None` unless 0 < q < 1.
pub fn queries_needed(q: f64, over: u64) -> Option<u64> {
    if !(q > 0.0 && q < 1.0) {
        return None;
    }
    let enough = |n: u64| at_most(over, n, 1.0 - q) <= 1.0 - CONFIDENCE;
    let (mut low, mut high) = (over, over + 1);
    while !enough(high) {
        (low, high) = (high, 2 * high);
    }
    while high - low > 1 {
        let middle = low + (high - low) / 2;
        if enough(middle) { high = middle } else { low = middle }
    }
    Some(high)
}

/// How many of `n` observations may be over the limit so that the share `q` of all of them is shown to keep it, with 99 %
/// confidence; `None` when there are too few even without any. The largest but that many is then an upper bound of the
/// `q` quantile, which is what MLPerf reports.
pub fn over_allowed(q: f64, n: u64) -> Option<u64> {
    if n < successes_needed(q)? {
        return None;
    }
    let (mut low, mut high) = (0, n);
    while high - low > 1 {
        let middle = low + (high - low) / 2;
        if queries_needed(q, middle)? <= n { low = middle } else { high = middle }
    }
    Some(low)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_published_numbers() {
        let wanted = [(0.90, 44), (0.95, 90), (0.99, 459), (0.999, 4603)];
        for (q, n) in wanted {
            assert_eq!(successes_needed(q), Some(n));
        }
    }

    #[test]
    fn numbers_with_some_over_the_limit() {
        // The one-sided tolerance limits of Wilks (1941) for 99 % of the values with 99 % confidence, as tabulated for
        // the first to sixth largest value, and those for 95 % with 99 %; checked with scipy.stats.binom.cdf.
        for (over, n) in [459, 662, 838, 1001, 1157, 1307].into_iter().enumerate() {
            assert_eq!(queries_needed(0.99, over as u64), Some(n));
        }
        for (over, n) in [90, 130, 165, 198, 229, 259].into_iter().enumerate() {
            assert_eq!(queries_needed(0.95, over as u64), Some(n));
        }
        assert_eq!(queries_needed(0.99, 100), Some(12571));
    }

    #[test]
    fn the_number_is_enough_and_one_less_is_not() {
        for q in [0.5, 0.75, 0.9, 0.95, 0.99, 0.999] {
            let n = i32::try_from(successes_needed(q).unwrap()).unwrap();
            assert!(1.0 - q.powi(n) >= 0.99, "q = {q}");
            assert!(1.0 - q.powi(n - 1) < 0.99, "q = {q}");
        }
    }

    #[test]
    fn what_is_allowed_is_the_other_way_round() {
        assert_eq!(
            [458, 459, 661, 662, 1307].map(|n| over_allowed(0.99, n)),
            [None, Some(0), Some(0), Some(1), Some(5)]
        );
        assert_eq!(over_allowed(0.9, 44), Some(0));
    }

    #[test]
    fn certainty_is_never_shown() {
        assert_eq!(successes_needed(1.0), None);
        assert_eq!(successes_needed(0.0), None);
        assert_eq!(successes_needed(f64::NAN), None);
        assert_eq!(over_allowed(1.0, 100), None);
    }
}

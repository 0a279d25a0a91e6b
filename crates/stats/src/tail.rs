//! How much data a percentile needs.

/// Confidence with which a tail is claimed.
const CONFIDENCE: f64 = 0.99;

/// The fewest observations, none of them over the limit, that show with 99 % confidence that at least the share `q` of
/// all observations keeps it: the smallest n with `1 − qⁿ ≥ 0.99` (MLPerf's early stopping with no over-limit sample).
/// `None` unless 0 < q < 1.
pub fn successes_needed(q: f64) -> Option<u64> {
    (q > 0.0 && q < 1.0).then(|| ((1.0 - CONFIDENCE).ln() / q.ln()).ceil() as u64)
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
    fn the_number_is_enough_and_one_less_is_not() {
        for q in [0.5, 0.75, 0.9, 0.95, 0.99, 0.999] {
            let n = i32::try_from(successes_needed(q).unwrap()).unwrap();
            assert!(1.0 - q.powi(n) >= 0.99, "q = {q}");
            assert!(1.0 - q.powi(n - 1) < 0.99, "q = {q}");
        }
    }

    #[test]
    fn certainty_is_never_shown() {
        assert_eq!(successes_needed(1.0), None);
        assert_eq!(successes_needed(0.0), None);
        assert_eq!(successes_needed(f64::NAN), None);
    }
}

//! How much a series of correlated observations is worth.

/// Correlation over more neighbours than this is drift, and looking for it would take quadratic time.
const MOST_LAGS: usize = 1000;

/// The distances of values from their mean.
pub(crate) fn centred(values: &[f64]) -> Vec<f64> {
    let mean = crate::mean(values).unwrap_or(0.0);
    values.iter().map(|value| value - mean).collect()
}

/// The covariance of centred values with those that come `lag` later, divided by their number (not by that of the pairs,
/// so that the whole sequence is positive definite). 0 of nothing.
pub(crate) fn autocovariance(centred: &[f64], lag: usize) -> f64 {
    let later = centred.get(lag..).unwrap_or_default();
    let sum: f64 = centred.iter().zip(later).map(|(a, b)| a * b).sum();
    if centred.is_empty() { 0.0 } else { sum / centred.len() as f64 }
}

/// The correlation of values with those that come `lag` later; about 0 ± 2/√n when there is none. `None` when there is no
/// pair or no variation.
pub fn autocorrelation(values: &[f64], lag: usize) -> Option<f64> {
    let centred = centred(values);
    let variance = autocovariance(&centred, 0);
    (lag < values.len() && variance > 0.0).then(|| autocovariance(&centred, lag) / variance)
}

/// The number of independent observations that would know the mean as well as these, in the order in which they were
/// made: `n / (1 + 2 Σ ρ)`. The autocorrelations ρ are added in neighbouring pairs until a pair is no longer positive
/// (Geyer, "Practical Markov chain Monte Carlo", 1992), over at most 1000 lags. Never more than `n`; `None` of
/// nothing.
pub fn effective_n(values: &[f64]) -> Option<f64> {
    let n = values.len();
    if n == 0 {
        return None;
    }
    let centred = centred(values);
    let covariance = |lag| autocovariance(&centred, lag);
    let variance = covariance(0);
    if variance <= 0.0 {
        return Some(n as f64);
    }
    // The first pair is lags 0 and 1; what is added up is Σ over all pairs, of which 2 Σ − 1 is 1 + 2 Σ ρ.
    let mut sum = 0.0;
    let mut lag = 0;
    while lag + 1 < n.min(MOST_LAGS) {
        let pair = (covariance(lag) + covariance(lag + 1)) / variance;
        if pair <= 0.0 {
            break;
        }
        sum += pair;
        lag += 2;
    }
    Some((n as f64 / (2.0 * sum - 1.0).max(1.0)).max(1.0))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::SplitMix64;

    #[test]
    fn independent_values_count_nearly_in_full() {
        let mut random = SplitMix64::new(1);
        let values: Vec<f64> = (0..2000).map(|_| random.unit()).collect();
        assert!(effective_n(&values).unwrap() > 1500.0);
    }

    #[test]
    fn a_series_with_memory_counts_as_its_closed_form_says() {
        // x' = 0.8 x + noise is worth n (1 − 0.8)/(1 + 0.8) = n / 9.
        let mut random = SplitMix64::new(2);
        let mut state = 0.0;
        let values: Vec<f64> = (0..20_000)
            .map(|_| {
                state = 0.8 * state + random.unit() - 0.5;
                state
            })
            .collect();
        let got = effective_n(&values).unwrap();
        assert!((20_000.0 / 9.0 * 0.75..20_000.0 / 9.0 * 1.25).contains(&got), "{got}");
    }

    #[test]
    fn closed_forms_of_the_autocorrelation() {
        // Mean 2.5, distances −1.5 −0.5 0.5 1.5: (0.75 − 0.25 + 0.75) / 5.
        assert_eq!(autocorrelation(&[1.0, 2.0, 3.0, 4.0], 1), Some(0.25));
        assert_eq!(autocorrelation(&[1.0, -1.0, 1.0, -1.0], 1), Some(-0.75));
        assert_eq!(autocorrelation(&[1.0, 2.0], 2), None, "no pair");
        assert_eq!(autocorrelation(&[2.0, 2.0], 1), None, "no variation");
    }

    #[test]
    fn edges() {
        assert_eq!(effective_n(&[]), None);
        assert_eq!(effective_n(&[1.0]), Some(1.0));
        assert_eq!(effective_n(&[2.0, 2.0, 2.0]), Some(3.0), "no variation, nothing to correlate");
    }

    proptest! {
        #[test]
        fn between_one_and_n(values in prop::collection::vec(-1e6..1e6_f64, 1..100)) {
            let got = effective_n(&values).unwrap();
            prop_assert!((1.0..=values.len() as f64).contains(&got));
        }
    }
}

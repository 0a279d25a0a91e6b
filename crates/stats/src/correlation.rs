//! How much a series of correlated observations is worth.

/// Correlation over more neighbours than this is drift, and looking for it would take quadratic time.
const MOST_LAGS: usize = 1000;

/// The number of independent observations that would know the mean as well as these, in the order in which they were
/// made: `n / (1 + 2 Σ ρ)`. The autocorrelations ρ are added in neighbouring pairs until a pair is no longer positive
/// (Geyer, "Practical Markov chain Monte Carlo", 1992), over at most 1000 lags. Never more than `n`; `None` of
/// nothing.
pub fn effective_n(values: &[f64]) -> Option<f64> {
    let n = values.len();
    let mean = crate::mean(values)?;
    let covariance = |lag: usize| -> f64 {
        values.iter().zip(&values[lag..]).map(|(a, b)| (a - mean) * (b - mean)).sum::<f64>() / n as f64
    };
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

//! Whether values have the distribution that they should have.

/// The result of a test of Kolmogorov & Smirnov.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct KolmogorovTest {
    /// The largest distance between the share of values up to a point and its probability.
    pub distance: f64,
    /// How likely so large a distance would be if the values had the distribution, which must not have been fitted to
    /// them.
    pub p_value: f64,
}

/// Tests whether `values` are exponential with the given `mean`, as the gaps between the arrivals of a Poisson process of
/// that rate are. `None` of nothing, or unless the mean is positive.
pub fn exponential_test(values: &[f64], mean: f64) -> Option<KolmogorovTest> {
    let mut sorted = values.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    (mean > 0.0).then(|| kolmogorov_test(&sorted, |value| -(-value.max(0.0) / mean).exp_m1()))?
}

/// Tests whether ascending values have the distribution whose probability up to a point is `below`. `None` of nothing.
pub fn kolmogorov_test(sorted: &[f64], below: impl Fn(f64) -> f64) -> Option<KolmogorovTest> {
    let n = sorted.len() as f64;
    let distances = sorted.iter().enumerate().map(|(place, value)| {
        let probability = below(*value);
        (probability - place as f64 / n).max((place + 1) as f64 / n - probability)
    });
    let distance = distances.reduce(f64::max)?;
    // The correction for finite n: Stephens, "Use of the Kolmogorov–Smirnov, Cramér–von Mises and related statistics
    // without extensive tables" (1970). Off by less than 0.01 from 20 values on, and by
    // less than 0.002 where it is below 0.1.
    let p_value = beyond((n.sqrt() + 0.12 + 0.11 / n.sqrt()) * distance);
    Some(KolmogorovTest { distance, p_value })
}

/// The probability that the limiting distribution of √n × distance lies above `x`: the alternating series of Kolmogorov
/// (1933), or for small x the one that Jacobi's identity turns it into.
fn beyond(x: f64) -> f64 {
    use std::f64::consts::PI;
    if x < 1.0 {
        let sum: f64 = (0..5).map(|k| (-f64::from((2 * k + 1) * (2 * k + 1)) * PI * PI / (8.0 * x * x)).exp()).sum();
        // For no distance at all the sum is 0 and its factor infinite.
        return if sum > 0.0 { 1.0 - (2.0 * PI).sqrt() / x * sum } else { 1.0 };
    }
    let sum: f64 = (1..10).map(|k| if k % 2 == 1 { 1.0 } else { -1.0 } * (-2.0 * f64::from(k * k) * x * x).exp()).sum();
    2.0 * sum
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SplitMix64;

    #[test]
    fn the_limiting_distribution_agrees_with_scipy() {
        // scipy.stats.kstwobign.sf(x)
        for (x, wanted) in [
            (0.3, 0.9999906941986655),
            (0.6, 0.8642827790506042),
            (0.99, 0.2808738392255489),
            (1.01, 0.25943416909359746),
            (1.36, 0.049485876755377876),
            (2.5, 7.453306344157342e-06),
        ] {
            assert!((beyond(x) - wanted).abs() < 1e-12, "{x}: {}", beyond(x));
        }
        assert_eq!(beyond(0.0), 1.0);
    }

    #[test]
    fn finite_samples_agree_with_the_exact_distribution() {
        // scipy.stats.kstwo.sf(distance, n): n values that lie a distance above the quantiles of the uniform
        // distribution.
        for (n, distance, wanted) in [
            (20, 0.1, 0.976255094592155),
            (20, 0.2, 0.352720173623415),
            (20, 0.3, 0.04306706665851623),
            (100, 0.08, 0.5182193645480672),
            (100, 0.136, 0.0448602997908478),
            (1000, 0.04, 0.07933956059000224),
        ] {
            let values: Vec<f64> = (0..n).map(|place| (f64::from(place) / f64::from(n) + distance).min(1.0)).collect();
            let test = kolmogorov_test(&values, |value| value).unwrap();
            assert!((test.distance - distance).abs() < 1e-12);
            assert!(
                (test.p_value - wanted).abs() < if wanted < 0.1 { 0.002 } else { 0.01 },
                "n {n}: {} is not {wanted}",
                test.p_value
            );
        }
    }

    #[test]
    fn the_distance_written_out() {
        // Of the mean 1: probabilities 0.0952, 0.3935, 0.6321 at 0.1, 0.5 and 1; the largest step is 1 − 0.6321.
        let test = exponential_test(&[1.0, 0.1, 0.5], 1.0).unwrap();
        assert!((test.distance - (-1.0_f64).exp()).abs() < 1e-12, "{}", test.distance);
        assert_eq!((exponential_test(&[], 1.0), exponential_test(&[1.0], 0.0)), (None, None));
    }

    #[test]
    fn tells_exponential_gaps_from_others() {
        let mut random = SplitMix64::new(8);
        let runs = 2000;
        let mut refused = 0;
        for _ in 0..runs {
            let gaps: Vec<f64> = (0..100).map(|_| -2.0 * (1.0 - random.unit()).ln()).collect();
            refused += u32::from(exponential_test(&gaps, 2.0).unwrap().p_value < 0.05);
        }
        let share = f64::from(refused) / f64::from(runs);
        assert!((0.04..0.06).contains(&share), "refused {share} of what is exponential");
        let even: Vec<f64> = (0..100).map(|_| 1.5 + random.unit()).collect();
        assert!(exponential_test(&even, 2.0).unwrap().p_value < 1e-6);
    }
}

//! Intervals for means and ratios of correlated observations.
//!
//! Requests of one run are not independent: neighbours share the same batch, the same cache, the same noise of the
//! machine. Resampling single requests would promise too much, so blocks of neighbours are resampled (Künsch, "The
//! jackknife and the bootstrap for general stationary observations", 1989). Blocks wrap around the end, so that every
//! observation is drawn equally often (Politis & Romano, "A circular block-resampling procedure", 1992).

use crate::{Interval, SplitMix64, student::t_975};

/// Resamples per interval. The standard error of a run of 2000 is itself known to about 1.6 %.
const RESAMPLES: usize = 2000;

/// Fewest observations for an interval: the same as for the median without any assumption.
pub const FEWEST: usize = 6;

/// Fewest blocks for an interval.
pub const FEWEST_BLOCKS: usize = 3;

/// How many neighbours are resampled together: the cube root of `n`, the order that Hall, Horowitz & Jing, "On blocking
/// rules for the bootstrap with dependent data" (1995), find best for a variance.
pub fn block_length(n: usize) -> usize {
    ((n as f64).cbrt().round() as usize).max(1)
}

/// The 95 % interval of the mean of positive observations in the order in which they were made.
///
/// `None` when there are fewer than six, or when they do not vary about a positive mean.
pub fn mean_interval(values: &[f64], seed: u64) -> Option<Interval> {
    let pairs: Vec<(f64, f64)> = values.iter().map(|value| (*value, 1.0)).collect();
    ratio_interval(&pairs, block_length(values.len()), seed)
}

/// The 95 % interval of `Σ numerators / Σ denominators`, such as tokens over time, of observations in the order in
/// which they were made; blocks hold `block` of them.
///
/// The interval is `ratio × exp(±t·s)`: `s` is the bootstrap's standard error of the logarithm, `t` is Student's with
/// as many degrees of freedom as there are blocks less one, and √(k/(k − 1)) makes good that resampling k blocks
/// shows only (k − 1)/k of their variance (Hesterberg, "What teachers should know about the bootstrap", 2015). On the
/// logarithm a rate and its inverse get the same interval, and no end is negative.
///
/// `None` when there are fewer than six observations or three blocks, or when the ratio or that of a resample is not a
/// positive number.
pub fn ratio_interval(pairs: &[(f64, f64)], block: usize, seed: u64) -> Option<Interval> {
    let n = pairs.len();
    let block = block.max(1);
    let blocks = n / block;
    if n < FEWEST || blocks < FEWEST_BLOCKS {
        return None;
    }
    // Sums up to each place of the observations laid out twice: a block's sum is then one difference, also where it
    // wraps around.
    let mut sums = Vec::with_capacity(2 * n + 1);
    let mut sum = (0.0, 0.0);
    sums.push(sum);
    for (numerator, denominator) in pairs.iter().chain(pairs) {
        sum = (sum.0 + numerator, sum.1 + denominator);
        sums.push(sum);
    }
    let ratio = sums[n].0 / sums[n].1;
    let mut random = SplitMix64::new(seed);
    let mut logarithms = Vec::with_capacity(RESAMPLES);
    for _ in 0..RESAMPLES {
        let mut drawn = (0.0, 0.0);
        let mut left = n;
        while left > 0 {
            let length = block.min(left);
            let start = random.below(n);
            drawn.0 += sums[start + length].0 - sums[start].0;
            drawn.1 += sums[start + length].1 - sums[start].1;
            left -= length;
        }
        logarithms.push((drawn.0 / drawn.1).ln());
    }
    let few_blocks = (blocks as f64 / (blocks - 1) as f64).sqrt();
    let half = t_975(blocks - 1) * few_blocks * crate::sample_std(&logarithms)?;
    let interval = Interval { low: ratio * (-half).exp(), high: ratio * half.exp() };
    (interval.low.is_finite() && interval.high.is_finite() && interval.low > 0.0).then_some(interval)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Positive observations; each keeps `memory` of its predecessor.
    fn series(random: &mut SplitMix64, n: usize, memory: f64) -> Vec<f64> {
        let mut state = 0.0;
        (0..n)
            .map(|_| {
                let noise: f64 = (0..12).map(|_| random.unit()).sum::<f64>() - 6.0;
                state = memory * state + noise;
                20.0 + state
            })
            .collect()
    }

    fn coverage(n: usize, memory: f64) -> f64 {
        let mut random = SplitMix64::new(5);
        let runs = 400;
        let covered = (0..runs)
            .filter(|run| {
                let interval = mean_interval(&series(&mut random, n, memory), *run).unwrap();
                (interval.low..=interval.high).contains(&20.0)
            })
            .count();
        covered as f64 / runs as f64
    }

    #[test]
    fn covers_the_true_mean_as_often_as_it_says() {
        for n in [6, 10, 30, 100] {
            let share = coverage(n, 0.0);
            assert!((0.92..=0.99).contains(&share), "n = {n}: covered {share}");
        }
    }

    #[test]
    fn still_nearly_so_when_neighbours_are_alike() {
        let share = coverage(400, 0.5);
        assert!(share > 0.88, "covered {share}");
    }

    #[test]
    fn agrees_with_the_known_standard_error() {
        // 1000 independent values with mean 20 and standard deviation 1: half of the interval is 1.96 / √1000 = 0.062,
        // a little more for 100 blocks.
        let interval = mean_interval(&series(&mut SplitMix64::new(9), 1000, 0.0), 1).unwrap();
        let half = (interval.high - interval.low) / 2.0;
        assert!((0.050..0.078).contains(&half), "{half}");
    }

    #[test]
    fn a_rate_and_its_inverse_agree() {
        let mut random = SplitMix64::new(2);
        let pairs: Vec<_> = (0..60).map(|_| (1.0, 1.0 + random.unit())).collect();
        let inverse: Vec<_> = pairs.iter().map(|(tokens, time)| (*time, *tokens)).collect();
        let rate = ratio_interval(&pairs, 4, 7).unwrap();
        let time = ratio_interval(&inverse, 4, 7).unwrap();
        assert!((rate.low * time.high - 1.0).abs() < 1e-9);
    }

    #[test]
    fn too_little_gives_no_interval() {
        assert_eq!(mean_interval(&[1.0, 2.0, 3.0, 4.0, 5.0], 1), None, "five observations");
        assert_eq!(ratio_interval(&[(1.0, 1.0); 20], 10, 1), None, "two blocks");
        assert_eq!(ratio_interval(&[(1.0, 0.0); 20], 2, 1), None, "no time passed");
        assert_eq!(ratio_interval(&[(0.0, 1.0); 20], 2, 1), None, "nothing was done");
    }

    #[test]
    fn block_lengths() {
        assert_eq!([0, 1, 6, 10, 100, 1000].map(block_length), [1, 1, 2, 2, 5, 10]);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        #[test]
        fn holds_the_estimate_and_is_reproducible(values in prop::collection::vec(0.001..1e6_f64, 6..60), seed: u64) {
            if let Some(interval) = mean_interval(&values, seed) {
                let mean = crate::mean(&values).unwrap();
                prop_assert!(interval.low <= mean * (1.0 + 1e-12) && mean <= interval.high * (1.0 + 1e-12));
                prop_assert_eq!(Some(interval), mean_interval(&values, seed));
            }
        }
    }
}

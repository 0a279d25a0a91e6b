//! Intervals for means and ratios of correlated observations.
//!
//! Requests of one run are not independent: neighbours share the same batch, the same cache, the same noise of the
//! machine. Resampling single requests would promise too much, so blocks of neighbours are resampled (Künsch, "The
//! jackknife and the bootstrap for general stationary observations", 1989). Blocks wrap around the end, so that every
//! observation is drawn equally often (Politis & Romano, "A circular block-resampling procedure", 1992).

use crate::block::block_length;
use crate::student::t_975;
use crate::{Estimate, Interval, SplitMix64};

/// Resamples per interval. The standard error is then itself known to about 2.2 %.
const RESAMPLES: usize = 1000;

/// Fewest observations for an interval: the same as for the median without any assumption.
pub const FEWEST: usize = 6;

/// Fewest blocks for an interval.
pub const FEWEST_BLOCKS: usize = 3;

impl Estimate {
    /// The mean of positive observations in the order in which they were made, in blocks of at least `block`; see
    /// [`ratio`](Self::ratio).
    ///
    /// `None` when there are fewer than six, or when they do not vary about a positive mean.
    pub fn mean(values: &[f64], block: usize, seed: u64) -> Option<Self> {
        let pairs: Vec<(f64, f64)> = values.iter().map(|value| (*value, 1.0)).collect();
        Self::ratio(&pairs, block, seed)
    }

    /// `Σ numerators / Σ denominators`, such as tokens over time, of observations in the order in which they were made.
    /// Blocks hold as many as [`block_length`] says of what each observation adds to the ratio, and at least `block`.
    ///
    /// The interval is `ratio × exp(±t·s)`: `s` is the bootstrap's standard error of the logarithm, `t` is Student's with
    /// as many degrees of freedom as there are blocks less one, and √(k/(k − 1)) makes good that resampling k blocks
    /// shows only (k − 1)/k of their variance (Hesterberg, "What teachers should know about the bootstrap", 2015). On
    /// the logarithm a rate and its inverse get the same interval, and no end is negative.
    ///
    /// `None` when there are fewer than six observations or three blocks, or when the ratio or that of a resample is not
    /// a positive number.
    pub fn ratio(pairs: &[(f64, f64)], block: usize, seed: u64) -> Option<Self> {
        let n = pairs.len();
        let block = block.max(block_length(&parts(pairs)));
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
        let value = sums[n].0 / sums[n].1;
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
        let degrees = (blocks - 1) as f64;
        let half = t_975(degrees) * few_blocks * crate::sample_std(&logarithms)?;
        let interval = Interval { low: value * (-half).exp(), high: value * half.exp() };
        (interval.low.is_finite() && interval.high.is_finite() && interval.low > 0.0).then_some(Self {
            value,
            interval,
            degrees,
            least_p: 0.0,
        })
    }
}

/// What each observation adds to the ratio, up to a constant: the parts add up to zero.
pub(crate) fn parts(pairs: &[(f64, f64)]) -> Vec<f64> {
    let sum = pairs.iter().fold((0.0, 0.0), |sum, pair| (sum.0 + pair.0, sum.1 + pair.1));
    pairs.iter().map(|(a, b)| a * sum.1 - sum.0 * b).collect()
}

/// The 95 % interval of [`Estimate::mean`], of observations made one after another.
pub fn mean_interval(values: &[f64], seed: u64) -> Option<Interval> {
    Estimate::mean(values, 1, seed).map(|it| it.interval)
}

/// The 95 % interval of [`Estimate::ratio`].
pub fn ratio_interval(pairs: &[(f64, f64)], block: usize, seed: u64) -> Option<Interval> {
    Estimate::ratio(pairs, block, seed).map(|it| it.interval)
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

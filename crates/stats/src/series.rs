//! Observations in the order in which they were made, for intervals of their mean or ratio.

use crate::bootstrap::parts;
use crate::{Estimate, Interval, correlation};

/// Most batches that are kept; when there are more, neighbours are put together. They take a megabyte.
const MOST_BATCHES: usize = 1 << 16;

/// Pairs of numerator and denominator in the order in which they were observed.
///
/// Up to 65 536 of them are kept as they are. Beyond that neighbours are added up into batches of equal size, which
/// doubles as often as needed, so that memory does not grow. Since the bootstrap resamples blocks of neighbours anyway,
/// little is lost.
#[derive(Clone, Debug)]
pub struct Series {
    /// Sums over `batch` observations each, the last perhaps over fewer.
    batches: Vec<(f64, f64)>,
    batch: u64,
    count: u64,
    /// Sums of the squares of numerators, of the products, of the squares of denominators.
    squares: (f64, f64, f64),
}

impl Default for Series {
    fn default() -> Self {
        Self { batches: Vec::new(), batch: 1, count: 0, squares: (0.0, 0.0, 0.0) }
    }
}

impl Series {
    /// Takes the next observation of a mean.
    pub fn push(&mut self, value: f64) {
        self.push_pair(value, 1.0);
    }

    /// Takes the next observation of a ratio, such as tokens and the time that they took.
    pub fn push_pair(&mut self, numerator: f64, denominator: f64) {
        if self.count == self.batch * MOST_BATCHES as u64 {
            self.batches = self.batches.chunks(2).map(|pair| (pair[0].0 + pair[1].0, pair[0].1 + pair[1].1)).collect();
            self.batch *= 2;
        }
        if self.count.is_multiple_of(self.batch) {
            self.batches.push((0.0, 0.0));
        }
        if let Some(open) = self.batches.last_mut() {
            open.0 += numerator;
            open.1 += denominator;
        }
        self.count += 1;
        self.squares.0 += numerator * numerator;
        self.squares.1 += numerator * denominator;
        self.squares.2 += denominator * denominator;
    }

    /// How many observations there are.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The 95 % interval of `Σ numerators / Σ denominators`; blocks hold at least `block` observations. See
    /// [`Estimate::ratio`].
    pub fn interval(&self, block: u64, seed: u64) -> Option<Interval> {
        self.estimate(block, seed).map(|it| it.interval)
    }

    /// The ratio with that interval.
    pub fn estimate(&self, block: u64, seed: u64) -> Option<Estimate> {
        Estimate::ratio(&self.batches, block.div_ceil(self.batch) as usize, seed)
    }

    /// The number of independent observations that would know the ratio as well as these; see
    /// [`effective_n`](crate::effective_n). `None` of nothing.
    pub fn effective_n(&self) -> Option<f64> {
        let parts = parts(&self.batches);
        let effective = correlation::effective_n(&parts)?;
        if self.batch == 1 {
            return Some(effective);
        }
        // Observations in a batch are correlated too: compare the variance of the sum of all parts, as the batches
        // show it, with what it would be if the observations were independent.
        let sum = self.batches.iter().fold((0.0, 0.0), |sum, batch| (sum.0 + batch.0, sum.1 + batch.1));
        let (aa, ab, bb) = self.squares;
        let independent = sum.1 * sum.1 * aa - 2.0 * sum.1 * sum.0 * ab + sum.0 * sum.0 * bb;
        let batches = parts.len() as f64;
        let seen = parts.iter().map(|part| part * part).sum::<f64>() * batches / effective;
        let n = self.count as f64;
        Some(if seen > 0.0 { (n * independent / seen).clamp(1.0, n) } else { n })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SplitMix64;

    /// Values about 20 that keep `memory` of their predecessor, as a series and as a list.
    fn alike(n: usize, memory: f64) -> (Series, Vec<f64>) {
        let mut random = SplitMix64::new(7);
        let mut state = 0.0;
        let mut next = || {
            state = memory * state + random.unit() - 0.5;
            20.0 + state
        };
        let values: Vec<f64> = (0..n).map(|_| next()).collect();
        let mut series = Series::default();
        values.iter().for_each(|value| series.push(*value));
        (series, values)
    }

    #[test]
    fn few_observations_are_kept_as_they_are() {
        let (series, values) = alike(1000, 0.5);
        assert_eq!(series.interval(1, 3), crate::mean_interval(&values, 3));
        let (got, wanted) = (series.effective_n().unwrap(), crate::effective_n(&values).unwrap());
        assert!((got - wanted).abs() < 1e-6 * wanted, "{got} is not {wanted}");
    }

    #[test]
    fn many_observations_give_nearly_the_same_in_bounded_memory() {
        let n = 3 * MOST_BATCHES + 3;
        for memory in [0.0, 0.8] {
            let (series, values) = alike(n, memory);
            assert!(series.batches.len() <= MOST_BATCHES);
            assert_eq!((series.count(), series.batch), (n as u64, 4));
            let (got, wanted) = (series.interval(1, 3).unwrap(), crate::mean_interval(&values, 3).unwrap());
            let (width, right) = (got.high - got.low, wanted.high - wanted.low);
            assert!((0.9..1.1).contains(&(width / right)), "memory {memory}: {width} is not {right}");
            let mean = crate::mean(&values).unwrap();
            assert!((got.low..got.high).contains(&mean));
            // x' = m x + noise is worth n (1 − m)/(1 + m).
            let worth = series.effective_n().unwrap() / (n as f64 * (1.0 - memory) / (1.0 + memory));
            assert!((0.8..1.2).contains(&worth), "memory {memory}: off by {worth}");
        }
    }

    #[test]
    fn nothing_and_no_variation() {
        assert_eq!((Series::default().interval(1, 1), Series::default().effective_n()), (None, None));
        let mut flat = Series::default();
        (0..3 * MOST_BATCHES).for_each(|_| flat.push(2.0));
        assert_eq!(flat.effective_n(), Some(3.0 * MOST_BATCHES as f64));
    }
}

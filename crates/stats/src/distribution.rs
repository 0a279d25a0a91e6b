//! Many values: exact while they are few, and within 0.1 % however many they become.

use crate::quantile::{at, interpolate, interval_places, quantile_worth};
use crate::{Batches, Estimate, Interval, Sketch, least_p_of_quantile};

/// Up to so many values are kept as they are; they take a megabyte.
const MOST_EXACT: usize = 1 << 17;

/// The distribution of values that arrive one by one.
///
/// Count, mean, spread and extremes are exact. Quantiles are exact up to 131 072 values; beyond that they come from a
/// [`Sketch`], so that memory does not grow, and [`relative_error`](Self::relative_error) says so.
#[derive(Clone, Debug)]
pub struct Distribution {
    count: u64,
    sum: f64,
    /// Mean so far and sum of the squared distances from it, by the method of Welford, "Note on a method for
    /// calculating corrected sums of squares and products" (1962).
    mean: f64,
    squares: f64,
    min: f64,
    max: f64,
    store: Store,
}

#[derive(Clone, Debug)]
enum Store {
    Exact(Vec<f64>),
    Sketch(Sketch),
}

impl Default for Distribution {
    fn default() -> Self {
        Self {
            count: 0,
            sum: 0.0,
            mean: 0.0,
            squares: 0.0,
            min: f64::INFINITY,
            max: f64::NEG_INFINITY,
            store: Store::Exact(Vec::new()),
        }
    }
}

impl Distribution {
    /// Takes a finite value.
    pub fn push(&mut self, value: f64) {
        self.count += 1;
        self.sum += value;
        let from_former = value - self.mean;
        self.mean += from_former / self.count as f64;
        self.squares += from_former * (value - self.mean);
        self.min = self.min.min(value);
        self.max = self.max.max(value);
        match &mut self.store {
            Store::Exact(values) if values.len() < MOST_EXACT => values.push(value),
            Store::Exact(values) => {
                let mut sketch = Sketch::default();
                values.iter().for_each(|value| sketch.push(*value));
                sketch.push(value);
                self.store = Store::Sketch(sketch);
            }
            Store::Sketch(sketch) => sketch.push(value),
        }
    }

    /// How many values there are.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The arithmetic mean; `None` of nothing.
    pub fn mean(&self) -> Option<f64> {
        // Rounding must not carry the mean of equal values past them.
        (self.count > 0).then(|| (self.sum / self.count as f64).clamp(self.min, self.max))
    }

    /// The sample standard deviation (divided by n − 1); `None` of fewer than two values.
    pub fn sample_std(&self) -> Option<f64> {
        (self.count > 1).then(|| (self.squares.max(0.0) / (self.count - 1) as f64).sqrt())
    }

    /// The smallest value; `None` of nothing.
    pub fn min(&self) -> Option<f64> {
        (self.count > 0).then_some(self.min)
    }

    /// The largest value; `None` of nothing.
    pub fn max(&self) -> Option<f64> {
        (self.count > 0).then_some(self.max)
    }

    /// How far a quantile can be off, as a share of it; `None` when quantiles are exact.
    pub fn relative_error(&self) -> Option<f64> {
        match self.store {
            Store::Exact(_) => None,
            Store::Sketch(_) => Some(Sketch::RELATIVE_ERROR),
        }
    }

    /// The values in ascending order, for as many quantiles as are wanted.
    pub fn ascending(&self) -> Ascending<'_> {
        let order = match &self.store {
            Store::Exact(values) => {
                let mut sorted = values.clone();
                sorted.sort_unstable_by(f64::total_cmp);
                Order::Exact(sorted)
            }
            Store::Sketch(sketch) => Order::Sketch(sketch),
        };
        Ascending { of: self, order }
    }
}

/// A [`Distribution`] in ascending order.
#[derive(Debug)]
pub struct Ascending<'a> {
    of: &'a Distribution,
    order: Order<'a>,
}

#[derive(Debug)]
enum Order<'a> {
    Exact(Vec<f64>),
    Sketch(&'a Sketch),
}

impl Ascending<'_> {
    /// The value with `rank`, which counts from zero and must be below the count.
    fn at(&self, rank: u64) -> f64 {
        match &self.order {
            Order::Exact(sorted) => sorted[rank as usize],
            Order::Sketch(_) if rank == 0 => self.of.min,
            Order::Sketch(_) if rank + 1 >= self.of.count => self.of.max,
            Order::Sketch(sketch) => sketch.at(rank).clamp(self.of.min, self.of.max),
        }
    }

    /// The `q` quantile; see [`quantile`](crate::quantile).
    pub fn quantile(&self, q: f64) -> Option<f64> {
        self.quantile_below_infinite(q, 0)
    }

    /// The `q` quantile of these values and of `infinite` more that lie above all of them: failures, which a user waits
    /// for in vain. `None` also when it is infinite.
    pub fn quantile_below_infinite(&self, q: f64, infinite: u64) -> Option<f64> {
        let finite = self.of.count;
        let (below, above, weight) = interpolate(finite + infinite, q)?;
        // Without weight the upper neighbour plays no part.
        let above = if weight == 0.0 { below } else { above };
        (above < finite).then(|| {
            let (low, high) = (self.at(below), self.at(above));
            low + (high - low) * weight
        })
    }

    /// The 95 % interval of the `q` quantile of values that are worth so many independent ones: the order statistics that
    /// lie as far out, in shares, as those of [`quantile_interval`](crate::quantile_interval) would among so many. An end
    /// that would lie beyond all values is the outermost one.
    pub fn quantile_interval(&self, q: f64, worth: f64) -> Option<Interval> {
        let (low, high) = interval_places(self.of.count, q, worth)?;
        Some(Interval { low: at(low, |rank| self.at(rank)), high: at(high, |rank| self.at(rank)) })
    }

    /// The `q` quantile of values in the order in which they were made, with its 95 % interval: what they are worth is
    /// seen from the spread of the share above the quantile over `batches` (the indicator method of Bloch & Gastwirth,
    /// "On a simple estimate of the reciprocal of the density function", 1968, and of Heidelberger & Lewis, "Quantile
    /// estimation in dependent sequences", 1984). Returned with that number.
    ///
    /// `None` when the batches are of another number of values, and when only a sketch is kept, which forgets the order.
    pub fn quantile_estimate(&self, q: f64, batches: &Batches) -> Option<(Estimate, f64)> {
        let Store::Exact(values) = &self.of.store else { return None };
        let value = self.quantile(q)?;
        let worth = quantile_worth(values, value, batches)?;
        let interval = self.quantile_interval(q, worth)?;
        let least_p = least_p_of_quantile(q, worth);
        Some((Estimate { value, interval, degrees: batches.degrees(), least_p }, worth.min(values.len() as f64)))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::SplitMix64;

    fn of(values: &[f64]) -> Distribution {
        let mut distribution = Distribution::default();
        values.iter().for_each(|value| distribution.push(*value));
        distribution
    }

    /// Latencies of two kinds, three orders of magnitude apart, with zeros among them.
    fn latencies(n: usize, seed: u64) -> Vec<f64> {
        let mut random = SplitMix64::new(seed);
        let one = |random: &mut SplitMix64| match random.below(10) {
            0 => 0.0,
            1..7 => -(1.0 - random.unit()).ln() * 0.01,
            _ => 10.0 - (1.0 - random.unit()).ln() * 5.0,
        };
        (0..n).map(|_| one(&mut random)).collect()
    }

    #[test]
    fn few_values_are_exact() {
        let values = latencies(MOST_EXACT, 3);
        let distribution = of(&values);
        let mut sorted = values.clone();
        sorted.sort_by(f64::total_cmp);
        assert_eq!(distribution.relative_error(), None);
        for q in [0.0, 0.1, 0.5, 0.99, 0.999, 1.0] {
            assert_eq!(distribution.ascending().quantile(q), crate::quantile(&sorted, q));
            assert_eq!(
                distribution.ascending().quantile_interval(q, MOST_EXACT as f64),
                crate::quantile_interval(&sorted, q)
            );
        }
    }

    #[test]
    fn many_values_are_within_a_thousandth() {
        let values = latencies(3 * MOST_EXACT, 4);
        let distribution = of(&values);
        let mut sorted = values.clone();
        sorted.sort_by(f64::total_cmp);
        let ascending = distribution.ascending();
        assert_eq!(distribution.relative_error(), Some(1.0 / 1024.0));
        for q in (0..=1000).map(|permille| f64::from(permille) / 1000.0) {
            let (got, exact) = (ascending.quantile(q).unwrap(), crate::quantile(&sorted, q).unwrap());
            assert!((got - exact).abs() <= exact * 0.001, "q {q}: {got} is not {exact}");
        }
        let (got, exact) =
            (ascending.quantile_interval(0.9, values.len() as f64), crate::quantile_interval(&sorted, 0.9));
        assert!((got.unwrap().high - exact.unwrap().high).abs() <= exact.unwrap().high * 0.001);
        assert_eq!((ascending.quantile(0.0), ascending.quantile(1.0)), (distribution.min(), distribution.max()));
        let (mean, std) = (crate::mean(&values).unwrap(), crate::sample_std(&values).unwrap());
        assert!((distribution.mean().unwrap() - mean).abs() < mean * 1e-9, "the mean stays exact");
        assert!((distribution.sample_std().unwrap() - std).abs() < std * 1e-9, "so does the spread");
    }

    #[test]
    fn infinite_values_are_the_last_ranks() {
        let distribution = of(&[1.0, 2.0, 3.0]);
        let ascending = distribution.ascending();
        // 1 2 3 ∞: the median lies between 2 and 3, the p90 between 3 and ∞.
        assert_eq!(ascending.quantile_below_infinite(0.5, 1), Some(2.5));
        assert_eq!(ascending.quantile_below_infinite(0.9, 1), None);
        // 1 2 3 ∞ ∞: the median is 3 itself.
        assert_eq!(ascending.quantile_below_infinite(0.5, 2), Some(3.0));
        assert_eq!(of(&[]).ascending().quantile_below_infinite(0.5, 2), None);
    }

    #[test]
    fn nothing_has_no_figures() {
        let nothing = of(&[]);
        assert_eq!((nothing.mean(), nothing.min(), nothing.max(), nothing.sample_std()), (None, None, None, None));
        assert_eq!((nothing.ascending().quantile(0.5), nothing.ascending().quantile_interval(0.5, 1.0)), (None, None));
        assert_eq!(of(&[3.0]).sample_std(), None);
    }

    proptest! {
        #[test]
        fn agrees_with_the_closed_forms(values in prop::collection::vec(-1e6..1e6_f64, 2..200)) {
            let distribution = of(&values);
            let mean = crate::mean(&values).unwrap();
            let std = crate::sample_std(&values).unwrap();
            prop_assert!((distribution.mean().unwrap() - mean).abs() <= 1e-6);
            prop_assert!((distribution.sample_std().unwrap() - std).abs() <= std * 1e-9);
            prop_assert_eq!((distribution.min(), distribution.max()), (crate::min(&values), crate::max(&values)));
        }
    }
}

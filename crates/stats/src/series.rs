//! Observations in the order in which they were made, for intervals of their mean or ratio.

use crate::{Batches, Estimate, correlation};

/// Most batches that are kept; when there are more, neighbours are put together. They take a megabyte.
const MOST_BATCHES: usize = 1 << 16;

/// Pairs of numerator and denominator in the order in which they were observed.
///
/// Up to 65 536 of them are kept as they are. Beyond that neighbours are added up into batches of equal size, which
/// doubles as often as needed, so that memory does not grow. Since neighbors are added up to longer batches anyway, little
/// is lost.
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

    /// `Σ numerators / Σ denominators`, such as tokens over time, with its 95 % interval from the spread of `batches`.
    ///
    /// `None` when the batches are of another number of observations, or when the ratio is not a positive number.
    pub fn estimate(&self, batches: &Batches) -> Option<Estimate> {
        self.with_variance(batches, self.relative_variance(batches)?)
    }

    /// The throughput of a closed loop: amounts over the time since the former end are `self`, and amounts over the time
    /// that each request took are `by_latency`.
    ///
    /// By the law of Little the throughput of a full loop is its cap over the mean latency, which is what the spread comes
    /// from: requests that end together make the times from end to end jump from one batch to the next. To this comes what
    /// the end of the run adds, when slots are empty until the last request ends. For exponential latencies that idle time
    /// per slot has (Σ (1/i − 1/N)²) times their variance, over i from 1 to the N that ran at once (by the spacings of
    /// Rényi, "On the theory of order statistics", 1953); where latencies are alike, it is as uncertain as the ends of two
    /// batches, which show in how much their times vary more than their latencies.
    pub fn closed_loop_throughput(&self, by_latency: &Self, batches: &Batches) -> Option<Estimate> {
        let (by_end, inner) = (self.relative_variance(batches)?, by_latency.relative_variance(batches)?);
        let ends = 2.0 * (by_end - inner).max(0.0) / batches.count() as f64;
        let (n, (_, time), (_, latencies)) = (self.count as f64, sum(&self.batches), sum(&by_latency.batches));
        let latency_variance = (by_latency.squares.2 / n - (latencies / n).powi(2)).max(0.0);
        let slots = batches.round() as f64;
        let spacings: f64 = (1..=batches.round()).map(|slot| (1.0 / slot as f64 - 1.0 / slots).powi(2)).sum();
        self.with_variance(batches, inner + ends.max(spacings * latency_variance / (time * time)))
    }

    fn with_variance(&self, batches: &Batches, relative_variance: f64) -> Option<Estimate> {
        let sum = sum(&self.batches);
        let value = sum.0 / sum.1;
        let interval = batches.interval(value, relative_variance)?;
        Some(Estimate { value, interval, degrees: batches.degrees(), least_p: 0.0 })
    }

    /// Of the ratio; what the batches leave out counts in the ratio and not in its spread.
    fn relative_variance(&self, batches: &Batches) -> Option<f64> {
        if batches.n() as u64 != self.count {
            return None;
        }
        let merged = usize::try_from(self.batch).ok()?;
        let sums: Vec<(f64, f64)> = batches.ranges(merged).map(|places| sum(&self.batches[places])).collect();
        let (all, seen) = (sum(&self.batches), sum(&sums));
        // Relative to the ratio of all.
        let share = (seen.0 / seen.1) / (all.0 / all.1);
        Some(batches.relative_variance(&sums)? * share * share).filter(|it| it.is_finite())
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
        let sum = sum(&self.batches);
        let (aa, ab, bb) = self.squares;
        let independent = sum.1 * sum.1 * aa - 2.0 * sum.1 * sum.0 * ab + sum.0 * sum.0 * bb;
        let batches = parts.len() as f64;
        let seen = parts.iter().map(|part| part * part).sum::<f64>() * batches / effective;
        let n = self.count as f64;
        Some(if seen > 0.0 { (n * independent / seen).clamp(1.0, n) } else { n })
    }
}

fn sum(pairs: &[(f64, f64)]) -> (f64, f64) {
    pairs.iter().fold((0.0, 0.0), |sum, pair| (sum.0 + pair.0, sum.1 + pair.1))
}

/// What each observation adds to the ratio, up to a constant: the parts add up to zero.
fn parts(pairs: &[(f64, f64)]) -> Vec<f64> {
    let sum = sum(pairs);
    pairs.iter().map(|(a, b)| a * sum.1 - sum.0 * b).collect()
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
        let (got, wanted) = (series.effective_n().unwrap(), crate::effective_n(&values).unwrap());
        assert!((got - wanted).abs() < 1e-6 * wanted, "{got} is not {wanted}");
    }

    #[test]
    fn the_spread_of_a_mean_is_that_of_its_batches() {
        // Five batches of one after the first: s = √2.5 about a mean of 3, and Student's t of 4 degrees is 2.7764.
        let mut series = Series::default();
        [100.0, 1.0, 2.0, 3.0, 4.0, 5.0].into_iter().for_each(|value| series.push(value));
        let found = series.estimate(&Batches::of_closed_loop(6, 1).unwrap()).unwrap();
        let value: f64 = 115.0 / 6.0;
        let half: f64 = 2.776_445_105 * 0.5_f64.sqrt() / value;
        assert!((found.value - value).abs() < 1e-12 && found.degrees == 4.0);
        assert!((found.interval.high - value * half.exp()).abs() < 1e-6, "{found:?}");
        assert!((found.interval.low - value * (-half).exp()).abs() < 1e-6, "{found:?}");
        assert_eq!(series.estimate(&Batches::of_closed_loop(7, 1).unwrap()), None, "of other observations");
    }

    #[test]
    fn many_observations_give_nearly_the_same_in_bounded_memory() {
        let n = 3 * MOST_BATCHES + 3;
        for memory in [0.0, 0.8] {
            let (series, values) = alike(n, memory);
            assert!(series.batches.len() <= MOST_BATCHES);
            assert_eq!((series.count(), series.batch), (n as u64, 4));
            let whole =
                Series { batches: values.iter().map(|value| (*value, 1.0)).collect(), batch: 1, ..series.clone() };
            let batches = Batches::of_closed_loop(n as u64, 7).unwrap();
            let width =
                |series: &Series| series.estimate(&batches).map(|it| it.interval.high - it.interval.low).unwrap();
            let (got, wanted) = (width(&series), width(&whole));
            assert!((got / wanted - 1.0).abs() < 0.01, "memory {memory}: {got} is not {wanted}");
            // x' = m x + noise is worth n (1 − m)/(1 + m).
            let worth = series.effective_n().unwrap() / (n as f64 * (1.0 - memory) / (1.0 + memory));
            assert!((0.8..1.2).contains(&worth), "memory {memory}: off by {worth}");
        }
    }

    #[test]
    fn a_rate_and_its_inverse_agree() {
        let mut random = SplitMix64::new(2);
        let (mut rate, mut time) = (Series::default(), Series::default());
        for _ in 0..60 {
            let took = 1.0 + random.unit();
            rate.push_pair(1.0, took);
            time.push_pair(took, 1.0);
        }
        let batches = Batches::of_closed_loop(60, 4).unwrap();
        let [rate, time] = [rate, time].map(|series| series.estimate(&batches).unwrap().interval);
        assert!((rate.low * time.high - 1.0).abs() < 0.01, "{rate:?} {time:?}");
    }

    #[test]
    fn ends_in_step_do_not_widen_the_throughput() {
        // Rounds of four that end together, each of its own length: the times from end to end are all in one of four.
        let mut random = SplitMix64::new(3);
        let (mut by_end, mut by_latency) = (Series::default(), Series::default());
        for _ in 0..50 {
            let took = 1.0 + 0.01 * random.unit();
            for place in 0..4 {
                by_end.push_pair(1.0, if place == 0 { took } else { 0.0 });
                by_latency.push_pair(1.0, took);
            }
        }
        // Batches of rounds of three are out of step with them.
        let batches = Batches::of_closed_loop(200, 3).unwrap();
        let width = |estimate: Estimate| estimate.interval.high / estimate.interval.low - 1.0;
        let ends = width(by_end.estimate(&batches).unwrap());
        let both = by_end.closed_loop_throughput(&by_latency, &batches).unwrap();
        assert!(width(both) < 0.5 * ends && width(both) > width(by_latency.estimate(&batches).unwrap()));
        assert_eq!(both.value, by_end.estimate(&batches).unwrap().value);
    }

    #[test]
    fn nothing_and_no_variation() {
        let nothing = Series::default();
        assert_eq!((nothing.estimate(&Batches::few(6).unwrap()), nothing.effective_n()), (None, None));
        let mut flat = Series::default();
        (0..3 * MOST_BATCHES).for_each(|_| flat.push(2.0));
        assert_eq!(flat.effective_n(), Some(3.0 * MOST_BATCHES as f64));
    }
}

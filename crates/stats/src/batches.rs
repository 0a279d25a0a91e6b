//! How a run is cut into batches, whose spread shows how far its figures can be off.
//!
//! Requests of one run are not independent: neighbors share a queue, a batch of the server, the noise of the machine. Sums
//! over long batches of neighbors nearly are (the method of batch means: Conway, "Some tactical problems in digital
//! simulation", 1963; Schmeiser, "Batch size effects in the analysis of simulation output", 1982). Few batches with
//! Student's t hold the truth more often than many.
//!
//! The number of batches follows from the kind of load and from the number of requests, never from the values: a rule
//! that looked at the values would give an interval to the runs that happen to be calm, and those are too sure.

use std::ops::Range;

use crate::Interval;
use crate::student::t_975;

/// Batches of a closed loop when there are requests enough: Schmeiser finds little gain beyond 10 to 30.
const CLOSED_LOOP: usize = 10;

/// Fewest batches for an interval.
const FEWEST: usize = 4;

/// Requests of a batch of an open loop when there are as few batches as possible.
const OPEN_LOOP_LENGTH: usize = 1250;

/// Correlations Σ ρ between the waiting times of an M/M/1 queue at 90 % load, over all distances: 1 + 2 Σ ρ is
/// (2 + 5u − 4u² + u³) / ((2 − u)(1 − u)²) at load u (Blomqvist, "The covariance function of the M/G/1 queuing system",
/// 1967; Whitt, "Planning queueing simulations", 1989). Over the length of a batch it is twice the correlation between
/// neighboring batches that a geometric decline would leave, and about what this queue leaves.
const QUEUE: f64 = 180.8;

/// Most correlation between neighboring batches that is allowed for.
const MAX_CORRELATION: f64 = 0.15;

/// Fewest requests on either side of a quantile: of a closed and of an open loop.
const CLOSED_LOOP_SIDE: f64 = 10.0;
const OPEN_LOOP_SIDE: f64 = 2500.0;

/// Arrivals of a batch that shows the spread of an open loop's throughput, and the fewest and most of such batches.
const ARRIVALS: usize = 50;
const ARRIVAL_BATCHES: (usize, usize) = (5, 20);

/// Consecutive observations in batches of nearly equal size. The first of them may be left out.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Batches {
    n: usize,
    skipped: usize,
    count: usize,
    /// Batches hold a multiple of so many observations.
    round: usize,
    /// Correlation between neighboring batches that is allowed for.
    correlation: f64,
}

impl Batches {
    /// Those of `n` requests of a closed loop, in the order in which they ended, of which `concurrency` ran at once: whole
    /// rounds of so many, since requests that start together end together. The first round is left out: it fills the
    /// loop, which is the same in every run and would pass for spread.
    ///
    /// `None` for fewer than [`closed_loop_needs`](Self::closed_loop_needs).
    pub fn of_closed_loop(n: u64, concurrency: u64) -> Option<Self> {
        if n < Self::closed_loop_needs(concurrency) {
            return None;
        }
        let (n, round) = (n as usize, concurrency.max(1) as usize);
        let count = CLOSED_LOOP.min((n - round) / round);
        Some(Self { n, skipped: round, count, round, correlation: 0.0 })
    }

    /// Those of `n` requests of an open loop. Requests that queue are alike for as long as the queue lasts, which the
    /// client cannot know: batches are long enough for a queue at 90 % load, and an allowance is made for the correlation
    /// that is left between them. As `n` grows, so do the number and the length of batches.
    ///
    /// `None` for fewer than [`open_loop_needs`](Self::open_loop_needs) says of the median.
    pub fn of_open_loop(n: u64) -> Option<Self> {
        (n >= Self::open_loop_needs(0.5)).then(|| Self::few(n)).flatten()
    }

    /// As few batches as can be, with the allowance of an open loop, of any number of observations from six: for a first
    /// look at whether a run changed. At small numbers they are too sure.
    pub fn few(n: u64) -> Option<Self> {
        let n = n as usize;
        let most = FEWEST * OPEN_LOOP_LENGTH;
        let count = (FEWEST as f64 * (n as f64 / most as f64).sqrt().max(1.0)) as usize;
        let correlation = (QUEUE * count as f64 / n as f64).min(MAX_CORRELATION);
        (n >= crate::FEWEST).then_some(Self { n, skipped: 0, count, round: 1, correlation })
    }

    /// Those of `n` arrivals that an open loop planned, which do not depend on the server. `None` for fewer than
    /// [`arrivals_need`](Self::arrivals_need).
    pub fn of_arrivals(n: u64) -> Option<Self> {
        let n = n as usize;
        let count = (n / ARRIVALS).min(ARRIVAL_BATCHES.1);
        (count >= ARRIVAL_BATCHES.0).then_some(Self { n, skipped: 0, count, round: 1, correlation: 0.0 })
    }

    /// Fewest requests of a closed loop for an interval.
    pub fn closed_loop_needs(concurrency: u64) -> u64 {
        (crate::FEWEST as u64).max((FEWEST as u64 + 1) * concurrency.max(1))
    }

    /// Fewest requests of a closed loop for an interval of the `q` quantile: ten on either side of it.
    pub fn quantile_needs(q: f64) -> u64 {
        needs(CLOSED_LOOP_SIDE, q)
    }

    /// Fewest requests of an open loop for an interval of the `q` quantile; a mean needs as many as the median.
    pub fn open_loop_needs(q: f64) -> u64 {
        needs(OPEN_LOOP_SIDE, q)
    }

    /// Fewest requests of an open loop for an interval of its throughput.
    pub fn arrivals_need() -> u64 {
        (ARRIVAL_BATCHES.0 * ARRIVALS) as u64
    }

    /// How many observations they are of.
    pub(crate) fn n(&self) -> usize {
        self.n
    }

    /// Requests of a round of a closed loop; else 1.
    pub(crate) fn round(&self) -> usize {
        self.round
    }

    /// How many batches there are.
    pub fn count(&self) -> usize {
        self.count
    }

    /// Degrees of freedom of a spread that they show.
    pub fn degrees(&self) -> f64 {
        self.count as f64 - 1.0
    }

    /// Half of a 95 % interval, in standard errors.
    pub(crate) fn factor(&self) -> f64 {
        t_975(self.degrees())
    }

    /// Places of the observations of each batch, when `merged` neighbors were added up to one.
    pub(crate) fn ranges(&self, merged: usize) -> impl Iterator<Item = Range<usize>> {
        let Self { n, skipped, count, round, .. } = *self;
        let rounds = (n - skipped) / round;
        let place = move |batch: usize| {
            let end = if batch == count { n - skipped } else { batch * rounds / count * round };
            (skipped + end).div_ceil(merged)
        };
        (0..count).map(move |batch| place(batch)..place(batch + 1))
    }

    /// The variance of the ratio `Σ a / Σ b` of all observations, given the sums of both over each batch; relative to the
    /// square of the ratio. By the delta method, with the spread of batches about their own ratio, times what correlation
    /// between neighbors hides: with correlation r, k batches show 1 − 2r/k of their variance, and the mean has
    /// 1 + 2r (1 − 1/k) times the variance of one of independent batches.
    ///
    /// `None` when a batch or the sum is not a positive number.
    pub(crate) fn relative_variance(&self, sums: &[(f64, f64)]) -> Option<f64> {
        let (a, b) = sums.iter().fold((0.0, 0.0), |sum, batch| (sum.0 + batch.0, sum.1 + batch.1));
        let k = self.count as f64;
        let squares: f64 = sums.iter().map(|batch| (batch.0 / a - batch.1 / b).powi(2)).sum();
        let hidden = (1.0 + 2.0 * self.correlation * (1.0 - 1.0 / k)) / (1.0 - 2.0 * self.correlation / k);
        (a > 0.0 && b > 0.0).then_some(hidden * squares * k / (k - 1.0)).filter(|it| it.is_finite())
    }

    /// The interval of a positive `value` with this relative variance: `value × exp(±t·s)`. On the logarithm a rate and
    /// its inverse have the same interval, no end is negative, and the skew of waiting times does less harm.
    pub(crate) fn interval(&self, value: f64, relative_variance: f64) -> Option<Interval> {
        let half = self.factor() * relative_variance.sqrt();
        let interval = Interval { low: value * (-half).exp(), high: value * half.exp() };
        (interval.low > 0.0 && interval.high.is_finite()).then_some(interval)
    }
}

/// The fewest values of which `side` are expected on either side of the `q` quantile.
fn needs(side: f64, q: f64) -> u64 {
    // A hair less, so that rounding asks for no value more.
    (side / q.min(1.0 - q) - 1e-6).ceil() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(batches: Batches) -> Vec<Range<usize>> {
        batches.ranges(1).collect()
    }

    #[test]
    fn a_closed_loop_has_whole_rounds_without_the_first() {
        let batches = Batches::of_closed_loop(25, 4).unwrap();
        assert_eq!(places(batches), [4..8, 8..12, 12..16, 16..20, 20..25]);
        let many = Batches::of_closed_loop(1000, 4).unwrap();
        assert_eq!((many.count(), places(many)[0].clone(), places(many)[9].end), (10, 4..100, 1000));
        assert_eq!((Batches::of_closed_loop(19, 4), Batches::of_closed_loop(5, 1)), (None, None));
        assert_eq!(Batches::of_closed_loop(6, 1).unwrap().count(), 5);
        assert_eq!(Batches::of_closed_loop(6, 0), Batches::of_closed_loop(6, 1));
    }

    #[test]
    fn an_open_loop_has_few_long_batches() {
        assert_eq!(Batches::of_open_loop(4999), None);
        let counts = [5000, 20_000, 80_000].map(|n| Batches::of_open_loop(n).unwrap().count());
        assert_eq!(counts, [4, 8, 16]);
        assert_eq!([0.5, 0.95, 0.05, 0.99].map(Batches::open_loop_needs), [5000, 50_000, 50_000, 250_000]);
        assert_eq!([0.5, 0.9, 0.95, 0.99, 0.999].map(Batches::quantile_needs), [20, 100, 200, 1000, 10_000]);
        // 180.8 / 1250 between batches of 1250.
        assert!((Batches::of_open_loop(5000).unwrap().correlation - 0.144_64).abs() < 1e-12);
        assert_eq!((Batches::few(5), Batches::few(40).unwrap().count()), (None, 4));
    }

    #[test]
    fn the_queue_allowed_for_is_at_ninety_percent() {
        let load: f64 = 0.9;
        let sum = (2.0 + 5.0 * load - 4.0 * load.powi(2) + load.powi(3)) / ((2.0 - load) * (1.0 - load).powi(2));
        assert!(((sum - 1.0) / 2.0 - QUEUE).abs() < 0.05, "{sum}");
    }

    #[test]
    fn arrivals_come_in_batches_of_fifty() {
        let counts = [249, 250, 620, 5000].map(|n| Batches::of_arrivals(n).map(|batches| batches.count()));
        assert_eq!(counts, [None, Some(5), Some(12), Some(20)]);
        assert_eq!(Batches::arrivals_need(), 250);
    }

    #[test]
    fn merged_observations_fall_into_the_same_batches() {
        let batches = Batches::of_arrivals(1000).unwrap();
        assert_eq!(batches.ranges(1).nth(1), Some(50..100));
        assert_eq!((batches.ranges(8).nth(1), batches.ranges(8).last()), (Some(7..13), Some(119..125)));
    }

    #[test]
    fn the_variance_written_out() {
        // Means 1, 2, 3, 4 of batches of equal size: s²/k = (5/3)/4, over 2.5².
        let batches = Batches { n: 4, skipped: 0, count: 4, round: 1, correlation: 0.0 };
        let sums = [(1.0, 1.0), (2.0, 1.0), (3.0, 1.0), (4.0, 1.0)];
        let plain = batches.relative_variance(&sums).unwrap();
        assert!((plain - 5.0 / 12.0 / 6.25).abs() < 1e-12, "{plain}");
        // r = 0.1: (1 + 0.15) / (1 − 0.05) of it.
        let allowed = Batches { correlation: 0.1, ..batches }.relative_variance(&sums).unwrap();
        assert!((allowed / plain - 1.15 / 0.95).abs() < 1e-12, "{allowed}");
        assert_eq!(batches.relative_variance(&[(0.0, 1.0); 4]), None, "nothing was done");
        assert_eq!(batches.relative_variance(&[(1.0, 0.0); 4]), None, "no time passed");
    }
}

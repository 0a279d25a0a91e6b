//! When requests are due, in numbers.

use std::fmt::Write;

use sagellm_core::{Arrival, Nanos};

use super::gamma;
use crate::arrival::Rescaled;

/// Bins of the share of smaller gaps; the distance is known to one part in so many.
const BINS: usize = 1 << 16;
/// Stretches of time in the plot.
const STRETCHES: usize = 20;
/// Characters of the longest bar.
const BAR: usize = 50;

/// Numbers of the arrivals of a plan: of its requests, or of its conversations. Gaps are those from one to the next.
#[derive(Clone, Debug, PartialEq)]
pub struct ArrivalStats {
    /// Arrivals.
    pub count: u64,
    /// When the last one is due, in seconds.
    pub last_s: f64,
    /// Gaps per second between the first and the last; `None` when they are at one time.
    pub rate: Option<f64>,
    /// Standard deviation of the gaps in units of their mean: 1 for a Poisson process.
    pub cv: Option<f64>,
    /// Variance of the arrivals per whole second in units of their mean: 1 for a Poisson process. `None` with fewer than
    /// two whole seconds.
    pub dispersion_1s: Option<f64>,
    /// The same per 5 s.
    pub dispersion_5s: Option<f64>,
    /// Correlation of each gap with the next; `None` when all are equal.
    pub lag1: Option<f64>,
    /// Kolmogorov and Smirnov's distance between the gaps, each measured by the integral of the stated rate over it, and
    /// the gamma distribution of the process; known to 1/65536. `None` where the process has no random gaps. A process of
    /// that law exceeds 1.36/√count once in 20 times, and 2.9/√count once in ten million.
    pub ks: Option<f64>,
    /// Twenty stretches of equal length from zero to the last arrival; none when all are due at once.
    pub bins: Vec<TimeBin>,
}

/// Arrivals in a stretch of time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TimeBin {
    /// Its beginning in seconds.
    pub from_s: f64,
    /// Its end.
    pub to_s: f64,
    /// Arrivals in it.
    pub count: u64,
}

impl ArrivalStats {
    /// The numbers of arrivals at ascending offsets, drawn from a process or taken down when they came.
    pub fn of(arrival: &Arrival, offsets: &[Nanos]) -> Self {
        let last = offsets.last().copied().unwrap_or(0);
        let mut pass = ArrivalPass::new(arrival, offsets.len() as u64, last);
        offsets.iter().for_each(|at| pass.add(*at));
        pass.finish()
    }

    /// The arrivals over time as lines of text with a bar each; empty when all are due at once.
    pub fn plot(&self) -> String {
        let most = self.bins.iter().map(|bin| bin.count).max().unwrap_or(0).max(1);
        let mut text = String::new();
        for bin in &self.bins {
            let length = (bin.count * BAR as u64).div_ceil(most) as usize;
            let per_s = bin.count as f64 / (bin.to_s - bin.from_s);
            // Writing to a string cannot fail.
            let _ = writeln!(text, "{:>9.2} s  {per_s:>9.2}/s  {}", bin.from_s, "█".repeat(length));
        }
        text
    }
}

/// Sums over the arrivals that pass.
#[derive(Debug)]
pub(super) struct ArrivalPass {
    count: u64,
    last: Nanos,
    previous: Option<Nanos>,
    first: Nanos,
    gaps: Gaps,
    windows: [Windows; 2],
    distance: Option<Distance>,
    bins: [u64; STRETCHES],
}

impl ArrivalPass {
    /// `count` arrivals, of which the last one is due at `last`.
    pub(super) fn new(arrival: &Arrival, count: u64, last: Nanos) -> Self {
        Self {
            count: 0,
            last,
            previous: None,
            first: 0,
            gaps: Gaps { about: last as f64 / count.max(1) as f64, ..Gaps::default() },
            windows: [1, 5].map(|seconds| Windows::new(seconds, last)),
            distance: Rescaled::new(arrival, count).map(Distance::new),
            bins: [0; STRETCHES],
        }
    }

    pub(super) fn add(&mut self, at: Nanos) {
        self.count += 1;
        if let Some(previous) = self.previous {
            self.gaps.add((at - previous) as f64);
        } else {
            self.first = at;
        }
        self.previous = Some(at);
        self.windows.iter_mut().for_each(|windows| windows.add(at));
        if let Some(distance) = &mut self.distance {
            distance.add(at);
        }
        let nth = u128::from(at) * STRETCHES as u128 / u128::from(self.last.max(1));
        self.bins[(nth as usize).min(STRETCHES - 1)] += 1;
    }

    pub(super) fn finish(self) -> ArrivalStats {
        let span = self.previous.unwrap_or(0) - self.first;
        let stretch = self.last as f64 / 1e9 / STRETCHES as f64;
        let bins = (0..).zip(self.bins).map(|(nth, count)| TimeBin {
            from_s: f64::from(nth) * stretch,
            to_s: f64::from(nth + 1) * stretch,
            count,
        });
        let [one, five] = self.windows.map(Windows::finish);
        ArrivalStats {
            count: self.count,
            last_s: self.last as f64 / 1e9,
            rate: (span > 0).then(|| (self.count - 1) as f64 * 1e9 / span as f64),
            cv: self.gaps.cv(),
            dispersion_1s: one,
            dispersion_5s: five,
            lag1: self.gaps.lag1(),
            ks: self.distance.and_then(Distance::finish),
            bins: if self.last > 0 { bins.collect() } else { Vec::new() },
        }
    }
}

/// Moments of gaps, taken about a number near their mean so that nothing cancels.
#[derive(Debug, Default)]
struct Gaps {
    about: f64,
    count: f64,
    sum: f64,
    squares: f64,
    /// Of each gap and the next.
    products: f64,
    first: f64,
    last: f64,
}

impl Gaps {
    fn add(&mut self, gap: f64) {
        let gap = gap - self.about;
        if self.count == 0.0 {
            self.first = gap;
        } else {
            self.products += self.last * gap;
        }
        self.count += 1.0;
        self.sum += gap;
        self.squares += gap * gap;
        self.last = gap;
    }

    /// Sum of the squared deviations from the mean; `None` where it is below the rounding of offsets to nanoseconds.
    fn deviations(&self) -> Option<f64> {
        let deviations = self.squares - self.sum * self.sum / self.count;
        (self.count > 1.0 && deviations > self.count).then_some(deviations)
    }

    fn cv(&self) -> Option<f64> {
        let mean = self.about + self.sum / self.count;
        (self.count > 1.0 && mean > 0.0)
            .then(|| self.deviations().map_or(0.0, |deviations| (deviations / (self.count - 1.0)).sqrt() / mean))
    }

    fn lag1(&self) -> Option<f64> {
        let deviations = self.deviations()?;
        let mean = self.sum / self.count;
        let ends = 2.0 * self.sum - self.first - self.last;
        Some((self.products - mean * ends + (self.count - 1.0) * mean * mean) / deviations)
    }
}

/// Counts in windows of equal length.
#[derive(Debug)]
struct Windows {
    length: Nanos,
    /// Whole windows before the last arrival.
    whole: u64,
    open: u64,
    in_open: u64,
    sum: f64,
    squares: f64,
}

impl Windows {
    fn new(seconds: u64, last: Nanos) -> Self {
        let length = seconds * 1_000_000_000;
        Self { length, whole: last / length, open: 0, in_open: 0, sum: 0.0, squares: 0.0 }
    }

    fn add(&mut self, at: Nanos) {
        let window = at / self.length;
        if window != self.open {
            self.close();
            self.open = window;
        }
        self.in_open += 1;
    }

    fn close(&mut self) {
        if self.open < self.whole {
            self.sum += self.in_open as f64;
            self.squares += (self.in_open as f64).powi(2);
        }
        self.in_open = 0;
    }

    fn finish(mut self) -> Option<f64> {
        self.close();
        let count = self.whole as f64;
        let mean = self.sum / count;
        (self.whole > 1 && mean > 0.0).then(|| ((self.squares - self.sum * mean) / (count - 1.0)).max(0.0) / mean)
    }
}

/// How far unit gaps are from their law.
#[derive(Debug)]
struct Distance {
    rescaled: Rescaled,
    previous: Option<f64>,
    /// Gaps by the share of smaller ones that the law gives them.
    bins: Vec<u64>,
}

impl Distance {
    fn new(rescaled: Rescaled) -> Self {
        Self { rescaled, previous: None, bins: vec![0; BINS] }
    }

    fn add(&mut self, at: Nanos) {
        let now = self.rescaled.passed(at);
        if let Some(previous) = self.previous {
            let share = gamma::unit_mean_cdf(self.rescaled.burstiness(), now - previous);
            self.bins[((share * BINS as f64) as usize).min(BINS - 1)] += 1;
        }
        self.previous = Some(now);
    }

    fn finish(self) -> Option<f64> {
        let count: u64 = self.bins.iter().sum();
        let mut passed = 0;
        let distances = (1..).zip(self.bins).map(|(edge, bin)| {
            passed += bin;
            (passed as f64 / count as f64 - f64::from(edge) / BINS as f64).abs()
        });
        (count > 0).then(|| distances.fold(0.0, f64::max))
    }
}

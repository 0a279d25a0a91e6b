//! When requests are due.
//!
//! Every process is a rate, which may change with time, and gaps of unit mean. The n-th request is due when the integral of
//! the rate reaches the sum of the first n gaps: so the gaps keep their law whatever the rate does (the time-rescaling
//! theorem for renewal processes).

use sagellm_core::{Arrival, Nanos, RampShape};

use crate::PlanError;
use crate::portable::{exp, ln};
use crate::random::{self, Random};

/// About one request a day: below it, a run would hardly end.
const SLOWEST: f64 = 1e-5;
/// Above it, nanoseconds could not tell requests apart.
const FASTEST: f64 = 1e9;

/// The offsets of requests in nanoseconds, ascending and without end: a pure function of the process, its parameters and the
/// seed, equal to the last bit on every machine.
///
/// Random gaps are independent, and the first request comes after the first of them. Nothing is rescaled, so the rate that
/// a plan achieves differs from the one asked by chance, as real arrivals do.
#[derive(Clone, Debug)]
pub struct Offsets(Course);

#[derive(Clone, Debug)]
enum Course {
    /// `size` at once, every so many seconds; a constant rate is bursts of one.
    Even { next: u64, size: u64, every: f64 },
    /// Random gaps at one rate.
    Flat { gaps: Gaps, rate: f64, seconds: f64 },
    /// Random gaps at a rate that changes.
    Varying { gaps: Gaps, passed: f64, profile: Profile },
}

/// Independent gaps of mean 1 with a gamma distribution.
#[derive(Clone, Debug)]
struct Gaps {
    random: Random,
    burstiness: f64,
}

impl Gaps {
    fn next(&mut self) -> f64 {
        gamma(&mut self.random, self.burstiness) / self.burstiness
    }
}

impl Offsets {
    /// The offsets of `arrival`. `count` is the number of requests, for a ramp that ends with the last of them.
    pub fn new(arrival: &Arrival, count: u64, seed: u64) -> Self {
        let gaps = |burstiness| Gaps { random: random::stream(seed, &["arrival"], 0), burstiness };
        let varying = |burstiness, pieces: Vec<Piece>, repeat| Course::Varying {
            gaps: gaps(burstiness),
            passed: 0.0,
            profile: Profile::new(pieces, repeat),
        };
        Self(match *arrival {
            // The source of a trace has its own offsets.
            Arrival::Immediate | Arrival::Trace => Course::Even { next: 0, size: 1, every: 0.0 },
            Arrival::Constant { rate } => Course::Even { next: 0, size: 1, every: 1.0 / rate },
            Arrival::Burst { size, every_s } => Course::Even { next: 0, size: u64::from(size), every: every_s },
            Arrival::Poisson { rate } => Course::Flat { gaps: gaps(1.0), rate, seconds: 0.0 },
            Arrival::Gamma { rate, burstiness } => Course::Flat { gaps: gaps(burstiness), rate, seconds: 0.0 },
            Arrival::OnOff { rate, on_s, off_s, burstiness } => {
                varying(burstiness, vec![Piece::flat(rate, on_s), Piece::flat(0.0, off_s)], true)
            }
            Arrival::Ramp { from_rate, to_rate, over_s, shape, burstiness } => {
                let mut piece = Piece { from: from_rate, to: to_rate, seconds: 1.0, shape };
                piece.seconds = over_s.unwrap_or(count as f64 / piece.requests());
                varying(burstiness, vec![piece], false)
            }
            Arrival::Phases { ref phases, burstiness } => {
                let pieces = phases.iter().map(|phase| Piece::flat(phase.rate, phase.for_s));
                varying(burstiness, pieces.collect(), false)
            }
        })
    }
}

impl Iterator for Offsets {
    type Item = Nanos;

    fn next(&mut self) -> Option<Nanos> {
        let seconds = match &mut self.0 {
            Course::Even { next, size, every } => {
                let burst = *next / *size;
                *next += 1;
                burst as f64 * *every
            }
            Course::Flat { gaps, rate, seconds } => {
                *seconds += gaps.next() / *rate;
                *seconds
            }
            Course::Varying { gaps, passed, profile } => {
                *passed += gaps.next();
                profile.time_of(*passed)
            }
        };
        Some((seconds * 1e9) as Nanos)
    }
}

/// A stretch of time and its rate.
#[derive(Clone, Copy, Debug)]
struct Piece {
    from: f64,
    to: f64,
    seconds: f64,
    shape: RampShape,
}

impl Piece {
    fn flat(rate: f64, seconds: f64) -> Self {
        Self { from: rate, to: rate, seconds, shape: RampShape::Linear }
    }

    /// The integral of the rate: how many requests it holds in the mean.
    fn requests(&self) -> f64 {
        let Self { from, to, seconds, shape } = *self;
        match shape {
            RampShape::Exponential if from != to => seconds * (to - from) / ln(to / from),
            _ => seconds * (from + to) / 2.0,
        }
    }

    /// Seconds from its beginning until the integral of the rate is `requests`, which is at most that of the piece.
    fn time_of(&self, requests: f64) -> f64 {
        let Self { from, to, seconds, shape } = *self;
        let time = match shape {
            _ if from == to => requests / from,
            // from (s/k) (exp(k t/s) − 1) = requests, where k = ln(to/from).
            RampShape::Exponential => {
                let k = ln(to / from);
                seconds / k * ln((1.0 + k * requests / (from * seconds)).max(f64::MIN_POSITIVE))
            }
            // from t + (to − from) t²/(2 s) = requests, in the form that does not cancel.
            RampShape::Linear => {
                let square = from * from + 2.0 * (to - from) * requests / seconds;
                2.0 * requests / (from + square.max(0.0).sqrt())
            }
        };
        time.min(seconds)
    }
}

/// A rate over time.
#[derive(Clone, Debug)]
struct Profile {
    pieces: Vec<Piece>,
    /// Whether the pieces come again and again; otherwise the last rate stays.
    repeat: bool,
    /// The piece that was reached, when it began, and what the integral was then.
    at: usize,
    begun: f64,
    before: f64,
}

impl Profile {
    fn new(pieces: Vec<Piece>, repeat: bool) -> Self {
        Self { pieces, repeat, at: 0, begun: 0.0, before: 0.0 }
    }

    /// When the integral of the rate is `requests`. Asked with ascending numbers.
    fn time_of(&mut self, requests: f64) -> f64 {
        if self.repeat && self.at == 0 {
            let (time, held) =
                self.pieces.iter().fold((0.0, 0.0), |(t, n), piece| (t + piece.seconds, n + piece.requests()));
            let rounds = ((requests - self.before) / held).floor();
            self.begun += rounds * time;
            self.before += rounds * held;
        }
        loop {
            let Some(piece) = self.pieces.get(self.at) else {
                let rate = self.pieces.last().map_or(1.0, |piece| piece.to);
                return self.begun + (requests - self.before) / rate;
            };
            let held = piece.requests();
            if requests - self.before <= held && held > 0.0 {
                return self.begun + piece.time_of(requests - self.before);
            }
            self.begun += piece.seconds;
            self.before += held;
            self.at += 1;
            if self.repeat && self.at == self.pieces.len() {
                self.at = 0;
            }
        }
    }
}

/// Refuses parameters under which the process would not be one.
pub(crate) fn check(arrival: &Arrival) -> Result<(), PlanError> {
    let refuse = |option, value: f64, range| Err(PlanError::Value { option, value: value.to_string(), range });
    let rate = |option, value: f64| match value {
        _ if (SLOWEST..=FASTEST).contains(&value) => Ok(()),
        _ => refuse(option, value, "a number of requests per second from 0.00001 to 1e9"),
    };
    let span = |option, value: f64| match value {
        _ if (1e-6..=1e9).contains(&value) => Ok(()),
        _ => refuse(option, value, "a number of seconds from 0.000001 to 1e9"),
    };
    let burst = |value: f64| match value {
        _ if value.is_finite() && value > 0.0 => Ok(()),
        _ => refuse("burstiness", value, "a number above 0 (1 is a Poisson process)"),
    };
    match *arrival {
        Arrival::Immediate | Arrival::Trace => Ok(()),
        Arrival::Constant { rate: value } | Arrival::Poisson { rate: value } => rate("rate", value),
        Arrival::Gamma { rate: value, burstiness } => rate("rate", value).and_then(|()| burst(burstiness)),
        Arrival::Burst { size: 0, .. } => refuse("size", 0.0, "at least 1"),
        Arrival::Burst { every_s, .. } => span("every_s", every_s),
        Arrival::OnOff { rate: value, on_s, off_s, burstiness } => {
            rate("rate", value)?;
            span("on_s", on_s)?;
            span("off_s", off_s)?;
            burst(burstiness)
        }
        Arrival::Ramp { from_rate, to_rate, over_s, burstiness, .. } => {
            rate("from_rate", from_rate)?;
            rate("to_rate", to_rate)?;
            over_s.map_or(Ok(()), |over| span("over_s", over))?;
            burst(burstiness)
        }
        Arrival::Phases { ref phases, burstiness } => {
            for phase in phases {
                span("for_s", phase.for_s)?;
                if phase.rate != 0.0 {
                    rate("rate", phase.rate)?;
                }
            }
            match phases.last() {
                None => refuse("phases", 0.0, "at least one"),
                Some(last) => rate("rate of the last phase", last.rate),
            }?;
            burst(burstiness)
        }
    }
}

/// A gamma variate of mean `shape` and scale 1: Marsaglia and Tsang, "A simple method for generating gamma variables",
/// ACM TOMS 26 (2000).
fn gamma(random: &mut Random, shape: f64) -> f64 {
    if shape < 1.0 {
        // Their section 6: G(a) = G(a + 1) U^(1/a).
        return gamma(random, shape + 1.0) * exp(ln(random.unit()) / shape);
    }
    let d = shape - 1.0 / 3.0;
    let c = 1.0 / (9.0 * d).sqrt();
    loop {
        let x = normal(random);
        let t = 1.0 + c * x;
        let v = t * t * t;
        if v > f64::MIN_POSITIVE && ln(random.unit()) < 0.5 * x * x + d - d * v + d * ln(v) {
            return d * v;
        }
    }
}

/// A standard normal variate: Marsaglia's polar method.
fn normal(random: &mut Random) -> f64 {
    loop {
        let x = 2.0 * random.unit() - 1.0;
        let y = 2.0 * random.unit() - 1.0;
        let square = x * x + y * y;
        if square > 0.0 && square < 1.0 {
            return x * (-2.0 * ln(square) / square).sqrt();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const COUNT: usize = 4000;

    /// Gaps in seconds.
    fn gaps(rate: f64, burstiness: f64, seed: u64) -> Vec<f64> {
        let offsets: Vec<Nanos> = Offsets::new(&Arrival::Gamma { rate, burstiness }, 0, seed).take(COUNT).collect();
        assert!(offsets.is_sorted());
        let before = std::iter::once(&0).chain(&offsets);
        offsets.iter().zip(before).map(|(at, before)| (at - before) as f64 / 1e9).collect()
    }

    fn mean(values: impl ExactSizeIterator<Item = f64>) -> f64 {
        let count = values.len() as f64;
        values.sum::<f64>() / count
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// Six standard errors on each: one false alarm in 10⁸.
        #[test]
        fn gaps_have_the_mean_the_spread_and_the_independence_asked_for(
            seed: u64,
            rate in 0.1_f64..100.0,
            burstiness in prop_oneof![Just(1.0), 0.3_f64..20.0],
        ) {
            let gaps = gaps(rate, burstiness, seed);
            let n = COUNT as f64;
            let average = mean(gaps.iter().copied());
            let variance = mean(gaps.iter().map(|gap| (gap - average).powi(2)));
            let cv = variance.sqrt() / average;
            let wanted_cv = 1.0 / burstiness.sqrt();

            prop_assert!((average * rate - 1.0).abs() < 6.0 * wanted_cv / n.sqrt(), "mean {average} at {rate}/s");
            // The variance of a sample variance: kurtosis of a gamma variate is 3 + 6/shape.
            let error = (2.0 + 6.0 / burstiness).sqrt() / 2.0 + wanted_cv;
            prop_assert!((cv / wanted_cv - 1.0).abs() < 6.0 * error / n.sqrt(), "CV {cv}, wanted {wanted_cv}");
            let lag: f64 = gaps.windows(2).map(|pair| (pair[0] - average) * (pair[1] - average)).sum();
            let correlation = lag / n / variance;
            prop_assert!(correlation.abs() < 6.0 / n.sqrt(), "lag-1 correlation {correlation}");
        }

        /// Counts of a Poisson process per second have a variance equal to their mean.
        #[test]
        fn burstiness_one_counts_like_a_poisson_process(seed: u64) {
            const RATE: f64 = 10.0;
            let poisson = Arrival::Poisson { rate: RATE };
            let offsets: Vec<Nanos> = Offsets::new(&poisson, 0, seed).take(COUNT).collect();
            let seconds = (offsets[COUNT - 1] / 1_000_000_000) as usize;
            let mut counts = vec![0.0; seconds];
            for at in offsets {
                if let Some(count) = counts.get_mut((at / 1_000_000_000) as usize) {
                    *count += 1.0;
                }
            }
            let average = mean(counts.iter().copied());
            let dispersion = mean(counts.iter().map(|count| (count - average).powi(2))) / average;
            prop_assert!((dispersion - 1.0).abs() < 6.0 * (2.0 / seconds as f64).sqrt(), "dispersion {dispersion}");
        }

        /// Kolmogorov and Smirnov's distance to the exponential distribution; 2.9/√n is exceeded once in 10⁷.
        #[test]
        fn burstiness_one_has_exponential_gaps(seed: u64) {
            let mut gaps = gaps(1.0, 1.0, seed);
            gaps.sort_unstable_by(f64::total_cmp);
            let n = COUNT as f64;
            let distance = gaps
                .iter()
                .zip(0..)
                .map(|(gap, rank)| {
                    let wanted = 1.0 - (-gap).exp();
                    (f64::from(rank) / n - wanted).abs().max((f64::from(rank + 1) / n - wanted).abs())
                })
                .fold(0.0, f64::max);
            prop_assert!(distance < 2.9 / n.sqrt(), "distance {distance}");
        }

        #[test]
        fn extreme_parameters_give_finite_ascending_offsets(
            seed: u64,
            rate in prop_oneof![Just(f64::MIN_POSITIVE), Just(1e300), 1e-9_f64..1e9],
            burstiness in prop_oneof![Just(1e-9), Just(1e12), 1e-3_f64..1e3],
        ) {
            let offsets: Vec<Nanos> = Offsets::new(&Arrival::Gamma { rate, burstiness }, 0, seed).take(50).collect();
            prop_assert!(offsets.is_sorted());
        }
    }

    #[test]
    fn offsets_stay_what_they_are() {
        // Plans are promised to be the same in every version: these numbers may not change.
        let at = |burstiness, seed| -> Vec<Nanos> {
            Offsets::new(&Arrival::Gamma { rate: 2.0, burstiness }, 0, seed).take(3).collect()
        };
        assert_eq!(at(1.0, 0), [862_541_341, 1_095_062_242, 1_330_821_963]);
        assert_eq!(at(0.25, 1), [41_448_323, 293_385_491, 295_995_504]);
        assert_eq!(at(4.0, 2), [714_293_756, 954_446_167, 1_228_052_172]);
    }

    #[test]
    fn immediate_is_now() {
        assert_eq!(Offsets::new(&Arrival::Immediate, 0, 9).take(3).collect::<Vec<_>>(), [0, 0, 0]);
    }
}

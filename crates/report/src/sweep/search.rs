//! The search for the highest rate within limits, whatever measures.

use super::crossing::{Crossing, Exceeded, crossing};
use super::evidence::Evidence;
use super::{Axis, Bracket, Capacity, Figures, Limits, Point, Standing, Timing};
use crate::{Code, Summary, Verdict};

/// Rates of a search at most. The error is shared among them.
const MOST_RATES: u32 = 24;

/// Runs of a rate that cannot be used before it is given up, and rates in a row before the search is.
const MOST_USELESS: u32 = 2;

/// How to search.
#[derive(Clone, Debug)]
pub struct Search {
    /// What has to be kept.
    pub limits: Limits,
    /// The rate to begin with.
    pub first_rps: f64,
    /// Probability of any wrong decision at most.
    pub error: f64,
    /// How near the rates within and beyond have to come, in percent.
    pub precision: f64,
    /// Runs of one rate at most.
    pub most_runs: u32,
}

/// Runs that say nothing of their load.
#[derive(Debug, Default)]
struct LeftOut {
    runs: u32,
    /// The first reason.
    because: Option<String>,
}

impl LeftOut {
    fn take(&mut self, reason: String) {
        self.runs += 1;
        self.because.get_or_insert(reason);
    }
}

/// One run at a rate.
#[derive(Debug)]
pub struct Trial {
    /// The requests, workload by workload.
    pub timings: Vec<Vec<Timing>>,
    /// What is shown of it.
    pub figures: Vec<Figures>,
    /// Whether its verdict is INVALID.
    pub invalid: bool,
    /// Why it says nothing of the load, where it does not: an INVALID run measured something else, such as the client. One
    /// that is INVALID for its failures says that the load was too much.
    pub useless: Option<String>,
}

impl Trial {
    /// Of a run.
    pub fn new(summary: &Summary, timings: Vec<Vec<Timing>>) -> Self {
        let reasons = &summary.validity.reasons;
        let by_load = |code: Code| matches!(code, Code::ErrorRate | Code::NothingSucceeded);
        Self {
            timings,
            figures: Figures::of(summary),
            invalid: summary.validity.verdict == Verdict::Invalid,
            useless: reasons.iter().find(|reason| !by_load(reason.code)).map(|reason| reason.message.clone()),
        }
    }
}

/// Measures for a search.
pub trait Measure {
    /// Why it cannot go on.
    type Error;

    /// The `nth` run of a rate, from zero; `None` when there shall be no more.
    ///
    /// # Errors
    /// When it cannot be measured.
    fn trial(&mut self, rate: f64, nth: u32) -> Result<Option<Trial>, Self::Error>;

    /// Keeps what became of a rate.
    ///
    /// # Errors
    /// When it cannot be kept.
    fn keep(&mut self, point: Point) -> Result<(), Self::Error>;
}

impl Search {
    /// Runs each rate until it is surely within the limits, surely beyond one, or was run as often as is allowed, and goes
    /// on to the next until the capacity is known as nearly as was asked. Runs that say nothing of the load are left out.
    ///
    /// # Errors
    /// Those of `measure`.
    pub fn run<M: Measure>(&self, measure: &mut M) -> Result<Capacity, M::Error> {
        let error = self.error / f64::from(MOST_RATES);
        let mut bracket = Bracket::new(self.precision);
        let mut next = Some(self.first_rps);
        let mut exceeded: Vec<Vec<Exceeded>> = vec![Vec::new(); self.limits.each().len()];
        let (mut all_runs, mut all_invalid) = (0, 0);
        let mut left_out = LeftOut::default();
        let mut rates_given_up = 0;
        for _ in 0..MOST_RATES {
            let Some(rate) = next else { break };
            let mut evidence = Evidence::new(&self.limits);
            let mut point = Point::new(Axis::RequestRate, rate);
            let mut standing = Standing::Open;
            let mut useless = 0;
            let given_up = |useless: u32, runs: u32| useless == runs && useless >= MOST_USELESS.min(self.most_runs);
            while standing == Standing::Open && point.runs < self.most_runs && !given_up(useless, point.runs) {
                let Some(trial) = measure.trial(rate, point.runs)? else { break };
                point.workloads = trial.figures;
                point.runs += 1;
                point.invalid_runs += u32::from(trial.invalid);
                if let Some(reason) = trial.useless {
                    useless += 1;
                    left_out.take(reason);
                    continue;
                }
                trial.timings.into_iter().for_each(|timings| evidence.take(timings));
                standing = evidence.standing(error);
            }
            let given_up = given_up(useless, point.runs);
            let ended_early = standing == Standing::Open && point.runs < self.most_runs && !given_up;
            point.standing = Some(standing);
            all_runs += point.runs;
            all_invalid += point.invalid_runs;
            if point.runs > 0 {
                exceeded.iter_mut().zip(evidence.exceeded(rate)).for_each(|(all, one)| all.push(one));
                measure.keep(point)?;
            }
            if ended_early {
                break;
            }
            bracket.note(rate, standing);
            rates_given_up = if given_up { rates_given_up + 1 } else { 0 };
            if given_up {
                bracket.give_up(rate);
            }
            if rates_given_up == MOST_USELESS {
                break;
            }
            next = bracket.next(self.estimate(&exceeded).map(|found| found.rate));
        }
        let estimate = self.estimate(&exceeded);
        let sure = bracket.within.zip(bracket.beyond);
        Ok(Capacity {
            limits: self.limits.text().to_owned(),
            error: self.error,
            estimate_rps: sure.zip(estimate).map(|((low, high), found)| found.rate.clamp(low, high)),
            interval_rps: sure
                .zip(estimate)
                .map(|((low, high), found)| (found.low.clamp(low, high), found.high.clamp(low, high))),
            within_rps: bracket.within,
            beyond_rps: bracket.beyond,
            runs: all_runs,
            invalid_runs: all_invalid,
            left_out_runs: left_out.runs,
            left_out_because: left_out.because,
        })
    }

    /// Where the first of the limits is reached.
    fn estimate(&self, exceeded: &[Vec<Exceeded>]) -> Option<Crossing> {
        let limits = self.limits.each().iter().zip(exceeded);
        limits.filter_map(|(limit, points)| crossing(points, 1.0 - limit.q)).reduce(|one, other| Crossing {
            rate: one.rate.min(other.rate),
            low: one.low.min(other.low),
            high: one.high.min(other.high),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::cmp::Reverse;
    use std::collections::BinaryHeap;

    use sagellm_stats::SplitMix64;

    use super::*;

    /// Requests come by chance, each occupies one of a few servers for the same time: the queue M/D/c.
    struct Queue {
        servers: usize,
        service_s: f64,
        requests: usize,
        random: SplitMix64,
    }

    impl Measure for Queue {
        type Error = std::convert::Infallible;

        fn trial(&mut self, rate: f64, _: u32) -> Result<Option<Trial>, Self::Error> {
            let mut free: BinaryHeap<Reverse<u64>> = (0..self.servers).map(|_| Reverse(0)).collect();
            let mut arrival = 0.0;
            let timings = (0..self.requests).map(|_| {
                arrival -= (1.0 - self.random.unit()).ln() / rate;
                let sent_ns = (arrival * 1e9) as u64;
                let turn = free.pop().map_or(sent_ns, |Reverse(free)| free.max(sent_ns));
                free.push(Reverse(turn + (self.service_s * 1e9) as u64));
                let ttft = (turn - sent_ns) as f64 / 1e6;
                Timing { sent_ns, ttft, tbt: None, e2e: ttft }
            });
            Ok(Some(Trial { timings: vec![timings.collect()], figures: Vec::new(), invalid: false, useless: None }))
        }

        fn keep(&mut self, _: Point) -> Result<(), Self::Error> {
            Ok(())
        }
    }

    fn search(limits: &str, first_rps: f64) -> Search {
        Search { limits: limits.parse().unwrap(), first_rps, error: 0.05, precision: 4.0, most_runs: 4 }
    }

    /// The share of requests of the queue M/D/1 that wait longer than `wait`: Erlang, "The theory of probabilities and
    /// telephone conversations" (1909).
    fn waits_longer(rate: f64, service: f64, wait: f64) -> f64 {
        let busy = rate * service;
        let mut sum = 0.0;
        let mut factorial = 1.0;
        for k in 0..=(wait / service).floor() as i32 {
            factorial *= f64::from(k.max(1));
            let exponent = rate * (f64::from(k) * service - wait);
            sum += exponent.powi(k) / factorial * (-exponent).exp();
        }
        1.0 - (1.0 - busy) * sum
    }

    /// How many of 20 searches come within 5 % of the truth, in how many it lies in the interval, and in how many between
    /// the sure rates.
    fn found(servers: usize, service_s: f64, limits: &str, capacity: f64) -> [u64; 3] {
        let [mut near, mut covered, mut between] = [0; 3];
        let mut widths = 0.0;
        for seed in 0..20 {
            let mut queue = Queue { servers, service_s, requests: 4000, random: SplitMix64::new(seed) };
            let found = search(limits, 20.0).run(&mut queue).unwrap();
            let (within, beyond) = (found.within_rps.unwrap(), found.beyond_rps.unwrap());
            near += u64::from((found.estimate_rps.unwrap() / capacity - 1.0).abs() <= 0.05);
            between += u64::from(within <= capacity && capacity <= beyond);
            let (low, high) = found.interval_rps.unwrap();
            covered += u64::from(low <= capacity && capacity <= high);
            assert!(within <= low && high <= beyond, "{low} {high}");
            widths += (high - low) / capacity;
        }
        assert!(widths / 20.0 < 0.13, "{widths}");
        [near, covered, between]
    }

    #[test]
    fn finds_the_known_capacity_of_one_server() {
        let (mut low, mut high) = (10.0, 99.0);
        while high - low > 1e-6 {
            let middle = (low + high) / 2.0;
            if waits_longer(middle, 0.01, 0.05) < 0.01 { low = middle } else { high = middle }
        }
        assert!((low - 62.97).abs() < 0.1, "{low}: 62.97 in a simulation of 8 million requests");
        // Of 300 searches 289 intervals held the truth; they were 7 % wide in the mean, and 10 % with four servers.
        let [near, covered, between] = found(1, 0.01, "p99_ttft_ms<50", low);
        assert!(near >= 18 && covered >= 18 && between >= 19, "{near} {covered} {between}");
    }

    #[test]
    fn finds_the_capacity_of_four_servers() {
        // 122.2 per second, by a simulation of 8 million requests.
        let [near, covered, between] = found(4, 0.025, "p99_ttft_ms<50", 122.2);
        assert!(near >= 18 && covered >= 18 && between >= 19, "{near} {covered} {between}");
    }

    #[test]
    fn what_is_interrupted_says_what_is_known() {
        /// Lets a few runs happen.
        struct Few(Queue, u32, Vec<Point>);
        impl Measure for Few {
            type Error = std::convert::Infallible;
            fn trial(&mut self, rate: f64, nth: u32) -> Result<Option<Trial>, Self::Error> {
                self.1 = self.1.saturating_sub(1);
                if self.1 == 0 { Ok(None) } else { self.0.trial(rate, nth) }
            }
            fn keep(&mut self, point: Point) -> Result<(), Self::Error> {
                self.2.push(point);
                Ok(())
            }
        }
        let queue = Queue { servers: 1, service_s: 0.01, requests: 4000, random: SplitMix64::new(1) };
        let mut few = Few(queue, 3, Vec::new());
        let found = search("p99_ttft_ms<50", 10.0).run(&mut few).unwrap();
        assert_eq!((found.within_rps, found.beyond_rps, found.estimate_rps), (Some(20.0), None, None));
        assert_eq!(few.2.iter().map(|point| (point.load, point.runs)).collect::<Vec<_>>(), [(10.0, 1), (20.0, 1)]);
    }
    /// A client that is too slow above a rate: it sees waits that are its own.
    struct Slow(Queue, f64);

    impl Measure for Slow {
        type Error = std::convert::Infallible;

        fn trial(&mut self, rate: f64, nth: u32) -> Result<Option<Trial>, Self::Error> {
            let mut trial = self.0.trial(rate, nth)?;
            if let Some(trial) = trial.as_mut().filter(|_| rate > self.1) {
                trial.timings.iter_mut().flatten().for_each(|timing| timing.ttft += 1000.0);
                (trial.invalid, trial.useless) = (true, Some("the client was late".into()));
            }
            Ok(trial)
        }

        fn keep(&mut self, _: Point) -> Result<(), Self::Error> {
            Ok(())
        }
    }

    #[test]
    fn what_only_the_client_could_not_do_is_not_beyond() {
        let queue = || Queue { servers: 1, service_s: 0.01, requests: 4000, random: SplitMix64::new(1) };
        let found = search("p99_ttft_ms<50", 10.0).run(&mut Slow(queue(), 30.0)).unwrap();
        assert_eq!((found.within_rps, found.beyond_rps, found.estimate_rps), (Some(20.0), None, None));
        assert_eq!((found.runs, found.left_out_runs), (4, 2), "{found:?}");
        let words = found.words();
        assert!(words.contains("at least 20.00 requests/s; no rate was surely beyond"), "{words}");
        assert!(words.ends_with("2 of the 4 runs were left out as INVALID: the client was late"), "{words}");
        let none = search("p99_ttft_ms<50", 10.0).run(&mut Slow(queue(), 0.0)).unwrap();
        assert_eq!((none.within_rps, none.beyond_rps, none.runs, none.left_out_runs), (None, None, 4, 4));
        let words = none.words();
        assert!(words.contains("not found: no run could be used") && words.contains("the client was late"), "{words}");
    }
}

//! Whether a load keeps its limits, by what its runs have shown so far.

use std::path::Path;

use sagellm_core::{Nanos, OutcomeKind, Record};
use sagellm_stats as stats;
use sagellm_stats::SequentialShare;

use super::crossing::Exceeded;
use super::{Limit, Limits, Standing};
use crate::Error;
use crate::journal::read_records;
use crate::latency::Times;

/// Share of the time of a run that is left out at its beginning. Every run begins with an empty server: what is sent
/// before the queue has filled meets a load that the rate never stands for.
const FILLING: f64 = 0.2;

/// Requests above a percentile that show how they cluster.
const ENOUGH: f64 = 50.0;

/// What limits look at in one request: times in milliseconds, infinite of a failure.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Timing {
    /// When it was sent, on the clock of its run.
    pub sent_ns: Nanos,
    /// To the first token.
    pub ttft: f64,
    /// Between tokens; `None` when the answer came in one chunk.
    pub tbt: Option<f64>,
    /// To the last token.
    pub e2e: f64,
}

/// Everything that was seen of one load.
#[derive(Debug)]
pub(super) struct Evidence<'a> {
    limits: &'a Limits,
    /// Of each limit, its quantity of every request, in the order in which they were sent.
    seen: Vec<Vec<f64>>,
}

impl Timing {
    /// Of the measured requests of a journal, but for those of which it is not known how long they would have taken.
    ///
    /// # Errors
    /// As [`read_records`].
    pub fn read(journal: &Path) -> Result<Vec<Self>, Error> {
        let mut timings = Vec::new();
        read_records(journal, &mut |record| timings.extend(Self::of(record)))?;
        Ok(timings)
    }

    fn of(record: &Record) -> Option<Self> {
        let sent_ns = record.sent_ns?;
        match record.outcome {
            OutcomeKind::Censored | OutcomeKind::NotSent => return None,
            _ => {}
        }
        let times = Times::of(record, sent_ns).filter(|_| record.outcome == OutcomeKind::Success);
        Some(match times {
            Some(times) => Self { sent_ns, ttft: times.ttft, tbt: times.tbt, e2e: times.e2e },
            // A failure took forever.
            None => Self { sent_ns, ttft: f64::INFINITY, tbt: Some(f64::INFINITY), e2e: f64::INFINITY },
        })
    }
}

impl<'a> Evidence<'a> {
    pub(super) fn new(limits: &'a Limits) -> Self {
        Self { limits, seen: vec![Vec::new(); limits.each().len()] }
    }

    /// Takes one workload of a run, but for its beginning.
    pub(super) fn take(&mut self, mut run: Vec<Timing>) {
        run.sort_by_key(|timing| timing.sent_ns);
        let (Some(first), Some(last)) = (run.first(), run.last()) else { return };
        let filled = first.sent_ns + ((last.sent_ns - first.sent_ns) as f64 * FILLING) as Nanos;
        let from = run.partition_point(|timing| timing.sent_ns < filled);
        for (limit, seen) in self.limits.each().iter().zip(&mut self.seen) {
            seen.extend(run[from..].iter().filter_map(|timing| limit.of(timing)));
        }
    }

    /// What is known by now, each decision wrong with a probability of at most `error`.
    ///
    /// A percentile is within its limit when the share of requests over the limit is below what it leaves. Neighbours in
    /// a queue are alike: all that was seen counts as many requests as it is worth at that percentile.
    pub(super) fn standing(&self, error: f64) -> Standing {
        let error = error / self.seen.len() as f64;
        let mut within = true;
        for (limit, seen) in self.limits.each().iter().zip(&self.seen) {
            let (n, over) = (seen.len() as u64, over(limit, seen));
            match SequentialShare::new(1.0 - limit.q, error, worth(limit, seen)).push_many(n, over) {
                stats::Standing::Below => {}
                stats::Standing::Above => return Standing::Beyond,
                stats::Standing::Open => within = false,
            }
        }
        if within { Standing::Within } else { Standing::Open }
    }

    /// How often each limit was exceeded at this load.
    pub(super) fn exceeded(&self, rate: f64) -> Vec<Exceeded> {
        let limits = self.limits.each().iter().zip(&self.seen);
        let counts = limits.map(|(limit, seen)| {
            let worth = worth(limit, seen);
            Exceeded { rate, n: seen.len() as f64 * worth, over: over(limit, seen) as f64 * worth }
        });
        counts.collect()
    }
}

fn over(limit: &Limit, seen: &[f64]) -> u64 {
    seen.iter().filter(|value| **value > limit.limit_ms).count() as u64
}

/// How many independent requests each is worth at the percentile of the limit; or below it, where enough lie above to
/// show how they cluster.
fn worth(limit: &Limit, seen: &[f64]) -> f64 {
    let finite: Vec<f64> = seen.iter().map(|value| value.min(1e15)).collect();
    let n = seen.len() as f64;
    let q = limit.q.min(1.0 - ENOUGH / n).max(0.5);
    stats::quantile_effective_n(&finite, q).map_or(1.0, |worth| worth / n)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(ttfts: impl IntoIterator<Item = f64>) -> Vec<Timing> {
        (0..).zip(ttfts).map(|(sent_ns, ttft)| Timing { sent_ns, ttft, tbt: None, e2e: ttft }).collect()
    }

    #[test]
    fn a_load_is_within_beyond_or_not_known() {
        let limits: Limits = "p90_ttft_ms<100".parse().unwrap();
        let standing = |values: Vec<f64>| {
            let mut evidence = Evidence::new(&limits);
            evidence.take(run(values));
            evidence.standing(0.01)
        };
        let mut random = stats::SplitMix64::new(1);
        let mut draw = |n: usize, slow: f64| -> Vec<f64> {
            (0..n).map(|_| if random.unit() < slow { f64::INFINITY } else { 50.0 + random.unit() }).collect()
        };
        assert_eq!(standing(draw(500, 0.01)), Standing::Within);
        assert_eq!(standing(draw(500, 0.3)), Standing::Beyond);
        assert_eq!(standing(draw(500, 0.1)), Standing::Open);
        assert_eq!(standing(Vec::new()), Standing::Open);
    }

    #[test]
    fn what_was_sent_before_the_queue_filled_is_left_out() {
        let limits: Limits = "p90_ttft_ms<100".parse().unwrap();
        let mut evidence = Evidence::new(&limits);
        evidence.take(run((0..1001).map(|place| if place < 200 { 50.0 } else { 150.0 })));
        assert_eq!(evidence.seen, [vec![150.0; 801]]);
    }
}

//! What the charts of a workload show: how its latencies are spread and how the run went. Made in one pass over the
//! records, in memory that does not grow with them.

use std::collections::{BTreeMap, BinaryHeap};

use sagellm_core::journal::{Close, Header};
use sagellm_core::{Nanos, OutcomeKind, Record, ms};
use sagellm_stats::{Distribution, SplitMix64};
use serde::Serialize;

use super::bins::Bins;
use crate::journal::Look;
use crate::sample::shorten;

/// Requests of which the timeline shows every stamp.
const MOST_BARS: usize = 4000;
/// Failed requests that are shown beside those.
const MOST_FAILURES: usize = 400;
/// Chunks of one request that are kept.
const MOST_TICKS: usize = 512;
/// Chunks that one page shows, over all workloads.
const TICKS_OF_A_PAGE: usize = 240_000;
/// Readings of a server or an engine that are shown.
const MOST_SAMPLES: usize = 600;
/// Quantiles of a distribution in its body, and in each decade of its tail.
const STEPS: usize = 60;

/// Collects the course of one workload.
#[derive(Debug)]
pub(crate) struct Course {
    pub(crate) name: String,
    pub(crate) clock_started: String,
    start: Nanos,
    requests: u64,
    ttft: Distribution,
    tbt: Distribution,
    e2e: Distribution,
    bins: Bins,
    /// Those with the smallest draws, the largest of these on top: an even sample, whatever the order.
    sample: BinaryHeap<Drawn>,
    failures: Vec<Bar>,
    failed: u64,
    /// Why the first request of each kind of failure failed.
    pub(super) reasons: BTreeMap<&'static str, String>,
    server: Vec<Reading>,
}

/// A request in the timeline; times in microseconds from the start of the workload.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Bar {
    id: u64,
    scheduled: i64,
    sent: i64,
    first: Option<i64>,
    last: Option<i64>,
    end: i64,
    outcome: &'static str,
    input: u32,
    output: u32,
    /// Chunks after the first, each as the microseconds since the one before.
    ticks: Vec<i64>,
    /// Of how many chunks each tick is the last.
    chunks_per_tick: u32,
}

#[derive(Debug, PartialEq, Eq)]
struct Drawn(u64, Bar);

impl Ord for Drawn {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.0, self.1.id).cmp(&(other.0, other.1.id))
    }
}

impl PartialOrd for Drawn {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

/// What a server or an engine told of itself at a time in microseconds.
#[derive(Debug, Serialize)]
struct Reading {
    at: i64,
    kv: Option<f64>,
    waiting: Option<f64>,
}

/// What a page holds of a workload, as its scripts read it.
#[derive(Debug, Serialize)]
pub(crate) struct Data {
    name: String,
    requests: u64,
    spread: Vec<Spread>,
    course: super::bins::Course,
    bars: Vec<Bar>,
    server: Vec<Reading>,
}

/// A distribution: points of its distribution function.
#[derive(Debug, Serialize)]
struct Spread {
    name: &'static str,
    title: &'static str,
    n: u64,
    /// Share of the requests at or below the value, and the value in milliseconds.
    points: Vec<(f64, f64)>,
}

impl Look for Course {
    fn begin(header: &Header) -> Self {
        Self {
            name: header.workload.name.clone(),
            clock_started: header.clock_started.rfc3339(),
            start: header.start_ns,
            requests: 0,
            ttft: Distribution::default(),
            tbt: Distribution::default(),
            e2e: Distribution::default(),
            bins: Bins::default(),
            sample: BinaryHeap::new(),
            failures: Vec::new(),
            failed: 0,
            reasons: BTreeMap::new(),
            server: Vec::new(),
        }
    }

    fn record(&mut self, record: &Record) {
        if let Some(reason) = &record.reason {
            self.reasons.entry(record.outcome.name()).or_insert_with(|| shorten(reason));
        }
        let Some(sent) = record.sent_ns else { return };
        self.requests += 1;
        let success = record.outcome == OutcomeKind::Success;
        let since = |at: Nanos| at.saturating_sub(self.start);
        self.bins.span(since(sent), since(record.end_ns));
        for (at, tokens) in record.tokens_by_chunk() {
            self.bins.tokens(since(at), tokens);
        }
        if let (true, Some(first), Some(last)) = (success, record.first_token_ns, record.last_token_ns) {
            let ttft = ms(first.saturating_sub(sent));
            self.bins.ttft(since(sent), ttft);
            self.ttft.push(ttft);
            self.e2e.push(ms(last.saturating_sub(sent)));
            if let Some(later) = record.tokens_after_first_chunk() {
                self.tbt.push(ms(last.saturating_sub(first)) / later);
            }
        }
        if record.outcome.is_failure() {
            self.failed += 1;
            if self.failures.len() < MOST_FAILURES {
                self.failures.push(self.bar(record, sent));
            }
            return;
        }
        let draw = SplitMix64::new(record.id ^ (u64::from(record.worker) << 40)).bits();
        let enters = self.sample.len() < MOST_BARS || self.sample.peek().is_some_and(|largest| draw < largest.0);
        if enters {
            let bar = self.bar(record, sent);
            self.sample.push(Drawn(draw, bar));
            if self.sample.len() > MOST_BARS {
                self.sample.pop();
            }
        }
    }

    fn close(&mut self, close: &Close) {
        let samples = close.backend.server.as_ref().map_or(&close.backend.samples, |server| &server.samples);
        let step = samples.len().div_ceil(MOST_SAMPLES).max(1);
        self.server = samples
            .iter()
            .step_by(step)
            .map(|sample| Reading {
                at: micros(self.start, sample.at_ns),
                kv: sample.kv_usage.filter(|usage| usage.is_finite()),
                waiting: sample.waiting.filter(|waiting| waiting.is_finite()),
            })
            .collect();
    }
}

impl Course {
    fn bar(&self, record: &Record, sent: Nanos) -> Bar {
        let at = |time: Nanos| micros(self.start, time);
        let later = record.chunks.get(1..).unwrap_or_default();
        let step = later.len().div_ceil(MOST_TICKS).max(1);
        let mut former = record.first_token_ns.map_or(0, at);
        let ticks = later.chunks(step).filter_map(|chunks| {
            let now = at(chunks.last()?.at_ns);
            let gap = now - former;
            former = now;
            Some(gap)
        });
        Bar {
            id: record.id,
            scheduled: at(record.scheduled_ns),
            sent: at(sent),
            first: record.first_token_ns.map(at),
            last: record.last_token_ns.map(at),
            end: at(record.end_ns),
            outcome: record.outcome.name(),
            input: record.input_tokens,
            output: record.output_tokens,
            ticks: ticks.collect(),
            chunks_per_tick: u32::try_from(step).unwrap_or(u32::MAX),
        }
    }

    /// What the page shows of it, of which it may take one part in `parts`; and what it leaves out, in words.
    pub(crate) fn finish(self, parts: usize) -> (Data, Vec<String>) {
        let mut left_out = Vec::new();
        let spread = [
            ("ttft", "TTFT: time to the first token", &self.ttft),
            ("tbt", "TBT: time between tokens", &self.tbt),
            ("e2e", "E2E: time to the last token", &self.e2e),
        ]
        .into_iter()
        .filter(|(_, _, values)| values.count() > 0)
        .map(|(name, title, values)| Spread { name, title, n: values.count(), points: points(values) })
        .collect();
        let succeeded = self.requests - self.failed;
        let mut drawn = self.sample.into_sorted_vec();
        drawn.truncate((MOST_BARS / parts.max(1)).max(200));
        if (drawn.len() as u64) < succeeded {
            left_out.push(format!(
                "the timeline shows {} requests, drawn evenly from {succeeded} that did not fail",
                drawn.len()
            ));
        }
        if (self.failures.len() as u64) < self.failed {
            left_out.push(format!(
                "the timeline shows the first {} of {} failed requests",
                self.failures.len(),
                self.failed
            ));
        }
        let mut bars: Vec<Bar> = drawn.into_iter().map(|drawn| drawn.1).chain(self.failures).collect();
        bars.sort_by_key(|bar| (bar.sent, bar.id));
        left_out.extend(thin(&mut bars, TICKS_OF_A_PAGE / parts.max(1)));
        let data = Data {
            name: self.name,
            requests: self.requests,
            spread,
            course: self.bins.finish(),
            bars,
            server: self.server,
        };
        (data, left_out)
    }
}

/// Joins ticks until there are no more than `most`; says so.
fn thin(bars: &mut [Bar], most: usize) -> Option<String> {
    let total = |bars: &[Bar]| bars.iter().map(|bar| bar.ticks.len()).sum::<usize>();
    let step = total(bars).div_ceil(most.max(1));
    if step > 1 {
        for bar in bars.iter_mut() {
            bar.ticks = bar.ticks.chunks(step).map(|gaps| gaps.iter().sum()).collect();
            bar.chunks_per_tick = bar.chunks_per_tick.saturating_mul(u32::try_from(step).unwrap_or(u32::MAX));
        }
    }
    let joined = bars.iter().map(|bar| bar.chunks_per_tick).max().filter(|most| *most > 1)?;
    Some(format!("the timeline marks one chunk in up to {joined}, not every one"))
}

fn micros(from: Nanos, to: Nanos) -> i64 {
    let distance = i64::try_from(to.abs_diff(from) / 1000).unwrap_or(i64::MAX);
    if to >= from { distance } else { -distance }
}

/// Points of a distribution function: even steps up to 90 %, then even steps on a logarithmic axis of what lies above, as
/// far as the values go.
fn points(values: &Distribution) -> Vec<(f64, f64)> {
    let ascending = values.ascending();
    let body = (0..=STEPS).map(|step| 0.9 * step as f64 / STEPS as f64);
    // The largest of n values lies at 1 − 1/n; more decades would show nothing.
    let decades = (values.count() as f64).log10().clamp(1.0, 5.0);
    let steps = ((decades - 1.0) * STEPS as f64).ceil().max(1.0);
    let tail = (1..=steps as u32).map(move |step| 1.0 - 10f64.powf(-1.0 - (decades - 1.0) * f64::from(step) / steps));
    body.chain(tail).filter_map(|share| Some((rounded(share, 1e7), rounded(ascending.quantile(share)?, 1e4)))).collect()
}

fn rounded(value: f64, scale: f64) -> f64 {
    (value * scale).round() / scale
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bar(ticks: &[i64]) -> Bar {
        Bar {
            id: 1,
            scheduled: 0,
            sent: 0,
            first: Some(10),
            last: None,
            end: 99,
            outcome: "success",
            input: 1,
            output: 1,
            ticks: ticks.to_vec(),
            chunks_per_tick: 1,
        }
    }

    #[test]
    fn joined_ticks_keep_their_places() {
        let mut bars = [bar(&[1, 2, 3, 4, 5]), bar(&[7])];
        assert_eq!(thin(&mut bars, 6), None);
        assert_eq!(thin(&mut bars, 3), Some("the timeline marks one chunk in up to 2, not every one".into()));
        assert_eq!((bars[0].ticks.as_slice(), bars[1].ticks.as_slice()), (&[3, 7, 5][..], &[7][..]));
    }

    #[test]
    fn the_tail_ends_where_the_values_do() {
        let mut values = Distribution::default();
        (1..=1000).for_each(|value| values.push(f64::from(value)));
        let points = points(&values);
        assert_eq!(points.first(), Some(&(0.0, 1.0)));
        let (share, value) = *points.last().unwrap();
        assert!((share - 0.999).abs() < 1e-6 && (value - 999.001).abs() < 1e-3, "{share} {value}");
        assert!(points.windows(2).all(|pair| pair[0].0 < pair[1].0 && pair[0].1 <= pair[1].1));
    }
}

//! What was done per time, gathered one request after the other.

use std::collections::BTreeMap;

use sagellm_core::{Nanos, Record, seconds};
use sagellm_stats::Series;

use crate::batching::Load;
use crate::workload::{Interval, Method};

/// Amounts per time.
///
/// Throughput is a ratio of sums: the window is the sum of the times from one end to the next, or, of the arrivals, from one
/// sending to the next.
#[derive(Debug, Default)]
pub(crate) struct Throughput {
    /// First sent and last end.
    pub(crate) window: Option<(Nanos, Nanos)>,
    last_sent: Option<Nanos>,
    /// In the order of [`KEYS`].
    series: [Rates; 5],
    /// Output tokens of the successes, second by second since the start of the workload; seconds without any are left out.
    tokens_of: BTreeMap<u64, u64>,
}

/// Amounts of one kind over different times.
#[derive(Debug, Default)]
struct Rates {
    /// By how much the request made the window longer.
    by_end: Series,
    /// How long it took.
    by_latency: Series,
    /// By how much later it was sent than all before it.
    by_arrival: Series,
}

const SECOND: Nanos = 1_000_000_000;

const KEYS: [&str; 5] =
    ["request_throughput_rps", "input_throughput_tps", "output_throughput_tps", "total_throughput_tps", GOODPUT];

/// Only with an objective.
const GOODPUT: &str = "goodput_rps";

impl Throughput {
    /// Takes a request that was sent at `sent`, which is `good` when it kept the objective. Requests come in about the
    /// order in which they ended.
    pub(crate) fn push(&mut self, record: &Record, sent: Nanos, success: bool, good: bool) {
        let (first, last) = self.window.unwrap_or((sent, sent));
        let window = (first.min(sent), last.max(record.end_ns));
        self.window = Some(window);
        // By how much this request makes the window longer, at either end.
        let time = seconds((first - window.0) + (window.1 - last));
        let amounts = if success {
            let (input, output) = (f64::from(record.input_tokens), f64::from(record.output_tokens));
            [1.0, input, output, input + output, f64::from(u8::from(good))]
        } else {
            [0.0; 5]
        };
        let former = self.last_sent.unwrap_or(sent);
        self.last_sent = Some(former.max(sent));
        let (latency, arrival) = (seconds(record.end_ns.saturating_sub(sent)), seconds(sent.saturating_sub(former)));
        for (rates, amount) in self.series.iter_mut().zip(amounts) {
            rates.by_end.push_pair(amount, time);
            rates.by_latency.push_pair(amount, latency);
            rates.by_arrival.push_pair(amount, arrival);
        }
    }

    /// Takes the chunks of a success of a workload that began at `start`.
    pub(crate) fn push_chunks(&mut self, record: &Record, start: Nanos) {
        for (at, tokens) in record.tokens_by_chunk() {
            *self.tokens_of.entry(at.saturating_sub(start) / SECOND).or_default() += u64::from(tokens);
        }
    }

    /// Most output tokens of one second.
    pub(crate) fn busiest_second(&self) -> Option<u64> {
        self.tokens_of.values().max().copied()
    }

    /// The intervals by key, about the figures that `value` gives.
    ///
    /// Throughput under open-loop load varies as the arrivals and the sizes of requests do; goodput as latencies do.
    pub(crate) fn intervals(
        &self,
        objective: bool,
        load: Load,
        value: impl Fn(&str) -> Option<f64>,
    ) -> impl Iterator<Item = (String, Interval)> {
        let asked = KEYS.into_iter().zip(&self.series).filter(move |(key, _)| objective || *key != GOODPUT);
        asked.map(move |(key, rates)| {
            let n = rates.by_end.count();
            let batches = if key == GOODPUT { load.mean(n) } else { load.throughput(n) };
            let found = batches.as_ref().ok().and_then(|batches| match load {
                Load::Open => rates.by_arrival.estimate(batches)?.about(value(key)?).into(),
                Load::Closed { .. } => rates.by_end.closed_loop_throughput(&rates.by_latency, batches),
            });
            let effective_n = match load {
                Load::Open => rates.by_arrival.effective_n(),
                Load::Closed { .. } => rates.by_end.effective_n(),
            };
            (key.to_owned(), Interval::new(Method::BatchMeans, n, &batches, found, effective_n))
        })
    }
}

//! What was done per time, gathered one request after the other.

use std::collections::BTreeMap;

use sagellm_core::{Nanos, Record, seconds};
use sagellm_stats::{FEWEST_BLOCKS, Series};

use crate::latency::too_few;
use crate::workload::{Interval, Method};

/// Amounts per time since the former end.
///
/// Throughput is a ratio of sums: the window is the sum of the times from one end to the next, so pairs of (amount, time
/// since the former end) are resampled.
#[derive(Debug, Default)]
pub(crate) struct Throughput {
    /// First sent and last end.
    pub(crate) window: Option<(Nanos, Nanos)>,
    /// In the order of [`KEYS`].
    series: [Series; 5],
    /// Output tokens of the successes, second by second since the start of the workload; seconds without any are left out.
    tokens_of: BTreeMap<u64, u64>,
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
        for (series, amount) in self.series.iter_mut().zip(amounts) {
            series.push_pair(amount, time);
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

    /// The intervals by key. Requests that ran together end together: a block holds at least `peak` requests, as many as
    /// ran at once.
    pub(crate) fn intervals(&self, objective: bool, peak: u64, seed: u64) -> impl Iterator<Item = (String, Interval)> {
        let asked = KEYS.into_iter().zip(&self.series).filter(move |(key, _)| objective || *key != GOODPUT);
        asked.map(move |(key, series)| {
            let n = series.count();
            let reason = too_few(n, peak, FEWEST_BLOCKS)
                .unwrap_or_else(|| "too many requests without tokens or without time between them".into());
            let found = series.interval(peak, seed);
            (key.to_owned(), Interval::new(found, n, series.effective_n(), Method::BlockBootstrap, reason))
        })
    }
}

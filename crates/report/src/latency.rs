//! How long requests took, gathered one request after the other.

use sagellm_core::{Chunk, Nanos, Record, ms};
use sagellm_stats::{Ascending, Distribution, Estimate, Series};

use crate::batching::Load;
use crate::workload::{self, Method};

/// Values of which percentiles are wanted, and an interval of their mean.
#[derive(Debug, Default)]
pub(crate) struct Latency {
    pub(crate) values: Distribution,
    /// The same in the order in which the requests ended.
    course: Series,
}

/// The times of one request in milliseconds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Times {
    pub(crate) ttft: f64,
    pub(crate) e2e: f64,
    /// `None` when the answer came in one chunk.
    pub(crate) tbt: Option<f64>,
}

/// The latencies of the successes. In milliseconds but for the rate, which is in tokens per second.
#[derive(Debug, Default)]
pub(crate) struct Latencies {
    pub(crate) ttft: Latency,
    pub(crate) tbt: Latency,
    pub(crate) tpot: Latency,
    pub(crate) e2e: Latency,
    pub(crate) user_rate: Latency,
    pub(crate) scheduled_ttft: Distribution,
    pub(crate) scheduled_tpot: Distribution,
    pub(crate) scheduled_e2e: Distribution,
    /// Gaps between chunks.
    pub(crate) gaps: Distribution,
    /// The same, shared among the tokens of the later chunk.
    pub(crate) token_gaps: Distribution,
}

impl Latency {
    fn push(&mut self, value: f64) {
        self.values.push(value);
        self.course.push(value);
    }

    pub(crate) fn mean_interval(&self, load: Load) -> workload::Interval {
        let n = self.values.count();
        let batches = load.mean(n);
        let found = batches.as_ref().ok().and_then(|batches| self.course.estimate(batches));
        workload::Interval::new(Method::BatchMeans, n, &batches, found, self.course.effective_n())
    }

    /// Of a percentile, from the values in ascending order.
    pub(crate) fn quantile_interval(&self, ascending: &Ascending<'_>, q: f64, load: Load) -> workload::Interval {
        let n = self.values.count();
        let batches = load.quantile(n, q);
        let found = batches.as_ref().ok().and_then(|batches| {
            // A sketch forgets the order: what the mean is worth, a quantile is worth about as much.
            let of_mean = || {
                let worth = self.course.effective_n()?;
                let (value, interval) = (ascending.quantile(q)?, ascending.quantile_interval(q, worth)?);
                Some((Estimate { value, interval, degrees: batches.degrees(), least_p: 0.0 }, worth))
            };
            ascending.quantile_estimate(q, batches).or_else(of_mean)
        });
        let (found, worth) = found.unzip();
        workload::Interval::new(Method::OrderStatistics, n, &batches, found, worth)
    }
}

impl Times {
    /// The times of a request that was sent at `sent`; `None` without a token.
    pub(crate) fn of(record: &Record, sent: Nanos) -> Option<Self> {
        let (first, last) = record.first_token_ns.zip(record.last_token_ns)?;
        let tbt = record.tokens_after_first_chunk().map(|later| ms(last - first) / later);
        Some(Self { ttft: ms(first - sent), e2e: ms(last - sent), tbt })
    }
}

impl Latencies {
    /// Takes a success that was sent at `sent`.
    pub(crate) fn push(&mut self, record: &Record, sent: Nanos, times: Option<&Times>) {
        self.push_gaps(&record.chunks);
        let Some(Times { ttft, e2e, tbt }) = times.copied() else { return };
        let n = f64::from(record.output_tokens);
        let waited = signed_ms(record.scheduled_ns, sent);
        self.ttft.push(ttft);
        self.e2e.push(e2e);
        self.scheduled_ttft.push(ttft + waited);
        self.scheduled_e2e.push(e2e + waited);
        tbt.into_iter().for_each(|tbt| self.tbt.push(tbt));
        if n > 0.0 {
            self.tpot.push(e2e / n);
            self.scheduled_tpot.push((e2e + waited) / n);
            if e2e > 0.0 {
                self.user_rate.push(n / (e2e / 1e3));
            }
        }
    }

    fn push_gaps(&mut self, chunks: &[Chunk]) {
        // Chunks with one stamp are one arrival: nothing is known of the time between them.
        let mut arrivals = chunks.chunk_by(|before, after| before.at_ns == after.at_ns);
        let Some(mut before) = arrivals.next().map(|arrival| arrival[0].at_ns) else { return };
        for arrival in arrivals {
            let at = arrival[0].at_ns;
            let gap = ms(at - std::mem::replace(&mut before, at));
            self.gaps.push(gap);
            let tokens: u32 = arrival.iter().map(|chunk| chunk.tokens).sum();
            let share = gap / f64::from(tokens);
            (0..tokens).for_each(|_| self.token_gaps.push(share));
        }
    }
}

/// From `from` to `to` in milliseconds, negative when `to` is earlier.
pub(crate) fn signed_ms(from: Nanos, to: Nanos) -> f64 {
    if to >= from { ms(to - from) } else { -ms(from - to) }
}

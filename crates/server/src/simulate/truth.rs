//! What a simulator truly did.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use sagellm_core::{Clock, Nanos, WallTime};
use serde::{Deserialize, Serialize};

use crate::socket::Arrival;

/// Requests that are kept; older ones are forgotten.
const KEPT: usize = 2_000_000;

/// One answer. Times are Unix time in nanoseconds, so that another process can compare them; differences between them are
/// those of a monotonic clock.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Truth {
    /// The `x-request-id` header of the request, where it had one.
    pub request: Option<String>,
    /// When the first byte of the request arrived.
    pub arrival_ns: u64,
    /// Whether the kernel stamped the arrival; otherwise it is when the bytes had been read.
    pub arrival_by_kernel: bool,
    /// Right before the write that carried the first token; `null` if there was none.
    pub first_write_ns: Option<u64>,
    /// Right before the write that carried the last token that was written.
    pub last_write_ns: Option<u64>,
    /// Tokens written.
    pub tokens: u32,
    /// Writes that carried them.
    pub writes: u32,
    /// By how much the latest token missed the time at which it was due.
    pub latest_ns: u64,
    /// Whether all was written; otherwise the client went before.
    pub whole: bool,
    /// After `PUT /admin/truth`: each write with its number of tokens. The first time is counted from the arrival, each
    /// other one from the write before; in nanoseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub write_gaps_ns: Option<Vec<(u64, u32)>>,
}

/// The same while it happens, on the clock of the server.
#[derive(Clone, Debug)]
pub(crate) struct Notes {
    pub(crate) request: Option<String>,
    pub(crate) arrival: Arrival,
    pub(crate) first_write: Option<Nanos>,
    pub(crate) last_write: Option<Nanos>,
    pub(crate) tokens: u32,
    pub(crate) writes: u32,
    pub(crate) latest: Nanos,
    pub(crate) gaps: Option<Vec<(Nanos, u32)>>,
}

impl Notes {
    pub(crate) fn new(request: Option<String>, arrival: Arrival, each_write: bool) -> Self {
        let gaps = each_write.then(Vec::new);
        Self { request, arrival, first_write: None, last_write: None, tokens: 0, writes: 0, latest: 0, gaps }
    }

    /// Notes a write of `tokens` begun at `at`, the first of which was due at `due`.
    pub(crate) fn write(&mut self, at: Nanos, tokens: u32, due: Nanos) {
        if let Some(gaps) = &mut self.gaps {
            gaps.push((at.saturating_sub(self.last_write.unwrap_or(self.arrival.at)), tokens));
        }
        self.first_write.get_or_insert(at);
        self.last_write = Some(at);
        self.tokens += tokens;
        self.writes += 1;
        self.latest = self.latest.max(at.saturating_sub(due));
    }

    fn finish(self, clock: Clock, whole: bool) -> Truth {
        // Read anew for each request, so that a system time that drifts does no harm.
        let zero = WallTime::now().unix_ns.saturating_sub(clock.now());
        Truth {
            request: self.request,
            arrival_ns: zero + self.arrival.at,
            arrival_by_kernel: self.arrival.by_kernel,
            first_write_ns: self.first_write.map(|at| zero + at),
            last_write_ns: self.last_write.map(|at| zero + at),
            tokens: self.tokens,
            writes: self.writes,
            latest_ns: self.latest,
            whole,
            write_gaps_ns: self.gaps,
        }
    }
}

/// The answers so far.
#[derive(Debug, Default)]
pub(crate) struct Log {
    answers: Mutex<VecDeque<Truth>>,
    each_write: AtomicBool,
}

impl Truth {
    /// Bytes of its line in `/admin/truth` at most, with a UUID as the name of the request and without every write.
    pub const LONGEST_LINE: u64 = 320;

    /// Bytes of the name of a request at most; longer ones are not kept.
    pub const MAX_REQUEST_ID: usize = 64;
}

impl Log {
    fn lock(&self) -> MutexGuard<'_, VecDeque<Truth>> {
        // What a thread that failed had noted is true all the same.
        self.answers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn push(&self, notes: Notes, clock: Clock, whole: bool) {
        let truth = notes.finish(clock, whole);
        let mut all = self.lock();
        if all.len() == KEPT {
            all.pop_front();
        }
        all.push_back(truth);
    }

    pub(crate) fn all(&self) -> Vec<Truth> {
        self.lock().iter().cloned().collect()
    }

    /// Notes every write of the requests that begin from now on. Eight bytes and more for each token.
    pub(crate) fn keep_each_write(&self) {
        self.each_write.store(true, Ordering::Relaxed);
    }

    pub(crate) fn keeps_each_write(&self) -> bool {
        self.each_write.load(Ordering::Relaxed)
    }

    pub(crate) fn clear(&self) {
        self.lock().clear();
    }

    /// One JSON object per line.
    pub(crate) fn lines(&self) -> serde_json::Result<Vec<u8>> {
        let mut lines = Vec::new();
        for truth in self.lock().iter() {
            serde_json::to_writer(&mut lines, truth)?;
            lines.push(b'\n');
        }
        Ok(lines)
    }
}

/// Bounds in microseconds; what is later than the last has a bucket of its own.
const BOUNDS_US: [u64; 12] = [10, 20, 50, 100, 200, 300, 500, 1_000, 2_000, 5_000, 10_000, 100_000];

/// How late tokens were written, of all threads.
#[derive(Debug, Default)]
pub(crate) struct Lateness {
    buckets: [AtomicU64; BOUNDS_US.len() + 1],
    sum_ns: AtomicU64,
}

impl Lateness {
    pub(crate) fn add(&self, late: Nanos, tokens: u32) {
        let bucket = BOUNDS_US.partition_point(|&bound| bound * 1000 < late);
        self.buckets[bucket].fetch_add(u64::from(tokens), Ordering::Relaxed);
        self.sum_ns.fetch_add(late * u64::from(tokens), Ordering::Relaxed);
    }

    pub(crate) fn share_within(&self, limit: Duration) -> f64 {
        let last = BOUNDS_US.partition_point(|&bound| u128::from(bound) < limit.as_micros());
        let counts = self.buckets.each_ref().map(|bucket| bucket.load(Ordering::Relaxed));
        let total: u64 = counts.iter().sum();
        let within: u64 = counts.iter().take(last + 1).sum();
        if total == 0 { 1.0 } else { within as f64 / total as f64 }
    }

    /// As a histogram of Prometheus.
    pub(crate) fn metrics(&self) -> String {
        use std::fmt::Write;

        let name = "simulator_lateness_seconds";
        let mut text = format!("# HELP {name} How late tokens were written.\n# TYPE {name} histogram\n");
        let mut total = 0;
        for (place, bucket) in self.buckets.iter().enumerate() {
            total += bucket.load(Ordering::Relaxed);
            let bound = BOUNDS_US.get(place).map_or("+Inf".to_owned(), |us| (*us as f64 / 1e6).to_string());
            let _ = writeln!(text, "{name}_bucket{{le=\"{bound}\"}} {total}");
        }
        let sum = sagellm_core::seconds(self.sum_ns.load(Ordering::Relaxed));
        let _ = write!(text, "{name}_sum {sum}\n{name}_count {total}\n");
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lateness_is_counted_by_tokens() {
        let lateness = Lateness::default();
        assert_eq!(lateness.share_within(Duration::from_micros(1)), 1.0);
        lateness.add(300_000, 98);
        lateness.add(300_001, 1);
        lateness.add(Nanos::from(u32::MAX), 1);
        assert_eq!(lateness.share_within(Duration::from_micros(300)), 0.98);
        assert_eq!(lateness.share_within(Duration::from_micros(301)), 0.99);
        assert_eq!(lateness.share_within(Duration::from_secs(1)), 1.0);
        let text = lateness.metrics();
        assert!(text.contains("_bucket{le=\"0.0003\"} 98\n") && text.contains("_bucket{le=\"+Inf\"} 100\n"), "{text}");
    }

    #[test]
    fn no_line_is_longer_than_the_longest() {
        let log = Log::default();
        log.lock().push_back(Truth {
            request: Some("ffffffff-ffff-4fff-8000-ffffffffffff".into()),
            arrival_ns: u64::MAX,
            arrival_by_kernel: false,
            first_write_ns: Some(u64::MAX),
            last_write_ns: Some(u64::MAX),
            tokens: u32::MAX,
            writes: u32::MAX,
            latest_ns: u64::MAX,
            whole: false,
            write_gaps_ns: None,
        });
        let length = log.lines().unwrap().len() as u64;
        assert!((Truth::LONGEST_LINE / 2..=Truth::LONGEST_LINE).contains(&length), "{length}");
    }

    #[test]
    fn stamps_become_unix_time() {
        let clock = Clock::start();
        let now = clock.now();
        let mut notes = Notes::new(None, Arrival { at: now, by_kernel: true }, true);
        notes.write(now + 50, 1, now + 40);
        notes.write(now + 90, 2, now + 60);
        let truth = notes.finish(clock, true);
        assert_eq!(truth.first_write_ns.unwrap() - truth.arrival_ns, 50);
        assert_eq!(truth.last_write_ns.unwrap() - truth.arrival_ns, 90);
        assert_eq!((truth.tokens, truth.writes, truth.latest_ns), (3, 2, 30));
        assert_eq!(truth.write_gaps_ns, Some(vec![(50, 1), (40, 2)]));
        assert!(truth.arrival_ns.abs_diff(WallTime::now().unix_ns) < 1_000_000_000);
    }
}

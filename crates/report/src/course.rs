//! The course of a run: when what was sent and ended, and where in between it was steady.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use sagellm_core::{Mode, Nanos, Workload, seconds};
use sagellm_stats::{Batches, Change, Concurrency, Distribution, Series, Spans};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::batching::requests;
use crate::latency::Times;

/// Share of the concurrency cap from which on a closed loop is at its load.
const FULL: f64 = 0.95;

/// Fewest requests that can show a steady state, as `sagellm_stats::steady` has it.
const FEWEST: usize = 50;

/// Fewest rounds of a closed loop that can. A round is as many ends as requests run at once.
const FEWEST_ROUNDS: usize = 3;

/// Requests in the order in which they ended; 56 bytes each.
#[derive(Debug, Default)]
pub(crate) struct Course(Vec<Row>);

/// A measured request that was sent.
#[derive(Debug)]
struct Row {
    sent: Nanos,
    end: Nanos,
    success: bool,
    output_tokens: u32,
    /// Of a success with tokens.
    times: Option<Times>,
}

/// How the steady window was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SteadyMethod {
    /// A closed loop: from the first end once 95 % of the cap ran at once to when they last did.
    Cap,
    /// MSER-5 on the number of requests in flight whenever one was sent, from both ends.
    Mser5,
}

/// Why there is no steady window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NotSteady {
    Batch,
    TooFew(usize),
    /// Ends within a window that was full, and the cap.
    TooFewRounds(usize, u32),
    NeverFull,
    NeverSettled,
}

/// The part of a run in which it was steady.
#[derive(Debug)]
pub(crate) struct Steady {
    pub(crate) method: SteadyMethod,
    /// From the first sent request of the run to the beginning of the window, in seconds.
    pub(crate) start_s: f64,
    pub(crate) length_s: f64,
    /// Successes that ended within, and their output tokens.
    pub(crate) ended: u64,
    pub(crate) output_tokens: u64,
    /// Of the successes that were sent within, in milliseconds.
    pub(crate) ttft: Distribution,
    pub(crate) tbt: Distribution,
    pub(crate) e2e: Distribution,
    /// |L − λW| / L, see the registry.
    pub(crate) little: Option<f64>,
    /// How the mean TTFT and TBT changed from the first to the second half of the requests sent within.
    pub(crate) drift: [(&'static str, Option<Change>); 2],
}

impl Course {
    pub(crate) fn push(&mut self, sent: Nanos, end: Nanos, success: bool, output_tokens: u32, times: Option<Times>) {
        self.0.push(Row { sent, end, success, output_tokens, times });
    }

    pub(crate) fn concurrency(&self) -> Option<Concurrency> {
        let mut spans = Spans::default();
        self.0.iter().for_each(|row| spans.push(row.sent, row.end));
        spans.concurrency()
    }

    /// Finds the steady window and what happened in it.
    pub(crate) fn steady(&mut self, workload: &Workload) -> Result<Steady, NotSteady> {
        // In place: a stable sort takes half as much memory again.
        self.0.sort_unstable_by_key(|row| (row.sent, row.end));
        match workload.max_concurrency {
            _ if workload.mode == Mode::Batch => Err(NotSteady::Batch),
            Some(cap) if workload.is_closed_loop() => Ok(self.within(self.full(cap)?, SteadyMethod::Cap)),
            _ => Ok(self.within(self.settled()?, SteadyMethod::Mser5)),
        }
    }

    /// From the first end once `FULL` of the cap was in flight to when it last was. It begins with an end as it ends
    /// with one: the requests that fill the loop begin together and end a whole round later, so that from the moment at
    /// which it is full a round would have time but no ends. The requests are in the order of sending.
    fn full(&self, cap: u32) -> Result<(Nanos, Nanos), NotSteady> {
        let wanted = (f64::from(cap) * FULL).ceil().max(1.0) as i64;
        let mut ends: Vec<Nanos> = self.0.iter().map(|row| row.end).collect();
        ends.sort_unstable();
        let mut starts = self.0.iter().map(|row| row.sent).peekable();
        let mut running = 0_i64;
        let mut window: Option<(Nanos, Nanos)> = None;
        for end in &ends {
            // One that ends when another starts does not overlap it.
            while starts.next_if(|start| start < end).is_some() {
                running += 1;
            }
            if running >= wanted {
                window = Some((window.map_or(*end, |window| window.0), *end));
            }
            running -= 1;
        }
        let (start, end) = window.ok_or(NotSteady::NeverFull)?;
        let within = ends.partition_point(|it| *it <= end) - ends.partition_point(|it| *it <= start);
        let enough = within >= FEWEST_ROUNDS * cap as usize;
        enough.then_some((start, end)).ok_or(NotSteady::TooFewRounds(within, cap))
    }

    /// From the first to the last request of the steady part, by the time of sending.
    fn settled(&self) -> Result<(Nanos, Nanos), NotSteady> {
        if self.0.len() < FEWEST {
            return Err(NotSteady::TooFew(self.0.len()));
        }
        let steady = sagellm_stats::steady(&self.in_flight()).ok_or(NotSteady::NeverSettled)?;
        let sent = |place: usize| self.0.get(place).map(|row| row.sent);
        let start = sent(steady.start).unwrap_or_default();
        // At the end of the run the last request is still within.
        let end = sent(steady.end).or_else(|| self.0.last().map(|row| row.sent + 1)).unwrap_or_default();
        (start < end).then_some((start, end)).ok_or(NotSteady::NeverSettled)
    }

    /// How many requests ran when each was sent, itself included; in the order of sending.
    fn in_flight(&self) -> Vec<f64> {
        let mut ends: BinaryHeap<Reverse<Nanos>> = BinaryHeap::new();
        let running = |row: &Row| {
            while ends.peek().is_some_and(|end| end.0 <= row.sent) {
                ends.pop();
            }
            ends.push(Reverse(row.end));
            ends.len() as f64
        };
        self.0.iter().map(running).collect()
    }

    fn within(&self, (start, end): (Nanos, Nanos), method: SteadyMethod) -> Steady {
        let first = self.0.first().map_or(start, |row| row.sent);
        let mut steady = Steady {
            method,
            start_s: seconds(start - first),
            length_s: seconds(end - start),
            ended: 0,
            output_tokens: 0,
            ttft: Distribution::default(),
            tbt: Distribution::default(),
            e2e: Distribution::default(),
            little: None,
            drift: [("TTFT", None), ("TBT", None)],
        };
        // In-flight time inside of the window, and the whole of it of the requests sent within.
        let (mut inside, mut of_sent) = (0_u128, 0_u128);
        for row in &self.0 {
            inside += u128::from(row.end.min(end).saturating_sub(row.sent.max(start)));
            if row.success && start < row.end && row.end <= end {
                steady.ended += 1;
                steady.output_tokens += u64::from(row.output_tokens);
            }
            if (start..end).contains(&row.sent) {
                of_sent += u128::from(row.end - row.sent);
                if let Some(times) = row.times {
                    steady.ttft.push(times.ttft);
                    steady.e2e.push(times.e2e);
                    times.tbt.into_iter().for_each(|tbt| steady.tbt.push(tbt));
                }
            }
        }
        steady.little = (inside > 0).then(|| inside.abs_diff(of_sent) as f64 / inside as f64);
        // Requests that ran at once are alike.
        let together = (inside as f64 / (end - start).max(1) as f64).ceil() as u64;
        let batches = |n| match method {
            SteadyMethod::Cap => Batches::of_closed_loop(n, together),
            SteadyMethod::Mser5 => Batches::few(n),
        };
        let sent_within = || self.0.iter().filter(|row| (start..end).contains(&row.sent)).filter_map(|row| row.times);
        steady.drift[0].1 = drift(sent_within().map(|times| times.ttft), steady.ttft.count(), batches);
        steady.drift[1].1 = drift(sent_within().filter_map(|times| times.tbt), steady.tbt.count(), batches);
        steady
    }
}

/// How the mean changed from the first to the second half of `n` values.
fn drift(values: impl Iterator<Item = f64>, n: u64, batches: impl Fn(u64) -> Option<Batches>) -> Option<Change> {
    let mut halves = [Series::default(), Series::default()];
    for (place, value) in (0..).zip(values) {
        halves[usize::from(place >= n / 2)].push(value);
    }
    let [first, second] = halves.map(|half| half.estimate(&batches(half.count())?));
    second?.change_from(&first?)
}

impl NotSteady {
    pub(crate) fn reason(self) -> String {
        match self {
            Self::Batch => "batch mode offers everything at once: it fills up and drains, and is never steady".into(),
            Self::TooFew(n) => {
                format!("{} cannot show a steady state: it takes {FEWEST}", requests(n as u64))
            }
            Self::TooFewRounds(n, cap) => format!(
                "after the first end {} ended while the concurrency cap of {cap} was full: a steady state takes \
                 {FEWEST_ROUNDS} rounds of {cap}",
                requests(n as u64)
            ),
            Self::NeverFull => "never did 95 % of the concurrency cap run at once for any time".into(),
            Self::NeverSettled => "the number of requests in flight never settled".into(),
        }
    }
}

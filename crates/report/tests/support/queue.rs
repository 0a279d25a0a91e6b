//! A simulated queue: a server with slots that take requests in the order in which they come, and runs against it.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use sagellm_core::journal::Header;
use sagellm_core::{Arrival, Chunk, Record};
use sagellm_report::{Sample, WorkloadSummary};
use sagellm_stats::SplitMix64;

use super::{MS, header, success};

/// Mean time of a token, and tokens of a request on average: a request takes 40 ms of a slot.
const TOKEN_NS: f64 = 10.0 * MS as f64;
const TOKENS: f64 = 4.0;

/// When requests are sent.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Offered {
    /// By a Poisson process, at this share of what the slots can do.
    Open(f64),
    /// Whenever one of so many ends.
    Closed(u32),
}

/// How long requests take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lengths {
    /// Four tokens, the time of a request within 5 % of the mean.
    Alike,
    /// Two tokens and a geometric number of further ones, two on average.
    Varied,
}

/// What is run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Queue {
    pub(crate) slots: u32,
    pub(crate) offered: Offered,
    pub(crate) lengths: Lengths,
    pub(crate) requests: u32,
}

impl Queue {
    /// The summary of one run, which begins with an empty queue.
    pub(crate) fn run(&self, random: &mut SplitMix64) -> WorkloadSummary {
        let mut records = self.records(random);
        records.sort_by_key(|record| record.end_ns);
        let mut sample = Sample::new(self.header()).unwrap();
        records.iter().for_each(|record| sample.push(record).unwrap());
        sample.finish(None)
    }

    fn header(&self) -> Header {
        let mut header = header("short_input", self.requests);
        (header.workload.arrival, header.workload.max_concurrency) = match self.offered {
            Offered::Open(load) => (Arrival::Poisson { rate: self.rate(load) }, None),
            Offered::Closed(cap) => (Arrival::Immediate, Some(cap)),
        };
        header.workload.num_warmups = Some(0);
        header
    }

    /// Requests per second.
    fn rate(&self, load: f64) -> f64 {
        load * f64::from(self.slots) * 1e9 / (TOKEN_NS * TOKENS)
    }

    fn records(&self, random: &mut SplitMix64) -> Vec<Record> {
        let begin = 1000 * MS;
        let mut free: BinaryHeap<Reverse<u64>> = (0..self.slots).map(|_| Reverse(begin)).collect();
        let clients = if let Offered::Closed(cap) = self.offered { cap } else { 0 };
        let mut idle: BinaryHeap<Reverse<u64>> = (0..clients).map(|_| Reverse(begin)).collect();
        let mut arrived = begin as f64;
        let mut one = |id: u64| {
            let sent = match self.offered {
                Offered::Open(load) => {
                    arrived += exponential(random) * 1e9 / self.rate(load);
                    arrived as u64
                }
                Offered::Closed(_) => idle.pop().unwrap().0,
            };
            let started = free.pop().unwrap().0.max(sent);
            let record = self.served(id, sent, started, random);
            free.push(Reverse(record.end_ns));
            idle.push(Reverse(record.end_ns));
            record
        };
        (0..u64::from(self.requests)).map(&mut one).collect()
    }

    fn served(&self, id: u64, sent: u64, started: u64, random: &mut SplitMix64) -> Record {
        let tokens = match self.lengths {
            Lengths::Alike => TOKENS as u32,
            Lengths::Varied => 2 + (exponential(random) / 1.5_f64.ln()) as u32,
        };
        let token = TOKEN_NS * (0.95 + 0.1 * random.unit());
        let at_ns = |place: u32| started + (f64::from(place + 1) * token) as u64;
        let chunks: Vec<Chunk> = (0..tokens)
            .map(|place| Chunk { at_ns: at_ns(place), tokens: 1, delay_ns: None, uncertainty_ns: 0 })
            .collect();
        let (first, last) = (at_ns(0), at_ns(tokens - 1));
        let mut record = Record { chunks, max_tokens: tokens, output_tokens: tokens, ..success(id, 0, 1, 1) };
        (record.scheduled_ns, record.sent_ns, record.end_ns) = (sent, Some(sent), last);
        (record.first_token_ns, record.last_token_ns) = (Some(first), Some(last));
        record
    }
}

fn exponential(random: &mut SplitMix64) -> f64 {
    -(1.0 - random.unit()).ln()
}

/// How often the interval of a figure was shown, and how often it held the truth.
#[derive(Clone, Debug, Default)]
pub(crate) struct Held {
    pub(crate) truth: f64,
    pub(crate) shown: u32,
    pub(crate) held: u32,
}

/// Of `trials` runs and a figure: the truth is what the runs give on average, which is what repeating the run would.
pub(crate) fn held(runs: &[WorkloadSummary], key: &str) -> Held {
    let values: Vec<f64> = runs.iter().filter_map(|run| run.get(key)).collect();
    let truth = values.iter().sum::<f64>() / values.len() as f64;
    let ends = |run: &WorkloadSummary| {
        let interval = run.details.intervals.get(key)?;
        interval.low.zip(interval.high)
    };
    let shown: Vec<(f64, f64)> = runs.iter().filter_map(ends).collect();
    let held = shown.iter().filter(|(low, high)| *low <= truth && truth <= *high).count();
    Held { truth, shown: shown.len() as u32, held: held as u32 }
}

//! The records of one workload, reduced to what its figures need.

use std::collections::{BTreeMap, HashSet};

use sagellm_core::journal::{Close, Header};
use sagellm_core::{Nanos, OutcomeKind, Record, Stamp, TokenSource, ms};

use crate::WorkloadSummary;

/// More tokens than this in one record are taken for damage, not for an answer.
const MOST_TOKENS: u64 = 1 << 24;

/// Takes records one by one and ends as a [`WorkloadSummary`].
#[derive(Debug)]
pub struct Sample {
    pub(crate) header: Header,
    /// Measured requests that were sent, in the order of the records.
    pub(crate) sent: Vec<Sent>,
    /// Measured requests by how they ended.
    pub(crate) outcomes: BTreeMap<OutcomeKind, u64>,
    /// Why the first of the failed requests failed, shortened.
    pub(crate) first_failure: Option<String>,
    /// Successes whose length is not the one asked for although it had to be.
    pub(crate) wrong_lengths: u64,
    /// Warm-up requests that succeeded.
    pub(crate) warmups: u64,
    /// Gaps between the chunks of successes, in milliseconds.
    pub(crate) gaps: Vec<f64>,
    /// The same, shared among the tokens of the later chunk.
    pub(crate) token_gaps: Vec<f64>,
    /// Number, tokens, and most tokens of the chunks of successes.
    pub(crate) chunks: Chunks,
    pub(crate) stamps: Vec<Stamp>,
    pub(crate) token_sources: Vec<TokenSource>,
    ids: HashSet<(u32, u64)>,
}

/// A measured request that was sent. Times are nanoseconds on the clock of the run.
#[derive(Debug)]
pub(crate) struct Sent {
    pub(crate) scheduled: Nanos,
    pub(crate) sent: Nanos,
    pub(crate) end: Nanos,
    pub(crate) success: Option<Success>,
}

/// What a successful request gave.
#[derive(Debug)]
pub(crate) struct Success {
    pub(crate) input_tokens: u32,
    pub(crate) output_tokens: u32,
    pub(crate) first_chunk_tokens: u32,
    /// First and last token, where there was one.
    pub(crate) tokens: Option<(Nanos, Nanos)>,
}

#[derive(Debug, Default)]
pub(crate) struct Chunks {
    pub(crate) count: u64,
    pub(crate) tokens: u64,
    pub(crate) most: u32,
}

impl Sample {
    /// Begins the sample of the workload that `header` describes.
    ///
    /// # Errors
    /// In words, when the header is not one that this program writes.
    pub fn new(header: Header) -> Result<Self, String> {
        let name = &header.workload.name;
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        if name.is_empty() || name.starts_with('.') || !name.chars().all(plain) {
            // The name becomes that of a file.
            return Err(format!("`{name}` is no name of a workload: letters, digits, `-`, `_` and `.` make one"));
        }
        if !(0.0..=1.0).contains(&header.max_error_rate) {
            return Err(format!("max_error_rate is {}, which is no share between 0 and 1", header.max_error_rate));
        }
        Ok(Self {
            header,
            sent: Vec::new(),
            outcomes: BTreeMap::new(),
            first_failure: None,
            wrong_lengths: 0,
            warmups: 0,
            gaps: Vec::new(),
            token_gaps: Vec::new(),
            chunks: Chunks::default(),
            stamps: Vec::new(),
            token_sources: Vec::new(),
            ids: HashSet::new(),
        })
    }

    /// Takes a record. Those of the warm-up are counted and otherwise left out.
    ///
    /// # Errors
    /// In words, when the record contradicts itself or was seen before.
    pub fn push(&mut self, record: &Record) -> Result<(), String> {
        check(record)?;
        if record.warmup {
            self.warmups += u64::from(record.outcome == OutcomeKind::Success);
            return Ok(());
        }
        if !self.ids.insert((record.worker, record.id)) {
            return Err(format!("request {} is recorded twice", record.id));
        }
        *self.outcomes.entry(record.outcome).or_default() += 1;
        if record.outcome.is_failure() && self.first_failure.is_none() {
            self.first_failure = record.reason.as_deref().map(shorten);
        }
        let Some(sent) = record.sent_ns else { return Ok(()) };
        let success = (record.outcome == OutcomeKind::Success).then(|| {
            self.take_success(record);
            Success {
                input_tokens: record.input_tokens,
                output_tokens: record.output_tokens,
                first_chunk_tokens: record.chunks.first().map_or(0, |chunk| chunk.tokens),
                tokens: record.first_token_ns.zip(record.last_token_ns),
            }
        });
        self.sent.push(Sent { scheduled: record.scheduled_ns, sent, end: record.end_ns, success });
        Ok(())
    }

    fn take_success(&mut self, record: &Record) {
        if record.ignore_eos && record.output_tokens != record.max_tokens {
            self.wrong_lengths += 1;
        }
        if !self.stamps.contains(&record.stamp) {
            self.stamps.push(record.stamp);
        }
        if !self.token_sources.contains(&record.output_tokens_source) {
            self.token_sources.push(record.output_tokens_source);
        }
        for chunk in &record.chunks {
            self.chunks.count += 1;
            self.chunks.tokens += u64::from(chunk.tokens);
            self.chunks.most = self.chunks.most.max(chunk.tokens);
        }
        for pair in record.chunks.windows(2) {
            let gap = ms(pair[1].at_ns - pair[0].at_ns);
            let tokens = pair[1].tokens;
            self.gaps.push(gap);
            self.token_gaps.extend(std::iter::repeat_n(gap / f64::from(tokens), tokens as usize));
        }
    }

    /// The figures of what was taken; `close` is the closing line, which a run that crashed does not have.
    pub fn finish(mut self, close: Option<&Close>) -> WorkloadSummary {
        // Neighbours are to be neighbours in time: the intervals rely on it.
        self.sent.sort_by_key(|request| request.sent);
        WorkloadSummary::of(&self, close)
    }

    /// Successful requests, in the order in which they were sent once the sample is finished.
    pub(crate) fn successes(&self) -> impl Iterator<Item = (&Sent, &Success)> {
        self.sent.iter().filter_map(|request| Some((request, request.success.as_ref()?)))
    }

    pub(crate) fn count(&self, outcome: OutcomeKind) -> u64 {
        self.outcomes.get(&outcome).copied().unwrap_or(0)
    }

    pub(crate) fn total(&self) -> u64 {
        self.outcomes.values().sum()
    }

    pub(crate) fn failed(&self) -> u64 {
        self.outcomes.iter().filter(|(kind, _)| kind.is_failure()).map(|(_, count)| count).sum()
    }

    /// First sent and last end.
    pub(crate) fn window(&self) -> Option<(Nanos, Nanos)> {
        let first = self.sent.iter().map(|request| request.sent).min()?;
        let last = self.sent.iter().map(|request| request.end).max()?;
        Some((first, last))
    }
}

/// The first line of a text, as much of it as fits a message.
fn shorten(text: &str) -> String {
    const LONGEST: usize = 160;
    let line = text.lines().next().unwrap_or_default();
    if line.chars().count() <= LONGEST {
        return line.to_owned();
    }
    line.chars().take(LONGEST - 1).chain(['…']).collect()
}

/// Refuses what no run can have recorded, so that no figure is made of it.
fn check(record: &Record) -> Result<(), String> {
    let stamps = [
        ("sent_ns", record.sent_ns),
        ("first_token_ns", record.first_token_ns),
        ("last_token_ns", record.last_token_ns),
        ("end_ns", Some(record.end_ns)),
    ];
    let mut former: Option<(&str, Nanos)> = None;
    for (name, stamp) in stamps {
        let Some(at) = stamp else { continue };
        if let Some((former_name, former_at)) = former.filter(|(_, former_at)| at < *former_at) {
            return Err(format!("request {}: {name} ({at}) is before {former_name} ({former_at})", record.id));
        }
        former = Some((name, at));
    }
    if record.outcome == OutcomeKind::Success && record.sent_ns.is_none() {
        return Err(format!("request {} succeeded without having been sent", record.id));
    }
    let (first, last) = (record.first_token_ns, record.last_token_ns);
    if first.is_some() != last.is_some() {
        return Err(format!("request {}: only one of first_token_ns and last_token_ns is there", record.id));
    }
    let ends = (record.chunks.first().map(|chunk| chunk.at_ns), record.chunks.last().map(|chunk| chunk.at_ns));
    if ends != (first, last) {
        return Err(format!(
            "request {}: its chunks do not begin and end with first_token_ns and last_token_ns",
            record.id
        ));
    }
    if !record.chunks.is_sorted_by_key(|chunk| chunk.at_ns) || record.chunks.iter().any(|chunk| chunk.tokens == 0) {
        return Err(format!("request {}: its chunks are out of order, or one holds no token", record.id));
    }
    let tokens: u64 = record.chunks.iter().map(|chunk| u64::from(chunk.tokens)).sum();
    if tokens.max(u64::from(record.output_tokens)) > MOST_TOKENS {
        return Err(format!("request {}: {tokens} tokens are more than any answer holds", record.id));
    }
    Ok(())
}

//! The records of one workload, reduced to what its figures need as they come.

use std::collections::BTreeMap;

use sagellm_core::journal::{Close, Header};
use sagellm_core::{FinishReason, OutcomeKind, Record, Stamp, TokenSource, ms};
use sagellm_stats::{Concurrency, Distribution};

use crate::WorkloadSummary;
use crate::course::{Course, NotSteady, Steady};
use crate::damage::Guard;
use crate::endings::Endings;
use crate::goodput::Goodput;
use crate::latency::{Latencies, Times, signed_ms};
use crate::stimulus::Stimulus;
use crate::throughput::Throughput;
use crate::uncertainty::Uncertainty;
use crate::wire::Wire;

/// Where it is not known of more than this share of the tokens in which chunk they came, nothing is said of single chunks.
const MOST_UNTOLD: f64 = 0.02;

/// Takes records one by one and ends as a [`WorkloadSummary`].
///
/// Memory grows by 56 bytes per request, which the exact peak of concurrency and the steady window need, and by a count per
/// second, and not with the tokens.
#[derive(Debug)]
pub struct Sample {
    pub(crate) header: Header,
    /// Measured requests that were sent.
    pub(crate) sent: u64,
    /// Measured requests by how they ended.
    pub(crate) outcomes: BTreeMap<OutcomeKind, u64>,
    /// Why the first of the failed requests failed, shortened.
    pub(crate) first_failure: Option<String>,
    /// Successes whose length is not the one asked for although it had to be.
    pub(crate) wrong_lengths: u64,
    /// Warm-up requests that succeeded.
    pub(crate) warmups: u64,
    pub(crate) endings: Endings,
    /// Prompt and output tokens of the successes.
    pub(crate) tokens: (u64, u64),
    pub(crate) latencies: Latencies,
    pub(crate) throughput: Throughput,
    /// From scheduled to sent, in milliseconds.
    pub(crate) waits: Distribution,
    /// Tokens per chunk of the successes.
    pub(crate) chunk_tokens: Distribution,
    /// Output tokens of which it is not known in which chunk they came.
    pub(crate) untold_tokens: u64,
    pub(crate) wire: Wire,
    pub(crate) uncertainty: Uncertainty,
    /// Time for which places of a closed loop stayed empty between two requests, in milliseconds.
    pub(crate) empty_ms: f64,
    pub(crate) stamps: Vec<Stamp>,
    pub(crate) token_sources: Vec<TokenSource>,
    /// `None` without an objective.
    pub(crate) goodput: Option<Goodput>,
    /// Known once the sample is finished.
    pub(crate) concurrency: Option<Concurrency>,
    pub(crate) stimulus: Stimulus,
    /// Likewise.
    pub(crate) steady: Result<Steady, NotSteady>,
    course: Course,
    guard: Guard,
}

impl Sample {
    /// Begins the sample of the workload that `header` describes.
    ///
    /// # Errors
    /// In words, when the header is not one that this program writes.
    pub fn new(header: Header) -> Result<Self, String> {
        let guard = Guard::of(&header)?;
        let goodput = header.workload.goodput.clone().map(Goodput::new);
        Ok(Self {
            stimulus: Stimulus::new(&header),
            header,
            sent: 0,
            outcomes: BTreeMap::new(),
            first_failure: None,
            wrong_lengths: 0,
            warmups: 0,
            endings: Endings::default(),
            tokens: (0, 0),
            latencies: Latencies::default(),
            throughput: Throughput::default(),
            waits: Distribution::default(),
            chunk_tokens: Distribution::default(),
            untold_tokens: 0,
            wire: Wire::default(),
            uncertainty: Uncertainty::default(),
            empty_ms: 0.0,
            stamps: Vec::new(),
            token_sources: Vec::new(),
            goodput,
            concurrency: None,
            steady: Err(NotSteady::TooFew(0)),
            course: Course::default(),
            guard,
        })
    }

    /// Takes a record. Those of the warm-up are counted and otherwise left out.
    ///
    /// Records come in about the order in which the requests ended, as a journal has them: intervals of means and
    /// throughput rely on neighbours being neighbours in time.
    ///
    /// # Errors
    /// In words, when the record contradicts itself or was seen before.
    pub fn push(&mut self, record: &Record) -> Result<(), String> {
        self.guard.admit(record)?;
        let success = record.outcome == OutcomeKind::Success;
        if record.warmup {
            self.warmups += u64::from(success);
            return Ok(());
        }
        *self.outcomes.entry(record.outcome).or_default() += 1;
        if record.outcome.is_failure() && self.first_failure.is_none() {
            self.first_failure = record.reason.as_deref().map(shorten);
        }
        push_new(&mut self.stamps, record.stamp);
        let Some(sent) = record.sent_ns else { return Ok(()) };
        self.sent += 1;
        self.stimulus.push(record, sent, success);
        let times = Times::of(record, sent).filter(|_| success);
        self.course.push(sent, record.end_ns, success, record.output_tokens, times);
        let good = success && self.goodput.as_mut().is_some_and(|goodput| goodput.push(times.as_ref()));
        let wait = signed_ms(record.scheduled_ns, sent);
        self.waits.push(wait);
        self.empty_ms += wait.max(0.0);
        self.throughput.push(record, sent, success, good);
        self.wire.push(record, sent, success);
        if success {
            self.latencies.push(record, sent, times.as_ref());
            self.uncertainty.push(record);
            self.endings.push(record, sent);
            self.throughput.push_chunks(record, self.header.start_ns);
            self.tokens.0 += u64::from(record.input_tokens);
            self.tokens.1 += u64::from(record.output_tokens);
            self.wrong_lengths += u64::from(record.ignore_eos && !has_full_length(record));
            push_new(&mut self.token_sources, record.output_tokens_source);
            record.chunks.iter().for_each(|chunk| self.chunk_tokens.push(f64::from(chunk.tokens)));
            self.untold_tokens += u64::from(record.untold_tokens());
        }
        Ok(())
    }

    /// The figures of what was taken; `close` is the closing line, which a run that crashed does not have.
    pub fn finish(mut self, close: Option<&Close>) -> WorkloadSummary {
        let mut course = std::mem::take(&mut self.course);
        self.concurrency = course.concurrency();
        self.steady = course.steady(&self.header.workload);
        WorkloadSummary::of(&self, close)
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

    /// Why it is not known how many tokens each chunk holds, if it is not.
    pub(crate) fn untold(&self) -> Option<String> {
        let (untold, all) = (self.untold_tokens, self.tokens.1);
        (untold as f64 > MOST_UNTOLD * all as f64).then(|| {
            format!(
                "the server put several tokens into a chunk ({all} tokens came in {} chunks) and did not say how many \
                 into which: vLLM and SGLang say it when asked with `--extra-body \
                 '{{\"stream_options\":{{\"include_usage\":true,\"continuous_usage_stats\":true}}}}'`",
                self.chunk_tokens.count()
            )
        })
    }

    /// Whether a cap on concurrency may have held requests back. By the stamps fewer may run at once than the client counts,
    /// which learns of an end a little later: but not half as many.
    pub(crate) fn held_back(&self) -> bool {
        let workload = &self.header.workload;
        let near = |cap: u32| self.concurrency.is_none_or(|it| it.peak * 2 >= u64::from(cap));
        workload.max_concurrency.is_some_and(|cap| workload.is_closed_loop() || near(cap))
    }

    /// Share of the time of all places of a closed loop in which they were empty; `None` for other loads.
    pub(crate) fn empty_share(&self) -> Option<f64> {
        let workload = &self.header.workload;
        let places = u64::from(workload.max_concurrency.filter(|_| workload.is_closed_loop())?).min(self.sent);
        let window = self.throughput.window.map(|(first, last)| ms(last - first))?;
        (window > 0.0 && places > 0).then(|| self.empty_ms / (window * places as f64))
    }

    /// Whether requests went over HTTP.
    pub(crate) fn over_http(&self) -> bool {
        self.stamps.iter().any(|stamp| *stamp != Stamp::Engine)
    }

    /// The latencies by their names, from sent.
    fn named(&self) -> [(&'static str, &Distribution); 6] {
        let of = &self.latencies;
        [
            ("ttft", &of.ttft.values),
            ("tbt", &of.tbt.values),
            ("tpot", &of.tpot.values),
            ("itl", &of.gaps),
            ("itl_token", &of.token_gaps),
            ("e2e", &of.e2e.values),
        ]
    }

    /// How many values there are of each latency.
    pub(crate) fn counts(&self) -> BTreeMap<String, u64> {
        self.named().into_iter().map(|(name, values)| (name.to_owned(), values.count())).collect()
    }

    /// The quantities with so many values that percentiles come from a sketch, and how far these can be off.
    pub(crate) fn sketched(&self) -> BTreeMap<String, f64> {
        let of = &self.latencies;
        let more = [
            ("ttft_from_schedule", &of.scheduled_ttft),
            ("tpot_from_schedule", &of.scheduled_tpot),
            ("e2e_from_schedule", &of.scheduled_e2e),
            ("ttft_visible", &self.wire.answers.visible),
            ("chunk_tokens", &self.chunk_tokens),
            ("queue_client", &self.waits),
            ("schedule_lag", &self.waits),
            ("client_delay", &self.wire.delays),
        ];
        self.named()
            .into_iter()
            .chain(more)
            .filter_map(|(name, values)| Some((name.to_owned(), values.relative_error()?)))
            .collect()
    }
}

/// Whether an answer is as long as asked. A tokenizer may cut its text into fewer tokens than the model made, and a chunk
/// may hold several; where only these counted, the server's word that the length was reached stands.
fn has_full_length(record: &Record) -> bool {
    let counted_by_server = matches!(record.output_tokens_source, TokenSource::Usage | TokenSource::Engine);
    record.output_tokens == record.max_tokens
        || (!counted_by_server && record.finish_reason == Some(FinishReason::Length))
}

fn push_new<T: PartialEq>(list: &mut Vec<T>, item: T) {
    if !list.contains(&item) {
        list.push(item);
    }
}

/// The first line of a text, as much of it as fits a message.
pub(crate) fn shorten(text: &str) -> String {
    const LONGEST: usize = 160;
    let line = text.lines().next().unwrap_or_default();
    if line.chars().count() <= LONGEST {
        return line.to_owned();
    }
    line.chars().take(LONGEST - 1).chain(['…']).collect()
}

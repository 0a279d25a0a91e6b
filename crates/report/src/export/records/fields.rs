//! What is told of each request.

use std::borrow::Cow;

use sagellm_core::{Chunk, HttpFacts, Nanos, OutcomeKind, Record, Slo, ms};
use serde::Serialize;
use serde_json::Value;

use crate::goodput::Goodput;
use crate::latency::{Times, signed_ms};

/// A request and what follows from its stamps.
pub(super) struct Row<'a> {
    workload: &'a str,
    pub(super) record: &'a Record,
    /// Of a success that was sent.
    times: Option<Times>,
    /// From scheduled to sent, in milliseconds.
    waited: Option<f64>,
    within_slo: Option<bool>,
}

/// A column: its name, what it holds, and where that comes from.
pub(crate) struct Field {
    pub(crate) name: &'static str,
    pub(crate) about: &'static str,
    pub(super) take: Take,
}

/// How a row gives the value of a column, `None` where it is unknown.
pub(super) enum Take {
    Text(for<'a> fn(&'a Row<'_>) -> Option<Cow<'a, str>>),
    Whole(fn(&Row<'_>) -> Option<i64>),
    Real(fn(&Row<'_>) -> Option<f64>),
    Flag(fn(&Row<'_>) -> Option<bool>),
    /// Of every chunk.
    Chunks(fn(&Chunk) -> i64),
}

impl<'a> Row<'a> {
    pub(super) fn new(workload: &'a str, record: &'a Record, slo: Option<&Slo>) -> Self {
        let success = record.outcome == OutcomeKind::Success;
        let times = record.sent_ns.and_then(|sent| Times::of(record, sent)).filter(|_| success);
        let waited = record.sent_ns.map(|sent| signed_ms(record.scheduled_ns, sent));
        let kept = |slo: &Slo| success && Goodput::new(slo.clone()).push(times.as_ref());
        let judged = record.outcome.is_failure() || success;
        Self { workload, record, times, waited, within_slo: slo.filter(|_| judged).map(kept) }
    }

    fn http(&self) -> Option<&HttpFacts> {
        self.record.http.as_ref()
    }

    /// From sent to the last token in milliseconds, by output token.
    fn per_token(&self) -> Option<f64> {
        let tokens = f64::from(self.record.output_tokens);
        self.times.filter(|_| tokens > 0.0).map(|times| times.e2e / tokens)
    }

    fn with_wait(&self, time: impl Fn(&Times) -> f64) -> Option<f64> {
        Some(time(self.times.as_ref()?) + self.waited?)
    }
}

/// All columns, in their order.
pub(crate) static FIELDS: [Field; 47] = [
    text("workload", "its name", |row| Some(row.workload.into())),
    whole("worker", "the machine that sent it; 0 in a run of one process", |row| Some(row.record.worker.into())),
    whole("id", "its number in the plan", |row| i64::try_from(row.record.id).ok()),
    whole("session", "the conversation that it belongs to", |row| row.record.session.and_then(|it| it.try_into().ok())),
    text("outcome", "how it ended; the latencies below are those of a `success`", |row| {
        Some(row.record.outcome.name().into())
    }),
    text("reason", "why it did not succeed", |row| shared(&row.record.reason)),
    text("finish_reason", "why generation stopped", |row| word(row.record.finish_reason.as_ref()?)),
    text("stamp", "who took the stamps: engine, kernel or user", |row| word(&row.record.stamp)),
    whole("scheduled_ns", "when the plan wanted it sent, on the clock of the run", |row| {
        nanos(Some(row.record.scheduled_ns))
    }),
    whole("sent_ns", "when the backend got it", |row| nanos(row.record.sent_ns)),
    whole("first_token_ns", "when the first chunk with a token came", |row| nanos(row.record.first_token_ns)),
    whole("last_token_ns", "when the last chunk with a token came", |row| nanos(row.record.last_token_ns)),
    whole("end_ns", "when it was over", |row| nanos(Some(row.record.end_ns))),
    real("queue_client_ms", "a − s", |row| row.waited),
    real("ttft_ms", "f − a", |row| Some(row.times?.ttft)),
    real("tbt_ms", "(l − f)/(n − n1)", |row| row.times?.tbt),
    real("tpot_ms", "(l − a)/n", |row| row.per_token()),
    real("e2e_ms", "l − a", |row| Some(row.times?.e2e)),
    real("throughput_tps", "n/(l − a): what its user saw", |row| {
        row.per_token().filter(|time| *time > 0.0).map(|time| 1e3 / time)
    }),
    real("ttft_from_schedule_ms", "f − s", |row| row.with_wait(|times| times.ttft)),
    real("tpot_from_schedule_ms", "(l − s)/n", |row| {
        row.per_token()?;
        Some(row.with_wait(|times| times.e2e)? / f64::from(row.record.output_tokens))
    }),
    real("e2e_from_schedule_ms", "l − s", |row| row.with_wait(|times| times.e2e)),
    flag("within_slo", "whether it succeeded within all limits; `null` without limits", |row| row.within_slo),
    whole("input_tokens", "tokens of the prompt", |row| Some(row.record.input_tokens.into())),
    whole("planned_input_tokens", "the same by the plan", |row| row.record.planned_input_tokens.map(i64::from)),
    whole("cached_tokens", "prompt tokens from a prefix cache", |row| row.record.cached_tokens.map(i64::from)),
    whole("max_tokens", "output tokens asked for", |row| Some(row.record.max_tokens.into())),
    flag("ignore_eos", "whether that length had to be reached", |row| Some(row.record.ignore_eos)),
    whole("output_tokens", "output tokens received", |row| Some(row.record.output_tokens.into())),
    text("output_tokens_source", "who counted them", |row| word(&row.record.output_tokens_source)),
    text("output_digest", "fingerprint of the output", |row| shared(&row.record.output_digest)),
    whole("preemptions", "times that it was put back to be recomputed", |row| Some(row.record.preemptions.into())),
    whole("http_status", "status of the answer", |row| row.http()?.status.map(i64::from)),
    real("connect_ms", "time to set up a connection, where one was not ready", |row| row.http()?.connect_ns.map(ms)),
    real("ttft_visible_ms", "from sent to the first token after any reasoning", |row| {
        row.times?;
        Some(signed_ms(row.record.sent_ns?, row.http()?.first_visible_ns?))
    }),
    whole("merged_chunks", "chunks that shared a read with a later one", |row| Some(row.http()?.merged_chunks.into())),
    whole("retries", "times that it was sent again", |row| Some(row.http()?.retries.into())),
    whole("usage_tokens", "output tokens by the server", |row| row.http()?.usage_tokens.map(i64::from)),
    whole("tokenizer_tokens", "output tokens by the tokenizer", |row| row.http()?.tokenizer_tokens.map(i64::from)),
    real("server_ttft_ms", "time to the first token by the server", |row| row.http()?.server_ttft_ms),
    real("server_queue_ms", "time in the server's queue, by the server", |row| row.http()?.server_queue_ms),
    real("server_prefill_ms", "time of prefill by the server", |row| row.http()?.server_prefill_ms),
    real("server_generation_ms", "time of generation by the server", |row| row.http()?.server_generation_ms),
    text("answered_model", "the model that answered, where it is another one", |row| {
        shared(&row.http()?.answered_model)
    }),
    real("client_delay_max_ms", "longest time from the kernel's receive stamp to the read of a chunk", |row| {
        row.record.chunks.iter().filter_map(|chunk| chunk.delay_ns).max().map(|delay| ms(delay.into()))
    }),
    chunks("chunk_at_ns", "when each chunk with tokens came", |chunk| nanos(Some(chunk.at_ns)).unwrap_or(i64::MAX)),
    chunks("chunk_tokens", "the tokens in each", |chunk| chunk.tokens.into()),
];

const fn text(name: &'static str, about: &'static str, of: for<'a> fn(&'a Row<'_>) -> Option<Cow<'a, str>>) -> Field {
    Field { name, about, take: Take::Text(of) }
}

const fn whole(name: &'static str, about: &'static str, of: fn(&Row<'_>) -> Option<i64>) -> Field {
    Field { name, about, take: Take::Whole(of) }
}

const fn real(name: &'static str, about: &'static str, of: fn(&Row<'_>) -> Option<f64>) -> Field {
    Field { name, about, take: Take::Real(of) }
}

const fn flag(name: &'static str, about: &'static str, of: fn(&Row<'_>) -> Option<bool>) -> Field {
    Field { name, about, take: Take::Flag(of) }
}

const fn chunks(name: &'static str, about: &'static str, of: fn(&Chunk) -> i64) -> Field {
    Field { name, about, take: Take::Chunks(of) }
}

impl Field {
    /// The type of its values, for people.
    pub(crate) fn kind(&self) -> &'static str {
        match self.take {
            Take::Text(_) => "text",
            Take::Whole(_) => "integer",
            Take::Real(_) => "float",
            Take::Flag(_) => "boolean",
            Take::Chunks(_) => "list of integers",
        }
    }
}

/// The word that a journal has for it.
fn word(value: &impl Serialize) -> Option<Cow<'static, str>> {
    match serde_json::to_value(value) {
        Ok(Value::String(word)) => Some(word.into()),
        _ => None,
    }
}

fn shared(text: &Option<String>) -> Option<Cow<'_, str>> {
    text.as_deref().map(Cow::Borrowed)
}

fn nanos(at: Option<Nanos>) -> Option<i64> {
    at.and_then(|at| at.try_into().ok())
}

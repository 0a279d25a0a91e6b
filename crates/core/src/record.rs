//! What is kept of a request.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize, Serializer};

use crate::{Event, EventKind, FinishReason, HttpFacts, Nanos, OutcomeKind, Request, TokenSource};

/// One finished request. All stamps are nanoseconds on the clock of the run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Record {
    /// [`Request::id`].
    pub id: u64,
    /// The machine that sent it; 0 in a run of one process.
    pub worker: u32,
    /// The conversation that it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<u64>,
    /// Whether it belongs to the warm-up and so to no figure.
    pub warmup: bool,
    /// When the plan wanted it sent.
    pub scheduled_ns: Nanos,
    /// When the backend got it; `null` when it never did.
    pub sent_ns: Option<Nanos>,
    /// When the first chunk with a token came.
    pub first_token_ns: Option<Nanos>,
    /// When the last chunk with a token came.
    pub last_token_ns: Option<Nanos>,
    /// When the request was over.
    pub end_ns: Nanos,
    /// Every chunk that carried tokens.
    pub chunks: Vec<Chunk>,
    /// Who took the stamps.
    pub stamp: Stamp,
    /// Tokens of the prompt.
    pub input_tokens: u32,
    /// The same by the plan, where the prompt was tokenized before it was sent and the backend counted as well.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub planned_input_tokens: Option<u32>,
    /// Prompt tokens served from a prefix cache, where the backend tells.
    pub cached_tokens: Option<u32>,
    /// Output tokens asked for.
    pub max_tokens: u32,
    /// Whether the length asked for had to be reached.
    pub ignore_eos: bool,
    /// Output tokens received.
    pub output_tokens: u32,
    /// Who counted them.
    pub output_tokens_source: TokenSource,
    /// Fingerprint of the output: equal exactly when the output is equal.
    pub output_digest: Option<String>,
    /// Times that it was put back to be recomputed.
    pub preemptions: u32,
    /// How it ended.
    pub outcome: OutcomeKind,
    /// Why it did not succeed.
    pub reason: Option<String>,
    /// Why generation stopped.
    pub finish_reason: Option<FinishReason>,
    /// What only a request over HTTP has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http: Option<HttpFacts>,
}

impl Record {
    /// Tokens of the answer that no chunk is told to hold: a server may put several into one and tell only how many there
    /// are in all.
    pub fn untold_tokens(&self) -> u32 {
        let told = self.chunks.iter().map(|chunk| u64::from(chunk.tokens)).sum();
        u64::from(self.streamed_tokens()).saturating_sub(told) as u32
    }

    /// Output tokens less those that the server counted and did not send.
    pub fn streamed_tokens(&self) -> u32 {
        let hidden = self.http.as_ref().map_or(0, |http| http.hidden_tokens);
        self.output_tokens.saturating_sub(hidden)
    }

    /// When each chunk came and how many tokens it holds: as told, or an even share of all where some are untold.
    pub fn tokens_by_chunk(&self) -> impl Iterator<Item = (Nanos, u32)> {
        let (all, count) = (u64::from(self.streamed_tokens()), self.chunks.len() as u64);
        let even = self.untold_tokens() > 0;
        (0..).zip(&self.chunks).map(move |(place, chunk)| {
            let share = || ((place + 1) * all / count - place * all / count) as u32;
            (chunk.at_ns, if even { share() } else { chunk.tokens })
        })
    }

    /// Tokens after the first arrival, n − n1; `None` where there are none. Chunks with the stamp of the first came with it
    /// and count in n1. Of an answer with untold tokens each chunk holds n / chunks.
    pub fn tokens_after_first_chunk(&self) -> Option<f64> {
        let all = f64::from(self.streamed_tokens());
        let at = self.chunks.first().map(|chunk| chunk.at_ns);
        let together = self.chunks.iter().take_while(|chunk| Some(chunk.at_ns) == at);
        let first: f64 = match self.untold_tokens() {
            0 => together.map(|chunk| f64::from(chunk.tokens)).sum(),
            _ => all / self.chunks.len() as f64 * together.count() as f64,
        };
        Some(all - first).filter(|&later| later > 0.0)
    }

    /// How much earlier than its stamp the first token may have come, in nanoseconds.
    pub fn first_token_uncertainty_ns(&self) -> Nanos {
        self.chunks.first().map_or(0, |chunk| Nanos::from(chunk.uncertainty_ns))
    }
}

/// Tokens that arrived together. Written as a list of two to four numbers, since a journal holds one for every token; read
/// also as an object with their names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub struct Chunk {
    /// When, on the clock of the run.
    pub at_ns: Nanos,
    /// How many.
    pub tokens: u32,
    /// From the kernel's receive stamp to this program's read: the client's own delay.
    #[serde(default)]
    pub delay_ns: Option<u32>,
    /// How much earlier than `at_ns` the tokens may have come; 0 where the stamp is exact.
    #[serde(default)]
    pub uncertainty_ns: u32,
}

impl Serialize for Chunk {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match (self.delay_ns, self.uncertainty_ns) {
            (None, 0) => (self.at_ns, self.tokens).serialize(serializer),
            (Some(delay), 0) => (self.at_ns, self.tokens, delay).serialize(serializer),
            (delay, uncertainty) => (self.at_ns, self.tokens, delay, uncertainty).serialize(serializer),
        }
    }
}

impl JsonSchema for Chunk {
    fn schema_name() -> Cow<'static, str> {
        "Chunk".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "Tokens that arrived together: when, in nanoseconds on the clock of the run; how many; where the \
                kernel stamped them, the nanoseconds from its stamp to this program's read (else null); and, where they \
                were read together with later bytes, how many nanoseconds earlier they may have come.",
            "type": "array",
            "prefixItems": [
                generator.subschema_for::<Nanos>(),
                generator.subschema_for::<u32>(),
                generator.subschema_for::<Option<u32>>(),
                generator.subschema_for::<u32>(),
            ],
            "minItems": 2,
            "maxItems": 4,
        })
    }
}

/// Who took the stamps of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Stamp {
    /// The engine, in this process, when the token's id was known.
    Engine,
    /// The kernel, when the bytes arrived.
    Kernel,
    /// This program, right after the read.
    User,
}

/// Collects the events of one request into its record.
#[derive(Debug)]
pub struct RecordBuilder {
    record: Record,
    /// Tokens of the prompt by the plan.
    planned: Option<u32>,
    ended: bool,
}

impl RecordBuilder {
    /// Begins the record of `request`, due at `scheduled_ns`.
    pub fn new(request: &Request, scheduled_ns: Nanos, warmup: bool, stamp: Stamp) -> Self {
        let tokens = |ids: &Vec<u32>| u32::try_from(ids.len()).unwrap_or(u32::MAX);
        let planned = request.prompt.token_ids.as_ref().map(tokens);
        Self {
            record: Record {
                id: request.id,
                worker: 0,
                session: request.session,
                warmup,
                scheduled_ns,
                sent_ns: None,
                first_token_ns: None,
                last_token_ns: None,
                end_ns: scheduled_ns,
                chunks: Vec::with_capacity(request.max_tokens.min(4096) as usize),
                stamp,
                input_tokens: planned.unwrap_or(0),
                planned_input_tokens: None,
                cached_tokens: None,
                max_tokens: request.max_tokens,
                ignore_eos: request.ignore_eos,
                output_tokens: 0,
                output_tokens_source: TokenSource::Chunks,
                output_digest: None,
                preemptions: 0,
                outcome: OutcomeKind::NotSent,
                reason: None,
                finish_reason: None,
                http: None,
            },
            planned,
            ended: false,
        }
    }

    /// Takes an event of this request. Events after the end are ignored.
    pub fn apply(&mut self, event: &Event) {
        if self.ended {
            return;
        }
        let record = &mut self.record;
        record.end_ns = record.end_ns.max(event.at);
        match &event.kind {
            EventKind::Sent => {
                record.sent_ns = Some(event.at);
                record.outcome = OutcomeKind::Censored;
            }
            EventKind::Chunk(piece) => {
                if piece.tokens == 0 {
                    return;
                }
                record.first_token_ns.get_or_insert(event.at);
                record.last_token_ns = Some(event.at);
                record.output_tokens += piece.tokens;
                record.chunks.push(Chunk {
                    at_ns: event.at,
                    tokens: piece.tokens,
                    delay_ns: piece.delay_ns,
                    uncertainty_ns: piece.uncertainty_ns,
                });
            }
            EventKind::Preempted => record.preemptions += 1,
            EventKind::End(end) => {
                record.end_ns = event.at;
                record.outcome = end.outcome;
                record.reason.clone_from(&end.reason);
                record.finish_reason = end.finish_reason;
                if let Some(tokens) = end.input_tokens {
                    record.input_tokens = tokens;
                    record.planned_input_tokens = self.planned;
                }
                record.cached_tokens = end.cached_tokens;
                record.output_tokens = end.output_tokens;
                record.output_tokens_source = end.output_tokens_source;
                record.output_digest.clone_from(&end.output_digest);
                record.http.clone_from(&end.http);
                if let Some((at_ns, delay_ns)) = end.end_of_sequence {
                    record.chunks.push(Chunk { at_ns, tokens: 1, delay_ns, uncertainty_ns: 0 });
                    record.last_token_ns = Some(at_ns);
                }
                if let Some(sent) = end.http.as_ref().and_then(|http| http.sent_kernel_ns) {
                    record.sent_ns = Some(sent);
                }
                self.ended = true;
            }
        }
    }

    /// Whether the end has been seen.
    pub fn ended(&self) -> bool {
        self.ended
    }

    /// Whether the backend has the request.
    pub fn sent(&self) -> bool {
        self.record.sent_ns.is_some()
    }

    /// Ends the request from outside: a timeout, an interruption, a backend that disappeared.
    pub fn close(&mut self, at: Nanos, outcome: OutcomeKind, reason: impl Into<String>) {
        if !self.ended {
            self.record.end_ns = at;
            self.record.outcome = outcome;
            self.record.reason = Some(reason.into());
            self.ended = true;
        }
    }

    /// The record. One that saw no end stays `censored`, or `not_sent` when it never left.
    pub fn finish(self) -> Record {
        self.record
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{End, Piece, Prompt, Sampling};

    fn request() -> Request {
        Request {
            id: 7,
            offset_ns: 0,
            session: None,
            prompt: Prompt::tokenized("a b".into(), vec![1, 2]),
            max_tokens: 3,
            sampling: Sampling::default(),
            ignore_eos: true,
            keep_answer: false,
        }
    }

    fn event(at: Nanos, kind: EventKind) -> Event {
        Event { request: 7, at, kind }
    }

    fn chunk(tokens: u32) -> EventKind {
        EventKind::Chunk(Piece { tokens, ..Piece::default() })
    }

    #[test]
    fn the_kernel_knows_best_when_it_sent() {
        let mut builder = RecordBuilder::new(&request(), 0, false, Stamp::Kernel);
        builder.apply(&event(10, EventKind::Sent));
        let http = HttpFacts { sent_kernel_ns: Some(12), ..HttpFacts::default() };
        let end = End { http: Some(http), ..End::new(OutcomeKind::Success, 0, TokenSource::Usage) };
        builder.apply(&event(20, EventKind::End(Box::new(end))));
        assert_eq!(builder.finish().sent_ns, Some(12));
    }

    #[test]
    fn stamps_come_from_the_events() {
        let mut builder = RecordBuilder::new(&request(), 5, false, Stamp::Engine);
        builder.apply(&event(10, EventKind::Sent));
        builder.apply(&event(20, chunk(1)));
        builder.apply(&event(30, chunk(2)));
        let record = builder.finish();
        assert_eq!((record.scheduled_ns, record.sent_ns), (5, Some(10)));
        assert_eq!((record.first_token_ns, record.last_token_ns), (Some(20), Some(30)));
        assert_eq!((record.input_tokens, record.output_tokens), (2, 3));
        assert_eq!(record.outcome, OutcomeKind::Censored, "no end was seen");
    }

    /// An answer of so many tokens, whose chunks are told to hold these.
    fn answer(tokens: u32, chunks: &[u32]) -> Record {
        let mut builder = RecordBuilder::new(&request(), 0, false, Stamp::User);
        builder.apply(&event(1, EventKind::Sent));
        for (at, &tokens) in (2..).zip(chunks) {
            builder.apply(&event(at, chunk(tokens)));
        }
        let end = End::new(OutcomeKind::Success, tokens, TokenSource::Usage);
        builder.apply(&event(9, EventKind::End(Box::new(end))));
        builder.finish()
    }

    #[test]
    fn tokens_that_are_told_only_in_all_are_shared_among_the_chunks() {
        let of = |tokens, chunks: &[u32]| {
            let record = answer(tokens, chunks);
            let shares: Vec<_> = record.tokens_by_chunk().map(|(_, tokens)| tokens).collect();
            (record.untold_tokens(), shares, record.tokens_after_first_chunk())
        };
        assert_eq!(of(6, &[2, 3, 1]), (0, vec![2, 3, 1], Some(4.0)), "told");
        assert_eq!(of(9, &[1, 1, 1]), (6, vec![3, 3, 3], Some(6.0)));
        assert_eq!(of(8, &[1, 1, 1]), (5, vec![2, 3, 3], Some(8.0 - 8.0 / 3.0)));
        assert_eq!(of(8, &[1]), (7, vec![8], None), "all in one chunk");
        assert_eq!(of(2, &[1, 1, 1]), (0, vec![1, 1, 1], Some(1.0)), "a tokenizer may count fewer");
        assert_eq!(of(0, &[]), (0, vec![], None));
    }

    #[test]
    fn an_empty_chunk_is_not_a_token() {
        let mut builder = RecordBuilder::new(&request(), 0, false, Stamp::User);
        builder.apply(&event(1, EventKind::Sent));
        builder.apply(&event(2, chunk(0)));
        assert_eq!(builder.finish().first_token_ns, None);
    }

    #[test]
    fn nothing_changes_after_the_end() {
        let mut builder = RecordBuilder::new(&request(), 0, false, Stamp::User);
        builder.apply(&event(1, EventKind::Sent));
        builder.close(9, OutcomeKind::Timeout, "no answer within 8 ns");
        builder.apply(&event(10, chunk(1)));
        let record = builder.finish();
        assert_eq!((record.outcome, record.end_ns, record.output_tokens), (OutcomeKind::Timeout, 9, 0));
    }
}

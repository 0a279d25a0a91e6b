//! What a backend tells about a request while it runs.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Answer, Nanos};

/// Something that happened to one request, stamped where it happened.
#[derive(Clone, Debug)]
pub struct Event {
    /// [`Request::id`](crate::Request::id).
    pub request: u64,
    /// When, on the clock of the run.
    pub at: Nanos,
    /// What.
    pub kind: EventKind,
}

/// The kinds of event, in the order in which a request can see them.
#[derive(Clone, Debug)]
pub enum EventKind {
    /// The backend holds the request: engine submit, or first byte of an HTTP request written on a ready connection.
    Sent,
    /// Tokens arrived together.
    Chunk(Piece),
    /// The request was put back to be recomputed, because memory ran short.
    Preempted,
    /// Nothing more will come.
    End(Box<End>),
}

/// Tokens that arrived together, as an event tells of them.
#[derive(Clone, Debug, Default)]
pub struct Piece {
    /// How many tokens.
    pub tokens: u32,
    /// The id of the token, where it is one and the backend knows it.
    pub token: Option<u32>,
    /// Their text, where the backend was asked to give it.
    pub text: Option<String>,
    /// From the kernel's receive stamp to this program's read, where there is such a stamp: the client's own delay.
    pub delay_ns: Option<u32>,
    /// How much earlier than the event's stamp the tokens may have come, because they were read together with later
    /// bytes; 0 where the stamp is theirs alone.
    pub uncertainty_ns: u32,
}

/// The end of a request.
#[derive(Clone, Debug)]
pub struct End {
    /// How it ended.
    pub outcome: OutcomeKind,
    /// Why, in words, when it did not succeed.
    pub reason: Option<String>,
    /// Why generation stopped.
    pub finish_reason: Option<FinishReason>,
    /// Prompt tokens as the backend counted them.
    pub input_tokens: Option<u32>,
    /// Prompt tokens served from a prefix cache.
    pub cached_tokens: Option<u32>,
    /// From the submit until the backend first computed on it, where the backend tells.
    pub queue_ns: Option<Nanos>,
    /// Output tokens.
    pub output_tokens: u32,
    /// Who counted the output tokens.
    pub output_tokens_source: TokenSource,
    /// Fingerprint of the output token ids (or text), equal exactly when the output is equal.
    pub output_digest: Option<String>,
    /// What was generated, where the request asked to keep it.
    pub answer: Option<Answer>,
    /// When the end-of-sequence token came, where the backend counts it although it has no text, and the client's delay in
    /// reading it in nanoseconds.
    pub end_of_sequence: Option<(Nanos, Option<u32>)>,
    /// Text that is still to be counted and hashed, by [`Backend::complete`](crate::Backend::complete).
    pub output_text: Option<OutputText>,
    /// What only a request over HTTP has.
    pub http: Option<HttpFacts>,
}

impl End {
    /// An end of which nothing more is known.
    pub fn new(outcome: OutcomeKind, output_tokens: u32, output_tokens_source: TokenSource) -> Self {
        Self {
            outcome,
            reason: None,
            finish_reason: None,
            input_tokens: None,
            cached_tokens: None,
            queue_ns: None,
            output_tokens,
            output_tokens_source,
            output_digest: None,
            answer: None,
            end_of_sequence: None,
            output_text: None,
            http: None,
        }
    }
}

/// The whole text of an answer, choice by choice in the order of their numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OutputText {
    /// The text of each choice: reasoning, visible text and tool calls as they came.
    pub choices: Vec<String>,
}

/// What only a request over HTTP has.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct HttpFacts {
    /// Status of the answer; `null` when none came.
    pub status: Option<u16>,
    /// Time that setting up a connection took inside this request; `null` when one was ready.
    pub connect_ns: Option<Nanos>,
    /// When the kernel sent the first byte of the request; `null` where it does not tell.
    pub sent_kernel_ns: Option<Nanos>,
    /// When the first token of the visible answer came, after any reasoning.
    pub first_visible_ns: Option<Nanos>,
    /// Chunks that were read together with later bytes, so that their time is an interval.
    pub merged_chunks: u32,
    /// Chunks that arrived behind a gap in the byte stream: readable later than the kernel stamped them, so that the time
    /// of the read counts.
    pub held_back_chunks: u32,
    /// Segments that came out of order while the answer was read.
    pub out_of_order_segments: u32,
    /// Segments of the request that had to be transmitted again.
    pub retransmitted_segments: u32,
    /// Output tokens by the server's usage object.
    pub usage_tokens: Option<u32>,
    /// Whether the server's usage counted no output token although text came, so that it is not believed.
    #[serde(default, skip_serializing_if = "is_false")]
    pub usage_of_zero: bool,
    /// Output tokens by the tokenizer, over the text that came.
    pub tokenizer_tokens: Option<u32>,
    /// Output tokens that the server counted and did not send, such as hidden reasoning.
    pub hidden_tokens: u32,
    /// Chunks that carried tokens.
    pub content_chunks: u32,
    /// Time to the first token as the server tells it, in milliseconds.
    pub server_ttft_ms: Option<f64>,
    /// Time in the server's queue, in milliseconds.
    pub server_queue_ms: Option<f64>,
    /// Time of prefill as the server tells it, the wait for it left out, in milliseconds.
    pub server_prefill_ms: Option<f64>,
    /// Time of generation as the server tells it, in milliseconds.
    pub server_generation_ms: Option<f64>,
    /// The model that answered, when it is not the one that was asked.
    pub answered_model: Option<String>,
    /// Times that the request was sent again.
    pub retries: u32,
    /// Whether one of these followed a connection that the server closed before the request could have reached it.
    pub stale_connection: bool,
}

fn is_false(value: &bool) -> bool {
    !*value
}

/// How a request ended. Everything but `Success` is a failure or censored, and is counted by kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OutcomeKind {
    /// The whole answer came and ended properly.
    Success,
    /// The backend refused the request (an HTTP 4xx, a prompt longer than the context).
    Refused,
    /// The backend reported an error, before or in the stream.
    ServerError,
    /// A clean end without a finish reason and without an end mark.
    Truncated,
    /// The connection broke.
    Connection,
    /// The answer held no token.
    Empty,
    /// No answer within the limit.
    Timeout,
    /// The answer broke the protocol.
    Protocol,
    /// The answer was withheld by a filter.
    ContentFilter,
    /// The client lost the request by a fault of its own.
    ClientFault,
    /// Still running when measuring ended; neither success nor failure.
    Censored,
    /// Never sent, because the run was interrupted.
    NotSent,
}

impl OutcomeKind {
    /// The name used in every output.
    pub fn name(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Refused => "refused",
            Self::ServerError => "server_error",
            Self::Truncated => "truncated",
            Self::Connection => "connection",
            Self::Empty => "empty",
            Self::Timeout => "timeout",
            Self::Protocol => "protocol",
            Self::ContentFilter => "content_filter",
            Self::ClientFault => "client_fault",
            Self::Censored => "censored",
            Self::NotSent => "not_sent",
        }
    }

    /// Whether the request counts as failed: neither a success nor cut off by the end of measuring.
    pub fn is_failure(self) -> bool {
        !matches!(self, Self::Success | Self::Censored | Self::NotSent)
    }
}

/// Why generation stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum FinishReason {
    /// The length asked for was reached.
    Length,
    /// An end-of-sequence token or stop string.
    Stop,
    /// A filter withheld the rest.
    ContentFilter,
    /// A tool was called.
    ToolCalls,
}

/// Who counted the output tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum TokenSource {
    /// The engine that made them.
    Engine,
    /// The server's usage object.
    Usage,
    /// The tokenizer, over the text that came.
    Tokenizer,
    /// The chunks of the stream.
    Chunks,
}

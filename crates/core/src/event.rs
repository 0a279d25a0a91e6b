//! What a backend tells about a request while it runs.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Nanos;

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
    Chunk {
        /// How many tokens.
        tokens: u32,
        /// Their text, where the backend was asked to give it.
        text: Option<String>,
    },
    /// The request was put back to be recomputed, because memory ran short.
    Preempted,
    /// Nothing more will come.
    End {
        /// How it ended.
        outcome: OutcomeKind,
        /// Why, in words, when it did not succeed.
        reason: Option<String>,
        /// Why generation stopped.
        finish_reason: Option<FinishReason>,
        /// Prompt tokens as the backend counted them.
        input_tokens: Option<u32>,
        /// Prompt tokens served from a prefix cache.
        cached_tokens: Option<u32>,
        /// Output tokens and who counted them.
        output_tokens: u32,
        /// Who counted the output tokens.
        output_tokens_source: TokenSource,
        /// Fingerprint of the output token ids (or text), equal exactly when the output is equal.
        output_digest: Option<String>,
    },
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
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
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

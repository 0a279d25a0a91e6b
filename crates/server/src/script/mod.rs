//! A server whose every byte and time is prescribed.

mod conformance;
mod parse;
mod scripted;

use std::collections::BTreeMap;
use std::time::Duration;

pub use conformance::{Case, conformance};
pub use scripted::{Ending, Exchange, Scripted, Write};

/// What a scripted server answers, and what a client is to make of it. The format is described in
/// `crates/server/scripts/README.md`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Script {
    /// How a client is to ask, by the keys of [`Script::ASK`]: settings that the case depends on.
    pub ask: BTreeMap<String, String>,
    /// What a correct client finds, by the keys of [`Script::EXPECT`].
    pub expect: BTreeMap<String, String>,
    answers: Vec<Answer>,
}

/// The answer to some of the requests.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Answer {
    /// Only this path.
    path: Option<String>,
    /// Only this request, counted from 1 over all connections of the server.
    number: Option<u64>,
    status: Option<(u16, String)>,
    headers: Vec<(String, String)>,
    framing: Framing,
    trailers: Vec<(String, String)>,
    steps: Vec<Step>,
}

/// How the end of a body is told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Framing {
    #[default]
    Chunked,
    /// By `Content-Length`; without a number, the true one.
    Length(Option<usize>),
    /// By closing the connection.
    Close,
}

/// One step of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    /// Sends a response before the real one.
    Interim(u16),
    /// Sends status line and headers, if they have not been sent.
    Head,
    /// Waits, counted from when the step before was due.
    Wait(Duration),
    /// Sends a part of the body.
    Body(Vec<u8>),
    /// Sends bytes as they are; from here on the server adds neither headers nor framing.
    Raw(Vec<u8>),
    /// From here on writes so many bytes at a time; 0 for all at once.
    Split(usize),
    /// From here on gathers what is to be sent,
    Hold,
    /// and sends it by one write.
    Send,
    /// Names the next write.
    Mark(String),
    /// Sends nothing more until the client goes.
    Hang,
    /// Breaks the connection.
    Reset,
    /// Closes the connection, whatever was announced.
    Close,
}

impl Script {
    /// What `ask` lines can hold: `endpoint` (`completions` or `chat`), `max_tokens`, `max_line` in bytes, `tokenizer`
    /// (`bytes` for one token per byte of text, or `none`), and `timeout_first_token`, `timeout_between` and `timeout` as
    /// durations. Without them: completions, 16 tokens, no tokenizer, no limits.
    pub const ASK: [&'static str; 7] =
        ["endpoint", "max_line", "max_tokens", "timeout", "timeout_between", "timeout_first_token", "tokenizer"];

    /// What `expect` lines can hold, named as in a record: `outcome`, `tokens` (output), `source`, `chunks` (those with
    /// tokens), `finish`, `input_tokens`, `cached_tokens`, `status`, `answered_model`, the server's own `server_ttft_ms`,
    /// `server_queue_ms`, `server_prefill_ms` and `server_generation_ms`; and `reason`, a part of its text.
    pub const EXPECT: [&'static str; 14] = [
        "answered_model",
        "cached_tokens",
        "chunks",
        "finish",
        "input_tokens",
        "outcome",
        "reason",
        "server_generation_ms",
        "server_prefill_ms",
        "server_queue_ms",
        "server_ttft_ms",
        "source",
        "status",
        "tokens",
    ];

    /// The answer to a request: the first that fits, in the order of the script.
    fn answer(&self, path: &str, number: u64) -> Option<&Answer> {
        self.answers.iter().find(|answer| {
            answer.path.as_ref().is_none_or(|wanted| wanted == path)
                && answer.number.is_none_or(|wanted| wanted == number)
        })
    }
}

//! One answer, from its first byte to its end: what arrives goes in with its stamp, pieces with tokens come out, and at
//! last the outcome. No input or output happens here.

use std::borrow::Cow;
use std::fmt::Write as _;

use sagellm_core::{End, Nanos, OutcomeKind, Piece};

use crate::chunk::Chunk;
use crate::excerpt::{KEPT, excerpt};
use crate::response::{Eof, Head, Malformed, Part, Response};
use crate::sse::{EventReader, TooLong};
use crate::tally::Tally;
use crate::{CountTokens, Secret};

/// The body of an error is read this far at most, so that the connection can be used again.
const MAX_ERROR_BODY: u64 = 1 << 20;

/// What stays the same for all answers.
pub(crate) struct Reading {
    /// The model that is asked for.
    pub(crate) model: String,
    pub(crate) max_line: usize,
    pub(crate) tokenizer: Option<CountTokens>,
    /// Whether pieces carry their text.
    pub(crate) stream_text: bool,
    /// Blotted out of what the server is quoted with.
    pub(crate) secret: Option<Secret>,
}

impl Reading {
    /// The beginning of what the server said.
    pub(crate) fn quote(&self, said: &[u8]) -> String {
        excerpt(said, self.secret.as_ref())
    }
}

/// When bytes arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Arrival {
    /// On the clock of the run: by the kernel where it tells, else by us.
    pub(crate) at: Nanos,
    /// From the kernel's stamp to ours.
    pub(crate) delay: Option<u32>,
}

/// How far an answer has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Progress {
    /// More is to come.
    Open,
    /// The stream is over, but not the body that holds it.
    Settled,
    /// Nothing more will come.
    Over {
        /// Whether another request may follow on the connection.
        reusable: bool,
    },
}

/// How the body is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Body {
    /// As a stream of events.
    Events,
    /// As an explanation of why there is no stream.
    Explanation { outcome: OutcomeKind, read: u64 },
}

/// Reads one answer. Its buffers serve the next one after [`Answer::reset`].
pub(crate) struct Answer {
    response: Response,
    body: Body,
    events: EventReader,
    /// The beginning of a body that is no stream, or has shown no event yet.
    opening: Vec<u8>,
    tally: Tally,
}

impl Answer {
    pub(crate) fn new(max_line: usize) -> Self {
        Self {
            response: Response::new(),
            body: Body::Events,
            events: EventReader::new(max_line),
            opening: Vec::new(),
            tally: Tally::default(),
        }
    }

    /// Makes ready for the answer to another request.
    pub(crate) fn reset(&mut self) {
        self.response.reset();
        self.body = Body::Events;
        self.events.reset();
        self.opening.clear();
        self.tally.reset();
    }

    /// Whether any byte of it has come.
    pub(crate) fn begun(&self) -> bool {
        self.response.begun()
    }

    /// When its last piece came.
    pub(crate) fn last_piece(&self) -> Option<Nanos> {
        self.tally.last_piece()
    }

    /// Reads what arrived. Every piece that holds tokens is handed to `emit`.
    pub(crate) fn read(
        &mut self,
        mut input: &[u8],
        arrival: Arrival,
        reading: &Reading,
        emit: &mut impl FnMut(Piece),
    ) -> Progress {
        loop {
            let part = match self.response.next(&mut input) {
                Ok(part) => part,
                Err(Malformed(how)) => {
                    self.give_up(arrival.at, OutcomeKind::Protocol, how);
                    return Progress::Over { reusable: false };
                }
            };
            match part {
                Part::More => return if self.tally.done() { Progress::Settled } else { Progress::Open },
                Part::Head => self.read_head(arrival.at),
                Part::Body(bytes) => self.read_body(bytes, arrival, reading, emit),
                Part::End => {
                    self.read_end(arrival, reading, emit);
                    return Progress::Over { reusable: self.response.head().keep_alive && input.is_empty() };
                }
            }
            if self.tally.failed() {
                return Progress::Over { reusable: false };
            }
        }
    }

    /// The server closed the connection.
    pub(crate) fn eof(&mut self, at: Nanos, reading: &Reading, emit: &mut impl FnMut(Piece)) {
        match self.response.eof() {
            Eof::Complete => self.read_end(Arrival { at, delay: None }, reading, emit),
            Eof::Unanswered => {
                self.give_up(at, OutcomeKind::Connection, "the server closed the connection without an answer");
            }
            Eof::Cut => {
                self.cut_off(at, reading, "the server closed the connection in the middle of the answer".into());
            }
        }
    }

    /// The connection broke.
    pub(crate) fn broke(&mut self, at: Nanos, reading: &Reading, error: &std::io::Error) {
        let place = if self.begun() { "in the middle of the answer" } else { "before the answer" };
        self.cut_off(at, reading, format!("the connection broke {place}: {error}"));
    }

    /// No more will be read. Nothing is missing after the end mark.
    pub(crate) fn give_up(&mut self, at: Nanos, outcome: OutcomeKind, reason: impl Into<Cow<'static, str>>) {
        if !self.tally.done() {
            self.tally.touch(at);
            self.tally.fail(outcome, reason);
        }
    }

    /// When the answer ended, and how.
    pub(crate) fn end(&mut self, reading: &Reading) -> (Nanos, End) {
        self.tally.end(reading)
    }

    fn cut_off(&mut self, at: Nanos, reading: &Reading, how: String) {
        // An error whose explanation is cut short is still that error.
        if let Body::Explanation { outcome: OutcomeKind::Refused | OutcomeKind::ServerError, .. } = self.body {
            self.tally.touch(at);
            self.explain(reading);
        }
        self.give_up(at, OutcomeKind::Connection, how);
    }

    fn read_head(&mut self, at: Nanos) {
        let head = self.response.head();
        self.tally.touch(at);
        self.tally.set_status(head.status);
        let explanation = |outcome| Body::Explanation { outcome, read: 0 };
        self.body = match head.status {
            ..300 if may_stream(head) => Body::Events,
            400..500 => explanation(OutcomeKind::Refused),
            500.. => explanation(OutcomeKind::ServerError),
            _ => explanation(OutcomeKind::Protocol),
        };
        if let Some(coding) = &head.coding {
            let how = format!("the answer is encoded as `{coding}`, though only `identity` is accepted");
            self.tally.fail(OutcomeKind::Protocol, how);
        }
    }

    fn read_body(&mut self, mut bytes: &[u8], arrival: Arrival, reading: &Reading, emit: &mut impl FnMut(Piece)) {
        if !self.tally.eventful() {
            let room = KEPT.saturating_sub(self.opening.len());
            self.opening.extend_from_slice(&bytes[..room.min(bytes.len())]);
        }
        if let Body::Explanation { read, .. } = &mut self.body {
            *read += bytes.len() as u64;
            if *read > MAX_ERROR_BODY {
                self.tally.touch(arrival.at);
                self.explain(reading);
            }
            return;
        }
        while !self.tally.failed() {
            match self.events.next(&mut bytes) {
                Ok(Some(event)) => self.tally.read_event(&event, arrival, reading, emit),
                Ok(None) => return,
                Err(TooLong) => {
                    let how = format!("a line of the stream is longer than {} bytes", reading.max_line);
                    self.give_up(arrival.at, OutcomeKind::Protocol, how);
                    return;
                }
            }
        }
    }

    /// The body is complete.
    fn read_end(&mut self, arrival: Arrival, reading: &Reading, emit: &mut impl FnMut(Piece)) {
        if self.tally.done() {
            return;
        }
        self.tally.touch(arrival.at);
        if let Body::Explanation { .. } = self.body {
            return self.explain(reading);
        }
        if let Ok(Some(event)) = self.events.finish()
            // Half a chunk is none; that something is missing shows in the outcome.
            && (event.data.trim_ascii() == b"[DONE]" || Chunk::read(event.data).is_ok())
        {
            self.tally.read_event(&event, arrival, reading, emit);
        }
        if self.tally.done() || self.tally.finished() {
            return;
        }
        let said = reading.quote(&self.opening);
        if self.tally.eventful() {
            self.tally.fail(OutcomeKind::Truncated, "the stream ended without a finish reason and without [DONE]");
        } else if said.is_empty() || said.starts_with(':') {
            self.tally.fail(OutcomeKind::Empty, "the answer is empty");
        } else {
            self.tally.fail(OutcomeKind::Protocol, format!("the answer is no event stream: {said}"));
        }
    }

    /// Makes the reason of the failure from a body that is no stream.
    fn explain(&mut self, reading: &Reading) {
        let Body::Explanation { mut outcome, .. } = self.body else { return };
        let head = self.response.head();
        let mut reason = format!("HTTP {}", head.status);
        let quote = |text: &str| reading.quote(text.as_bytes());
        if !head.reason.is_empty() {
            let _ = write!(reason, " {}", quote(&head.reason));
        }
        if let Some(after) = &head.retry_after {
            let _ = write!(reason, ", retry after {}", quote(after));
        }
        if let Some(to) = &head.location {
            let _ = write!(reason, ", moved to {} (not followed)", quote(to));
        }
        if head.status < 300 {
            if head.content_type.ends_with("json") && Chunk::read(&self.opening).is_ok_and(|body| body.is_error()) {
                outcome = OutcomeKind::ServerError;
            } else {
                let _ = write!(reason, ", but {} instead of a stream", quote(&head.content_type));
            }
        }
        let said = reading.quote(&self.opening);
        let _ = write!(reason, ": {}", if said.is_empty() { "no explanation" } else { &said });
        self.tally.fail(outcome, reason);
    }
}

/// Whether the body can be a stream. Servers that forget the type, or say a general one, may still stream.
fn may_stream(head: &Head) -> bool {
    matches!(head.content_type.as_str(), "text/event-stream" | "" | "text/plain" | "application/octet-stream")
}

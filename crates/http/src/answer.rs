//! One answer, from its first byte to its end: what arrives goes in with its stamp, pieces with tokens come out, and at
//! last the outcome. No input or output happens here.

use std::borrow::Cow;
use std::fmt::Write as _;

use sagellm_core::{End, Nanos, OutcomeKind, Piece, Request, WallTime};

use crate::Secret;
use crate::chunk::Chunk;
use crate::excerpt::{KEPT, excerpt};
use crate::response::{Eof, Head, Malformed, Part, Response};
use crate::sse::{EventReader, TooLong};
use crate::tally::Tally;

/// The body of an error is read this far at most, so that the connection can be used again.
const MAX_ERROR_BODY: u64 = 1 << 20;

/// What stays the same for all answers.
pub(crate) struct Reading {
    /// The model that is asked for.
    pub(crate) model: String,
    pub(crate) max_line: usize,
    /// Whether pieces carry their text.
    pub(crate) stream_text: bool,
    /// Whether the server gives a finish reason, so that an answer without one was cut off even where `[DONE]` ends it.
    pub(crate) finish_reason: bool,
    /// Blotted out of what the server is quoted with.
    pub(crate) secrets: Vec<Secret>,
}

impl Reading {
    /// The beginning of what the server said.
    pub(crate) fn quote(&self, said: &[u8]) -> String {
        excerpt(said, &self.secrets)
    }
}

/// When bytes arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Arrival {
    /// The stamp of the last byte on the clock of the run: the kernel's where it stamps, else that of the read.
    pub(crate) at: Nanos,
    /// When they were read.
    pub(crate) read: Nanos,
    /// The connection held nothing unread then: the first byte came later.
    pub(crate) since: Nanos,
    /// Whether `at` is the kernel's.
    pub(crate) stamped: bool,
}

impl Arrival {
    /// Bytes of which only the moment of the read is known.
    pub(crate) fn read_at(read: Nanos, since: Nanos) -> Self {
        Self { at: read, read, since: since.min(read), stamped: false }
    }

    /// From the kernel's stamp to the read.
    pub(crate) fn delay(&self) -> Option<u32> {
        self.stamped.then(|| u32::try_from(self.read - self.at).unwrap_or(u32::MAX))
    }
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
    pub(crate) fn reset(&mut self, request: &Request) {
        self.response.reset();
        self.body = Body::Events;
        self.events.reset();
        self.opening.clear();
        self.tally.reset(request.keep_answer, request.max_tokens);
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
                    // It may hold words of the server.
                    self.give_up(arrival.at, OutcomeKind::Protocol, reading.quote(how.as_bytes()));
                    return Progress::Over { reusable: false };
                }
            };
            match part {
                Part::More => return if self.tally.done() { Progress::Settled } else { Progress::Open },
                Part::Head => self.read_head(arrival.at, reading),
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
            Eof::Complete => self.read_end(Arrival::read_at(at, at), reading, emit),
            Eof::Unanswered => {
                self.give_up(at, OutcomeKind::Connection, "the server closed the connection without an answer");
            }
            Eof::Cut => {
                let how = "the server closed the connection in the middle of the answer".into();
                self.cut_off(at, reading, OutcomeKind::Connection, how);
            }
        }
    }

    /// The connection broke.
    pub(crate) fn broke(&mut self, at: Nanos, reading: &Reading, error: &std::io::Error) {
        let place = if self.begun() { "in the middle of the answer" } else { "before the answer" };
        self.cut_off(at, reading, OutcomeKind::Connection, format!("the connection broke {place}: {error}"));
    }

    /// No more will be read. Nothing is missing after the end mark.
    pub(crate) fn give_up(&mut self, at: Nanos, outcome: OutcomeKind, reason: impl Into<Cow<'static, str>>) {
        if !self.tally.done() {
            self.tally.touch(at);
            self.tally.fail(outcome, reason);
        }
    }

    /// When the answer ended, and how.
    pub(crate) fn end(&mut self) -> (Nanos, End) {
        self.tally.end()
    }

    /// Whether nothing followed the last piece so far.
    pub(crate) fn ends_with_piece(&self) -> bool {
        self.tally.ends_with_piece()
    }

    /// When it may be asked again, where this one failed for now: the server refused it and says so, or did not begin to
    /// answer. After `usual` where the server does not say when, or says what cannot be read.
    pub(crate) fn may_pass_after(&self, usual: Nanos) -> Option<Nanos> {
        let outcome = self.tally.failure()?;
        if !self.begun() {
            return (outcome == OutcomeKind::Connection).then_some(usual);
        }
        let head = self.response.head();
        let refused = matches!(outcome, OutcomeKind::Refused | OutcomeKind::ServerError);
        if !refused || !matches!(head.status, 429 | 503) {
            return None;
        }
        let stated = head.retry_after.as_deref().and_then(|text| wait_of(text, WallTime::now()));
        Some(stated.unwrap_or(usual))
    }

    /// It ends before its end. An error whose explanation is cut short is still that error.
    pub(crate) fn cut_off(&mut self, at: Nanos, reading: &Reading, outcome: OutcomeKind, how: String) {
        if let Body::Explanation { outcome: OutcomeKind::Refused | OutcomeKind::ServerError, .. } = self.body {
            self.tally.touch(at);
            self.explain(reading);
        }
        self.give_up(at, outcome, how);
    }

    fn read_head(&mut self, at: Nanos, reading: &Reading) {
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
        if let Some(coding) = &head.coding
            && head.status < 400
        {
            let coding = reading.quote(coding.as_bytes());
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
            && (event.error || event.data.trim_ascii() == b"[DONE]" || Chunk::read(event.data).is_ok())
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
        let said = match &head.coding {
            Some(coding) => format!("an explanation encoded as `{}`", quote(coding)),
            None => reading.quote(&self.opening),
        };
        let _ = write!(reason, ": {}", if said.is_empty() { "no explanation" } else { &said });
        self.tally.fail(outcome, reason);
    }
}

/// Whether the body can be a stream. Servers that forget the type, or say a general one, may still stream.
fn may_stream(head: &Head) -> bool {
    matches!(head.content_type.as_str(), "text/event-stream" | "" | "text/plain" | "application/octet-stream")
}

/// How long a `Retry-After` asks to wait: a number of seconds, which some servers give with a fraction, or a date. `None`
/// for what is neither.
fn wait_of(text: &str, now: WallTime) -> Option<Nanos> {
    let text = text.trim();
    match text.parse::<f64>() {
        // Longer than any timeout.
        Ok(seconds) if seconds >= 0.0 => Some((seconds.min(f64::from(u32::MAX)) * 1e9).ceil() as Nanos),
        Ok(_) => None,
        Err(_) => Some(WallTime::from_http_date(text)?.unix_ns.saturating_sub(now.unix_ns)),
    }
}

#[cfg(test)]
mod tests {
    use sagellm_core::TokenSource;

    use super::*;
    use crate::captures::{read, reading};
    use crate::fuzzing::answer_as;

    #[test]
    fn whatever_a_server_says_is_fit_to_be_shown() {
        let long = "\u{9b}31m".repeat(1000);
        let chunk = |text: &str| format!("HTTP/1.1 200 OK\r\n\r\ndata: {{\"choices\":[{{\"index\":\"{text}\"}}]}}\n\n");
        let header = |line: &str| format!("HTTP/1.1 200 OK\r\n{line}\r\n\r\n");
        let said = |text: &str| {
            [
                header(&format!("transfer-encoding: {text}")),
                header(&format!("content-encoding: {text}")),
                header(&format!("content-type: {text}")),
                chunk(text),
            ]
        };
        let mut reading = reading();
        reading.secrets = vec![Secret::new("sk-other"), Secret::new("sk-key")];
        for bytes in said(&long).into_iter().chain(said("x sk-key y")) {
            let reason = answer_as(bytes.as_bytes(), &[], &reading).end.reason.unwrap();
            assert!(reason.chars().count() < 1000, "{} characters", reason.chars().count());
            assert!(!reason.chars().any(char::is_control), "{reason:?}");
            assert!(!reason.contains("sk-key"), "{reason}");
        }
    }

    /// An answer whose events are `events`.
    fn stream(events: &[&str]) -> Vec<u8> {
        let body: String = events.iter().map(|event| format!("data: {event}\n\n")).collect();
        format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len()).into_bytes()
    }

    #[test]
    fn a_count_in_every_chunk_tells_how_many_tokens_it_holds() {
        let chunk = |text: &str, count: u32| {
            format!(
                r#"{{"choices":[{{"text":"{text}","finish_reason":null}}],"usage":{{"completion_tokens":{count}}}}}"#
            )
        };
        let end = r#"{"choices":[{"text":"","finish_reason":"stop"}],"usage":{"completion_tokens":9}}"#;
        let counted =
            read(&stream(&[&chunk("a", 3), &chunk("", 4), &chunk("b", 6), &chunk("c", 6), end, "[DONE]"]), &[]);
        assert_eq!(counted.tokens, [3, 3, 1], "text without a count is still a token");
        assert_eq!((counted.end.output_tokens, counted.end.output_tokens_source), (9, TokenSource::Usage));

        let plain = r#"{"choices":[{"text":"a","finish_reason":null}]}"#;
        let last = r#"{"choices":[{"text":"b","finish_reason":"stop"}],"usage":{"completion_tokens":9}}"#;
        assert_eq!(
            read(&stream(&[plain, plain, last, "[DONE]"]), &[]).tokens,
            [1, 1, 1],
            "a total is not of one chunk"
        );
    }

    #[test]
    fn the_digest_is_of_the_text_and_not_of_its_pieces() {
        let digest = |events: &[&str]| {
            read(&stream(events), &[]).end.output_text.and_then(|text| crate::counting::digest(&text))
        };
        let one = r#"{"choices":[{"text":"ab\n","finish_reason":"stop"}]}"#;
        let two = [r#"{"choices":[{"text":"a"}]}"#, r#"{"choices":[{"text":"b\u000a","finish_reason":"stop"}]}"#];
        assert_eq!(digest(&[one]), digest(&two));
        assert_ne!(digest(&[one]), digest(&two[..1]));
        assert_eq!(digest(&["[DONE]"]), None);
        let first = [r#"{"choices":[{"index":0,"text":"a"},{"index":1,"text":"b"}]}"#];
        let second = [r#"{"choices":[{"index":1,"text":"b"}]}"#, r#"{"choices":[{"index":0,"text":"a"}]}"#];
        assert_eq!(digest(&first), digest(&second), "choices may come in any order");
    }

    #[test]
    fn a_text_has_its_limit() {
        let chunk = format!(r#"{{"choices":[{{"text":"{}"}}]}}"#, "a".repeat(3 << 20));
        let end = read(&stream(&[&chunk, &chunk]), &[]).end;
        assert_eq!(end.outcome, OutcomeKind::Protocol);
        let reason = "the answer is longer than 4194304 bytes of text, though 0 tokens were asked for";
        assert_eq!(end.reason.as_deref(), Some(reason));
    }

    #[test]
    fn a_server_says_when_to_ask_again() {
        let now = WallTime { unix_ns: 784_111_777_500_000_000 };
        let wait = |text| wait_of(text, now).map(|nanos| nanos as f64 / 1e9);
        assert_eq!(wait("2"), Some(2.0));
        assert_eq!(wait(" 0.2 "), Some(0.2));
        assert_eq!(wait("0"), Some(0.0));
        assert_eq!(wait("Sun, 06 Nov 1994 08:49:39 GMT"), Some(1.5));
        assert_eq!(wait("Sun, 06 Nov 1994 08:49:30 GMT"), Some(0.0), "a date that is over");
        assert_eq!(wait("999999999999"), Some(f64::from(u32::MAX)));
        for nonsense in ["", "-1", "-99999999999999999999", "nan", "soon", "2s", "1,5"] {
            assert_eq!(wait(nonsense), None, "{nonsense}");
        }
    }

    #[test]
    fn only_known_finish_reasons_are_success() {
        let end = |reason: &str| {
            let chunk = format!(r#"{{"choices":[{{"text":"a","finish_reason":"{reason}"}}]}}"#);
            let end = read(&stream(&[&chunk, "[DONE]"]), &[]).end;
            (end.outcome, end.reason.unwrap_or_default())
        };
        for fine in ["stop", "length", "tool_calls", "STOP", "MAX_TOKENS", "eos_token"] {
            assert_eq!(end(fine).0, OutcomeKind::Success, "{fine}");
        }
        assert_eq!(end("content_filter").0, OutcomeKind::ContentFilter);
        let (outcome, reason) = end("insufficient_system_resource");
        assert_eq!(outcome, OutcomeKind::ServerError);
        assert!(reason.contains("`insufficient_system_resource`"), "{reason}");
    }

    #[test]
    fn the_end_of_the_sequence_is_a_token_where_the_server_counts_it() {
        let chunk = r#"{"choices":[{"index":0,"delta":{"content":"a"},"finish_reason":null}]}"#;
        let stop = r#"{"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}"#;
        let usage = |count: u32| format!(r#"{{"choices":[],"usage":{{"completion_tokens":{count}}}}}"#);
        let end = |count: u32| read(&stream(&[chunk, chunk, stop, &usage(count), "[DONE]"]), &[]).end;
        assert_eq!(end(3).end_of_sequence, Some((7, None)));
        assert_eq!(end(2).end_of_sequence, None, "it is not counted");
        assert_eq!(end(5).end_of_sequence, None, "more is missing than the end");
    }

    #[test]
    fn hidden_reasoning_is_kept_apart() {
        let chunk = r#"{"choices":[{"index":0,"delta":{"content":"a"},"finish_reason":null}]}"#;
        let thought = r#"{"choices":[{"index":0,"delta":{"reasoning":"a"},"finish_reason":null}]}"#;
        let last = r#"{"choices":[{"index":0,"delta":{"content":"a"},"finish_reason":"length"}],
            "usage":{"completion_tokens":66,"completion_tokens_details":{"reasoning_tokens":64}}}"#
            .replace('\n', " ");
        let hidden = |first: &str| {
            let end = read(&stream(&[first, &last, "[DONE]"]), &[]).end;
            (end.output_tokens, end.http.unwrap().hidden_tokens)
        };
        assert_eq!(hidden(chunk), (66, 64));
        assert_eq!(hidden(thought), (66, 0), "it was sent");
    }

    #[test]
    fn a_count_of_zero_next_to_text_is_no_count() {
        let usage = r#"{"choices":[],"usage":{"prompt_tokens":0,"completion_tokens":0}}"#;
        let chunk = r#"{"choices":[{"text":"a","finish_reason":"stop"}]}"#;
        let end = read(&stream(&[chunk, usage, "[DONE]"]), &[]).end;
        assert_eq!((end.output_tokens, end.output_tokens_source), (1, TokenSource::Chunks));
        assert_eq!((end.input_tokens, end.http.unwrap().usage_tokens), (None, None));
    }

    #[test]
    fn a_finish_reason_under_another_number_ends_the_only_answer() {
        let chunk = r#"{"choices":[{"index":1,"text":"a","finish_reason":null}]}"#;
        let last = r#"{"choices":[{"index":0,"text":"","finish_reason":"stop"}]}"#;
        let mut reading = reading();
        reading.finish_reason = true;
        assert_eq!(answer_as(&stream(&[chunk, last, "[DONE]"]), &[], &reading).end.outcome, OutcomeKind::Success);
    }
}

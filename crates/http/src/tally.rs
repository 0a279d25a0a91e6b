//! What the events of an answer come to: tokens, stamps, counts of the server, and the outcome.

use std::borrow::Cow;

use sagellm_core::{Answer, End, FinishReason, HttpFacts, Nanos, OutcomeKind, OutputText, Piece, TokenSource};

use crate::answer::{Arrival, Reading};
use crate::bounds::Bounds;
use crate::chunk::{self, Choice, Chunk, Content, MAX_CHOICES, ServerTimes, Usage};
use crate::pattern::{Pattern, Role};
use crate::sse::SseEvent;

/// The account of one answer.
#[derive(Default)]
pub(crate) struct Tally {
    bounds: Bounds,
    /// Whether an event was seen.
    eventful: bool,
    /// Whether the end mark was.
    done: bool,
    /// The first failure.
    failure: Option<(OutcomeKind, String)>,
    choices: Vec<ChoiceState>,
    finish_reason: Option<FinishReason>,
    filtered: bool,
    usage: Usage,
    /// The counts of llama.cpp, which stand in for a usage that was not sent.
    timings: Usage,
    /// Tokens of the pieces so far.
    given: u32,
    /// Whether the server counts as it goes, so that its count tells how many tokens a chunk holds.
    counts_on: bool,
    /// Bytes of text so far.
    said: usize,
    /// The visible text of the first choice, where it is to be handed over with the end.
    answer: Option<String>,
    facts: HttpFacts,
    /// When something that matters was last read.
    last: Nanos,
    last_piece: Option<Nanos>,
    /// Whether the last event was a piece.
    ends_with_piece: bool,
    /// When an empty chunk ended the answer with the reason `stop`.
    stopped: Option<Arrival>,
    /// Whether text of reasoning came.
    reasoned: bool,
    /// What most chunks of this answer look like.
    pattern: Pattern,
    scratch: String,
}

/// One of the choices of an answer.
#[derive(Default)]
struct ChoiceState {
    index: u32,
    /// Its whole text.
    text: String,
    finished: bool,
}

impl Tally {
    /// Makes ready for another answer, to a request for so many tokens, whose text is kept where `keep_answer` says so.
    pub(crate) fn reset(&mut self, keep_answer: bool, asked: u32) {
        let mut choices = std::mem::take(&mut self.choices);
        choices.clear();
        let scratch = std::mem::take(&mut self.scratch);
        let mut pattern = std::mem::take(&mut self.pattern);
        pattern.forget();
        let answer = keep_answer.then(String::new);
        *self = Self { bounds: Bounds::of(asked), choices, scratch, pattern, answer, ..Self::default() };
    }

    /// Whether an event was seen.
    pub(crate) fn eventful(&self) -> bool {
        self.eventful
    }

    /// Whether the end mark was seen.
    pub(crate) fn done(&self) -> bool {
        self.done
    }

    /// Whether the answer is known to have failed.
    pub(crate) fn failed(&self) -> bool {
        self.failure.is_some()
    }

    /// How it failed, if it is known to have.
    pub(crate) fn failure(&self) -> Option<OutcomeKind> {
        self.failure.as_ref().map(|(outcome, _)| *outcome)
    }

    /// Whether every choice that began has ended.
    pub(crate) fn finished(&self) -> bool {
        let mut with_text = self.choices.iter().filter(|choice| !choice.text.is_empty());
        // Some gateways number the choice that ends otherwise than the one that spoke.
        let one_spoke = with_text.next().is_some() && with_text.next().is_none();
        let mut finished = self.choices.iter().map(|choice| choice.finished);
        if one_spoke { finished.any(|it| it) } else { !self.choices.is_empty() && finished.all(|it| it) }
    }

    /// When the last piece came.
    pub(crate) fn last_piece(&self) -> Option<Nanos> {
        self.last_piece
    }

    /// Whether nothing followed the last piece so far.
    pub(crate) fn ends_with_piece(&self) -> bool {
        self.ends_with_piece
    }

    pub(crate) fn set_status(&mut self, status: u16) {
        self.facts.status = Some(status);
    }

    /// Notes that something that matters was read.
    pub(crate) fn touch(&mut self, at: Nanos) {
        self.last = at;
    }

    /// Notes a failure; the first one counts.
    pub(crate) fn fail(&mut self, outcome: OutcomeKind, reason: impl Into<Cow<'static, str>>) {
        if self.failure.is_none() {
            self.failure = Some((outcome, reason.into().into_owned()));
        }
    }

    pub(crate) fn read_event(
        &mut self,
        event: &SseEvent<'_>,
        arrival: Arrival,
        reading: &Reading,
        emit: &mut impl FnMut(Piece),
    ) {
        self.eventful = true;
        let data = event.data.trim_ascii();
        if self.done || (data.is_empty() && !event.error) {
            return;
        }
        self.last = arrival.at;
        self.ends_with_piece = false;
        if event.error {
            return self.fail(OutcomeKind::ServerError, format!("in the stream: {}", reading.quote(data)));
        }
        if data == b"[DONE]" {
            self.done = true;
            if reading.finish_reason && !self.choices.is_empty() && !self.finished() {
                let how = "the stream ended with [DONE] but without the finish reason that this server gives";
                self.fail(OutcomeKind::Truncated, how);
            }
            return;
        }
        if let Some((text, role)) = self.pattern.text(data) {
            return self.read_alike(text, role, arrival, reading, emit);
        }
        // By the standard a stream is decoded with replacement characters.
        let repaired;
        let text = match std::str::from_utf8(data) {
            Ok(text) => text,
            Err(_) => {
                repaired = String::from_utf8_lossy(data);
                &repaired
            }
        };
        match Chunk::read(text.as_bytes()) {
            Ok(chunk) if chunk.is_error() => {
                self.fail(OutcomeKind::ServerError, format!("in the stream: {}", reading.quote(data)));
            }
            Ok(chunk) => {
                self.read_chunk(&chunk, arrival, reading, emit);
                self.learn(text.as_bytes(), &chunk);
            }
            Err(error) => {
                // The error repeats a value that it did not expect.
                let error = reading.quote(error.to_string().as_bytes());
                let how = format!("a chunk of the stream cannot be read ({error}): {}", reading.quote(data));
                self.fail(OutcomeKind::Protocol, how);
            }
        }
    }

    fn read_chunk(&mut self, chunk: &Chunk<'_>, arrival: Arrival, reading: &Reading, emit: &mut impl FnMut(Piece)) {
        if self.facts.answered_model.is_none()
            && let Some(model) = chunk.model()
        {
            self.check_model(model, reading);
        }
        if let Some(usage) = chunk.usage() {
            self.usage = usage;
            self.check_count(usage.completion);
        }
        if let Some(times) = chunk.metrics() {
            self.keep_times(times);
        }
        if let Some((times, counts)) = chunk.timings() {
            self.keep_times(times);
            self.timings = counts;
            self.check_count(counts.completion);
        }
        if self.failed() {
            return;
        }
        let mut carrying = 0;
        let mut visible = false;
        let mut stopped = false;
        let mut text = reading.stream_text.then(String::new);
        for choice in chunk.choices.iter() {
            let Some(place) = self.place_of(choice.index.unwrap_or(0)) else {
                return self.fail(OutcomeKind::Protocol, format!("the answer has more than {MAX_CHOICES} choices"));
            };
            let mut carries = false;
            for content in choice.contents() {
                carries = true;
                let is_reasoning = matches!(content, Content::Reasoning(_));
                visible |= !is_reasoning;
                self.reasoned |= is_reasoning;
                self.keep_content(place, content, text.as_mut());
            }
            carrying += u32::from(carries);
            self.read_finish(place, choice, reading);
            stopped |= !carries && self.finish_reason == Some(FinishReason::Stop);
        }
        if stopped && carrying == 0 {
            self.stopped = Some(arrival);
        }
        if carrying > 0 {
            emit(self.piece(carrying, visible, text, arrival));
        }
    }

    /// Takes in a chunk that differs from the one that was learnt in its text only.
    fn read_alike(
        &mut self,
        text: &str,
        role: Role,
        arrival: Arrival,
        reading: &Reading,
        emit: &mut impl FnMut(Piece),
    ) {
        self.keep_text(role, text);
        let text = reading.stream_text.then(|| text.to_owned());
        emit(self.piece(1, role.visible, text, arrival));
    }

    /// Learns what a chunk looks like that says nothing but the text of one choice.
    fn learn(&mut self, data: &[u8], chunk: &Chunk<'_>) {
        let Some((choice, value, visible)) = chunk.only_text() else { return };
        if let Some(place) = self.place_of(choice) {
            self.pattern.learn(data, value, Role { place, visible });
        }
    }

    /// The piece that a chunk makes in which so many choices carry something.
    fn piece(&mut self, carrying: u32, visible: bool, text: Option<String>, arrival: Arrival) -> Piece {
        let tokens = self.tokens_of_piece(carrying);
        self.facts.content_chunks += 1;
        let Bounds { asked, pieces, .. } = self.bounds;
        if self.facts.content_chunks > pieces {
            let how =
                format!("the answer has no end: more than {pieces} chunks came, though {asked} tokens were asked for");
            self.fail(OutcomeKind::Protocol, how);
        }
        self.last_piece = Some(arrival.at);
        self.ends_with_piece = true;
        if visible {
            self.facts.first_visible_ns.get_or_insert(arrival.at);
        }
        Piece { tokens, text, delay_ns: arrival.delay(), ..Piece::default() }
    }

    /// How many tokens a chunk holds in which so many choices carry something: what the server's running count grew by,
    /// else one for each.
    fn tokens_of_piece(&mut self, carrying: u32) -> u32 {
        if self.last_piece.is_none() {
            self.counts_on = self.usage.completion.is_some();
        }
        let grown = self.usage.completion.filter(|_| self.counts_on).map_or(0, |all| all.saturating_sub(self.given));
        let tokens = grown.max(carrying);
        self.given = self.given.saturating_add(tokens);
        tokens
    }

    /// A count that no answer can have is damage, such as a number that went below zero.
    fn check_count(&mut self, completion: Option<u32>) {
        let Bounds { asked, pieces, .. } = self.bounds;
        if let Some(count) = completion.filter(|&count| count > pieces) {
            (self.usage.completion, self.timings.completion) = (None, None);
            let how = format!("the server counts {count} tokens of the answer, though {asked} were asked for");
            self.fail(OutcomeKind::Protocol, how);
        }
    }

    fn check_model(&mut self, answered: &str, reading: &Reading) {
        // Some gateways leave the name empty in their first chunk.
        if answered == "\"\"" || plain(answered) == Some(&reading.model) {
            return;
        }
        self.scratch.clear();
        chunk::push_text(answered, &mut self.scratch);
        if self.scratch != reading.model {
            self.facts.answered_model = Some(reading.quote(self.scratch.as_bytes()));
        }
    }

    fn keep_times(&mut self, times: ServerTimes) {
        let facts = &mut self.facts;
        facts.server_ttft_ms = times.ttft_ms.or(facts.server_ttft_ms);
        facts.server_queue_ms = times.queue_ms.or(facts.server_queue_ms);
        facts.server_prefill_ms = times.prefill_ms.or(facts.server_prefill_ms);
        facts.server_generation_ms = times.generation_ms.or(facts.server_generation_ms);
    }

    /// Where the choice with this number is kept.
    fn place_of(&mut self, index: u32) -> Option<usize> {
        if let Some(place) = self.choices.iter().position(|choice| choice.index == index) {
            return Some(place);
        }
        if self.choices.len() == MAX_CHOICES {
            return None;
        }
        self.choices.push(ChoiceState { index, ..ChoiceState::default() });
        Some(self.choices.len() - 1)
    }

    fn keep_content(&mut self, place: usize, content: Content<'_>, piece: Option<&mut String>) {
        let role = Role { place, visible: matches!(content, Content::Visible(_)) };
        let mut scratch = std::mem::take(&mut self.scratch);
        scratch.clear();
        let text = match content {
            Content::Visible(value) | Content::Reasoning(value) => plain(value).unwrap_or_else(|| {
                chunk::push_text(value, &mut scratch);
                &scratch
            }),
            Content::Call(value) => {
                chunk::push_call(value, &mut scratch);
                &scratch
            }
        };
        self.keep_text(role, text);
        if let Some(piece) = piece {
            piece.push_str(text);
        }
        self.scratch = scratch;
    }

    fn keep_text(&mut self, role: Role, text: &str) {
        self.said += text.len();
        let Bounds { asked, text: most, .. } = self.bounds;
        if self.said > most {
            let how = format!("the answer is longer than {most} bytes of text, though {asked} tokens were asked for");
            return self.fail(OutcomeKind::Protocol, how);
        }
        if let Some(answer) = &mut self.answer
            && role == (Role { place: 0, visible: true })
        {
            answer.push_str(text);
        }
        self.choices[role.place].text.push_str(text);
    }

    /// Only the reasons of this list mean success.
    fn read_finish(&mut self, place: usize, choice: &Choice<'_>, reading: &Reading) {
        let Some(reason) = choice.finish_reason() else { return };
        self.choices[place].finished = true;
        let reason = match reason.to_ascii_lowercase().as_str() {
            "length" | "max_tokens" | "model_length" | "limit" => FinishReason::Length,
            "stop" | "eos" | "eos_token" | "stop_sequence" | "stop_str" | "end_turn" | "complete" => FinishReason::Stop,
            "tool_calls" | "function_call" | "tool_use" => FinishReason::ToolCalls,
            "content_filter" | "content_filtered" | "safety" | "recitation" | "blocklist" | "prohibited_content" => {
                self.filtered = true;
                FinishReason::ContentFilter
            }
            _ => {
                let reason = reading.quote(reason.as_bytes());
                let how = format!("the server ended the answer with the finish reason `{reason}`");
                return self.fail(OutcomeKind::ServerError, how);
            }
        };
        self.finish_reason.get_or_insert(reason);
    }

    /// When the answer ended, and how.
    pub(crate) fn end(&mut self) -> (Nanos, End) {
        let mut facts = std::mem::take(&mut self.facts);
        // A count of zero next to text is none.
        let believed = |count: Option<u32>| count.filter(|&count| count > 0 || self.said == 0);
        facts.usage_of_zero = self.usage.completion == Some(0) && self.said > 0;
        facts.usage_tokens = believed(self.usage.completion).or(self.timings.completion);
        // Reasoning that was counted and not sent.
        let hidden = self.usage.reasoning.filter(|_| !self.reasoned);
        facts.hidden_tokens = hidden.unwrap_or(0).min(facts.usage_tokens.unwrap_or(0));
        let shown = facts.usage_tokens.map(|all| all - facts.hidden_tokens);
        let end_of_sequence = self.stopped.filter(|_| shown == Some(self.given.saturating_add(1)));
        let (tokens, source) = match facts.usage_tokens {
            Some(tokens) => (tokens, TokenSource::Usage),
            None => (self.given, TokenSource::Chunks),
        };
        let (outcome, reason) = match self.failure.take() {
            Some((outcome, reason)) => (outcome, Some(reason)),
            None if self.filtered => (OutcomeKind::ContentFilter, Some("a content filter withheld the answer".into())),
            None if self.last_piece.is_none() => {
                let told = facts.usage_tokens.filter(|&tokens| tokens > 0);
                let told = told.map_or(String::new(), |tokens| format!(", though the server counts {tokens}"));
                (OutcomeKind::Empty, Some(format!("no chunk of the answer holds a token{told}")))
            }
            None => (OutcomeKind::Success, None),
        };
        let end = End {
            reason,
            finish_reason: self.finish_reason,
            input_tokens: believed(self.usage.prompt).or(self.timings.prompt),
            end_of_sequence: end_of_sequence.map(|arrival| (arrival.at, arrival.delay())),
            cached_tokens: self.usage.cached.or(self.timings.cached),
            output_text: self.take_text(),
            answer: self.answer.take().map(|text| Answer { text: Some(text), token_ids: None }),
            http: Some(facts),
            ..End::new(outcome, tokens, source)
        };
        (self.last, end)
    }

    /// The text, choice by choice; none when there was no token.
    fn take_text(&mut self) -> Option<OutputText> {
        self.last_piece?;
        self.choices.sort_by_key(|choice| choice.index);
        Some(OutputText { choices: self.choices.iter_mut().map(|choice| std::mem::take(&mut choice.text)).collect() })
    }
}

/// The text of a JSON string that has no escapes.
fn plain(value: &str) -> Option<&str> {
    let inner = value.strip_prefix('"')?.strip_suffix('"')?;
    memchr::memchr(b'\\', inner.as_bytes()).is_none().then_some(inner)
}

//! One request in the engine: its events to text.

use std::sync::Arc;
use std::sync::mpsc::RecvTimeoutError;

use sagellm_core::{Backend, End, EventKind, FinishReason, Nanos, OutcomeKind, Prompt, Request, event_channel};

use super::Service;
use super::ask::Ask;
use super::detokenizer::Detokenizer;
use super::fields::Refusal;
use super::stop::StopStrings;
use crate::running::PATIENCE;
use crate::socket::Arrival;

/// Something new of an answer.
#[derive(Debug)]
pub(crate) struct Delta {
    pub(crate) text: String,
    /// Tokens so far.
    pub(crate) tokens: u32,
    pub(crate) finish: Option<Finish>,
}

/// Why an answer is at its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Finish {
    pub(crate) reason: FinishReason,
    /// The stop string that was found.
    pub(crate) stop: Option<String>,
}

impl Finish {
    pub(crate) fn name(&self) -> &'static str {
        if self.reason == FinishReason::Length { "length" } else { "stop" }
    }
}

/// How an answer ended.
pub(crate) enum Ended {
    /// It is whole; prompt tokens from the prefix cache.
    Whole { tokens: u32, cached: u32 },
    /// The client went, or the server is to end.
    Gone,
    /// The engine refused or failed.
    Refused(Refusal),
}

impl Service {
    /// Lets the engine answer `ask`. `tell` takes what is new and says whether the client is still there; `gone` says so
    /// when there is nothing to tell.
    pub(crate) fn generate(
        &self,
        ask: &Ask,
        number: u64,
        arrival: Arrival,
        gone: impl Fn() -> bool,
        mut tell: impl FnMut(Delta) -> bool,
    ) -> Ended {
        let request = Request {
            id: number,
            offset_ns: 0,
            session: None,
            prompt: Prompt::tokenized(String::new(), ask.prompt.clone()),
            max_tokens: ask.max_tokens,
            sampling: ask.sampling.clone(),
            ignore_eos: ask.ignore_eos,
            keep_answer: false,
        };
        let (sink, mut events) = event_channel();
        if let Err(failure) = self.engine.submit(Arc::new(request), &sink) {
            self.metrics.lock().failed();
            return Ended::Refused(Refusal::new(500, failure.message));
        }
        drop(sink);
        let mut progress = Progress::new(self, ask, arrival);
        let mut wanted = true;
        let mut looked = self.clock.now();
        loop {
            let event = match events.next_within(PATIENCE) {
                Ok(event) => Some(event),
                Err(RecvTimeoutError::Timeout) => None,
                Err(RecvTimeoutError::Disconnected) => {
                    self.metrics.lock().failed();
                    return Ended::Refused(Refusal::new(500, "the engine has stopped"));
                }
            };
            match event.map(|event| (event.at, event.kind)) {
                Some((at, EventKind::Chunk(piece))) if wanted && progress.finish.is_none() => {
                    if let Some(delta) = progress.token(at, piece.token) {
                        let stop = delta.finish.as_ref().is_some_and(|finish| finish.stop.is_some());
                        wanted = tell(delta);
                        if stop || !wanted {
                            self.engine.cancel(number);
                        }
                    }
                }
                Some((at, EventKind::End(end))) => return progress.end(at, &end, wanted),
                _ => {}
            }
            if wanted && self.clock.until(looked).is_zero() {
                if gone() {
                    wanted = false;
                    self.engine.cancel(number);
                }
                looked = self.clock.now() + PATIENCE.as_nanos() as Nanos;
            }
        }
    }
}

/// What is known of an answer on its way.
struct Progress<'a> {
    service: &'a Service,
    ask: &'a Ask,
    arrival: Arrival,
    text: Detokenizer<'a>,
    stops: StopStrings,
    tokens: u32,
    first: Option<Nanos>,
    last: Nanos,
    finish: Option<Finish>,
}

impl<'a> Progress<'a> {
    fn new(service: &'a Service, ask: &'a Ask, arrival: Arrival) -> Self {
        Self {
            service,
            ask,
            arrival,
            text: Detokenizer::new(&service.tokenizer, &ask.prompt),
            stops: StopStrings::new(ask.stop.clone()),
            tokens: 0,
            first: None,
            last: arrival.at,
            finish: None,
        }
    }

    /// Takes a token that was chosen at `at`; gives what is to be told.
    fn token(&mut self, at: Nanos, id: Option<u32>) -> Option<Delta> {
        self.tokens += 1;
        let mut counts = self.service.metrics.lock();
        counts.generation_tokens += 1;
        if self.first.is_none() {
            self.first = Some(at);
            counts.prompt_tokens += self.ask.prompt.len() as u64;
            counts.ttft.add(at.saturating_sub(self.arrival.at));
        } else {
            counts.inter_token.add(at.saturating_sub(self.last));
        }
        drop(counts);
        self.last = at;
        let ends = !self.ask.ignore_eos && id.is_some_and(|id| self.service.eos.contains(&id));
        let mut text = match id {
            // What ends a text is no part of it.
            Some(id) if !ends => self.text.push(id),
            _ => String::new(),
        };
        let reason = if ends {
            Some(FinishReason::Stop)
        } else if self.tokens == self.ask.max_tokens {
            Some(FinishReason::Length)
        } else {
            None
        };
        if reason.is_some() {
            text.push_str(&self.text.finish());
        }
        let found = self.stops.push(&text, reason.is_some());
        self.finish = match (found.stop, reason) {
            (Some(stop), _) => Some(Finish { reason: FinishReason::Stop, stop: Some(stop) }),
            (None, Some(reason)) => Some(Finish { reason, stop: None }),
            (None, None) => None,
        };
        let something = !found.text.is_empty() || self.finish.is_some();
        something.then(|| Delta { text: found.text, tokens: self.tokens, finish: self.finish.clone() })
    }

    fn end(self, at: Nanos, end: &End, wanted: bool) -> Ended {
        let mut counts = self.service.metrics.lock();
        if let Some(finish) = self.finish.filter(|_| wanted) {
            counts.finished(Some(finish.reason));
            counts.latency.add(at.saturating_sub(self.arrival.at));
            if let (Some(first), Some(queue)) = (self.first, end.queue_ns) {
                counts.queue.add(queue);
                counts.prefill.add(first.saturating_sub(self.arrival.at).saturating_sub(queue));
                counts.decode.add(self.last - first);
            }
            return Ended::Whole { tokens: self.tokens, cached: end.cached_tokens.unwrap_or(0) };
        }
        let reason = || end.reason.clone().unwrap_or_else(|| "the engine gave no answer".into());
        match end.outcome {
            _ if !wanted => {
                counts.finished(None);
                Ended::Gone
            }
            OutcomeKind::Refused => Ended::Refused(Refusal::new(400, reason())),
            _ => {
                counts.failed();
                Ended::Refused(Refusal::new(500, reason()))
            }
        }
    }
}

//! The engine thread: takes commands, computes steps, sends events.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, Sender, TryRecvError};

use sagellm_core::{
    Answer, Clock, End, Event, EventKind, EventSink, FinishReason, Nanos, OutcomeKind, Piece, Prepared, TokenSource,
};
use sagellm_model::Tokenizer;
use sha2::{Digest, Sha256};

use crate::kernels::Kernels;
use crate::kv::KvStorage;
use crate::nn::{Decoder, Workspace};
use crate::scheduler::Scheduler;
use crate::sequence::Sequence;
use crate::stats::StepNanos;

/// What other threads ask of the engine thread.
pub(crate) enum Command {
    Submit {
        request: Prepared,
        sink: EventSink,
        /// When.
        at: Nanos,
    },
    Cancel(u64),
    /// Start a new window, and say when that is done.
    Reset(Sender<()>),
    Stop,
}

/// Everything that the engine thread owns.
pub(crate) struct EngineThread {
    pub(crate) model: Decoder,
    pub(crate) kernels: Kernels,
    pub(crate) kv: KvStorage,
    pub(crate) work: Workspace,
    pub(crate) scheduler: Scheduler,
    pub(crate) clock: Clock,
    pub(crate) tokenizer: Tokenizer,
    pub(crate) context_length: usize,
    pub(crate) eos: Vec<u32>,
    /// Whether chunk events carry their text.
    pub(crate) stream_text: bool,
}

impl EngineThread {
    /// Works until it is told to stop. A fault of the engine fails the requests it holds instead of leaving them open.
    pub(crate) fn run(mut self, commands: &Receiver<Command>) {
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| self.serve(commands))) {
            let reason = panic
                .downcast_ref::<String>()
                .map(String::as_str)
                .or_else(|| panic.downcast_ref::<&str>().copied())
                .unwrap_or("unknown fault");
            let reason = format!("the engine failed: {reason}");
            let at = self.clock.now();
            for sequence in self.scheduler.drain() {
                end(&sequence, at, OutcomeKind::ServerError, Some(reason.clone()), None);
            }
        }
    }

    fn serve(&mut self, commands: &Receiver<Command>) {
        // Lives across steps so that sampling allocates nothing.
        let mut candidates = Vec::new();
        loop {
            loop {
                self.scheduler.publish_load();
                let command = if self.scheduler.is_idle() {
                    commands.recv().map_err(|_| TryRecvError::Disconnected)
                } else {
                    commands.try_recv()
                };
                match command {
                    Ok(Command::Submit { request, sink, at }) => self.accept(request, sink, at),
                    Ok(Command::Cancel(id)) => self.cancel(id),
                    Ok(Command::Reset(done)) => {
                        self.scheduler.reset();
                        // Nobody waiting is no fault.
                        let _ = done.send(());
                    }
                    Ok(Command::Stop) | Err(TryRecvError::Disconnected) => return,
                    Err(TryRecvError::Empty) => break,
                }
            }
            self.step(&mut candidates);
        }
    }

    fn accept(&mut self, request: Prepared, sink: EventSink, arrived: Nanos) {
        let tokens = match &request.prompt.token_ids {
            Some(ids) => Ok(ids.clone()),
            None => self.tokenizer.encode(&request.prompt.text, true).map_err(|error| error.to_string()),
        };
        let checked = tokens.and_then(|tokens| self.check(&tokens, request.max_tokens as usize).map(|()| tokens));
        let drafts = self.scheduler.drafts();
        match checked {
            Ok(tokens) => self.scheduler.push(Sequence::new(request, tokens, sink, arrived, drafts)),
            Err(reason) => {
                let at = self.clock.now();
                let sequence = Sequence::new(request, Vec::new(), sink, arrived, drafts);
                end(&sequence, at, OutcomeKind::Refused, Some(reason), None);
            }
        }
    }

    fn check(&self, tokens: &[u32], output: usize) -> Result<(), String> {
        let total = tokens.len().saturating_add(output);
        let capacity = self.scheduler.capacity_tokens();
        if tokens.is_empty() {
            Err("the prompt has no tokens".into())
        } else if output == 0 {
            Err("no output tokens were asked for".into())
        } else if let Some(id) = tokens.iter().find(|&&id| id as usize >= self.model.vocab) {
            Err(format!("token id {id} is outside the model's vocabulary of {}", self.model.vocab))
        } else if total > self.context_length {
            Err(format!(
                "{} prompt tokens and {output} output tokens exceed the model's context of {} tokens",
                tokens.len(),
                self.context_length
            ))
        } else if total > capacity {
            Err(format!(
                "{} prompt tokens and {output} output tokens exceed the KV cache of {capacity} tokens",
                tokens.len()
            ))
        } else {
            Ok(())
        }
    }

    fn cancel(&mut self, id: u64) {
        if let Some(sequence) = self.scheduler.remove(id) {
            self.scheduler.publish_load();
            let at = self.clock.now();
            end(&sequence, at, OutcomeKind::Censored, Some("cancelled".into()), None);
        }
    }

    /// Computes one step and sends what came of it.
    fn step(&mut self, candidates: &mut Vec<(f32, u32)>) {
        let began = self.clock.now();
        let scheduled = self.scheduler.schedule();
        let at = self.clock.now();
        for (id, sequence) in self.scheduler.preempted() {
            send(sequence, Event { request: id, at, kind: EventKind::Preempted });
        }
        if !scheduled {
            return;
        }
        let (rows, tables) = self.scheduler.step();
        let tokens = rows.len();
        let wanting: Vec<usize> = rows.iter().filter(|row| row.logits).map(|row| row.sequence).collect();
        let forward_began = self.clock.now();
        let logits = self.model.forward(&mut self.kernels, rows, &tables, &mut self.kv, &mut self.work);
        let forward_ended = self.clock.now();
        let mut place = 0;
        while let Some(&index) = wanting.get(place) {
            let sequence = &mut self.scheduler.running()[index];
            let draft = std::mem::take(&mut sequence.draft);
            let rows = place..place + 1 + draft.len();
            place = rows.end;
            let mut accepted = 0;
            for (i, row) in rows.enumerate() {
                let logits = &logits[row * self.model.vocab..(row + 1) * self.model.vocab];
                let token = sequence.sampler.next(logits, candidates);
                let at = self.clock.now();
                sequence.tokens.push(token);
                let text = self.stream_text.then(|| self.tokenizer.decode(&[token]));
                let piece = Piece { tokens: 1, token: Some(token), text, ..Piece::default() };
                send(sequence, Event { request: sequence.request.id, at, kind: EventKind::Chunk(piece) });
                let foreseen = draft.get(i) == Some(&token);
                accepted += usize::from(foreseen);
                if !foreseen || finish_reason(sequence, &self.eos).is_some() {
                    break;
                }
            }
            self.scheduler.accept(index, draft.len(), accepted);
        }
        let sampled = self.clock.now();
        let eos = &self.eos;
        let ended = self.scheduler.retire(|s| finish_reason(s, eos).is_some());
        // Before the ends, so that who is told of one finds the step counted.
        let spent = self.kernels.take_spent();
        let forward = forward_ended - forward_began;
        self.scheduler.counters().step(&StepNanos {
            tokens,
            attention: spent.attention,
            matmul: spent.matmul,
            sampling: sampled - forward_ended,
            scheduling: forward_began - began + (self.clock.now() - sampled),
            other: forward.saturating_sub(spent.attention + spent.matmul),
        });
        // Who is told of an end no longer finds the request among the load.
        self.scheduler.publish_load();
        for sequence in ended {
            let at = self.clock.now();
            end(&sequence, at, OutcomeKind::Success, None, finish_reason(&sequence, eos));
        }
    }
}

/// Why a request is over, if it is.
fn finish_reason(sequence: &Sequence, eos: &[u32]) -> Option<FinishReason> {
    let output = sequence.output();
    if !sequence.request.ignore_eos && output.last().is_some_and(|token| eos.contains(token)) {
        Some(FinishReason::Stop)
    } else if output.len() >= sequence.request.max_tokens as usize {
        Some(FinishReason::Length)
    } else {
        None
    }
}

fn send(sequence: &Sequence, event: Event) {
    // A receiver that has gone no longer wants to know.
    sequence.sink.send(event);
}

fn end(
    sequence: &Sequence,
    at: Nanos,
    outcome: OutcomeKind,
    reason: Option<String>,
    finish_reason: Option<FinishReason>,
) {
    let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    let output = sequence.output();
    let end = End {
        reason,
        finish_reason,
        input_tokens: (sequence.prompt_len > 0).then_some(count(sequence.prompt_len)),
        cached_tokens: sequence.cached.map(count),
        queue_ns: sequence.admitted.map(|admitted| admitted - sequence.arrived),
        output_digest: (!output.is_empty()).then(|| digest(output)),
        answer: sequence.request.keep_answer.then(|| Answer { text: None, token_ids: Some(output.to_vec()) }),
        ..End::new(outcome, count(output.len()), TokenSource::Engine)
    };
    let kind = EventKind::End(Box::new(end));
    send(sequence, Event { request: sequence.request.id, at, kind });
}

/// The first 16 hexadecimal digits of the SHA-256 of the token ids as little-endian 32-bit numbers.
pub(crate) fn digest(tokens: &[u32]) -> String {
    let mut hash = Sha256::new();
    for token in tokens {
        hash.update(token.to_le_bytes());
    }
    hash.finalize().iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

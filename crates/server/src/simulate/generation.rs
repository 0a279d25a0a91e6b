//! One answer: when each token is due, and the bytes that carry it.

use std::time::Duration;

use sagellm_core::Nanos;
use sagellm_model::Tokenizer;
use serde_json::{Value, json};

use super::SimulateOptions;
use super::ask::Ask;
use crate::wire::{END_OF_CHUNKS, Response, append_chunk};

/// What a token's text may be. The first is one token for all but every trained tokenizer, the second for those of bytes.
const TEXTS: [&str; 2] = [" the", "a"];

/// The text of which so many repetitions are so many tokens, so that a client that counts finds what it was told; the
/// first where no text is like that.
pub(crate) fn token_text(tokenizer: &Tokenizer) -> &'static str {
    let counts =
        |text: &str, times: usize| tokenizer.encode(&text.repeat(times), false).is_ok_and(|ids| ids.len() == times);
    let fits = |text: &&str| [1, 2, 3, 100].into_iter().all(|times| counts(text, times));
    TEXTS.into_iter().find(fits).unwrap_or(TEXTS[0])
}

/// An answer on its way.
#[derive(Debug)]
pub(crate) struct Generation {
    ask: Ask,
    /// The text of every token.
    text: &'static str,
    id: String,
    created: u64,
    /// When the first token would be due without jitter.
    start: Nanos,
    itl: Nanos,
    jitter: Nanos,
    seed: u64,
    next: u32,
    next_due: Nanos,
    /// The event of every token but the last, framed; all are equal unless each carries its own usage.
    token: Vec<u8>,
    keep_alive: bool,
}

fn nanos(duration: Duration) -> Nanos {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

impl Generation {
    /// The answer to `ask`, which arrived at `arrival`; `number` is unlike that of any other request.
    pub(crate) fn new(
        ask: Ask,
        text: &'static str,
        options: &SimulateOptions,
        number: u64,
        arrival: Nanos,
        created: u64,
        keep_alive: bool,
    ) -> Self {
        let prefix = if ask.chat { "chatcmpl" } else { "cmpl" };
        let mut generation = Self {
            id: format!("{prefix}-{number:016x}"),
            created,
            start: arrival.saturating_add(nanos(options.ttft)),
            itl: nanos(options.itl),
            jitter: nanos(options.jitter),
            seed: mix(options.seed ^ mix(number)),
            next: 0,
            next_due: arrival,
            token: Vec::new(),
            keep_alive,
            text,
            ask,
        };
        if generation.ask.stream {
            generation.token = framed(&generation.chunk(generation.delta(), None, None));
        } else {
            // All is written at once, when the last token is due.
            generation.next = generation.ask.tokens - 1;
        }
        generation.next_due = generation.due(generation.next);
        generation
    }

    /// When the next token is due.
    pub(crate) fn next_due(&self) -> Nanos {
        self.next_due
    }

    /// Makes what is due before `until` due then, and all that follows as much later.
    pub(crate) fn postpone(&mut self, until: Nanos) {
        let later = until.saturating_sub(self.next_due);
        self.start = self.start.saturating_add(later);
        self.next_due = self.next_due.max(until);
    }

    /// Whether all has been rendered.
    pub(crate) fn is_done(&self) -> bool {
        self.next >= self.ask.tokens
    }

    pub(crate) fn keep_alive(&self) -> bool {
        self.keep_alive
    }

    fn due(&self, index: u32) -> Nanos {
        let nominal = self.start.saturating_add(self.itl.saturating_mul(u64::from(index)));
        let due = if self.jitter == 0 {
            nominal
        } else {
            let draw = mix(self.seed.wrapping_add(u64::from(index)));
            let width = u128::from(self.jitter) * 2 + 1;
            let offset = u64::try_from((u128::from(draw) * width) >> 64).unwrap_or(0);
            nominal.saturating_add(offset).saturating_sub(self.jitter)
        };
        // A token never overtakes the one before it.
        due.max(self.next_due)
    }

    /// Appends what is due by `now` to `out`, up to about `limit` bytes; gives how many tokens that is.
    pub(crate) fn render(&mut self, now: Nanos, limit: usize, out: &mut Vec<u8>) -> u32 {
        if !self.ask.stream {
            self.next = self.ask.tokens;
            out.extend_from_slice(&Response::json(200, &self.whole()).bytes(self.keep_alive));
            return self.ask.tokens;
        }
        let first = self.next;
        if first == 0 {
            out.extend_from_slice(Response::stream_head(self.keep_alive).as_bytes());
            if self.ask.chat {
                out.extend_from_slice(&framed(&self.chunk(json!({"role": "assistant", "content": ""}), None, None)));
            }
        }
        while self.next < self.ask.tokens && self.next_due <= now && out.len() < limit {
            self.next += 1;
            let usage = self.ask.continuous_usage.then(|| self.usage());
            if self.next == self.ask.tokens {
                out.extend_from_slice(&framed(&self.chunk(self.delta(), Some("length"), usage)));
                self.end(out);
            } else if usage.is_some() {
                out.extend_from_slice(&framed(&self.chunk(self.delta(), None, usage)));
            } else {
                out.extend_from_slice(&self.token);
            }
            self.next_due = self.due(self.next);
        }
        self.next - first
    }

    fn end(&self, out: &mut Vec<u8>) {
        if self.ask.include_usage {
            let mut last = self.frame();
            last["choices"] = json!([]);
            last["usage"] = self.usage();
            out.extend_from_slice(&framed(&last.to_string()));
        }
        out.extend_from_slice(&framed("[DONE]"));
        out.extend_from_slice(END_OF_CHUNKS);
    }

    fn delta(&self) -> Value {
        json!({"content": self.text})
    }

    fn frame(&self) -> Value {
        let object = if self.ask.chat { "chat.completion.chunk" } else { "text_completion" };
        json!({"id": self.id, "object": object, "created": self.created, "model": self.ask.model})
    }

    fn chunk(&self, delta: Value, finish: Option<&str>, usage: Option<Value>) -> String {
        let mut chunk = self.frame();
        chunk["choices"] = if self.ask.chat {
            json!([{"index": 0, "delta": delta, "logprobs": null, "finish_reason": finish}])
        } else {
            json!([{"index": 0, "text": self.text, "logprobs": null, "finish_reason": finish, "stop_reason": null}])
        };
        if let Some(usage) = usage {
            chunk["usage"] = usage;
        }
        chunk.to_string()
    }

    fn usage(&self) -> Value {
        let (prompt, tokens) = (self.ask.prompt_tokens, self.next);
        json!({"prompt_tokens": prompt, "total_tokens": prompt + u64::from(tokens), "completion_tokens": tokens})
    }

    fn whole(&self) -> Value {
        let text = self.text.repeat(self.ask.tokens as usize);
        let mut answer = self.frame();
        answer["choices"] = if self.ask.chat {
            answer["object"] = "chat.completion".into();
            json!([{"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "length"}])
        } else {
            json!([{"index": 0, "text": text, "logprobs": null, "finish_reason": "length", "stop_reason": null}])
        };
        answer["usage"] = self.usage();
        answer
    }
}

/// An event as a chunk of the body.
fn framed(data: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(data.len() + 24);
    append_chunk(&mut out, format!("data: {data}\n\n").as_bytes());
    out
}

/// Steele, Lea and Flood's finaliser (SplitMix64): evenly spread bits for a counter.
fn mix(counter: u64) -> u64 {
    let mut bits = counter.wrapping_add(0x9e37_79b9_7f4a_7c15);
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

#[cfg(test)]
mod tests {
    use sagellm_core::NoProgress;
    use sagellm_model::{OpenOptions, open_tokenizer};

    use super::*;

    const MS: Nanos = 1_000_000;

    fn generation(options: &SimulateOptions, body: &str) -> Generation {
        let ask = Ask::read(false, body.as_bytes(), options).unwrap();
        Generation::new(ask, " the", options, 1, 1000 * MS, 7, true)
    }

    #[test]
    fn tokens_are_due_on_the_grid_and_leave_together_when_late() {
        let mut answer = generation(&SimulateOptions::default(), r#"{"prompt": "a", "max_tokens": 4, "stream": true}"#);
        assert_eq!(answer.next_due(), 1050 * MS);
        let mut out = Vec::new();
        assert_eq!(answer.render(1050 * MS, usize::MAX, &mut out), 1);
        assert_eq!(answer.next_due(), 1060 * MS);
        assert_eq!(answer.render(1079 * MS, usize::MAX, &mut out), 2);
        assert!(!answer.is_done());
        assert_eq!(answer.render(1080 * MS, usize::MAX, &mut out), 1);
        assert!(answer.is_done());
        let text = String::from_utf8(out).unwrap();
        assert_eq!(text.matches("\"text\":\" the\"").count(), 4);
        assert_eq!(text.matches("\"finish_reason\":\"length\"").count(), 1);
        assert!(text.ends_with("data: [DONE]\n\n\r\n0\r\n\r\n"), "{text}");
    }

    #[test]
    fn jitter_is_even_bounded_and_keeps_the_order() {
        let body = r#"{"prompt": "a", "max_tokens": 2000, "stream": true}"#;
        for jitter in [4, 40] {
            let options = SimulateOptions { jitter: Duration::from_millis(jitter), ..SimulateOptions::default() };
            let mut answer = generation(&options, body);
            let (mut sum, mut former, mut tokens) = (0i64, 0, 0);
            while !answer.is_done() {
                let (due, nominal) = (answer.next_due(), (1050 + 10 * u64::from(tokens)) * MS);
                assert!(due >= former && due.abs_diff(nominal) <= jitter * MS, "{tokens}: {due}");
                sum += due.cast_signed() - nominal.cast_signed();
                former = due;
                let rendered = answer.render(due, usize::MAX, &mut Vec::new());
                // Tokens that would overtake others are due with them.
                assert!(rendered == 1 || jitter > 5, "{tokens}: {rendered}");
                tokens += rendered;
            }
            // Five standard errors of a mean of 2000 even draws of up to 4 ms.
            assert!(jitter > 5 || (sum / 2000).unsigned_abs() < MS * 13 / 50, "{sum}");
            let mut again = generation(&options, body);
            again.render(u64::MAX, usize::MAX, &mut Vec::new());
            assert_eq!(again.next_due, answer.next_due);
        }
    }

    #[test]
    fn usage_comes_as_asked() {
        let body = r#"{"prompt": [1, 2], "max_tokens": 2, "stream": true,
            "stream_options": {"include_usage": true, "continuous_usage_stats": true}}"#;
        let mut out = Vec::new();
        generation(&SimulateOptions::default(), body).render(u64::MAX, usize::MAX, &mut out);
        let text = String::from_utf8(out).unwrap();
        let usage: Vec<&str> = text.split("\"usage\":").skip(1).map(|rest| rest.split('}').next().unwrap()).collect();
        let of =
            |tokens| format!("{{\"prompt_tokens\":2,\"total_tokens\":{},\"completion_tokens\":{tokens}", 2 + tokens);
        assert_eq!(usage, [of(1), of(2), of(2)]);
        assert!(text.contains("\"choices\":[],"), "{text}");
    }

    #[test]
    fn as_many_texts_are_as_many_tokens() {
        assert_eq!(token_text(&Tokenizer::bytes(512)), "a");
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../../testdata/models/llama");
        let trained = open_tokenizer(file, &OpenOptions::default(), &NoProgress).unwrap();
        assert_eq!(token_text(&trained), " the");
    }

    #[test]
    fn a_whole_answer_is_due_with_its_last_token() {
        let mut answer = generation(&SimulateOptions::default(), r#"{"prompt": "a", "max_tokens": 3}"#);
        assert_eq!(answer.next_due(), 1070 * MS);
        let mut out = Vec::new();
        assert_eq!(answer.render(1070 * MS, usize::MAX, &mut out), 3);
        assert!(String::from_utf8(out).unwrap().contains("\"text\":\" the the the\""));
    }
}

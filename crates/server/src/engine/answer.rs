//! Answers in the shape that OpenAI's API gives them: as a stream, or whole.

use std::io;

use sagellm_core::WallTime;
use serde_json::{Value, json};

use super::Service;
use super::ask::Ask;
use super::fields::Refusal;
use super::generate::{Delta, Ended, Finish};
use crate::socket::Arrival;
use crate::wire::{END_OF_CHUNKS, Peer, Request, Response, append_chunk, error_body};

impl Service {
    /// Answers a request for tokens. The outer error is to be told to the client, the inner one is its connection's.
    pub(crate) fn answer(
        &self,
        peer: &mut Peer,
        request: &Request,
        arrival: Arrival,
        chat: bool,
    ) -> Result<io::Result<()>, Refusal> {
        let number = self.next_id();
        let ask = self.ask(chat, &request.body, number)?;
        let shape = Shape::new(&self.model, &ask, number);
        if ask.stream {
            self.stream(peer, request.keep_alive, arrival, number, &ask, &shape)
        } else {
            self.whole(peer, request.keep_alive, arrival, number, &ask, &shape)
        }
    }

    fn stream(
        &self,
        peer: &mut Peer,
        keep_alive: bool,
        arrival: Arrival,
        number: u64,
        ask: &Ask,
        shape: &Shape<'_>,
    ) -> Result<io::Result<()>, Refusal> {
        let mut begun = false;
        let peer = std::cell::RefCell::new(peer);
        let gone = || peer.borrow().stopping() || peer.borrow().is_gone();
        let ended = self.generate(ask, number, arrival, gone, |delta| {
            let mut bytes = Vec::new();
            if !begun {
                begun = true;
                bytes.extend_from_slice(Response::stream_head(keep_alive).as_bytes());
                if ask.chat {
                    append_event(&mut bytes, &shape.role());
                }
            }
            append_event(&mut bytes, &shape.chunk(&delta));
            peer.borrow_mut().write(&bytes).is_ok()
        });
        let peer = peer.into_inner();
        let mut bytes = Vec::new();
        match ended {
            Ended::Whole { tokens, cached } => {
                if ask.include_usage {
                    append_event(&mut bytes, &shape.last(tokens, cached));
                }
            }
            Ended::Gone => return Ok(Err(io::ErrorKind::ConnectionAborted.into())),
            Ended::Refused(refusal) if !begun => return Err(refusal),
            Ended::Refused(refusal) => {
                append_event(&mut bytes, &error_body(refusal.status, &refusal.message, refusal.param));
            }
        }
        append_chunk(&mut bytes, b"data: [DONE]\n\n");
        bytes.extend_from_slice(END_OF_CHUNKS);
        Ok(peer.write(&bytes))
    }

    fn whole(
        &self,
        peer: &mut Peer,
        keep_alive: bool,
        arrival: Arrival,
        number: u64,
        ask: &Ask,
        shape: &Shape<'_>,
    ) -> Result<io::Result<()>, Refusal> {
        let (mut text, mut finish) = (String::new(), None);
        let gone = || peer.stopping() || peer.is_gone();
        let ended = self.generate(ask, number, arrival, gone, |delta| {
            text.push_str(&delta.text);
            finish = delta.finish;
            true
        });
        match ended {
            Ended::Whole { tokens, cached } => {
                let answer = shape.whole(&text, finish.as_ref(), tokens, cached);
                Ok(peer.write(&Response::json(200, &answer).bytes(keep_alive)))
            }
            Ended::Gone => Ok(Err(io::ErrorKind::ConnectionAborted.into())),
            Ended::Refused(refusal) => Err(refusal),
        }
    }
}

fn append_event(out: &mut Vec<u8>, data: &Value) {
    append_chunk(out, format!("data: {data}\n\n").as_bytes());
}

/// What all parts of one answer have in common.
struct Shape<'a> {
    ask: &'a Ask,
    model: &'a str,
    id: String,
    created: u64,
}

impl<'a> Shape<'a> {
    fn new(model: &'a str, ask: &'a Ask, number: u64) -> Self {
        let prefix = if ask.chat { "chatcmpl" } else { "cmpl" };
        let created = WallTime::now().unix_ns / 1_000_000_000;
        Self { ask, model, id: format!("{prefix}-{number:016x}"), created }
    }

    fn frame(&self, object: &str) -> Value {
        json!({"id": self.id, "object": object, "created": self.created, "model": self.model})
    }

    fn chunk_frame(&self) -> Value {
        self.frame(if self.ask.chat { "chat.completion.chunk" } else { "text_completion" })
    }

    /// The first chunk of a chat, which carries no token.
    fn role(&self) -> Value {
        let mut chunk = self.chunk_frame();
        let delta = json!({"role": "assistant", "content": ""});
        chunk["choices"] = json!([{"index": 0, "delta": delta, "logprobs": null, "finish_reason": null}]);
        if self.ask.continuous_usage {
            chunk["usage"] = self.usage(0, None);
        }
        chunk
    }

    fn chunk(&self, delta: &Delta) -> Value {
        let finish = delta.finish.as_ref().map(Finish::name);
        let stop = delta.finish.as_ref().and_then(|finish| finish.stop.as_deref());
        let mut chunk = self.chunk_frame();
        let mut choice = json!({"index": 0});
        if self.ask.chat {
            choice["delta"] = json!({"content": delta.text});
        } else {
            choice["text"] = delta.text.as_str().into();
        }
        choice["logprobs"] = Value::Null;
        choice["finish_reason"] = json!(finish);
        choice["stop_reason"] = json!(stop);
        chunk["choices"] = json!([choice]);
        if self.ask.continuous_usage {
            chunk["usage"] = self.usage(delta.tokens, None);
        }
        chunk
    }

    /// The chunk that carries only usage.
    fn last(&self, tokens: u32, cached: u32) -> Value {
        let mut chunk = self.chunk_frame();
        chunk["choices"] = json!([]);
        chunk["usage"] = self.usage(tokens, Some(cached));
        chunk
    }

    fn whole(&self, text: &str, finish: Option<&Finish>, tokens: u32, cached: u32) -> Value {
        let mut answer = self.frame(if self.ask.chat { "chat.completion" } else { "text_completion" });
        let mut choice = json!({"index": 0});
        if self.ask.chat {
            choice["message"] = json!({"role": "assistant", "content": text});
        } else {
            choice["text"] = text.into();
        }
        choice["logprobs"] = Value::Null;
        choice["finish_reason"] = json!(finish.map(Finish::name));
        choice["stop_reason"] = json!(finish.and_then(|finish| finish.stop.as_deref()));
        answer["choices"] = json!([choice]);
        answer["usage"] = self.usage(tokens, Some(cached));
        answer
    }

    fn usage(&self, tokens: u32, cached: Option<u32>) -> Value {
        let prompt = self.ask.prompt.len();
        let mut usage =
            json!({"prompt_tokens": prompt, "total_tokens": prompt + tokens as usize, "completion_tokens": tokens});
        if let Some(cached) = cached {
            usage["prompt_tokens_details"] = json!({"cached_tokens": cached});
        }
        usage
    }
}

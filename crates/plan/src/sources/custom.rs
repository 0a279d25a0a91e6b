//! Requests of a JSONL file, in the order of its lines.
//!
//! A line holds `prompt`, a text, or `messages`, a chat. The output length is `output_tokens` (vLLM's name), `max_tokens` or
//! `max_completion_tokens` (OpenAI's), in this order. `timestamp`, in seconds, is when the request is due, where the arrival
//! process is the trace; the first line is at zero. Other fields are not looked at.
//!
//! For completions and the engine, a chat is written out plainly: `role: content`, a blank line between messages, and
//! `assistant:` at the end. A chat interface is sent the messages.

use std::fmt::{self, Write};

use sagellm_core::{Arrival, DataFile, Message, Nanos, Prompt, Source};
use sagellm_model::Tokenizer;
use serde::Deserialize;
use serde::de::{Deserializer, Error, SeqAccess, Visitor};

use super::file::{DataReader, check_count, wrong, wrong_json};
use super::limit::MAX_STRING;
use super::{Draft, Drafts};
use crate::{PlanError, Spec};

/// The requests of the file.
pub(crate) struct Custom<'a> {
    tokenizer: &'a Tokenizer,
    data: DataFile,
    requests: Vec<Line>,
}

/// What is used of a line.
struct Line {
    text: String,
    messages: Vec<Message>,
    output: u32,
    at: Option<Nanos>,
}

#[derive(Deserialize)]
struct Fields {
    #[serde(default)]
    prompt: Option<String>,
    #[serde(default)]
    messages: Option<Vec<Said>>,
    #[serde(default)]
    output_tokens: Option<f64>,
    #[serde(default)]
    max_tokens: Option<f64>,
    #[serde(default)]
    max_completion_tokens: Option<f64>,
    #[serde(default)]
    timestamp: Option<f64>,
}

#[derive(Deserialize)]
struct Said {
    role: String,
    content: Content,
}

/// A text, or parts of it, as one text.
struct Content(String);

#[derive(Deserialize)]
struct Part {
    text: Option<String>,
}

impl<'de> Deserialize<'de> for Content {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Texts;
        impl<'de> Visitor<'de> for Texts {
            type Value = Content;

            fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str("a text or a list of parts")
            }

            fn visit_unit<E: Error>(self) -> Result<Content, E> {
                Ok(Content(String::new()))
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Content, E> {
                Ok(Content(text.to_owned()))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Content, A::Error> {
                let mut all = String::new();
                while let Some(Part { text }) = list.next_element()? {
                    all += &text.ok_or_else(|| A::Error::custom("only parts of type `text` can be sent"))?;
                }
                Ok(Content(all))
            }
        }
        from.deserialize_any(Texts)
    }
}

impl<'a> Custom<'a> {
    pub(super) fn of(spec: &Spec, tokenizer: &'a Tokenizer) -> Result<Self, PlanError> {
        let Source::Custom { path, output_tokens } = &spec.source else {
            return Err(PlanError::Prompt { workload: spec.name.clone(), reason: "its source is another".into() });
        };
        if *output_tokens == Some(0) {
            return Err(PlanError::Value { option: "output_tokens", value: "0".into(), range: "at least 1" });
        }
        let traced = spec.arrival == Arrival::Trace;
        let mut reader = DataReader::open(path)?;
        let mut requests = Vec::new();
        let mut times = Times::default();
        reader.lines(MAX_STRING, |number, line| {
            check_count(path, number, requests.len())?;
            let fields: Fields =
                serde_json::from_slice(line).map_err(|error| wrong_json(path, Some(number), &error))?;
            let at = match fields.timestamp {
                Some(seconds) if traced => Some(times.next(seconds).map_err(|reason| wrong(path, number, reason))?),
                None if traced => return Err(wrong(path, number, "`timestamp` is missing, which says when it is due")),
                _ => None,
            };
            requests.push(request(fields, *output_tokens, at).map_err(|reason| wrong(path, number, reason))?);
            Ok(())
        })?;
        if requests.is_empty() {
            return Err(wrong(path, 1, "the file holds no request"));
        }
        Ok(Self { tokenizer, data: reader.finish()?, requests })
    }
}

fn request(fields: Fields, forced: Option<u32>, at: Option<Nanos>) -> Result<Line, String> {
    let (text, messages) = match (fields.prompt, fields.messages) {
        (Some(prompt), None) => (prompt, Vec::new()),
        (None, Some(said)) if !said.is_empty() => {
            let message = |said: Said| Message { role: said.role, content: said.content.0 };
            let messages: Vec<_> = said.into_iter().map(message).collect();
            (written_out(&messages), messages)
        }
        (None, Some(_)) => return Err("`messages` is empty".into()),
        (Some(_), Some(_)) => return Err("`prompt` and `messages` cannot both be given".into()),
        (None, None) => return Err("`prompt` or `messages` is missing".into()),
    };
    if text.is_empty() {
        return Err("`prompt` is empty".into());
    }
    let stated = fields.output_tokens.or(fields.max_tokens).or(fields.max_completion_tokens);
    let output = match (forced, stated) {
        (Some(tokens), _) => tokens,
        (None, Some(tokens)) if tokens >= 1.0 && tokens.fract() == 0.0 && tokens <= f64::from(u32::MAX) => {
            tokens as u32
        }
        (None, Some(tokens)) => return Err(format!("an output of {tokens} tokens is not possible")),
        (None, None) => return Err("`output_tokens` or `max_tokens` is missing".into()),
    };
    Ok(Line { text, messages, output, at })
}

/// A chat as text.
fn written_out(messages: &[Message]) -> String {
    let mut text = String::new();
    for Message { role, content } in messages {
        // Writing to a string cannot fail.
        let _ = write!(text, "{role}: {content}\n\n");
    }
    text.push_str("assistant:");
    text
}

impl Drafts for Custom<'_> {
    fn available(&self) -> Option<usize> {
        Some(self.requests.len())
    }

    fn draft(&self, index: usize) -> Result<Draft, PlanError> {
        let Line { text, messages, output, at } = &self.requests[index];
        let ids = self.tokenizer.encode(text, true).map_err(PlanError::Tokenizer)?;
        let prompt = Prompt { messages: messages.clone(), ..Prompt::tokenized(text.clone(), ids) };
        Ok(Draft { at: *at, ..Draft::one(prompt, *output) })
    }

    fn data(&self) -> Option<DataFile> {
        Some(self.data.clone())
    }
}

/// Times in seconds as they come, made into offsets from the first.
#[derive(Default)]
struct Times {
    first: Option<f64>,
    last: f64,
}

impl Times {
    fn next(&mut self, seconds: f64) -> Result<Nanos, String> {
        if !seconds.is_finite() {
            return Err(format!("{seconds} is no time"));
        }
        let first = *self.first.get_or_insert(seconds);
        if seconds - first < self.last {
            return Err(format!("the time {seconds} is before that of the line above"));
        }
        self.last = seconds - first;
        Ok((self.last * 1e9).round() as Nanos)
    }
}

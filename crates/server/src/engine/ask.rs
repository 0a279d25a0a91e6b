//! A body to what the engine is to do.

use sagellm_core::Sampling;
use serde_json::{Map, Value};

use super::Service;
use super::fields::{Fields, Refusal, ids, short};

/// Tokens of a completion when the request does not say, as OpenAI and vLLM have it.
const DEFAULT_TOKENS: usize = 16;

/// The value at which a field changes nothing.
enum Harmless {
    /// False, or an empty text, list or object.
    Empty,
    /// This number.
    Number(f64),
    True,
}

/// What changes the answer and is not done here.
const UNSUPPORTED: [(&str, Harmless); 31] = [
    ("allowed_token_ids", Harmless::Empty),
    ("audio", Harmless::Empty),
    ("bad_words", Harmless::Empty),
    ("best_of", Harmless::Number(1.0)),
    ("chat_template", Harmless::Empty),
    ("chat_template_kwargs", Harmless::Empty),
    ("continue_final_message", Harmless::Empty),
    ("echo", Harmless::Empty),
    ("frequency_penalty", Harmless::Number(0.0)),
    ("functions", Harmless::Empty),
    ("guided_choice", Harmless::Empty),
    ("guided_grammar", Harmless::Empty),
    ("guided_json", Harmless::Empty),
    ("guided_regex", Harmless::Empty),
    ("include_stop_str_in_output", Harmless::Empty),
    ("logit_bias", Harmless::Empty),
    ("logprobs", Harmless::Empty),
    ("min_p", Harmless::Number(0.0)),
    ("min_tokens", Harmless::Number(0.0)),
    ("n", Harmless::Number(1.0)),
    ("presence_penalty", Harmless::Number(0.0)),
    ("prompt_logprobs", Harmless::Empty),
    ("repetition_penalty", Harmless::Number(1.0)),
    ("skip_special_tokens", Harmless::True),
    ("stop_token_ids", Harmless::Empty),
    ("structured_outputs", Harmless::Empty),
    ("suffix", Harmless::Empty),
    ("tools", Harmless::Empty),
    ("top_logprobs", Harmless::Number(0.0)),
    ("truncate_prompt_tokens", Harmless::Empty),
    ("use_beam_search", Harmless::Empty),
];

/// What is asked for.
#[derive(Clone, Debug)]
pub(crate) struct Ask {
    pub(crate) chat: bool,
    pub(crate) prompt: Vec<u32>,
    pub(crate) max_tokens: u32,
    pub(crate) sampling: Sampling,
    pub(crate) ignore_eos: bool,
    pub(crate) stop: Vec<String>,
    pub(crate) stream: bool,
    pub(crate) include_usage: bool,
    /// Usage on every chunk.
    pub(crate) continuous_usage: bool,
}

impl Service {
    /// Reads a request for tokens; `number` is unlike that of any other.
    pub(crate) fn ask(&self, chat: bool, body: &[u8], number: u64) -> Result<Ask, Refusal> {
        let fields = Fields::read(body)?;
        self.check_model(&fields)?;
        refuse_unsupported(&fields)?;
        let prompt = if chat { self.chat_prompt(&fields)? } else { self.prompt(&fields)? };
        if let Some(id) = prompt.iter().find(|&&id| id as usize >= self.vocab_size) {
            let message = format!("token id {id} is outside the model's vocabulary of {}", self.vocab_size);
            return Err(Refusal::field("prompt", message));
        }
        let stream_options = fields.object("stream_options")?;
        let include_usage = stream_options.flag("include_usage")?;
        Ok(Ask {
            chat,
            max_tokens: self.max_tokens(&fields, chat, prompt.len())?,
            sampling: self.sampling(&fields, number)?,
            ignore_eos: fields.flag("ignore_eos")?,
            stop: stop(&fields)?,
            stream: fields.flag("stream")?,
            include_usage,
            continuous_usage: include_usage && stream_options.flag("continuous_usage_stats")?,
            prompt,
        })
    }

    /// Refuses a model that is not served.
    pub(crate) fn check_model(&self, fields: &Fields) -> Result<(), Refusal> {
        match fields.text("model")? {
            Some(name) if name != self.model => {
                let message = format!("The model `{name}` does not exist. It is `{}` that is served.", self.model);
                Err(Refusal { status: 404, message, param: Some("model") })
            }
            _ => Ok(()),
        }
    }

    /// The prompt of a completion: a text, token ids, or a list of one of these.
    pub(crate) fn prompt(&self, fields: &Fields) -> Result<Vec<u32>, Refusal> {
        let prompt = fields.get("prompt").ok_or_else(|| Refusal::field("prompt", "`prompt` is missing"))?;
        let one = match prompt {
            Value::Array(items) if items.first().is_some_and(|item| item.is_array() || item.is_string()) => {
                match &items[..] {
                    [one] => one,
                    _ => {
                        let message = format!("one prompt is served at a time, but `prompt` has {}", items.len());
                        return Err(Refusal::field("prompt", message));
                    }
                }
            }
            other => other,
        };
        let tokens = match one {
            Value::String(text) => self.encode(text, add_special(fields)?)?,
            value => ids(value).ok_or_else(|| {
                Refusal::field("prompt", format!("`prompt` has to be a text or token ids, but is {}", short(value)))
            })?,
        };
        if tokens.is_empty() {
            return Err(Refusal::field("prompt", "the prompt has no tokens"));
        }
        Ok(tokens)
    }

    /// The messages of a chat as the model's template puts them.
    pub(crate) fn chat_prompt(&self, fields: &Fields) -> Result<Vec<u32>, Refusal> {
        let wrong = |message: String| Refusal::field("messages", message);
        let messages = match fields.get("messages") {
            Some(Value::Array(messages)) if !messages.is_empty() => messages,
            Some(other) => {
                return Err(wrong(format!("`messages` has to be a list of messages, but is {}", short(other))));
            }
            None => return Err(wrong("`messages` is missing".into())),
        };
        let messages = messages.iter().map(message).collect::<Result<Vec<_>, _>>().map_err(wrong)?;
        let template = self.template.as_ref().ok_or_else(|| {
            Refusal::new(400, format!("the model `{}` has no chat template: use /v1/completions", self.model))
        })?;
        let add_prompt = match fields.get("add_generation_prompt") {
            None => true,
            Some(_) => fields.flag("add_generation_prompt")?,
        };
        let text = template.render(messages, add_prompt).map_err(|why| Refusal::field("messages", why))?;
        // The template has put the special tokens in.
        self.encode(&text, false)
    }

    pub(crate) fn encode(&self, text: &str, special: bool) -> Result<Vec<u32>, Refusal> {
        self.tokenizer.encode(text, special).map_err(|error| Refusal::new(400, error.to_string()))
    }

    fn max_tokens(&self, fields: &Fields, chat: bool, prompt: usize) -> Result<u32, Refusal> {
        let name = if fields.get("max_completion_tokens").is_some() { "max_completion_tokens" } else { "max_tokens" };
        let longest = self.max_model_len;
        let wanted = match fields.integer(name)? {
            Some(wanted) if wanted < 1 => {
                return Err(Refusal::field(name, format!("{name} must be at least 1, got {wanted}.")));
            }
            Some(wanted) => usize::try_from(wanted).unwrap_or(usize::MAX),
            None if chat => longest.saturating_sub(prompt).max(1),
            None => DEFAULT_TOKENS.min(longest.saturating_sub(prompt).max(1)),
        };
        if wanted > longest {
            let message = format!(
                "{name}={wanted} cannot be greater than max_model_len={longest}. Please request fewer output tokens."
            );
            return Err(Refusal::field(name, message));
        }
        if prompt + wanted > longest {
            let message = format!(
                "This model's maximum context length is {longest} tokens. However, you requested {wanted} output tokens \
                 and your prompt contains {prompt} input tokens, for a total of {} tokens.",
                prompt + wanted
            );
            return Err(Refusal::field(if chat { "messages" } else { "prompt" }, message));
        }
        Ok(u32::try_from(wanted).unwrap_or(u32::MAX))
    }

    fn sampling(&self, fields: &Fields, number: u64) -> Result<Sampling, Refusal> {
        let temperature = fields.number("temperature")?.unwrap_or(1.0);
        if !(0.0..=100.0).contains(&temperature) {
            return Err(Refusal::field(
                "temperature",
                format!("temperature must be from 0 to 100, got {temperature}."),
            ));
        }
        let top_p = fields.number("top_p")?.unwrap_or(1.0);
        if !(top_p > 0.0 && top_p <= 1.0) {
            return Err(Refusal::field("top_p", format!("top_p must be in (0, 1], got {top_p}.")));
        }
        // Both -1 and 0 keep all tokens.
        let top_k = match fields.integer("top_k")?.unwrap_or(0) {
            -1 => 0,
            top_k => u32::try_from(top_k)
                .map_err(|_| Refusal::field("top_k", format!("top_k must be -1, or at least 0, got {top_k}.")))?,
        };
        let seed = match fields.integer("seed")? {
            Some(seed) => seed.cast_unsigned(),
            // Another for each request, and for each start of the server.
            None => self.clock.started_at().unix_ns.wrapping_add(number.wrapping_mul(0x9e37_79b9_7f4a_7c15)),
        };
        Ok(Sampling { temperature: temperature as f32, top_p: top_p as f32, top_k, seed })
    }
}

/// Whether special tokens go around a text.
pub(crate) fn add_special(fields: &Fields) -> Result<bool, Refusal> {
    Ok(fields.get("add_special_tokens").is_none() || fields.flag("add_special_tokens")?)
}

fn refuse_unsupported(fields: &Fields) -> Result<(), Refusal> {
    for (name, harmless) in UNSUPPORTED {
        let Some(value) = fields.get(name) else { continue };
        let changes_nothing = match value {
            Value::Bool(given) => *given == matches!(harmless, Harmless::True),
            Value::Array(items) => items.is_empty(),
            Value::Object(items) => items.is_empty(),
            Value::Number(_) => matches!(harmless, Harmless::Number(same) if value.as_f64() == Some(same)),
            Value::String(text) => text.is_empty(),
            Value::Null => true,
        };
        if !changes_nothing {
            let remedy = match harmless {
                Harmless::Empty => "leave it out".into(),
                Harmless::Number(same) => format!("leave it out or set it to {same}"),
                Harmless::True => "leave it out or set it to true".to_owned(),
            };
            return Err(Refusal::field(name, format!("`{name}` = {} is not supported: {remedy}", short(value))));
        }
    }
    let Some(format) = fields.get("response_format") else { return Ok(()) };
    match format.get("type").and_then(Value::as_str) {
        Some("text") => Ok(()),
        Some(other) => Err(Refusal::field("response_format", format!("response_format `{other}` is not supported"))),
        None => Err(Refusal::field("response_format", format!("response_format {} has no type", short(format)))),
    }
}

fn stop(fields: &Fields) -> Result<Vec<String>, Refusal> {
    let stop = fields.texts("stop")?;
    if stop.iter().any(String::is_empty) {
        return Err(Refusal::field("stop", "`stop` cannot contain an empty text"));
    }
    Ok(stop)
}

/// A message as templates expect it: its content as one text.
fn message(message: &Value) -> Result<Value, String> {
    let Value::Object(fields) = message else {
        return Err(format!("a message has to be an object, but is {}", short(message)));
    };
    if !fields.get("role").is_some_and(Value::is_string) {
        return Err(format!("a message needs a role: {}", short(message)));
    }
    let content = match fields.get("content") {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => text.clone(),
        Some(Value::Array(parts)) => parts.iter().map(part).collect::<Result<Vec<_>, _>>()?.join("\n"),
        Some(other) => return Err(format!("the content of a message has to be a text, but is {}", short(other))),
    };
    let mut message: Map<String, Value> = fields.clone();
    message.insert("content".into(), content.into());
    Ok(Value::Object(message))
}

/// A part of a message.
fn part(part: &Value) -> Result<&str, String> {
    match part.get("type").and_then(Value::as_str) {
        Some("text") => {
            part.get("text").and_then(Value::as_str).ok_or_else(|| format!("a part has no text: {}", short(part)))
        }
        _ => Err(format!("only text can be read, but a message has {}", short(part))),
    }
}

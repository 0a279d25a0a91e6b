//! What a simulated server reads of a request: enough to answer.

use std::borrow::Cow;
use std::fmt;

use sagellm_model::Tokenizer;
use serde::Deserialize;
use serde::de::{DeserializeSeed, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::SimulateOptions;

/// Tokens of an answer when the request does not say.
const DEFAULT_TOKENS: u32 = 16;
/// Most tokens of an answer.
const TOKEN_LIMIT: u32 = 10_000_000;

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Ask {
    pub(crate) chat: bool,
    pub(crate) model: String,
    pub(crate) prompt_tokens: u64,
    pub(crate) tokens: u32,
    pub(crate) stream: bool,
    pub(crate) include_usage: bool,
    /// Usage on every chunk.
    pub(crate) continuous_usage: bool,
}

#[derive(Deserialize)]
struct Body<'a> {
    model: Option<String>,
    #[serde(borrow)]
    prompt: Option<Prompt<'a>>,
    #[serde(borrow)]
    messages: Option<Prompt<'a>>,
    max_tokens: Option<u32>,
    max_completion_tokens: Option<u32>,
    n: Option<u32>,
    stream: Option<bool>,
    stream_options: Option<StreamOptions>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct StreamOptions {
    include_usage: bool,
    continuous_usage_stats: bool,
}

impl Ask {
    /// Reads a body.
    ///
    /// # Errors
    /// What is wrong with it, for the client.
    pub(crate) fn read(chat: bool, body: &[u8], options: &SimulateOptions) -> Result<Self, String> {
        let body: Body<'_> =
            serde_json::from_slice(body).map_err(|error| format!("the body is no request: {error}"))?;
        let (wanted, name) = if chat { (&body.messages, "messages") } else { (&body.prompt, "prompt") };
        let Some(prompt) = wanted else { return Err(format!("`{name}` is missing")) };
        if body.n.is_some_and(|n| n != 1) {
            return Err("only one answer is given: `n` has to be 1".into());
        }
        let asked = body.max_completion_tokens.or(body.max_tokens).unwrap_or(DEFAULT_TOKENS);
        let tokens = options.tokens.unwrap_or(asked);
        if !(1..=TOKEN_LIMIT).contains(&tokens) {
            return Err(format!("max_tokens has to be from 1 to {TOKEN_LIMIT}, but is {tokens}"));
        }
        let stream_options = body.stream_options.unwrap_or_default();
        Ok(Self {
            chat,
            model: body.model.unwrap_or_else(|| options.model.clone()),
            prompt_tokens: prompt.tokens(&options.tokenizer)?,
            tokens,
            stream: body.stream.unwrap_or_default(),
            include_usage: stream_options.include_usage,
            continuous_usage: stream_options.include_usage && stream_options.continuous_usage_stats,
        })
    }
}

/// A prompt: token ids, of which only the number matters, and texts.
#[derive(Default)]
struct Prompt<'a> {
    ids: u64,
    texts: Vec<Cow<'a, str>>,
}

impl Prompt<'_> {
    /// How many tokens it is. No template adds any to a message, as no special token is added to a text.
    fn tokens(&self, tokenizer: &Tokenizer) -> Result<u64, String> {
        let mut total = self.ids;
        for text in &self.texts {
            let ids = tokenizer.encode(text, false).map_err(|error| format!("the prompt is not possible: {error}"))?;
            total += ids.len() as u64;
        }
        Ok(total)
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Prompt<'a> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut prompt = Prompt::default();
        Collector(&mut prompt).deserialize(deserializer)?;
        Ok(prompt)
    }
}

/// Adds what it finds to a prompt.
struct Collector<'a, 'de>(&'a mut Prompt<'de>);

impl<'de> DeserializeSeed<'de> for Collector<'_, 'de> {
    type Value = ();

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Collector<'_, 'de> {
    type Value = ();

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("a text, token ids, or messages")
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<(), E> {
        self.0.texts.push(Cow::Borrowed(text));
        Ok(())
    }

    fn visit_str<E>(self, text: &str) -> Result<(), E> {
        self.0.texts.push(Cow::Owned(text.to_owned()));
        Ok(())
    }

    fn visit_u64<E>(self, _id: u64) -> Result<(), E> {
        self.0.ids += 1;
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        while items.next_element_seed(Collector(&mut *self.0))?.is_some() {}
        Ok(())
    }

    /// A message: what it says.
    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<(), A::Error> {
        while let Some(key) = fields.next_key::<Cow<'de, str>>()? {
            match key.as_ref() {
                "content" | "text" => fields.next_value_seed(Collector(&mut *self.0))?,
                _ => {
                    fields.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(chat: bool, body: &str) -> Result<Ask, String> {
        Ask::read(chat, body.as_bytes(), &SimulateOptions::default())
    }

    #[test]
    fn prompts_are_measured_in_all_their_forms() {
        let tokens = |chat, body: &str| read(chat, body).unwrap().prompt_tokens;
        // One byte, one token.
        assert_eq!(tokens(false, r#"{"prompt": "one two"}"#), 7);
        assert_eq!(tokens(false, r#"{"prompt": "\u00e4\n"}"#), 3);
        assert_eq!(tokens(false, r#"{"prompt": [5, 6, 7, 8]}"#), 4);
        assert_eq!(tokens(false, r#"{"prompt": ["one two"]}"#), 7);
        let messages = r#"{"messages": [{"role": "system", "content": null},
            {"role": "user", "content": [{"type": "text", "text": "a b"}]}, {"role": "user", "content": "c"}]}"#;
        assert_eq!(tokens(true, messages), 4);
    }

    #[test]
    fn lengths_and_options_are_read() {
        let body = r#"{"model": "m", "prompt": "", "max_tokens": 7, "stream": true, "temperature": 0.5,
            "stream_options": {"include_usage": true, "continuous_usage_stats": true}}"#;
        let ask = read(false, body).unwrap();
        assert_eq!((ask.model.as_str(), ask.tokens, ask.stream), ("m", 7, true));
        assert!(ask.include_usage && ask.continuous_usage);
        let chat = read(true, r#"{"messages": [], "max_completion_tokens": 9, "max_tokens": 1}"#).unwrap();
        assert_eq!((chat.model.as_str(), chat.tokens, chat.stream), ("simulated", 9, false));
        assert!(!read(false, r#"{"prompt": "", "stream": null}"#).unwrap().stream);
        let fixed = SimulateOptions { tokens: Some(3), ..SimulateOptions::default() };
        assert_eq!(Ask::read(false, body.as_bytes(), &fixed).unwrap().tokens, 3);
    }

    #[test]
    fn what_cannot_be_answered_is_said() {
        assert!(read(false, "{").unwrap_err().starts_with("the body is no request: EOF"));
        assert_eq!(read(false, r#"{"messages": []}"#).unwrap_err(), "`prompt` is missing");
        assert_eq!(read(true, r#"{"prompt": ""}"#).unwrap_err(), "`messages` is missing");
        assert!(read(false, r#"{"prompt": "", "n": 2}"#).unwrap_err().contains("`n` has to be 1"));
        assert!(read(false, r#"{"prompt": "", "max_tokens": 0}"#).unwrap_err().contains("but is 0"));
        assert!(read(false, r#"{"prompt": {"content": 1.5}}"#).is_err());
    }
}

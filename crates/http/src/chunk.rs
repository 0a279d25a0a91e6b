//! What one chunk of a stream says: the OpenAI JSON inside `data:`.
//!
//! Nothing is copied: values that matter stay slices of the input until somebody wants their text, and all others are
//! only checked for syntax.

use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, SeqAccess, Visitor};
use serde_json::value::RawValue;

use crate::parts::{are_thoughts, parts, push_part};

/// Choices of one answer that are told apart.
pub(crate) const MAX_CHOICES: usize = 1024;

/// A chunk.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Chunk<'a> {
    #[serde(borrow, default)]
    pub(crate) choices: Choices<'a>,
    #[serde(borrow, default)]
    model: Option<&'a RawValue>,
    #[serde(borrow, default)]
    usage: Option<&'a RawValue>,
    #[serde(borrow, default)]
    error: Option<&'a RawValue>,
    #[serde(borrow, default)]
    object: Option<&'a RawValue>,
    /// Errors in the words of FastAPI, of MiniMax, and of others.
    #[serde(borrow, default)]
    detail: Option<&'a RawValue>,
    #[serde(borrow, default)]
    base_resp: Option<&'a RawValue>,
    #[serde(borrow, default)]
    message: Option<&'a RawValue>,
    #[serde(borrow, default)]
    msg: Option<&'a RawValue>,
    #[serde(borrow, default)]
    metrics: Option<&'a RawValue>,
    #[serde(borrow, default)]
    timings: Option<&'a RawValue>,
}

/// The choices of a chunk. There is hardly ever more than one, and that one takes no allocation.
#[derive(Debug, Default)]
pub(crate) struct Choices<'a> {
    first: Option<Choice<'a>>,
    more: Vec<Choice<'a>>,
}

/// A piece of one choice.
#[derive(Debug, Deserialize)]
pub(crate) struct Choice<'a> {
    #[serde(default)]
    pub(crate) index: Option<u32>,
    #[serde(borrow, default)]
    text: Option<&'a RawValue>,
    #[serde(borrow, default)]
    delta: Option<Delta<'a>>,
    #[serde(borrow, default)]
    finish_reason: Option<&'a RawValue>,
    #[serde(borrow, default)]
    error: Option<&'a RawValue>,
}

/// What a chat adds.
#[derive(Debug, Deserialize)]
struct Delta<'a> {
    #[serde(borrow, default)]
    content: Option<&'a RawValue>,
    #[serde(borrow, default)]
    refusal: Option<&'a RawValue>,
    #[serde(borrow, default)]
    reasoning: Option<&'a RawValue>,
    #[serde(borrow, default)]
    reasoning_content: Option<&'a RawValue>,
    #[serde(borrow, default)]
    thinking: Option<&'a RawValue>,
    #[serde(borrow, default)]
    reasoning_details: Option<&'a RawValue>,
    #[serde(borrow, default)]
    tool_calls: Option<&'a RawValue>,
    #[serde(borrow, default)]
    function_call: Option<&'a RawValue>,
}

/// What a choice adds to the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Content<'a> {
    /// Text of a completion or message, as a JSON value.
    Visible(&'a str),
    /// Text that the model thinks before it answers, as a JSON value.
    Reasoning(&'a str),
    /// Calls of tools, as a JSON value.
    Call(&'a str),
}

/// Counts of the server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Usage {
    pub(crate) prompt: Option<u32>,
    pub(crate) cached: Option<u32>,
    pub(crate) completion: Option<u32>,
    /// Of these, tokens of reasoning, whether or not its text was sent.
    pub(crate) reasoning: Option<u32>,
}

/// Times of the server, in milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct ServerTimes {
    pub(crate) ttft_ms: Option<f64>,
    pub(crate) queue_ms: Option<f64>,
    pub(crate) prefill_ms: Option<f64>,
    pub(crate) generation_ms: Option<f64>,
}

impl<'a> Chunk<'a> {
    pub(crate) fn read(data: &'a [u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(data)
    }

    /// Whether it reports an error: `{"error": …}`, flat as `{"object": "error", …}`, inside a choice, or, where there is no
    /// choice, under one of the names that servers use.
    pub(crate) fn is_error(&self) -> bool {
        let says = |field: Option<&RawValue>| field.is_some_and(|value| !is_empty(value.get()));
        self.error.is_some()
            || self.object.is_some_and(|object| object.get() == "\"error\"")
            || self.choices.iter().any(|choice| says(choice.error))
            || self.has_failed_status()
            || (self.choices.first.is_none() && [self.detail, self.message, self.msg].into_iter().any(says))
    }

    /// MiniMax sends a status with every response; 0 is success.
    fn has_failed_status(&self) -> bool {
        #[derive(Deserialize)]
        struct Status {
            status_code: i64,
        }
        let status = self.base_resp.and_then(|status| serde_json::from_str::<Status>(status.get()).ok());
        status.is_some_and(|status| status.status_code != 0)
    }

    /// The model that answers, as a JSON string.
    pub(crate) fn model(&self) -> Option<&'a str> {
        self.model.map(RawValue::get).filter(|model| model.starts_with('"'))
    }

    /// Where it says nothing but the text of one choice: the choice's number, the text as a JSON value, and whether it is
    /// visible.
    pub(crate) fn only_text(&self) -> Option<(u32, &'a str, bool)> {
        let says_more = self.usage.is_some() || self.metrics.is_some() || self.timings.is_some();
        let choice = self.choices.first.as_ref().filter(|_| !says_more && self.choices.more.is_empty())?;
        let mut contents = choice.contents();
        let content = contents.next().filter(|_| contents.next().is_none() && choice.finish_reason().is_none())?;
        let (value, visible) = match content {
            Content::Visible(value) => (value, true),
            Content::Reasoning(value) => (value, false),
            Content::Call(_) => return None,
        };
        Some((choice.index.unwrap_or(0), value, visible))
    }

    pub(crate) fn usage(&self) -> Option<Usage> {
        #[derive(Default, Deserialize)]
        #[serde(default)]
        struct Raw {
            prompt_tokens: Option<f64>,
            completion_tokens: Option<f64>,
            prompt_tokens_details: Option<Details>,
            completion_tokens_details: Option<Details>,
        }
        #[derive(Default, Deserialize)]
        #[serde(default)]
        struct Details {
            cached_tokens: Option<f64>,
            reasoning_tokens: Option<f64>,
        }
        let raw: Raw = serde_json::from_str(self.usage?.get()).ok()?;
        Some(Usage {
            prompt: raw.prompt_tokens.and_then(count),
            completion: raw.completion_tokens.and_then(count),
            cached: raw.prompt_tokens_details.and_then(|details| details.cached_tokens).and_then(count),
            reasoning: raw.completion_tokens_details.and_then(|details| details.reasoning_tokens).and_then(count),
        })
    }

    /// The `metrics` of vLLM.
    pub(crate) fn metrics(&self) -> Option<ServerTimes> {
        #[derive(Default, Deserialize)]
        #[serde(default)]
        struct Raw {
            time_to_first_token_ms: Option<f64>,
            queue_time_ms: Option<f64>,
            generation_time_ms: Option<f64>,
        }
        let raw: Raw = serde_json::from_str(self.metrics?.get()).ok()?;
        Some(ServerTimes {
            ttft_ms: raw.time_to_first_token_ms,
            queue_ms: raw.queue_time_ms,
            prefill_ms: None,
            generation_ms: raw.generation_time_ms,
        })
    }

    /// The `timings` of llama.cpp. It computes the prompt and then one token after the other; the wait before is in neither.
    pub(crate) fn timings(&self) -> Option<(ServerTimes, Usage)> {
        #[derive(Default, Deserialize)]
        #[serde(default)]
        struct Raw {
            cache_n: Option<f64>,
            prompt_n: Option<f64>,
            prompt_ms: Option<f64>,
            predicted_n: Option<f64>,
            predicted_ms: Option<f64>,
        }
        let raw: Raw = serde_json::from_str(self.timings?.get()).ok()?;
        let times =
            ServerTimes { prefill_ms: raw.prompt_ms, generation_ms: raw.predicted_ms, ..ServerTimes::default() };
        let cached = raw.cache_n.and_then(count);
        let computed = raw.prompt_n.and_then(count);
        let prompt = computed.map(|computed| computed.saturating_add(cached.unwrap_or(0)));
        Some((times, Usage { prompt, cached, completion: raw.predicted_n.and_then(count), reasoning: None }))
    }
}

impl<'a> Choices<'a> {
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Choice<'a>> {
        self.first.iter().chain(&self.more)
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Choices<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Collect;
        impl<'de> Visitor<'de> for Collect {
            type Value = Choices<'de>;

            fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str("a list of choices")
            }

            fn visit_unit<E>(self) -> Result<Self::Value, E> {
                Ok(Choices::default())
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
                let mut choices = Choices { first: items.next_element()?, more: Vec::new() };
                if choices.first.is_some() {
                    while let Some(choice) = items.next_element()? {
                        // Each takes many times the room of its text.
                        if choices.more.len() == MAX_CHOICES {
                            return Err(serde::de::Error::custom(format_args!("more than {MAX_CHOICES} choices")));
                        }
                        choices.more.push(choice);
                    }
                }
                Ok(choices)
            }
        }
        deserializer.deserialize_any(Collect)
    }
}

impl<'a> Choice<'a> {
    /// What it adds, empty values left out. Servers that write reasoning under several of its names mean it once.
    pub(crate) fn contents(&self) -> impl Iterator<Item = Content<'a>> {
        let delta = self.delta.as_ref();
        let of = |field: Option<&'a RawValue>| field.map(RawValue::get).filter(|value| !is_empty(value));
        let get = |field: fn(&Delta<'a>) -> Option<&'a RawValue>| delta.and_then(|delta| of(field(delta)));
        let reasoning = get(|delta| delta.reasoning)
            .or_else(|| get(|delta| delta.reasoning_content))
            .or_else(|| get(|delta| delta.thinking))
            .or_else(|| get(|delta| delta.reasoning_details));
        // A list of parts, which may be thoughts.
        let content = get(|delta| delta.content).map(|value| match are_thoughts(value) {
            true => Content::Reasoning(value),
            false => Content::Visible(value),
        });
        [
            reasoning.map(Content::Reasoning),
            of(self.text).map(Content::Visible),
            content,
            get(|delta| delta.refusal).map(Content::Visible),
            get(|delta| delta.tool_calls).map(Content::Call),
            get(|delta| delta.function_call).map(Content::Call),
        ]
        .into_iter()
        .flatten()
    }

    /// Why it ended, if it did. Some servers write an empty string while it goes on.
    pub(crate) fn finish_reason(&self) -> Option<&'a str> {
        let reason = self.finish_reason?.get();
        (!is_empty(reason)).then(|| reason.trim_matches('"'))
    }
}

fn is_empty(value: &str) -> bool {
    let inside = |open, close| value.strip_prefix(open).and_then(|value: &str| value.strip_suffix(close));
    let hollow = |inner: &str| inner.trim_ascii().is_empty();
    matches!(value, "\"\"" | "null") || inside('[', ']').is_some_and(hollow) || inside('{', '}').is_some_and(hollow)
}

/// A number that counts something.
fn count(number: f64) -> Option<u32> {
    (number.fract() == 0.0 && (0.0..=f64::from(u32::MAX)).contains(&number)).then_some(number as u32)
}

/// Appends the text of a JSON string or of a list of parts to `out`; another value is appended as it is written. Half a
/// surrogate pair becomes the replacement character.
pub(crate) fn push_text(value: &str, out: &mut String) {
    let Some(mut rest) = value.strip_prefix('"').and_then(|value| value.strip_suffix('"')) else {
        match parts(value) {
            Some(parts) => parts.iter().for_each(|part| push_part(part, out)),
            None => out.push_str(value),
        }
        return;
    };
    let mut high = None;
    while let Some(at) = memchr::memchr(b'\\', rest.as_bytes()) {
        let (plain, escape) = rest.split_at(at);
        if !plain.is_empty() && high.take().is_some() {
            out.push(char::REPLACEMENT_CHARACTER);
        }
        out.push_str(plain);
        let Some(kind) = escape.as_bytes().get(1) else { break };
        let (char, length) = match kind {
            b'b' => ('\u{8}', 2),
            b'f' => ('\u{c}', 2),
            b'n' => ('\n', 2),
            b'r' => ('\r', 2),
            b't' => ('\t', 2),
            b'u' => {
                let unit = escape.get(2..6).and_then(|digits| u16::from_str_radix(digits, 16).ok()).unwrap_or(0xfffd);
                rest = escape.get(6..).unwrap_or("");
                push_unit(unit, &mut high, out);
                continue;
            }
            // The syntax was checked, so it is one of `"`, `\` and `/`.
            other => (char::from(*other), 2),
        };
        if high.take().is_some() {
            out.push(char::REPLACEMENT_CHARACTER);
        }
        out.push(char);
        rest = escape.get(length..).unwrap_or("");
    }
    if high.is_some() {
        out.push(char::REPLACEMENT_CHARACTER);
    }
    out.push_str(rest);
}

/// Appends what calls of tools say: names and arguments. Ids are left out, since a server makes them up anew every time.
pub(crate) fn push_call(value: &str, out: &mut String) {
    #[derive(Deserialize)]
    struct Call<'a> {
        #[serde(borrow, default)]
        function: Option<Function<'a>>,
    }
    #[derive(Deserialize)]
    struct Function<'a> {
        #[serde(borrow, default)]
        name: Option<&'a RawValue>,
        #[serde(borrow, default)]
        arguments: Option<&'a RawValue>,
    }
    let functions: Vec<Function<'_>> = match serde_json::from_str::<Vec<Call<'_>>>(value) {
        Ok(calls) => calls.into_iter().filter_map(|call| call.function).collect(),
        Err(_) => serde_json::from_str(value).into_iter().collect(),
    };
    for function in functions {
        for part in [function.name, function.arguments].into_iter().flatten() {
            push_text(part.get(), out);
        }
    }
}

/// Appends a UTF-16 code unit; the first half of a pair waits in `high`.
fn push_unit(unit: u16, high: &mut Option<u16>, out: &mut String) {
    let pending = high.take();
    let units = pending.into_iter().chain([unit]);
    if (0xd800..0xdc00).contains(&unit) {
        if pending.is_some() {
            out.push(char::REPLACEMENT_CHARACTER);
        }
        *high = Some(unit);
        return;
    }
    for decoded in char::decode_utf16(units) {
        out.push(decoded.unwrap_or(char::REPLACEMENT_CHARACTER));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn text(json: &str) -> String {
        let mut out = String::new();
        push_text(json, &mut out);
        out
    }

    fn contents(json: &str) -> Vec<String> {
        let chunk = Chunk::read(json.as_bytes()).unwrap();
        chunk.choices.iter().flat_map(Choice::contents).map(|content| format!("{content:?}")).collect()
    }

    #[test]
    fn every_kind_of_content_is_seen() {
        for (delta, expected) in [
            (r#""delta":{"content":"a"}"#, r#"Visible("\"a\"")"#),
            (r#""delta":{"reasoning_content":"a"}"#, r#"Reasoning("\"a\"")"#),
            (r#""delta":{"reasoning":"a","reasoning_content":"a"}"#, r#"Reasoning("\"a\"")"#),
            (r#""delta":{"refusal":"a"}"#, r#"Visible("\"a\"")"#),
            (r#""delta":{"tool_calls":[1]}"#, r#"Call("[1]")"#),
            (r#""delta":{"function_call":{"name":"f"}}"#, r#"Call("{\"name\":\"f\"}")"#),
            (r#""text":"a""#, r#"Visible("\"a\"")"#),
        ] {
            assert_eq!(contents(&format!(r#"{{"choices":[{{"index":0,{delta}}}]}}"#)), [expected]);
        }
    }

    #[test]
    fn there_are_not_more_choices_than_can_be_told_apart() {
        let of = |count: usize| {
            Chunk::read(format!(r#"{{"choices":[{}{{}}]}}"#, "{},".repeat(count - 1)).as_bytes()).is_ok()
        };
        assert!(of(MAX_CHOICES) && !of(MAX_CHOICES + 2));
    }

    #[test]
    fn empty_values_are_no_content() {
        for choice in [
            r#""delta":{"role":"assistant","content":""}"#,
            r#""delta":{"content":null,"tool_calls":[ ],"function_call":{ },"reasoning":null}"#,
            r#""delta":{"content":null,"tool_calls":[],"reasoning":null}"#,
            r#""delta":{}"#,
            r#""delta":null"#,
            r#""text":"","finish_reason":"length""#,
        ] {
            assert!(contents(&format!(r#"{{"choices":[{{{choice}}}]}}"#)).is_empty(), "{choice}");
        }
        assert!(contents(r#"{"choices":[],"usage":null}"#).is_empty());
        assert!(contents(r#"{"choices":null}"#).is_empty());
        assert!(contents("{}").is_empty());
    }

    #[test]
    fn finish_reasons_are_read() {
        let of = |reason: &str| {
            let json = format!(r#"{{"choices":[{{"finish_reason":{reason}}}]}}"#);
            let chunk = Chunk::read(json.as_bytes()).unwrap();
            chunk.choices.iter().next().unwrap().finish_reason().map(str::to_owned)
        };
        assert_eq!(of("\"length\"").as_deref(), Some("length"));
        assert_eq!(of("null"), None);
        assert_eq!(of("\"\""), None);
    }

    #[test]
    fn errors_come_in_two_shapes() {
        let is_error = |json: &str| Chunk::read(json.as_bytes()).unwrap().is_error();
        assert!(is_error(r#"{"error":{"message":"x"}}"#));
        assert!(is_error(r#"{"error":"x"}"#));
        assert!(is_error(r#"{"object":"error","message":"x"}"#));
        assert!(!is_error(r#"{"error":null,"object":"text_completion"}"#));
    }

    #[test]
    fn counts_are_whole_numbers_or_nothing() {
        let usage = |json: &str| Chunk::read(format!(r#"{{"usage":{json}}}"#).as_bytes()).unwrap().usage();
        let full = r#"{"prompt_tokens":5,"completion_tokens":7.0,"prompt_tokens_details":{"cached_tokens":4},"x":[]}"#;
        assert_eq!(usage(full), Some(Usage { prompt: Some(5), cached: Some(4), completion: Some(7), reasoning: None }));
        assert_eq!(usage(r#"{"completion_tokens":-1}"#), Some(Usage::default()));
        assert_eq!(usage(r#"{"prompt_tokens_details":null}"#), Some(Usage::default()));
        assert_eq!(usage("null"), None);
        assert_eq!(usage("[]"), Some(Usage::default()), "an empty list has no counts");
    }

    #[test]
    fn times_of_the_server_are_kept() {
        let json = br#"{"metrics":{"time_to_first_token_ms":1.5,"queue_time_ms":0.5,"generation_time_ms":9,"x":1},
            "timings":{"cache_n":4,"prompt_n":1,"prompt_ms":2.5,"predicted_n":6,"predicted_ms":7}}"#;
        let chunk = Chunk::read(json).unwrap();
        let metrics =
            ServerTimes { ttft_ms: Some(1.5), queue_ms: Some(0.5), prefill_ms: None, generation_ms: Some(9.0) };
        assert_eq!(chunk.metrics(), Some(metrics));
        let (times, usage) = chunk.timings().unwrap();
        assert_eq!(times, ServerTimes { prefill_ms: Some(2.5), generation_ms: Some(7.0), ..ServerTimes::default() });
        assert_eq!(usage, Usage { prompt: Some(5), cached: Some(4), completion: Some(6), reasoning: None });
    }

    #[test]
    fn several_choices_are_kept_apart() {
        let json = br#"{"choices":[{"index":1,"text":"a"},{"index":0,"text":""},{"index":2,"text":"c"}]}"#;
        let chunk = Chunk::read(json).unwrap();
        let seen: Vec<(Option<u32>, usize)> =
            chunk.choices.iter().map(|choice| (choice.index, choice.contents().count())).collect();
        assert_eq!(seen, [(Some(1), 1), (Some(0), 0), (Some(2), 1)]);
    }

    #[test]
    fn what_is_no_chunk_is_an_error() {
        for json in
            ["", "{", "[1", "hello", "{\"choices\":5}", "{\"choices\":[1]}", "{}x", "{\"choices\":[{\"text\":}]}"]
        {
            assert!(Chunk::read(json.as_bytes()).is_err(), "{json}");
        }
        assert!(Chunk::read(b"{\"choices\":[{\"text\":\"\xff\"}]}").is_err());
    }

    #[test]
    fn escapes_are_undone() {
        assert_eq!(text(r#""a\n\t\r\b\f\"\\\/\u00e4\ud83d\ude00z""#), "a\n\t\r\u{8}\u{c}\"\\/ä😀z");
        assert_eq!(text(r#""\ud83dx\ude00\ud83d\n\ud83d\ud83d""#), "\u{fffd}x\u{fffd}\u{fffd}\n\u{fffd}\u{fffd}");
        assert_eq!(text("[1]"), "[1]");
    }

    #[test]
    fn calls_are_names_and_arguments() {
        let call = |json: &str| {
            let mut out = String::new();
            push_call(json, &mut out);
            out
        };
        assert_eq!(
            call(r#"[{"id":"x","function":{"name":"f","arguments":"{\"a\":"}},{"function":{"arguments":"1}"}}]"#),
            "f{\"a\":1}"
        );
        assert_eq!(call(r#"{"name":"f","arguments":"{}"}"#), "f{}");
        assert_eq!(call("5"), "");
    }

    proptest! {
        #[test]
        fn text_is_what_serde_json_makes_of_it(original in "\\PC{0,20}[\n\t\"\\\\\u{0}-\u{1f}😀]{0,5}") {
            let plain = serde_json::to_string(&original).unwrap();
            prop_assert_eq!(&text(&plain), &original);
            let escaped: String = original.encode_utf16().map(|unit| format!("\\u{unit:04X}")).collect();
            prop_assert_eq!(text(&format!("\"{escaped}\"")), original);
        }

        #[test]
        fn any_text_is_read_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..100), json in "[\\\\u\"{}\\[\\]:,a-f0-9]{0,40}") {
            let _ = Chunk::read(&bytes);
            let _ = Chunk::read(json.as_bytes());
            push_text(&json, &mut String::new());
        }
    }

    #[test]
    fn errors_have_many_words() {
        let is_error = |chunk: &str| Chunk::read(chunk.as_bytes()).unwrap().is_error();
        for error in [
            r#"{"error":{"message":"x"}}"#,
            r#"{"object":"error","message":"x"}"#,
            r#"{"choices":[{"error":{"code":502,"message":"Upstream error"},"finish_reason":"stop"}]}"#,
            r#"{"detail":"x"}"#,
            r#"{"choices":null,"base_resp":{"status_code":1002,"status_msg":"rate limit exceeded"}}"#,
            r#"{"code":20015,"message":"x"}"#,
            r#"{"msg":"x"}"#,
        ] {
            assert!(is_error(error), "{error}");
        }
        for fine in [
            r#"{"choices":[{"delta":{"content":"a"},"error":null}]}"#,
            r#"{"choices":[{"delta":{"content":"a"}}],"base_resp":{"status_code":0,"status_msg":""}}"#,
            r#"{"choices":[{"text":"a"}],"message":"ok"}"#,
            r#"{"choices":[],"usage":{}}"#,
        ] {
            assert!(!is_error(fine), "{fine}");
        }
    }
}

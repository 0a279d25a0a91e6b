//! A model's chat template, as `transformers` renders it: Jinja with trimmed blocks, Python's methods, and two functions.

use minijinja::syntax::SyntaxConfig;
use minijinja::value::Serde;
use minijinja::{Environment, Error, ErrorKind, context};
use minijinja_contrib::pycompat::unknown_method_callback;
use sagellm_core::WallTime;
use serde::Serialize;
use serde_json::Value;
use serde_json::ser::{Formatter, Serializer};

use crate::ServerError;

/// The template's name in errors.
const NAME: &str = "chat_template";

/// A template that has been parsed.
pub(crate) struct ChatTemplate {
    environment: Environment<'static>,
    bos_token: String,
    eos_token: String,
}

impl ChatTemplate {
    /// Parses `source`; the tokens are given to it as text.
    pub(crate) fn new(source: String, bos_token: String, eos_token: String) -> Result<Self, ServerError> {
        let wrong = |error: Error| ServerError::Template(error.to_string());
        let mut environment = Environment::new();
        let syntax = SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build().map_err(wrong)?;
        environment.set_syntax(syntax);
        environment.set_unknown_method_callback(unknown_method_callback);
        environment.add_function("raise_exception", |message: String| -> Result<String, Error> {
            Err(Error::new(ErrorKind::InvalidOperation, message))
        });
        environment.add_function("strftime_now", strftime_now);
        environment.add_filter("tojson", to_json);
        environment.add_template_owned(NAME, source).map_err(wrong)?;
        Ok(Self { environment, bos_token, eos_token })
    }

    /// The prompt of a chat; `add_prompt` begins the assistant's answer.
    ///
    /// # Errors
    /// In words, what the template does not accept.
    pub(crate) fn render(&self, messages: Vec<Value>, add_prompt: bool) -> Result<String, String> {
        let context = context! {
            messages => Serde(messages),
            add_generation_prompt => add_prompt,
            bos_token => self.bos_token.as_str(),
            eos_token => self.eos_token.as_str(),
        };
        let rendered = self.environment.get_template(NAME).and_then(|template| template.render(context));
        rendered.map_err(|error| format!("the model's chat template does not accept these messages: {error}"))
    }
}

/// The time now in UTC, by `strftime`'s rules.
fn strftime_now(format: String) -> Result<String, Error> {
    let wrong = |error: jiff::Error| Error::new(ErrorKind::InvalidOperation, error.to_string());
    let seconds = i64::try_from(WallTime::now().unix_ns / 1_000_000_000).unwrap_or(i64::MAX);
    let now = jiff::Timestamp::from_second(seconds).map_err(wrong)?;
    jiff::fmt::strtime::format(format, now).map_err(wrong)
}

/// JSON as Python writes it: a space after commas and colons, and nothing escaped for HTML.
fn to_json(value: minijinja::Value) -> Result<String, Error> {
    let mut text = Vec::new();
    let wrong = |what: String| Error::new(ErrorKind::BadSerialization, what);
    value.serialize(&mut Serializer::with_formatter(&mut text, Spaced)).map_err(|error| wrong(error.to_string()))?;
    String::from_utf8(text).map_err(|error| wrong(error.to_string()))
}

struct Spaced;

impl Formatter for Spaced {
    fn begin_array_value<W: ?Sized + std::io::Write>(&mut self, out: &mut W, first: bool) -> std::io::Result<()> {
        if first { Ok(()) } else { out.write_all(b", ") }
    }

    fn begin_object_key<W: ?Sized + std::io::Write>(&mut self, out: &mut W, first: bool) -> std::io::Result<()> {
        if first { Ok(()) } else { out.write_all(b", ") }
    }

    fn begin_object_value<W: ?Sized + std::io::Write>(&mut self, out: &mut W) -> std::io::Result<()> {
        out.write_all(b": ")
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn render(source: &str, messages: Value) -> Result<String, String> {
        let template = ChatTemplate::new(source.into(), "<s>".into(), "</s>".into()).unwrap();
        template.render(messages.as_array().unwrap().clone(), true)
    }

    /// The template of SmolLM2-135M-Instruct, and what `transformers` makes of it.
    #[test]
    fn smollm2() {
        let source = include_str!("../../tests/data/smollm2_chat_template.jinja");
        let turn = json!([{"role": "user", "content": "Hi <there>"}]);
        assert_eq!(
            render(source, turn).unwrap(),
            "<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging Face<|im_end|>\n\
             <|im_start|>user\nHi <there><|im_end|>\n<|im_start|>assistant\n"
        );
        let turns = json!([{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"},
            {"role": "assistant", "content": "Hello."}, {"role": "user", "content": "Bye"}]);
        assert_eq!(
            render(source, turns).unwrap(),
            "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n\
             <|im_start|>assistant\nHello.<|im_end|>\n<|im_start|>user\nBye<|im_end|>\n<|im_start|>assistant\n"
        );
    }

    #[test]
    fn what_templates_rely_on() {
        let message = json!([{"role": "user", "content": " hi "}]);
        let rendered = |source: &str| render(source, message.clone()).unwrap();
        assert_eq!(rendered("{{ bos_token }}{{ messages[0]['content'].strip() }}{{ eos_token }}"), "<s>hi</s>");
        assert_eq!(rendered("{{ messages[0] | tojson }}"), r#"{"role": "user", "content": " hi "}"#);
        assert_eq!(rendered("{{ [1, '<&>', none] | tojson }}"), r#"[1, "<&>", null]"#);
        assert_eq!(
            rendered("{% for i in [1, 2] %}\n  {% if i == 2 %}{% break %}{% endif %}\n{{ i }}\n{% endfor %}"),
            "1\n"
        );
        assert_eq!(rendered("{% if tools is not defined %}a{% endif %}{{ messages[0].get('name', 'b') }}"), "ab");
        assert_eq!(rendered("{{ strftime_now('%Y') | length }}"), "4");
        assert_eq!(
            rendered("{% if messages[0].content.startswith(' ') and 'r' in messages[0].role %}yes{% endif %}"),
            "yes"
        );
        assert_eq!(
            rendered(
                "{% set ns = namespace(n=0) %}{% for m in messages %}{% set ns.n = ns.n + 1 %}{% endfor %}{{ ns.n }}"
            ),
            "1"
        );
    }

    #[test]
    fn a_template_refuses_in_its_own_words() {
        let refused = render("{{ raise_exception('roles must alternate') }}", json!([])).unwrap_err();
        assert!(refused.contains("does not accept these messages") && refused.contains("roles must alternate"));
        let error = ChatTemplate::new("{% if".into(), String::new(), String::new()).err().unwrap();
        assert!(error.to_string().starts_with("the model's chat template cannot be read: "), "{error}");
    }
}

//! What a client is told.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use sagellm_core::{BackendInfo, Request};
use sagellm_sys::Priority;
use serde_json::{Map, Value};

use crate::{HttpError, RequestIds, Target};

/// Counts the tokens of a text, as the model's tokenizer does, without special tokens.
pub type CountTokens = Arc<dyn Fn(&str) -> u32 + Send + Sync>;

/// Everything that a client needs to know before the first request.
#[derive(Clone)]
pub struct HttpOptions {
    /// The server.
    pub target: Target,
    /// Completions or chat.
    pub endpoint_type: EndpointType,
    /// Path below the base URL, such as `/v1/completions`.
    pub path: String,
    /// Model that is asked for.
    pub model: String,
    /// What else a request says.
    pub fields: RequestFields,
    /// Requests of every kind that will be sent: what their fields are is recorded.
    pub examples: Vec<Request>,
    /// Further headers, sent as they are.
    pub headers: Vec<(String, String)>,
    /// Sent as `Authorization: Bearer`.
    pub api_key: Option<Secret>,
    /// Blotted out of what the server is quoted with, as the key is.
    pub secrets: Vec<Secret>,
    /// The `x-request-id` of every request.
    pub request_ids: RequestIds,
    /// Whom TLS trusts.
    pub tls: TlsOptions,
    /// An HTTP proxy to go through by `CONNECT`, to plain HTTP servers too: what lies between is then passed on byte by
    /// byte, whereas a proxy that reads requests and answers may hold a stream back.
    pub proxy: Option<Target>,
    /// Who takes the stamps.
    pub stamp: StampChoice,
    /// Priority of the threads that serve connections; `None` takes the highest that the system permits.
    pub priority: Option<Priority>,
    /// Threads that serve connections; 0 takes as many as the processors suggest.
    pub client_threads: usize,
    /// Connections opened before the first request.
    pub connections: usize,
    /// Connections that will be needed at once, as far as it is known: so many files have to be allowed.
    pub most_connections: usize,
    /// Idle connections that are kept ready for requests to come, however many are in use.
    pub reserve: usize,
    /// Longest time for one request: none is sent again after it.
    pub timeout: Option<Duration>,
    /// Longest silence before the first token.
    pub timeout_first_token: Option<Duration>,
    /// Longest silence between tokens.
    pub timeout_between: Option<Duration>,
    /// Longest time that setting up a connection may take.
    pub timeout_connect: Duration,
    /// Times that a request is sent again when the server refuses it for now (429, 503) or the connection breaks before the
    /// answer begins.
    pub retries: u32,
    /// Longest line of a stream, in bytes.
    pub max_line: usize,
    /// Counts the tokens of the text that came.
    pub tokenizer: Option<CountTokens>,
    /// Whether events carry the text of their tokens.
    pub stream_text: bool,
    /// Whether the server is known to give a finish reason: then an answer without one was cut off, even where `[DONE]`
    /// ends it. llama.cpp's Python server ends a stream so when the next request comes.
    pub finish_reason: bool,
    /// What is known of the server; the client enters its own settings and the stamp.
    pub info: BackendInfo,
}

impl HttpOptions {
    /// The options that people get without asking: completions, kernel stamps, no connection opened ahead, no timeouts
    /// on tokens.
    pub fn new(target: Target, path: impl Into<String>, model: impl Into<String>, info: BackendInfo) -> Self {
        Self {
            target,
            endpoint_type: EndpointType::Completions,
            path: path.into(),
            model: model.into(),
            fields: RequestFields::default(),
            examples: Vec::new(),
            headers: Vec::new(),
            api_key: None,
            secrets: Vec::new(),
            request_ids: RequestIds::draw(),
            tls: TlsOptions::default(),
            proxy: None,
            stamp: StampChoice::Kernel,
            priority: None,
            client_threads: 0,
            connections: 0,
            most_connections: 0,
            reserve: 0,
            timeout: None,
            timeout_first_token: None,
            timeout_between: None,
            timeout_connect: Duration::from_secs(10),
            retries: 0,
            max_line: 8 << 20,
            tokenizer: None,
            stream_text: false,
            finish_reason: false,
            info,
        }
    }
}

/// The two kinds of endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndpointType {
    /// `prompt` in, `text` out.
    Completions,
    /// `messages` in, `delta` out.
    Chat,
}

/// Which optional fields a request has. A server that does not know a field may refuse the request, so only those that
/// its profile or a probe vouches for are sent.
#[derive(Clone, Debug, PartialEq)]
pub struct RequestFields {
    /// Ask for usage at the end: `stream_options.include_usage`.
    pub include_usage: bool,
    /// Ask for usage in every chunk: `stream_options.continuous_usage_stats`.
    pub continuous_usage: bool,
    /// Pass on a request's wish to go past an end of sequence.
    pub ignore_eos: bool,
    /// Say `min_tokens` too where the length must be reached.
    pub min_tokens: bool,
    /// Name of the field that says how many tokens are wanted.
    pub max_tokens: MaxTokensField,
    /// Pass on `temperature`.
    pub temperature: bool,
    /// Pass on `top_p` where it is not 1.
    pub top_p: bool,
    /// Pass on `top_k` where it is not 0.
    pub top_k: bool,
    /// Pass on `seed` where sampling is random.
    pub seed: bool,
    /// Send the token ids of the prompt where the plan has them, instead of its text (completions only).
    pub token_ids: bool,
    /// Sent in every request; a field of the same name replaces ours.
    pub extra_body: Map<String, Value>,
}

impl Default for RequestFields {
    /// What OpenAI's own API understands.
    fn default() -> Self {
        Self {
            include_usage: true,
            continuous_usage: false,
            ignore_eos: false,
            min_tokens: false,
            max_tokens: MaxTokensField::MaxTokens,
            temperature: true,
            top_p: true,
            top_k: false,
            seed: true,
            token_ids: false,
            extra_body: Map::new(),
        }
    }
}

impl RequestFields {
    /// Refuses an extra body with which nothing could be measured.
    ///
    /// # Errors
    /// When it turns the stream off or asks for several answers at once.
    pub fn check(&self) -> Result<(), HttpError> {
        if self.extra_body.get("stream").is_some_and(|stream| *stream != Value::Bool(true)) {
            return Err(HttpError::Setting("the extra body turns `stream` off, but only streams are measured".into()));
        }
        for name in ["n", "best_of"] {
            let one = |value: &Value| value.is_null() || value.as_f64() == Some(1.0);
            if let Some(several) = self.extra_body.get(name).filter(|value| !one(value)) {
                return Err(HttpError::Setting(format!(
                    "the extra body asks for several answers to each request (`{name}`: {several}), but a time between \
                     tokens is that of one answer: send more requests instead"
                )));
            }
        }
        Ok(())
    }
}

/// The field that says how many tokens are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MaxTokensField {
    /// `max_tokens`.
    MaxTokens,
    /// `max_completion_tokens`.
    MaxCompletionTokens,
}

impl MaxTokensField {
    /// As it is written in a request.
    pub fn name(self) -> &'static str {
        match self {
            Self::MaxTokens => "max_tokens",
            Self::MaxCompletionTokens => "max_completion_tokens",
        }
    }
}

/// Who takes the stamps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StampChoice {
    /// The kernel, where it does; this program elsewhere.
    Kernel,
    /// This program, right at the read.
    User,
}

/// Whom TLS trusts, and as whom we present ourselves.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsOptions {
    /// Authorities to trust instead of the system's.
    pub ca_cert: Option<PathBuf>,
    /// Our own certificate, with those between it and its authority.
    pub client_cert: Option<PathBuf>,
    /// The key of our certificate.
    pub client_key: Option<PathBuf>,
    /// Trust whoever answers.
    pub insecure: bool,
}

/// A text that must appear in no output.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Keeps `text` secret.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text itself, for the one place that sends it.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Secret(…)")
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::collections::BTreeMap;

    use sagellm_core::{ModelInfo, Stamp};

    use super::*;

    /// Options for the model `m` behind `url`.
    pub(crate) fn options(url: &str) -> HttpOptions {
        let model = ModelInfo {
            name: "m".into(),
            path: None,
            architecture: None,
            parameters: None,
            dtype: None,
            context_length: None,
            synthetic: false,
            fingerprint: None,
        };
        let info =
            BackendInfo { name: "openai".into(), version: None, model, stamp: Stamp::User, settings: BTreeMap::new() };
        HttpOptions::new(Target::parse(url).unwrap(), "/v1/completions", "m", info)
    }

    #[test]
    fn a_secret_is_not_printed() {
        assert_eq!(format!("{:?}", Secret::new("sk-1")), "Secret(…)");
    }
}

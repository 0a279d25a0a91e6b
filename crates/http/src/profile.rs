//! What is known of each kind of server before it is asked.
//!
//! Read from vLLM 0.33.0, SGLang 0.5.23, LMDeploy 0.18 and llama.cpp b11434. A probe then finds out what the server at
//! hand understands; the profile says what may be tried at all.

use std::time::Duration;

use crate::{BlockingClient, EndpointType, HttpError, MaxTokensField, RequestFields};

/// One kind of server, as `--backend` names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Profile {
    /// Name on the command line.
    pub name: &'static str,
    /// Port that it listens on unless told otherwise; `None` where the URL has to be given.
    pub default_port: Option<u16>,
    /// Path of completions.
    pub completions: &'static str,
    /// Path of chat.
    pub chat: &'static str,
    /// Path that answers with success once requests are served; `None` where listing the models has to do.
    pub health: Option<&'static str>,
    /// Where the version stands: path, and pointer into its JSON. The first that is there counts.
    pub version: &'static [(&'static str, &'static str)],
    /// Path that lists the models.
    pub models: &'static str,
    /// Path of Prometheus metrics; `None` where there are none to be expected.
    pub metrics: Option<&'static str>,
    /// What has to be done for metrics to be there, as a person is told.
    pub metrics_hint: Option<&'static str>,
    /// Which optional fields may be sent.
    pub accepts: Accepts,
    /// Command that starts it, for `--launch` without a command; `{model}` and `{port}` are filled in.
    pub launch: Option<&'static str>,
}

/// Optional fields of requests that a kind of server understands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Accepts {
    /// `stream_options.include_usage`.
    pub include_usage: bool,
    /// `stream_options.continuous_usage_stats`.
    pub continuous_usage: bool,
    /// `ignore_eos`.
    pub ignore_eos: bool,
    /// `min_tokens`.
    pub min_tokens: bool,
    /// `top_k`.
    pub top_k: bool,
    /// `seed`.
    pub seed: bool,
    /// A prompt of token ids (completions).
    pub token_ids: bool,
    /// `max_completion_tokens` in place of `max_tokens` (chat).
    pub max_completion_tokens: bool,
}

/// Fields of OpenAI's own API.
const OPENAI: Accepts = Accepts {
    include_usage: true,
    continuous_usage: false,
    ignore_eos: false,
    min_tokens: false,
    top_k: false,
    seed: true,
    token_ids: true,
    max_completion_tokens: true,
};

/// Every kind.
pub const PROFILES: [Profile; 6] = [
    Profile {
        name: "vllm",
        default_port: Some(8000),
        completions: "/v1/completions",
        chat: "/v1/chat/completions",
        health: Some("/health"),
        version: &[("/version", "/version")],
        models: "/v1/models",
        metrics: Some("/metrics"),
        metrics_hint: None,
        accepts: Accepts { continuous_usage: true, ignore_eos: true, min_tokens: true, top_k: true, ..OPENAI },
        launch: Some("vllm serve {model} --port {port}"),
    },
    Profile {
        name: "sglang",
        default_port: Some(30000),
        completions: "/v1/completions",
        chat: "/v1/chat/completions",
        health: Some("/health"),
        version: &[("/server_info", "/version"), ("/get_server_info", "/version")],
        models: "/v1/models",
        metrics: Some("/metrics"),
        metrics_hint: Some("start SGLang with --enable-metrics"),
        accepts: Accepts {
            continuous_usage: true,
            ignore_eos: true,
            min_tokens: true,
            top_k: true,
            max_completion_tokens: false,
            ..OPENAI
        },
        launch: Some(
            "python3 -m sglang.launch_server --model-path {model} --port {port} --enable-metrics --enable-cache-report",
        ),
    },
    Profile {
        name: "lmdeploy",
        default_port: Some(23333),
        completions: "/v1/completions",
        chat: "/v1/chat/completions",
        health: Some("/health"),
        version: &[],
        models: "/v1/models",
        metrics: Some("/metrics"),
        metrics_hint: Some("LMDeploy has them unless it is started with --disable-metrics"),
        // A list as prompt means several prompts to it.
        accepts: Accepts { ignore_eos: true, top_k: true, token_ids: false, max_completion_tokens: false, ..OPENAI },
        launch: Some("lmdeploy serve api_server {model} --server-port {port}"),
    },
    Profile {
        name: "llamacpp",
        default_port: Some(8080),
        completions: "/v1/completions",
        chat: "/v1/chat/completions",
        health: Some("/health"),
        // The latter is that of its Python server.
        version: &[("/props", "/build_info"), ("/openapi.json", "/info/version")],
        models: "/v1/models",
        metrics: Some("/metrics"),
        metrics_hint: Some("start `llama-server` with --metrics; the server of llama-cpp-python has none"),
        // The Python server reads no `ignore_eos` but `min_tokens`, `llama-server` the other way round; either passes over
        // the one that it does not know.
        accepts: Accepts { ignore_eos: true, min_tokens: true, top_k: true, max_completion_tokens: false, ..OPENAI },
        launch: Some("llama-server --model {model} --port {port} --metrics"),
    },
    Profile {
        name: "sagellm",
        default_port: Some(8902),
        completions: "/v1/completions",
        chat: "/v1/chat/completions",
        health: Some("/health"),
        version: &[("/version", "/version"), ("/info", "/version")],
        models: "/v1/models",
        metrics: Some("/metrics"),
        metrics_hint: None,
        accepts: Accepts { ignore_eos: true, max_completion_tokens: false, ..OPENAI },
        launch: None,
    },
    Profile {
        name: "openai",
        default_port: None,
        completions: "/v1/completions",
        chat: "/v1/chat/completions",
        health: None,
        version: &[],
        models: "/v1/models",
        metrics: None,
        metrics_hint: None,
        accepts: OPENAI,
        launch: None,
    },
];

impl Profile {
    /// The kind of this name.
    ///
    /// # Errors
    /// Lists the names when there is none.
    pub fn named(name: &str) -> Result<&'static Self, HttpError> {
        PROFILES.iter().find(|profile| profile.name == name).ok_or_else(|| {
            let names: Vec<_> = PROFILES.iter().map(|profile| profile.name).collect();
            HttpError::Setting(format!("no server is called `{name}`: there are {}", names.join(", ")))
        })
    }

    /// Its base URL on this machine.
    pub fn default_url(&self) -> Option<String> {
        self.default_port.map(|port| format!("http://127.0.0.1:{port}"))
    }

    /// The path that requests go to.
    pub fn path(&self, endpoint: EndpointType) -> &'static str {
        match endpoint {
            EndpointType::Completions => self.completions,
            EndpointType::Chat => self.chat,
        }
    }

    /// Reads the server's metrics and what belongs to them, as a scraper wants it; the reason for there being none says
    /// what to do about it.
    pub fn fetch_metrics(
        &'static self,
        client: BlockingClient,
    ) -> impl Fn(&str) -> Result<String, String> + Send + Sync + 'static {
        const TIMEOUT: Duration = Duration::from_secs(5);
        move |path| {
            client.text(path, TIMEOUT).map_err(|reason| match self.metrics_hint {
                Some(hint) if Some(path) == self.metrics => format!("{reason} ({hint})"),
                _ => reason,
            })
        }
    }

    /// The fields that a request may have, before a probe has narrowed them down.
    pub fn fields(&self, endpoint: EndpointType) -> RequestFields {
        let chat = endpoint == EndpointType::Chat;
        let accepts = self.accepts;
        RequestFields {
            include_usage: accepts.include_usage,
            ignore_eos: accepts.ignore_eos,
            min_tokens: accepts.min_tokens,
            max_tokens: if chat && accepts.max_completion_tokens {
                MaxTokensField::MaxCompletionTokens
            } else {
                MaxTokensField::MaxTokens
            },
            top_k: accepts.top_k,
            seed: accepts.seed,
            token_ids: accepts.token_ids && !chat,
            ..RequestFields::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_is_found_by_its_name() {
        for profile in &PROFILES {
            assert_eq!(Profile::named(profile.name).unwrap(), profile);
        }
        let error = Profile::named("tgi").unwrap_err().to_string();
        assert_eq!(error, "no server is called `tgi`: there are vllm, sglang, lmdeploy, llamacpp, sagellm, openai");
    }

    #[test]
    fn paths_are_absolute_and_commands_take_model_and_port() {
        for profile in &PROFILES {
            let paths = [profile.completions, profile.chat, profile.models];
            let optional =
                profile.health.iter().chain(&profile.metrics).chain(profile.version.iter().map(|(path, _)| path));
            assert!(paths.iter().chain(optional).all(|path| path.starts_with('/')), "{}", profile.name);
            assert!(profile.launch.is_none_or(|line| line.contains("{model}") && line.contains("{port}")));
        }
        assert_eq!(Profile::named("sglang").unwrap().default_url().unwrap(), "http://127.0.0.1:30000");
        assert_eq!(Profile::named("openai").unwrap().default_url(), None);
    }

    /// Its versions 0.16 to 0.18 have metrics unless told otherwise, and refuse `--enable-metrics`, which they do not know.
    #[test]
    fn lmdeploy_is_not_asked_for_metrics() {
        let lmdeploy = Profile::named("lmdeploy").unwrap();
        assert_eq!(lmdeploy.launch, Some("lmdeploy serve api_server {model} --server-port {port}"));
        assert_eq!(lmdeploy.metrics_hint, Some("LMDeploy has them unless it is started with --disable-metrics"));
    }

    #[test]
    fn openai_gets_its_own_fields_only() {
        let fields = Profile::named("openai").unwrap().fields(EndpointType::Chat);
        assert_eq!(fields.max_tokens, MaxTokensField::MaxCompletionTokens);
        assert!(!fields.ignore_eos && !fields.min_tokens && !fields.top_k && !fields.token_ids);
        assert!(fields.include_usage && fields.seed && !fields.continuous_usage);
    }

    #[test]
    fn token_ids_are_for_completions() {
        let vllm = Profile::named("vllm").unwrap();
        assert!(vllm.fields(EndpointType::Completions).token_ids && !vllm.fields(EndpointType::Chat).token_ids);
        assert_eq!(vllm.fields(EndpointType::Completions).max_tokens, MaxTokensField::MaxTokens);
        assert!(!Profile::named("lmdeploy").unwrap().fields(EndpointType::Completions).token_ids);
    }
}

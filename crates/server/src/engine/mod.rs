//! The CPU engine behind the API that vLLM serves.

mod answer;
mod ask;
mod detokenizer;
mod fields;
mod generate;
mod metrics;
mod pages;
mod stop;
mod template;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use sagellm_core::{Backend, Clock, Progress};
use sagellm_engine::{CpuEngine, EngineOptions};
use sagellm_model::{Model, Tokenizer};

use crate::ServerError;
use crate::limits::{ConnectionLimits, is_authorized};
use crate::running::Running;
use crate::socket::Arrival;
use crate::wire::{self, Peer, Request, Response, error_body, unauthorized};
use fields::Refusal;
use metrics::Metrics;
use template::ChatTemplate;

/// Settings of a server over the CPU engine.
#[derive(Clone, Debug)]
pub struct EngineServerOptions {
    /// The engine's. The text of tokens is made by the server, whatever they say.
    pub engine: EngineOptions,
    /// What clients call the model; its name on the command line if `None`.
    pub served_model_name: Option<String>,
    /// The key that clients have to send; anyone may ask if `None`.
    pub api_key: Option<String>,
    /// What clients may take up.
    pub limits: ConnectionLimits,
}

/// A server over the CPU engine. It ends when dropped.
#[derive(Debug)]
pub struct EngineServer {
    running: Running,
    model: String,
}

/// What all connections share.
pub(crate) struct Service {
    engine: CpuEngine,
    tokenizer: Tokenizer,
    template: Option<ChatTemplate>,
    eos: Vec<u32>,
    /// What clients call the model.
    model: String,
    api_key: Option<String>,
    /// Where it was found: a path or a name.
    root: String,
    /// Longest sequence that is served: what the model and the KV cache both hold.
    max_model_len: usize,
    /// Ids below this one are tokens.
    vocab_size: usize,
    /// Number of the next request.
    next: AtomicU64,
    metrics: Metrics,
    clock: Clock,
}

impl EngineServer {
    /// Loads the weights, telling `progress` of it, and starts to serve `model` on `address` (port 0 takes a free one).
    ///
    /// # Errors
    /// When the engine cannot be started, the chat template is no Jinja, or the address cannot be listened on.
    pub fn start(
        model: Model,
        options: EngineServerOptions,
        address: SocketAddr,
        clock: Clock,
        progress: &dyn Progress,
    ) -> Result<Self, ServerError> {
        let root = model.info.path.clone().unwrap_or_else(|| model.info.name.clone());
        let name = options.served_model_name.unwrap_or_else(|| model.info.name.clone());
        let tokenizer = model.tokenizer.clone();
        let text_of = |id: Option<u32>| id.map(|id| tokenizer.decode(&[id])).unwrap_or_default();
        let template = match &model.chat_template {
            Some(source) => {
                let beginning = text_of(model.config.bos_token_id);
                let end = text_of(model.config.eos_token_ids.first().copied());
                Some(ChatTemplate::new(source.clone(), beginning, end)?)
            }
            None => None,
        };
        let eos = model.config.eos_token_ids.clone();
        let (context_length, vocab_size) = (model.config.context_length, model.config.vocab_size);
        let engine_options = EngineOptions { stream_text: false, ..options.engine };
        let engine = CpuEngine::start(model, &engine_options, clock, progress)?;
        let capacity = engine.window().kv_capacity_tokens.value.map_or(usize::MAX, |tokens| tokens as usize);
        let service = Arc::new(Service {
            engine,
            tokenizer,
            template,
            eos,
            model: name.clone(),
            api_key: options.api_key,
            root,
            max_model_len: context_length.min(capacity),
            vocab_size,
            next: AtomicU64::new(0),
            metrics: Metrics::default(),
            clock,
        });
        let running = wire::listen("server", address, options.limits, clock, move |mut peer| {
            // A connection that breaks concerns nobody else.
            while let Ok(Some((request, arrival))) = peer.next_request() {
                let keep_alive = request.keep_alive;
                if service.serve(&mut peer, &request, arrival).is_err() || !keep_alive {
                    return;
                }
            }
        })?;
        Ok(Self { running, model: name })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.running.address()
    }

    /// What clients call the model.
    pub fn model(&self) -> &str {
        &self.model
    }

    /// Serves until `stop` is set.
    ///
    /// # Errors
    /// When no further connection can be taken.
    pub fn wait(self, stop: &AtomicBool) -> Result<(), ServerError> {
        self.running.wait(stop)
    }
}

impl Service {
    fn serve(&self, peer: &mut Peer, request: &Request, arrival: Arrival) -> std::io::Result<()> {
        let is_public = matches!(request.path.as_str(), "/health" | "/ping");
        if !is_public && !is_authorized(self.api_key.as_deref(), request.header("authorization")) {
            return peer.write(&unauthorized().bytes(request.keep_alive));
        }
        let answered = match (request.method.as_str(), request.path.as_str()) {
            ("POST", "/v1/completions") => self.answer(peer, request, arrival, false),
            ("POST", "/v1/chat/completions") => self.answer(peer, request, arrival, true),
            _ => self.page(request).map(|response| peer.write(&response.bytes(request.keep_alive))),
        };
        match answered {
            Ok(written) => written,
            Err(refusal) => peer.write(&refusal.response().bytes(request.keep_alive)),
        }
    }

    fn next_id(&self) -> u64 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }
}

impl Refusal {
    fn response(&self) -> Response {
        Response::json(self.status, &error_body(self.status, &self.message, self.param))
    }
}

//! The paths beside generation.

use serde_json::json;

use super::Service;
use super::ask::add_special;
use super::fields::{Fields, Refusal};
use crate::wire::{Request, Response};

impl Service {
    /// The answer to a request that is not for tokens.
    pub(crate) fn page(&self, request: &Request) -> Result<Response, Refusal> {
        match (request.method.as_str(), request.path.as_str()) {
            ("GET" | "HEAD", "/health" | "/ping") => Ok(Response::text(200, "text/plain", "")),
            ("GET", "/version") => Ok(Response::json(200, &json!({"version": env!("CARGO_PKG_VERSION")}))),
            ("GET", "/v1/models") => Ok(self.models()),
            ("GET", "/metrics") => Ok(Response::text(200, "text/plain; version=0.0.4; charset=utf-8", self.metrics())),
            ("POST", "/tokenize") => self.tokenize(&request.body),
            ("POST", "/detokenize") => self.detokenize(&request.body),
            (
                method,
                path @ ("/v1/completions"
                | "/v1/chat/completions"
                | "/v1/models"
                | "/health"
                | "/version"
                | "/metrics"
                | "/tokenize"
                | "/detokenize"),
            ) => Err(Refusal::new(405, format!("{path} does not answer {method}"))),
            (_, path) => Err(Refusal::new(404, format!("there is no {path}"))),
        }
    }

    fn models(&self) -> Response {
        let created = self.clock.started_at().unix_ns / 1_000_000_000;
        Response::json(
            200,
            &json!({"object": "list", "data": [{
                "id": self.model, "object": "model", "created": created, "owned_by": "sagellm", "root": self.root,
                "parent": null, "max_model_len": self.max_model_len,
            }]}),
        )
    }

    fn tokenize(&self, body: &[u8]) -> Result<Response, Refusal> {
        let fields = Fields::read(body)?;
        self.check_model(&fields)?;
        let tokens = match fields.text("prompt")? {
            Some(text) => self.encode(&text, add_special(&fields)?)?,
            None if fields.get("messages").is_some() => self.chat_prompt(&fields)?,
            None => return Err(Refusal::field("prompt", "`prompt` or `messages` is missing")),
        };
        let count = tokens.len();
        Ok(Response::json(200, &json!({"count": count, "max_model_len": self.max_model_len, "tokens": tokens})))
    }

    fn detokenize(&self, body: &[u8]) -> Result<Response, Refusal> {
        let fields = Fields::read(body)?;
        self.check_model(&fields)?;
        let tokens = fields.ids("tokens")?.ok_or_else(|| Refusal::field("tokens", "`tokens` is missing"))?;
        Ok(Response::json(200, &json!({"prompt": self.tokenizer.decode(&tokens)})))
    }
}

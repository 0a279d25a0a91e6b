//! The paths beside generation.

use std::sync::atomic::Ordering;

use serde_json::json;

use super::Shared;
use crate::wire::{Request, Response, error_body};

impl Shared {
    /// The answer to a request that is not for tokens.
    pub(crate) fn page(&self, request: &Request) -> Response {
        let method = request.method.as_str();
        match request.path.as_str() {
            "/health" => Response::text(200, "text/plain", ""),
            "/version" => Response::json(200, &json!({"version": env!("CARGO_PKG_VERSION")})),
            "/v1/models" => Response::json(
                200,
                &json!({"object": "list", "data": [{
                    "id": self.options.model, "object": "model", "created": 0, "owned_by": "sagellm",
                    "root": self.options.root,
                }]}),
            ),
            "/metrics" => Response::text(200, "text/plain; version=0.0.4; charset=utf-8", self.metrics()),
            "/admin/truth" if method == "DELETE" => {
                self.truth.clear();
                Response::text(200, "text/plain", "")
            }
            "/admin/truth" if method == "PUT" => {
                self.truth.keep_each_write();
                Response::text(200, "text/plain", "")
            }
            "/admin/truth" => match self.truth.lines() {
                Ok(lines) => Response::text(200, "application/jsonl", lines),
                Err(error) => Response::json(500, &error_body(500, &error.to_string(), None)),
            },
            path => Response::json(404, &error_body(404, &format!("there is no `{path}` on a simulated server"), None)),
        }
    }

    fn metrics(&self) -> String {
        let value = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed);
        let mut text = String::new();
        for (name, kind, help, value) in [
            ("simulator_requests_total", "counter", "Requests for tokens.", value(&self.requests)),
            ("simulator_requests_running", "gauge", "Requests being answered.", value(&self.running)),
            ("simulator_generation_tokens_total", "counter", "Tokens written.", value(&self.tokens)),
        ] {
            text.push_str(&format!("# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {value}\n"));
        }
        text + &self.lateness.metrics()
    }
}

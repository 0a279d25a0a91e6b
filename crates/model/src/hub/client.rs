//! Talking to the hub: what there is, and one file or a part of it.

use std::io::Read;
use std::time::Duration;

use serde::Deserialize;
use ureq::http::{HeaderMap, Method, Request, Response, StatusCode};
use ureq::{Agent, Body};

use super::HubOptions;
use super::cache::is_commit;
use crate::ModelError;

const CONNECT: Duration = Duration::from_secs(10);
/// A server that says nothing for so long is given up.
const SILENCE: Duration = Duration::from_secs(30);
const MAX_REDIRECTS: usize = 8;
/// The list of a model's files is some kilobytes.
const MAX_LISTING: u64 = 16 << 20;

/// A connection to the hub for one model.
pub(super) struct Client<'a> {
    agent: Agent,
    id: &'a str,
    options: &'a HubOptions,
}

/// The files of a model at one commit.
pub(super) struct Listing {
    pub(super) commit: String,
    files: Vec<String>,
}

/// What the hub says of a file without sending it.
#[derive(Debug)]
pub(super) struct Remote {
    /// Names the content; safe as a file name.
    pub(super) tag: String,
    /// The SHA-256 of the content, where the tag is one (large files).
    pub(super) sha256: Option<String>,
    pub(super) size: Option<u64>,
}

impl Listing {
    pub(super) fn has(&self, file: &str) -> bool {
        self.files.iter().any(|name| name == file)
    }

    /// What to do about a model that cannot be read.
    pub(super) fn hint(&self) -> String {
        match self.files.iter().find(|name| name.ends_with(".gguf")) {
            Some(file) => format!("download its file `{file}` and name that file with --model"),
            None => "use a model with config.json, tokenizer.json and model.safetensors".into(),
        }
    }
}

impl<'a> Client<'a> {
    pub(super) fn new(id: &'a str, options: &'a HubOptions) -> Self {
        let agent = Agent::config_builder()
            .http_status_as_error(false)
            // Followed here: the tag of a large file stands on the redirect, and the token must not leave the hub.
            .max_redirects(0)
            .max_redirects_will_error(false)
            .user_agent(&options.user_agent)
            .accept_encoding("identity")
            .timeout_resolve(Some(CONNECT))
            .timeout_connect(Some(CONNECT))
            .timeout_send_request(Some(SILENCE))
            .timeout_recv_response(Some(SILENCE))
            .timeout_per_read(Some(SILENCE))
            .build()
            .new_agent();
        Self { agent, id, options }
    }

    pub(super) fn id(&self) -> &str {
        self.id
    }

    pub(super) fn endpoint(&self) -> &str {
        &self.options.endpoint
    }

    /// The model's files at `main`.
    pub(super) fn listing(&self) -> Result<Listing, ModelError> {
        #[derive(Deserialize)]
        struct Answer {
            sha: String,
            siblings: Vec<Sibling>,
        }
        #[derive(Deserialize)]
        struct Sibling {
            rfilename: String,
        }
        let url = format!("{}/api/models/{}", self.options.endpoint, self.id);
        let (_, response) = self.request(&Method::GET, &url, None, |_| false)?;
        let mut bytes = Vec::new();
        let mut body = response.into_body().into_reader().take(MAX_LISTING);
        body.read_to_end(&mut bytes).map_err(|error| self.unreachable(&error.to_string()))?;
        match serde_json::from_slice::<Answer>(&bytes) {
            Ok(Answer { sha, siblings }) if is_commit(&sha) => {
                Ok(Listing { commit: sha, files: siblings.into_iter().map(|file| file.rfilename).collect() })
            }
            _ => Err(ModelError::Hub {
                what: format!("{url} does not answer as a Hugging Face hub does"),
                hint: "check HF_ENDPOINT".into(),
            }),
        }
    }

    fn file_url(&self, file: &str) -> String {
        format!("{}/{}/resolve/main/{file}", self.options.endpoint, self.id)
    }

    /// What `file` is at the moment.
    pub(super) fn inspect(&self, file: &str, commit: &str) -> Result<Remote, ModelError> {
        let url = self.file_url(file);
        // For a large file the hub sends elsewhere, and says here what will be found there.
        let (_, response) = self.request(&Method::HEAD, &url, None, |headers| headers.contains_key("x-linked-etag"))?;
        let header = |name: &str| response.headers().get(name).and_then(|value| value.to_str().ok());
        let linked = header("x-linked-etag");
        let tag = linked.or(header("etag")).map(|tag| tag.trim_start_matches("W/").trim_matches('"').to_owned());
        let size = if linked.is_some() { header("x-linked-size") } else { header("content-length") };
        let safe = |tag: &String| {
            (1..=128).contains(&tag.len()) && tag.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        };
        // Commit and name tell contents apart where a mirror sends no tag.
        let tag = tag.filter(safe).unwrap_or_else(|| format!("{}-{}", commit, crate::fingerprint([file])));
        let hex = tag.len() == 64 && tag.bytes().all(|byte| byte.is_ascii_hexdigit());
        Ok(Remote { sha256: hex.then(|| tag.to_lowercase()), size: size.and_then(|size| size.parse().ok()), tag })
    }

    /// The content of `file` from byte `start`. The hub may ignore `start`: see the status.
    pub(super) fn content(&self, file: &str, start: u64) -> Result<Response<Body>, ModelError> {
        let range = (start > 0).then(|| format!("bytes={start}-"));
        self.request(&Method::GET, &self.file_url(file), range.as_deref(), |_| false).map(|(_, response)| response)
    }

    /// Sends a request and follows redirects until an answer, or until `enough` is satisfied with a redirect's headers.
    fn request(
        &self,
        method: &Method,
        url: &str,
        range: Option<&str>,
        enough: impl Fn(&HeaderMap) -> bool,
    ) -> Result<(String, Response<Body>), ModelError> {
        let mut url = url.to_owned();
        for _ in 0..=MAX_REDIRECTS {
            let mut request = Request::builder().method(method).uri(&url);
            if let Some(token) = &self.options.token
                && origin(&url) == origin(&self.options.endpoint)
            {
                request = request.header("authorization", format!("Bearer {token}"));
            }
            if let Some(range) = range {
                request = request.header("range", range);
            }
            let request = request.body(()).map_err(|error| self.bad_address(&url, &error.to_string()))?;
            let response = self.agent.run(request).map_err(|error| match error {
                ureq::Error::BadUri(_) | ureq::Error::Http(_) => self.bad_address(&url, &error.to_string()),
                _ => self.unreachable(&error.to_string()),
            })?;
            let status = response.status();
            if !status.is_redirection() || status == StatusCode::NOT_MODIFIED {
                return self.accept(status, &url).map(|()| (url, response));
            }
            if enough(response.headers()) {
                return Ok((url, response));
            }
            let location = response.headers().get("location").and_then(|value| value.to_str().ok());
            url = location
                .and_then(|location| join(&url, location))
                .ok_or_else(|| self.bad_address(&url, "it redirects to nowhere"))?;
        }
        Err(self.bad_address(&url, "it redirects without end"))
    }

    fn accept(&self, status: StatusCode, url: &str) -> Result<(), ModelError> {
        let (id, endpoint) = (self.id, &self.options.endpoint);
        Err(match status.as_u16() {
            200 | 206 | 416 => return Ok(()),
            401 => ModelError::Hub {
                what: format!("{endpoint} does not hand out `{id}` (HTTP 401): there is no such model, or it is not public"),
                hint: match self.options.token {
                    Some(_) => "check the name, and that the token in HF_TOKEN is valid and may read the model".into(),
                    None => "check the name; for a model that is not public, set HF_TOKEN to a token that may read it".into(),
                },
            },
            403 => ModelError::Hub {
                what: format!("{endpoint} does not hand out `{id}` to you (HTTP 403)"),
                hint: "accept the model's terms on its page, and set HF_TOKEN to a token of that account".into(),
            },
            404 => ModelError::NotFound {
                what: format!("`{id}` is no file or folder, and {url} does not exist"),
                hint: "check the name: use a folder, a .gguf file, a hub id such as `sshleifer/tiny-gpt2`, or `synthetic:gpt2`"
                    .into(),
            },
            code => ModelError::Hub {
                what: format!("{url} answers with HTTP {code}"),
                hint: "try again later, or set HF_ENDPOINT to a mirror".into(),
            },
        })
    }

    pub(super) fn unreachable(&self, reason: &str) -> ModelError {
        ModelError::Hub {
            what: format!("cannot fetch `{}` from {}: {reason}", self.id, self.options.endpoint),
            hint: "check the network, or set HF_ENDPOINT to a mirror; a local folder or `synthetic:gpt2` needs neither"
                .into(),
        }
    }

    fn bad_address(&self, url: &str, reason: &str) -> ModelError {
        ModelError::Hub { what: format!("cannot use the address {url}: {reason}"), hint: "check HF_ENDPOINT".into() }
    }
}

/// Scheme, host and port of an address.
fn origin(url: &str) -> &str {
    let authority = url.find("://").map_or(0, |at| at + 3);
    url[authority..].find('/').map_or(url, |at| &url[..authority + at])
}

/// Where a redirect leads; `None` when not to a web address.
fn join(url: &str, location: &str) -> Option<String> {
    if location.starts_with("http://") || location.starts_with("https://") {
        return Some(location.to_owned());
    }
    if location.contains("://") || location.starts_with("//") {
        return None;
    }
    match location.strip_prefix('/') {
        Some(path) => Some(format!("{}/{path}", origin(url))),
        None => url.rfind('/').map(|at| format!("{}/{location}", &url[..at])),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_scheme_host_and_port() {
        assert_eq!(origin("https://huggingface.co/a/b"), "https://huggingface.co");
        assert_eq!(origin("http://127.0.0.1:80"), "http://127.0.0.1:80");
        assert_ne!(origin("http://hub/a"), origin("https://hub/a"));
    }

    #[test]
    fn redirects_are_joined() {
        assert_eq!(join("https://h/a/b", "/c?d").as_deref(), Some("https://h/c?d"));
        assert_eq!(join("https://h/a/b", "c").as_deref(), Some("https://h/a/c"));
        assert_eq!(join("https://h/a/b", "https://cdn/x").as_deref(), Some("https://cdn/x"));
        assert_eq!(join("https://h/a/b", "file:///etc/passwd"), None);
    }
}

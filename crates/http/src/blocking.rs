//! Single requests outside the measurement: probes before a run, and readings of a server's metrics during it.
//!
//! They are few, nobody stamps them, and so an off-the-shelf blocking client makes them.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::CertificateDer;
use sagellm_core::redact::hide_in_url;
use serde_json::Value;
use ureq::tls::{Certificate, ClientCert, PrivateKey, RootCerts, TlsConfig};
use ureq::{Agent, Body, Proxy, http::Response};

use crate::excerpt::excerpt;
use crate::request::check_headers;
use crate::target::check_proxy;
use crate::tls::TlsMaker;
use crate::{HttpError, RequestIds, Secret, Target, TlsOptions, tls};

/// How a server is reached.
#[derive(Clone, Debug)]
pub struct Access {
    /// The server.
    pub target: Target,
    /// Further headers, sent as they are.
    pub headers: Vec<(String, String)>,
    /// Sent as `Authorization: Bearer`.
    pub api_key: Option<Secret>,
    /// Whom TLS trusts.
    pub tls: TlsOptions,
    /// An HTTP proxy to go through by `CONNECT`; those of the environment are not used.
    pub proxy: Option<Target>,
    /// Removed from what the server is quoted with, as the key is.
    pub secrets: Vec<Secret>,
}

impl Access {
    /// Reaches `target` directly, without a key.
    pub fn new(target: Target) -> Self {
        Self {
            target,
            headers: Vec::new(),
            api_key: None,
            tls: TlsOptions::default(),
            proxy: None,
            secrets: Vec::new(),
        }
    }
}

/// Why there is no answer. The text can follow "because" or end a sentence.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoAnswer {
    /// Nobody listens, or the connection broke: may be different in a moment.
    #[error("{0}")]
    Connection(String),
    /// The server closed the connection before it answered: may be different in a moment.
    #[error("the server closed the connection")]
    Closed,
    /// Nothing came in time: may be different in a moment.
    #[error("no answer came within {} s", rounded(*.0))]
    Timeout(Duration),
    /// The certificate or the handshake does not do.
    #[error("TLS failed: {0}")]
    Tls(String),
    /// What came is no HTTP answer, or too large a one.
    #[error("{0}")]
    Protocol(String),
}

impl NoAnswer {
    /// Whether it is worth asking again.
    pub fn may_pass(&self) -> bool {
        matches!(self, Self::Connection(_) | Self::Closed | Self::Timeout(_))
    }
}

/// Seconds to the millisecond.
pub(crate) fn rounded(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1e3).round() / 1e3
}

/// What a server answered, whatever its status.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Status of HTTP.
    pub status: u16,
    /// Where it is to be found instead, for a status of redirection.
    pub location: Option<String>,
    /// The body as it came, with the replacement character in place of what is not UTF-8. It may repeat a secret: only
    /// [`message`](Self::message) can be shown.
    pub body: String,
    secrets: Arc<[Secret]>,
}

impl Answer {
    /// Whether the status is one of success.
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// The message of an error, as the servers' various bodies hold it: the beginning of the body where none is found.
    pub fn message(&self) -> String {
        let json: Option<Value> = serde_json::from_str(&self.body).ok();
        let found = json.as_ref().and_then(|body| {
            let places = ["/error/message", "/message", "/error", "/detail"];
            places.into_iter().find_map(|place| body.pointer(place)?.as_str())
        });
        excerpt(found.unwrap_or(&self.body).as_bytes(), &self.secrets)
    }
}

/// Makes one request at a time.
#[derive(Clone, Debug)]
pub struct BlockingClient {
    agent: Agent,
    /// The same without kept connections.
    fresh: Agent,
    access: Arc<Access>,
    secrets: Arc<[Secret]>,
    largest_body: u64,
}

impl BlockingClient {
    /// Largest body that is read unless told otherwise, in bytes.
    pub const LARGEST_BODY: u64 = 16 << 20;

    /// Makes ready; nothing is sent.
    ///
    /// # Errors
    /// When a certificate or key cannot be used, or the proxy is none.
    pub fn new(access: Access) -> Result<Self, HttpError> {
        check_proxy(access.proxy.as_ref())?;
        check_headers(&access.headers, access.api_key.as_ref())?;
        if access.target.https {
            // The client below panics on a key that is not that of its certificate.
            TlsMaker::new(&access.tls, &access.target.host)?;
        }
        let proxy = match &access.proxy {
            Some(proxy) => {
                let url = proxy.url("");
                let why = |error: ureq::Error| HttpError::Url { url: url.clone(), why: error.to_string() };
                Some(Proxy::new(&url).map_err(why)?)
            }
            None => None,
        };
        let tls = tls_config(&access)?;
        let agent = |kept_connections| {
            Agent::config_builder()
                .http_status_as_error(false)
                // A redirect would take the key elsewhere.
                .max_redirects(0)
                .max_redirects_will_error(false)
                .user_agent(concat!("sagellm-benchmark/", env!("CARGO_PKG_VERSION")))
                .accept_encoding("identity")
                .proxy(proxy.clone())
                .tls_config(tls.clone())
                .max_idle_connections(kept_connections)
                .build()
                .new_agent()
        };
        let secrets = access.api_key.iter().chain(&access.secrets).cloned().collect();
        Ok(Self {
            agent: agent(1),
            fresh: agent(0),
            access: Arc::new(access),
            secrets,
            largest_body: Self::LARGEST_BODY,
        })
    }

    /// Reads bodies of up to so many bytes.
    #[must_use]
    pub fn with_largest_body(self, bytes: u64) -> Self {
        Self { largest_body: bytes, ..self }
    }

    /// The server.
    pub fn target(&self) -> &Target {
        &self.access.target
    }

    /// Looks up the name that will be connected to: the proxy's, where there is one.
    ///
    /// # Errors
    /// When the name is not known.
    pub fn resolve(&self) -> Result<(), HttpError> {
        self.access.proxy.as_ref().unwrap_or(self.target()).resolve().map(|_| ())
    }

    /// Gets a path.
    ///
    /// # Errors
    /// When no answer comes within `timeout`.
    pub fn get(&self, path: &str, timeout: Duration) -> Result<Answer, NoAnswer> {
        self.twice(|agent| {
            let mut request = agent.get(self.target().url(path));
            for (name, value) in self.headers() {
                request = request.header(name, value);
            }
            let response = request.config().timeout_global(Some(timeout)).build().call();
            response.map_err(|error| no_answer(error, timeout))
        })
        .and_then(|response| self.answer(response, timeout))
    }

    /// Asks again on a new connection where a kept one turns out to be closed: a server may close it at any time.
    fn twice(&self, ask: impl Fn(&Agent) -> Result<Response<Body>, NoAnswer>) -> Result<Response<Body>, NoAnswer> {
        match ask(&self.agent) {
            Err(NoAnswer::Closed) => ask(&self.fresh),
            other => other,
        }
    }

    /// Posts JSON to a path, as a measured request would be: named, and ready for a stream.
    ///
    /// # Errors
    /// When the answer does not begin within `head` or is not complete within `whole`.
    pub fn post(&self, path: &str, body: &[u8], head: Duration, whole: Duration) -> Result<Answer, NoAnswer> {
        let named = RequestIds::draw().of(0);
        let own = [("accept", "text/event-stream"), ("content-type", "application/json"), ("x-request-id", &named)];
        self.twice(|agent| {
            let mut request = agent.post(self.target().url(path));
            for (name, value) in own {
                request = request.header(name, value);
            }
            for (name, value) in self.headers() {
                request = request.header(name, value);
            }
            let config = request.config().timeout_recv_response(Some(head)).timeout_global(Some(whole));
            config.build().send(body).map_err(|error| match error {
                ureq::Error::Timeout(ureq::Timeout::RecvResponse) => NoAnswer::Timeout(head),
                error => no_answer(error, whole),
            })
        })
        .and_then(|response| self.answer(response, whole))
    }

    /// Gets the text of a path, as readings of metrics want it: any status but success is a failure too.
    ///
    /// # Errors
    /// Says why there is no text, naming the path.
    pub fn text(&self, path: &str, timeout: Duration) -> Result<String, String> {
        match self.get(path, timeout) {
            Ok(answer) if answer.is_success() => Ok(answer.body),
            Ok(answer) => Err(format!("the server answered `{}` with status {}", hide_in_url(path), answer.status)),
            Err(why) => Err(format!("`{}` could not be read: {why}", hide_in_url(path))),
        }
    }

    fn headers(&self) -> impl Iterator<Item = (&str, String)> {
        let key = self.access.api_key.as_ref().map(|key| ("authorization", format!("Bearer {}", key.reveal())));
        self.access.headers.iter().map(|(name, value)| (name.as_str(), value.clone())).chain(key)
    }

    fn answer(&self, mut response: Response<Body>, timeout: Duration) -> Result<Answer, NoAnswer> {
        let limited = response.body_mut().with_config().limit(self.largest_body);
        let bytes = limited.read_to_vec().map_err(|error| no_answer(error, timeout))?;
        let body = String::from_utf8_lossy(&bytes).into_owned();
        let location = response.headers().get("location").filter(|_| response.status().is_redirection());
        let location = location.map(|value| excerpt(value.as_bytes(), &self.secrets));
        Ok(Answer { status: response.status().as_u16(), location, body, secrets: Arc::clone(&self.secrets) })
    }
}

fn no_answer(error: ureq::Error, timeout: Duration) -> NoAnswer {
    match error {
        ureq::Error::Timeout(_) => NoAnswer::Timeout(timeout),
        ureq::Error::Io(error) => match error.kind() {
            io::ErrorKind::ConnectionRefused => NoAnswer::Connection("the connection was refused".into()),
            io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::UnexpectedEof
            | io::ErrorKind::BrokenPipe => NoAnswer::Closed,
            io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock => NoAnswer::Timeout(timeout),
            // Where rustls fails within the handshake, its error comes wrapped.
            io::ErrorKind::InvalidData => NoAnswer::Tls(error.to_string()),
            _ => NoAnswer::Connection(error.to_string()),
        },
        ureq::Error::Rustls(error) => NoAnswer::Tls(error.to_string()),
        ureq::Error::Tls(error) => NoAnswer::Tls(error.into()),
        ureq::Error::HostNotFound => NoAnswer::Connection("the host is not known".into()),
        ureq::Error::ConnectionFailed => NoAnswer::Connection("no connection could be made".into()),
        other => NoAnswer::Protocol(other.to_string()),
    }
}

fn tls_config(access: &Access) -> Result<TlsConfig, HttpError> {
    let options = &access.tls;
    let mut config = TlsConfig::builder().disable_verification(options.insecure);
    if access.target.https && !options.insecure {
        let roots = tls::authorities(options.ca_cert.as_deref())?;
        config = config.root_certs(RootCerts::from(roots.iter().map(owned)));
    }
    match (&options.client_cert, &options.client_key) {
        (Some(chain), Some(key)) => {
            let chain: Vec<_> = tls::certificates(chain)?.iter().map(owned).collect();
            let pem = tls::read(key)?;
            let key = PrivateKey::from_pem(&pem)
                .map_err(|error| HttpError::Certificate { path: key.clone(), why: error.to_string() })?;
            config = config.client_cert(Some(ClientCert::new_with_certs(&chain, key)));
        }
        (None, None) => {}
        _ => return Err(HttpError::Setting("a client's certificate and its key are given together".into())),
    }
    Ok(config.build())
}

fn owned(certificate: &CertificateDer<'_>) -> Certificate<'static> {
    Certificate::from_der(certificate.as_ref()).to_owned()
}

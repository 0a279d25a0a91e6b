//! Where a server is.

use std::fmt;
use std::net::{SocketAddr, ToSocketAddrs};

use sagellm_core::redact::hide_in_url;

use crate::HttpError;

/// The base URL of a server, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Whether TLS is spoken.
    pub https: bool,
    /// Name or address, without the brackets of IPv6.
    pub host: String,
    /// Port; 80 or 443 when the URL names none.
    pub port: u16,
    /// What comes before every path; empty, or beginning and not ending with `/`.
    pub base_path: String,
}

/// Paths that people copy with the base URL.
const ENDPOINTS: [&str; 4] = ["/v1/chat/completions", "/v1/completions", "/v1/models", "/v1/responses"];

impl Target {
    /// Reads a base URL such as `http://localhost:8000` or `https://gateway/tenant/7`.
    ///
    /// # Errors
    /// When it is no plain `http` or `https` URL. Credentials, queries and fragments are refused.
    pub fn parse(url: &str) -> Result<Self, HttpError> {
        let wrong = |why: &str| HttpError::Url { url: url.into(), why: why.into() };
        let (scheme, rest) =
            url.split_once("://").ok_or_else(|| wrong("it does not begin with http:// or https://"))?;
        let https = match scheme.to_ascii_lowercase().as_str() {
            "http" => false,
            "https" => true,
            other => return Err(wrong(&format!("`{other}` is neither http nor https"))),
        };
        if !rest.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(wrong("it holds a space, a control character or a letter beyond ASCII"));
        }
        if rest.contains('#') {
            return Err(wrong("a base URL has no fragment"));
        }
        if let Some((rest, _)) = rest.split_once('?') {
            // Not shown: it may hold a key.
            return Err(HttpError::Query { url: format!("{scheme}://{rest}?…") });
        }
        let (authority, path) = rest.find('/').map_or((rest, ""), |at| rest.split_at(at));
        if authority.contains('@') {
            // Not echoed: it may hold a password.
            let why = "it holds credentials; give them by --api-key-file or --header";
            return Err(HttpError::Url { url: format!("{scheme}://…"), why: why.into() });
        }
        let (host, port) = match authority.strip_prefix('[') {
            Some(rest) => {
                let (host, port) = rest.split_once(']').ok_or_else(|| wrong("`[` has no `]`"))?;
                if host.parse::<std::net::Ipv6Addr>().is_err() {
                    return Err(wrong("there is no IPv6 address between `[` and `]`"));
                }
                (host, if port.is_empty() { None } else { Some(port.strip_prefix(':').unwrap_or("")) })
            }
            None if authority.matches(':').count() > 1 => {
                return Err(wrong("an IPv6 address must be in brackets, as in http://[::1]:8000"));
            }
            None => authority.split_once(':').map_or((authority, None), |(host, port)| (host, Some(port))),
        };
        if host.is_empty() {
            return Err(wrong("it names no host"));
        }
        let port = match port {
            None => {
                if https {
                    443
                } else {
                    80
                }
            }
            Some(port) => match port.parse() {
                Ok(port) if port > 0 => port,
                _ => return Err(wrong("its port is no number from 1 to 65535")),
            },
        };
        let base_path = path.trim_end_matches('/');
        if let Some(base) = ENDPOINTS.iter().find_map(|endpoint| base_path.strip_suffix(endpoint)) {
            let url = format!("{scheme}://{authority}{base}");
            return Err(wrong(&format!("it ends with the path of an endpoint; the base URL is {url}")));
        }
        Ok(Self { https, host: host.into(), port, base_path: base_path.into() })
    }

    /// What comes after the authority of a URL for `path`. People give the base URL with and without the `/v1` at its
    /// end; that is the root of the API, beside which a server has its other paths.
    pub fn path(&self, path: &str) -> String {
        let base = match path {
            "" => &self.base_path,
            _ => self.base_path.strip_suffix("/v1").unwrap_or(&self.base_path),
        };
        format!("{base}{path}")
    }

    /// The path under which [`path`](Self::path) finds an endpoint that was named to come after the base URL as given.
    pub fn endpoint(&self, path: &str) -> String {
        let below_root = self.base_path.ends_with("/v1") && !path.starts_with("/v1/");
        format!("{}{path}", if below_root { "/v1" } else { "" })
    }

    /// The whole URL for `path`.
    pub fn url(&self, path: &str) -> String {
        let scheme = if self.https { "https" } else { "http" };
        format!("{scheme}://{}{}", self.host_header(), self.path(path))
    }

    /// The same to be shown: without secrets in the query.
    pub fn shown(&self, path: &str) -> String {
        hide_in_url(&self.url(path))
    }

    /// The `Host` header: without the port where it is the scheme's own.
    pub fn host_header(&self) -> String {
        let own = if self.https { 443 } else { 80 };
        if self.port == own { self.bracketed() } else { self.authority() }
    }

    /// Host and port, as `CONNECT` wants them.
    pub fn authority(&self) -> String {
        format!("{}:{}", self.bracketed(), self.port)
    }

    fn bracketed(&self) -> String {
        if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() }
    }

    /// Its addresses, in the order of the system's preference.
    ///
    /// # Errors
    /// When the name is not known.
    pub fn resolve(&self) -> Result<Vec<SocketAddr>, HttpError> {
        let unknown = |why: String| HttpError::Resolve { host: self.host.clone(), why };
        let found = (self.host.as_str(), self.port).to_socket_addrs().map_err(|error| unknown(error.to_string()))?;
        let found: Vec<SocketAddr> = found.collect();
        if found.is_empty() { Err(unknown("it has no address".into())) } else { Ok(found) }
    }
}

/// Refuses a proxy that cannot be gone through.
pub(crate) fn check_proxy(proxy: Option<&Target>) -> Result<(), HttpError> {
    match proxy {
        Some(proxy) if proxy.https => Err(HttpError::Setting("a proxy is spoken to over http, not https".into())),
        _ => Ok(()),
    }
}

impl fmt::Display for Target {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.url(""))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(url: &str) -> Target {
        Target::parse(url).unwrap()
    }

    #[test]
    fn base_urls_are_taken_apart() {
        let plain = target("http://localhost:8000");
        assert_eq!(
            (plain.https, plain.host.as_str(), plain.port, plain.base_path.as_str()),
            (false, "localhost", 8000, "")
        );
        let deep = target("HTTPS://gateway/tenant/7/");
        assert_eq!((deep.https, deep.port, deep.base_path.as_str()), (true, 443, "/tenant/7"));
        let six = target("http://[::1]:8000/");
        assert_eq!((six.host.as_str(), six.authority().as_str()), ("::1", "[::1]:8000"));
        assert_eq!(target("http://[::1]").port, 80);
    }

    #[test]
    fn a_port_of_the_scheme_is_left_out() {
        assert_eq!(target("http://h:80").host_header(), "h");
        assert_eq!(target("https://h:80").host_header(), "h:80");
        assert_eq!(target("https://h/x").url("/health"), "https://h/x/health");
    }

    #[test]
    fn v1_is_the_root_of_the_api_only() {
        assert_eq!(target("http://h/v1/").path("/v1/completions"), "/v1/completions");
        assert_eq!(target("http://h/a/v1").path("/v1/models"), "/a/v1/models");
        assert_eq!(target("http://h/v1").path("/health"), "/health");
        assert_eq!(target("http://h/x/v1").path("/metrics"), "/x/metrics");
        assert_eq!(target("http://h/x/v12").path("/metrics"), "/x/v12/metrics");
        assert_eq!(target("http://h/v1").to_string(), "http://h/v1", "as it was given");
        for (base, endpoint) in [("/v1", "/completions"), ("/v1", "/v1/completions"), ("", "/v1/completions")] {
            let target = target(&format!("http://h{base}"));
            assert_eq!(target.path(&target.endpoint(endpoint)), "/v1/completions");
        }
    }

    #[test]
    fn what_is_no_base_url_is_refused() {
        for url in [
            "localhost:8000",
            "ftp://h",
            "http://",
            "http://:80",
            "http://h:0",
            "http://h:99999",
            "http://h:x",
            "http://h:",
            "http://h/#x",
            "http://a b",
            "http://h\r\nX: y",
            "http://[::1",
            "http://[::1]x",
            "http://[no]:1",
            "http://ü",
        ] {
            assert!(matches!(Target::parse(url), Err(HttpError::Url { .. })), "{url}");
        }
        let why = |url: &str| Target::parse(url).unwrap_err().to_string();
        let query = why("http://h/openai/deployments/d?api-version=1&key=hunter2");
        assert_eq!(query, "cannot use the URL `http://h/openai/deployments/d?…`: a base URL has no query");
        assert!(why("http://::1:8000").contains("must be in brackets, as in http://[::1]:8000"));
        assert!(why("https://h/a/v1/chat/completions").ends_with("the base URL is https://h/a"));
        let secret = Target::parse("http://me:hunter2@h").unwrap_err().to_string();
        assert!(!secret.contains("hunter2"), "{secret}");
    }

    #[test]
    fn an_unknown_name_is_an_error() {
        assert!(matches!(target("http://no-such-host.invalid").resolve(), Err(HttpError::Resolve { .. })));
        assert_eq!(target("http://127.0.0.1:9").resolve().unwrap(), ["127.0.0.1:9".parse().unwrap()]);
    }
}

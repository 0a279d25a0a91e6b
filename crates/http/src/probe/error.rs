//! Why a server cannot be measured.

use std::time::Duration;

use sagellm_core::{Exit, Failure, UserError};
use thiserror::Error;

use crate::blocking::rounded;
use crate::{Answer, NoAnswer};

/// What a probe found to be in the way.
#[derive(Debug, Error)]
pub enum ProbeError {
    /// It did not come up in time.
    #[error("`{url}` was not ready within {} s: {last}", rounded(*.waited))]
    NotReady {
        /// What was asked.
        url: String,
        /// How long.
        waited: Duration,
        /// What the last attempt met with.
        last: String,
    },
    /// It cannot be talked to, and waiting will not help.
    #[error("cannot use `{url}`: {why}")]
    NoAnswer {
        /// What was asked.
        url: String,
        /// Why there is no answer.
        why: NoAnswer,
    },
    /// It is somewhere else.
    #[error("`{url}` has moved to `{to}` (status {status}), and redirects are not followed")]
    Moved {
        /// What was asked.
        url: String,
        /// Where the server says it is.
        to: String,
        /// A status of redirection.
        status: u16,
    },
    /// The key is missing or wrong.
    #[error("`{url}` refuses access (status {status})")]
    Access {
        /// What was asked.
        url: String,
        /// 401 or 403.
        status: u16,
    },
    /// It does not serve the model asked for.
    #[error("the server does not serve the model `{asked}`; it serves {}", quoted(.served))]
    UnknownModel {
        /// The model asked for.
        asked: String,
        /// The models that it lists.
        served: Vec<String>,
    },
    /// It lists no model, and none was named.
    #[error("`{url}` lists no model")]
    NoModel {
        /// What was asked.
        url: String,
    },
    /// There is nothing at the path that requests go to.
    #[error("`{url}` does not exist on this server (status {status})")]
    NoEndpoint {
        /// What was asked.
        url: String,
        /// 404 or 405.
        status: u16,
    },
    /// Even the plainest request is refused.
    #[error("the server refuses a request of 8 tokens to `{url}` (status {status}): {message}")]
    Refused {
        /// What was asked.
        url: String,
        /// Its status.
        status: u16,
        /// Its words.
        message: String,
    },
    /// What came is not what such a server sends.
    #[error("the answer of `{url}` cannot be used: {why}")]
    Unusable {
        /// What was asked.
        url: String,
        /// What is wrong with the answer.
        why: String,
    },
    /// Waiting was ended from outside: by a signal, or because the server's process ended.
    #[error("{0}")]
    Stopped(Failure),
}

impl ProbeError {
    /// The redirection that an answer is, if it is one.
    pub(super) fn moved(url: &str, answer: &Answer) -> Option<Self> {
        let to = answer.location.clone()?;
        Some(Self::Moved { url: url.to_owned(), to, status: answer.status })
    }
}

/// What a path begins with twice, as `/api/v1` in `http://h/api/v1/api/v1/completions`.
fn doubled(url: &str) -> Option<&str> {
    let (_, rest) = url.split_once("://")?;
    let path = &rest[rest.find('/')?..];
    let ends = path.match_indices('/').map(|(at, _)| at).skip(1);
    ends.map(|end| path.split_at(end)).find(|(part, rest)| rest.starts_with(&format!("{part}/"))).map(|(part, _)| part)
}

fn quoted(names: &[String]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

impl UserError for ProbeError {
    fn exit(&self) -> Exit {
        match self {
            Self::Stopped(failure) => failure.exit,
            Self::UnknownModel { .. } | Self::NoModel { .. } => Exit::Usage,
            _ => Exit::Backend,
        }
    }

    fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::NotReady { .. } => "is the server up, and does --base-url name it? A longer wait: --ready-timeout",
            Self::NoAnswer { why: NoAnswer::Tls(why), .. } => crate::tls::remedy(why),
            Self::NoAnswer { why: NoAnswer::Timeout(_), .. } => {
                "is it overloaded, or does it still load? A longer wait: --ready-timeout, --timeout"
            }
            Self::NoAnswer { .. } => "does --base-url name an HTTP server, and is `http` or `https` right?",
            Self::Moved { .. } => "name the new place with --base-url, or its path with --endpoint",
            Self::NoEndpoint { url, .. } if let Some(twice) = doubled(url) => {
                return Some(format!("the path contains `{twice}` twice: leave it out of --base-url or of --endpoint"));
            }
            Self::Access { .. } => "give the key in OPENAI_API_KEY or with --api-key-file",
            Self::UnknownModel { .. } => "leave --model out to take the first of them",
            Self::NoModel { .. } => "name the model with --model",
            Self::NoEndpoint { .. } => "choose the other kind with --endpoint-type completions|chat",
            Self::Refused { .. } => "see the server's log; fields of your own come from --extra-body",
            Self::Unusable { .. } => "is this an OpenAI-compatible server?",
            Self::Stopped(failure) => return failure.hint.clone(),
        };
        Some(hint.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_doubled_path_is_named() {
        assert_eq!(doubled("http://h/api/v1/api/v1/completions"), Some("/api/v1"));
        assert_eq!(doubled("http://h:1/v1/v1/models"), Some("/v1"));
        assert_eq!(doubled("http://h/v1/completions"), None);
        assert_eq!(doubled("http://h/v1/v1x/completions"), None);
        assert_eq!(doubled("http://h"), None);
    }
}

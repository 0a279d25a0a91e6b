//! Why a server cannot be measured at all. What befalls a single request is its outcome instead.

use std::io;
use std::path::PathBuf;

use sagellm_core::redact::hide_in_url;
use sagellm_core::{Exit, UserError};
use thiserror::Error;

/// Why the client cannot be started.
#[derive(Debug, Error)]
pub enum HttpError {
    /// A URL that cannot be used.
    #[error("cannot use the URL `{}`: {why}", hide_in_url(.url))]
    Url {
        /// As given.
        url: String,
        /// What is wrong with it.
        why: String,
    },
    /// A base URL with a query, which can only follow a path.
    #[error("cannot use the URL `{url}`: a base URL has no query")]
    Query {
        /// The part before the query.
        url: String,
    },
    /// A host without an address.
    #[error("cannot find the host `{host}`: {why}")]
    Resolve {
        /// Its name.
        host: String,
        /// What the system says.
        why: String,
    },
    /// No connection, or not as many as asked for.
    #[error("cannot connect to {target}: {why}")]
    Connect {
        /// The server.
        target: String,
        /// What went wrong.
        why: String,
    },
    /// A certificate or key that cannot be used.
    #[error("cannot use {}: {why}", path.display())]
    Certificate {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// TLS that cannot be set up.
    #[error("cannot set up TLS: {0}")]
    Tls(String),
    /// More connections than the system lets a process open.
    #[error("{wanted} connections need {needed} open files, but this process may open only {limit}")]
    OpenFiles {
        /// Connections asked for.
        wanted: u64,
        /// Files that they take, with those of the program itself.
        needed: u64,
        /// The hard limit.
        limit: u64,
    },
    /// No way to empty the prefix cache.
    #[error("the prefix cache of {server} cannot be reset: {tried}")]
    CacheReset {
        /// The server.
        server: String,
        /// What was tried, and why it failed.
        tried: String,
    },
    /// A setting out of range or in contradiction with another.
    #[error("{0}")]
    Setting(String),
    /// The system refuses what every client needs.
    #[error("cannot start the client: {0}")]
    System(#[from] io::Error),
}

impl UserError for HttpError {
    fn exit(&self) -> Exit {
        match self {
            Self::Url { .. } | Self::Query { .. } | Self::Setting(_) | Self::OpenFiles { .. } => Exit::Usage,
            Self::Certificate { .. } => Exit::Input,
            Self::Resolve { .. } | Self::Connect { .. } | Self::Tls(_) | Self::System(_) | Self::CacheReset { .. } => {
                Exit::Backend
            }
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Url { .. } => Some("a base URL looks like http://localhost:8000".into()),
            Self::Query { .. } => Some(
                "put the query into the endpoint, as in `--endpoint '/chat/completions?api-version=2024-06-01'`".into(),
            ),
            Self::Resolve { .. } | Self::Connect { .. } => {
                Some("is the server up, and does --base-url name its host and port?".into())
            }
            Self::Certificate { .. } => Some("certificates and keys are read as PEM".into()),
            Self::Tls(why) => Some(crate::tls::remedy(why).into()),
            Self::OpenFiles { needed, .. } => {
                Some(format!("raise the hard limit (`ulimit -Hn {needed}`) or lower --max-concurrency"))
            }
            Self::CacheReset { .. } => Some(
                "start vLLM with VLLM_SERVER_DEV_MODE=1, llama-server with --slots and --slot-save-path, or use \
                 `--cache-bust` in place of `--reset-cache`"
                    .into(),
            ),
            Self::Setting(_) | Self::System(_) => None,
        }
    }
}

//! Why a server cannot be started, or has to stop.

use std::io;
use std::net::SocketAddr;

use sagellm_core::{Exit, UserError};
use sagellm_engine::EngineError;
use thiserror::Error;

/// Why a server cannot be started, or has to stop. What befalls a single request is answered to its client instead.
#[derive(Debug, Error)]
pub enum ServerError {
    /// An address that cannot be listened on.
    #[error("cannot listen on {address}: {why}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system says.
        why: io::Error,
    },
    /// No further connection can be taken.
    #[error("cannot take a connection: {0}")]
    Accept(io::Error),
    /// The system refuses what every server needs.
    #[error("cannot run the server: {0}")]
    System(#[from] io::Error),
    /// A script that breaks the format.
    #[error("{name}, line {line}: {what}")]
    Script {
        /// The script's file.
        name: String,
        /// Counted from 1.
        line: usize,
        /// What is wrong there.
        what: String,
    },
    /// A chat template that is no Jinja.
    #[error("the model's chat template cannot be read: {0}")]
    Template(String),
    /// A setting out of range.
    #[error("{0}")]
    Setting(String),
    /// The engine under the server.
    #[error(transparent)]
    Engine(#[from] EngineError),
}

impl UserError for ServerError {
    fn exit(&self) -> Exit {
        match self {
            Self::Listen { .. } | Self::Setting(_) => Exit::Usage,
            Self::Script { .. } | Self::Template(_) => Exit::Input,
            Self::Accept(_) | Self::System(_) => Exit::Backend,
            Self::Engine(error) => error.exit(),
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Listen { why, .. } if why.kind() == io::ErrorKind::AddrInUse => {
                Some("another program listens there: choose another --port, or 0 for any free one".into())
            }
            Self::Listen { .. } => Some("--host takes an address of this machine, such as 127.0.0.1".into()),
            Self::Accept(_) => Some("each connection is an open file: raise the limit with `ulimit -n`".into()),
            Self::Script { .. } => Some("the format is described in crates/server/scripts/README.md".into()),
            Self::Engine(error) => error.hint(),
            Self::Template(_) | Self::System(_) | Self::Setting(_) => None,
        }
    }
}

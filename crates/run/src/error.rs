//! What can go wrong while running, apart from what goes wrong with single requests.

use std::io;
use std::path::PathBuf;

use sagellm_core::{Exit, Failure, UserError};

/// Why a workload could not be run to its end. What befalls a single request is in its record instead.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// The journal could not be created or written.
    #[error("cannot {action} `{}`", path.display())]
    Journal {
        /// The journal.
        path: PathBuf,
        /// `create` or `write`.
        action: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// The system gave no thread for the journal.
    #[error("cannot start the thread that writes the journal")]
    Thread {
        /// What the system said.
        source: io::Error,
    },
    /// The plan contradicts itself.
    #[error("the plan of workload `{workload}` cannot be run: {reason}")]
    Plan {
        /// Name of the workload.
        workload: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A request for the warm-up could not be made.
    #[error("{0}")]
    Warmup(Failure),
}

impl UserError for RunError {
    fn exit(&self) -> Exit {
        match self {
            Self::Warmup(failure) => failure.exit,
            _ => Exit::Input,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Journal { source, .. } => Some(match source.kind() {
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                    "free some space there, or choose another folder with `--output`".into()
                }
                _ => "choose a folder that can be written with `--output`".into(),
            }),
            Self::Thread { .. } => Some("raise the limit on processes (`ulimit -u`)".into()),
            Self::Plan { .. } => None,
            Self::Warmup(failure) => failure.hint.clone(),
        }
    }
}

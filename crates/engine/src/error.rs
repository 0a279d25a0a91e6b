//! What can go wrong between a model on disk and an engine that runs.

use sagellm_core::{Exit, UserError};
use sagellm_model::ModelError;
use thiserror::Error;

use crate::Isa;
use crate::memory_limit::{MemoryLimit, size};

/// Why the engine cannot be started.
#[derive(Debug, Error)]
pub enum EngineError {
    /// The model's files.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// A tensor whose shape contradicts the configuration.
    #[error("tensor `{name}` has shape {found:?}, but the model's config asks for {expected:?}")]
    Shape {
        /// Its name.
        name: String,
        /// By the config.
        expected: Vec<usize>,
        /// In the file.
        found: Vec<usize>,
    },
    /// An instruction set that this processor lacks.
    #[error("this processor has no {isa} instructions")]
    IsaMissing {
        /// The one asked for.
        isa: Isa,
        /// Those that it has.
        available: Vec<Isa>,
    },
    /// The system started no thread.
    #[error("cannot start the engine's threads: {0}")]
    Threads(std::io::Error),
    /// The weights do not fit.
    #[error("the system grants no memory for the weights: {0}")]
    WeightMemory(std::io::Error),
    /// The KV cache does not fit.
    #[error("the KV cache of {tokens} tokens needs {} MiB, which the system does not grant", bytes >> 20)]
    KvMemory {
        /// Asked for.
        tokens: usize,
        /// What that takes.
        bytes: usize,
    },
    /// What a step computes does not fit.
    #[error("a step of up to {tokens} tokens needs {} MiB, which the system does not grant", bytes >> 20)]
    StepMemory {
        /// Of a step at most.
        tokens: usize,
        /// What the buffer that was refused takes.
        bytes: usize,
    },
    /// The model is larger than what this process may use.
    #[error("the model needs about {}, but this process may use {} ({by})", size(*.need), size(*.limit))]
    MemoryLimit {
        /// Bytes that this process would have with its weights and the KV cache.
        need: u64,
        /// Bytes that this process may use.
        limit: u64,
        /// What limits them.
        by: MemoryLimit,
    },
    /// A setting out of range.
    #[error("{0}")]
    Setting(String),
}

impl UserError for EngineError {
    fn exit(&self) -> Exit {
        match self {
            Self::Model(error) => error.exit(),
            Self::Shape { .. } | Self::MemoryLimit { .. } | Self::WeightMemory(_) => Exit::Input,
            Self::IsaMissing { .. } | Self::KvMemory { .. } | Self::StepMemory { .. } | Self::Setting(_) => Exit::Usage,
            Self::Threads(_) => Exit::Backend,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Model(error) => error.hint(),
            Self::Shape { .. } => Some("config.json and the weights are not of the same model".into()),
            Self::IsaMissing { available, .. } => {
                let names: Vec<String> = available.iter().map(ToString::to_string).collect();
                Some(format!("available here: {}", names.join(", ")))
            }
            Self::KvMemory { .. } => Some("lower --kv-cache-tokens or --max-concurrency".into()),
            Self::StepMemory { .. } => Some("lower --max-num-batched-tokens or --max-num-seqs".into()),
            Self::MemoryLimit { .. } => {
                Some("use a smaller model, `--dtype int8` or a smaller `--kv-cache-tokens`, or raise the limit".into())
            }
            Self::WeightMemory(_) => Some("take a smaller model, or `--dtype int8`".into()),
            Self::Threads(_) | Self::Setting(_) => None,
        }
    }
}

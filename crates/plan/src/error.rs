//! Why no plan can be made.

use std::io;
use std::path::PathBuf;

use sagellm_core::file::FileError;
use sagellm_core::{Exit, UserError};
use sagellm_model::ModelError;

/// What is wrong with a workload or with what was asked of it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PlanError {
    /// No workload has this name.
    #[error("unknown workload `{name}`")]
    UnknownWorkload {
        /// As it was written.
        name: String,
    },
    /// The value of an option is out of its range.
    #[error("`{option} {value}` is not possible: it must be {range}")]
    Value {
        /// The option as on the command line.
        option: &'static str,
        /// The value that was given.
        value: String,
        /// What is allowed, as the end of the sentence.
        range: &'static str,
    },
    /// Two options contradict each other.
    #[error("`{option}` has no meaning {circumstance}")]
    Contradiction {
        /// The option that cannot be honoured.
        option: &'static str,
        /// Under what, as the end of the sentence.
        circumstance: &'static str,
        /// What to do.
        hint: &'static str,
    },
    /// A request does not fit into the model.
    #[error(
        "request {request} of workload `{workload}` needs {needed} tokens ({input} in, {output} out), but the model holds {available}"
    )]
    Context {
        /// Name of the workload.
        workload: String,
        /// Number of the request.
        request: u64,
        /// Prompt tokens, the conversation so far included.
        input: u64,
        /// Output tokens.
        output: u32,
        /// Sum of both.
        needed: u64,
        /// The model's context length.
        available: usize,
    },
    /// The prompts of a workload are impossible.
    #[error("no prompts can be made for workload `{workload}`: {reason}")]
    Prompt {
        /// Name of the workload.
        workload: String,
        /// Why.
        reason: String,
    },
    /// The source holds fewer prompts than asked.
    #[error("workload `{workload}` asks for {wanted} requests, but its source holds {available} that can be used")]
    TooFew {
        /// Name of the workload.
        workload: String,
        /// As many as were asked for.
        wanted: u64,
        /// As many as there are.
        available: u64,
    },
    /// A plan could not be written or read.
    #[error("cannot {action} `{}`", path.display())]
    File {
        /// The plan.
        path: PathBuf,
        /// `write` or `read`.
        action: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// A workload file is wrong.
    #[error("{}{place}: {reason}", path.display())]
    WorkloadFile {
        /// The file.
        path: PathBuf,
        /// `:LINE:COLUMN`, where known.
        place: String,
        /// What is wrong, beginning with the field.
        reason: String,
    },
    /// A plan is damaged or contradicts itself.
    #[error("`{}`, line {line}: {reason}", path.display())]
    Line {
        /// The plan.
        path: PathBuf,
        /// The line, counted from 1.
        line: u64,
        /// What is wrong with it.
        reason: String,
    },
    /// A data set is damaged, or is none of its kind.
    #[error("`{}`, line {line}: {reason}", path.display())]
    Data {
        /// The data set.
        path: PathBuf,
        /// The line, counted from 1.
        line: u64,
        /// What is wrong with it.
        reason: String,
        /// What to do, where it is not to correct the line.
        hint: Option<&'static str>,
    },
    /// The tokenizer failed.
    #[error("the tokenizer cannot encode the prompts of a workload")]
    Tokenizer(#[source] ModelError),
}

impl UserError for PlanError {
    fn exit(&self) -> Exit {
        match self {
            Self::UnknownWorkload { .. } | Self::Value { .. } | Self::Contradiction { .. } => Exit::Usage,
            Self::Context { .. }
            | Self::Prompt { .. }
            | Self::TooFew { .. }
            | Self::File { .. }
            | Self::WorkloadFile { .. }
            | Self::Line { .. }
            | Self::Data { .. } => Exit::Input,
            Self::Tokenizer(error) => error.exit(),
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::UnknownWorkload { .. } => Some(format!("the workloads are {}", crate::workloads::listed())),
            Self::Value { .. } => None,
            Self::Contradiction { hint, .. } => Some((*hint).into()),
            Self::Context { .. } => {
                Some("choose a model with a longer context, or a workload with fewer tokens".into())
            }
            Self::Prompt { .. } => {
                Some("check that the tokenizer belongs to the model, or choose another workload".into())
            }
            Self::TooFew { available: 0, .. } => {
                Some("check the file and the rules by which prompts are chosen".into())
            }
            Self::TooFew { available, .. } => Some(format!("ask for fewer: `--num-prompts {available}`")),
            Self::File { action: "write", .. } => {
                Some("free some space there, or choose another folder with `--output`".into())
            }
            Self::File { source, .. } => FileError::of(source).map(|error| error.hint().into()),
            Self::WorkloadFile { .. } => Some(
                "`sagellm-benchmark plan show short` prints one to begin with; \
                 `sagellm-benchmark schema workload.schema.json` lists all fields"
                    .into(),
            ),
            Self::Line { .. } => Some("write the plan again with `sagellm-benchmark plan write`".into()),
            Self::Data { hint: Some(hint), .. } => Some((*hint).into()),
            Self::Data { .. } => Some("correct the line, or check that the file is the data set that was named".into()),
            Self::Tokenizer(error) => error.hint(),
        }
    }
}

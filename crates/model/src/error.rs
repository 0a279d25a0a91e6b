//! Why a model cannot be used.

use std::io;
use std::path::{Path, PathBuf};

use sagellm_core::{Exit, UserError};

/// Why a model cannot be used. Every one ends the program with [`Exit::Input`].
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ModelError {
    /// The name leads to nothing.
    #[error("Model path invalid: {what}")]
    NotFound {
        /// What was looked for, and where.
        what: String,
        /// What to write instead.
        hint: String,
    },
    /// `synthetic:` with a name that is no preset.
    #[error("there is no synthetic model `{name}`")]
    UnknownPreset {
        /// The name after the colon.
        name: String,
    },
    /// The operating system refused to read.
    #[error("cannot read `{}`", path.display())]
    Read {
        /// The file or folder.
        path: PathBuf,
        /// Its reason.
        source: io::Error,
    },
    /// The operating system refused to write (into the cache).
    #[error("cannot write `{}`", path.display())]
    Write {
        /// The file or folder.
        path: PathBuf,
        /// Its reason.
        source: io::Error,
    },
    /// A file that the model needs is not in its folder.
    #[error("`{}` has no {what}", folder.display())]
    Missing {
        /// The folder.
        folder: PathBuf,
        /// The file or files, in words.
        what: String,
        /// What to do.
        hint: String,
    },
    /// A file breaks the rules of its own format.
    #[error("`{}` is damaged: {what}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Which rule, and where.
        what: String,
    },
    /// A file asks for what this program does not do.
    #[error("`{}`: {what}", path.display())]
    Unsupported {
        /// The file.
        path: PathBuf,
        /// What it asks for, by name.
        what: String,
        /// What is supported.
        hint: String,
    },
    /// A setting of the model is missing or makes no sense.
    #[error("`{}`: {what}", path.display())]
    Config {
        /// The file.
        path: PathBuf,
        /// Which key, and what is wrong with it.
        what: String,
    },
    /// The weights do not hold a tensor that the config calls for, or hold it in another shape or type.
    #[error("`{}`: tensor `{name}` {what}", path.display())]
    Tensor {
        /// The weight file or folder.
        path: PathBuf,
        /// The tensor.
        name: String,
        /// What is wrong with it.
        what: String,
    },
    /// The tokenizer's files cannot be used, or it cannot encode a text.
    #[error("`{}`: {what}", path.display())]
    Tokenizer {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
    /// The hub does not hand out the model.
    #[error("{what}")]
    Hub {
        /// What went wrong, with the address.
        what: String,
        /// What to do.
        hint: String,
    },
}

impl ModelError {
    pub(crate) fn read(path: &Path, source: io::Error) -> Self {
        Self::Read { path: path.into(), source }
    }

    pub(crate) fn write(path: &Path, source: io::Error) -> Self {
        Self::Write { path: path.into(), source }
    }

    pub(crate) fn damaged(path: &Path, what: impl Into<String>) -> Self {
        Self::Damaged { path: path.into(), what: what.into() }
    }

    pub(crate) fn config(path: &Path, what: impl Into<String>) -> Self {
        Self::Config { path: path.into(), what: what.into() }
    }

    pub(crate) fn tokenizer(path: &Path, what: impl Into<String>) -> Self {
        Self::Tokenizer { path: path.into(), what: what.into() }
    }

    pub(crate) fn tensor(path: &Path, name: &str, what: impl Into<String>) -> Self {
        Self::Tensor { path: path.into(), name: name.into(), what: what.into() }
    }

    pub(crate) fn unsupported(path: &Path, what: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::Unsupported { path: path.into(), what: what.into(), hint: hint.into() }
    }
}

impl UserError for ModelError {
    fn exit(&self) -> Exit {
        Exit::Input
    }

    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::NotFound { hint, .. }
            | Self::Missing { hint, .. }
            | Self::Unsupported { hint, .. }
            | Self::Hub { hint, .. } => hint.clone(),
            Self::UnknownPreset { .. } => {
                let names: Vec<_> =
                    crate::synthetic::PRESETS.iter().map(|name| format!("`synthetic:{name}`")).collect();
                format!("use {}", names.join(", "))
            }
            Self::Read { .. } => "check that the file exists and that you may read it".into(),
            Self::Write { .. } => "check the free space and your rights there, or set HF_HOME to another folder".into(),
            Self::Damaged { .. } => "the file is incomplete or altered: download or convert it again".into(),
            Self::Config { .. } => "compare the file with the one published with the model".into(),
            Self::Tensor { .. } => {
                "the weights and the config belong to different models, or a file is incomplete".into()
            }
            Self::Tokenizer { .. } => "use the tokenizer files published with the model".into(),
        })
    }
}

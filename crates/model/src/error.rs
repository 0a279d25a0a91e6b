//! Why a model cannot be used.

use std::borrow::Cow;
use std::io;
use std::path::{Path, PathBuf};

use sagellm_core::file::FileError;
use sagellm_core::{Exit, UserError};

/// Why a model cannot be used. Every one ends the program with [`Exit::Input`].
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ModelError {
    /// The name leads to nothing.
    #[error("Model path invalid: {}", plain(what))]
    NotFound {
        /// What was looked for, and where.
        what: String,
        /// What to write instead.
        hint: String,
    },
    /// `synthetic:` with a name that is no preset.
    #[error("there is no synthetic model `{}`", plain(name))]
    UnknownPreset {
        /// The name after the colon.
        name: String,
    },
    /// The operating system refused to read.
    #[error("cannot read `{}`", shown(path))]
    Read {
        /// The file or folder.
        path: PathBuf,
        /// Its reason.
        source: io::Error,
    },
    /// The operating system refused to write (into the cache).
    #[error("cannot write `{}`", shown(path))]
    Write {
        /// The file or folder.
        path: PathBuf,
        /// Its reason.
        source: io::Error,
    },
    /// A file that the model needs is not in its folder.
    #[error("`{}` has no {}", shown(folder), plain(what))]
    Missing {
        /// The folder.
        folder: PathBuf,
        /// The file or files, in words.
        what: String,
        /// What to do.
        hint: String,
    },
    /// A file breaks the rules of its own format.
    #[error("`{}` is damaged: {}", shown(path), plain(what))]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Which rule, and where.
        what: String,
    },
    /// A file asks for what this program does not do.
    #[error("`{}`: {}", shown(path), plain(what))]
    Unsupported {
        /// The file.
        path: PathBuf,
        /// What it asks for, by name.
        what: String,
        /// What is supported.
        hint: String,
    },
    /// A setting of the model is missing or makes no sense.
    #[error("`{}`: {}", shown(path), plain(what))]
    Config {
        /// The file.
        path: PathBuf,
        /// Which key, and what is wrong with it.
        what: String,
    },
    /// The weights do not hold a tensor that the config calls for, or hold it in another shape or type.
    #[error("`{}`: tensor `{}` {}", shown(path), plain(name), plain(what))]
    Tensor {
        /// The weight file or folder.
        path: PathBuf,
        /// The tensor.
        name: String,
        /// What is wrong with it.
        what: String,
    },
    /// The tokenizer's files cannot be used, or it cannot encode a text.
    #[error("`{}`: {}", shown(path), plain(what))]
    Tokenizer {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
    /// The hub does not hand out the model.
    #[error("{}", plain(what))]
    Hub {
        /// What went wrong, with the address.
        what: String,
        /// What to do.
        hint: String,
    },
}

/// Text that may come from a file or a server, made fit for one line of a terminal: control characters are written out, and
/// what is long is cut.
fn plain(text: &str) -> Cow<'_, str> {
    const LONGEST: usize = 600;
    if text.len() <= LONGEST && !text.contains(char::is_control) {
        return Cow::Borrowed(text);
    }
    let mut plain = String::new();
    for character in text.chars() {
        if plain.len() > LONGEST {
            plain.push('…');
            break;
        }
        if character.is_control() {
            plain.extend(character.escape_default());
        } else {
            plain.push(character);
        }
    }
    Cow::Owned(plain)
}

fn shown(path: &Path) -> String {
    plain(&path.to_string_lossy()).into_owned()
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

    /// A tensor of a type (by name) that is not computed with.
    pub(crate) fn dtype(path: &Path, name: &str, dtype: &str) -> Self {
        let what = format!("tensor `{name}` is stored as {dtype}, which is not supported");
        let hint = match path.extension().is_some_and(|ending| ending == "gguf") {
            true => {
                "use a file of the model in Q4_K_M, Q5_K_M, Q6_K or Q8_0; supported are F32, F16, BF16, Q4_0, Q4_1, Q5_0, \
                 Q5_1, Q8_0, Q4_K, Q5_K and Q6_K"
            }
            false => "use weights in F32, F16 or BF16, or a GGUF file of the model",
        };
        Self::unsupported(path, what, hint)
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
            | Self::Hub { hint, .. } => plain(hint).into_owned(),
            Self::UnknownPreset { .. } => {
                let names: Vec<_> =
                    crate::synthetic::PRESETS.iter().map(|name| format!("`synthetic:{name}`")).collect();
                format!("use {}", names.join(", "))
            }
            Self::Read { source, .. } => match FileError::of(source) {
                Some(error) => error.hint().into(),
                None => "check that the file exists and that you may read it".into(),
            },
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_of_a_file_cannot_reach_the_terminal_raw() {
        let error = ModelError::damaged(Path::new("m\n.gguf"), "the key `\u{1b}[2J\n` occurs twice");
        assert_eq!(error.to_string(), "`m\\n.gguf` is damaged: the key `\\u{1b}[2J\\n` occurs twice");
        let long = ModelError::tensor(Path::new("m"), &"x".repeat(1 << 20), "is missing").to_string();
        assert!(long.len() < 1000 && long.ends_with("…` is missing"), "{long}");
    }
}

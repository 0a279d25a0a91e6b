//! From what a person writes after `--model` to a model.

use std::path::Path;

use sagellm_core::{ModelInfo, Progress};

use crate::hub::Want;
use crate::tokenizer::files;
use crate::{Checkpoint, Config, HubOptions, ModelError, Tokenizer, folder, gguf, hub, synthetic};

/// Settings of [`open`].
#[derive(Clone, Debug, Default)]
pub struct OpenOptions {
    /// Where a model by hub id is found.
    pub hub: HubOptions,
}

/// A model, ready to be computed with. Its weights are read when they are asked for.
#[derive(Clone, Debug)]
pub struct Model {
    /// What is known of it. `dtype` is left to the engine, which decides what it computes with.
    pub info: ModelInfo,
    /// Its shape.
    pub config: Config,
    /// Its tokenizer.
    pub tokenizer: Tokenizer,
    /// Its weights.
    pub checkpoint: Checkpoint,
    /// The Jinja template that turns chat messages into a prompt, where it has one.
    pub chat_template: Option<String>,
}

/// Opens the model that `spec` names: `synthetic:<preset>`, a `.gguf` file, a Hugging Face folder, or a hub id such as
/// `gpt2` or `facebook/opt-125m`, which is looked for in the local cache and then downloaded. `progress` sees downloads.
///
/// # Errors
/// When there is no such model, when a file of it cannot be read or breaks its format, and when it asks for something that
/// is not implemented.
pub fn open(spec: &str, options: &OpenOptions, progress: &dyn Progress) -> Result<Model, ModelError> {
    if let Some(preset) = spec.strip_prefix("synthetic:") {
        return open_synthetic(spec, preset);
    }
    let path = Path::new(spec);
    if path.is_dir() {
        return folder::open(spec, path);
    }
    if path.exists() {
        return open_file(spec, path);
    }
    if hub::is_id(spec) {
        return folder::open(spec, &hub::locate(spec, Want::Model, &options.hub, progress)?);
    }
    Err(not_found(spec))
}

/// Opens only the tokenizer of what `spec` names: as [`open`], or a `tokenizer.json`. Weights are neither needed nor
/// fetched.
///
/// # Errors
/// As [`open`].
pub fn open_tokenizer(spec: &str, options: &OpenOptions, progress: &dyn Progress) -> Result<Tokenizer, ModelError> {
    if let Some(preset) = spec.strip_prefix("synthetic:") {
        let config = synthetic::config(preset).ok_or_else(|| ModelError::UnknownPreset { name: preset.into() })?;
        return Ok(Tokenizer::bytes(config.vocab_size));
    }
    let path = Path::new(spec);
    if path.is_dir() {
        return files::read_alone(path);
    }
    if path.exists() {
        return if gguf::recognize(path)? { gguf::open_tokenizer(path) } else { files::read_whole(path) };
    }
    if hub::is_id(spec) {
        return files::read_alone(&hub::locate(spec, Want::Tokenizer, &options.hub, progress)?);
    }
    Err(not_found(spec))
}

fn not_found(spec: &str) -> ModelError {
    ModelError::NotFound {
        what: format!("there is no file or folder `{spec}`, and it is no hub id"),
        hint: "use a folder, a .gguf file, a hub id such as `sshleifer/tiny-gpt2`, or `synthetic:gpt2`".into(),
    }
}

fn open_synthetic(spec: &str, preset: &str) -> Result<Model, ModelError> {
    let config = synthetic::config(preset).ok_or_else(|| ModelError::UnknownPreset { name: preset.into() })?;
    let (checkpoint, fingerprint) = synthetic::checkpoint(preset, &config);
    let tokenizer = Tokenizer::bytes(config.vocab_size);
    let info = ModelInfo {
        name: spec.into(),
        path: None,
        architecture: Some(config.architecture.name().into()),
        parameters: Some(checkpoint.parameters()),
        dtype: None,
        context_length: u32::try_from(config.context_length).ok(),
        synthetic: true,
        fingerprint: Some(fingerprint),
    };
    Ok(Model { info, config, tokenizer, checkpoint, chat_template: None })
}

fn open_file(spec: &str, path: &Path) -> Result<Model, ModelError> {
    if gguf::recognize(path)? {
        return gguf::open(spec, path);
    }
    if path.extension().is_some_and(|ending| ending == "gguf") {
        return Err(ModelError::damaged(path, "it does not begin with `GGUF`"));
    }
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let hint =
        format!("name the folder that the file lies in, such as `--model {}`, or a .gguf file", folder.display());
    Err(ModelError::unsupported(path, "a single file other than GGUF is not a whole model", hint))
}

impl Model {
    /// Refuses a tokenizer that gives ids for which the model has no embedding.
    pub(crate) fn checked(self, path: &Path) -> Result<Self, ModelError> {
        let (tokens, rows) = (self.tokenizer.vocab_size(), self.config.vocab_size);
        if tokens > rows {
            let what = format!("the tokenizer has {tokens} tokens, but the model's embedding only {rows} rows");
            return Err(ModelError::tokenizer(path, what));
        }
        Ok(self)
    }
}

//! `*.gguf`: one file with config, tokenizer and (often quantized) weights.

mod names;
pub(crate) mod reader;
mod tokenizer;

use std::io::Read;
use std::path::Path;

use sagellm_core::{ModelInfo, file};

use crate::map::MappedFile;
use crate::{Checkpoint, Model, ModelError, Tokenizer, config};

/// Whether the file at `path` says that it is GGUF.
pub(crate) fn recognize(path: &Path) -> Result<bool, ModelError> {
    let mut magic = Vec::new();
    let file = file::open(path).map_err(|error| ModelError::read(path, error))?;
    file.take(4).read_to_end(&mut magic).map_err(|error| ModelError::read(path, error))?;
    Ok(magic == reader::MAGIC)
}

/// Reads only the tokenizer in the file at `path`.
pub(crate) fn open_tokenizer(path: &Path) -> Result<Tokenizer, ModelError> {
    let file = MappedFile::open(path)?;
    tokenizer::read(&reader::read(path, &file)?.metadata)
}

/// Opens the model in the file at `path`; `name` is how the person called it.
pub(crate) fn open(name: &str, path: &Path) -> Result<Model, ModelError> {
    let mapped = MappedFile::open(path)?;
    let file = reader::read(path, &mapped)?;
    let config = config::gguf::parse(&file)?;
    let tokenizer = tokenizer::read(&file.metadata)?;
    let chat_template = file.metadata.text("tokenizer.chat_template")?.map(str::to_owned);
    let size = path.metadata().map_err(|error| ModelError::read(path, error))?.len();
    let file_name = path.file_name().unwrap_or_default().as_encoded_bytes();
    let fingerprint = crate::fingerprint([file_name, &size.to_le_bytes(), file.header]);
    let checkpoint = Checkpoint::assemble(path, &config, file.tensors, |weight| {
        let names = names::name(config.architecture, &weight.name).into_iter().collect();
        (names, names::layout(config.architecture, config.head_dim, weight))
    })?;
    let info = ModelInfo {
        name: name.into(),
        path: Some(path.display().to_string()),
        architecture: Some(config.architecture.name().into()),
        parameters: Some(checkpoint.parameters()),
        dtype: None,
        context_length: u32::try_from(config.context_length).ok(),
        synthetic: false,
        fingerprint: Some(fingerprint),
    };
    Model { info, config, tokenizer, checkpoint, chat_template }.checked(path)
}

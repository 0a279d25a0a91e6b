//! A Hugging Face folder: `config.json`, a tokenizer, and weights in one of three forms.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use sagellm_core::ModelInfo;
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::checkpoint::Layout;
use crate::json::{self, Settings};
use crate::{Checkpoint, Config, Model, ModelError, config, safetensors, tokenizer};

/// The weight files of a folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct WeightFiles {
    format: Format,
    files: Vec<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    Safetensors,
    Pickle,
}

/// Finds the weights of `folder`, `None` when it has none. Of several forms, the first is taken: one `safetensors` file,
/// shards of it, one pickle, shards of it.
pub(crate) fn weight_files(folder: &Path) -> Result<Option<WeightFiles>, ModelError> {
    let forms = [(Format::Safetensors, "model.safetensors"), (Format::Pickle, "pytorch_model.bin")];
    for (format, name) in forms {
        if folder.join(name).is_file() {
            return Ok(Some(WeightFiles { format, files: vec![folder.join(name)] }));
        }
        let index = folder.join(format!("{name}.index.json"));
        if index.is_file() {
            let files = safetensors::shards(&index)?.into_iter().map(|name| folder.join(name)).collect();
            return Ok(Some(WeightFiles { format, files }));
        }
    }
    Ok(None)
}

/// What keeps `folder` from being a model, in words; `None` when all its files are there.
pub(crate) fn lacking(folder: &Path) -> Result<Option<String>, ModelError> {
    if !folder.join("config.json").is_file() {
        return Ok(Some("`config.json`".into()));
    }
    if !tokenizer::files::present(folder) {
        return Ok(Some("tokenizer".into()));
    }
    match weight_files(folder)? {
        None => Ok(Some("weights: neither `model.safetensors` nor `pytorch_model.bin`".into())),
        Some(WeightFiles { files, .. }) => {
            Ok(files.iter().find(|file| !file.is_file()).map(|file| format!("weight file `{}`", file_name(file))))
        }
    }
}

/// Opens the model in `folder`; `name` is how the person called it.
pub(crate) fn open(name: &str, folder: &Path) -> Result<Model, ModelError> {
    let config_path = folder.join("config.json");
    if !config_path.is_file() {
        return Err(no_config(folder));
    }
    let settings = Settings::read(&config_path)?;
    let generation = Settings::read_optional(&folder.join("generation_config.json"))?;
    let config = config::hugging_face::parse(&settings, generation.as_ref())?;
    let Some(weights) = weight_files(folder)? else {
        let what = "weights: neither `model.safetensors` nor `pytorch_model.bin` nor an index of shards".into();
        let hint = "download the weights too, or save the model with `save_pretrained`".into();
        return Err(ModelError::Missing { folder: folder.into(), what, hint });
    };
    let (checkpoint, fingerprint) = read_weights(folder, &config, &weights, &json::read(&config_path)?)?;
    let tokenizer = tokenizer::files::read(folder, config.architecture)?;
    let info = ModelInfo {
        name: name.into(),
        path: Some(folder.display().to_string()),
        architecture: Some(config.architecture.name().into()),
        parameters: Some(checkpoint.parameters()),
        dtype: None,
        context_length: u32::try_from(config.context_length).ok(),
        synthetic: false,
        fingerprint: Some(fingerprint),
    };
    Model { info, config, tokenizer, checkpoint, chat_template: chat_template(folder)? }.checked(folder)
}

fn no_config(folder: &Path) -> ModelError {
    let gguf = std::fs::read_dir(folder).ok().and_then(|entries| {
        entries.flatten().map(|entry| entry.path()).find(|path| path.extension().is_some_and(|ending| ending == "gguf"))
    });
    let hint = match gguf {
        Some(file) => format!("to use the GGUF file in it, name the file: `--model {}`", file.display()),
        None => "name a folder as saved by `save_pretrained`, with config.json, a tokenizer and weights".into(),
    };
    ModelError::Missing { folder: folder.into(), what: "`config.json`".into(), hint }
}

fn read_weights(
    folder: &Path,
    config: &Config,
    weights: &WeightFiles,
    config_bytes: &[u8],
) -> Result<(Checkpoint, String), ModelError> {
    let mut hash = Sha256::new();
    hash.update(config_bytes);
    let mut found = HashMap::new();
    for file in &weights.files {
        let (tensors, header) = match weights.format {
            Format::Safetensors => safetensors::read(file)?,
            Format::Pickle => crate::pickle::read(file)?,
        };
        let size = file.metadata().map_err(|error| ModelError::read(file, error))?.len();
        hash.update(file_name(file));
        hash.update(size.to_le_bytes());
        hash.update(&header);
        found.extend(tensors);
    }
    let path = match &weights.files[..] {
        [file] => file,
        _ => folder,
    };
    let checkpoint = Checkpoint::assemble(path, config, found, |weight| {
        let names = ["", "model.", "transformer."].map(|prefix| format!("{prefix}{}", weight.name)).to_vec();
        (names, Layout::of_hugging_face(config, weight))
    })?;
    Ok((checkpoint, crate::hex(&hash.finalize())))
}

fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// The template that turns messages into a prompt: a file of its own, or a setting of the tokenizer (where a list of named
/// ones may stand; the one called `default` counts).
fn chat_template(folder: &Path) -> Result<Option<String>, ModelError> {
    let file = folder.join("chat_template.jinja");
    if file.is_file() {
        let bytes = json::read(&file)?;
        return match String::from_utf8(bytes) {
            Ok(template) => Ok(Some(template)),
            Err(_) => Err(ModelError::damaged(&file, "it is not UTF-8")),
        };
    }
    let settings = Settings::read_optional(&folder.join("tokenizer_config.json"))?;
    let template = settings.as_ref().and_then(|settings| settings.get("chat_template"));
    Ok(match template {
        Some(Value::Array(named)) => named
            .iter()
            .find(|entry| entry.get("name").and_then(Value::as_str) == Some("default"))
            .and_then(|entry| entry.get("template"))
            .and_then(Value::as_str)
            .map(str::to_owned),
        Some(value) => value.as_str().map(str::to_owned),
        None => None,
    })
}

//! The tokenizer of a Hugging Face folder: `tokenizer.json`, else `vocab.json` and `merges.txt`.

use std::path::Path;

use serde_json::Value;
use tokenizers::AddedToken;
use tokenizers::models::bpe::Vocab;
use tokenizers::pre_tokenizers::byte_level::ByteLevel;

use super::Tokenizer;
use super::bpe::Parts;
use crate::json::{self, Settings};
use crate::{Architecture, ModelError};

/// Whether the folder has what [`read`] needs.
pub(crate) fn present(folder: &Path) -> bool {
    let has = |name: &str| folder.join(name).is_file();
    has("tokenizer.json") || (has("vocab.json") && has("merges.txt"))
}

/// Reads the tokenizer of a model of `architecture`.
pub(crate) fn read(folder: &Path, architecture: Architecture) -> Result<Tokenizer, ModelError> {
    if folder.join("tokenizer.json").is_file() {
        return read_whole(&folder.join("tokenizer.json"));
    }
    if present(folder) {
        return read_parts(folder, architecture);
    }
    let hint = if folder.join("tokenizer.model").is_file() {
        "a SentencePiece `tokenizer.model` alone is not read: save the tokenizer with transformers, which writes `tokenizer.json`"
    } else {
        "add the `tokenizer.json` published with the model"
    };
    let what = "tokenizer: neither `tokenizer.json` nor `vocab.json` with `merges.txt`".into();
    Err(ModelError::Missing { folder: folder.into(), what, hint: hint.into() })
}

/// Reads the tokenizer of a folder that need not hold a model.
pub(crate) fn read_alone(folder: &Path) -> Result<Tokenizer, ModelError> {
    let opt = match Settings::read_optional(&folder.join("config.json"))? {
        Some(config) => config.get("model_type").and_then(Value::as_str) == Some("opt"),
        None => false,
    };
    read(folder, if opt { Architecture::Opt } else { Architecture::Gpt2 })
}

/// Reads a `tokenizer.json`.
pub(crate) fn read_whole(path: &Path) -> Result<Tokenizer, ModelError> {
    let bytes = json::read(path)?;
    // The parser checks most of a file, but indexes past its own buffers on merges of tokens that the vocabulary lacks.
    let parsed = sagellm_core::caught(|| tokenizers::Tokenizer::from_bytes(&bytes));
    let tokenizer = match parsed {
        Ok(Ok(tokenizer)) => tokenizer,
        Ok(Err(error)) => return Err(ModelError::tokenizer(path, format!("it is no tokenizer: {error}"))),
        Err(_) => return Err(ModelError::tokenizer(path, "it contradicts itself")),
    };
    Tokenizer::trained(tokenizer, Vec::new(), path, crate::fingerprint([&bytes]))
}

fn read_parts(folder: &Path, architecture: Architecture) -> Result<Tokenizer, ModelError> {
    let (vocab_path, merges_path) = (folder.join("vocab.json"), folder.join("merges.txt"));
    let (vocab_bytes, merges_bytes) = (json::read(&vocab_path)?, json::read(&merges_path)?);
    let vocab: Vocab = serde_json::from_slice(&vocab_bytes)
        .map_err(|error| ModelError::tokenizer(&vocab_path, format!("it is no map of tokens to ids: {error}")))?;
    let merges = parse_merges(&merges_path, &merges_bytes)?;

    let settings = Settings::read_optional(&folder.join("tokenizer_config.json"))?;
    let special = Settings::read_optional(&folder.join("special_tokens_map.json"))?;
    let token = |key: &str| {
        let value = [&settings, &special].into_iter().flatten().find_map(|settings| settings.get(key))?;
        value.as_str().or_else(|| value.get("content").and_then(Value::as_str)).map(str::to_owned)
    };
    let opt = architecture == Architecture::Opt;
    let beginning = token("bos_token").unwrap_or_else(|| if opt { "</s>" } else { "<|endoftext|>" }.into());
    let mut names = vec![beginning.clone()];
    names.extend(["eos_token", "unk_token", "pad_token"].into_iter().filter_map(token));
    let added = names.into_iter().map(|name| AddedToken::from(name, true)).collect();

    let flag = |key: &str, default: bool| match &settings {
        Some(settings) => settings.bool_or(key, default),
        None => Ok(default),
    };
    let pre_tokenizer = ByteLevel::new(flag("add_prefix_space", false)?, true, true);
    let tokenizer = Parts { vocab, merges, added }.build_byte_level(&merges_path, pre_tokenizer, false)?;
    let prefix =
        if flag("add_bos_token", opt)? { tokenizer.token_to_id(&beginning).into_iter().collect() } else { vec![] };
    Tokenizer::trained(tokenizer, prefix, &vocab_path, crate::fingerprint([&vocab_bytes, &merges_bytes]))
}

fn parse_merges(path: &Path, bytes: &[u8]) -> Result<Vec<(String, String)>, ModelError> {
    let text = std::str::from_utf8(bytes).map_err(|_| ModelError::tokenizer(path, "it is not UTF-8"))?;
    let mut merges = Vec::new();
    for (line, content) in text.lines().enumerate() {
        if content.is_empty() || (line == 0 && content.starts_with("#version")) {
            continue;
        }
        match content.split_once(' ') {
            Some((left, right)) if !left.is_empty() && !right.is_empty() && !right.contains(' ') => {
                merges.push((left.to_owned(), right.to_owned()));
            }
            _ => return Err(ModelError::tokenizer(path, format!("line {} is not two tokens", line + 1))),
        }
    }
    Ok(merges)
}

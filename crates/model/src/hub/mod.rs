//! Models by hub id: the local Hugging Face cache first, then a download into it.

mod cache;
mod client;
mod options;
mod transfer;

use std::path::{Path, PathBuf};

use sagellm_core::Progress;

pub use options::HubOptions;

use crate::json::Settings;
use crate::tokenizer::files;
use crate::{ModelError, config, folder, safetensors};
use cache::Repository;
use client::Client;

/// Small files that are fetched when the model has them.
const SETTINGS: [&str; 6] = [
    "config.json",
    "generation_config.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "chat_template.jinja",
    "tokenizer.json",
];
/// What stands for `tokenizer.json` in older models.
const OLD_TOKENIZER: [&str; 2] = ["vocab.json", "merges.txt"];
/// Single weight files, the better first; `.index.json` behind one names its shards.
const WEIGHTS: [&str; 2] = ["model.safetensors", "pytorch_model.bin"];

/// Whether `spec` has the form of a hub id: `name` or `organisation/name`.
pub(crate) fn is_id(spec: &str) -> bool {
    let part = |part: &str| {
        !part.is_empty()
            && part.len() <= 96
            && !part.starts_with(['.', '-'])
            && !part.ends_with(['.', '-'])
            && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
    };
    let file = [".gguf", ".bin", ".safetensors", ".json"].iter().any(|ending| spec.ends_with(ending));
    !file && !spec.contains("--") && !spec.contains("..") && spec.split('/').count() <= 2 && spec.split('/').all(part)
}

/// How much of a model is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Want {
    /// All that it takes to compute it.
    Model,
    /// Only its tokenizer and the small files beside it.
    Tokenizer,
}

impl Want {
    /// What `folder` lacks of it, in words.
    fn lacking(self, folder: &Path) -> Result<Option<String>, ModelError> {
        match self {
            Self::Model => folder::lacking(folder),
            Self::Tokenizer => Ok((!files::present(folder)).then(|| "tokenizer".into())),
        }
    }
}

/// The folder that holds what is wanted of the model `id`, after downloading it where the cache lacks it.
pub(crate) fn locate(
    id: &str,
    want: Want,
    options: &HubOptions,
    progress: &dyn Progress,
) -> Result<PathBuf, ModelError> {
    let repository = Repository::new(&options.cache, id);
    if let Some(snapshot) = repository.snapshot()?
        && want.lacking(&snapshot)?.is_none()
    {
        return Ok(snapshot);
    }
    if options.offline {
        return Err(ModelError::NotFound {
            what: format!(
                "`{id}` is no file or folder, is not complete in the cache `{}`, and HF_HUB_OFFLINE forbids a download",
                options.cache.display()
            ),
            hint: "unset HF_HUB_OFFLINE, name a model folder, or use `synthetic:gpt2`, which needs no file".into(),
        });
    }
    download(&Client::new(id, options), want, &repository, progress)
}

fn download(
    client: &Client<'_>,
    want: Want,
    repository: &Repository,
    progress: &dyn Progress,
) -> Result<PathBuf, ModelError> {
    let listing = client.listing()?;
    let snapshot = repository.snapshot_of(&listing.commit);
    let fetch = |file: &str| transfer::fetch(client, repository, &listing.commit, file, progress);
    for file in SETTINGS.into_iter().filter(|file| listing.has(file)) {
        fetch(file)?;
    }
    if !listing.has("tokenizer.json") {
        for file in OLD_TOKENIZER.into_iter().filter(|file| listing.has(file)) {
            fetch(file)?;
        }
    }
    // A model that cannot be computed is refused before its weights are fetched.
    let config = snapshot.join("config.json");
    if want == Want::Model && config.is_file() {
        config::hugging_face::parse(&Settings::read(&config)?, None)?;
        fetch_weights(client, &listing, &snapshot, fetch)?;
    }
    match want.lacking(&snapshot)? {
        None => {
            repository.set_main(&listing.commit)?;
            Ok(snapshot)
        }
        Some(lacking) => Err(ModelError::Hub {
            what: format!("the model `{}` on {} has no {lacking}", client.id(), client.endpoint()),
            hint: listing.hint(),
        }),
    }
}

fn fetch_weights(
    client: &Client<'_>,
    listing: &client::Listing,
    snapshot: &Path,
    fetch: impl Fn(&str) -> Result<(), ModelError>,
) -> Result<(), ModelError> {
    for file in WEIGHTS {
        if listing.has(file) {
            return fetch(file);
        }
        let index = format!("{file}.index.json");
        if listing.has(&index) {
            fetch(&index)?;
            return safetensors::shards(&snapshot.join(&index))?.iter().try_for_each(|shard| fetch(shard));
        }
    }
    Err(ModelError::Hub {
        what: format!(
            "the model `{}` on {} has no weights in a form that can be read (model.safetensors, pytorch_model.bin)",
            client.id(),
            client.endpoint()
        ),
        hint: listing.hint(),
    })
}

#[cfg(test)]
mod tests {
    use super::is_id;

    #[test]
    fn hub_ids_are_told_from_paths() {
        for id in ["gpt2", "sshleifer/tiny-gpt2", "facebook/opt-125m", "Qwen/Qwen2.5-0.5B-Instruct", "a_b/c.d"] {
            assert!(is_id(id), "{id}");
        }
        for path in ["", "/models/gpt2", "./gpt2", "../gpt2", "a/b/c", "gpt2/", "model.gguf", "my model", "a--b", "~/x"]
        {
            assert!(!is_id(path), "{path}");
        }
    }
}

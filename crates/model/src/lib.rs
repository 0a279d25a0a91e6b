//! A model on disk: name to files (folder, Hugging Face cache, hub, GGUF, synthetic), config, tokenizer, weights.
//!
//! [`open`] takes what a person writes after `--model` and gives a [`Model`]. Whatever the files were, the tensors of its
//! [`Checkpoint`] carry the same names and orientation, and exactly those that its [`Config`] calls for are there.

mod bytes;
mod checkpoint;
mod config;
mod dequant;
mod error;
mod folder;
mod gguf;
mod hub;
mod json;
mod map;
mod open;
mod pickle;
mod safetensors;
mod shrink;
mod synthetic;
mod tokenizer;
mod weights;

use sha2::{Digest, Sha256};

pub use bytes::Bytes;
pub use checkpoint::{Checkpoint, Dtype, Tensor};
pub use config::{Activation, Architecture, Config, RopeScaling};
pub use error::ModelError;
pub use hub::HubOptions;
pub use open::{Model, OpenOptions, open, open_tokenizer};
pub use tokenizer::Tokenizer;

#[cfg(target_endian = "big")]
compile_error!("weight files are little-endian and are read in place");

/// SHA-256 over several byte strings, each preceded by its length.
fn fingerprint<B: AsRef<[u8]>>(parts: impl IntoIterator<Item = B>) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.as_ref().len() as u64).to_le_bytes());
        hash.update(part);
    }
    hex(&hash.finalize())
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

//! Text to token ids and back.

pub(crate) mod bpe;
pub(crate) mod files;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::ModelError;

/// A model's tokenizer. Copies are cheap and share everything.
#[derive(Clone)]
pub struct Tokenizer(Arc<Inner>);

struct Inner {
    kind: Kind,
    /// Ids put before a text, beside what the tokenizer's own post-processor adds.
    prefix: Vec<u32>,
    vocab_size: usize,
    fingerprint: String,
    path: PathBuf,
}

enum Kind {
    Trained(Box<tokenizers::Tokenizer>),
    /// One token per byte; greater ids have no text.
    Bytes,
}

impl Tokenizer {
    /// One token per byte, for a model of `vocab_size` tokens.
    pub fn bytes(vocab_size: usize) -> Self {
        Self(Arc::new(Inner {
            kind: Kind::Bytes,
            prefix: Vec::new(),
            vocab_size,
            fingerprint: crate::fingerprint([b"bytes 1"]),
            path: "synthetic".into(),
        }))
    }

    /// Wraps a tokenizer read from the file at `path`; `prefix` goes before every text that gets special tokens.
    pub(crate) fn trained(
        mut tokenizer: tokenizers::Tokenizer,
        prefix: Vec<u32>,
        path: &Path,
        fingerprint: String,
    ) -> Result<Self, ModelError> {
        // A benchmark decides itself how long a prompt is.
        tokenizer.with_padding(None);
        tokenizer.with_truncation(None).map_err(|error| ModelError::tokenizer(path, error.to_string()))?;
        let vocab_size = vocab_size(&tokenizer);
        if vocab_size == 0 {
            return Err(ModelError::tokenizer(path, "the tokenizer has no tokens"));
        }
        let kind = Kind::Trained(Box::new(tokenizer));
        Ok(Self(Arc::new(Inner { kind, prefix, vocab_size, fingerprint, path: path.into() })))
    }

    /// The ids of `text`; with `add_special` also what the model expects around a text, such as a token of its beginning.
    ///
    /// # Errors
    /// When the tokenizer has no way to write some part of the text.
    pub fn encode(&self, text: &str, add_special: bool) -> Result<Vec<u32>, ModelError> {
        let mut ids = if add_special { self.0.prefix.clone() } else { Vec::new() };
        match &self.0.kind {
            Kind::Bytes => ids.extend(text.bytes().map(u32::from)),
            Kind::Trained(tokenizer) => {
                let encoding = tokenizer
                    .encode_fast(text, add_special)
                    .map_err(|error| ModelError::tokenizer(&self.0.path, format!("cannot encode a text: {error}")))?;
                ids.extend_from_slice(encoding.get_ids());
            }
        }
        Ok(ids)
    }

    /// The text of `ids`, special tokens included. An id that stands for no text is written as `<id>` by a synthetic model's
    /// tokenizer; bytes that are no UTF-8 become U+FFFD.
    pub fn decode(&self, ids: &[u32]) -> String {
        match &self.0.kind {
            Kind::Bytes => decode_bytes(ids),
            // A decoder fails on broken rules of its own, never on ids. The ids are then what can be shown.
            Kind::Trained(tokenizer) => {
                tokenizer.decode(ids, false).unwrap_or_else(|_| ids.iter().map(|id| format!("<{id}>")).collect())
            }
        }
    }

    /// One more than the greatest id.
    pub fn vocab_size(&self) -> usize {
        self.0.vocab_size
    }

    /// SHA-256 of what the tokenizer was made from.
    pub fn fingerprint(&self) -> String {
        self.0.fingerprint.clone()
    }
}

impl fmt::Debug for Tokenizer {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Tokenizer({} tokens, {})", self.0.vocab_size, self.0.path.display())
    }
}

/// One more than the greatest id.
fn vocab_size(tokenizer: &tokenizers::Tokenizer) -> usize {
    let tokens = tokenizer.get_vocab_size(true);
    let is_token = |id: usize| u32::try_from(id).is_ok_and(|id| tokenizer.id_to_token(id).is_some());
    if (0..tokens).all(is_token) {
        // As many as there are: no other id is left. To look into the whole table would copy it.
        return tokens;
    }
    tokenizer.get_vocab(true).into_values().max().map_or(0, |id| id as usize + 1)
}

fn decode_bytes(ids: &[u32]) -> String {
    let mut bytes = Vec::with_capacity(ids.len());
    for &id in ids {
        match u8::try_from(id) {
            Ok(byte) => bytes.push(byte),
            Err(_) => bytes.extend(format!("<{id}>").bytes()),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_byte_is_a_token() {
        let tokenizer = Tokenizer::bytes(512);
        let text = "Plain text, é.";
        let ids = tokenizer.encode(text, true).unwrap();
        assert_eq!(ids.len(), text.len());
        assert_eq!(tokenizer.decode(&ids), text);
        assert_eq!(tokenizer.decode(&[104, 105, 300, 33]), "hi<300>!");
        assert_eq!(tokenizer.vocab_size(), 512);
    }
}

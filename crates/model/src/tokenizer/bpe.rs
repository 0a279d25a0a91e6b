//! Byte-level BPE built from a vocabulary and merges: GPT-2's kind, under whatever pre-tokenizer.

use std::path::Path;

use tokenizers::models::bpe::{BPE, Vocab};
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::{AddedToken, PreTokenizerWrapper};

use crate::ModelError;

/// Vocabulary and merges, in order of priority.
pub(crate) struct Parts {
    pub(crate) vocab: Vocab,
    pub(crate) merges: Vec<(String, String)>,
    /// Tokens that are found in a text before anything else.
    pub(crate) added: Vec<AddedToken>,
}

impl Parts {
    /// Checks what the builder takes for granted.
    fn check(&self, path: &Path) -> Result<(), ModelError> {
        let mut both = String::new();
        for (left, right) in &self.merges {
            both.clear();
            both.push_str(left);
            both.push_str(right);
            for token in [left, right, &both] {
                if !self.vocab.contains_key(token) {
                    let what =
                        format!("the merge of `{left}` and `{right}` needs the token `{token}`, which is missing");
                    return Err(ModelError::tokenizer(path, what));
                }
            }
        }
        Ok(())
    }

    /// Builds the tokenizer; `configure` sets what differs between kinds of BPE.
    pub(crate) fn build(
        self,
        path: &Path,
        configure: impl FnOnce(tokenizers::models::bpe::BpeBuilder) -> tokenizers::models::bpe::BpeBuilder,
    ) -> Result<tokenizers::Tokenizer, ModelError> {
        let wrong = |error: tokenizers::Error| ModelError::tokenizer(path, error.to_string());
        self.check(path)?;
        let builder = BPE::builder().vocab_and_merges(self.vocab, self.merges);
        let mut tokenizer = tokenizers::Tokenizer::new(configure(builder).build().map_err(wrong)?);
        tokenizer.add_tokens(self.added).map_err(wrong)?;
        Ok(tokenizer)
    }

    /// Builds a byte-level tokenizer that cuts a text by `pre_tokenizer` first.
    pub(crate) fn build_byte_level(
        self,
        path: &Path,
        pre_tokenizer: impl Into<PreTokenizerWrapper>,
        ignore_merges: bool,
    ) -> Result<tokenizers::Tokenizer, ModelError> {
        let mut tokenizer = self.build(path, |builder| builder.ignore_merges(ignore_merges))?;
        tokenizer.with_pre_tokenizer(Some(pre_tokenizer));
        tokenizer.with_decoder(Some(ByteLevel::default()));
        Ok(tokenizer)
    }
}

//! The tokenizer that GGUF metadata describes.

use tokenizers::decoders::byte_fallback::ByteFallback;
use tokenizers::decoders::fuse::Fuse;
use tokenizers::decoders::sequence::Sequence as Decoders;
use tokenizers::decoders::strip::Strip;
use tokenizers::models::bpe::Vocab;
use tokenizers::normalizers::{NFC, NormalizerWrapper, Prepend, Replace, Sequence as Normalizers};
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::pre_tokenizers::digits::Digits;
use tokenizers::pre_tokenizers::sequence::Sequence;
use tokenizers::pre_tokenizers::split::{Split, SplitPattern};
use tokenizers::{AddedToken, PreTokenizerWrapper, SplitDelimiterBehavior};

use super::reader::{Metadata, Value};
use crate::tokenizer::Tokenizer;
use crate::tokenizer::bpe::Parts;
use crate::{ModelError, fingerprint};

/// `tokenizer.ggml.token_type`.
const NORMAL: i64 = 1;
const UNKNOWN: i64 = 2;
const CONTROL: i64 = 3;
const USER_DEFINED: i64 = 4;

const MERGES: &str = "tokenizer.ggml.merges";

/// What stands for a space inside SentencePiece tokens.
const SPACE: &str = "\u{2581}";

/// Builds the tokenizer.
pub(crate) fn read(metadata: &Metadata<'_>) -> Result<Tokenizer, ModelError> {
    let tokens = Tokens::read(metadata)?;
    let model = metadata.text("tokenizer.ggml.model")?.ok_or_else(|| metadata.missing("tokenizer.ggml.model"))?;
    let pre = metadata.text("tokenizer.ggml.pre")?.unwrap_or("default");
    let (tokenizer, bos_by_default) = match model {
        "gpt2" => (byte_level(metadata, &tokens, pre)?, pre == "llama-bpe"),
        "llama" => (sentence_piece(metadata, &tokens)?, true),
        other => {
            let what = format!("the tokenizer `{other}` is not supported");
            return Err(ModelError::unsupported(
                metadata.path(),
                what,
                "supported are gpt2 (BPE) and llama (SentencePiece)",
            ));
        }
    };
    if metadata.flag("tokenizer.ggml.add_eos_token")? == Some(true) {
        let what = "`tokenizer.ggml.add_eos_token` = true is not supported";
        return Err(ModelError::unsupported(metadata.path(), what, "a text to be continued must not be ended"));
    }
    let mut prefix = Vec::new();
    if metadata.flag("tokenizer.ggml.add_bos_token")?.unwrap_or(bos_by_default) {
        let key = "tokenizer.ggml.bos_token_id";
        prefix.push(metadata.token_id(key)?.ok_or_else(|| metadata.missing(key))?);
    }
    let merges = if metadata.get(MERGES).is_some() { texts(metadata, MERGES)? } else { Vec::new() };
    let identity = fingerprint([model, pre].into_iter().chain(tokens.texts).chain(merges));
    Tokenizer::trained(tokenizer, prefix, metadata.path(), identity)
}

struct Tokens<'a> {
    texts: Vec<&'a str>,
    kinds: Vec<i64>,
}

impl<'a> Tokens<'a> {
    fn read(metadata: &Metadata<'a>) -> Result<Self, ModelError> {
        let texts = texts(metadata, "tokenizer.ggml.tokens")?;
        let key = "tokenizer.ggml.token_type";
        let kinds = match metadata.array(key)? {
            None => vec![NORMAL; texts.len()],
            Some(items) if items.len() == texts.len() => items
                .iter()
                .map(|item| match item {
                    Value::Integer(kind) => Ok(*kind),
                    _ => Err(metadata.error(key, "must hold whole numbers")),
                })
                .collect::<Result<_, _>>()?,
            Some(_) => return Err(metadata.error(key, "is not as long as `tokenizer.ggml.tokens`")),
        };
        Ok(Self { texts, kinds })
    }

    fn vocab(&self) -> Vocab {
        (0..).zip(&self.texts).map(|(id, text)| ((*text).to_owned(), id)).collect()
    }

    /// Tokens that are found in a text before anything else.
    fn added(&self) -> Vec<AddedToken> {
        let special = |kind: i64| kind == CONTROL || kind == UNKNOWN;
        self.texts
            .iter()
            .zip(&self.kinds)
            .filter(|(text, kind)| (special(**kind) || **kind == USER_DEFINED) && !text.is_empty())
            .map(|(text, kind)| AddedToken::from(*text, special(*kind)).normalized(false))
            .collect()
    }

    fn unknown(&self) -> Option<&'a str> {
        self.kinds.iter().position(|kind| *kind == UNKNOWN).map(|at| self.texts[at])
    }
}

fn texts<'a>(metadata: &Metadata<'a>, key: &str) -> Result<Vec<&'a str>, ModelError> {
    let items = metadata.array(key)?.ok_or_else(|| metadata.missing(key))?;
    items
        .iter()
        .map(|item| match item {
            Value::Text(text) => Ok(*text),
            _ => Err(metadata.error(key, "must hold texts")),
        })
        .collect()
}

fn byte_level(metadata: &Metadata<'_>, tokens: &Tokens<'_>, pre: &str) -> Result<tokenizers::Tokenizer, ModelError> {
    let mut merges = Vec::new();
    for merge in texts(metadata, MERGES)? {
        // Only the first character may be a space that is part of a token.
        match merge.char_indices().skip(1).find(|(_, char)| *char == ' ') {
            Some((at, _)) => merges.push((merge[..at].to_owned(), merge[at + 1..].to_owned())),
            None => return Err(metadata.error(MERGES, &format!("holds `{merge}`, which is not two tokens"))),
        }
    }
    let parts = Parts { vocab: tokens.vocab(), merges, added: tokens.added() };
    let cut = pre_tokenizer(metadata, pre)?;
    let mut tokenizer = parts.build_byte_level(metadata.path(), cut, pre == "llama-bpe")?;
    if pre == "qwen2" {
        tokenizer
            .with_normalizer(Some(NFC))
            .map_err(|error| ModelError::tokenizer(metadata.path(), error.to_string()))?;
    }
    Ok(tokenizer)
}

/// How a text is cut before merging. The expressions are those of the models' own tokenizers, which llama.cpp names.
fn pre_tokenizer(metadata: &Metadata<'_>, pre: &str) -> Result<PreTokenizerWrapper, ModelError> {
    const GPT2: &str = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+";
    const LLAMA3: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
    const QWEN2: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
    let bytes = |use_regex| PreTokenizerWrapper::from(ByteLevel::new(false, false, use_regex));
    let split = |expression: &str| {
        Split::new(SplitPattern::Regex(expression.into()), SplitDelimiterBehavior::Isolated, false)
            .map(PreTokenizerWrapper::from)
            .map_err(|error| ModelError::tokenizer(metadata.path(), error.to_string()))
    };
    let steps = match pre {
        "gpt-2" => vec![bytes(true)],
        "smollm" => vec![Digits::new(true).into(), bytes(true)],
        "llama-bpe" => vec![split(LLAMA3)?, bytes(false)],
        "qwen2" => vec![split(QWEN2)?, bytes(false)],
        "default" => {
            vec![
                split(r"[\p{P}\$\+<=>\^~\|]+")?,
                split(GPT2)?,
                split(r"\p{N}+")?,
                split("[0-9][0-9][0-9]")?,
                bytes(false),
            ]
        }
        other => {
            let what = format!("the pre-tokenizer `{other}` is not supported");
            let hint = "supported are gpt-2, smollm, llama-bpe, qwen2 and default";
            return Err(ModelError::unsupported(metadata.path(), what, hint));
        }
    };
    Ok(Sequence::new(steps).into())
}

/// SentencePiece's BPE keeps a score per token and no merges. Merging the pair whose result has the best score is merging by
/// this list: all ways to make a token of two, best result first.
fn sentence_piece(metadata: &Metadata<'_>, tokens: &Tokens<'_>) -> Result<tokenizers::Tokenizer, ModelError> {
    let key = "tokenizer.ggml.scores";
    let scores = metadata.array(key)?.ok_or_else(|| metadata.missing(key))?;
    if scores.len() != tokens.texts.len() {
        return Err(metadata.error(key, "is not as long as `tokenizer.ggml.tokens`"));
    }
    let vocab = tokens.vocab();
    let mut merges = Vec::new();
    for ((text, kind), score) in tokens.texts.iter().zip(&tokens.kinds).zip(scores) {
        let Value::Float(score) = score else { return Err(metadata.error(key, "must hold numbers")) };
        // Longer tokens do not occur; a hostile one would make the splits quadratic in its length.
        if *kind != NORMAL || text.len() > 1024 {
            continue;
        }
        for (at, _) in text.char_indices().skip(1) {
            let (left, right) = text.split_at(at);
            if let (Some(left_id), Some(right_id)) = (vocab.get(left), vocab.get(right)) {
                merges.push((*score, (*left_id, *right_id), (left.to_owned(), right.to_owned())));
            }
        }
    }
    merges.sort_by(|(score, ids, _), (other, other_ids, _)| other.total_cmp(score).then(ids.cmp(other_ids)));
    let merges = merges.into_iter().map(|(.., pair)| pair).collect();

    let wrong = |error: tokenizers::Error| ModelError::tokenizer(metadata.path(), error.to_string());
    let parts = Parts { vocab, merges, added: tokens.added() };
    let mut tokenizer = parts.build(metadata.path(), |builder| {
        let builder = builder.byte_fallback(true).fuse_unk(true);
        match tokens.unknown() {
            Some(unknown) => builder.unk_token(unknown.to_owned()),
            None => builder,
        }
    })?;
    let prefix_space = metadata.flag("tokenizer.ggml.add_space_prefix")?.unwrap_or(true);
    let mut normalizers: Vec<NormalizerWrapper> = vec![];
    if prefix_space {
        normalizers.push(Prepend::new(SPACE.into()).into());
    }
    normalizers.push(Replace::new(" ", SPACE).map_err(wrong)?.into());
    tokenizer.with_normalizer(Some(Normalizers::new(normalizers))).map_err(wrong)?;
    let mut decoders =
        vec![Replace::new(SPACE, " ").map_err(wrong)?.into(), ByteFallback::default().into(), Fuse::default().into()];
    if prefix_space {
        decoders.push(Strip::new(' ', 1, 0).into());
    }
    tokenizer.with_decoder(Some(Decoders::new(decoders)));
    Ok(tokenizer)
}

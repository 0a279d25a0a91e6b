//! Readable English of exactly the stated number of tokens.
//!
//! Every prompt has that many tokens, special ones included, as ids and when its text is encoded again. No two begin alike,
//! but for the beginning that all measured prompts share.

use sagellm_core::{Prompt, Source};
use sagellm_model::Tokenizer;

use super::corpus::{Names, PREFACE, Passage};
use super::fit::{Fitted, fit};
use super::{Draft, Drafts};
use crate::{PlanError, Spec, random};

/// A tokenizer may put this many tokens behind a text, or join this many across a boundary, before a common beginning is
/// given up.
const BOUNDARY: usize = 8;

/// Makes the prompts of one workload.
pub(crate) struct Text<'a> {
    workload: String,
    seed: u64,
    input_tokens: u32,
    output_tokens: u32,
    tokenizer: &'a Tokenizer,
    names: Names,
    /// What all measured prompts begin with.
    shared: Option<Shared>,
}

impl Drafts for Text<'_> {
    fn draft(&self, index: usize) -> Result<Draft, PlanError> {
        Ok(Draft::one(self.measured(index)?.into(), self.output_tokens))
    }

    fn distinct_after(&self) -> Option<usize> {
        Some(self.shared.as_ref().map_or(0, |shared| shared.ids.len()))
    }
}

impl From<Fitted> for Prompt {
    fn from(fitted: Fitted) -> Self {
        Self::tokenized(fitted.text, fitted.ids)
    }
}

/// The beginning that measured prompts have in common.
struct Shared {
    text: String,
    /// Its tokens, as many as the workload states.
    ids: Vec<u32>,
}

impl<'a> Text<'a> {
    /// The prompts of a workload whose source is [`Source::Text`].
    pub(super) fn of(spec: &Spec, tokenizer: &'a Tokenizer) -> Result<Self, PlanError> {
        let Source::Text { input_tokens, output_tokens, shared_prefix_tokens: shared } = spec.source else {
            return Err(PlanError::Prompt { workload: spec.name.clone(), reason: "its source is another".into() });
        };
        if shared > 0 && shared >= input_tokens {
            let reason = format!("{shared} of {input_tokens} tokens cannot be shared");
            return Err(PlanError::Prompt { workload: spec.name.clone(), reason });
        }
        let mut text = Self { output_tokens, ..Self::plain_only(&spec.name, spec.seed, input_tokens, tokenizer) };
        if shared > 0 {
            text.shared = Some(text.find_shared(shared as usize)?);
        }
        Ok(text)
    }

    /// Prompts of `input_tokens` for a workload of any source: what its warm-ups are made of.
    pub(crate) fn plain_only(workload: &str, seed: u64, input_tokens: u32, tokenizer: &'a Tokenizer) -> Self {
        let names = Names::new(&mut random::stream(seed, &[workload, "names"], 0));
        Self { workload: workload.to_owned(), seed, input_tokens, output_tokens: 0, tokenizer, names, shared: None }
    }

    fn measured(&self, index: usize) -> Result<Fitted, PlanError> {
        let Some(shared) = &self.shared else { return self.plain(index) };
        let prompt = self.prompt(index, Some(&shared.text))?;
        if prompt.ids.starts_with(&shared.ids) { Ok(prompt) } else { Err(self.impossible("the beginnings differ")) }
    }

    /// The prompt at `index` without the shared beginning.
    pub(crate) fn plain(&self, index: usize) -> Result<Fitted, PlanError> {
        self.prompt(index, None)
    }

    fn prompt(&self, index: usize, before: Option<&str>) -> Result<Fitted, PlanError> {
        let random = random::stream(self.seed, &[&self.workload, "prompt"], index as u64);
        let passage = Passage::about(&self.names.get(index), random);
        let passage = match before {
            Some(text) => passage.below(text),
            None => passage,
        };
        self.fitted(self.input_tokens as usize, passage)
    }

    /// A text whose tokens stay the same whatever prompt follows it, at least as many of them as are to be shared.
    fn find_shared(&self, tokens: usize) -> Result<Shared, PlanError> {
        for more in 0..=BOUNDARY {
            let random = random::stream(self.seed, &[&self.workload, "shared"], 0);
            let passage = Passage::beginning(PREFACE, random);
            let Fitted { text, ids } = self.fitted(tokens + more, passage)?;
            let follow = |name: &str| {
                let sentence = Passage::beginning(name, random::stream(0, &[], 0)).below(&text).sentence();
                self.tokenizer.encode(&sentence, true).map_err(PlanError::Tokenizer)
            };
            let (one, other) = (follow("Ada")?, follow("Zoe")?);
            if ids.len() >= tokens && one.starts_with(&ids[..tokens]) && other.starts_with(&ids[..tokens]) {
                return Ok(Shared { text, ids: ids[..tokens].to_vec() });
            }
        }
        Err(self.impossible(&format!("no text keeps {tokens} tokens whatever follows it")))
    }

    fn fitted(&self, tokens: usize, mut passage: Passage) -> Result<Fitted, PlanError> {
        match fit(self.tokenizer, tokens, || passage.sentence()).map_err(PlanError::Tokenizer)? {
            Some(fitted) => Ok(fitted),
            None => Err(self.impossible(&format!("the tokenizer has no text of exactly {tokens} tokens"))),
        }
    }

    fn impossible(&self, reason: &str) -> PlanError {
        PlanError::Prompt { workload: self.workload.clone(), reason: reason.into() }
    }
}

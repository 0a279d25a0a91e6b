//! First messages of the ShareGPT conversations.
//!
//! The conversations are put into an order that the seed draws, and taken while they keep the rules, until there are enough.
//! vLLM does the same with an order of Python's own: the set of those that keep the rules is equal, the order is not.

use std::fmt;
use std::path::Path;

use rayon::iter::{IntoParallelIterator, ParallelIterator};
use sagellm_core::{DataFile, Prompt, SharegptRules, Source};
use sagellm_model::Tokenizer;
use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, SeqAccess, Visitor};

use super::file::{DataReader, wrong, wrong_json};
use super::limit::LimitedJson;
use super::{Draft, Drafts};
use crate::{PlanError, Spec, random};

/// Conversations that are encoded at a time, by all processors together.
const ROUND: usize = 1024;
/// Of these at least, so that all processors have something to do.
const LEAST_ROUND: usize = 64;

/// The conversations that were taken.
pub(crate) struct Sharegpt {
    data: DataFile,
    taken: Vec<Taken>,
}

struct Taken {
    prompt: String,
    ids: Vec<u32>,
    output: u32,
}

impl Sharegpt {
    pub(super) fn of(spec: &Spec, tokenizer: &Tokenizer, context_length: usize) -> Result<Self, PlanError> {
        let Source::Sharegpt { path, rules, output_tokens } = &spec.source else {
            return Err(PlanError::Prompt { workload: spec.name.clone(), reason: "its source is another".into() });
        };
        if *output_tokens == Some(0) {
            return Err(PlanError::Value { option: "output_tokens", value: "0".into(), range: "at least 1" });
        }
        let rules = Rules { whose: *rules, forced: *output_tokens, context_length };
        let (mut talks, data) = read(path, rules.whose)?;
        random::shuffle(&mut talks, &mut random::stream(spec.seed, &[&spec.name, "sharegpt"], 0));
        let wanted = spec.num_prompts.map_or(usize::MAX, |count| count as usize);
        let mut taken = Vec::new();
        let mut rest = talks.into_iter();
        while taken.len() < wanted {
            // Not many more than will be wanted: most are kept.
            let round = (wanted - taken.len()).clamp(LEAST_ROUND, ROUND);
            let round: Vec<Talk> = rest.by_ref().take(round).collect();
            if round.is_empty() {
                break;
            }
            taken.extend(rules.encode(round, tokenizer).map_err(PlanError::Tokenizer)?);
        }
        taken.truncate(wanted);
        Ok(Self { data, taken })
    }
}

impl Drafts for Sharegpt {
    fn available(&self) -> Option<usize> {
        Some(self.taken.len())
    }

    fn draft(&self, index: usize) -> Result<Draft, PlanError> {
        let Taken { prompt, ids, output } = &self.taken[index];
        Ok(Draft::one(Prompt::tokenized(prompt.clone(), ids.clone()), *output))
    }

    fn data(&self) -> Option<DataFile> {
        Some(self.data.clone())
    }
}

/// Which conversations are kept.
struct Rules {
    whose: SharegptRules,
    /// Output tokens instead of those of the answer.
    forced: Option<u32>,
    context_length: usize,
}

impl Rules {
    /// vLLM: 4 tokens each way at least (a forced output is not asked), a prompt of at most 1024, both at most 2048.
    /// SGLang: 2 tokens each way at least, both at most the context.
    fn keep(&self, prompt: usize, output: usize) -> bool {
        match self.whose {
            SharegptRules::Vllm => {
                prompt >= 4 && (self.forced.is_some() || output >= 4) && prompt <= 1024 && prompt + output <= 2048
            }
            SharegptRules::Sglang => prompt >= 2 && output >= 2 && prompt + output <= self.context_length,
        }
    }

    /// Those that are kept, in order.
    fn encode(&self, talks: Vec<Talk>, tokenizer: &Tokenizer) -> Result<Vec<Taken>, sagellm_model::ModelError> {
        talks.into_par_iter().filter_map(|talk| self.take(talk, tokenizer)).collect()
    }

    fn take(&self, talk: Talk, tokenizer: &Tokenizer) -> Option<Result<Taken, sagellm_model::ModelError>> {
        let encode = || {
            let ids = tokenizer.encode(&talk.prompt, true)?;
            let output = match self.forced {
                Some(tokens) => tokens as usize,
                // A prompt that is dropped for itself needs no answer.
                None if !self.keep(ids.len(), 4) => return Ok(None),
                None => tokenizer.encode(&talk.answer, true)?.len(),
            };
            Ok(self.keep(ids.len(), output).then_some((ids, output)))
        };
        match encode() {
            Ok(kept) => kept.map(|(ids, output)| Ok(Taken { prompt: talk.prompt, ids, output: output as u32 })),
            Err(error) => Some(Err(error)),
        }
    }
}

/// The first two messages of a conversation.
struct Talk {
    prompt: String,
    answer: String,
}

/// Reads the file once; what is not needed is dropped as it is read.
fn read(path: &Path, whose: SharegptRules) -> Result<(Vec<Talk>, DataFile), PlanError> {
    let mut reader = DataReader::open(path)?;
    let entries = {
        let mut text = LimitedJson::new(reader.text());
        let mut parser = serde_json::Deserializer::from_reader(&mut text);
        let entries = parser.deserialize_seq(Entries).and_then(|entries| parser.end().map(|()| entries));
        entries.map_err(|error| match text.exceeded() {
            Some((line, limit)) => wrong(path, line, limit),
            None => wrong_json(path, None, &error),
        })?
    };
    let talks: Vec<Talk> = entries
        .into_iter()
        .filter_map(|entry| {
            let sglang = || entry.conversation.filter(|_| whose == SharegptRules::Sglang);
            entry.conversations.or_else(sglang)?.0
        })
        .collect();
    if talks.is_empty() {
        return Err(wrong(path, 1, "it holds no conversation of two messages"));
    }
    Ok((talks, reader.finish()?))
}

#[derive(Deserialize)]
struct Entry {
    #[serde(default)]
    conversations: Option<FirstTwo>,
    /// SGLang reads this name too.
    #[serde(default)]
    conversation: Option<FirstTwo>,
}

#[derive(Deserialize)]
struct Message {
    value: String,
}

/// The list of conversations, kept while they can be used.
struct Entries;

impl<'de> Visitor<'de> for Entries {
    type Value = Vec<Entry>;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("a list of conversations")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = list.next_element::<Entry>()? {
            let usable = |talk: &Option<FirstTwo>| talk.as_ref().is_some_and(|talk| talk.0.is_some());
            if usable(&entry.conversations) || usable(&entry.conversation) {
                entries.push(entry);
            }
        }
        Ok(entries)
    }
}

/// The first two messages of a list, when it has so many.
struct FirstTwo(Option<Talk>);

impl<'de> Deserialize<'de> for FirstTwo {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Messages;
        impl<'de> Visitor<'de> for Messages {
            type Value = FirstTwo;

            fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str("a list of messages")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<FirstTwo, A::Error> {
                let Some(prompt) = list.next_element::<Message>()? else { return Ok(FirstTwo(None)) };
                let Some(answer) = list.next_element::<Message>()? else { return Ok(FirstTwo(None)) };
                while list.next_element::<IgnoredAny>()?.is_some() {}
                Ok(FirstTwo(Some(Talk { prompt: prompt.value, answer: answer.value })))
            }
        }
        from.deserialize_seq(Messages)
    }
}

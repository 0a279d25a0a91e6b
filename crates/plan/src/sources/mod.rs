//! Where prompts come from. One file per kind of [`Source`].

mod corpus;
mod custom;
mod file;
mod fit;
mod lexicon;
mod limit;
mod multi_turn;
mod nonce;
mod random;
mod sharegpt;
mod text;
mod trace;

use sagellm_core::{DataFile, Nanos, Prompt, Source};
use sagellm_model::Tokenizer;

use crate::{PlanError, Spec};
use lexicon::Lexicon;
pub use nonce::Nonce;
pub(crate) use text::Text;

/// One request, or the turns of one conversation, before it is known when it is due.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Draft {
    /// At least one.
    pub(crate) turns: Vec<Turn>,
    /// When it is due, where the source knows: nanoseconds from the start.
    pub(crate) at: Option<Nanos>,
}

/// One message and the length of the answer to it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Turn {
    pub(crate) prompt: Prompt,
    pub(crate) max_tokens: u32,
    /// From the end of the answer before to this message.
    pub(crate) think: Nanos,
}

impl Draft {
    /// A single request.
    pub(crate) fn one(prompt: Prompt, max_tokens: u32) -> Self {
        Self { turns: vec![Turn { prompt, max_tokens, think: 0 }], at: None }
    }
}

/// The prompts of one workload. Each is a pure function of its index, so that several threads can make them.
pub(crate) trait Drafts: Sync {
    /// How many there are; `None` when as many can be made as are wanted.
    fn available(&self) -> Option<usize> {
        None
    }

    /// Turns of each.
    fn turns(&self) -> usize {
        1
    }

    /// The measured one at `index`.
    fn draft(&self, index: usize) -> Result<Draft, PlanError>;

    /// The file that prompts are taken from.
    fn data(&self) -> Option<DataFile> {
        None
    }

    /// Prompts that are this long already may not go on alike; `None` where prompts may be equal.
    fn distinct_after(&self) -> Option<usize> {
        None
    }
}

/// Opens the source of a workload.
pub(crate) fn open<'a>(
    spec: &Spec,
    tokenizer: &'a Tokenizer,
    context_length: usize,
) -> Result<Box<dyn Drafts + 'a>, PlanError> {
    Ok(match spec.source {
        Source::Text { .. } => Box::new(Text::of(spec, tokenizer)?),
        Source::Random { .. } | Source::PrefixRepetition { .. } | Source::SharedPrefix { .. } => {
            Box::new(random::Words::of(spec, tokenizer)?)
        }
        Source::Sharegpt { .. } => Box::new(sharegpt::Sharegpt::of(spec, tokenizer, context_length)?),
        Source::Custom { .. } => Box::new(custom::Custom::of(spec, tokenizer)?),
        Source::MultiTurn { .. } => Box::new(multi_turn::MultiTurn::of(spec, tokenizer)?),
        Source::Trace { .. } => Box::new(trace::Trace::of(spec, tokenizer)?),
    })
}

/// The words that random prompts are made of.
fn lexicon(spec: &Spec, tokenizer: &Tokenizer) -> Result<Lexicon, PlanError> {
    let found = Lexicon::of(tokenizer).map_err(PlanError::Tokenizer)?;
    let reason = || "the tokenizer has no words that keep apart in a row".into();
    found.ok_or_else(|| PlanError::Prompt { workload: spec.name.clone(), reason: reason() })
}

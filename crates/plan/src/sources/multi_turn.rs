//! Conversations: readable messages of exact lengths, whose later turns carry the answers that were given.
//!
//! For completions and the engine a turn is written out plainly, `user: …` and `assistant:` behind it, and the lengths are
//! those of that text; what a chat template makes of the messages is a little longer. Later turns hold no special tokens,
//! because they continue a text.

use sagellm_core::{Message, Nanos, Prompt, Source};
use sagellm_model::{ModelError, Tokenizer};

use super::corpus::{Names, Passage};
use super::fit::fit;
use super::{Draft, Drafts, Turn};
use crate::portable::ln;
use crate::{PlanError, Spec, random};

/// Tries of a length beside the likely one: where a text is joined to its frame, tokens may merge.
const TRIES: [isize; 9] = [0, 1, -1, 2, -2, 3, -3, 4, -4];

/// Makes the conversations of one workload.
pub(crate) struct MultiTurn<'a> {
    workload: String,
    seed: u64,
    turns: usize,
    first_tokens: usize,
    turn_tokens: usize,
    output_tokens: u32,
    think_s: f64,
    tokenizer: &'a Tokenizer,
    names: Names,
}

impl<'a> MultiTurn<'a> {
    pub(super) fn of(spec: &Spec, tokenizer: &'a Tokenizer) -> Result<Self, PlanError> {
        let Source::MultiTurn { turns, first_tokens, turn_tokens, output_tokens, think_s } = spec.source else {
            return Err(PlanError::Prompt { workload: spec.name.clone(), reason: "its source is another".into() });
        };
        for (option, value) in [("turns", turns), ("output_tokens", output_tokens)] {
            if value == 0 {
                return Err(PlanError::Value { option, value: "0".into(), range: "at least 1" });
            }
        }
        if !(0.0..=1e6).contains(&think_s) {
            let range = "a number of seconds from 0 to 1e6";
            return Err(PlanError::Value { option: "--think", value: think_s.to_string(), range });
        }
        Ok(Self {
            workload: spec.name.clone(),
            seed: spec.seed,
            turns: turns as usize,
            first_tokens: first_tokens as usize,
            turn_tokens: turn_tokens as usize,
            output_tokens,
            think_s,
            tokenizer,
            names: Names::new(&mut random::stream(spec.seed, &[&spec.name, "names"], 0)),
        })
    }

    /// The turn number `nth` of all turns of the workload.
    fn turn(&self, nth: usize, first: bool) -> Result<Turn, PlanError> {
        let tokens = if first { self.first_tokens } else { self.turn_tokens };
        let frame = Frame { tokenizer: self.tokenizer, first };
        let mut random = random::stream(self.seed, &[&self.workload, "think"], nth as u64);
        let think = if first { 0.0 } else { -ln(random.unit()) * self.think_s };
        let prompt = self.message(nth, tokens, &frame).map_err(PlanError::Tokenizer)?;
        let Some(prompt) = prompt else {
            let reason =
                format!("the tokenizer has no message of exactly {tokens} tokens with `user:` and `assistant:`");
            return Err(PlanError::Prompt { workload: self.workload.clone(), reason });
        };
        Ok(Turn { prompt, max_tokens: self.output_tokens, think: (think * 1e9) as Nanos })
    }

    fn message(&self, nth: usize, tokens: usize, frame: &Frame<'_>) -> Result<Option<Prompt>, ModelError> {
        let bare = self.tokenizer.encode("It is so.", true)?.len();
        let overhead = frame.encode(&frame.around("It is so."))?.len() as isize - bare as isize;
        for aside in TRIES {
            let Ok(inner) = usize::try_from(tokens as isize - overhead + aside) else { continue };
            let random = random::stream(self.seed, &[&self.workload, "prompt"], nth as u64);
            let mut passage = Passage::about(&self.names.get(nth), random);
            let Some(fitted) = fit(self.tokenizer, inner, || passage.sentence())? else { continue };
            let text = frame.around(&fitted.text);
            let ids = frame.encode(&text)?;
            if ids.len() == tokens && !fitted.text.is_empty() {
                let messages = vec![Message { role: "user".into(), content: fitted.text }];
                return Ok(Some(Prompt { text, token_ids: Some(ids), messages }));
            }
        }
        Ok(None)
    }
}

/// How a message is written out.
struct Frame<'a> {
    tokenizer: &'a Tokenizer,
    first: bool,
}

impl Frame<'_> {
    fn around(&self, message: &str) -> String {
        let before = if self.first { "user: " } else { "\n\nuser: " };
        format!("{before}{message}\n\nassistant:")
    }

    fn encode(&self, text: &str) -> Result<Vec<u32>, ModelError> {
        self.tokenizer.encode(text, self.first)
    }
}

impl Drafts for MultiTurn<'_> {
    fn turns(&self) -> usize {
        self.turns
    }

    fn draft(&self, index: usize) -> Result<Draft, PlanError> {
        let turns = (0..self.turns).map(|turn| self.turn(index * self.turns + turn, turn == 0));
        Ok(Draft { turns: turns.collect::<Result<_, _>>()?, at: None })
    }
}

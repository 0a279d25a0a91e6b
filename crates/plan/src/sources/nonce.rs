//! A nonce before each prompt of a run, so that no prefix cache knows the prompt from an earlier run.

use std::collections::HashSet;
use std::sync::Arc;

use sagellm_core::{Exit, Failure, Plan, Prompt, Request};
use sagellm_model::Tokenizer;

use super::fit::Fitted;
use super::lexicon::Lexicon;
use crate::PlanError;
use crate::random;

/// Two runs have the same nonce with a probability of one in so many.
const MIN_NONCES: f64 = (1_u64 << 32) as f64;

/// Tokens more than the nonce that may be replaced when the text behind it does not keep its length.
const MAX_EXTRA: usize = 16;

/// The first tokens of all prompts of a run. They replace as many tokens of each prompt, whose length stays exact.
pub struct Nonce {
    tokenizer: Tokenizer,
    lexicon: Lexicon,
    seed: u64,
    begun: Fitted,
}

impl Nonce {
    /// Draws the nonce of a run from a seed that no other run has.
    ///
    /// # Errors
    /// When the tokenizer has no words to make it of.
    pub fn new(tokenizer: &Tokenizer, seed: u64) -> Result<Self, PlanError> {
        let lexicon = Lexicon::of(tokenizer).map_err(PlanError::Tokenizer)?.ok_or(PlanError::Contradiction {
            option: "--cache-bust",
            circumstance: "with this tokenizer, which has no words that keep apart in a row",
            hint: "use `--reset-cache`, or another `--seed` for each run",
        })?;
        let head = lexicon.head();
        let words = (MIN_NONCES.ln() / (lexicon.size() as f64).ln()).ceil() as usize;
        // The opening is drawn from fewer words than the others.
        let begun = lexicon.begin(head + words + 1, &mut random::stream(seed, &["nonce"], 0));
        Ok(Self { tokenizer: tokenizer.clone(), lexicon, seed, begun })
    }

    /// Puts the nonce before the prompts of a plan: of a conversation, before its first message. A request whose prompt is
    /// not tokenized, or too short for the nonce, becomes an error.
    pub fn apply_to(self, plan: Plan) -> Plan {
        let Plan { workload, mut warmups, requests } = plan;
        let nonce = Arc::new(self);
        let of_warmups = Arc::clone(&nonce);
        let warmups = move |place| warmups(place)?.map(|request| of_warmups.request(request)).transpose();
        let mut begun_sessions = HashSet::new();
        let requests = requests.map(move |request| {
            let request = request?;
            match request.session {
                Some(session) if !begun_sessions.insert(session) => Ok(request),
                _ => nonce.request(request),
            }
        });
        Plan { workload, warmups: Box::new(warmups), requests: Box::new(requests) }
    }

    fn request(&self, mut request: Request) -> Result<Request, Failure> {
        let id = request.id;
        request.prompt = self.prompt(&request.prompt).map_err(|why| {
            let message = format!("`--cache-bust` cannot be used with this workload: the prompt of request {id} {why}");
            Failure::new(Exit::Usage, message).with_hint("use `--reset-cache`, or another `--seed` for each run")
        })?;
        Ok(request)
    }

    /// The prompt with the nonce in place of its first tokens; else why there is none.
    fn prompt(&self, prompt: &Prompt) -> Result<Prompt, &'static str> {
        let ids = prompt.token_ids.as_ref().filter(|_| prompt.messages.is_empty()).ok_or("is not tokenized")?;
        let nonce = self.begun.ids.len();
        let inside = self.lexicon.inside(ids.len());
        if inside <= nonce {
            return Err("is not longer than the nonce");
        }
        for end in nonce..=inside.min(nonce + MAX_EXTRA) {
            let rest = self.tokenizer.decode(&ids[end..inside]);
            // The first token may be a part of a character, and some tokenizers drop the space before a word.
            for rest in [rest.clone(), format!(" {}", rest.trim_start())] {
                if let Some(found) = self.fitted(end, &rest, ids.len()) {
                    return Ok(found);
                }
            }
        }
        Err("has no text of its length that begins with the nonce")
    }

    /// The nonce, `rest`, and words between them for the number of tokens that is missing.
    fn fitted(&self, tokens: usize, rest: &str, target: usize) -> Option<Prompt> {
        let mut begun = self.begun.clone();
        let mut more = random::stream(self.seed, &["nonce", "more"], 0);
        self.lexicon.go_on(&mut begun, tokens, &mut more);
        for _ in 0..3 {
            let text = format!("{}{rest}", begun.text);
            let ids = self.tokenizer.encode(&text, true).ok()?;
            if ids.len() == target && ids.starts_with(&self.begun.ids) {
                return Some(Prompt::tokenized(text, ids));
            }
            let missing = target.checked_sub(ids.len()).filter(|missing| *missing > 0)?;
            let tokens = begun.ids.len() + missing;
            self.lexicon.go_on(&mut begun, tokens, &mut more);
        }
        None
    }
}

impl std::fmt::Debug for Nonce {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Nonce").field("text", &self.begun.text).finish_non_exhaustive()
    }
}

//! From a workload to its exact requests.

use std::collections::HashSet;

use sagellm_core::{Plan, Prompt, Request, Sampling, Workload};
use sagellm_model::Tokenizer;

use crate::corpus::{Names, PREFACE, Passage};
use crate::fit::{Fitted, fit};
use crate::{PlanError, arrival, random};

/// Output tokens of a warm-up at most: enough to touch every weight and buffer, without the time of a measured request.
const WARMUP_OUTPUT: u32 = 16;

/// A tokenizer may put this many tokens behind a text, or join this many across a boundary, before a common beginning is
/// given up.
const BOUNDARY: usize = 8;

/// Two prompts differ within this many tokens, a block of a KV cache, so that none finds the other's blocks.
const BLOCK: usize = 16;

/// How tokens are chosen, for all requests of a plan.
#[derive(Clone, Debug, PartialEq)]
pub struct Decoding {
    /// `--temperature`: 0 takes the most likely token.
    pub temperature: f32,
    /// `--top-p`: 1 keeps all tokens.
    pub top_p: f32,
    /// `--top-k`: 0 keeps all tokens.
    pub top_k: u32,
    /// Whether generation goes on past an end-of-sequence token, so that the length is the one asked for.
    pub ignore_eos: bool,
}

impl Default for Decoding {
    fn default() -> Self {
        Self { temperature: 0.0, top_p: 1.0, top_k: 0, ignore_eos: true }
    }
}

impl Decoding {
    fn check(&self) -> Result<(), PlanError> {
        let Self { temperature, top_p, .. } = *self;
        if !temperature.is_finite() || temperature < 0.0 {
            let range = "a number that is not below 0";
            return Err(PlanError::Value { option: "--temperature", value: temperature.to_string(), range });
        }
        if !(top_p > 0.0 && top_p <= 1.0) {
            return Err(PlanError::Value {
                option: "--top-p",
                value: top_p.to_string(),
                range: "above 0 and at most 1",
            });
        }
        Ok(())
    }
}

/// Makes the requests of a workload for a model with this tokenizer and context length.
///
/// Every prompt has exactly [`Workload::input_tokens`] tokens, special ones included, as ids and when its text is encoded
/// again. No two begin alike, but for the first [`Workload::shared_prefix_tokens`], which are the same in all measured
/// prompts. Warm-ups have prompts of their own and ask for 16 output tokens at most.
///
/// # Errors
/// [`PlanError::Value`] for impossible sampling, [`PlanError::Context`] when prompt and output exceed the model's context,
/// [`PlanError::Prompt`] when the tokenizer cannot make such prompts.
pub fn build(
    workload: &Workload,
    tokenizer: &Tokenizer,
    context_length: usize,
    decoding: &Decoding,
) -> Result<Plan, PlanError> {
    decoding.check()?;
    let (input, output) = (workload.input_tokens, workload.output_tokens);
    let needed = u64::from(input) + u64::from(output);
    if needed > context_length as u64 {
        let workload = workload.name.clone();
        return Err(PlanError::Context { workload, input, output, needed, available: context_length });
    }

    let count = workload.num_prompts as usize;
    let offsets = arrival::offsets(&workload.arrival, count, workload.seed);
    let prompts = Prompts::new(workload, tokenizer)?;
    let request = |id: usize, offset_ns, prompt: Fitted, max_tokens| Request {
        id: id as u64,
        offset_ns,
        session: None,
        prompt: Prompt { text: prompt.text, token_ids: Some(prompt.ids) },
        max_tokens,
        sampling: Sampling {
            temperature: decoding.temperature,
            top_p: decoding.top_p,
            top_k: decoding.top_k,
            // 32 bits, because not every server takes more.
            seed: random::stream(workload.seed, &["sampling"], id as u64).bits() >> 32,
        },
        ignore_eos: decoding.ignore_eos,
    };
    let mut requests = Vec::with_capacity(count);
    for (id, offset) in offsets.into_iter().enumerate() {
        requests.push(request(id, offset, prompts.measured(id)?, output));
    }
    let warmups = (count..count + workload.num_warmups as usize)
        .map(|id| Ok(request(id, 0, prompts.plain(id)?, output.min(WARMUP_OUTPUT))))
        .collect::<Result<Vec<Request>, PlanError>>()?;
    prompts.tell_apart(&requests, &warmups)?;
    Ok(Plan { workload: workload.clone(), warmups, requests })
}

/// Makes the prompts of one workload.
struct Prompts<'a> {
    workload: &'a Workload,
    tokenizer: &'a Tokenizer,
    names: Names,
    /// What all measured prompts begin with.
    shared: Option<Shared>,
}

/// The beginning that measured prompts have in common.
struct Shared {
    text: String,
    /// Its tokens, as many as the workload states.
    ids: Vec<u32>,
}

impl<'a> Prompts<'a> {
    fn new(workload: &'a Workload, tokenizer: &'a Tokenizer) -> Result<Self, PlanError> {
        let (input, shared) = (workload.input_tokens, workload.shared_prefix_tokens);
        if shared > 0 && shared >= input {
            let reason = format!("{shared} of {input} tokens cannot be shared");
            return Err(PlanError::Prompt { workload: workload.name.clone(), reason });
        }
        let names = Names::new(&mut random::stream(workload.seed, &[&workload.name, "names"], 0));
        let mut prompts = Self { workload, tokenizer, names, shared: None };
        if workload.shared_prefix_tokens > 0 {
            prompts.shared = Some(prompts.find_shared()?);
        }
        Ok(prompts)
    }

    fn measured(&self, id: usize) -> Result<Fitted, PlanError> {
        let Some(shared) = &self.shared else { return self.plain(id) };
        let prompt = self.prompt(id, Some(&shared.text))?;
        if prompt.ids.starts_with(&shared.ids) { Ok(prompt) } else { Err(self.impossible("the beginnings differ")) }
    }

    fn plain(&self, id: usize) -> Result<Fitted, PlanError> {
        self.prompt(id, None)
    }

    fn prompt(&self, id: usize, before: Option<&str>) -> Result<Fitted, PlanError> {
        let random = random::stream(self.workload.seed, &[&self.workload.name, "prompt"], id as u64);
        let passage = Passage::about(&self.names.get(id), random);
        let passage = match before {
            Some(text) => passage.below(text),
            None => passage,
        };
        self.fitted(self.workload.input_tokens as usize, passage)
    }

    /// A text whose tokens stay the same whatever prompt follows it, at least as many of them as are to be shared.
    fn find_shared(&self) -> Result<Shared, PlanError> {
        let tokens = self.workload.shared_prefix_tokens as usize;
        for more in 0..=BOUNDARY {
            let random = random::stream(self.workload.seed, &[&self.workload.name, "shared"], 0);
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

    /// Makes sure that no prompt begins like another, which very short ones might.
    fn tell_apart(&self, requests: &[Request], warmups: &[Request]) -> Result<(), PlanError> {
        let shared = self.workload.shared_prefix_tokens as usize;
        let own = requests.iter().map(|request| (request, shared)).chain(warmups.iter().map(|request| (request, 0)));
        let mut seen = HashSet::new();
        for (request, from) in own {
            let ids = request.prompt.token_ids.as_deref().unwrap_or_default();
            if !seen.insert(&ids[from..ids.len().min(from + BLOCK)]) {
                return Err(self.impossible("they are too short to begin differently"));
            }
        }
        Ok(())
    }

    fn fitted(&self, tokens: usize, mut passage: Passage) -> Result<Fitted, PlanError> {
        match fit(self.tokenizer, tokens, || passage.sentence()).map_err(PlanError::Tokenizer)? {
            Some(fitted) => Ok(fitted),
            None => Err(self.impossible(&format!("the tokenizer has no text of exactly {tokens} tokens"))),
        }
    }

    fn impossible(&self, reason: &str) -> PlanError {
        PlanError::Prompt { workload: self.workload.name.clone(), reason: reason.into() }
    }
}

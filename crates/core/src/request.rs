//! What is asked of a backend.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Nanos;

/// One request of a plan.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Request {
    /// Its place in the plan; unique within the workload. Warm-up requests have numbers of their own.
    pub id: u64,
    /// When the plan wants it sent: nanoseconds after the start of the workload.
    pub offset_ns: Nanos,
    /// Requests of one session follow each other.
    pub session: Option<u64>,
    /// What is to be continued.
    pub prompt: Prompt,
    /// Output tokens asked for.
    pub max_tokens: u32,
    /// How tokens are chosen.
    pub sampling: Sampling,
    /// Whether generation goes on past an end-of-sequence token, so that the length is the one asked.
    pub ignore_eos: bool,
}

/// A prompt as text, and as token ids where the tokenizer of the backend is at hand.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Prompt {
    /// The text.
    pub text: String,
    /// The same as token ids of the model's tokenizer, special tokens included; `null` when not tokenized.
    pub token_ids: Option<Vec<u32>>,
}

/// How the next token is chosen from the logits.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Sampling {
    /// 0 takes the most likely token.
    pub temperature: f32,
    /// Smallest set of tokens whose probability reaches this; 1 keeps all.
    pub top_p: f32,
    /// The so many most likely tokens; 0 keeps all.
    pub top_k: u32,
    /// Seed of this request's own generator.
    pub seed: u64,
}

impl Default for Sampling {
    fn default() -> Self {
        Self { temperature: 0.0, top_p: 1.0, top_k: 0, seed: 0 }
    }
}

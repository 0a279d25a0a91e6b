//! What is asked of a backend.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Nanos;

/// One request of a plan.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Request {
    /// Its place in the plan; unique within the workload. Warm-up requests have numbers of their own.
    pub id: u64,
    /// When the plan wants it sent: nanoseconds after the start of the workload. Of a later turn of a conversation:
    /// nanoseconds after the end of the turn before.
    pub offset_ns: Nanos,
    /// The conversation that it belongs to. The turns of one stand together in the plan, and each is sent after the one
    /// before has been answered.
    pub session: Option<u64>,
    /// What is to be continued. Of a later turn: what is added to the conversation so far, the answers included.
    pub prompt: Prompt,
    /// Output tokens asked for.
    pub max_tokens: u32,
    /// How tokens are chosen.
    pub sampling: Sampling,
    /// Whether generation goes on past an end-of-sequence token, so that the length is the one asked.
    pub ignore_eos: bool,
    /// Whether the answer is handed over with the end, because a later turn continues it.
    #[serde(default, skip_serializing_if = "is_false")]
    pub keep_answer: bool,
}

fn is_false(value: &bool) -> bool {
    !*value
}

/// A prompt as text, and as token ids where the tokenizer of the backend is at hand.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Prompt {
    /// The text.
    pub text: String,
    /// The same as token ids of the model's tokenizer, special tokens included; `null` when not tokenized.
    pub token_ids: Option<Vec<u32>>,
    /// The same as messages for a chat interface; empty means one message of a user, the text.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub messages: Vec<Message>,
}

impl Prompt {
    /// A text that was not tokenized.
    pub fn text(text: impl Into<String>) -> Self {
        Self { text: text.into(), ..Self::default() }
    }

    /// A text and its tokens.
    pub fn tokenized(text: String, token_ids: Vec<u32>) -> Self {
        Self { text, token_ids: Some(token_ids), messages: Vec::new() }
    }
}

/// A message of a chat.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Message {
    /// `system`, `user` or `assistant`.
    pub role: String,
    /// The text.
    pub content: String,
}

/// What a backend generated, as far as a later turn needs it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// The text; `None` where the backend deals in tokens only.
    pub text: Option<String>,
    /// The token ids, where the backend knows them.
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

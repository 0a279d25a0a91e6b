//! What every config must satisfy before anything is sized by it.

use super::{Architecture, Config};

/// No model comes near; a larger figure is a damaged or hostile file.
const LIMIT: usize = 1 << 24;

impl Config {
    /// Says what is impossible about the sizes, or nothing.
    pub(crate) fn problem(&self) -> Option<String> {
        let sizes = [
            ("vocabulary size", self.vocab_size),
            ("hidden size", self.hidden_size),
            ("embedding size", self.embedding_size),
            ("feed-forward size", self.intermediate_size),
            ("number of heads", self.num_heads),
            ("number of key/value heads", self.num_kv_heads),
            ("head size", self.head_dim),
            ("context length", self.context_length),
        ];
        for (name, size) in sizes {
            if !(1..=LIMIT).contains(&size) {
                return Some(format!("the {name} is {size}: it must be between 1 and {LIMIT}"));
            }
        }
        if !(1..=4096).contains(&self.num_layers) {
            return Some(format!("the number of layers is {}: it must be between 1 and 4096", self.num_layers));
        }
        if !self.num_heads.is_multiple_of(self.num_kv_heads) {
            return Some(format!(
                "the number of heads ({}) is no multiple of the number of key/value heads ({})",
                self.num_heads, self.num_kv_heads
            ));
        }
        let rotary = matches!(self.architecture, Architecture::Llama | Architecture::Qwen2 | Architecture::Qwen3);
        if rotary && !self.head_dim.is_multiple_of(2) {
            return Some(format!("the head size is {}: rotary positions need an even one", self.head_dim));
        }
        if !rotary && self.num_heads * self.head_dim != self.hidden_size {
            return Some(format!(
                "the hidden size ({}) is no multiple of the number of heads ({})",
                self.hidden_size, self.num_heads
            ));
        }
        let positive = |number: f32| number.is_finite() && number > 0.0;
        if !positive(self.norm_eps) || !positive(self.rope_theta) {
            return Some("the norm's epsilon and the rotary base must be positive numbers".into());
        }
        None
    }
}

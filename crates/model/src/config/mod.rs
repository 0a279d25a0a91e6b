//! What a model is made of, whatever file said so.

mod check;
pub(crate) mod gguf;
pub(crate) mod hugging_face;

/// The architectures that the engine computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Architecture {
    /// GPT-2.
    Gpt2,
    /// OPT.
    Opt,
    /// Llama, and what computes alike: Mistral without sliding window, SmolLM2, TinyLlama.
    Llama,
    /// Qwen2 and Qwen2.5.
    Qwen2,
    /// Qwen3.
    Qwen3,
}

impl Architecture {
    /// Name as in `model_type` of Hugging Face.
    pub fn name(self) -> &'static str {
        match self {
            Self::Gpt2 => "gpt2",
            Self::Opt => "opt",
            Self::Llama => "llama",
            Self::Qwen2 => "qwen2",
            Self::Qwen3 => "qwen3",
        }
    }
}

/// The non-linearity of the feed-forward layers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activation {
    /// GELU by its error function.
    Gelu,
    /// GELU by the tanh approximation (`gelu_new`, `gelu_pytorch_tanh`).
    GeluTanh,
    /// max(x, 0).
    Relu,
    /// x · sigmoid(x), on the gate of a gated layer.
    Silu,
}

/// How rotary frequencies are stretched beyond the training length.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum RopeScaling {
    /// Not at all.
    None,
    /// All frequencies divided by `factor`.
    Linear {
        /// The divisor.
        factor: f32,
    },
    /// Llama 3's rule: low frequencies divided, high ones kept, smooth between.
    Llama3 {
        /// The divisor of the low frequencies.
        factor: f32,
        /// Wavelengths longer than `original_context / low_freq_factor` are divided.
        low_freq_factor: f32,
        /// Wavelengths shorter than `original_context / high_freq_factor` are kept.
        high_freq_factor: f32,
        /// The context that the model was trained on.
        original_context: f32,
    },
}

/// A model's shape and constants. Sizes are in elements.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// Which block it is made of.
    pub architecture: Architecture,
    /// Rows of the embedding.
    pub vocab_size: usize,
    /// Width of the residual stream.
    pub hidden_size: usize,
    /// Width of the token embedding; differs from `hidden_size` only in OPT (350m), with projections between.
    pub embedding_size: usize,
    /// Width inside the feed-forward layer.
    pub intermediate_size: usize,
    /// Blocks.
    pub num_layers: usize,
    /// Query heads.
    pub num_heads: usize,
    /// Key/value heads; divides `num_heads`.
    pub num_kv_heads: usize,
    /// Width of one head.
    pub head_dim: usize,
    /// Longest sequence in tokens.
    pub context_length: usize,
    /// Epsilon of every norm.
    pub norm_eps: f32,
    /// Non-linearity.
    pub activation: Activation,
    /// Base of the rotary frequencies (Llama, Qwen).
    pub rope_theta: f32,
    /// Stretching of the rotary frequencies.
    pub rope_scaling: RopeScaling,
    /// Whether the output head is the embedding.
    pub tie_word_embeddings: bool,
    /// Whether q, k and v have biases (always in GPT-2, OPT and Qwen2).
    pub qkv_bias: bool,
    /// Whether the attention's output projection has a bias.
    pub attention_out_bias: bool,
    /// Whether the feed-forward projections have biases.
    pub mlp_bias: bool,
    /// OPT: norm before (true) or after the sub-layer.
    pub norm_before: bool,
    /// OPT: whether a final norm follows the last block.
    pub final_norm: bool,
    /// Token put before a text, where the model has one.
    pub bos_token_id: Option<u32>,
    /// Tokens that end a text.
    pub eos_token_ids: Vec<u32>,
}

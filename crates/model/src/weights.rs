//! Which tensors a config calls for, under the one set of names and orientations that the engine reads.
//!
//! Names are Hugging Face's without a leading `model.` or `transformer.`. Every linear weight is `[out, in]`.

use crate::{Architecture, Config};

/// A tensor that a model of some config must have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Weight {
    pub(crate) name: String,
    pub(crate) shape: Vec<usize>,
    pub(crate) role: Role,
}

/// What a tensor does, which decides how it is stored and how a random one is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// A table of rows looked up by token or position.
    Embedding,
    /// A linear map `[out, in]`.
    Linear,
    /// The factors of a norm.
    Norm,
    /// Something added.
    Bias,
}

/// The tensors of a model, in the order in which they are used.
pub(crate) fn weights(config: &Config) -> Vec<Weight> {
    let mut list = List { config, weights: Vec::new() };
    match config.architecture {
        Architecture::Gpt2 => list.gpt2(),
        Architecture::Opt => list.opt(),
        Architecture::Llama | Architecture::Qwen2 | Architecture::Qwen3 => list.llama(),
    }
    if !config.tie_word_embeddings {
        list.push("lm_head.weight".into(), vec![config.vocab_size, config.embedding_size], Role::Linear);
    }
    list.weights
}

struct List<'a> {
    config: &'a Config,
    weights: Vec<Weight>,
}

impl List<'_> {
    fn push(&mut self, name: String, shape: Vec<usize>, role: Role) {
        self.weights.push(Weight { name, shape, role });
    }

    fn linear(&mut self, name: &str, outputs: usize, inputs: usize, bias: bool) {
        self.push(format!("{name}.weight"), vec![outputs, inputs], Role::Linear);
        if bias {
            self.push(format!("{name}.bias"), vec![outputs], Role::Bias);
        }
    }

    fn layer_norm(&mut self, name: &str) {
        self.push(format!("{name}.weight"), vec![self.config.hidden_size], Role::Norm);
        self.push(format!("{name}.bias"), vec![self.config.hidden_size], Role::Bias);
    }

    fn rms_norm(&mut self, name: &str, width: usize) {
        self.push(format!("{name}.weight"), vec![width], Role::Norm);
    }

    fn embedding(&mut self, name: &str, rows: usize, width: usize) {
        self.push(format!("{name}.weight"), vec![rows, width], Role::Embedding);
    }

    fn gpt2(&mut self) {
        let config = self.config;
        let (hidden, inner) = (config.hidden_size, config.intermediate_size);
        self.embedding("wte", config.vocab_size, hidden);
        self.embedding("wpe", config.context_length, hidden);
        for layer in 0..config.num_layers {
            let at = |part: &str| format!("h.{layer}.{part}");
            self.layer_norm(&at("ln_1"));
            self.linear(&at("attn.c_attn"), 3 * hidden, hidden, true);
            self.linear(&at("attn.c_proj"), hidden, hidden, true);
            self.layer_norm(&at("ln_2"));
            self.linear(&at("mlp.c_fc"), inner, hidden, true);
            self.linear(&at("mlp.c_proj"), hidden, inner, true);
        }
        self.layer_norm("ln_f");
    }

    fn opt(&mut self) {
        let config = self.config;
        let (hidden, embedding, inner) = (config.hidden_size, config.embedding_size, config.intermediate_size);
        self.embedding("decoder.embed_tokens", config.vocab_size, embedding);
        // OPT's positions begin at 2: its table has two rows that are never read.
        self.embedding("decoder.embed_positions", config.context_length + 2, hidden);
        if embedding != hidden {
            self.linear("decoder.project_in", hidden, embedding, false);
        }
        for layer in 0..config.num_layers {
            let at = |part: &str| format!("decoder.layers.{layer}.{part}");
            self.layer_norm(&at("self_attn_layer_norm"));
            for projection in ["q_proj", "k_proj", "v_proj"] {
                self.linear(&at(&format!("self_attn.{projection}")), hidden, hidden, config.qkv_bias);
            }
            self.linear(&at("self_attn.out_proj"), hidden, hidden, config.attention_out_bias);
            self.layer_norm(&at("final_layer_norm"));
            self.linear(&at("fc1"), inner, hidden, config.mlp_bias);
            self.linear(&at("fc2"), hidden, inner, config.mlp_bias);
        }
        if config.final_norm {
            self.layer_norm("decoder.final_layer_norm");
        }
        if embedding != hidden {
            self.linear("decoder.project_out", embedding, hidden, false);
        }
    }

    fn llama(&mut self) {
        let config = self.config;
        let (hidden, inner, head) = (config.hidden_size, config.intermediate_size, config.head_dim);
        let (queries, keys) = (config.num_heads * head, config.num_kv_heads * head);
        self.embedding("embed_tokens", config.vocab_size, hidden);
        for layer in 0..config.num_layers {
            let at = |part: &str| format!("layers.{layer}.{part}");
            self.rms_norm(&at("input_layernorm"), hidden);
            self.linear(&at("self_attn.q_proj"), queries, hidden, config.qkv_bias);
            self.linear(&at("self_attn.k_proj"), keys, hidden, config.qkv_bias);
            self.linear(&at("self_attn.v_proj"), keys, hidden, config.qkv_bias);
            self.linear(&at("self_attn.o_proj"), hidden, queries, config.attention_out_bias);
            if config.architecture == Architecture::Qwen3 {
                self.rms_norm(&at("self_attn.q_norm"), head);
                self.rms_norm(&at("self_attn.k_norm"), head);
            }
            self.rms_norm(&at("post_attention_layernorm"), hidden);
            self.linear(&at("mlp.gate_proj"), inner, hidden, config.mlp_bias);
            self.linear(&at("mlp.up_proj"), inner, hidden, config.mlp_bias);
            self.linear(&at("mlp.down_proj"), hidden, inner, config.mlp_bias);
        }
        self.rms_norm("norm", hidden);
    }
}

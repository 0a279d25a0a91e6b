//! How llama.cpp calls our tensors.

use crate::Architecture;
use crate::checkpoint::Layout;
use crate::weights::Weight;

/// Parts of a name that differ, ours first. A layer's prefix is handled apart.
const GPT2: [(&str, &str); 9] = [
    ("ln_1", "attn_norm"),
    ("attn.c_attn", "attn_qkv"),
    ("attn.c_proj", "attn_output"),
    ("ln_2", "ffn_norm"),
    ("mlp.c_fc", "ffn_up"),
    ("mlp.c_proj", "ffn_down"),
    ("wte", "token_embd"),
    ("wpe", "position_embd"),
    ("ln_f", "output_norm"),
];
const LLAMA: [(&str, &str); 13] = [
    ("input_layernorm", "attn_norm"),
    ("self_attn.q_proj", "attn_q"),
    ("self_attn.k_proj", "attn_k"),
    ("self_attn.v_proj", "attn_v"),
    ("self_attn.o_proj", "attn_output"),
    ("self_attn.q_norm", "attn_q_norm"),
    ("self_attn.k_norm", "attn_k_norm"),
    ("post_attention_layernorm", "ffn_norm"),
    ("mlp.gate_proj", "ffn_gate"),
    ("mlp.up_proj", "ffn_up"),
    ("mlp.down_proj", "ffn_down"),
    ("embed_tokens", "token_embd"),
    ("norm", "output_norm"),
];

/// The name of a tensor in a GGUF file; `None` for one that no such file has.
pub(crate) fn name(architecture: Architecture, weight: &str) -> Option<String> {
    let (table, layers): (&[(&str, &str)], _) = match architecture {
        Architecture::Gpt2 => (&GPT2, "h."),
        Architecture::Opt => return None,
        Architecture::Llama | Architecture::Qwen2 | Architecture::Qwen3 => (&LLAMA, "layers."),
    };
    let (stem, kind) = weight.rsplit_once('.')?;
    let theirs = |ours: &str| table.iter().find(|(name, _)| *name == ours).map(|(_, theirs)| *theirs);
    if stem == "lm_head" {
        return Some(format!("output.{kind}"));
    }
    match stem.strip_prefix(layers).and_then(|rest| rest.split_once('.')) {
        Some((layer, part)) => Some(format!("blk.{layer}.{}.{kind}", theirs(part)?)),
        None => Some(format!("{}.{kind}", theirs(stem)?)),
    }
}

/// How a tensor is stored: llama.cpp reorders the query and key rows of the `llama` architecture, and of no other.
pub(crate) fn layout(architecture: Architecture, head_dim: usize, weight: &Weight) -> Layout {
    let rotary = weight.name.contains("self_attn.q_proj.") || weight.name.contains("self_attn.k_proj.");
    if architecture == Architecture::Llama && rotary { Layout::RopePairs { head_dim } } else { Layout::AsIs }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_llama_cpp() {
        let check = |architecture, ours: &str, theirs: &str| {
            assert_eq!(name(architecture, ours).as_deref(), Some(theirs));
        };
        check(Architecture::Llama, "embed_tokens.weight", "token_embd.weight");
        check(Architecture::Llama, "layers.11.self_attn.q_proj.weight", "blk.11.attn_q.weight");
        check(Architecture::Qwen2, "layers.0.self_attn.k_proj.bias", "blk.0.attn_k.bias");
        check(Architecture::Qwen3, "layers.0.self_attn.k_norm.weight", "blk.0.attn_k_norm.weight");
        check(Architecture::Llama, "norm.weight", "output_norm.weight");
        check(Architecture::Llama, "lm_head.weight", "output.weight");
        check(Architecture::Gpt2, "h.3.mlp.c_proj.bias", "blk.3.ffn_down.bias");
        check(Architecture::Gpt2, "wpe.weight", "position_embd.weight");
    }
}

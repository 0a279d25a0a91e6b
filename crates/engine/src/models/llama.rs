//! Llama (H. Touvron et al., *LLaMA*, 2023) and what computes alike: Mistral, SmolLM2, TinyLlama. Qwen2 and Qwen3 are
//! the same arrangement with a difference in the attention, which they pass in.

use super::Loader;
use crate::EngineError;
use crate::nn::{Activate, Attention, Block, Decoder, Mlp, Rope};

pub(super) fn load(from: &Loader<'_>) -> Result<Decoder, EngineError> {
    load_with(from, |layer| attention(from, layer))
}

/// The decoder whose attention of the layer with a given name prefix is what `attention` reads.
pub(super) fn load_with(
    from: &Loader<'_>,
    attention: impl Fn(&str) -> Result<Attention, EngineError>,
) -> Result<Decoder, EngineError> {
    let c = from.config;
    let (hidden, inner) = (c.hidden_size, c.intermediate_size);
    let blocks = (0..c.num_layers)
        .map(|i| {
            let layer = format!("layers.{i}");
            let mlp =
                |part: &str, outputs, inputs| from.linear(&format!("{layer}.mlp.{part}"), outputs, inputs, c.mlp_bias);
            Ok(Block {
                attention_norm: from.rms_norm(&format!("{layer}.input_layernorm"), hidden)?,
                attention: attention(&layer)?,
                mlp_norm: from.rms_norm(&format!("{layer}.post_attention_layernorm"), hidden)?,
                mlp: Mlp {
                    up: vec![mlp("gate_proj", inner, hidden)?, mlp("up_proj", inner, hidden)?],
                    activate: Activate::SiluGate,
                    down: mlp("down_proj", hidden, inner)?,
                },
            })
        })
        .collect::<Result<_, EngineError>>()?;
    Ok(Decoder {
        attention: from.attention_shape(),
        hidden,
        vocab: c.vocab_size,
        positions: None,
        project_in: None,
        rope: Some(Rope::new(c, from.positions)),
        blocks,
        norm_before: true,
        final_norm: Some(from.rms_norm("norm", hidden)?),
        project_out: None,
        head: from.head("embed_tokens.weight", hidden)?,
    })
}

/// Separate query, key and value projections; heads of one group share a key and a value.
pub(super) fn attention(from: &Loader<'_>, layer: &str) -> Result<Attention, EngineError> {
    let c = from.config;
    let (hidden, q, kv) = (c.hidden_size, c.num_heads * c.head_dim, c.num_kv_heads * c.head_dim);
    let name = |part: &str| format!("{layer}.self_attn.{part}");
    Ok(Attention {
        qkv: vec![
            from.linear(&name("q_proj"), q, hidden, c.qkv_bias)?,
            from.linear(&name("k_proj"), kv, hidden, c.qkv_bias)?,
            from.linear(&name("v_proj"), kv, hidden, c.qkv_bias)?,
        ],
        q_norm: None,
        k_norm: None,
        out: from.linear(&name("o_proj"), hidden, q, c.attention_out_bias)?,
    })
}

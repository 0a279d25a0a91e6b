//! OPT: S. Zhang et al., *OPT: Open Pre-trained Transformer Language Models*, 2022.

use super::Loader;
use crate::EngineError;
use crate::nn::{Activate, Attention, Block, Decoder, Mlp, Positions};

/// Rows of the position table before that of position 0.
const POSITION_OFFSET: usize = 2;

pub(super) fn load(from: &Loader<'_>) -> Result<Decoder, EngineError> {
    let c = from.config;
    let (hidden, inner, width) = (c.hidden_size, c.intermediate_size, c.embedding_size);
    let blocks = (0..c.num_layers)
        .map(|i| {
            let name = |part: &str| format!("decoder.layers.{i}.{part}");
            let square = |part: &str, bias| from.linear(&name(part), hidden, hidden, bias);
            Ok(Block {
                attention_norm: from.layer_norm(&name("self_attn_layer_norm"))?,
                attention: Attention {
                    qkv: vec![
                        square("self_attn.q_proj", c.qkv_bias)?,
                        square("self_attn.k_proj", c.qkv_bias)?,
                        square("self_attn.v_proj", c.qkv_bias)?,
                    ],
                    q_norm: None,
                    k_norm: None,
                    out: square("self_attn.out_proj", c.attention_out_bias)?,
                },
                mlp_norm: from.layer_norm(&name("final_layer_norm"))?,
                mlp: Mlp {
                    up: vec![from.linear(&name("fc1"), inner, hidden, c.mlp_bias)?],
                    activate: Activate::Plain(c.activation),
                    down: from.linear(&name("fc2"), hidden, inner, c.mlp_bias)?,
                },
            })
        })
        .collect::<Result<_, EngineError>>()?;
    let projected = width != hidden;
    let project = |name: &str, to, from_width| -> Result<_, EngineError> {
        if projected { from.linear(name, to, from_width, false).map(Some) } else { Ok(None) }
    };
    let positions = c.context_length + POSITION_OFFSET;
    Ok(Decoder {
        attention: from.attention_shape(),
        hidden,
        vocab: c.vocab_size,
        positions: Some(Positions {
            table: from.table("decoder.embed_positions.weight", positions, hidden)?,
            offset: POSITION_OFFSET,
        }),
        project_in: project("decoder.project_in", hidden, width)?,
        rope: None,
        blocks,
        norm_before: c.norm_before,
        final_norm: if c.final_norm { Some(from.layer_norm("decoder.final_layer_norm")?) } else { None },
        project_out: project("decoder.project_out", width, hidden)?,
        head: from.head("decoder.embed_tokens.weight", width)?,
    })
}

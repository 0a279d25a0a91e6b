//! GPT-2: A. Radford et al., *Language Models are Unsupervised Multitask Learners*, 2019.

use super::Loader;
use crate::EngineError;
use crate::nn::{Activate, Attention, Block, Decoder, Mlp, Positions};

pub(super) fn load(from: &Loader<'_>) -> Result<Decoder, EngineError> {
    let c = from.config;
    let (hidden, inner) = (c.hidden_size, c.intermediate_size);
    let blocks = (0..c.num_layers)
        .map(|i| {
            let name = |part: &str| format!("h.{i}.{part}");
            Ok(Block {
                attention_norm: from.layer_norm(&name("ln_1"))?,
                attention: Attention {
                    qkv: vec![from.linear(&name("attn.c_attn"), 3 * hidden, hidden, true)?],
                    q_norm: None,
                    k_norm: None,
                    out: from.linear(&name("attn.c_proj"), hidden, hidden, true)?,
                },
                mlp_norm: from.layer_norm(&name("ln_2"))?,
                mlp: Mlp {
                    up: vec![from.linear(&name("mlp.c_fc"), inner, hidden, true)?],
                    activate: Activate::Plain(c.activation),
                    down: from.linear(&name("mlp.c_proj"), hidden, inner, true)?,
                },
            })
        })
        .collect::<Result<_, EngineError>>()?;
    Ok(Decoder {
        attention: from.attention_shape(),
        hidden,
        vocab: c.vocab_size,
        positions: Some(Positions { table: from.table("wpe.weight", c.context_length, hidden)?, offset: 0 }),
        project_in: None,
        rope: None,
        blocks,
        norm_before: true,
        final_norm: Some(from.layer_norm("ln_f")?),
        project_out: None,
        head: from.head("wte.weight", hidden)?,
    })
}

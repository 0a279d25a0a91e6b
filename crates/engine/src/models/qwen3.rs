//! Qwen3 (A. Yang et al., *Qwen3 Technical Report*, 2025): Llama with a norm over every query and key head.

use super::{Loader, llama};
use crate::EngineError;
use crate::nn::{Decoder, HeadNorm};

pub(super) fn load(from: &Loader<'_>) -> Result<Decoder, EngineError> {
    llama::load_with(from, |layer| {
        let mut attention = llama::attention(from, layer)?;
        let norm = |name: &str| -> Result<_, EngineError> {
            let weight = from.vector(&format!("{layer}.self_attn.{name}.weight"), from.config.head_dim)?;
            Ok(HeadNorm { weight, eps: from.config.norm_eps })
        };
        attention.q_norm = Some(norm("q_norm")?);
        attention.k_norm = Some(norm("k_norm")?);
        Ok(attention)
    })
}

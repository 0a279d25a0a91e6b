//! Qwen3 (A. Yang et al., *Qwen3 Technical Report*, 2025): Llama with a norm over every query and key head.

use super::{Loader, llama};
use crate::EngineError;
use crate::nn::Decoder;

pub(super) fn load(from: &Loader<'_>) -> Result<Decoder, EngineError> {
    llama::load_with(from, |layer| {
        let mut attention = llama::attention(from, layer)?;
        let width = from.config.head_dim;
        attention.q_norm = Some(from.rms_norm(&format!("{layer}.self_attn.q_norm"), width)?);
        attention.k_norm = Some(from.rms_norm(&format!("{layer}.self_attn.k_norm"), width)?);
        Ok(attention)
    })
}

//! Qwen2 and Qwen2.5 (A. Yang et al., *Qwen2 Technical Report*, 2024): Llama with biases on query, key and value, which
//! the configuration states.

use super::{Loader, llama};
use crate::EngineError;
use crate::nn::Decoder;

pub(super) fn load(from: &Loader<'_>) -> Result<Decoder, EngineError> {
    llama::load(from)
}

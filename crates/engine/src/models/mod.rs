//! One file per architecture: which tensors it has and how they are arranged.

mod gpt2;
mod llama;
mod opt;
mod qwen2;
mod qwen3;
#[cfg(test)]
mod tests;

use sagellm_model::{Architecture, Checkpoint, Config, Model};

use crate::EngineError;
use crate::kernels::AttentionShape;
use crate::nn::{Decoder, Linear, Norm};
use crate::weights::{ComputeDtype, Matrix, load_vector};

/// Reads the tensors of one model.
pub(crate) struct Loader<'a> {
    pub(crate) config: &'a Config,
    checkpoint: &'a Checkpoint,
    dtype: ComputeDtype,
    /// Longest sequence that will occur.
    pub(crate) positions: usize,
}

/// Builds the decoder of `model` for sequences of up to `positions` tokens.
pub(crate) fn load(model: &Model, dtype: ComputeDtype, positions: usize) -> Result<Decoder, EngineError> {
    let loader = Loader { config: &model.config, checkpoint: &model.checkpoint, dtype, positions };
    match model.config.architecture {
        Architecture::Gpt2 => gpt2::load(&loader),
        Architecture::Opt => opt::load(&loader),
        Architecture::Llama => llama::load(&loader),
        Architecture::Qwen2 => qwen2::load(&loader),
        Architecture::Qwen3 => qwen3::load(&loader),
    }
}

impl Loader<'_> {
    fn matrix(&self, name: &str, rows: usize, columns: usize) -> Result<Matrix, EngineError> {
        Matrix::load(self.checkpoint, name, rows, columns, self.dtype)
    }

    fn vector(&self, name: &str, len: usize) -> Result<Vec<f32>, EngineError> {
        load_vector(self.checkpoint, name, len)
    }

    /// `{name}.weight` and, with `bias`, `{name}.bias`.
    fn linear(&self, name: &str, outputs: usize, inputs: usize, bias: bool) -> Result<Linear, EngineError> {
        let weight = self.matrix(&format!("{name}.weight"), outputs, inputs)?;
        let bias = if bias { Some(self.vector(&format!("{name}.bias"), outputs)?) } else { None };
        Ok(Linear { weight, bias })
    }

    fn layer_norm(&self, name: &str) -> Result<Norm, EngineError> {
        let len = self.config.hidden_size;
        Ok(Norm::Layer {
            weight: self.vector(&format!("{name}.weight"), len)?,
            bias: self.vector(&format!("{name}.bias"), len)?,
            eps: self.config.norm_eps,
        })
    }

    fn rms_norm(&self, name: &str, len: usize) -> Result<Norm, EngineError> {
        Ok(Norm::Rms { weight: self.vector(&format!("{name}.weight"), len)?, eps: self.config.norm_eps })
    }

    /// The separate output head, unless the embedding serves as one.
    fn head(&self, width: usize) -> Result<Option<Linear>, EngineError> {
        if self.config.tie_word_embeddings {
            return Ok(None);
        }
        self.linear("lm_head", self.config.vocab_size, width, false).map(Some)
    }

    fn attention_shape(&self) -> AttentionShape {
        AttentionShape {
            heads: self.config.num_heads,
            kv_heads: self.config.num_kv_heads,
            head_dim: self.config.head_dim,
            scale: 1.0 / (self.config.head_dim as f32).sqrt(),
        }
    }
}

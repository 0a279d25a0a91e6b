//! One file per architecture: which tensors it has and how they are arranged.

mod gpt2;
mod llama;
mod opt;
mod qwen2;
mod qwen3;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::Mutex;

use sagellm_core::Progress;
use sagellm_model::{Architecture, Checkpoint, Config, Model};

use crate::EngineError;
use crate::kernels::{AttentionShape, PANEL};
use crate::nn::{Decoder, Head, Linear, Norm};
use crate::weights::{ComputeDtype, Format, Matrix, Table, load_matrices, load_vector};

/// Reads the tensors of one model.
pub(crate) struct Loader<'a> {
    pub(crate) config: &'a Config,
    checkpoint: &'a Checkpoint,
    /// The matrices of products, packed; taken out when their place in the model is found.
    packed: Mutex<HashMap<String, Matrix>>,
    /// Longest sequence that will occur.
    pub(crate) positions: usize,
}

/// Builds the decoder of `model` for sequences of up to `positions` tokens, packing its weights with `threads` threads.
/// Without a `dtype`, each is computed in the format that it is stored in.
pub(crate) fn load(
    model: &Model,
    dtype: Option<ComputeDtype>,
    positions: usize,
    threads: usize,
    progress: &dyn Progress,
) -> Result<Decoder, EngineError> {
    let packed = Mutex::new(load_matrices(&model.checkpoint, &multiplied(model), dtype, threads, progress)?);
    let loader = Loader { config: &model.config, checkpoint: &model.checkpoint, packed, positions };
    match model.config.architecture {
        Architecture::Gpt2 => gpt2::load(&loader),
        Architecture::Opt => opt::load(&loader),
        Architecture::Llama => llama::load(&loader),
        Architecture::Qwen2 => qwen2::load(&loader),
        Architecture::Qwen3 => qwen3::load(&loader),
    }
}

/// Bytes of memory that [`load`] takes: what is packed, and what is copied because it is stored otherwise or made up.
pub(crate) fn memory(model: &Model, dtype: Option<ComputeDtype>) -> u64 {
    let multiplied = multiplied(model);
    let of = |name: String| {
        let Some((stored, shape)) = model.checkpoint.describe(&name) else { return 0 };
        match shape[..] {
            [rows, columns] if multiplied.contains(&name) => {
                let format = dtype.map_or(Format::of(stored), ComputeDtype::format);
                rows.div_ceil(PANEL) as u64 * format.panel_bytes(columns) as u64
            }
            [_, _] if !model.info.synthetic => 0,
            _ => size_of::<f32>() as u64 * shape.iter().map(|size| *size as u64).product::<u64>(),
        }
    };
    model.checkpoint.names().into_iter().map(of).sum()
}

/// The shape of attention of a model of `config`.
pub(crate) fn attention_shape(config: &Config) -> AttentionShape {
    AttentionShape {
        heads: config.num_heads,
        kv_heads: config.num_kv_heads,
        head_dim: config.head_dim,
        scale: 1.0 / (config.head_dim as f32).sqrt(),
    }
}

/// The tensors that are multiplied with, or might be: a lookup table is not.
fn multiplied(model: &Model) -> Vec<String> {
    let tied = model.config.tie_word_embeddings;
    let is_multiplied = |name: &str| {
        let positions = name == "wpe.weight" || name.ends_with("embed_positions.weight");
        !positions && (tied || !is_embedding(name))
    };
    model.checkpoint.names().into_iter().filter(|name| is_multiplied(name)).collect()
}

fn is_embedding(name: &str) -> bool {
    name == "wte.weight" || name.ends_with("embed_tokens.weight")
}

impl Loader<'_> {
    fn matrix(&self, name: &str, rows: usize, columns: usize) -> Result<Matrix, EngineError> {
        let matrix = self.packed.lock().unwrap_or_else(std::sync::PoisonError::into_inner).remove(name);
        match matrix {
            Some(matrix) => matrix.expect(name, rows, columns),
            // A tensor that is missing, or none of two dimensions.
            None => {
                let found = self.checkpoint.tensor(name)?.shape;
                Err(EngineError::Shape { name: name.to_owned(), expected: vec![rows, columns], found })
            }
        }
    }

    /// A matrix that rows are only looked up in.
    fn table(&self, name: &str, rows: usize, columns: usize) -> Result<Table, EngineError> {
        Table::load(self.checkpoint, name, rows, columns)
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

    /// The embedding `name` of rows of `width`, and the output head, which may be the same.
    fn head(&self, name: &str, width: usize) -> Result<Head, EngineError> {
        let vocab = self.config.vocab_size;
        if self.config.tie_word_embeddings {
            return Ok(Head { embedding: None, weight: self.matrix(name, vocab, width)? });
        }
        let embedding = Some(self.table(name, vocab, width)?);
        Ok(Head { embedding, weight: self.matrix("lm_head.weight", vocab, width)? })
    }

    fn attention_shape(&self) -> AttentionShape {
        attention_shape(self.config)
    }
}

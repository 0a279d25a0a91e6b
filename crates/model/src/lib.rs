//! A model on disk: name to files (folder, Hugging Face cache, hub, GGUF, synthetic), config, tokenizer, weights.

mod checkpoint;
mod config;

pub use checkpoint::{Bytes, Dtype, Tensor};
pub use config::{Activation, Architecture, Config, RopeScaling};

//! The config of a GGUF file, from its metadata and from which tensors there are.

use std::collections::HashMap;

use super::{Activation, Architecture, Config, RopeScaling};
use crate::ModelError;
use crate::checkpoint::Found;
use crate::gguf::reader::{File, Metadata, Value};

const SUPPORTED: &str = "supported are gpt2, llama, qwen2 and qwen3";

/// Reads the config of `file`.
pub(crate) fn parse(file: &File<'_>) -> Result<Config, ModelError> {
    let metadata = &file.metadata;
    let name = metadata.text("general.architecture")?.ok_or_else(|| metadata.missing("general.architecture"))?;
    let architecture = match name {
        "gpt2" => Architecture::Gpt2,
        "llama" => Architecture::Llama,
        "qwen2" => Architecture::Qwen2,
        "qwen3" => Architecture::Qwen3,
        other => {
            let what = format!("the architecture `{other}` is not supported");
            return Err(ModelError::unsupported(metadata.path(), what, SUPPORTED));
        }
    };
    if metadata.size("split.count")?.is_some_and(|count| count > 1) {
        let hint = "join the parts with `llama-gguf-split --merge`";
        return Err(ModelError::unsupported(
            metadata.path(),
            "a model split into several files is not supported",
            hint,
        ));
    }
    let keys = Keys { metadata, architecture: name };
    let gpt2 = architecture == Architecture::Gpt2;
    let hidden_size = keys.required_size("embedding_length")?;
    let num_heads = keys.required_size("attention.head_count")?;
    let head_dim = keys.size("attention.key_length")?.unwrap_or(hidden_size / num_heads.max(1));
    keys.refuse("attention.value_length", |size| size != head_dim, "values as wide as keys")?;
    keys.refuse("rope.dimension_count", |size| !gpt2 && size != head_dim, "heads that are rotated whole")?;
    keys.refuse("expert_count", |count| count > 0, "models without experts")?;
    let context_length = keys.required_size("context_length")?;
    keys.refuse(
        "attention.sliding_window",
        |window| window > 0 && window < context_length,
        "attention over the whole context",
    )?;
    let epsilon = if gpt2 { "attention.layer_norm_epsilon" } else { "attention.layer_norm_rms_epsilon" };
    let has = |name: &str| file.tensors.contains_key(name);
    let rope_theta = keys.f32("rope.freq_base")?.unwrap_or(10_000.0);
    let config = Config {
        architecture,
        vocab_size: vocab_size(file)?,
        hidden_size,
        embedding_size: hidden_size,
        intermediate_size: keys.required_size("feed_forward_length")?,
        num_layers: keys.required_size("block_count")?,
        num_heads,
        num_kv_heads: keys.size("attention.head_count_kv")?.unwrap_or(num_heads),
        head_dim,
        context_length,
        norm_eps: keys.f32(epsilon)?.ok_or_else(|| metadata.missing(&format!("{name}.{epsilon}")))?,
        activation: if gpt2 { Activation::GeluTanh } else { Activation::Silu },
        rope_theta,
        rope_scaling: rope_scaling(&keys, &file.tensors, rope_theta, head_dim)?,
        tie_word_embeddings: !has("output.weight"),
        qkv_bias: gpt2 || has("blk.0.attn_q.bias"),
        attention_out_bias: gpt2 || has("blk.0.attn_output.bias"),
        mlp_bias: gpt2 || has("blk.0.ffn_up.bias"),
        norm_before: true,
        final_norm: true,
        bos_token_id: metadata.token_id("tokenizer.ggml.bos_token_id")?,
        eos_token_ids: end_tokens(metadata)?,
    };
    match config.problem() {
        Some(problem) => Err(ModelError::config(metadata.path(), problem)),
        None => Ok(config),
    }
}

/// Metadata keys under the architecture's name.
struct Keys<'a> {
    metadata: &'a Metadata<'a>,
    architecture: &'a str,
}

impl Keys<'_> {
    fn full(&self, key: &str) -> String {
        format!("{}.{key}", self.architecture)
    }

    fn size(&self, key: &str) -> Result<Option<usize>, ModelError> {
        let key = self.full(key);
        // Some keys may hold a list with a figure per layer; one that is the same for all is the same as a figure.
        match self.metadata.get(&key) {
            Some(Value::Array(items)) if items.windows(2).all(|pair| pair[0] == pair[1]) => match items.first() {
                Some(Value::Integer(number)) => {
                    usize::try_from(*number).map(Some).map_err(|_| self.metadata.error(&key, "must not be negative"))
                }
                _ => Err(self.metadata.error(&key, "must hold whole numbers")),
            },
            Some(Value::Array(_)) => {
                let what = format!("layers that differ in `{key}` are not supported");
                Err(ModelError::unsupported(self.metadata.path(), what, SUPPORTED))
            }
            _ => self.metadata.size(&key),
        }
    }

    fn required_size(&self, key: &str) -> Result<usize, ModelError> {
        self.size(key)?.ok_or_else(|| self.metadata.missing(&self.full(key)))
    }

    fn f32(&self, key: &str) -> Result<Option<f32>, ModelError> {
        self.metadata.f32(&self.full(key))
    }

    fn refuse(&self, key: &str, refused: impl FnOnce(usize) -> bool, supported: &str) -> Result<(), ModelError> {
        match self.size(key)? {
            Some(size) if refused(size) => Err(ModelError::unsupported(
                self.metadata.path(),
                format!("`{}` = {size} is not supported", self.full(key)),
                format!("supported is {supported}"),
            )),
            _ => Ok(()),
        }
    }
}

/// The embedding has the last word: the metadata key is often absent.
fn vocab_size(file: &File<'_>) -> Result<usize, ModelError> {
    const NAME: &str = "token_embd.weight";
    match file.tensors.get(NAME) {
        Some(Ok(stored)) => Ok(stored.shape().first().copied().unwrap_or(0)),
        Some(Err(dtype)) => Err(ModelError::dtype(file.metadata.path(), NAME, dtype)),
        None => Err(ModelError::tensor(file.metadata.path(), NAME, "is missing")),
    }
}

fn end_tokens(metadata: &Metadata<'_>) -> Result<Vec<u32>, ModelError> {
    let mut ids = Vec::new();
    for key in ["eos_token_id", "eot_token_id"] {
        if let Some(id) = metadata.token_id(&format!("tokenizer.ggml.{key}"))?
            && !ids.contains(&id)
        {
            ids.push(id);
        }
    }
    Ok(ids)
}

fn rope_scaling(
    keys: &Keys<'_>,
    tensors: &HashMap<String, Found>,
    theta: f32,
    head_dim: usize,
) -> Result<RopeScaling, ModelError> {
    let path = keys.metadata.path();
    if let Some(found) = tensors.get("rope_freqs.weight") {
        let factors = match found {
            Ok(stored) => stored.to_f32(),
            Err(_) => Vec::new(),
        };
        return llama3(&factors, theta, head_dim).ok_or_else(|| {
            let what = "the rotary frequencies in `rope_freqs.weight` follow a rule that is not supported";
            ModelError::unsupported(path, what, "supported is the rule of Llama 3.1 and 3.2")
        });
    }
    let kind_key = keys.full("rope.scaling.type");
    match keys.metadata.text(&kind_key)? {
        None | Some("none") => Ok(RopeScaling::None),
        Some("linear") => {
            let key = keys.full("rope.scaling.factor");
            let factor = keys.metadata.f32(&key)?.ok_or_else(|| keys.metadata.missing(&key))?;
            if factor.is_finite() && factor > 0.0 {
                Ok(RopeScaling::Linear { factor })
            } else {
                Err(keys.metadata.error(&key, "must be a positive number"))
            }
        }
        Some(other) => Err(ModelError::unsupported(
            path,
            format!("`{kind_key}` = `{other}` is not supported"),
            "supported are none, linear and Llama 3's rule",
        )),
    }
}

/// GGUF keeps the outcome of Llama 3's rule (a divisor per frequency), not its constants. All published models were made
/// with 1, 4 and 8192, so what is left to find is the divisor of the low frequencies; the whole is then checked.
fn llama3(factors: &[f32], theta: f32, head_dim: usize) -> Option<RopeScaling> {
    const LOW: f32 = 1.0;
    const HIGH: f32 = 4.0;
    const CONTEXT: f32 = 8192.0;
    if factors.len() != head_dim / 2 {
        return None;
    }
    let factor = factors.iter().copied().fold(0.0, f32::max);
    let agrees = factors.iter().enumerate().all(|(pair, &stored)| {
        let wavelength = 2.0 * std::f32::consts::PI * theta.powf(2.0 * pair as f32 / head_dim as f32);
        let expected = if wavelength < CONTEXT / HIGH {
            1.0
        } else if wavelength > CONTEXT / LOW {
            factor
        } else {
            let smooth = (CONTEXT / wavelength - LOW) / (HIGH - LOW);
            1.0 / ((1.0 - smooth) / factor + smooth)
        };
        (stored - expected).abs() <= 1e-3 * expected
    });
    (agrees && factor.is_finite()).then_some(RopeScaling::Llama3 {
        factor,
        low_freq_factor: LOW,
        high_freq_factor: HIGH,
        original_context: CONTEXT,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn llama3_factors_are_recognised() {
        // Llama 3.2: theta 500000, head 64, factor 32.
        let factors: Vec<f32> = (0..32)
            .map(|pair| {
                let wavelength = std::f64::consts::TAU * 500_000_f64.powf(f64::from(pair) / 32.0);
                let smooth = ((8192.0 / wavelength - 1.0) / 3.0).clamp(0.0, 1.0);
                (1.0 / ((1.0 - smooth) / 32.0 + smooth)) as f32
            })
            .collect();
        let found = llama3(&factors, 500_000.0, 64);
        assert!(matches!(found, Some(RopeScaling::Llama3 { factor, .. }) if (factor - 32.0).abs() < 1e-3), "{found:?}");
        let mut altered = factors.clone();
        altered[20] *= 1.1;
        assert_eq!(llama3(&altered, 500_000.0, 64), None);
        assert_eq!(llama3(&factors[1..], 500_000.0, 64), None);
    }
}

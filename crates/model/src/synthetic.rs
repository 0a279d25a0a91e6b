//! Models that need no file: a real architecture and size, random weights that are the same on every machine.

use std::ops::Range;

use sha2::{Digest, Sha256};

use crate::weights::{Role, Weight};
use crate::{Activation, Architecture, Bytes, Checkpoint, Config, Dtype, RopeScaling, Tensor};

/// What may follow `synthetic:`.
pub(crate) const PRESETS: [&str; 5] = ["gpt2", "opt-125m", "smollm2-135m", "qwen2.5-0.5b", "tiny"];

/// The config of a preset, as published with the model that it is named after; `None` for an unknown name.
pub(crate) fn config(preset: &str) -> Option<Config> {
    let gpt2 = Config {
        architecture: Architecture::Gpt2,
        vocab_size: 50_257,
        hidden_size: 768,
        embedding_size: 768,
        intermediate_size: 3072,
        num_layers: 12,
        num_heads: 12,
        num_kv_heads: 12,
        head_dim: 64,
        context_length: 1024,
        norm_eps: 1e-5,
        activation: Activation::GeluTanh,
        rope_theta: 10_000.0,
        rope_scaling: RopeScaling::None,
        tie_word_embeddings: true,
        qkv_bias: true,
        attention_out_bias: true,
        mlp_bias: true,
        norm_before: true,
        final_norm: true,
        bos_token_id: Some(50_256),
        eos_token_ids: vec![50_256],
    };
    let llama = Config {
        architecture: Architecture::Llama,
        activation: Activation::Silu,
        qkv_bias: false,
        attention_out_bias: false,
        mlp_bias: false,
        ..gpt2.clone()
    };
    Some(match preset {
        "gpt2" => gpt2,
        "opt-125m" => Config {
            architecture: Architecture::Opt,
            vocab_size: 50_272,
            context_length: 2048,
            activation: Activation::Relu,
            bos_token_id: Some(2),
            eos_token_ids: vec![2],
            ..gpt2
        },
        "smollm2-135m" => Config {
            vocab_size: 49_152,
            hidden_size: 576,
            embedding_size: 576,
            intermediate_size: 1536,
            num_layers: 30,
            num_heads: 9,
            num_kv_heads: 3,
            context_length: 8192,
            rope_theta: 100_000.0,
            bos_token_id: Some(0),
            eos_token_ids: vec![0],
            ..llama
        },
        "qwen2.5-0.5b" => Config {
            architecture: Architecture::Qwen2,
            vocab_size: 151_936,
            hidden_size: 896,
            embedding_size: 896,
            intermediate_size: 4864,
            num_layers: 24,
            num_heads: 14,
            num_kv_heads: 2,
            context_length: 32_768,
            norm_eps: 1e-6,
            rope_theta: 1_000_000.0,
            qkv_bias: true,
            bos_token_id: Some(151_643),
            eos_token_ids: vec![151_643],
            ..llama
        },
        "tiny" => Config {
            vocab_size: 512,
            hidden_size: 64,
            embedding_size: 64,
            intermediate_size: 192,
            num_layers: 2,
            num_heads: 4,
            num_kv_heads: 2,
            head_dim: 16,
            context_length: 1024,
            bos_token_id: None,
            eos_token_ids: vec![256],
            ..llama
        },
        _ => return None,
    })
}

/// The weights of a preset, and their fingerprint.
pub(crate) fn checkpoint(preset: &str, config: &Config) -> (Checkpoint, String) {
    // 0.02 is what GPT-2, OPT and Llama are initialised with. At tiny's width it would leave next to no signal.
    let deviation = if preset == "tiny" { 0.125 } else { 0.02 };
    let definition = format!("synthetic 1, deviation {deviation}: {config:?}");
    let fingerprint = crate::hex(&Sha256::digest(definition));
    (Checkpoint::random(&format!("synthetic:{preset}"), config, deviation), fingerprint)
}

/// A tensor whose element `i` is a function of its name and `i`.
#[derive(Clone, Debug)]
pub(crate) struct Random {
    shape: Vec<usize>,
    seed: u64,
    role: Role,
    deviation: f32,
}

impl Random {
    pub(crate) fn new(weight: &Weight, deviation: f32) -> Self {
        // FNV-1a: enough to tell names apart, the mixing is done below.
        let seed = weight
            .name
            .bytes()
            .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
        Self { shape: weight.shape.clone(), seed, role: weight.role, deviation }
    }

    pub(crate) fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// The rows `rows` of its first dimension.
    pub(crate) fn rows(&self, rows: Range<usize>) -> Tensor {
        let mut shape = self.shape.clone();
        let width: usize = shape.iter().skip(1).product();
        if let Some(first) = shape.first_mut() {
            *first = rows.len();
        }
        let elements = rows.start * width..rows.end * width;
        let numbers = match self.role {
            Role::Norm => vec![1.0; elements.len()],
            Role::Bias => vec![0.0; elements.len()],
            Role::Embedding | Role::Linear => uniform(self.seed, self.deviation, elements),
        };
        Tensor { dtype: Dtype::F32, shape, data: Bytes::from(numbers) }
    }
}

/// The numbers `places` of a sequence of uniform numbers with mean 0 and the given standard deviation: two from every step
/// of SplitMix64.
///
/// Only exact operations lead from the bits to a number in [-1, 1), and one multiplication from there, so every machine gets
/// the same.
fn uniform(seed: u64, deviation: f32, places: Range<usize>) -> Vec<f32> {
    let scale = deviation * 3.0_f32.sqrt();
    let number = |bits: u32| ((bits >> 8) as f32 / 8_388_608.0 - 1.0) * scale;
    let skipped = places.start / 2;
    let mut numbers = Vec::with_capacity(places.len() + 2);
    for step in skipped as u64 + 1..=places.end.div_ceil(2) as u64 {
        let mut bits = seed.wrapping_add(step.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^= bits >> 31;
        numbers.extend([number(bits as u32), number((bits >> 32) as u32)]);
    }
    numbers.truncate(places.end - 2 * skipped);
    if !places.start.is_multiple_of(2) {
        numbers.remove(0);
    }
    numbers
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn presets_have_the_published_number_of_parameters() {
        let parameters =
            |preset: &str| config(preset).map(|config| checkpoint(preset, &config).0.parameters()).unwrap();
        assert_eq!(parameters("gpt2"), 124_439_808);
        assert_eq!(parameters("opt-125m"), 125_239_296);
        assert_eq!(parameters("smollm2-135m"), 134_515_008);
        assert_eq!(parameters("qwen2.5-0.5b"), 494_032_768);
        assert!(parameters("tiny") < 200_000);
    }

    #[test]
    fn every_preset_is_sound() {
        for preset in PRESETS {
            assert_eq!(config(preset).unwrap().problem(), None, "{preset}");
        }
        assert_eq!(config("gpt3"), None);
    }

    #[test]
    fn weights_are_the_same_everywhere() {
        let config = config("tiny").unwrap();
        let (checkpoint, _) = checkpoint("tiny", &config);
        let bytes = checkpoint.tensor("layers.1.mlp.up_proj.weight").unwrap().data;
        assert_eq!(
            crate::hex(&Sha256::digest(&*bytes)),
            "e6df782a1bfe58c1fc0370619e11992813e3c09fe56521fe2e5bf4d3bfc1fbcc",
            "changed weights make results of different versions incomparable"
        );
    }

    #[test]
    fn weights_have_the_stated_mean_and_deviation() {
        let numbers = uniform(7, 0.02, 0..1_000_001);
        let mean = numbers.iter().map(|&x| f64::from(x)).sum::<f64>() / numbers.len() as f64;
        let variance = numbers.iter().map(|&x| f64::from(x).powi(2)).sum::<f64>() / numbers.len() as f64;
        assert!(mean.abs() < 1e-4, "{mean}");
        assert!((variance.sqrt() - 0.02).abs() < 1e-4, "{variance}");
    }

    #[test]
    fn any_part_is_a_part_of_the_whole() {
        let whole = uniform(7, 0.02, 0..50);
        for (start, end) in [(0, 50), (0, 1), (1, 2), (7, 7), (8, 21), (9, 20)] {
            assert_eq!(uniform(7, 0.02, start..end), whole[start..end], "{start}..{end}");
        }
    }

    #[test]
    fn tensors_of_one_shape_differ() {
        let config = config("tiny").unwrap();
        let (checkpoint, _) = checkpoint("tiny", &config);
        let data = |name: &str| checkpoint.tensor(name).unwrap().to_f32();
        assert_ne!(data("layers.0.mlp.up_proj.weight"), data("layers.1.mlp.up_proj.weight"));
    }
}

//! `config.json` of a Hugging Face folder. Defaults are those of the `transformers` configuration classes.

use serde_json::Value;

use super::{Activation, Architecture, Config, RopeScaling};
use crate::ModelError;
use crate::json::Settings;

const SUPPORTED: &str = "supported are gpt2, opt, llama (also SmolLM2, TinyLlama), mistral, qwen2 and qwen3";

/// Reads a config. `generation` is `generation_config.json`, which has the last word on what ends a text.
pub(crate) fn parse(settings: &Settings, generation: Option<&Settings>) -> Result<Config, ModelError> {
    let family = family(settings)?;
    if settings.get("quantization_config").is_some() {
        let hint = "use the unquantized model, or a GGUF file of it";
        return Err(settings.unsupported("quantization_config", "is not supported", hint));
    }
    let mut config = match family {
        Family::Gpt2 => gpt2(settings)?,
        Family::Opt => opt(settings)?,
        Family::Llama { .. } | Family::Qwen2 | Family::Qwen3 => llama(settings, family)?,
    };
    config.bos_token_id = settings.token_ids("bos_token_id")?.first().copied();
    config.eos_token_ids = match generation.map(|generation| generation.token_ids("eos_token_id")).transpose()? {
        Some(ids) if !ids.is_empty() => ids,
        _ => settings.token_ids("eos_token_id")?,
    };
    match config.problem() {
        Some(problem) => Err(ModelError::config(settings.path(), problem)),
        None => Ok(config),
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Family {
    Gpt2,
    Opt,
    Llama { mistral: bool },
    Qwen2,
    Qwen3,
}

fn family(settings: &Settings) -> Result<Family, ModelError> {
    if let Some(name) = settings.str("model_type")? {
        return match name {
            "gpt2" => Ok(Family::Gpt2),
            "opt" => Ok(Family::Opt),
            "llama" => Ok(Family::Llama { mistral: false }),
            "mistral" => Ok(Family::Llama { mistral: true }),
            "qwen2" => Ok(Family::Qwen2),
            "qwen3" => Ok(Family::Qwen3),
            other => Err(settings.unsupported("model_type", &format!("`{other}` is not supported"), SUPPORTED)),
        };
    }
    // The oldest configs name the class only.
    let class = settings.get("architectures").and_then(|list| list.get(0)).and_then(Value::as_str);
    match class {
        Some("GPT2LMHeadModel") => Ok(Family::Gpt2),
        Some("OPTForCausalLM") => Ok(Family::Opt),
        Some("LlamaForCausalLM") => Ok(Family::Llama { mistral: false }),
        Some("MistralForCausalLM") => Ok(Family::Llama { mistral: true }),
        Some("Qwen2ForCausalLM") => Ok(Family::Qwen2),
        Some("Qwen3ForCausalLM") => Ok(Family::Qwen3),
        Some(other) => Err(settings.unsupported("architectures", &format!("`{other}` is not supported"), SUPPORTED)),
        None => Err(settings.missing("model_type")),
    }
}

fn gpt2(settings: &Settings) -> Result<Config, ModelError> {
    for (key, implemented) in
        [("scale_attn_weights", true), ("scale_attn_by_inverse_layer_idx", false), ("add_cross_attention", false)]
    {
        if settings.bool_or(key, implemented)? != implemented {
            let hint = format!("GPT-2 is computed with `{key}` = {implemented}");
            return Err(settings.unsupported(key, "is not supported", hint));
        }
    }
    let hidden_size = settings.required_size("n_embd")?;
    let num_heads = settings.required_size("n_head")?;
    let context_length = match settings.size("n_positions")? {
        Some(positions) => positions,
        None => settings.required_size("n_ctx")?,
    };
    Ok(Config {
        architecture: Architecture::Gpt2,
        vocab_size: settings.required_size("vocab_size")?,
        hidden_size,
        embedding_size: hidden_size,
        intermediate_size: settings.size("n_inner")?.unwrap_or(hidden_size.saturating_mul(4)),
        num_layers: settings.required_size("n_layer")?,
        num_heads,
        num_kv_heads: num_heads,
        head_dim: hidden_size / num_heads.max(1),
        context_length,
        norm_eps: settings.f32("layer_norm_epsilon")?.unwrap_or(1e-5),
        activation: activation(settings, "activation_function", "gelu_new")?,
        rope_theta: 10_000.0,
        rope_scaling: RopeScaling::None,
        tie_word_embeddings: settings.bool_or("tie_word_embeddings", true)?,
        qkv_bias: true,
        attention_out_bias: true,
        mlp_bias: true,
        norm_before: true,
        final_norm: true,
        bos_token_id: None,
        eos_token_ids: Vec::new(),
    })
}

fn opt(settings: &Settings) -> Result<Config, ModelError> {
    if !settings.bool_or("layer_norm_elementwise_affine", true)? {
        let hint = "OPT is computed with norms that have weights";
        return Err(settings.unsupported("layer_norm_elementwise_affine", "= false is not supported", hint));
    }
    let hidden_size = settings.required_size("hidden_size")?;
    let num_heads = settings.required_size("num_attention_heads")?;
    let norm_before = settings.bool_or("do_layer_norm_before", true)?;
    let bias = settings.bool_or("enable_bias", true)?;
    Ok(Config {
        architecture: Architecture::Opt,
        vocab_size: settings.required_size("vocab_size")?,
        hidden_size,
        embedding_size: settings.size("word_embed_proj_dim")?.unwrap_or(hidden_size),
        intermediate_size: settings.required_size("ffn_dim")?,
        num_layers: settings.required_size("num_hidden_layers")?,
        num_heads,
        num_kv_heads: num_heads,
        head_dim: hidden_size / num_heads.max(1),
        context_length: settings.required_size("max_position_embeddings")?,
        norm_eps: 1e-5,
        activation: activation(settings, "activation_function", "relu")?,
        rope_theta: 10_000.0,
        rope_scaling: RopeScaling::None,
        tie_word_embeddings: settings.bool_or("tie_word_embeddings", true)?,
        qkv_bias: bias,
        attention_out_bias: bias,
        mlp_bias: bias,
        norm_before,
        final_norm: norm_before && !settings.bool_or("_remove_final_layer_norm", false)?,
        bos_token_id: None,
        eos_token_ids: Vec::new(),
    })
}

fn llama(settings: &Settings, family: Family) -> Result<Config, ModelError> {
    let hidden_size = settings.required_size("hidden_size")?;
    let num_heads = settings.required_size("num_attention_heads")?;
    let context_length = settings.required_size("max_position_embeddings")?;
    refuse_sliding_window(settings, family, context_length)?;
    let attention_bias = settings.bool_or("attention_bias", false)?;
    let (architecture, head_dim) = match family {
        Family::Qwen2 => (Architecture::Qwen2, hidden_size / num_heads.max(1)),
        Family::Qwen3 => (Architecture::Qwen3, 128),
        _ => (Architecture::Llama, hidden_size / num_heads.max(1)),
    };
    let (rope_theta, rope_scaling) = rope(settings, context_length)?;
    Ok(Config {
        architecture,
        vocab_size: settings.required_size("vocab_size")?,
        hidden_size,
        embedding_size: hidden_size,
        intermediate_size: settings.required_size("intermediate_size")?,
        num_layers: settings.required_size("num_hidden_layers")?,
        num_heads,
        num_kv_heads: settings.size("num_key_value_heads")?.unwrap_or(num_heads),
        head_dim: settings.size("head_dim")?.unwrap_or(head_dim),
        context_length,
        norm_eps: settings.f32("rms_norm_eps")?.unwrap_or(1e-6),
        activation: activation(settings, "hidden_act", "silu")?,
        rope_theta,
        rope_scaling,
        tie_word_embeddings: settings.bool_or("tie_word_embeddings", false)?,
        qkv_bias: family == Family::Qwen2 || attention_bias,
        attention_out_bias: family != Family::Qwen2 && attention_bias,
        mlp_bias: matches!(family, Family::Llama { mistral: false }) && settings.bool_or("mlp_bias", false)?,
        norm_before: true,
        final_norm: true,
        bos_token_id: None,
        eos_token_ids: Vec::new(),
    })
}

/// A window that reaches over the whole context changes nothing; a shorter one is not implemented.
fn refuse_sliding_window(settings: &Settings, family: Family, context_length: usize) -> Result<(), ModelError> {
    let window = match family {
        // Mistral's default applies when the key is absent, not when it is null.
        Family::Llama { mistral: true } if !settings.contains("sliding_window") => Some(4096),
        Family::Llama { mistral: true } => settings.size("sliding_window")?,
        Family::Qwen2 | Family::Qwen3 if settings.bool_or("use_sliding_window", false)? => {
            Some(settings.size("sliding_window")?.unwrap_or(4096))
        }
        _ => None,
    };
    match window {
        Some(window) if window < context_length => Err(settings.unsupported(
            "sliding_window",
            &format!("= {window}, shorter than the context of {context_length}, is not supported"),
            "use a model with full attention, such as Mistral 7B v0.2 or later",
        )),
        _ => Ok(()),
    }
}

fn rope(settings: &Settings, context_length: usize) -> Result<(f32, RopeScaling), ModelError> {
    // transformers 5 writes one object, earlier ones a number and an object.
    let (object, theta) = match settings.object("rope_parameters")? {
        Some(object) => {
            let theta = object.f32("rope_theta")?;
            (Some(object), theta)
        }
        None => (settings.object("rope_scaling")?, None),
    };
    let theta = theta.or(settings.f32("rope_theta")?).unwrap_or(10_000.0);
    let Some(object) = object else { return Ok((theta, RopeScaling::None)) };
    for holder in [settings, &object] {
        if holder.f32("partial_rotary_factor")?.is_some_and(|factor| factor != 1.0) {
            let hint = "supported are models whose heads are rotated whole";
            return Err(holder.unsupported("partial_rotary_factor", "other than 1 is not supported", hint));
        }
    }
    let kind = match object.str("rope_type")? {
        Some(kind) => kind,
        None => object.str("type")?.unwrap_or("default"),
    };
    let number = |key: &str| match object.f32(key)? {
        Some(number) if number.is_finite() && number > 0.0 => Ok(number),
        Some(_) => Err(object.error(key, "must be a positive number")),
        None => Err(object.missing(key)),
    };
    let scaling = match kind {
        "default" => RopeScaling::None,
        "linear" => RopeScaling::Linear { factor: number("factor")? },
        "llama3" => RopeScaling::Llama3 {
            factor: number("factor")?,
            low_freq_factor: number("low_freq_factor")?,
            high_freq_factor: number("high_freq_factor")?,
            original_context: match object.get("original_max_position_embeddings") {
                Some(_) => number("original_max_position_embeddings")?,
                None => context_length as f32,
            },
        },
        other => {
            let problem = format!("`{other}` is not supported");
            return Err(object.unsupported("rope_type", &problem, "supported are default, linear and llama3"));
        }
    };
    Ok((theta, scaling))
}

fn activation(settings: &Settings, key: &str, default: &str) -> Result<Activation, ModelError> {
    match settings.str(key)?.unwrap_or(default) {
        "gelu" => Ok(Activation::Gelu),
        "gelu_new" | "gelu_pytorch_tanh" | "gelu_fast" => Ok(Activation::GeluTanh),
        "relu" => Ok(Activation::Relu),
        "silu" | "swish" => Ok(Activation::Silu),
        other => Err(settings.unsupported(
            key,
            &format!("`{other}` is not supported"),
            "supported are gelu, gelu_new, gelu_pytorch_tanh, relu and silu",
        )),
    }
}

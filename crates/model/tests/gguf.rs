//! GGUF files: reference models rewritten as llama.cpp stores them, tokenizers from metadata, and a real model.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use std::collections::HashMap;
use std::fs;
use std::path::PathBuf;

use common::gguf::{Meta, Writer};
use common::{open, reference};
use sagellm_core::UserError;
use sagellm_model::{Dtype, Model};

/// The metadata of a tokenizer of the reference models, from their `vocab.json` and `merges.txt`.
fn reference_tokenizer(writer: &mut Writer, pre: &str) {
    let folder = reference("gpt2-bin");
    let vocab: HashMap<String, usize> = serde_json::from_slice(&fs::read(folder.join("vocab.json")).unwrap()).unwrap();
    let mut tokens = vec![String::new(); vocab.len()];
    vocab.into_iter().for_each(|(token, id)| tokens[id] = token);
    let types = tokens.iter().map(|token| if token == "<|endoftext|>" { 3 } else { 1 }).collect();
    let merges = fs::read_to_string(folder.join("merges.txt")).unwrap();
    let merges = merges.lines().filter(|line| !line.starts_with("#version") && !line.is_empty()).map(str::to_owned);
    writer.set("tokenizer.ggml.model", Meta::Text("gpt2".into()));
    writer.set("tokenizer.ggml.pre", Meta::Text(pre.into()));
    writer.set("tokenizer.ggml.tokens", Meta::Texts(tokens));
    writer.set("tokenizer.ggml.token_type", Meta::Ints(types));
    writer.set("tokenizer.ggml.merges", Meta::Texts(merges.collect()));
    writer.set("tokenizer.ggml.bos_token_id", Meta::U32(300));
    writer.set("tokenizer.ggml.eos_token_id", Meta::U32(300));
}

/// Rows of heads as llama.cpp's converter reorders them: `w.reshape(heads, 2, d / 2, columns).swapaxes(1, 2)`.
fn interleave(data: &[f32], rows: usize, head_dim: usize) -> Vec<f32> {
    let columns = data.len() / rows;
    let mut out = Vec::new();
    for head in 0..rows / head_dim {
        for pair in 0..head_dim / 2 {
            for half in 0..2 {
                let row = head * head_dim + half * head_dim / 2 + pair;
                out.extend_from_slice(&data[row * columns..(row + 1) * columns]);
            }
        }
    }
    out
}

/// A reference model of the Llama or GPT-2 kind as GGUF.
fn as_gguf(model: &Model) -> Writer {
    let config = &model.config;
    let architecture = config.architecture.name();
    let mut writer = Writer::default();
    writer.set("general.architecture", Meta::Text(architecture.into()));
    let gpt2 = architecture == "gpt2";
    for (key, size) in [
        ("block_count", config.num_layers),
        ("context_length", config.context_length),
        ("embedding_length", config.hidden_size),
        ("feed_forward_length", config.intermediate_size),
        ("attention.head_count", config.num_heads),
        ("attention.head_count_kv", config.num_kv_heads),
        ("attention.key_length", config.head_dim),
        ("attention.value_length", config.head_dim),
    ] {
        writer.set(&format!("{architecture}.{key}"), Meta::U32(size as u32));
    }
    let epsilon = if gpt2 { "attention.layer_norm_epsilon" } else { "attention.layer_norm_rms_epsilon" };
    writer.set(&format!("{architecture}.{epsilon}"), Meta::F32(config.norm_eps));
    writer.set(&format!("{architecture}.rope.freq_base"), Meta::F32(config.rope_theta));
    reference_tokenizer(&mut writer, "gpt-2");
    for name in model.checkpoint.names() {
        let tensor = model.checkpoint.tensor(&name).unwrap();
        let mut data = tensor.to_f32();
        if architecture == "llama" && (name.contains("q_proj") || name.contains("k_proj")) {
            data = interleave(&data, tensor.shape[0], config.head_dim);
        }
        let bytes = data.iter().flat_map(|number| number.to_le_bytes()).collect();
        writer.tensors.push((llama_cpp_name(&name), tensor.shape, 0, bytes));
    }
    writer
}

fn llama_cpp_name(name: &str) -> String {
    let mut name = name.replace("layers.", "blk.");
    if let Some(rest) = name.strip_prefix("h.") {
        name = format!("blk.{rest}");
    }
    for (from, to) in [
        ("self_attn.q_proj", "attn_q"),
        ("self_attn.k_proj", "attn_k"),
        ("self_attn.v_proj", "attn_v"),
        ("self_attn.o_proj", "attn_output"),
        ("self_attn.q_norm", "attn_q_norm"),
        ("self_attn.k_norm", "attn_k_norm"),
        ("input_layernorm", "attn_norm"),
        ("post_attention_layernorm", "ffn_norm"),
        ("mlp.gate_proj", "ffn_gate"),
        ("mlp.up_proj", "ffn_up"),
        ("mlp.down_proj", "ffn_down"),
        ("embed_tokens", "token_embd"),
        ("lm_head", "output"),
        ("ln_1", "attn_norm"),
        ("ln_2", "ffn_norm"),
        ("ln_f", "output_norm"),
        ("attn.c_attn", "attn_qkv"),
        ("attn.c_proj", "attn_output"),
        ("mlp.c_fc", "ffn_up"),
        ("mlp.c_proj", "ffn_down"),
        ("wte", "token_embd"),
        ("wpe", "position_embd"),
    ] {
        name = name.replace(from, to);
    }
    if name == "norm.weight" { "output_norm.weight".into() } else { name }
}

struct Written {
    _folder: tempfile::TempDir,
    path: PathBuf,
}

fn write(writer: &Writer) -> Written {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.gguf");
    fs::write(&path, writer.bytes()).unwrap();
    Written { _folder: folder, path }
}

fn message(writer: &Writer) -> String {
    let written = write(writer);
    let error = open(&written.path).unwrap_err();
    assert!(error.hint().is_some());
    let message = error.to_string();
    assert!(message.contains("model.gguf"), "{message}");
    message
}

#[test]
fn a_model_is_the_same_from_gguf_and_from_a_folder() {
    for name in ["llama", "llama-untied", "qwen2", "qwen3", "gpt2"] {
        let folder = open(&reference(name)).unwrap();
        let written = write(&as_gguf(&folder));
        let gguf = open(&written.path).unwrap();
        assert_eq!(gguf.config, folder.config, "{name}");
        assert_eq!(gguf.checkpoint.names(), folder.checkpoint.names(), "{name}");
        for tensor in folder.checkpoint.names() {
            let (ours, theirs) = (gguf.checkpoint.tensor(&tensor).unwrap(), folder.checkpoint.tensor(&tensor).unwrap());
            assert_eq!(ours.shape, theirs.shape, "{name}: {tensor}");
            assert!(ours.to_f32() == theirs.to_f32(), "{name}: {tensor}");
        }
        let text = "The harbour wakes, don't it? 2024 — café";
        assert_eq!(gguf.tokenizer.encode(text, true).unwrap(), folder.tokenizer.encode(text, true).unwrap());
        assert_eq!(gguf.tokenizer.encode("<|endoftext|>", true).unwrap(), [300]);
    }
}

#[test]
fn quantized_query_rows_are_put_in_order() {
    // Rows of 64 elements in q8_0, each row filled with its own number.
    let model = open(&reference("llama")).unwrap();
    let mut writer = as_gguf(&model);
    for (name, shape, kind, data) in &mut writer.tensors {
        let rows: usize = if shape.len() == 2 { shape[0] } else { 1 };
        let wide = |size: usize| if size == model.config.hidden_size { 64 } else { size };
        if shape.len() == 1 {
            *shape = vec![64];
            *data = vec![0; 64 * 4];
            continue;
        }
        let inputs = if name.contains("ffn_down") { 96 } else { 64 };
        let rows = if name.contains("ffn_up") || name.contains("ffn_gate") { 96 } else { wide(rows) };
        let rows = if name.contains("attn_q") { 4 * 8 } else { rows };
        let inputs = if name.contains("attn_output") { 4 * 8 } else { inputs };
        *shape = vec![rows, inputs];
        *kind = 8;
        data.clear();
        for row in 0..rows {
            for _ in 0..inputs / 32 {
                data.extend([0x00, 0x3c]);
                data.extend([row as u8; 32]);
            }
        }
    }
    writer.set("llama.embedding_length", Meta::U32(64));
    writer.set("llama.feed_forward_length", Meta::U32(96));
    let written = write(&writer);
    let opened = open(&written.path).unwrap();
    assert_eq!(opened.checkpoint.dtype(), Dtype::Q8_0);
    let query = opened.checkpoint.tensor("layers.0.self_attn.q_proj.weight").unwrap();
    assert_eq!((query.dtype, query.row_bytes()), (Dtype::Q8_0, 68));
    let firsts: Vec<f32> = query.to_f32().chunks(64).map(|row| row[0]).collect();
    assert_eq!(firsts[..16], [0., 2., 4., 6., 1., 3., 5., 7., 8., 10., 12., 14., 9., 11., 13., 15.]);
}

#[test]
fn sentence_piece_metadata_gives_the_ids_of_sentencepiece() {
    #[derive(serde::Deserialize)]
    struct Reference {
        tokens: Vec<String>,
        scores: Vec<f32>,
        types: Vec<i32>,
        cases: Vec<Case>,
    }
    #[derive(serde::Deserialize)]
    struct Case {
        text: String,
        ids: Vec<u32>,
    }
    let reference: Reference = serde_json::from_str(include_str!("data/sentencepiece.json")).unwrap();
    let mut writer = as_gguf(&open(&common::reference("llama")).unwrap());
    for (key, value) in [
        ("model", Meta::Text("llama".into())),
        ("tokens", Meta::Texts(reference.tokens)),
        ("scores", Meta::Floats(reference.scores)),
        ("token_type", Meta::Ints(reference.types)),
        ("bos_token_id", Meta::U32(1)),
    ] {
        writer.set(&format!("tokenizer.ggml.{key}"), value);
    }
    // The vocabulary has 380 tokens; the model needs as many rows.
    let embedding = writer.tensors.iter_mut().find(|(name, ..)| name == "token_embd.weight").unwrap();
    embedding.1[0] = 380;
    embedding.3.resize(380 * embedding.1[1] * 4, 0);
    let tokenizer = open(&write(&writer).path).unwrap().tokenizer;
    for Case { text, ids } in reference.cases {
        assert_eq!(tokenizer.encode(&text, true).unwrap(), ids, "{text:?}");
        assert_eq!(tokenizer.decode(&ids[1..]), text);
    }
}

#[test]
fn every_pre_tokenizer_keeps_all_of_a_text() {
    let mut writer = as_gguf(&open(&reference("gpt2")).unwrap());
    let text = "It's 12345 o'clock,\r\n\r\n  DON'T  panic…  Grüße ½ 東京\t$3.50 ";
    for pre in ["gpt-2", "smollm", "llama-bpe", "qwen2", "default"] {
        writer.set("tokenizer.ggml.pre", Meta::Text(pre.into()));
        let tokenizer = open(&write(&writer).path).unwrap().tokenizer;
        let encoded = tokenizer.encode(text, false).unwrap();
        assert_eq!(tokenizer.decode(&encoded), text, "{pre}");
        // Llama 3 puts a token of beginning before a text by itself.
        let special = tokenizer.encode(text, true).unwrap();
        assert_eq!(special.len() - encoded.len(), usize::from(pre == "llama-bpe"), "{pre}");
    }
    writer.set("tokenizer.ggml.add_bos_token", Meta::Bool(true));
    let special = open(&write(&writer).path).unwrap().tokenizer.encode("a", true).unwrap();
    assert_eq!(special[0], 300);
}

#[test]
fn what_is_not_implemented_is_refused_by_name() {
    let plain = as_gguf(&open(&reference("llama")).unwrap());
    let refused = |key: &str, value: Meta, word: &str| {
        let mut writer = plain.clone();
        writer.set(key, value);
        let message = message(&writer);
        assert!(message.contains(word), "{message}");
    };
    refused("general.architecture", Meta::Text("mamba".into()), "mamba");
    refused("tokenizer.ggml.pre", Meta::Text("viking".into()), "viking");
    refused("tokenizer.ggml.model", Meta::Text("bert".into()), "bert");
    refused("llama.expert_count", Meta::U32(8), "llama.expert_count");
    refused("llama.rope.scaling.type", Meta::Text("yarn".into()), "yarn");
    refused("llama.attention.sliding_window", Meta::U32(64), "llama.attention.sliding_window");
    refused("split.count", Meta::U32(3), "split");
    refused("llama.block_count", Meta::U32(0), "layers");
    refused("llama.block_count", Meta::Text("two".into()), "must be a whole number");
    refused("llama.block_count", Meta::U32(u32::MAX), "layers");
    refused("general.alignment", Meta::U32(0), "alignment");

    let mut quantized = plain.clone();
    let tensor = quantized.tensors.iter_mut().find(|(name, ..)| name == "blk.0.ffn_up.weight").unwrap();
    tensor.2 = 10;
    let message = message(&quantized);
    assert!(message.contains("`blk.0.ffn_up.weight` is stored as Q2_K"), "{message}");
}

#[test]
fn a_missing_or_misshapen_tensor_is_named() {
    let plain = as_gguf(&open(&reference("llama")).unwrap());
    let mut missing = plain.clone();
    missing.tensors.retain(|(name, ..)| name != "blk.1.ffn_down.weight");
    assert!(message(&missing).contains("`blk.1.ffn_down.weight` is missing"));

    let mut misshapen = plain.clone();
    let tensor = misshapen.tensors.iter_mut().find(|(name, ..)| name == "blk.1.ffn_down.weight").unwrap();
    tensor.1.reverse();
    assert!(message(&misshapen).contains("`blk.1.ffn_down.weight` has shape"));
}

#[test]
fn a_tokenizer_of_another_model_is_refused() {
    let mut writer = as_gguf(&open(&reference("llama")).unwrap());
    let (_, Meta::Texts(tokens)) = writer.metadata.iter_mut().find(|(key, _)| key == "tokenizer.ggml.tokens").unwrap()
    else {
        panic!("tokens are texts");
    };
    tokens.extend((0..100).map(|number| format!("extra{number}")));
    writer.metadata.retain(|(key, _)| key != "tokenizer.ggml.token_type");
    assert!(message(&writer).contains("401 tokens"));
}

/// Needs the file that `run_tests.sh` fetches.
#[test]
#[ignore = "needs SmolLM2-135M in SAGELLM_TEST_GGUF"]
fn smollm2_is_read_as_transformers_reads_it() {
    #[derive(serde::Deserialize)]
    struct Case {
        prompt: String,
        prompt_ids: Vec<u32>,
        greedy: Vec<u32>,
        text: String,
    }
    let model = open(&PathBuf::from(std::env::var("SAGELLM_TEST_GGUF").unwrap())).unwrap();
    assert_eq!(model.info.parameters, Some(134_515_008));
    assert_eq!(model.checkpoint.dtype(), Dtype::Q4_1);
    assert_eq!((model.config.num_layers, model.config.context_length), (30, 8192));
    assert_eq!(model.config.eos_token_ids, [2]);
    assert!(model.chat_template.unwrap().contains("<|im_start|>"));
    assert_eq!(model.tokenizer.encode("<|im_start|>user 42", true).unwrap(), [1, 4093, 216, 36, 34]);

    let file = fs::read(reference("../smollm2_greedy.json")).unwrap();
    let cases: Vec<Case> = serde_json::from_slice(&file).unwrap();
    assert!(!cases.is_empty());
    for case in cases {
        assert_eq!(model.tokenizer.encode(&case.prompt, true).unwrap(), case.prompt_ids);
        assert_eq!(model.tokenizer.decode(&case.greedy), case.text);
    }
}

//! The tiny reference models of `testdata/models`, in every form that a folder can have.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use common::{open, reference};
use sagellm_core::UserError;
use sagellm_model::{Architecture, Dtype, Model, RopeScaling};

const REFERENCES: [&str; 15] = [
    "gpt2",
    "gpt2-bin",
    "gpt2-bin-legacy",
    "gpt2-width2",
    "llama",
    "llama-bf16",
    "llama-sharded",
    "llama-untied",
    "llama3-rope-scaling",
    "mistral",
    "opt",
    "opt-350m-style",
    "opt-f16",
    "qwen2",
    "qwen3",
];

fn tensors(model: &Model) -> Vec<(String, Vec<usize>, Vec<f32>)> {
    let tensor = |name: String| {
        let tensor = model.checkpoint.tensor(&name).unwrap();
        (name, tensor.shape.clone(), tensor.to_f32())
    };
    model.checkpoint.names().into_iter().map(tensor).collect()
}

#[test]
fn every_reference_model_opens() {
    for name in REFERENCES {
        let model = open(&reference(name)).unwrap();
        let elements: u64 = tensors(&model)
            .iter()
            .map(|(_, shape, data)| {
                assert_eq!(shape.iter().product::<usize>(), data.len());
                assert!(data.iter().all(|number| number.is_finite()), "{name}");
                data.len() as u64
            })
            .sum();
        assert_eq!(model.checkpoint.parameters(), elements, "{name}");
        assert_eq!(model.info.parameters, Some(elements), "{name}");
        assert_eq!(model.config.vocab_size, 331, "{name}");
        assert_eq!(model.tokenizer.vocab_size(), 301, "{name}");
        assert_eq!(model.config.eos_token_ids, [300], "{name}");
        assert!(!model.info.synthetic);
    }
}

#[test]
fn tokenizers_give_the_reference_ids() {
    #[derive(serde::Deserialize)]
    struct Case {
        text: String,
        ids: Vec<u32>,
    }
    let cases: Vec<Case> = serde_json::from_slice(&std::fs::read(reference("tokenizer_cases.json")).unwrap()).unwrap();
    assert!(cases.len() > 5);
    // One `tokenizer.json`, and one `vocab.json` with `merges.txt`.
    for name in ["llama", "gpt2-bin"] {
        let tokenizer = open(&reference(name)).unwrap().tokenizer;
        for case in &cases {
            assert_eq!(tokenizer.encode(&case.text, true).unwrap(), case.ids, "{name}: {:?}", case.text);
            assert_eq!(tokenizer.decode(&case.ids), case.text, "{name}");
        }
    }
}

#[test]
fn pickles_hold_what_safetensors_hold() {
    let expected = tensors(&open(&reference("gpt2")).unwrap());
    for name in ["gpt2-bin", "gpt2-bin-legacy"] {
        assert!(tensors(&open(&reference(name)).unwrap()) == expected, "{name}");
    }
}

#[test]
fn shards_hold_what_one_file_holds() {
    let expected = tensors(&open(&reference("llama")).unwrap());
    assert!(tensors(&open(&reference("llama-sharded")).unwrap()) == expected);
}

#[test]
fn conv1d_weights_are_transposed() {
    let model = open(&reference("gpt2")).unwrap();
    let (hidden, inner) = (model.config.hidden_size, model.config.intermediate_size);
    let ours = model.checkpoint.tensor("h.0.mlp.c_fc.weight").unwrap();
    assert_eq!(ours.shape, [inner, hidden]);
    let bytes = std::fs::read(reference("gpt2").join("model.safetensors")).unwrap();
    let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let view = file.tensor("transformer.h.0.mlp.c_fc.weight").unwrap();
    assert_eq!(view.shape(), [hidden, inner]);
    let stored: Vec<f32> = view.data().chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect();
    let ours = ours.to_f32();
    for row in 0..inner {
        for column in 0..hidden {
            assert_eq!(ours[row * hidden + column], stored[column * inner + row]);
        }
    }
}

#[test]
fn types_are_kept() {
    assert_eq!(open(&reference("llama-bf16")).unwrap().checkpoint.dtype(), Dtype::Bf16);
    assert_eq!(open(&reference("opt-f16")).unwrap().checkpoint.dtype(), Dtype::F16);
    assert_eq!(open(&reference("llama")).unwrap().checkpoint.dtype(), Dtype::F32);
}

#[test]
fn configs_say_what_the_files_say() {
    let opt = open(&reference("opt-350m-style")).unwrap().config;
    assert_eq!(opt.architecture, Architecture::Opt);
    assert!(opt.embedding_size < opt.hidden_size && !opt.norm_before && !opt.final_norm);
    let llama = open(&reference("llama-untied")).unwrap().config;
    assert!(!llama.tie_word_embeddings && llama.qkv_bias && llama.attention_out_bias && llama.mlp_bias);
    let qwen2 = open(&reference("qwen2")).unwrap().config;
    assert!(qwen2.qkv_bias && !qwen2.attention_out_bias);
    let qwen3 = open(&reference("qwen3")).unwrap().config;
    assert_eq!((qwen3.architecture, qwen3.head_dim), (Architecture::Qwen3, 12));
    assert_eq!(
        open(&reference("llama3-rope-scaling")).unwrap().config.rope_scaling,
        RopeScaling::Llama3 { factor: 8.0, low_freq_factor: 1.0, high_freq_factor: 4.0, original_context: 64.0 }
    );
}

#[test]
fn a_tensor_that_is_not_part_of_the_model_is_an_error() {
    let model = open(&reference("gpt2")).unwrap();
    let error = model.checkpoint.tensor("layers.0.mlp.up_proj.weight").unwrap_err();
    assert!(error.to_string().contains("`layers.0.mlp.up_proj.weight` is not part of this model"), "{error}");
    assert!(error.hint().is_some());
}

#[test]
fn fingerprints_differ_between_models_and_repeat_for_one() {
    let fingerprint = |name: &str| open(&reference(name)).unwrap().info.fingerprint.unwrap();
    assert_eq!(fingerprint("gpt2"), fingerprint("gpt2"));
    assert_ne!(fingerprint("llama"), fingerprint("llama3-rope-scaling"));
}

#[test]
fn a_tokenizer_alone_is_that_of_the_model() {
    let folder = reference("gpt2-bin");
    let gguf = concat!(env!("CARGO_MANIFEST_DIR"), "/../../testdata/gguf/llama.gguf");
    let file = reference("llama").join("tokenizer.json");
    for (spec, whole) in [
        (folder.to_str().unwrap(), folder.to_str().unwrap()),
        (gguf, gguf),
        (file.to_str().unwrap(), reference("llama").to_str().unwrap()),
        ("synthetic:tiny", "synthetic:tiny"),
    ] {
        let options = sagellm_model::OpenOptions::default();
        let alone = sagellm_model::open_tokenizer(spec, &options, &sagellm_core::NoProgress).unwrap();
        let model = common::open_spec(whole).unwrap();
        assert_eq!(
            alone.encode("Words, and 12 more.", true).unwrap(),
            model.tokenizer.encode("Words, and 12 more.", true).unwrap()
        );
        assert_eq!(alone.fingerprint(), model.tokenizer.fingerprint(), "{spec}");
    }
    let error =
        sagellm_model::open_tokenizer("./nowhere", &sagellm_model::OpenOptions::default(), &sagellm_core::NoProgress);
    assert!(error.unwrap_err().to_string().starts_with("Model path invalid"));
}

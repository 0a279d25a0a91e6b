//! Damaged, truncated and hostile files: one clear error each, no panic, no run-away memory.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use std::alloc::{GlobalAlloc, Layout, System};
use std::fs;
use std::path::Path;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use common::{copy_of, open};
use proptest::prelude::*;
use sagellm_core::{Exit, UserError};
use sagellm_model::ModelError;

/// Refuses what no reader of a small file may ask for.
struct Watched;

static LARGEST: AtomicUsize = AtomicUsize::new(0);
const LIMIT: usize = 64 << 20;

#[expect(unsafe_code, reason = "an allocator is unsafe by its signature")]
// SAFETY: everything is handed on to the system's allocator.
unsafe impl GlobalAlloc for Watched {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        LARGEST.fetch_max(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller's promises are handed on.
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller's promises are handed on.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Watched = Watched;

/// Opens a model whose file may be bad in any way. What opens is read to the end.
fn survive(path: &Path) {
    match open(path) {
        Ok(model) => {
            for name in model.checkpoint.names() {
                model.checkpoint.tensor(&name).unwrap().to_f32();
            }
            model.tokenizer.decode(&model.tokenizer.encode("harbour, 2024", true).unwrap_or_default());
        }
        Err(error) => check(&error),
    }
    assert!(LARGEST.load(Ordering::Relaxed) < LIMIT, "one allocation of {} bytes", LARGEST.load(Ordering::Relaxed));
}

fn check(error: &ModelError) {
    assert_eq!(error.exit(), Exit::Input);
    assert!(error.hint().is_some_and(|hint| !hint.is_empty()), "{error}");
    assert!(!error.to_string().contains('\n'), "{error}");
}

/// What is done to a file.
#[derive(Clone, Debug)]
enum Damage {
    Cut(f64),
    Flip(Vec<(f64, u8)>),
    Number(f64, u64),
    Append(Vec<u8>),
}

impl Damage {
    /// `head` is the part of the file that means something, where damage is worth most.
    fn apply(&self, bytes: &mut Vec<u8>, head: usize) {
        let place = |share: &f64| ((share * head as f64) as usize).min(bytes.len() - 1);
        match self {
            Self::Cut(share) => bytes.truncate(place(share)),
            Self::Flip(flips) => {
                let places: Vec<_> = flips.iter().map(|(share, mask)| (place(share), *mask)).collect();
                places.into_iter().for_each(|(at, mask)| bytes[at] ^= mask);
            }
            Self::Number(share, number) => {
                let at = place(share).min(bytes.len() - 8);
                bytes[at..at + 8].copy_from_slice(&number.to_le_bytes());
            }
            Self::Append(more) => bytes.extend(more),
        }
    }
}

fn damage() -> impl Strategy<Value = Damage> {
    let number = prop_oneof![
        any::<u64>(),
        Just(u64::MAX),
        Just(u64::from(u32::MAX)),
        Just(i64::MAX as u64),
        (0_u32..63).prop_map(|bit| 1 << bit),
    ];
    prop_oneof![
        (0.0..1.0).prop_map(Damage::Cut),
        prop::collection::vec((0.0..1.0, 1_u8..), 1..8).prop_map(Damage::Flip),
        (0.0..1.0, number).prop_map(|(share, number)| Damage::Number(share, number)),
        prop::collection::vec(any::<u8>(), 1..64).prop_map(Damage::Append),
    ]
}

/// A folder in which one file is damaged again and again.
fn damaged_file(folder: &Path, file: &str, head: usize, damage: &Damage) {
    let mut bytes = fs::read(folder.join(format!("{file}.sound"))).unwrap();
    let head = head.min(bytes.len());
    damage.apply(&mut bytes, head);
    fs::write(folder.join(file), bytes).unwrap();
}

fn workshop(name: &str, file: &str) -> tempfile::TempDir {
    let folder = copy_of(name);
    fs::copy(folder.path().join(file), folder.path().join(format!("{file}.sound"))).unwrap();
    folder
}

macro_rules! damaged {
    ($name:ident, $model:literal, $file:literal, $head:literal) => {
        #[test]
        fn $name() {
            static FOLDER: OnceLock<tempfile::TempDir> = OnceLock::new();
            let folder = FOLDER.get_or_init(|| workshop($model, $file)).path();
            proptest!(ProptestConfig { failure_persistence: None, cases: 300, ..Default::default() }, |(damage in damage())| {
                damaged_file(folder, $file, $head, &damage);
                survive(folder);
            });
        }
    };
}

damaged!(damaged_safetensors_never_panic, "llama", "model.safetensors", 4000);
damaged!(damaged_indexes_never_panic, "llama-sharded", "model.safetensors.index.json", 100_000);
damaged!(damaged_configs_never_panic, "llama", "config.json", 100_000);
damaged!(damaged_vocabularies_never_panic, "gpt2-bin", "vocab.json", 100_000);
damaged!(damaged_merges_never_panic, "gpt2-bin", "merges.txt", 100_000);
damaged!(damaged_old_pickles_never_panic, "gpt2-bin-legacy", "pytorch_model.bin", 4000);
damaged!(damaged_archives_never_panic, "gpt2-bin", "pytorch_model.bin", 4000);

#[test]
fn a_config_that_asks_for_petabytes_is_refused_before_anything_is_allocated() {
    let folder = workshop("llama", "config.json");
    let path = folder.path().join("config.json");
    let mut config: serde_json::Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    let most = 1 << 24;
    for (key, value) in [
        ("vocab_size", most),
        ("hidden_size", most),
        ("intermediate_size", most),
        ("num_attention_heads", most / 64),
        ("num_key_value_heads", most / 64),
        ("head_dim", 64),
    ] {
        config[key] = value.into();
    }
    fs::write(&path, config.to_string()).unwrap();
    let error = open(folder.path()).err().unwrap();
    check(&error);
    assert!(error.to_string().contains("[16777216, 16777216]"), "{error}");
    assert!(LARGEST.load(Ordering::Relaxed) < LIMIT, "one allocation of {} bytes", LARGEST.load(Ordering::Relaxed));
}

/// The directory of a zip archive lies at its end.
#[test]
fn damaged_zip_directories_never_panic() {
    let folder = workshop("gpt2-bin", "pytorch_model.bin");
    let sound = fs::read(folder.path().join("pytorch_model.bin.sound")).unwrap();
    proptest!(ProptestConfig { failure_persistence: None, cases: 300, ..Default::default() }, |(damage in damage())| {
        let mut tail = sound[sound.len() - 4000..].to_vec();
        damage.apply(&mut tail, 4000);
        let mut bytes = sound[..sound.len() - 4000].to_vec();
        bytes.extend(tail);
        fs::write(folder.path().join("pytorch_model.bin"), bytes).unwrap();
        survive(folder.path());
    });
}

fn small_gguf() -> Vec<u8> {
    use common::gguf::{Meta, Writer};
    let mut writer = Writer::default();
    writer.set("general.architecture", Meta::Text("qwen2".into()));
    for (key, value) in [
        ("block_count", 1),
        ("context_length", 64),
        ("embedding_length", 32),
        ("feed_forward_length", 32),
        ("attention.head_count", 2),
        ("attention.head_count_kv", 2),
    ] {
        writer.set(&format!("qwen2.{key}"), Meta::U32(value));
    }
    writer.set("qwen2.attention.layer_norm_rms_epsilon", Meta::F32(1e-6));
    let tokens: Vec<String> = ('a'..='z').map(String::from).chain(["ab".into()]).collect();
    writer.set("tokenizer.ggml.model", Meta::Text("gpt2".into()));
    writer.set("tokenizer.ggml.pre", Meta::Text("qwen2".into()));
    writer.set("tokenizer.ggml.token_type", Meta::Ints(vec![1; tokens.len()]));
    writer.set("tokenizer.ggml.tokens", Meta::Texts(tokens));
    writer.set("tokenizer.ggml.merges", Meta::Texts(vec!["a b".into()]));
    for (name, rows, columns) in [
        ("token_embd.weight", 32, 32),
        ("blk.0.attn_q.weight", 32, 32),
        ("blk.0.attn_k.weight", 32, 32),
        ("blk.0.attn_v.weight", 32, 32),
        ("blk.0.attn_output.weight", 32, 32),
        ("blk.0.ffn_gate.weight", 32, 32),
        ("blk.0.ffn_up.weight", 32, 32),
        ("blk.0.ffn_down.weight", 32, 32),
    ] {
        writer.tensors.push((name.into(), vec![rows, columns], 8, vec![1; rows * columns / 32 * 34]));
    }
    for name in ["blk.0.attn_norm.weight", "blk.0.ffn_norm.weight", "output_norm.weight"] {
        writer.tensors.push((name.into(), vec![32], 0, vec![0; 128]));
    }
    writer.bytes()
}

#[test]
fn damaged_gguf_never_panics() {
    let sound = small_gguf();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.gguf");
    fs::write(&path, &sound).unwrap();
    open(&path).unwrap();
    proptest!(ProptestConfig { failure_persistence: None, cases: 1500, ..Default::default() }, |(damage in damage())| {
        let mut bytes = sound.clone();
        let head = bytes.len() - 8 * 32 * 34;
        damage.apply(&mut bytes, head);
        fs::write(&path, bytes).unwrap();
        survive(&path);
    });
}

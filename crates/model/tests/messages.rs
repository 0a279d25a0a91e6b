//! What is said about a model that cannot be used.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use std::fs;
use std::io::Write;
use std::path::Path;

use common::{copy_of, open, open_spec};
use sagellm_core::{Exit, Failure, UserError};
use serde_json::{Value, json};

/// The message, after checking what all have in common.
fn failure(spec: &str) -> (String, String) {
    let error = open_spec(spec).unwrap_err();
    assert_eq!(error.exit(), Exit::Input);
    let Failure { message, hint, .. } = Failure::from(error);
    let hint = hint.unwrap();
    assert!(!message.contains('\n') && !hint.contains('\n'), "{message} / {hint}");
    (message, hint)
}

fn failure_of(folder: &Path) -> (String, String) {
    failure(folder.to_str().unwrap())
}

#[track_caller]
fn says((message, hint): (String, String), words: &[&str]) {
    for word in words {
        assert!(message.contains(word) || hint.contains(word), "`{word}` is not in: {message} / {hint}");
    }
}

/// A reference model with `change` made to its config.
fn with_config(name: &str, change: impl FnOnce(&mut Value)) -> (String, String) {
    let folder = copy_of(name);
    let path = folder.path().join("config.json");
    let mut config = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    change(&mut config);
    fs::write(&path, config.to_string()).unwrap();
    failure_of(folder.path())
}

fn with_file(name: &str, file: &str, content: &[u8]) -> (String, String) {
    let folder = copy_of(name);
    fs::write(folder.path().join(file), content).unwrap();
    failure_of(folder.path())
}

#[test]
fn names_that_lead_nowhere() {
    let (message, hint) = failure("./no/such/model");
    assert!(message.starts_with("Model path invalid: "), "{message}");
    says((message, hint), &["./no/such/model", "sshleifer/tiny-gpt2", "synthetic:gpt2"]);
    let (message, _) = failure("missing.gguf");
    assert!(message.starts_with("Model path invalid: "), "{message}");
    says(failure("synthetic:gpt5"), &["gpt5", "synthetic:gpt2", "synthetic:opt-125m", "synthetic:tiny"]);
    says(failure("synthetic:"), &["synthetic:tiny"]);
}

#[test]
fn files_that_are_missing() {
    let folder = tempfile::tempdir().unwrap();
    says(failure_of(folder.path()), &["`config.json`", "save_pretrained"]);
    fs::write(folder.path().join("m.gguf"), "").unwrap();
    says(failure_of(folder.path()), &["m.gguf"]);

    for (name, file, words) in [
        ("llama", "model.safetensors", &["weights", "model.safetensors"][..]),
        ("llama", "tokenizer.json", &["tokenizer.json", "vocab.json"]),
        ("gpt2-bin", "merges.txt", &["tokenizer.json", "merges.txt"]),
        ("llama-sharded", "model-00002-of-00002.safetensors", &["model-00002-of-00002.safetensors"]),
    ] {
        let folder = copy_of(name);
        fs::remove_file(folder.path().join(file)).unwrap();
        says(failure_of(folder.path()), words);
    }
}

#[test]
fn files_that_are_not_models() {
    let folder = copy_of("llama");
    let weights = folder.path().join("model.safetensors");
    says(failure_of(&weights), &["single file", "name the folder"]);
    let fake = folder.path().join("fake.gguf");
    fs::write(&fake, "not a model").unwrap();
    says(failure_of(&fake), &["fake.gguf", "`GGUF`"]);
    fs::write(&fake, "").unwrap();
    says(failure_of(&fake), &["fake.gguf"]);
}

#[test]
fn configs_that_ask_for_too_much() {
    let refused = |name: &str, key: &str, value: Value, words: &[&str]| {
        says(with_config(name, |config| config[key] = value.clone()), words);
    };
    refused("llama", "model_type", json!("mamba"), &["`mamba`", "gpt2, opt, llama", "qwen3"]);
    refused("llama", "model_type", json!("qwen2_moe"), &["`qwen2_moe`"]);
    refused("llama", "hidden_act", json!("mish"), &["hidden_act", "`mish`", "silu"]);
    refused(
        "llama",
        "rope_parameters",
        json!({"rope_type": "yarn", "factor": 4.0}),
        &["rope_type", "`yarn`", "llama3"],
    );
    refused("llama", "rope_parameters", json!({"rope_type": "linear"}), &["rope_parameters.factor", "missing"]);
    refused("llama", "quantization_config", json!({"quant_method": "gptq"}), &["quantization_config", "GGUF"]);
    refused("mistral", "sliding_window", json!(64), &["sliding_window", "64", "1024"]);
    refused("qwen2", "use_sliding_window", json!("yes"), &["use_sliding_window", "true or false"]);
    refused("gpt2", "scale_attn_by_inverse_layer_idx", json!(true), &["scale_attn_by_inverse_layer_idx"]);
    refused("opt", "layer_norm_elementwise_affine", json!(false), &["layer_norm_elementwise_affine"]);
}

#[test]
fn configs_that_make_no_sense() {
    for (name, key) in [("gpt2", "n_embd"), ("opt", "ffn_dim"), ("llama", "num_hidden_layers"), ("qwen3", "vocab_size")]
    {
        let lacking = with_config(name, |config| {
            config.as_object_mut().unwrap().remove(key);
        });
        says(lacking, &["config.json", key, "missing"]);
    }
    says(with_config("llama", |config| config["num_key_value_heads"] = json!(3)), &["key/value heads"]);
    says(with_config("gpt2", |config| config["n_head"] = json!(0)), &["number of heads"]);
    says(with_config("gpt2", |config| config["n_head"] = json!(5)), &["no multiple of the number of heads"]);
    says(with_config("llama", |config| config["num_hidden_layers"] = json!(1_000_000_000)), &["number of layers"]);
    says(with_config("llama", |config| config["hidden_size"] = json!(-1)), &["hidden_size", "whole number"]);
    says(with_config("llama", |config| config["rms_norm_eps"] = json!(0)), &["epsilon"]);
    says(with_config("llama", |config| config["hidden_size"] = json!(64)), &["embed_tokens.weight", "shape"]);
    says(with_config("llama", |config| config["num_hidden_layers"] = json!(3)), &["layers.2.", "missing"]);
    says(with_file("llama", "config.json", b"{"), &["config.json", "not JSON"]);
    says(with_file("llama", "config.json", b"[]"), &["config.json", "not a JSON object"]);
    says(with_file("llama", "config.json", &vec![b'['; 100_000]), &["config.json", "recursion"]);
}

#[test]
fn safetensors_that_are_damaged() {
    let sound = fs::read(common::reference("llama").join("model.safetensors")).unwrap();
    let bad = |content: &[u8], words: &[&str]| says(with_file("llama", "model.safetensors", content), words);
    bad(b"", &["model.safetensors", "empty"]);
    bad(&sound[..sound.len() - 1], &["model.safetensors", "header", "download"]);
    bad(&sound[..100], &["model.safetensors"]);
    let mut huge = sound.clone();
    huge[..8].copy_from_slice(&u64::MAX.to_le_bytes());
    bad(&huge, &["model.safetensors"]);

    let mut integers =
        b"{\"model.embed_tokens.weight\":{\"dtype\":\"I8\",\"shape\":[1],\"data_offsets\":[0,1]}}".to_vec();
    let mut content = (integers.len() as u64).to_le_bytes().to_vec();
    content.append(&mut integers);
    content.push(0);
    bad(&content, &["`model.embed_tokens.weight`", "I8", "not supported"]);
}

#[test]
fn an_index_may_not_lead_out_of_its_folder() {
    for file in ["../secret.safetensors", "/etc/passwd", "a/b.safetensors", ""] {
        let index = json!({"weight_map": {"model.norm.weight": file}}).to_string();
        let answer = with_file("llama-sharded", "model.safetensors.index.json", index.as_bytes());
        says(answer, &["weight_map.model.norm.weight", "same folder"]);
    }
    says(with_file("llama-sharded", "model.safetensors.index.json", b"{}"), &["weight_map", "missing"]);
}

#[test]
fn tokenizers_that_do_not_fit() {
    says(with_file("llama", "tokenizer.json", b"garbage"), &["tokenizer.json"]);
    says(with_file("llama", "tokenizer.json", b"{}"), &["tokenizer.json"]);
    let path = common::reference("llama").join("tokenizer.json");
    let sound: Value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();

    let mut contradictory = sound.clone();
    contradictory["model"]["vocab"] = json!({"a": 0, "b": 1});
    contradictory["model"]["merges"] = json!([["a", "b"]]);
    contradictory["added_tokens"] = json!([]);
    says(with_file("llama", "tokenizer.json", contradictory.to_string().as_bytes()), &["tokenizer.json"]);

    let mut larger = sound;
    larger["model"]["vocab"]["another model's token"] = json!(5000);
    says(
        with_file("llama", "tokenizer.json", larger.to_string().as_bytes()),
        &["5001 tokens", "331 rows", "published with the model"],
    );
    says(with_file("gpt2-bin", "merges.txt", b"#version: 0.2\na b c\n"), &["merges.txt", "line 2"]);
    says(with_file("gpt2-bin", "merges.txt", b"a zz\n"), &["merges.txt", "`zz`"]);
    says(with_file("gpt2-bin", "vocab.json", b"[1]"), &["vocab.json"]);
}

/// A file as torch.save writes it, with this pickle and one storage of 16 bytes.
fn archive(pickle: &[u8]) -> Vec<u8> {
    let mut zip = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    let stored = zip::write::SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored);
    for (name, content) in [("m/data.pkl", pickle), ("m/byteorder", b"little"), ("m/data/0", &[0; 16])] {
        zip.start_file(name, stored).unwrap();
        zip.write_all(content).unwrap();
    }
    zip.finish().unwrap().into_inner()
}

fn pickled(pickle: &[u8]) -> (String, String) {
    with_file("gpt2-bin", "pytorch_model.bin", &archive(pickle))
}

/// A state dict with one tensor `w` over a storage of four numbers.
fn one_tensor(offset: u8, shape: &[u8], strides: &[u8]) -> Vec<u8> {
    let tuple = |items: &[u8]| {
        let mut tuple = b"(".to_vec();
        items.iter().for_each(|&item| tuple.extend([b'K', item]));
        tuple.push(b't');
        tuple
    };
    let mut pickle =
        b"\x80\x02}X\x01\0\0\0wctorch._utils\n_rebuild_tensor_v2\n((X\x07\0\0\0storagectorch\nFloatStorage\n\
        X\x01\0\0\x000X\x03\0\0\0cpuK\x04tQ"
            .to_vec();
    pickle.extend([b'K', offset]);
    pickle.extend(tuple(shape));
    pickle.extend(tuple(strides));
    pickle.extend(b"\x89ccollections\nOrderedDict\n)RtRs.");
    pickle
}

#[test]
fn pickles_that_want_to_run_something() {
    let witness = tempfile::tempdir().unwrap();
    let file = witness.path().join("ran");
    let command = format!("touch {}", file.display());
    let mut pickle = b"\x80\x02cposix\nsystem\n(X".to_vec();
    pickle.extend((command.len() as u32).to_le_bytes());
    pickle.extend(command.as_bytes());
    pickle.extend(b"tR.");
    says(pickled(&pickle), &["`posix.system`", "not run", "safetensors"]);
    assert!(!file.exists());

    for (pickle, name) in [
        (&b"\x80\x02cbuiltins\neval\n(X\x01\0\0\x001tR."[..], "`builtins.eval`"),
        (b"\x80\x04\x8c\x02os\x8c\x06system\x93.", "`os.system`"),
        (b"\x80\x02ctorch.storage\n_load_from_bytes\n.", "`torch.storage._load_from_bytes`"),
        (b"\x80\x02cnumpy.core.multiarray\n_reconstruct\n.", "`numpy.core.multiarray._reconstruct`"),
        (b"\x80\x02ctorch\nFloatStorage\n)\x81.", "0x81"),
        (b"\x80\x02ctorch\nFloatStorage\n}b.", "state of an object"),
        (b"\x80\x02i__builtin__\nexit\n.", "0x69"),
    ] {
        says(pickled(pickle), &[name, "not run"]);
    }
}

#[test]
fn pickles_that_are_damaged() {
    // The sound one is refused for what it lacks only.
    says(pickled(&one_tensor(0, &[2, 2], &[2, 1])), &["`wte.weight` is missing"]);
    for (offset, shape, strides) in [
        (1, &[2, 2][..], &[2, 1][..]),
        (0, &[2, 2], &[3, 1]),
        (0, &[4, 4], &[0, 0]),
        (5, &[1], &[1]),
        (0, &[2, 2], &[1]),
        (0, &[5], &[1]),
    ] {
        says(pickled(&one_tensor(offset, shape, strides)), &["`w` reaches past its storage"]);
    }
    says(pickled(b"\x80\x02]."), &["state dict"]);
    says(pickled(b"\x80\x02}."), &["no tensors"]);
    says(pickled(b"\x80\x02("), &["cut off"]);
    says(pickled(b"\x80\x02."), &["stack is empty"]);
    says(pickled(b"\x80\x02X\xff\xff\xff\xffabc"), &["cut off"]);
    says(pickled(b"\x80\x02h\x07."), &["memo 7"]);
    says(pickled(b"\x80\x09."), &["protocol 9"]);
    says(pickled(&[b')'; 3_000_000]), &["does not end"]);
    says(with_file("gpt2-bin", "pytorch_model.bin", b"version https://git-lfs.github.com"), &["torch.save"]);
    says(with_file("gpt2-bin", "pytorch_model.bin", b"PK\x03\x04 and nothing more"), &["zip"]);
}

#[test]
fn archives_that_are_not_of_torch() {
    let says_of = |bytes: &[u8], words: &[&str]| says(with_file("gpt2-bin", "pytorch_model.bin", bytes), words);
    let sound = archive(&one_tensor(0, &[4], &[1]));
    let replace = |from: &[u8], to: &[u8]| {
        let mut bytes = sound.clone();
        while let Some(at) = bytes.windows(from.len()).position(|window| window == from) {
            bytes[at..at + to.len()].copy_from_slice(to);
        }
        bytes
    };
    says_of(&replace(b"m/data.pkl", b"m/date.pkl"), &["no `data.pkl`"]);
    says_of(&replace(b"m/data/0", b"m/data/1"), &["no `data/0`"]);
    says_of(&replace(b"little", b"bigbig"), &["big-endian"]);

    // Method 8 (deflate) in the local headers (offset 8) and in the directory (offset 10).
    let mut compressed = sound.clone();
    for at in 0..compressed.len() - 12 {
        match &compressed[at..at + 4] {
            b"PK\x03\x04" => compressed[at + 8] = 8,
            b"PK\x01\x02" => compressed[at + 10] = 8,
            _ => {}
        }
    }
    says_of(&compressed, &["pytorch_model.bin", "is compressed"]);
}

#[test]
fn a_damaged_cache_is_named() {
    let cache = tempfile::tempdir().unwrap();
    let refs = cache.path().join("models--gpt2/refs");
    fs::create_dir_all(&refs).unwrap();
    fs::write(refs.join("main"), "../../../etc").unwrap();
    let hub = sagellm_model::HubOptions {
        cache: cache.path().into(),
        endpoint: "http://127.0.0.1:9".into(),
        token: None,
        offline: true,
        user_agent: "test".into(),
    };
    let options = sagellm_model::OpenOptions { hub };
    let error = sagellm_model::open("gpt2", &options, &sagellm_core::NoProgress).unwrap_err();
    assert!(error.to_string().contains("holds no commit"), "{error}");
}

#[test]
fn opening_leaves_the_folder_as_it_was() {
    let folder = copy_of("llama");
    let names = || {
        let mut names: Vec<_> = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        names
    };
    let before = names();
    open(folder.path()).unwrap();
    assert_eq!(names(), before);
}

#[test]
fn a_git_lfs_pointer_is_named_in_place_of_any_file() {
    let pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:4bb3783693d0\nsize 52283111\n";
    for file in ["model.safetensors", "tokenizer.json", "config.json"] {
        says(
            with_file("llama", file, pointer),
            &[file, "it is a Git LFS pointer, not the file itself", "git lfs pull"],
        );
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("m.gguf");
    fs::write(&path, pointer).unwrap();
    says(failure(path.to_str().unwrap()), &["m.gguf", "Git LFS pointer", "git lfs pull"]);
}

#[test]
fn special_files_are_refused() {
    #[cfg(unix)]
    says(failure("/dev/zero"), &["`/dev/zero`", "it is a device, not a regular file"]);
    let folder = copy_of("llama");
    fs::remove_file(folder.path().join("config.json")).unwrap();
    fs::create_dir(folder.path().join("config.json")).unwrap();
    says(failure_of(folder.path()), &["config.json"]);
}

#[test]
fn settings_hold_a_limited_number_of_values() {
    let many = format!("{{\"a\": [{}0]}}", "0,".repeat(2_000_001));
    says(with_file("llama", "config.json", many.as_bytes()), &["config.json", "more than 2000000 values"]);
}

#[test]
fn settings_may_begin_with_a_byte_order_mark() {
    let folder = copy_of("llama");
    for file in ["config.json", "tokenizer.json"] {
        let path = folder.path().join(file);
        let text = fs::read(&path).unwrap();
        fs::write(&path, [b"\xef\xbb\xbf", &text[..]].concat()).unwrap();
    }
    open(folder.path()).unwrap();
}

//! A model in which one file is bad.

use std::fs;
use std::panic;
use std::path::{Path, PathBuf};

use sagellm_core::{Exit, NoProgress, UserError};
use sagellm_model::{HubOptions, ModelError, OpenOptions, Tokenizer, open, open_tokenizer};
use tempfile::TempDir;

use crate::memory::bounded;

/// Memory that a file of so many bytes may cost: values of a list take up to some dozens of their bytes.
fn allowance(bytes: &[u8]) -> usize {
    (16 << 20) + 256 * bytes.len()
}

/// A folder with the tiny model `reference` of the test data, in which `file` is to be replaced.
pub struct Workshop {
    folder: TempDir,
    file: PathBuf,
}

impl Workshop {
    /// Copies everything that a model needs beside `file`, which may be weights or not.
    pub fn new(reference: &str, file: &str) -> Self {
        // Where a library contradicts itself on a bad file its panic is caught, and is not to end the fuzzing here.
        panic::set_hook(Box::new(|panic| {
            if !panic.location().is_some_and(|place| place.file().contains("tokenizers")) {
                eprintln!("{panic}");
            }
        }));
        let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("../testdata/models").join(reference);
        let folder = tempfile::tempdir().expect("a temporary folder");
        for entry in fs::read_dir(from).expect("test data").flatten() {
            let name = entry.file_name();
            let weights = name == "model.safetensors" && file.starts_with("pytorch_model");
            if name != "expected.json" && !weights {
                fs::copy(entry.path(), folder.path().join(name)).expect("a copy");
            }
        }
        Self { file: folder.path().join(file), folder }
    }

    /// Replaces the file, opens the model, and reads what opens to the end. An error has to say what can be done.
    pub fn try_model(&self, bytes: &[u8]) {
        self.put(bytes);
        let path = self.folder.path();
        self.open(bytes, if self.file.extension().is_some_and(|it| it == "gguf") { &self.file } else { path });
    }

    /// Replaces the file, which is a tokenizer on its own, and uses it.
    pub fn try_tokenizer(&self, bytes: &[u8]) {
        self.put(bytes);
        match bounded(allowance(bytes), || open_tokenizer(spec(&self.file), &options(), &NoProgress)) {
            Ok(tokenizer) => use_tokenizer(&tokenizer),
            Err(error) => check(&error),
        }
    }

    fn put(&self, bytes: &[u8]) {
        fs::write(&self.file, bytes).expect("a file in a temporary folder");
    }

    fn open(&self, bytes: &[u8], path: &Path) {
        match bounded(allowance(bytes), || open(spec(path), &options(), &NoProgress)) {
            Ok(model) => {
                for name in model.checkpoint.names() {
                    let tensor = model.checkpoint.tensor(&name).expect("it has what it names");
                    tensor.to_f32();
                }
                use_tokenizer(&model.tokenizer);
            }
            Err(error) => check(&error),
        }
    }
}

fn spec(path: &Path) -> &str {
    path.to_str().expect("a plain name")
}

/// Without network and cache.
fn options() -> OpenOptions {
    let hub = HubOptions {
        cache: "/nonexistent".into(),
        endpoint: "http://127.0.0.1:9".into(),
        token: None,
        offline: true,
        user_agent: "fuzz".into(),
    };
    OpenOptions { hub }
}

fn use_tokenizer(tokenizer: &Tokenizer) {
    if let Ok(ids) = tokenizer.encode("Harbour lights, 2024: naïve 波\n", true) {
        assert!(ids.iter().all(|&id| (id as usize) < tokenizer.vocab_size()), "an id beyond the vocabulary");
        tokenizer.decode(&ids);
    }
    tokenizer.decode(&[0, 1, u32::MAX]);
}

fn check(error: &ModelError) {
    assert_eq!(error.exit(), Exit::Input, "{error}");
    assert!(error.hint().is_some_and(|hint| !hint.is_empty()), "no hint: {error}");
    let text = error.to_string();
    assert!(!text.contains('\n'), "several lines: {text}");
    assert!(text.len() < 8192, "{} bytes of words", text.len());
}

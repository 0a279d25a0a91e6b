//! What several tests need.
#![allow(dead_code, unreachable_pub, reason = "every test uses its own part")]
#![allow(clippy::unwrap_used, missing_docs, reason = "a test that cannot go on fails")]

pub mod gguf;
pub mod hub;

use std::fs;
use std::path::{Path, PathBuf};

use sagellm_core::NoProgress;
use sagellm_model::{HubOptions, Model, ModelError, OpenOptions};

/// A path under `testdata/models`.
pub fn reference(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata/models").join(name)
}

/// Opens the model at `path`, which must not lead to the network.
pub fn open(path: &Path) -> Result<Model, ModelError> {
    open_spec(path.to_str().unwrap())
}

/// Opens what `spec` names, without network and cache.
pub fn open_spec(spec: &str) -> Result<Model, ModelError> {
    let hub = HubOptions {
        cache: "/nonexistent".into(),
        endpoint: "http://127.0.0.1:9".into(),
        token: None,
        offline: true,
        user_agent: "test".into(),
    };
    sagellm_model::open(spec, &OpenOptions { hub }, &NoProgress)
}

/// A copy of a reference folder that a test may spoil.
pub fn copy_of(name: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for entry in fs::read_dir(reference(name)).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), folder.path().join(entry.file_name())).unwrap();
    }
    folder
}

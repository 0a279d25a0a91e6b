//! The cache's layout, shared with `huggingface_hub`: `models--ORG--NAME/{refs/main, snapshots/COMMIT/FILE, blobs/ETAG}`,
//! where a file of a snapshot is a link to a blob.

use std::fs;
use std::path::{Path, PathBuf};

use sagellm_core::file;

use crate::ModelError;

/// One model's place in the cache.
pub(super) struct Repository {
    folder: PathBuf,
}

impl Repository {
    pub(super) fn new(cache: &Path, id: &str) -> Self {
        Self { folder: cache.join(format!("models--{}", id.replace('/', "--"))) }
    }

    /// The snapshot that `main` stands for, if there is one.
    pub(super) fn snapshot(&self) -> Result<Option<PathBuf>, ModelError> {
        let main = self.folder.join("refs/main");
        match file::read_text(&main, 1 << 10) {
            Ok(commit) if is_commit(commit.trim()) => {
                Ok(Some(self.snapshot_of(commit.trim())).filter(|folder| folder.is_dir()))
            }
            Ok(_) => Err(ModelError::damaged(&main, "it holds no commit")),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(ModelError::read(&main, error)),
        }
    }

    pub(super) fn snapshot_of(&self, commit: &str) -> PathBuf {
        self.folder.join("snapshots").join(commit)
    }

    /// Where the content with this tag is kept.
    pub(super) fn blob(&self, tag: &str) -> PathBuf {
        self.folder.join("blobs").join(tag)
    }

    /// Makes `main` stand for `commit`.
    pub(super) fn set_main(&self, commit: &str) -> Result<(), ModelError> {
        let main = self.folder.join("refs/main");
        let part = self.folder.join("refs/main.incomplete");
        create_parent(&main)?;
        fs::write(&part, commit).map_err(|error| ModelError::write(&part, error))?;
        fs::rename(&part, &main).map_err(|error| ModelError::write(&main, error))
    }

    /// Makes `file` of a snapshot a link to the blob `tag`.
    pub(super) fn link(&self, commit: &str, file: &str, tag: &str) -> Result<(), ModelError> {
        let path = self.snapshot_of(commit).join(file);
        create_parent(&path)?;
        if fs::symlink_metadata(&path).is_ok() {
            fs::remove_file(&path).map_err(|error| ModelError::write(&path, error))?;
        }
        #[cfg(unix)]
        let linked = std::os::unix::fs::symlink(Path::new("../../blobs").join(tag), &path);
        // Links need a privilege on Windows: huggingface_hub copies there too.
        #[cfg(not(unix))]
        let linked = fs::copy(self.blob(tag), &path).map(|_| ());
        linked.map_err(|error| ModelError::write(&path, error))
    }
}

/// Whether this is a commit, and so may be part of a path.
pub(super) fn is_commit(text: &str) -> bool {
    (1..=64).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

pub(super) fn create_parent(path: &Path) -> Result<(), ModelError> {
    match path.parent() {
        Some(folder) => fs::create_dir_all(folder).map_err(|error| ModelError::write(folder, error)),
        None => Ok(()),
    }
}

//! Files as memory, without copying them.

use std::fs::File;
use std::ops::Deref;
use std::path::Path;
use std::sync::Arc;

use memmap2::Mmap;

use crate::ModelError;

/// A file mapped read-only, shared by all tensors that lie in it.
#[derive(Clone)]
pub(crate) struct MappedFile(Arc<Mmap>);

impl MappedFile {
    /// Maps the file at `path`.
    pub(crate) fn open(path: &Path) -> Result<Self, ModelError> {
        let file = File::open(path).map_err(|error| ModelError::read(path, error))?;
        if file.metadata().map_err(|error| ModelError::read(path, error))?.len() == 0 {
            return Err(ModelError::damaged(path, "the file is empty"));
        }
        map(&file).map(|map| Self(Arc::new(map))).map_err(|error| ModelError::read(path, error))
    }

    /// The owner that keeps parts of the file alive.
    pub(crate) fn owner(&self) -> Arc<dyn AsRef<[u8]> + Send + Sync> {
        Arc::clone(&self.0) as _
    }
}

impl Deref for MappedFile {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        &self.0
    }
}

#[expect(unsafe_code, reason = "mapping is the one way to use weights larger than memory without a copy")]
fn map(file: &File) -> std::io::Result<Mmap> {
    // SAFETY: the mapping is private and read-only, and every byte of it is treated as data of any value. What is left is
    // the premise of every program that maps weights: nobody truncates the file while it is in use.
    unsafe { Mmap::map(file) }
}

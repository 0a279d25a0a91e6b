//! Files as memory, without copying them.

use std::fs::File;
use std::ops::{Deref, Range};
use std::path::Path;
use std::sync::Arc;

use memmap2::Mmap;
#[cfg(unix)]
use memmap2::UncheckedAdvice;
use sagellm_core::file;

use crate::ModelError;
use crate::shrink::Watched;

/// A file mapped read-only, shared by all tensors that lie in it.
#[derive(Clone)]
pub(crate) struct MappedFile(Arc<Mapping>);

struct Mapping {
    /// Before the map, so that it is dropped first.
    _watched: Watched,
    map: Mmap,
}

impl MappedFile {
    /// Maps the file at `path`.
    pub(crate) fn open(path: &Path) -> Result<Self, ModelError> {
        let file = file::open(path).map_err(|error| ModelError::read(path, error))?;
        if file.metadata().map_err(|error| ModelError::read(path, error))?.len() == 0 {
            return Err(ModelError::damaged(path, "the file is empty"));
        }
        let map = map(&file).map_err(|error| ModelError::read(path, error))?;
        Ok(Self(Arc::new(Mapping { _watched: Watched::new(path, &map), map })))
    }

    /// Gives the memory of `range` back to the system, which reads the file again when somebody asks for it.
    pub(crate) fn release(&self, range: Range<usize>) {
        #[cfg(unix)]
        give_back(&self.0.map, range);
        // Other systems cannot be told.
        #[cfg(not(unix))]
        let _ = range;
    }
}

impl Deref for MappedFile {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        &self.0.map
    }
}

#[expect(unsafe_code, reason = "mapping is the one way to use weights larger than memory without a copy")]
fn map(file: &File) -> std::io::Result<Mmap> {
    // SAFETY: the mapping is private and read-only, and every byte of it is treated as data of any value. A file
    // that becomes shorter while it is in use ends the process with a message (`shrink`).
    unsafe { Mmap::map(file) }
}

#[cfg(unix)]
#[expect(unsafe_code, reason = "what has been packed would count as memory in use beside its packed form")]
fn give_back(map: &Mmap, range: Range<usize>) {
    // SAFETY: the mapping is of a file, read-only and never written to, so what is read after this is what was read before,
    // also by who reads meanwhile. The range lies within it. It is a wish: nothing depends on its success.
    let _ = unsafe { map.unchecked_advise_range(UncheckedAdvice::DontNeed, range.start, range.len()) };
}

#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests {
    use super::*;

    /// Resident pages of mapped files, in KiB.
    fn resident() -> usize {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let line = status.lines().find(|line| line.starts_with("RssFile:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }

    #[test]
    fn what_is_released_takes_no_memory_and_reads_the_same() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("weights");
        let content: Vec<u8> = (0..64_u32 << 20).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
        std::fs::write(&path, &content).unwrap();
        let file = MappedFile::open(&path).unwrap();
        let before = resident();
        assert!(*file == *content);
        assert!(resident() > before + (60 << 10));
        // Not at the boundary of a page.
        file.release(100..content.len() - 100);
        assert!(resident() < before + (4 << 10));
        assert!(*file == *content);
    }
}

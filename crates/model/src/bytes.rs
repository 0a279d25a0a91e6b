//! Bytes that tensors share.

use std::fmt;
use std::ops::{Deref, Range};
use std::sync::Arc;

use crate::map::MappedFile;

/// Bytes that are kept alive by whoever holds them: a part of a mapped file, or a buffer.
#[derive(Clone)]
pub struct Bytes {
    owner: Owner,
    range: Range<usize>,
}

#[derive(Clone)]
enum Owner {
    File(MappedFile),
    Bytes(Arc<Vec<u8>>),
    Numbers(Arc<Vec<f32>>),
}

impl Owner {
    fn bytes(&self) -> &[u8] {
        match self {
            Self::File(file) => file,
            Self::Bytes(bytes) => bytes,
            Self::Numbers(numbers) => bytemuck::cast_slice(numbers),
        }
    }
}

impl Bytes {
    /// The part `range` of a file; `None` when it reaches past the end.
    pub(crate) fn of_file(file: &MappedFile, range: Range<usize>) -> Option<Self> {
        file.get(range.clone())?;
        Some(Self { owner: Owner::File(file.clone()), range })
    }

    /// The part `range` of these bytes; `None` when it reaches past the end.
    pub(crate) fn part(&self, range: Range<usize>) -> Option<Self> {
        self.get(range.clone())?;
        let start = self.range.start;
        Some(Self { owner: self.owner.clone(), range: start + range.start..start + range.end })
    }

    /// Says that they will not be read again soon. Those of a file then no longer count as memory in use; they can be read
    /// as before.
    pub fn release(&self) {
        if let Owner::File(file) = &self.owner {
            file.release(self.range.clone());
        }
    }
}

impl From<Vec<u8>> for Bytes {
    fn from(bytes: Vec<u8>) -> Self {
        let range = 0..bytes.len();
        Self { owner: Owner::Bytes(Arc::new(bytes)), range }
    }
}

impl From<Vec<f32>> for Bytes {
    fn from(numbers: Vec<f32>) -> Self {
        let range = 0..numbers.len() * size_of::<f32>();
        Self { owner: Owner::Numbers(Arc::new(numbers)), range }
    }
}

impl Deref for Bytes {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        &self.owner.bytes()[self.range.clone()]
    }
}

impl fmt::Debug for Bytes {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} bytes", self.range.len())
    }
}

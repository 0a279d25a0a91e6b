//! Memory for weights and the cache: zeroed, aligned, in huge pages where the system grants them.
//!
//! With pages of 4 KiB a decode step walks through more of them than the processor can keep track of.

use std::ops::{Deref, DerefMut, Range};
use std::sync::{Arc, Mutex, PoisonError};

use memmap2::MmapMut;

/// Alignment of a buffer: a cache line.
const LINE: usize = 64;
/// What is asked of the system at a time. Untouched parts of it take no memory.
const CHUNK: usize = 64 << 20;
/// A huge page.
const HUGE: usize = 2 << 20;

/// Gives out buffers that lie close together.
#[derive(Default)]
pub(crate) struct Arena(Mutex<Option<Chunk>>);

struct Chunk {
    memory: Arc<Memory>,
    used: usize,
}

/// One mapping. What is written to it goes through the buffers that it was divided into.
struct Memory {
    map: MmapMut,
    start: usize,
}

/// A part of an arena's memory that nobody else has.
pub(crate) struct Buffer {
    memory: Arc<Memory>,
    range: Range<usize>,
}

impl Arena {
    /// Bytes that it may ask for on top of what is taken from it.
    pub(crate) const RESERVED: usize = CHUNK + HUGE;

    /// `bytes` bytes of zeros, aligned to a cache line.
    ///
    /// # Errors
    /// When the system grants no memory.
    pub(crate) fn take(&self, bytes: usize) -> std::io::Result<Buffer> {
        let room = bytes.checked_next_multiple_of(LINE).ok_or(std::io::ErrorKind::OutOfMemory)?;
        let mut place = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let fits = place.as_ref().is_some_and(|chunk| chunk.memory.map.len() - chunk.used >= room);
        if !fits {
            let memory = map(room.max(CHUNK))?;
            let used = memory.start;
            // What is left of the former chunk is never touched.
            *place = Some(Chunk { memory: Arc::new(memory), used });
        }
        let Some(chunk) = place.as_mut() else { return Err(std::io::ErrorKind::OutOfMemory.into()) };
        let range = chunk.used..chunk.used + bytes;
        chunk.used += room;
        Ok(Buffer { memory: Arc::clone(&chunk.memory), range })
    }
}

/// Memory of `bytes` bytes from a boundary of huge pages on.
fn map(bytes: usize) -> std::io::Result<Memory> {
    let room = bytes.checked_add(HUGE).ok_or(std::io::ErrorKind::OutOfMemory)?;
    let map = MmapMut::map_anon(room)?;
    #[cfg(target_os = "linux")]
    {
        // A wish: without huge pages it works as well, only slower.
        let _ = map.advise(memmap2::Advice::HugePage);
    }
    let start = map.as_ptr().align_offset(HUGE).min(HUGE);
    Ok(Memory { map, start })
}

impl Deref for Buffer {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        // SAFETY: the range lies within the mapping, which lives as long as `memory`; only this buffer has the range.
        unsafe { std::slice::from_raw_parts(self.memory.map.as_ptr().add(self.range.start), self.range.len()) }
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [u8] {
        let start = self.memory.map.as_ptr().cast_mut();
        // SAFETY: as above; the mapping is writable, and no reference to these bytes is ever made but through this buffer.
        unsafe { std::slice::from_raw_parts_mut(start.add(self.range.start), self.range.len()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_are_zero_aligned_and_apart() {
        let arena = Arena::default();
        let mut buffers: Vec<Buffer> = [1, 64, 65, CHUNK, 3].map(|bytes| arena.take(bytes).unwrap()).into();
        for (value, buffer) in (1u8..).zip(&mut buffers) {
            assert!(buffer.iter().all(|byte| *byte == 0) && buffer.as_ptr().addr().is_multiple_of(LINE));
            buffer.fill(value);
        }
        for (value, buffer) in (1u8..).zip(&buffers) {
            assert!(buffer.iter().all(|byte| *byte == value));
        }
    }
}

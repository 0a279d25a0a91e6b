//! Tensors by name, whatever file they lie in.

use std::ops::{Deref, Range};
use std::sync::Arc;

/// Element types that weights are stored in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dtype {
    /// IEEE single precision.
    F32,
    /// IEEE half precision.
    F16,
    /// The upper half of a single.
    Bf16,
    /// GGUF blocks of 32: f16 scale, 32 × i8.
    Q8_0,
    /// GGUF blocks of 32: f16 scale, 32 × 4 bit.
    Q4_0,
    /// GGUF blocks of 32: f16 scale, f16 minimum, 32 × 4 bit.
    Q4_1,
    /// GGUF super-blocks of 256 with 6-bit scales and minima, 4 bit.
    Q4K,
    /// GGUF super-blocks of 256 with 8-bit scales, 6 bit.
    Q6K,
}

/// Bytes that are kept alive by whoever holds them: a part of a mapped file, or a buffer.
#[derive(Clone)]
pub struct Bytes {
    owner: Arc<dyn AsRef<[u8]> + Send + Sync>,
    range: Range<usize>,
}

impl Bytes {
    /// The part `range` of `owner`; `None` when it reaches past the end.
    pub fn part(owner: Arc<dyn AsRef<[u8]> + Send + Sync>, range: Range<usize>) -> Option<Self> {
        (*owner).as_ref().get(range.clone())?;
        Some(Self { owner, range })
    }
}

impl From<Vec<u8>> for Bytes {
    fn from(bytes: Vec<u8>) -> Self {
        let range = 0..bytes.len();
        Self { owner: Arc::new(bytes), range }
    }
}

impl Deref for Bytes {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        &(*self.owner).as_ref()[self.range.clone()]
    }
}

/// One tensor in row-major order.
#[derive(Clone)]
pub struct Tensor {
    /// Type of the elements.
    pub dtype: Dtype,
    /// Sizes, slowest first.
    pub shape: Vec<usize>,
    /// The elements in `dtype`, little-endian.
    pub data: Bytes,
}

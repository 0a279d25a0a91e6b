//! The memory of the KV cache.

use crate::EngineError;
use crate::kernels::{Arena, AttentionShape, BLOCK, Buffer, KvDtype, KvPlace};

/// Keys and values, block by block: what a sequence has written lies together, and memory that no token was written to is
/// never touched. In a block, layer after layer, the keys of each head lie transposed (`head_dim × BLOCK`), then the values
/// of each head plain (`BLOCK × head_dim`).
pub(crate) struct KvStorage {
    dtype: KvDtype,
    data: Buffer,
    layers: usize,
    part: usize,
}

impl KvStorage {
    /// Bytes of `blocks` blocks of `layers` layers.
    pub(crate) fn bytes(blocks: usize, layers: usize, shape: AttentionShape, dtype: KvDtype) -> usize {
        blocks.saturating_mul(2 * layers * shape.block_part() * dtype.bytes())
    }

    /// Room for `blocks` blocks of `layers` layers.
    pub(crate) fn new(
        blocks: usize,
        layers: usize,
        shape: AttentionShape,
        dtype: KvDtype,
    ) -> Result<Self, EngineError> {
        let part = shape.block_part();
        let bytes = Self::bytes(blocks, layers, shape, dtype);
        let Ok(data) = Arena::default().take(bytes) else {
            return Err(EngineError::KvMemory { tokens: blocks * BLOCK, bytes });
        };
        Ok(Self { dtype, data, layers, part })
    }

    /// Type of the elements.
    pub(crate) fn dtype(&self) -> KvDtype {
        self.dtype
    }

    /// Bytes that one block takes over all layers.
    pub(crate) fn block_bytes(&self) -> usize {
        2 * self.layers * self.part * self.dtype.bytes()
    }

    /// Where the keys and values of a layer lie in [`data`](Self::data).
    pub(crate) fn place(&self, layer: usize) -> KvPlace {
        KvPlace { dtype: self.dtype, block_stride: 2 * self.layers * self.part, layer_offset: 2 * layer * self.part }
    }

    /// All of it.
    pub(crate) fn data(&mut self) -> &mut [u8] {
        &mut self.data
    }
}

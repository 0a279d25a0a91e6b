//! The memory of the KV cache.

use crate::EngineError;
use crate::kernels::{AttentionShape, BLOCK, KvLayer};

/// Keys and values of every layer, block by block. In a block, each head's keys lie transposed (`head_dim × BLOCK`) and
/// its values plain (`BLOCK × head_dim`). Memory that no token was written to is never touched.
pub(crate) struct KvStorage {
    layers: Vec<Layer>,
    kv_heads: usize,
    head_dim: usize,
}

struct Layer {
    keys: Vec<f32>,
    values: Vec<f32>,
}

impl KvStorage {
    /// Room for `blocks` blocks of `layers` layers.
    pub(crate) fn new(blocks: usize, layers: usize, shape: AttentionShape) -> Result<Self, EngineError> {
        let AttentionShape { kv_heads, head_dim, .. } = shape;
        let elements = blocks * kv_heads * head_dim * BLOCK;
        let bytes = 2 * layers * elements * size_of::<f32>();
        // Ask for all of it first: a refusal here is an error, one in `vec!` below would end the program.
        let mut probe: Vec<u8> = Vec::new();
        if probe.try_reserve_exact(bytes).is_err() {
            return Err(EngineError::KvMemory { tokens: blocks * BLOCK, bytes });
        }
        drop(probe);
        let layers = (0..layers).map(|_| Layer { keys: vec![0.0; elements], values: vec![0.0; elements] }).collect();
        Ok(Self { layers, kv_heads, head_dim })
    }

    /// Bytes that one block takes over all layers.
    pub(crate) fn block_bytes(&self) -> usize {
        2 * self.layers.len() * self.block_stride() * size_of::<f32>()
    }

    fn block_stride(&self) -> usize {
        self.kv_heads * self.head_dim * BLOCK
    }

    /// What attention reads.
    pub(crate) fn layer(&self, layer: usize) -> KvLayer<'_> {
        let Layer { keys, values } = &self.layers[layer];
        KvLayer { keys, values, block_stride: self.block_stride() }
    }

    /// Writes one token's key and value (`kv_heads × head_dim` each) to its place in a block.
    pub(crate) fn write(&mut self, layer: usize, block: u32, slot: usize, key: &[f32], value: &[f32]) {
        let (stride, head_dim) = (self.block_stride(), self.head_dim);
        let range = block as usize * stride..(block as usize + 1) * stride;
        let layer = &mut self.layers[layer];
        let keys = layer.keys[range.clone()].chunks_exact_mut(head_dim * BLOCK);
        for (to, from) in keys.zip(key.chunks_exact(head_dim)) {
            for (d, &component) in from.iter().enumerate() {
                to[d * BLOCK + slot] = component;
            }
        }
        let values = layer.values[range].chunks_exact_mut(head_dim * BLOCK);
        for (to, from) in values.zip(value.chunks_exact(head_dim)) {
            to[slot * head_dim..(slot + 1) * head_dim].copy_from_slice(from);
        }
    }
}

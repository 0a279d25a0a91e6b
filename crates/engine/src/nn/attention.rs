//! Self-attention over the paged cache.

use super::{Linear, Norm, Rope, Row};
use crate::kernels::{AttentionRow, AttentionShape, Kernels, Scores};
use crate::kv::KvStorage;

/// Projections of one layer's attention.
pub(crate) struct Attention {
    /// Query, key and value: three projections, or one that gives all three.
    pub(crate) qkv: Vec<Linear>,
    /// Norm over each query head, where the model has one.
    pub(crate) q_norm: Option<Norm>,
    /// Norm over each key head, where the model has one.
    pub(crate) k_norm: Option<Norm>,
    pub(crate) out: Linear,
}

/// What attention writes to on its way.
pub(crate) struct Scratch<'a> {
    pub(crate) qkv: &'a mut [f32],
    pub(crate) attended: &'a mut [f32],
    pub(crate) head: &'a mut [f32],
    pub(crate) scores: &'a mut Scores,
}

impl Attention {
    /// Adds the attention of `rows` with inputs `x` to `residual`, and writes their keys and values to the cache.
    #[expect(clippy::too_many_arguments, reason = "the operands of one operation")]
    pub(crate) fn apply(
        &self,
        kernels: &mut Kernels,
        shape: AttentionShape,
        rope: Option<&Rope>,
        layer: usize,
        rows: &[Row],
        tables: &[AttentionRow<'_>],
        kv: &mut KvStorage,
        x: &[f32],
        scratch: Scratch<'_>,
        residual: &mut [f32],
    ) {
        let Scratch { qkv, attended, head, scores } = scratch;
        let q_width = shape.heads * shape.head_dim;
        let kv_width = shape.kv_heads * shape.head_dim;
        let width = q_width + 2 * kv_width;
        let count = rows.len();
        let products: Vec<_> = self.qkv.iter().map(Linear::product).collect();
        kernels.matmul(x, count, &products, &mut qkv[..count * width], width, false);
        for ((values, row), table) in qkv.chunks_exact_mut(width).zip(rows).zip(tables) {
            let (q, rest) = values.split_at_mut(q_width);
            let (k, v) = rest.split_at_mut(kv_width);
            for (norm, heads) in [(&self.q_norm, &mut *q), (&self.k_norm, &mut *k)] {
                if let Some(norm) = norm {
                    for one in heads.chunks_exact_mut(shape.head_dim) {
                        norm.apply(kernels, one, head);
                        one.copy_from_slice(head);
                    }
                }
            }
            if let Some(rope) = rope {
                rope.rotate(q, row.position);
                rope.rotate(k, row.position);
            }
            let block = table.blocks[row.position / crate::kernels::BLOCK];
            kv.write(layer, block, row.position % crate::kernels::BLOCK, k, v);
        }
        kernels.attention(shape, kv.layer(layer), tables, qkv, width, attended, scores);
        self.out.apply(kernels, &attended[..count * q_width], count, residual, true);
    }
}

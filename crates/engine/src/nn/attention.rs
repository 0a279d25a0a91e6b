//! Self-attention over the paged cache.

use super::{Linear, Rope};
use crate::kernels::{AttentionRow, AttentionShape, Input, Kernels};
use crate::kv::KvStorage;

/// Projections of one layer's attention.
pub(crate) struct Attention {
    /// Query, key and value: three projections, or one that gives all three.
    pub(crate) qkv: Vec<Linear>,
    /// Norm over each query head, where the model has one.
    pub(crate) q_norm: Option<HeadNorm>,
    /// Norm over each key head, where the model has one.
    pub(crate) k_norm: Option<HeadNorm>,
    pub(crate) out: Linear,
}

/// A root-mean-square norm over the components of one head.
pub(crate) struct HeadNorm {
    pub(crate) weight: Vec<f32>,
    pub(crate) eps: f32,
}

/// What attention writes to on its way.
pub(crate) struct Scratch<'a> {
    pub(crate) qkv: &'a mut [f32],
    pub(crate) attended: &'a mut [f32],
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
        rows: &[AttentionRow<'_>],
        kv: &mut KvStorage,
        x: &[f32],
        scratch: Scratch<'_>,
        residual: &mut [f32],
    ) {
        let Scratch { qkv, attended } = scratch;
        let q_width = shape.heads * shape.head_dim;
        let kv_width = shape.kv_heads * shape.head_dim;
        let width = q_width + 2 * kv_width;
        let count = rows.len();
        let products: Vec<_> = self.qkv.iter().map(Linear::product).collect();
        kernels.matmul(Input::packed(x, count), &products, &mut qkv[..count * width], width, false);
        let norm_of_head = kernels.norm_of_head();
        if rope.is_some() || self.q_norm.is_some() || self.k_norm.is_some() {
            kernels.for_rows(qkv, count, width, &|row, values| {
                let (q, k) = values[..q_width + kv_width].split_at_mut(q_width);
                for (norm, heads) in [(&self.q_norm, &mut *q), (&self.k_norm, &mut *k)] {
                    if let Some(HeadNorm { weight, eps }) = norm {
                        for head in heads.chunks_exact_mut(shape.head_dim) {
                            norm_of_head(head, weight, *eps);
                        }
                    }
                }
                if let Some(rope) = rope {
                    rope.rotate(q, rows[row].len - 1);
                    rope.rotate(k, rows[row].len - 1);
                }
            });
        }
        let place = kv.place(layer);
        kernels.write_kv(shape, kv.data(), place, rows, qkv, width, q_width);
        kernels.attention(shape, kv.data(), place, rows, qkv, width, attended);
        self.out.apply(kernels, &attended[..count * q_width], count, residual, true);
    }
}

//! A decoder-only transformer: what every supported architecture is an arrangement of.

use sagellm_model::Config;

use super::attention::Scratch;
use super::{Attention, Linear, Mlp, Norm, Rope};
use crate::EngineError;
use crate::kernels::{AttentionRow, AttentionShape, Kernels};
use crate::kv::KvStorage;
use crate::weights::{Matrix, Table};

/// One layer.
pub(crate) struct Block {
    pub(crate) attention_norm: Norm,
    pub(crate) attention: Attention,
    pub(crate) mlp_norm: Norm,
    pub(crate) mlp: Mlp,
}

/// Learned positions, added to the embedding.
pub(crate) struct Positions {
    pub(crate) table: Table,
    /// Row of position 0 (OPT leaves two rows free).
    pub(crate) offset: usize,
}

/// The embedding and the output head.
pub(crate) struct Head {
    /// The embedding; `None` when the head's weights are it.
    pub(crate) embedding: Option<Table>,
    pub(crate) weight: Matrix,
}

impl Head {
    /// Width of an embedding.
    fn width(&self) -> usize {
        self.embedding.as_ref().map_or(self.weight.columns(), Table::columns)
    }

    /// Embeds a token.
    fn embed(&self, token: u32, out: &mut [f32]) {
        match &self.embedding {
            Some(table) => table.row(token as usize, out),
            None => self.weight.row(token as usize, out),
        }
    }
}

/// A model ready to compute.
pub(crate) struct Decoder {
    pub(crate) attention: AttentionShape,
    pub(crate) hidden: usize,
    pub(crate) vocab: usize,
    pub(crate) positions: Option<Positions>,
    /// From the embedding's width to the hidden one, where they differ.
    pub(crate) project_in: Option<Linear>,
    pub(crate) rope: Option<Rope>,
    pub(crate) blocks: Vec<Block>,
    /// Whether norms precede their sub-layer (else they follow the residual sum).
    pub(crate) norm_before: bool,
    pub(crate) final_norm: Option<Norm>,
    /// Back to the embedding's width.
    pub(crate) project_out: Option<Linear>,
    pub(crate) head: Head,
}

/// One token of a step.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Row {
    /// Its sequence's place in the step's list of block tables.
    pub(crate) sequence: usize,
    pub(crate) token: u32,
    pub(crate) position: usize,
    /// Whether the logits after it are wanted.
    pub(crate) logits: bool,
}

/// Buffers of a step, sized once for the largest.
pub(crate) struct Workspace {
    x: Vec<f32>,
    normed: Vec<f32>,
    embedded: Vec<f32>,
    qkv: Vec<f32>,
    attended: Vec<f32>,
    inner: Vec<f32>,
    wanted: Vec<f32>,
    logits: Vec<f32>,
}

impl Workspace {
    /// About the bytes of buffers for steps of up to `rows` tokens of which up to `logits` want logits.
    pub(crate) fn bytes(config: &Config, rows: usize, logits: usize) -> u64 {
        let of_row = 3 * config.hidden_size + (2 * config.num_heads + 2 * config.num_kv_heads) * config.head_dim;
        let inner = rows.min(Mlp::ROWS).saturating_mul(config.intermediate_size);
        let of_logits = config.vocab_size + 2 * config.hidden_size;
        let numbers =
            rows.saturating_mul(of_row).saturating_add(logits.saturating_mul(of_logits)).saturating_add(inner);
        numbers.saturating_mul(size_of::<f32>()) as u64
    }

    /// Buffers for steps of up to `rows` tokens of which up to `logits` want logits.
    ///
    /// # Errors
    /// When the system grants no memory for them.
    pub(crate) fn new(model: &Decoder, rows: usize, logits: usize) -> Result<Self, EngineError> {
        let AttentionShape { heads, kv_heads, head_dim, .. } = model.attention;
        let inner = model.blocks.iter().map(|b| b.mlp.inner()).max().unwrap_or(0);
        let widest = model.hidden.max(model.head.width());
        let zeros = |count: usize, width: usize| {
            let len = count.saturating_mul(width);
            // Asked for first in the way that can be refused; zeros that nobody has touched take no memory.
            let refused = Vec::<f32>::new().try_reserve_exact(len).is_err();
            let bytes = len.saturating_mul(size_of::<f32>());
            if refused { Err(EngineError::StepMemory { tokens: rows, bytes }) } else { Ok(vec![0.0; len]) }
        };
        Ok(Self {
            x: zeros(rows, model.hidden)?,
            normed: zeros(rows, model.hidden)?,
            embedded: zeros(rows, model.head.width())?,
            qkv: zeros(rows, (heads + 2 * kv_heads) * head_dim)?,
            attended: zeros(rows, heads * head_dim)?,
            inner: zeros(rows.min(Mlp::ROWS), inner)?,
            wanted: zeros(2 * logits, widest)?,
            logits: zeros(logits, model.vocab)?,
        })
    }
}

impl Decoder {
    /// Computes one step: writes the rows' keys and values to the cache and gives the logits of the rows that want them,
    /// packed in their order. `tables` holds the blocks of each sequence.
    pub(crate) fn forward<'w>(
        &self,
        kernels: &mut Kernels,
        rows: &[Row],
        tables: &[&[u32]],
        kv: &mut KvStorage,
        work: &'w mut Workspace,
    ) -> &'w [f32] {
        let count = rows.len();
        let hidden = self.hidden;
        let attention_rows: Vec<AttentionRow<'_>> =
            rows.iter().map(|row| AttentionRow { blocks: tables[row.sequence], len: row.position + 1 }).collect();
        self.embed(kernels, rows, work);
        let x = &mut work.x[..count * hidden];
        let normed = &mut work.normed[..count * hidden];
        for (layer, block) in self.blocks.iter().enumerate() {
            if self.norm_before {
                block.attention_norm.apply(kernels, x, normed);
            } else {
                normed.copy_from_slice(x);
            }
            let scratch = Scratch { qkv: &mut work.qkv, attended: &mut work.attended };
            let rope = self.rope.as_ref();
            block.attention.apply(kernels, self.attention, rope, layer, &attention_rows, kv, normed, scratch, x);
            if self.norm_before {
                block.mlp_norm.apply(kernels, x, normed);
            } else {
                block.attention_norm.apply(kernels, x, normed);
                x.copy_from_slice(normed);
            }
            block.mlp.apply(kernels, normed, count, &mut work.inner, x);
            if !self.norm_before {
                block.mlp_norm.apply(kernels, x, normed);
                x.copy_from_slice(normed);
            }
        }
        self.logits(kernels, rows, work)
    }

    /// Embeds the rows' tokens and positions into `work.x`.
    fn embed(&self, kernels: &mut Kernels, rows: &[Row], work: &mut Workspace) {
        let (width, hidden, count) = (self.head.width(), self.hidden, rows.len());
        match &self.project_in {
            None => kernels.for_rows(&mut work.x, count, hidden, &|row, out| self.head.embed(rows[row].token, out)),
            Some(project) => {
                let embed = |row: usize, out: &mut [f32]| self.head.embed(rows[row].token, out);
                kernels.for_rows(&mut work.embedded, count, width, &embed);
                project.apply(kernels, &work.embedded[..count * width], count, &mut work.x, false);
            }
        }
        if let Some(positions) = &self.positions {
            for (row, out) in rows.iter().zip(work.x.chunks_exact_mut(hidden)) {
                let place = &mut work.normed[..hidden];
                positions.table.row(row.position + positions.offset, place);
                for (x, p) in out.iter_mut().zip(place) {
                    *x += *p;
                }
            }
        }
    }

    /// The logits of the rows that want them.
    fn logits<'w>(&self, kernels: &mut Kernels, rows: &[Row], work: &'w mut Workspace) -> &'w [f32] {
        let hidden = self.hidden;
        let half = work.wanted.len() / 2;
        let (from, to) = work.wanted.split_at_mut(half);
        let mut count = 0;
        for (row, x) in rows.iter().zip(work.x.chunks_exact(hidden)) {
            if row.logits {
                from[count * hidden..(count + 1) * hidden].copy_from_slice(x);
                count += 1;
            }
        }
        let (mut from, mut to, mut width) = (from, to, hidden);
        if let Some(norm) = &self.final_norm {
            norm.apply(kernels, &from[..count * width], to);
            (from, to) = (to, from);
        }
        if let Some(project) = &self.project_out {
            project.apply(kernels, &from[..count * width], count, to, false);
            width = project.outputs();
            (from, _) = (to, from);
        }
        let out = &mut work.logits[..count * self.vocab];
        let head = crate::kernels::Product { weight: &self.head.weight, bias: None };
        kernels.matmul(crate::kernels::Input::packed(&from[..count * width], count), &[head], out, self.vocab, false);
        out
    }
}

//! The inner loops, one table of functions per instruction set, chosen once at start.
//!
//! This is the only place with `unsafe` code: what leaves it is safe to call.
#![expect(unsafe_code, reason = "vector instructions and a thread pool; every block says why it is sound")]

#[cfg(target_arch = "aarch64")]
mod aarch64;
mod attention;
mod brain;
mod elementwise;
mod integer;
mod isa;
mod matmul;
mod memory;
mod panel;
mod pool;
mod quantize;
mod scalar;
mod simd;
mod table;
#[cfg(test)]
mod tests;
#[cfg(target_arch = "x86_64")]
mod x86;

pub(crate) use attention::BLOCK;
pub use isa::Isa;
pub(crate) use memory::{Arena, Buffer};
pub(crate) use panel::PANEL;
pub(crate) use pool::Pool;
pub(crate) use quantize::GROUP;

use half::{bf16, f16};
use panel::Element;
use quantize::{Quantized, Rows, Target};
use sagellm_core::{Clock, Nanos};
use table::Table;

use crate::weights::{Format, Matrix};

/// The kernels of one instruction set, on the threads of one pool.
pub(crate) struct Kernels {
    isa: Isa,
    table: &'static Table,
    pool: Pool,
    /// Activations of the product that is being computed, where its weights ask for it.
    quantized: Quantized,
    rounded: brain::Rounded,
    clock: Clock,
    spent: Spent,
}

/// Tasks of a product for a thread at most.
const MOST_TASKS: usize = 64;

/// Time that kernels took, in nanoseconds of the calling thread.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Spent {
    /// Attention, and writing keys and values.
    pub(crate) attention: Nanos,
    /// Products with weights.
    pub(crate) matmul: Nanos,
}

/// A raw pointer that tasks on other threads may use; each task writes its own part.
#[derive(Clone, Copy)]
struct Shared<T>(T);
// SAFETY: used only for pointers whose targets outlive `Pool::run`, with disjoint writes per task.
unsafe impl<T> Sync for Shared<T> {}
impl<T: Copy> Shared<T> {
    /// Through a method, so that a closure captures the whole and not the pointer inside.
    fn get(&self) -> T {
        self.0
    }
}

/// A weight matrix and its bias.
#[derive(Clone, Copy)]
pub(crate) struct Product<'a> {
    pub(crate) weight: &'a Matrix,
    pub(crate) bias: Option<&'a [f32]>,
}

/// Rows of activations.
#[derive(Clone, Copy)]
pub(crate) struct Input<'a> {
    pub(crate) numbers: &'a [f32],
    pub(crate) rows: usize,
    /// From one row to the next.
    pub(crate) stride: usize,
}

impl<'a> Input<'a> {
    /// `rows` rows, one right after another.
    pub(crate) fn packed(numbers: &'a [f32], rows: usize) -> Self {
        Self { numbers, rows, stride: numbers.len() / rows.max(1) }
    }
}

/// The type of keys and values in the cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum KvDtype {
    F32,
    F16,
    Bf16,
}

impl KvDtype {
    /// Name in results.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::F16 => "f16",
            Self::Bf16 => "bf16",
        }
    }

    /// Bytes of an element.
    pub(crate) fn bytes(self) -> usize {
        match self {
            Self::F32 => 4,
            Self::F16 | Self::Bf16 => 2,
        }
    }
}

/// Where the keys and values of one layer lie. Sizes are in elements.
#[derive(Clone, Copy)]
pub(crate) struct KvPlace {
    pub(crate) dtype: KvDtype,
    /// From one block to the next.
    pub(crate) block_stride: usize,
    /// From the start of a block to the keys of this layer. Its values follow.
    pub(crate) layer_offset: usize,
}

/// What attention needs to know of the model.
#[derive(Clone, Copy)]
pub(crate) struct AttentionShape {
    pub(crate) heads: usize,
    pub(crate) kv_heads: usize,
    pub(crate) head_dim: usize,
    pub(crate) scale: f32,
}

impl AttentionShape {
    /// Elements of the keys (or values) of one block of one layer.
    pub(crate) fn block_part(&self) -> usize {
        self.kv_heads * self.head_dim * BLOCK
    }
}

/// One token that attends to the blocks of its sequence, up to and including itself.
#[derive(Clone, Copy)]
pub(crate) struct AttentionRow<'a> {
    pub(crate) blocks: &'a [u32],
    pub(crate) len: usize,
}

impl AttentionRow<'_> {
    /// Whether `next` is the following token of the same sequence.
    fn is_before(&self, next: &Self) -> bool {
        std::ptr::eq(self.blocks, next.blocks) && self.len + 1 == next.len
    }
}

impl Kernels {
    /// The kernels of `isa`, with `threads` threads.
    ///
    /// # Errors
    /// The name of the instruction set when this processor lacks it; the system's error when a thread cannot be started.
    pub(crate) fn new(isa: Option<Isa>, threads: usize, clock: Clock) -> Result<Self, crate::EngineError> {
        let available = Isa::available();
        let isa = isa.unwrap_or(available[0]);
        if !available.contains(&isa) {
            return Err(crate::EngineError::IsaMissing { isa, available });
        }
        let pool = Pool::new(threads).map_err(crate::EngineError::Threads)?;
        Ok(Self {
            isa,
            table: Table::of(isa),
            pool,
            quantized: Quantized::default(),
            rounded: brain::Rounded::default(),
            clock,
            spent: Spent::default(),
        })
    }

    pub(crate) fn isa(&self) -> Isa {
        self.isa
    }

    pub(crate) fn threads(&self) -> usize {
        self.pool.threads()
    }

    /// What was spent since the last call.
    pub(crate) fn take_spent(&mut self) -> Spent {
        std::mem::take(&mut self.spent)
    }

    /// Multiplies the rows of `x` with several matrices; their outputs lie side by side in a row of `out` (rows `out_stride`
    /// apart). With `add`, results are added to `out`.
    pub(crate) fn matmul(
        &mut self,
        x: Input<'_>,
        products: &[Product<'_>],
        out: &mut [f32],
        out_stride: usize,
        add: bool,
    ) {
        let total: usize = products.iter().map(|p| p.weight.rows()).sum();
        let Some(k) = products.first().map(|p| p.weight.columns()) else { return };
        let Input { numbers: x, rows, stride } = x;
        assert!(products.iter().all(|p| {
            p.weight.columns() == k
                && p.bias.is_none_or(|b| b.len() == p.weight.rows())
                && p.weight.data().len() == p.weight.panels() * p.weight.panel_bytes()
        }));
        assert!(
            rows == 0
                || (k <= stride
                    && x.len() >= (rows - 1) * stride + k
                    && total <= out_stride
                    && out.len() >= (rows - 1) * out_stride + total)
        );
        let from = self.clock.now();
        let mut quantized = Rows::NONE;
        if products.iter().any(|p| p.weight.format().is_quantized()) {
            self.quantize(x, rows, stride, k);
            quantized = self.quantized.rows();
        }
        let mut rounded = brain::Rows::NONE;
        if products.iter().any(|p| p.weight.format() == Format::Bf16)
            && let Some(round) = self.table.round
        {
            self.round(round, x, rows, stride, k);
            rounded = self.rounded.rows();
        }
        let x = matmul::Activations { numbers: x.as_ptr(), stride, quantized, rounded };
        // As many tasks as give every thread the same work, small enough that one that is held up costs the others little,
        // and large enough to be read in one go: weights pass quickly by one row, and slowly by many.
        let threads = self.pool.threads();
        let size = if rows < matmul::MANY { 8 } else { 4 };
        let tasks_of = |p: &Product<'_>| {
            let panels = p.weight.panels();
            (panels.div_ceil(threads * size).min(MOST_TASKS) * threads).min(panels)
        };
        let (table, x, out) = (self.table, Shared(x), Shared(out.as_mut_ptr()));
        let tasks = products.iter().map(tasks_of).sum();
        self.pool.run(tasks, &|mut task| {
            let mut offset = 0;
            for product in products {
                let (weight, tasks) = (product.weight, tasks_of(product));
                if task >= tasks {
                    task -= tasks;
                    offset += weight.rows();
                    continue;
                }
                let (from, to) = (task * weight.panels() / tasks, (task + 1) * weight.panels() / tasks);
                // SAFETY: sizes were checked above; the columns of these panels belong to this task alone; the table was
                // chosen for this processor.
                unsafe {
                    let job = matmul::Job {
                        x: x.get(),
                        rows,
                        k,
                        w: weight.data().as_ptr(),
                        panel_bytes: weight.panel_bytes(),
                        columns: weight.rows(),
                        bias: product.bias.map_or(std::ptr::null(), <[f32]>::as_ptr),
                        out: out.get().add(offset),
                        out_stride,
                        add,
                    };
                    table.panels(weight.format())(job, from, to);
                }
                return;
            }
        });
        self.spent.matmul += self.clock.now() - from;
    }

    /// Quantizes `rows` rows of `k` numbers, `stride` apart, into `self.quantized`.
    fn quantize(&mut self, x: &[f32], rows: usize, stride: usize, k: usize) {
        self.quantized.resize(rows, k);
        let (values, scales, sums, groups) = self.quantized.starts();
        let (table, values, scales, sums) = (self.table, Shared(values), Shared(scales), Shared(sums));
        self.pool.run(tasks_for(rows, k), &|task| {
            for row in row_range(task, rows, k) {
                // SAFETY: there is room for all rows; this task alone has this one; the table was chosen for this
                // processor.
                unsafe {
                    let part = |start: *mut f32, len| std::slice::from_raw_parts_mut(start.add(row * len), len);
                    let values = values.get().add(row * groups * GROUP);
                    let target = Target {
                        values: std::slice::from_raw_parts_mut(values, groups * GROUP),
                        scales: part(scales.get(), groups),
                        sums: part(sums.get(), 2 * groups),
                    };
                    (table.quantize)(&x[row * stride..row * stride + k], target);
                }
            }
        });
    }

    /// Rounds `rows` rows of `k` numbers, `stride` apart, into `self.rounded`.
    fn round(&mut self, round: table::Round, x: &[f32], rows: usize, stride: usize, k: usize) {
        let (pairs, width) = self.rounded.resize(rows, k);
        let pairs = Shared(pairs);
        self.pool.run(tasks_for(rows, k), &|task| {
            for row in row_range(task, rows, k) {
                // SAFETY: there is room for all rows; this task alone has this one; the table was chosen for this
                // processor.
                unsafe {
                    let out = std::slice::from_raw_parts_mut(pairs.get().add(row * width), width);
                    round(&x[row * stride..row * stride + k], out);
                }
            }
        });
    }

    /// Attention of all `rows`: `q` and `out` hold `heads × head_dim` values a token, those in `q` `q_stride` apart.
    #[expect(clippy::too_many_arguments, reason = "the operands of one operation")]
    pub(crate) fn attention(
        &mut self,
        shape: AttentionShape,
        kv: &[u8],
        place: KvPlace,
        rows: &[AttentionRow<'_>],
        q: &[f32],
        q_stride: usize,
        out: &mut [f32],
    ) {
        let AttentionShape { heads, kv_heads, head_dim, scale } = shape;
        let group = heads / kv_heads;
        let width = heads * head_dim;
        let KvPlace { dtype, block_stride, layer_offset } = place;
        assert!(heads == group * kv_heads && layer_offset + 2 * shape.block_part() <= block_stride);
        assert!(rows.is_empty() || q.len() >= (rows.len() - 1) * q_stride + width);
        assert!(out.len() >= rows.len() * width);
        let blocks = kv.len() / (block_stride * dtype.bytes());
        for row in rows {
            assert!(row.len > 0 && row.blocks.len() >= row.len.div_ceil(BLOCK));
            assert!(row.blocks.iter().all(|&b| (b as usize) < blocks));
        }
        // A task takes one head of several neighbouring tokens, which read the same keys.
        let chunk = rows.len().div_ceil(self.pool.threads() * 4).clamp(1, 16);
        let tasks = rows.len().div_ceil(chunk) * kv_heads;
        let from = self.clock.now();
        let attend = self.table.attend(dtype);
        let (q, out) = (Shared(q.as_ptr()), Shared(out.as_mut_ptr()));
        self.pool.run(tasks, &|task| {
            let (head, part) = (task % kv_heads, task / kv_heads);
            let (mut first, end) = (part * chunk, rows.len().min((part + 1) * chunk));
            while first < end {
                let mut next = first + 1;
                while next < end && rows[next - 1].is_before(&rows[next]) {
                    next += 1;
                }
                // SAFETY: sizes were checked above, and of the last token's blocks those of the others are a part; this
                // task alone has this head of these tokens; the table was chosen for this processor.
                unsafe {
                    attend(attention::Job {
                        q: q.get().add(first * q_stride + head * group * head_dim),
                        q_stride,
                        group,
                        head_dim,
                        keys: kv.as_ptr().add(layer_offset * dtype.bytes()),
                        values: kv.as_ptr().add((layer_offset + shape.block_part()) * dtype.bytes()),
                        block_stride,
                        head_offset: head * head_dim * BLOCK,
                        blocks: rows[first].blocks.as_ptr(),
                        tokens: next - first,
                        len: rows[first].len,
                        scale,
                        out: out.get().add(first * width + head * group * head_dim),
                        out_stride: width,
                    });
                }
                first = next;
            }
        });
        self.spent.attention += self.clock.now() - from;
    }

    /// Writes the key and value (`kv_heads × head_dim` each, side by side at `kv_offset` of a row of `qkv`) of the last token
    /// that each row attends to to its place in the cache.
    #[expect(clippy::too_many_arguments, reason = "the operands of one operation")]
    pub(crate) fn write_kv(
        &mut self,
        shape: AttentionShape,
        kv: &mut [u8],
        place: KvPlace,
        rows: &[AttentionRow<'_>],
        qkv: &[f32],
        stride: usize,
        kv_offset: usize,
    ) {
        let from = self.clock.now();
        match place.dtype {
            KvDtype::F32 => self.write_kv_as::<f32>(shape, kv, place, rows, qkv, stride, kv_offset),
            KvDtype::F16 => self.write_kv_as::<f16>(shape, kv, place, rows, qkv, stride, kv_offset),
            KvDtype::Bf16 => self.write_kv_as::<bf16>(shape, kv, place, rows, qkv, stride, kv_offset),
        }
        self.spent.attention += self.clock.now() - from;
    }

    #[expect(clippy::too_many_arguments, reason = "the operands of one operation")]
    fn write_kv_as<E: Element + bytemuck::Pod>(
        &mut self,
        shape: AttentionShape,
        kv: &mut [u8],
        place: KvPlace,
        rows: &[AttentionRow<'_>],
        qkv: &[f32],
        stride: usize,
        kv_offset: usize,
    ) {
        let AttentionShape { kv_heads, head_dim, .. } = shape;
        let kv: &mut [E] = bytemuck::cast_slice_mut(kv);
        let (width, part) = (kv_heads * head_dim, shape.block_part());
        let blocks = kv.len() / place.block_stride;
        assert!(place.layer_offset + 2 * part <= place.block_stride);
        assert!(rows.iter().all(|row| (row.blocks[(row.len - 1) / BLOCK] as usize) < blocks));
        let kv = Shared(kv.as_mut_ptr());
        // By heads, since two tasks never have the same one, whatever the block tables say.
        let write = |head: usize| {
            for (row, values) in rows.iter().zip(qkv.chunks_exact(stride)) {
                let (position, own) = (row.len - 1, &values[kv_offset + head * head_dim..]);
                let block = row.blocks[position / BLOCK] as usize * place.block_stride;
                let slot = position % BLOCK;
                // SAFETY: block and layer were checked above; the head's part is `head_dim × BLOCK` long, and this task's.
                unsafe {
                    let keys = kv.get().add(block + place.layer_offset + head * head_dim * BLOCK);
                    let values = keys.add(part + slot * head_dim);
                    for (d, &component) in own[..head_dim].iter().enumerate() {
                        *keys.add(d * BLOCK + slot) = E::from_single(component);
                    }
                    for (d, &component) in own[width..width + head_dim].iter().enumerate() {
                        *values.add(d) = E::from_single(component);
                    }
                }
            }
        };
        if rows.len() * width < SMALL {
            (0..kv_heads).for_each(write);
        } else {
            self.pool.run(kv_heads, &write);
        }
    }

    /// Root-mean-square norm of every row of `x`.
    pub(crate) fn rms_norm(&mut self, x: &[f32], weight: &[f32], eps: f32, out: &mut [f32]) {
        let (table, width) = (self.table, weight.len());
        self.for_rows(out, x.len() / width, width, &|row, out| {
            out.copy_from_slice(&x[row * width..(row + 1) * width]);
            // SAFETY: the table was chosen for this processor.
            unsafe { (table.rms_norm)(out, weight, eps) }
        });
    }

    /// Layer norm of every row of `x`.
    pub(crate) fn layer_norm(&mut self, x: &[f32], weight: &[f32], bias: &[f32], eps: f32, out: &mut [f32]) {
        let (table, width) = (self.table, weight.len());
        assert_eq!(weight.len(), bias.len());
        self.for_rows(out, x.len() / width, width, &|row, out| {
            // SAFETY: the table was chosen for this processor.
            unsafe { (table.layer_norm)(&x[row * width..(row + 1) * width], weight, bias, eps, out) }
        });
    }

    /// `gate = silu(gate) * up` of rows that hold gate and up side by side, `width` numbers in all.
    pub(crate) fn silu_gate(&mut self, x: &mut [f32], width: usize) {
        let table = self.table;
        self.for_rows(x, x.len() / width, width, &|_, row| {
            let (gate, up) = row.split_at_mut(width / 2);
            // SAFETY: the table was chosen for this processor.
            unsafe { (table.silu_mul)(gate, up) }
        });
    }

    /// GELU, tanh approximation, of every value.
    pub(crate) fn gelu_tanh(&mut self, x: &mut [f32], width: usize) {
        let table = self.table;
        // SAFETY: the table was chosen for this processor.
        self.for_rows(x, x.len() / width, width, &|_, x| unsafe { (table.gelu_tanh)(x) });
    }

    /// The norm over one head for use inside [`for_rows`](Self::for_rows).
    pub(crate) fn norm_of_head(&self) -> impl Fn(&mut [f32], &[f32], f32) + Sync + use<> {
        let table = self.table;
        move |head, weight, eps| {
            assert_eq!(head.len(), weight.len());
            // SAFETY: the table was chosen for this processor.
            unsafe { (table.rms_norm)(head, weight, eps) }
        }
    }

    /// Calls `f` with the number and the contents of each of `rows` rows of `x`, on all threads.
    pub(crate) fn for_rows(
        &mut self,
        x: &mut [f32],
        rows: usize,
        width: usize,
        f: &(dyn Fn(usize, &mut [f32]) + Sync),
    ) {
        assert!(x.len() >= rows * width);
        let x = Shared(x.as_mut_ptr());
        self.pool.run(tasks_for(rows, width), &|task| {
            for row in row_range(task, rows, width) {
                // SAFETY: the size was checked; this task alone has this row.
                f(row, unsafe { std::slice::from_raw_parts_mut(x.get().add(row * width), width) });
            }
        });
    }
}

/// Values that one task of an elementwise operation takes: fewer would cost more to hand out than to compute.
const SMALL: usize = 8192;

fn rows_of_task(width: usize) -> usize {
    (SMALL / width.max(1)).max(1)
}

fn tasks_for(rows: usize, width: usize) -> usize {
    rows.div_ceil(rows_of_task(width))
}

fn row_range(task: usize, rows: usize, width: usize) -> std::ops::Range<usize> {
    let size = rows_of_task(width);
    task * size..rows.min((task + 1) * size)
}

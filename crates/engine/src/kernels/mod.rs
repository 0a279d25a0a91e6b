//! The inner loops, one table of functions per instruction set, chosen once at start.
//!
//! This is the only place with `unsafe` code: what leaves it is safe to call.
#![expect(unsafe_code, reason = "vector instructions and a thread pool; every block says why it is sound")]

#[cfg(target_arch = "aarch64")]
mod aarch64;
mod attention;
mod elementwise;
mod matmul;
mod pool;
mod scalar;
mod simd;
#[cfg(test)]
mod tests;
#[cfg(target_arch = "x86_64")]
mod x86;

use std::fmt;
use std::str::FromStr;

use half::bf16;

pub(crate) use attention::BLOCK;
pub(crate) use pool::Pool;

use crate::weights::{Elements, Matrix};

/// The instruction sets that there are kernels for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Isa {
    /// x86-64 with AVX-512 F, BW, DQ and VL.
    Avx512,
    /// x86-64 with AVX2 and FMA.
    Avx2,
    /// AArch64.
    Neon,
    /// Any processor.
    Scalar,
}

impl Isa {
    /// Those that this processor has, best first.
    pub fn available() -> Vec<Self> {
        let mut found = Vec::new();
        #[cfg(target_arch = "x86_64")]
        {
            if is_x86_feature_detected!("avx512f")
                && is_x86_feature_detected!("avx512bw")
                && is_x86_feature_detected!("avx512dq")
                && is_x86_feature_detected!("avx512vl")
            {
                found.push(Self::Avx512);
            }
            if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
                found.push(Self::Avx2);
            }
        }
        if cfg!(target_arch = "aarch64") {
            found.push(Self::Neon);
        }
        found.push(Self::Scalar);
        found
    }
}

impl fmt::Display for Isa {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Avx512 => "avx512",
            Self::Avx2 => "avx2",
            Self::Neon => "neon",
            Self::Scalar => "scalar",
        })
    }
}

impl FromStr for Isa {
    type Err = String;
    fn from_str(name: &str) -> Result<Self, String> {
        match name {
            "avx512" => Ok(Self::Avx512),
            "avx2" => Ok(Self::Avx2),
            "neon" => Ok(Self::Neon),
            "scalar" => Ok(Self::Scalar),
            _ => Err("expected avx512, avx2, neon or scalar".into()),
        }
    }
}

/// Input, weight, bias, epsilon, output.
type LayerNorm = unsafe fn(&[f32], &[f32], &[f32], f32, &mut [f32]);

/// The functions of one instruction set. Each is `unsafe` because the processor must have it.
struct Table {
    f32_columns: unsafe fn(matmul::Job<f32>, usize, usize),
    bf16_columns: unsafe fn(matmul::Job<bf16>, usize, usize),
    attend: unsafe fn(attention::Job),
    rms_norm: unsafe fn(&[f32], &[f32], f32, &mut [f32]),
    layer_norm: LayerNorm,
    silu_mul: unsafe fn(&mut [f32], &[f32]),
    gelu_tanh: unsafe fn(&mut [f32]),
}

/// Instantiates every algorithm for one vector type inside functions that are compiled for its instruction set.
macro_rules! table {
    ($name:ident, $vector:ty $(, $feature:literal)?) => {{
        $(#[target_feature(enable = $feature)])?
        unsafe fn f32_columns(job: matmul::Job<f32>, from: usize, to: usize) {
            // SAFETY: forwarded; this function is compiled for the instruction set.
            unsafe { matmul::columns::<$vector, f32>(job, from, to) }
        }
        $(#[target_feature(enable = $feature)])?
        unsafe fn bf16_columns(job: matmul::Job<bf16>, from: usize, to: usize) {
            // SAFETY: forwarded.
            unsafe { matmul::columns::<$vector, bf16>(job, from, to) }
        }
        $(#[target_feature(enable = $feature)])?
        unsafe fn attend(job: attention::Job) {
            // SAFETY: forwarded.
            unsafe { attention::attend::<$vector>(job) }
        }
        $(#[target_feature(enable = $feature)])?
        unsafe fn rms_norm(x: &[f32], weight: &[f32], eps: f32, out: &mut [f32]) {
            // SAFETY: forwarded.
            unsafe { elementwise::rms_norm::<$vector>(x, weight, eps, out) }
        }
        $(#[target_feature(enable = $feature)])?
        unsafe fn layer_norm(x: &[f32], weight: &[f32], bias: &[f32], eps: f32, out: &mut [f32]) {
            // SAFETY: forwarded.
            unsafe { elementwise::layer_norm::<$vector>(x, weight, bias, eps, out) }
        }
        $(#[target_feature(enable = $feature)])?
        unsafe fn silu_mul(x: &mut [f32], y: &[f32]) {
            // SAFETY: forwarded.
            unsafe { elementwise::silu_mul::<$vector>(x, y) }
        }
        $(#[target_feature(enable = $feature)])?
        unsafe fn gelu_tanh(x: &mut [f32]) {
            // SAFETY: forwarded.
            unsafe { elementwise::gelu_tanh::<$vector>(x) }
        }
        static $name: Table =
            Table { f32_columns, bf16_columns, attend, rms_norm, layer_norm, silu_mul, gelu_tanh };
        &$name
    }};
}

/// The kernels of one instruction set, on the threads of one pool.
pub(crate) struct Kernels {
    isa: Isa,
    table: &'static Table,
    pool: Pool,
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

/// Where the keys and values of one layer lie, and how blocks are laid out.
#[derive(Clone, Copy)]
pub(crate) struct KvLayer<'a> {
    pub(crate) keys: &'a [f32],
    pub(crate) values: &'a [f32],
    /// Elements of one block of one layer: `kv_heads × head_dim × BLOCK`.
    pub(crate) block_stride: usize,
}

/// What attention needs to know of the model.
#[derive(Clone, Copy)]
pub(crate) struct AttentionShape {
    pub(crate) heads: usize,
    pub(crate) kv_heads: usize,
    pub(crate) head_dim: usize,
    pub(crate) scale: f32,
}

/// One token that attends to the blocks of its sequence, up to and including itself.
#[derive(Clone, Copy)]
pub(crate) struct AttentionRow<'a> {
    pub(crate) blocks: &'a [u32],
    pub(crate) len: usize,
}

impl Kernels {
    /// The kernels of `isa`, with `threads` threads.
    ///
    /// # Errors
    /// The name of the instruction set when this processor lacks it; the system's error when a thread cannot be started.
    pub(crate) fn new(isa: Option<Isa>, threads: usize) -> Result<Self, crate::EngineError> {
        let available = Isa::available();
        let isa = isa.unwrap_or(available[0]);
        if !available.contains(&isa) {
            return Err(crate::EngineError::IsaMissing { isa, available });
        }
        let table = match isa {
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512 => table!(AVX512, x86::Avx512, "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma"),
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 => table!(AVX2, x86::Avx2, "avx2,fma"),
            #[cfg(target_arch = "aarch64")]
            Isa::Neon => table!(NEON, aarch64::Neon),
            _ => table!(SCALAR, scalar::Scalar),
        };
        let pool = Pool::new(threads).map_err(crate::EngineError::Threads)?;
        Ok(Self { isa, table, pool })
    }

    pub(crate) fn isa(&self) -> Isa {
        self.isa
    }

    pub(crate) fn threads(&self) -> usize {
        self.pool.threads()
    }

    /// Multiplies `rows` rows of `x` (rows `k` apart) with several matrices; their outputs lie side by side in a row of
    /// `out` (rows `out_stride` apart). With `add`, results are added to `out`.
    pub(crate) fn matmul(
        &mut self,
        x: &[f32],
        rows: usize,
        products: &[Product<'_>],
        out: &mut [f32],
        out_stride: usize,
        add: bool,
    ) {
        let total: usize = products.iter().map(|p| p.weight.rows()).sum();
        let Some(k) = products.first().map(|p| p.weight.columns()) else { return };
        assert!(products.iter().all(|p| p.weight.columns() == k && p.bias.is_none_or(|b| b.len() == p.weight.rows())));
        assert!(
            x.len() >= rows * k && total <= out_stride && (rows == 0 || out.len() >= (rows - 1) * out_stride + total)
        );
        // Bands of columns small enough to even out the threads, large enough to be read in one go.
        let band = (total / (self.pool.threads() * 8)).clamp(16, 64).next_multiple_of(8);
        let bands_of = |p: &Product<'_>| p.weight.rows().div_ceil(band);
        let (table, x, out) = (self.table, Shared(x.as_ptr()), Shared(out.as_mut_ptr()));
        let tasks = products.iter().map(bands_of).sum();
        self.pool.run(tasks, &|mut task| {
            let mut offset = 0;
            for product in products {
                let bands = bands_of(product);
                if task >= bands {
                    task -= bands;
                    offset += product.weight.rows();
                    continue;
                }
                let (from, to) = (task * band, ((task + 1) * band).min(product.weight.rows()));
                let bias = product.bias.map_or(std::ptr::null(), <[f32]>::as_ptr);
                // SAFETY: sizes were checked above; columns `offset + from..offset + to` belong to this task alone;
                // the table was chosen for this processor.
                unsafe {
                    let out = out.get().add(offset);
                    match product.weight.elements() {
                        Elements::F32(w) => {
                            let job = job(x.get(), rows, k, w.as_ptr(), bias, out, out_stride, add);
                            (table.f32_columns)(job, from, to);
                        }
                        Elements::Bf16(w) => {
                            let job = job(x.get(), rows, k, w.as_ptr(), bias, out, out_stride, add);
                            (table.bf16_columns)(job, from, to);
                        }
                    }
                }
                return;
            }
        });
    }

    /// Attention of `rows` tokens: `q` and `out` hold `heads × head_dim` values a token at the given strides; `scores` is
    /// scratch for `heads × len` of every thread's task, laid out by [`score_room`](Self::score_room).
    #[expect(clippy::too_many_arguments, reason = "the operands of one operation")]
    pub(crate) fn attention(
        &mut self,
        shape: AttentionShape,
        kv: KvLayer<'_>,
        rows: &[AttentionRow<'_>],
        q: &[f32],
        q_stride: usize,
        out: &mut [f32],
        scores: &mut Scores,
    ) {
        let AttentionShape { heads, kv_heads, head_dim, scale } = shape;
        let group = heads / kv_heads;
        let width = heads * head_dim;
        assert!(heads == group * kv_heads && kv.block_stride == kv_heads * head_dim * BLOCK);
        assert!(rows.is_empty() || q.len() >= (rows.len() - 1) * q_stride + width);
        assert!(out.len() >= rows.len() * width);
        let blocks = kv.keys.len().min(kv.values.len()) / kv.block_stride;
        let mut longest = 0;
        for row in rows {
            assert!(row.len > 0 && row.blocks.len() >= row.len.div_ceil(BLOCK));
            assert!(row.blocks.iter().all(|&b| (b as usize) < blocks));
            longest = longest.max(row.len.div_ceil(BLOCK) * BLOCK);
        }
        // A task takes one head of several neighbouring tokens, which read the same keys.
        let chunk = rows.len().div_ceil(self.pool.threads() * 4).clamp(1, 16);
        let chunks = rows.len().div_ceil(chunk);
        let tasks = chunks * kv_heads;
        let room = group * longest;
        scores.0.resize(tasks * room, 0.0);
        let (table, q, out, scores) =
            (self.table, Shared(q.as_ptr()), Shared(out.as_mut_ptr()), Shared(scores.0.as_mut_ptr()));
        self.pool.run(tasks, &|task| {
            let (head, part) = (task % kv_heads, task / kv_heads);
            for (index, row) in rows.iter().enumerate().skip(part * chunk).take(chunk) {
                // SAFETY: sizes were checked above; this task alone has this head of these tokens and its part of
                // `scores`; the table was chosen for this processor.
                unsafe {
                    (table.attend)(attention::Job {
                        q: q.get().add(index * q_stride + head * group * head_dim),
                        group,
                        head_dim,
                        keys: kv.keys.as_ptr(),
                        values: kv.values.as_ptr(),
                        block_stride: kv.block_stride,
                        head_offset: head * head_dim * BLOCK,
                        blocks: row.blocks.as_ptr(),
                        len: row.len,
                        scale,
                        scores: scores.get().add(task * room),
                        out: out.get().add(index * width + head * group * head_dim),
                    });
                }
            }
        });
    }

    /// Root-mean-square norm of every row of `x`.
    pub(crate) fn rms_norm(&mut self, x: &[f32], weight: &[f32], eps: f32, out: &mut [f32]) {
        let table = self.table;
        self.rows(x, weight.len(), out, &|x, out| {
            // SAFETY: the table was chosen for this processor; both slices are one row.
            unsafe { (table.rms_norm)(x, weight, eps, out) }
        });
    }

    /// Layer norm of every row of `x`.
    pub(crate) fn layer_norm(&mut self, x: &[f32], weight: &[f32], bias: &[f32], eps: f32, out: &mut [f32]) {
        let table = self.table;
        assert_eq!(weight.len(), bias.len());
        self.rows(x, weight.len(), out, &|x, out| {
            // SAFETY: the table was chosen for this processor; both slices are one row.
            unsafe { (table.layer_norm)(x, weight, bias, eps, out) }
        });
    }

    /// `x = silu(gate) * up` of rows that hold gate and up side by side; the result lies packed in `out`.
    pub(crate) fn silu_gate(&mut self, x: &[f32], width: usize, out: &mut [f32]) {
        let table = self.table;
        let rows = x.len() / (2 * width);
        assert!(out.len() >= rows * width);
        let out = Shared(out.as_mut_ptr());
        self.pool.run(tasks_for(rows), &|task| {
            for row in row_range(task, rows) {
                let (gate, up) = x[row * 2 * width..(row + 1) * 2 * width].split_at(width);
                // SAFETY: this task alone has this row of `out`; the table was chosen for this processor.
                unsafe {
                    let out = std::slice::from_raw_parts_mut(out.get().add(row * width), width);
                    out.copy_from_slice(gate);
                    (table.silu_mul)(out, up);
                }
            }
        });
    }

    /// GELU, tanh approximation, of every value.
    pub(crate) fn gelu_tanh(&mut self, x: &mut [f32], width: usize) {
        let table = self.table;
        let rows = x.len() / width;
        let x = Shared(x.as_mut_ptr());
        self.pool.run(tasks_for(rows), &|task| {
            for row in row_range(task, rows) {
                // SAFETY: this task alone has this row; the table was chosen for this processor.
                unsafe { (table.gelu_tanh)(std::slice::from_raw_parts_mut(x.get().add(row * width), width)) }
            }
        });
    }

    /// Calls `f` with every row of `x` and the same row of `out`.
    fn rows(&mut self, x: &[f32], width: usize, out: &mut [f32], f: &(dyn Fn(&[f32], &mut [f32]) + Sync)) {
        let rows = x.len() / width;
        assert!(out.len() >= rows * width);
        let out = Shared(out.as_mut_ptr());
        self.pool.run(tasks_for(rows), &|task| {
            for row in row_range(task, rows) {
                // SAFETY: this task alone has this row of `out`.
                let out = unsafe { std::slice::from_raw_parts_mut(out.get().add(row * width), width) };
                f(&x[row * width..(row + 1) * width], out);
            }
        });
    }
}

/// Rows that one task of an elementwise operation takes: fewer would cost more to hand out than to compute.
const ROWS_PER_TASK: usize = 16;

fn tasks_for(rows: usize) -> usize {
    rows.div_ceil(ROWS_PER_TASK)
}

fn row_range(task: usize, rows: usize) -> std::ops::Range<usize> {
    task * ROWS_PER_TASK..rows.min((task + 1) * ROWS_PER_TASK)
}

/// Scratch for attention scores, kept between steps so that a step allocates nothing once it has reached its size.
#[derive(Default)]
pub(crate) struct Scores(Vec<f32>);

#[expect(clippy::too_many_arguments, reason = "the fields of a job, spelled once for two element types")]
fn job<W>(
    x: *const f32,
    rows: usize,
    k: usize,
    w: *const W,
    bias: *const f32,
    out: *mut f32,
    out_stride: usize,
    add: bool,
) -> matmul::Job<W> {
    matmul::Job { x, x_stride: k, rows, k, w, bias, out, out_stride, add }
}

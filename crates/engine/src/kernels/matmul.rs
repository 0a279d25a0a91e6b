//! Products of activations with weight rows.
//!
//! Every output is one dot product summed in one fixed order: `LANES` partial sums over ascending columns, then one
//! fixed reduction. Tiles only decide which outputs are computed at the same time, so a row's result does not depend on
//! how many rows share the step.

use super::simd::Simd;

/// A weight element that a vector load can widen to f32.
pub(super) trait Element: Copy {
    /// Loads `S::LANES` elements.
    ///
    /// # Safety
    /// As for [`Simd::load`].
    unsafe fn load<S: Simd>(from: *const Self) -> S::V;
    /// Loads `count < S::LANES` elements, the rest zero.
    ///
    /// # Safety
    /// As for [`Simd::load_some`].
    unsafe fn load_some<S: Simd>(from: *const Self, count: usize) -> S::V;
}

impl Element for f32 {
    #[inline(always)]
    unsafe fn load<S: Simd>(from: *const Self) -> S::V {
        // SAFETY: forwarded.
        unsafe { S::load(from) }
    }
    #[inline(always)]
    unsafe fn load_some<S: Simd>(from: *const Self, count: usize) -> S::V {
        // SAFETY: forwarded.
        unsafe { S::load_some(from, count) }
    }
}

impl Element for half::bf16 {
    #[inline(always)]
    unsafe fn load<S: Simd>(from: *const Self) -> S::V {
        // SAFETY: forwarded; bf16 is a transparent u16.
        unsafe { S::load_bf16(from.cast()) }
    }
    #[inline(always)]
    unsafe fn load_some<S: Simd>(from: *const Self, count: usize) -> S::V {
        // SAFETY: forwarded; bf16 is a transparent u16.
        unsafe { S::load_bf16_some(from.cast(), count) }
    }
}

/// One product: `out[r][c] (+)= x[r] · w[c] + bias[c]`.
#[derive(Clone, Copy)]
pub(super) struct Job<W> {
    /// Activations, `rows × k`, rows `x_stride` apart.
    pub(super) x: *const f32,
    pub(super) x_stride: usize,
    pub(super) rows: usize,
    pub(super) k: usize,
    /// Weights, row-major, `k` a row.
    pub(super) w: *const W,
    /// Null for none.
    pub(super) bias: *const f32,
    /// Results, rows `out_stride` apart.
    pub(super) out: *mut f32,
    pub(super) out_stride: usize,
    /// Whether results are added to what is there.
    pub(super) add: bool,
}

/// Activation rows that are kept in the second-level cache while a band of weights passes.
const ROW_BLOCK: usize = 64;

/// Computes the outputs of the weight rows `from..to`.
///
/// # Safety
/// The job's pointers must be valid for its sizes, nobody else may touch those outputs, and the processor must have `S`.
#[inline(always)]
pub(super) unsafe fn columns<S: Simd, W: Element>(job: Job<W>, from: usize, to: usize) {
    // SAFETY: tiles stay within `rows` and `from..to`.
    unsafe {
        if job.rows == 1 {
            let mut c = from;
            while c + 8 <= to {
                tile::<S, W, 1, 8>(job, 0, c);
                c += 8;
            }
            while c < to {
                tile::<S, W, 1, 1>(job, 0, c);
                c += 1;
            }
            return;
        }
        let mut block = 0;
        while block < job.rows {
            let end = job.rows.min(block + ROW_BLOCK);
            let mut c = from;
            while c + 4 <= to {
                row_band::<S, W, 4>(job, block, end, c);
                c += 4;
            }
            while c < to {
                row_band::<S, W, 1>(job, block, end, c);
                c += 1;
            }
            block = end;
        }
    }
}

#[inline(always)]
unsafe fn row_band<S: Simd, W: Element, const NC: usize>(job: Job<W>, from: usize, to: usize, c: usize) {
    let mut r = from;
    // SAFETY: rows stay below `to`.
    unsafe {
        if S::WIDE {
            while r + 4 <= to {
                tile::<S, W, 4, NC>(job, r, c);
                r += 4;
            }
        }
        while r + 2 <= to {
            tile::<S, W, 2, NC>(job, r, c);
            r += 2;
        }
        if r < to {
            tile::<S, W, 1, NC>(job, r, c);
        }
    }
}

#[inline(always)]
unsafe fn tile<S: Simd, W: Element, const NR: usize, const NC: usize>(job: Job<W>, r: usize, c: usize) {
    let k = job.k;
    // SAFETY: `r + NR <= rows` and `c + NC` weight rows exist; columns stay below `k`.
    unsafe {
        let mut sums = [[S::zero(); NC]; NR];
        let x = job.x.add(r * job.x_stride);
        let w = job.w.add(c * k);
        let mut i = 0;
        while i + S::LANES <= k {
            let mut weights = [S::zero(); NC];
            for (column, weight) in weights.iter_mut().enumerate() {
                *weight = W::load::<S>(w.add(column * k + i));
            }
            for (row, sums) in sums.iter_mut().enumerate() {
                let value = S::load(x.add(row * job.x_stride + i));
                for column in 0..NC {
                    sums[column] = S::fma(value, weights[column], sums[column]);
                }
            }
            i += S::LANES;
        }
        if i < k {
            let rest = k - i;
            for (row, sums) in sums.iter_mut().enumerate() {
                let value = S::load_some(x.add(row * job.x_stride + i), rest);
                for (column, sum) in sums.iter_mut().enumerate() {
                    *sum = S::fma(value, W::load_some::<S>(w.add(column * k + i), rest), *sum);
                }
            }
        }
        for (row, sums) in sums.iter().enumerate() {
            for (column, sum) in sums.iter().enumerate() {
                let mut value = S::reduce_add(*sum);
                if !job.bias.is_null() {
                    value += *job.bias.add(c + column);
                }
                let to = job.out.add((r + row) * job.out_stride + c + column);
                *to = if job.add { *to + value } else { value };
            }
        }
    }
}

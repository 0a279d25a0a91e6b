//! Attention of one token over the blocks of its sequence.
//!
//! Keys of a block lie transposed (`head_dim × 16`), so that a vector holds the same component of neighbouring tokens and
//! scores need no reduction; values lie plain (`16 × head_dim`). The heads of a group share each load of a key.

use super::simd::{Simd, exp};

/// Tokens in a KV block.
pub(crate) const BLOCK: usize = 16;

/// One token and one key/value head.
#[derive(Clone, Copy)]
pub(super) struct Job {
    /// Queries of the group's heads, `group × head_dim`.
    pub(super) q: *const f32,
    pub(super) group: usize,
    pub(super) head_dim: usize,
    /// Keys and values of this layer; blocks are `block_stride` elements apart, this head's part begins at `head_offset`.
    pub(super) keys: *const f32,
    pub(super) values: *const f32,
    pub(super) block_stride: usize,
    pub(super) head_offset: usize,
    /// The sequence's blocks in order.
    pub(super) blocks: *const u32,
    /// Tokens attended to: all up to and including this one.
    pub(super) len: usize,
    pub(super) scale: f32,
    /// Room for `group × len` scores, each head's part rounded up to whole blocks.
    pub(super) scores: *mut f32,
    /// Results, `group × head_dim`.
    pub(super) out: *mut f32,
}

/// Computes softmax(q · K · scale) · V for every head of the group.
///
/// # Safety
/// The job's pointers must be valid for its sizes, `len > 0`, nobody else may touch `scores` and `out`, and the processor
/// must have `S`.
#[inline(always)]
pub(super) unsafe fn attend<S: Simd>(job: Job) {
    let stride = job.len.div_ceil(BLOCK) * BLOCK;
    // SAFETY: every head works on its own part of `q`, `scores` and `out`.
    unsafe {
        let mut head = 0;
        while head < job.group {
            let heads = (job.group - head).min(4);
            match heads {
                1 => score::<S, 1>(job, head, stride),
                2 => score::<S, 2>(job, head, stride),
                3 => score::<S, 3>(job, head, stride),
                _ => score::<S, 4>(job, head, stride),
            }
            head += heads;
        }
        for head in 0..job.group {
            let scores = job.scores.add(head * stride);
            let total = softmax_in_place::<S>(scores, job.len, stride);
            weigh::<S>(job, scores, job.out.add(head * job.head_dim), 1.0 / total);
        }
    }
}

/// Scores of `HEADS` heads from `head` on.
#[inline(always)]
unsafe fn score<S: Simd, const HEADS: usize>(job: Job, head: usize, stride: usize) {
    // SAFETY: block ids come from the table; the parts of a block are `head_dim × 16`.
    unsafe {
        let q = job.q.add(head * job.head_dim);
        let scale = S::splat(job.scale);
        for block in 0..stride / BLOCK {
            let keys = job.keys.add(*job.blocks.add(block) as usize * job.block_stride + job.head_offset);
            let mut lane = 0;
            while lane < BLOCK {
                // Two sums per head, over even and odd components: one would wait for itself.
                let mut even = [S::zero(); HEADS];
                let mut odd = [S::zero(); HEADS];
                let mut d = 0;
                while d + 2 <= job.head_dim {
                    let k0 = S::load(keys.add(d * BLOCK + lane));
                    let k1 = S::load(keys.add((d + 1) * BLOCK + lane));
                    for h in 0..HEADS {
                        let q = q.add(h * job.head_dim + d);
                        even[h] = S::fma(S::splat(*q), k0, even[h]);
                        odd[h] = S::fma(S::splat(*q.add(1)), k1, odd[h]);
                    }
                    d += 2;
                }
                if d < job.head_dim {
                    let k0 = S::load(keys.add(d * BLOCK + lane));
                    for (h, even) in even.iter_mut().enumerate() {
                        *even = S::fma(S::splat(*q.add(h * job.head_dim + d)), k0, *even);
                    }
                }
                for h in 0..HEADS {
                    let sum = S::mul(S::add(even[h], odd[h]), scale);
                    S::store(job.scores.add((head + h) * stride + block * BLOCK + lane), sum);
                }
                lane += S::LANES;
            }
        }
    }
}

/// Turns `len` scores into e^(s − max), zeroes the rest up to `stride`, and gives the sum.
#[inline(always)]
unsafe fn softmax_in_place<S: Simd>(scores: *mut f32, len: usize, stride: usize) -> f32 {
    // SAFETY: `stride` is a multiple of 16 and so of LANES.
    unsafe {
        for tail in len..stride {
            *scores.add(tail) = f32::NEG_INFINITY;
        }
        let mut top = S::splat(f32::NEG_INFINITY);
        let mut i = 0;
        while i < stride {
            top = S::max(top, S::load(scores.add(i)));
            i += S::LANES;
        }
        let top = S::splat(S::reduce_max(top));
        let mut i = 0;
        while i < stride {
            S::store(scores.add(i), exp::<S>(S::sub(S::load(scores.add(i)), top)));
            i += S::LANES;
        }
        for tail in len..stride {
            *scores.add(tail) = 0.0;
        }
        let mut sum = S::zero();
        let mut i = 0;
        while i < stride {
            sum = S::add(sum, S::load(scores.add(i)));
            i += S::LANES;
        }
        S::reduce_add(sum)
    }
}

/// The weighted sum of the values, four vectors of components at a time.
#[inline(always)]
unsafe fn weigh<S: Simd>(job: Job, weights: *const f32, out: *mut f32, scale: f32) {
    let width = job.head_dim;
    // SAFETY: components stay below `head_dim`, tokens below `len`.
    unsafe {
        let mut d = 0;
        while d + 4 * S::LANES <= width {
            let sums = weigh_part::<S, 4>(job, weights, d);
            for (part, sum) in sums.into_iter().enumerate() {
                S::store(out.add(d + part * S::LANES), S::mul(sum, S::splat(scale)));
            }
            d += 4 * S::LANES;
        }
        while d + S::LANES <= width {
            let [sum] = weigh_part::<S, 1>(job, weights, d);
            S::store(out.add(d), S::mul(sum, S::splat(scale)));
            d += S::LANES;
        }
        for d in d..width {
            let mut sum = 0.0f32;
            for token in 0..job.len {
                sum += *weights.add(token) * *value_of(job, token).add(d);
            }
            *out.add(d) = sum * scale;
        }
    }
}

#[inline(always)]
unsafe fn weigh_part<S: Simd, const PARTS: usize>(job: Job, weights: *const f32, d: usize) -> [S::V; PARTS] {
    // SAFETY: as for `weigh`.
    unsafe {
        let mut sums = [S::zero(); PARTS];
        for block in 0..job.len.div_ceil(BLOCK) {
            let first = block * BLOCK;
            let values = value_of(job, first).add(d);
            for token in 0..BLOCK.min(job.len - first) {
                let weight = S::splat(*weights.add(first + token));
                for (part, sum) in sums.iter_mut().enumerate() {
                    *sum = S::fma(weight, S::load(values.add(token * job.head_dim + part * S::LANES)), *sum);
                }
            }
        }
        sums
    }
}

#[inline(always)]
unsafe fn value_of(job: Job, token: usize) -> *const f32 {
    // SAFETY: `token < len`, so its block is in the table.
    unsafe {
        let block = *job.blocks.add(token / BLOCK) as usize;
        job.values.add(block * job.block_stride + job.head_offset + (token % BLOCK) * job.head_dim)
    }
}

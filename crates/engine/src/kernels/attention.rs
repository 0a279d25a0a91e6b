//! Attention of some tokens of one sequence over its blocks.
//!
//! Keys of a block lie transposed (`head_dim × 16`), so that a block is a panel whose outputs are the scores of 16 tokens;
//! values lie plain (`16 × head_dim`), so that 16 components are a panel, too. The queries of a tile, heads of one group and
//! tokens beside each other, share each read of a key or value. Softmax is computed online over stretches of tokens
//! (M. Milakov and N. Gimelshein, *Online normalizer calculation for softmax*, 2018) that begin at fixed positions, so a
//! query's result does not depend on the others of its tile.

use super::panel::{Element, PANEL, accumulate, load, store, unroll, zeros};
use super::simd::{Simd, exp};

/// Tokens in a KV block.
pub(crate) const BLOCK: usize = PANEL;
/// Tokens of a stretch.
const STRETCH: usize = 16 * BLOCK;

/// Some tokens beside each other and one key/value head.
#[derive(Clone, Copy)]
pub(super) struct Job {
    /// Queries of the group's heads, `group × head_dim`, those of the next token `q_stride` further.
    pub(super) q: *const f32,
    pub(super) q_stride: usize,
    pub(super) group: usize,
    pub(super) head_dim: usize,
    /// Keys and values of this layer; blocks are `block_stride` elements apart, this head's part begins at `head_offset`.
    pub(super) keys: *const u8,
    pub(super) values: *const u8,
    pub(super) block_stride: usize,
    pub(super) head_offset: usize,
    /// The sequence's blocks in order.
    pub(super) blocks: *const u32,
    /// Tokens, and to how many the first attends: all up to and including itself. Each next one attends to one more.
    pub(super) tokens: usize,
    pub(super) len: usize,
    pub(super) scale: f32,
    /// Results, `group × head_dim`, those of the next token `out_stride` further.
    pub(super) out: *mut f32,
    pub(super) out_stride: usize,
}

/// Computes softmax(q · K · scale) · V for every token and head of the group.
///
/// # Safety
/// The job's pointers must be valid for its sizes, `len > 0`, nobody else may touch `out`, and the processor must have `S`.
#[inline(always)]
pub(super) unsafe fn attend<S: Simd, E: Element>(job: Job) {
    let queries = job.tokens * job.group;
    let mut query = 0;
    while query < queries {
        let left = queries - query;
        let size = left.div_ceil(left.div_ceil(6));
        // SAFETY: these queries exist.
        unsafe {
            match size {
                1 => tile::<S, E, 1>(job, query),
                2 => tile::<S, E, 2>(job, query),
                3 => tile::<S, E, 3>(job, query),
                4 => tile::<S, E, 4>(job, query),
                5 => tile::<S, E, 5>(job, query),
                _ => tile::<S, E, 6>(job, query),
            }
        }
        query += size;
    }
}

#[repr(align(64))]
struct Scores<const ROWS: usize>([[f32; STRETCH]; ROWS]);

/// What softmax knows of the scores so far.
#[derive(Clone, Copy)]
struct Seen {
    top: f32,
    total: f32,
}

#[inline(always)]
unsafe fn tile<S: Simd, E: Element, const ROWS: usize>(job: Job, query: usize) {
    let (group, head_dim) = (job.group, job.head_dim);
    let token = |r: usize| (query + r) / group;
    let head = |r: usize| (query + r) % group;
    // SAFETY: these queries exist; blocks are looked up for tokens that are attended to.
    unsafe {
        let q: [*const f32; ROWS] = std::array::from_fn(|r| job.q.add(token(r) * job.q_stride + head(r) * head_dim));
        let out: [*mut f32; ROWS] =
            std::array::from_fn(|r| job.out.add(token(r) * job.out_stride + head(r) * head_dim));
        let lens: [usize; ROWS] = std::array::from_fn(|r| job.len + token(r));
        let mut seen = [Seen { top: f32::NEG_INFINITY, total: 0.0 }; ROWS];
        let mut scores = Scores([[0.0; STRETCH]; ROWS]);
        for out in out {
            out.write_bytes(0, head_dim);
        }
        let longest = lens[ROWS - 1];
        let mut first = 0;
        while first < longest {
            let count = STRETCH.min(longest - first);
            for block in 0..count.div_ceil(BLOCK) {
                let keys = job.keys.cast::<E>().add(part_of(job, first / BLOCK + block));
                let mut sums = zeros::<S, ROWS, 1>();
                accumulate::<S, E, ROWS, 1>(q, [keys], BLOCK, head_dim, &mut sums);
                unroll!(ROWS, r => {
                    let mut scaled = sums[r][0];
                    for scaled in scaled.iter_mut().take(PANEL / S::LANES) {
                        *scaled = S::mul(*scaled, S::splat(job.scale));
                    }
                    store::<S>(scores.0[r].as_mut_ptr().add(block * BLOCK), &scaled);
                });
            }
            for r in 0..ROWS {
                let own = lens[r].saturating_sub(first).min(count);
                let shrink = softmax::<S>(&mut scores.0[r], own, count, &mut seen[r]);
                if shrink != 1.0 {
                    for component in 0..head_dim {
                        *out[r].add(component) *= shrink;
                    }
                }
            }
            let weights: [*const f32; ROWS] = std::array::from_fn(|r| scores.0[r].as_ptr());
            weigh::<S, E, ROWS>(job, first, count, weights, out);
            first += count;
        }
        for (out, seen) in out.into_iter().zip(seen) {
            let inverse = 1.0 / seen.total;
            for component in 0..head_dim {
                *out.add(component) *= inverse;
            }
        }
    }
}

/// Where this head's part of a block of the sequence begins.
#[inline(always)]
unsafe fn part_of(job: Job, block: usize) -> usize {
    // SAFETY: the sequence has the block.
    unsafe { *job.blocks.add(block) as usize * job.block_stride + job.head_offset }
}

/// Turns the first `own` of `count` scores into e^(s − top), where `top` is the largest so far, and the others into zero;
/// gives the factor for what was summed up before.
#[inline(always)]
unsafe fn softmax<S: Simd>(scores: &mut [f32; STRETCH], own: usize, count: usize, seen: &mut Seen) -> f32 {
    let padded = count.next_multiple_of(BLOCK);
    if own == 0 {
        scores[..padded].fill(0.0);
        return 1.0;
    }
    scores[own..padded].fill(f32::NEG_INFINITY);
    let room = scores.as_mut_ptr();
    let used = own.next_multiple_of(BLOCK);
    // SAFETY: `used` is at most STRETCH and a multiple of 16, and so of LANES.
    unsafe {
        let mut top = S::splat(seen.top);
        for i in (0..used).step_by(S::LANES) {
            top = S::max(top, S::load(room.add(i)));
        }
        let top = S::reduce_max(top);
        for i in (0..used).step_by(S::LANES) {
            S::store(room.add(i), exp::<S>(S::sub(S::load(room.add(i)), S::splat(top))));
        }
        scores[own..padded].fill(0.0);
        let mut sum = S::zero();
        for i in (0..used).step_by(S::LANES) {
            sum = S::add(sum, S::load(room.add(i)));
        }
        // Nothing came before the first stretch.
        let shrink = if seen.total == 0.0 { 1.0 } else { (seen.top - top).exp() };
        *seen = Seen { top, total: seen.total * shrink + S::reduce_add(sum) };
        shrink
    }
}

/// Adds the weighted values of `count` tokens from `first` on to `out`, 16 components at a time.
#[inline(always)]
unsafe fn weigh<S: Simd, E: Element, const ROWS: usize>(
    job: Job,
    first: usize,
    count: usize,
    weights: [*const f32; ROWS],
    out: [*mut f32; ROWS],
) {
    let width = job.head_dim;
    // SAFETY: components stay below `head_dim`, tokens below `first + count`.
    unsafe {
        let values = |block: usize| job.values.cast::<E>().add(part_of(job, first / BLOCK + block));
        let mut component = 0;
        while component + PANEL <= width {
            let mut sums = zeros::<S, ROWS, 1>();
            unroll!(ROWS, r => { load::<S>(out[r].add(component), &mut sums[r][0]) });
            for block in 0..count.div_ceil(BLOCK) {
                let tokens = BLOCK.min(count - block * BLOCK);
                let from = weights.map(|weights| weights.add(block * BLOCK));
                accumulate::<S, E, ROWS, 1>(from, [values(block).add(component)], width, tokens, &mut sums);
            }
            unroll!(ROWS, r => { store::<S>(out[r].add(component), &sums[r][0]) });
            component += PANEL;
        }
        for component in component..width {
            for (weights, out) in weights.into_iter().zip(out) {
                let mut sum = *out.add(component);
                for token in 0..count {
                    let value = (*values(token / BLOCK).add(token % BLOCK * width + component)).to_single();
                    sum += *weights.add(token) * value;
                }
                *out.add(component) = sum;
            }
        }
    }
}

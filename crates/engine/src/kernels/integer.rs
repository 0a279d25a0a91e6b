//! Products of quantized activations with weights in their own quantized format.
//!
//! Inside a group products are integers and exact; then they are scaled and added in single precision, group by group in
//! ascending order. The layouts are those of [`Format`](crate::weights::Format).

use super::matmul::{AHEAD, Job, finish};
use super::panel::{PANEL, zeros};
use super::quantize::{GROUP, Rows};
use super::simd::{Bytes, Simd};

/// Four inputs of every output of a panel: what one integer instruction works on.
const STEP: usize = 4 * PANEL;
/// Bytes of a scale for every output, in half precision.
const HALVES: usize = 2 * PANEL;
/// Rows of a tile at most.
const TILE: usize = 4;

/// A quantized format: blocks of some groups, one after another along the inputs.
pub(super) trait Quant {
    /// Groups in a block.
    const GROUPS: usize;
    /// Bytes of a block of a panel.
    const BYTES: usize;

    /// Adds the products of one block with rows of activations, whose first group is `group`, to the sums of the `LANES`
    /// outputs from `v · LANES` on.
    ///
    /// # Safety
    /// The block and the groups must exist, and the processor must have `S`.
    unsafe fn block<S: Bytes, const ROWS: usize>(
        w: *const u8,
        v: usize,
        x: &[Rows; ROWS],
        group: usize,
        sums: &mut [S::V; ROWS],
    );
}

/// Computes the outputs of the panels `from..to`.
///
/// # Safety
/// The job's pointers must be valid for its sizes, nobody else may touch those outputs, and the processor must have `S`.
#[inline(always)]
pub(super) unsafe fn panels<S: Bytes, Q: Quant>(job: Job, from: usize, to: usize) {
    // SAFETY: tiles stay within `rows` and `from..to`.
    unsafe {
        // As many rows as stay in the second-level cache while the panels pass.
        const ROW_BLOCK: usize = 64;
        let mut block = 0;
        while block < job.rows {
            let end = job.rows.min(block + ROW_BLOCK);
            for panel in from..to {
                let mut row = block;
                while row < end {
                    let left = end - row;
                    let size = left.div_ceil(left.div_ceil(TILE));
                    match size {
                        1 => tile::<S, Q, 1>(job, row, panel),
                        2 => tile::<S, Q, 2>(job, row, panel),
                        3 => tile::<S, Q, 3>(job, row, panel),
                        _ => tile::<S, Q, 4>(job, row, panel),
                    }
                    row += size;
                }
            }
            block = end;
        }
    }
}

#[inline(always)]
unsafe fn tile<S: Bytes, Q: Quant, const ROWS: usize>(job: Job, row: usize, panel: usize) {
    // SAFETY: these rows and this panel exist; blocks stay within the panel.
    unsafe {
        let x: [Rows; ROWS] = std::array::from_fn(|r| job.x.quantized.row(row + r));
        let mut w = job.w.add(panel * job.panel_bytes);
        let mut sums = [[S::zero(); ROWS]; 4];
        let mut group = 0;
        while group < job.x.quantized.groups {
            for line in 0..Q::BYTES.div_ceil(64) {
                S::prefetch(w.wrapping_add(AHEAD + 64 * line));
            }
            for (v, sums) in sums.iter_mut().enumerate().take(PANEL / S::LANES) {
                Q::block::<S, ROWS>(w, v, &x, group, sums);
            }
            w = w.add(Q::BYTES);
            group += Q::GROUPS;
        }
        let mut turned = zeros::<S, ROWS, 1>();
        for (r, turned) in turned.iter_mut().enumerate() {
            for v in 0..PANEL / S::LANES {
                turned[0][v] = sums[v][r];
            }
        }
        finish::<S, ROWS, 1>(job, row, panel, &turned);
    }
}

/// Loads the halves of the outputs from `v · LANES` on.
#[inline(always)]
unsafe fn halves<S: Simd>(w: *const u8, v: usize) -> S::V {
    // SAFETY: a run of PANEL halves lies at `w`.
    unsafe { S::load_f16(w.cast::<u16>().add(v * S::LANES)) }
}

/// Loads the weights of step `step` for the outputs from `v · LANES` on.
#[inline(always)]
unsafe fn step_bytes<S: Bytes>(w: *const u8, step: usize, v: usize) -> S::I {
    // SAFETY: `w` has the step.
    unsafe { S::load_bytes(w.add(step * STEP + v * 4 * S::LANES)) }
}

/// The activations of step `step` of a group, in every lane.
#[inline(always)]
unsafe fn step_of<S: Bytes>(x: Rows, group: usize, step: usize) -> S::I {
    // SAFETY: the row has the group.
    unsafe { S::splat4(x.values.add(group * GROUP + 4 * step)) }
}

/// The activations' sum over a group, as numbers.
#[inline(always)]
unsafe fn sum_of(x: Rows, group: usize) -> f32 {
    // SAFETY: the row has the group.
    unsafe { *x.sums.add(2 * group) + *x.sums.add(2 * group + 1) }
}

/// Integer sums of a group with weights of four bits, scaled by the activations' scale.
#[inline(always)]
unsafe fn nibbles<S: Bytes, const ROWS: usize>(w: *const u8, v: usize, x: &[Rows; ROWS], group: usize) -> [S::V; ROWS] {
    // SAFETY: the weights of a group lie at `w`; the rows have the group.
    unsafe {
        let mut sums = [S::int_zero(); ROWS];
        for pair in 0..4 {
            let both = step_bytes::<S>(w, pair, v);
            let (low, high) = (S::low_nibbles(both), S::high_nibbles(both));
            for (sum, x) in sums.iter_mut().zip(x) {
                *sum = S::dot_unsigned(*sum, low, step_of::<S>(*x, group, 2 * pair));
                *sum = S::dot_unsigned(*sum, high, step_of::<S>(*x, group, 2 * pair + 1));
            }
        }
        let mut scaled = [S::zero(); ROWS];
        for ((scaled, sum), x) in scaled.iter_mut().zip(sums).zip(x) {
            *scaled = S::mul(S::to_f32(S::settle(sum)), S::splat(*x.scales.add(group)));
        }
        scaled
    }
}

/// GGUF's Q8_0, and `int8`.
pub(super) struct Q8_0;

impl Quant for Q8_0 {
    const GROUPS: usize = 1;
    const BYTES: usize = HALVES + 8 * STEP;

    #[inline(always)]
    unsafe fn block<S: Bytes, const ROWS: usize>(
        w: *const u8,
        v: usize,
        x: &[Rows; ROWS],
        group: usize,
        sums: &mut [S::V; ROWS],
    ) {
        // SAFETY: by the trait's contract.
        unsafe {
            let mut dots = [S::int_zero(); ROWS];
            for step in 0..8 {
                let weights = step_bytes::<S>(w.add(HALVES), step, v);
                for (dot, x) in dots.iter_mut().zip(x) {
                    *dot = S::dot_signed(*dot, weights, step_of::<S>(*x, group, step));
                }
            }
            let scale = halves::<S>(w, v);
            for ((sum, dot), x) in sums.iter_mut().zip(dots).zip(x) {
                *sum = S::fma(S::mul(S::to_f32(dot), S::splat(*x.scales.add(group))), scale, *sum);
            }
        }
    }
}

/// GGUF's Q4_0: four bits less 8, times a scale.
pub(super) struct Q4_0;

impl Quant for Q4_0 {
    const GROUPS: usize = 1;
    const BYTES: usize = HALVES + 4 * STEP;

    #[inline(always)]
    unsafe fn block<S: Bytes, const ROWS: usize>(
        w: *const u8,
        v: usize,
        x: &[Rows; ROWS],
        group: usize,
        sums: &mut [S::V; ROWS],
    ) {
        // SAFETY: by the trait's contract.
        unsafe {
            let dots = nibbles::<S, ROWS>(w.add(HALVES), v, x, group);
            let scale = halves::<S>(w, v);
            for ((sum, dot), x) in sums.iter_mut().zip(dots).zip(x) {
                *sum = S::fma(S::sub(dot, S::splat(8.0 * sum_of(*x, group))), scale, *sum);
            }
        }
    }
}

/// GGUF's Q4_1: four bits times a scale, plus a minimum.
pub(super) struct Q4_1;

impl Quant for Q4_1 {
    const GROUPS: usize = 1;
    const BYTES: usize = 2 * HALVES + 4 * STEP;

    #[inline(always)]
    unsafe fn block<S: Bytes, const ROWS: usize>(
        w: *const u8,
        v: usize,
        x: &[Rows; ROWS],
        group: usize,
        sums: &mut [S::V; ROWS],
    ) {
        // SAFETY: by the trait's contract.
        unsafe {
            let dots = nibbles::<S, ROWS>(w.add(2 * HALVES), v, x, group);
            let (scale, least) = (halves::<S>(w, v), halves::<S>(w.add(HALVES), v));
            for ((sum, dot), x) in sums.iter_mut().zip(dots).zip(x) {
                *sum = S::fma(dot, scale, S::fma(least, S::splat(sum_of(*x, group)), *sum));
            }
        }
    }
}

/// Bytes of a block's scale and its minimum's scale, and of a group's own factors of both.
const K_HEAD: usize = 2 * HALVES;
const K_GROUP_HEAD: usize = 2 * PANEL;

/// Scale and minimum of a group of Q4_K or Q5_K whose own factors lie at `own`.
#[inline(always)]
unsafe fn k_factors<S: Bytes>(w: *const u8, own: *const u8, v: usize) -> (S::V, S::V) {
    // SAFETY: a block lies at `w`, a group's factors at `own`.
    unsafe {
        let scale = S::mul(halves::<S>(w, v), S::load_u8(own.add(v * S::LANES)));
        let least = S::mul(halves::<S>(w.add(HALVES), v), S::load_u8(own.add(PANEL + v * S::LANES)));
        (scale, least)
    }
}

/// GGUF's Q4_K: eight groups of four bits, each with factors of the block's scale and minimum.
pub(super) struct Q4K;

impl Quant for Q4K {
    const GROUPS: usize = 8;
    const BYTES: usize = K_HEAD + 8 * (K_GROUP_HEAD + 4 * STEP);

    #[inline(always)]
    unsafe fn block<S: Bytes, const ROWS: usize>(
        w: *const u8,
        v: usize,
        x: &[Rows; ROWS],
        group: usize,
        sums: &mut [S::V; ROWS],
    ) {
        // SAFETY: by the trait's contract.
        unsafe {
            for inner in 0..8 {
                let own = w.add(K_HEAD + inner * (K_GROUP_HEAD + 4 * STEP));
                let dots = nibbles::<S, ROWS>(own.add(K_GROUP_HEAD), v, x, group + inner);
                let (scale, least) = k_factors::<S>(w, own, v);
                for ((sum, dot), x) in sums.iter_mut().zip(dots).zip(x) {
                    let offset = S::mul(least, S::splat(sum_of(*x, group + inner)));
                    *sum = S::fma(dot, scale, S::sub(*sum, offset));
                }
            }
        }
    }
}

/// GGUF's Q5_K: as Q4_K with five bits. The upper bits of a group lie before the lower ones, in one step: that of step `s`
/// is bit `(s + 4) % 8`, so that shifting by one after another brings each to its place.
pub(super) struct Q5K;

impl Quant for Q5K {
    const GROUPS: usize = 8;
    const BYTES: usize = K_HEAD + 8 * (K_GROUP_HEAD + 5 * STEP);

    #[inline(always)]
    unsafe fn block<S: Bytes, const ROWS: usize>(
        w: *const u8,
        v: usize,
        x: &[Rows; ROWS],
        group: usize,
        sums: &mut [S::V; ROWS],
    ) {
        // SAFETY: by the trait's contract.
        unsafe {
            for inner in 0..8 {
                let own = w.add(K_HEAD + inner * (K_GROUP_HEAD + 5 * STEP));
                let mut dots = [S::zero(); ROWS];
                let mut upper = step_bytes::<S>(own.add(K_GROUP_HEAD), 0, v);
                let lower = own.add(K_GROUP_HEAD + STEP);
                // Four steps at a time: more would not fit into sums of 16 bits.
                for half in 0..2 {
                    let mut part = [S::int_zero(); ROWS];
                    let mut bits = upper;
                    for pair in 2 * half..2 * half + 2 {
                        let both = step_bytes::<S>(lower, pair, v);
                        let low = S::or(S::low_nibbles(both), S::and(bits, 16));
                        let high = S::or(S::high_nibbles(both), S::and(S::shr::<1>(bits), 16));
                        bits = S::shr::<2>(bits);
                        for (part, x) in part.iter_mut().zip(x) {
                            *part = S::dot_unsigned(*part, low, step_of::<S>(*x, group + inner, 2 * pair));
                            *part = S::dot_unsigned(*part, high, step_of::<S>(*x, group + inner, 2 * pair + 1));
                        }
                    }
                    for (dot, part) in dots.iter_mut().zip(part) {
                        *dot = S::add(*dot, S::to_f32(S::settle(part)));
                    }
                    upper = S::shl::<4>(upper);
                }
                let (scale, least) = k_factors::<S>(w, own, v);
                for ((sum, dot), x) in sums.iter_mut().zip(dots).zip(x) {
                    let offset = S::mul(least, S::splat(sum_of(*x, group + inner)));
                    let scaled = S::mul(dot, S::splat(*x.scales.add(group + inner)));
                    *sum = S::fma(scaled, scale, S::sub(*sum, offset));
                }
            }
        }
    }
}

/// GGUF's Q6_K: six bits less 32, in groups of 16 with signed factors of the block's scale. Of the two upper bits of every
/// four steps, those of step `s` are the bits `(2 s + 4) % 8` and the one above.
pub(super) struct Q6K;

impl Quant for Q6K {
    const GROUPS: usize = 8;
    const BYTES: usize = HALVES + 8 * (2 * PANEL + 6 * STEP);

    #[inline(always)]
    unsafe fn block<S: Bytes, const ROWS: usize>(
        w: *const u8,
        v: usize,
        x: &[Rows; ROWS],
        group: usize,
        sums: &mut [S::V; ROWS],
    ) {
        // SAFETY: by the trait's contract.
        unsafe {
            for inner in 0..8 {
                let own = w.add(HALVES + inner * (2 * PANEL + 6 * STEP));
                let (upper, lower) = (own.add(2 * PANEL), own.add(2 * PANEL + 2 * STEP));
                for half in 0..2 {
                    let mut dots = [S::zero(); ROWS];
                    let bits = step_bytes::<S>(upper, half, v);
                    // Two steps at a time: more would not fit into sums of 16 bits.
                    for pair in 0..2 {
                        let both = step_bytes::<S>(lower, 2 * half + pair, v);
                        let (first, second) =
                            if pair == 0 { (bits, S::shr::<2>(bits)) } else { (S::shl::<4>(bits), S::shl::<2>(bits)) };
                        let low = S::or(S::low_nibbles(both), S::and(first, 48));
                        let high = S::or(S::high_nibbles(both), S::and(second, 48));
                        let step = 4 * half + 2 * pair;
                        for (dot, x) in dots.iter_mut().zip(x) {
                            let part = S::dot_unsigned(S::int_zero(), low, step_of::<S>(*x, group + inner, step));
                            let part = S::dot_unsigned(part, high, step_of::<S>(*x, group + inner, step + 1));
                            *dot = S::add(*dot, S::to_f32(S::settle(part)));
                        }
                    }
                    let factor = S::load_i8(own.cast::<i8>().add(half * PANEL + v * S::LANES));
                    let scale = S::mul(halves::<S>(w, v), factor);
                    for ((sum, dot), x) in sums.iter_mut().zip(dots).zip(x) {
                        let scaled = S::mul(dot, S::splat(*x.scales.add(group + inner)));
                        let offset = S::splat(32.0 * *x.sums.add(2 * (group + inner) + half));
                        *sum = S::fma(S::sub(scaled, offset), scale, *sum);
                    }
                }
            }
        }
    }
}

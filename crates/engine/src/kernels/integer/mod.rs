//! Products of quantized activations with weights in their own quantized format.
//!
//! Inside a group products are integers and exact; then they are scaled and added in single precision, group by group in
//! ascending order. The layouts are those of [`Format`](crate::weights::Format).

mod k;
mod single;

use super::matmul::{AHEAD, Job, finish};
use super::panel::{PANEL, zeros};
use super::quantize::{GROUP, Rows};
use super::simd::{Bytes, Simd};

pub(super) use k::{Q4K, Q5K, Q6K};
pub(super) use single::{Q4_0, Q4_1, Q5_0, Q5_1, Q8_0};

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

/// The same with weights of five bits. The upper bits of a group lie before the lower ones, in one step: that of step `s` is
/// bit `(s + 4) % 8`, so that shifting by one after another brings each to its place.
#[inline(always)]
unsafe fn fives<S: Bytes, const ROWS: usize>(w: *const u8, v: usize, x: &[Rows; ROWS], group: usize) -> [S::V; ROWS] {
    // SAFETY: the weights of a group lie at `w`; the rows have the group.
    unsafe {
        let mut dots = [S::zero(); ROWS];
        let mut upper = step_bytes::<S>(w, 0, v);
        let lower = w.add(STEP);
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
                    *part = S::dot_unsigned(*part, low, step_of::<S>(*x, group, 2 * pair));
                    *part = S::dot_unsigned(*part, high, step_of::<S>(*x, group, 2 * pair + 1));
                }
            }
            for (dot, part) in dots.iter_mut().zip(part) {
                *dot = S::add(*dot, S::to_f32(S::settle(part)));
            }
            upper = S::shl::<4>(upper);
        }
        for (dot, x) in dots.iter_mut().zip(x) {
            *dot = S::mul(*dot, S::splat(*x.scales.add(group)));
        }
        dots
    }
}

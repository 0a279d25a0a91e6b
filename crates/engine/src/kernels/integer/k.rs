//! The K formats: blocks of eight groups of 32 inputs.

use super::{Bytes, HALVES, Quant, Rows, STEP, fives, halves, nibbles, step_bytes, step_of, sum_of};
use crate::kernels::panel::PANEL;

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
pub(crate) struct Q4K;

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

/// GGUF's Q5_K: as Q4_K with five bits.
pub(crate) struct Q5K;

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
                let dots = fives::<S, ROWS>(own.add(K_GROUP_HEAD), v, x, group + inner);
                let (scale, least) = k_factors::<S>(w, own, v);
                for ((sum, dot), x) in sums.iter_mut().zip(dots).zip(x) {
                    let offset = S::mul(least, S::splat(sum_of(*x, group + inner)));
                    *sum = S::fma(dot, scale, S::sub(*sum, offset));
                }
            }
        }
    }
}

/// GGUF's Q6_K: six bits less 32, in groups of 16 with signed factors of the block's scale. Of the two upper bits of every
/// four steps, those of step `s` are the bits `(2 s + 4) % 8` and the one above.
pub(crate) struct Q6K;

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

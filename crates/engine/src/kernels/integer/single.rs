//! Formats of one group of 32 inputs a block.

use super::{Bytes, HALVES, Quant, Rows, STEP, fives, halves, nibbles, step_bytes, step_of, sum_of};

/// GGUF's Q8_0, and `int8`.
pub(crate) struct Q8_0;

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
pub(crate) struct Q4_0;

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
pub(crate) struct Q4_1;

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

/// GGUF's Q5_0: five bits less 16, times a scale.
pub(crate) struct Q5_0;

impl Quant for Q5_0 {
    const GROUPS: usize = 1;
    const BYTES: usize = HALVES + 5 * STEP;

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
            let dots = fives::<S, ROWS>(w.add(HALVES), v, x, group);
            let scale = halves::<S>(w, v);
            for ((sum, dot), x) in sums.iter_mut().zip(dots).zip(x) {
                *sum = S::fma(S::sub(dot, S::splat(16.0 * sum_of(*x, group))), scale, *sum);
            }
        }
    }
}

/// GGUF's Q5_1: five bits times a scale, plus a minimum.
pub(crate) struct Q5_1;

impl Quant for Q5_1 {
    const GROUPS: usize = 1;
    const BYTES: usize = 2 * HALVES + 5 * STEP;

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
            let dots = fives::<S, ROWS>(w.add(2 * HALVES), v, x, group);
            let (scale, least) = (halves::<S>(w, v), halves::<S>(w.add(HALVES), v));
            for ((sum, dot), x) in sums.iter_mut().zip(dots).zip(x) {
                *sum = S::fma(dot, scale, S::fma(least, S::splat(sum_of(*x, group)), *sum));
            }
        }
    }
}

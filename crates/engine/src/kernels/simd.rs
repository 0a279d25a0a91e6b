//! One vector of f32 as each instruction set has it. The algorithms beside this file are written once over this trait.

/// Operations on a vector of `LANES` f32.
///
/// # Safety
/// Every method may use instructions of the set that the implementor stands for: call them only on a processor that has
/// it, from a function compiled for it. Pointers must be valid for the lanes that are read or written, and need no
/// alignment.
pub(super) trait Simd: Copy {
    /// The vector.
    type V: Copy;
    /// Lanes in it; divides 16.
    const LANES: usize;
    /// Rows of activations for which a tile with one panel of weights stays in registers.
    const TILE_ROWS: usize;

    unsafe fn zero() -> Self::V;
    unsafe fn splat(value: f32) -> Self::V;
    unsafe fn load(from: *const f32) -> Self::V;
    /// Loads `LANES` bfloat16 values, widened.
    unsafe fn load_bf16(from: *const u16) -> Self::V;
    /// Loads `LANES` pairs of bfloat16 values, widened: the first of each, and the second.
    unsafe fn load_pairs(from: *const u32) -> [Self::V; 2];
    /// Loads `LANES` half precision values, widened.
    unsafe fn load_f16(from: *const u16) -> Self::V;
    unsafe fn store(to: *mut f32, value: Self::V);
    unsafe fn add(a: Self::V, b: Self::V) -> Self::V;
    unsafe fn sub(a: Self::V, b: Self::V) -> Self::V;
    unsafe fn mul(a: Self::V, b: Self::V) -> Self::V;
    unsafe fn div(a: Self::V, b: Self::V) -> Self::V;
    unsafe fn max(a: Self::V, b: Self::V) -> Self::V;
    unsafe fn min(a: Self::V, b: Self::V) -> Self::V;
    /// `a * b + c`, rounded once where the hardware can.
    unsafe fn fma(a: Self::V, b: Self::V, c: Self::V) -> Self::V;
    /// To the nearest integer, ties to even.
    unsafe fn round(a: Self::V) -> Self::V;
    /// `a * 2^n` for integral `n` in −126..=127.
    unsafe fn scale2(a: Self::V, n: Self::V) -> Self::V;
    unsafe fn reduce_add(a: Self::V) -> f32;
    unsafe fn reduce_max(a: Self::V) -> f32;

    /// Asks for the cache line at `at`, which need not be readable.
    #[inline(always)]
    unsafe fn prefetch(_at: *const u8) {}

    /// Loads the first `count < LANES` values; the other lanes are zero.
    #[inline(always)]
    unsafe fn load_some(from: *const f32, count: usize) -> Self::V {
        let mut lanes = [0.0f32; 16];
        // SAFETY: the caller vouches for `count` values, and `count < LANES <= 16`.
        unsafe {
            std::ptr::copy_nonoverlapping(from, lanes.as_mut_ptr(), count);
            Self::load(lanes.as_ptr())
        }
    }

    /// Stores the first `count < LANES` lanes.
    #[inline(always)]
    unsafe fn store_some(to: *mut f32, value: Self::V, count: usize) {
        let mut lanes = [0.0f32; 16];
        // SAFETY: the caller vouches for room for `count` values, and `count < LANES <= 16`.
        unsafe {
            Self::store(lanes.as_mut_ptr(), value);
            std::ptr::copy_nonoverlapping(lanes.as_ptr(), to, count);
        }
    }
}

/// Operations on bytes, four to a lane: the products of quantized weights and quantized activations.
///
/// # Safety
/// As for [`Simd`].
pub(super) trait Bytes: Simd {
    /// `4 × LANES` bytes, or `LANES` 32-bit integers.
    type I: Copy;

    unsafe fn int_zero() -> Self::I;
    unsafe fn load_bytes(from: *const u8) -> Self::I;
    /// The four bytes at `from` in every lane.
    unsafe fn splat4(from: *const i8) -> Self::I;
    /// The lower four bits of every byte.
    unsafe fn low_nibbles(a: Self::I) -> Self::I;
    /// The upper four bits of every byte.
    unsafe fn high_nibbles(a: Self::I) -> Self::I;
    /// Shifts right by `N < 8`; bits of a neighbouring byte may come in from above.
    unsafe fn shr<const N: i32>(a: Self::I) -> Self::I;
    /// Shifts left by `N < 8`; bits of a neighbouring byte may come in from below.
    unsafe fn shl<const N: i32>(a: Self::I) -> Self::I;
    /// Every byte masked.
    unsafe fn and(a: Self::I, mask: u8) -> Self::I;
    unsafe fn or(a: Self::I, b: Self::I) -> Self::I;
    /// Adds the products of unsigned `w` and signed `x` to sums that [`settle`](Self::settle) turns into 32 bits. With
    /// `w` below 16, 32 or 64 and `x` from −127 up, eight, four or two additions may come before that.
    unsafe fn dot_unsigned(sums: Self::I, w: Self::I, x: Self::I) -> Self::I;
    /// The 32-bit sums of each lane.
    unsafe fn settle(sums: Self::I) -> Self::I;
    /// Adds the four products of signed `w` and signed `x`, from −127 up, to the 32-bit sum of each lane.
    unsafe fn dot_signed(sums: Self::I, w: Self::I, x: Self::I) -> Self::I;
    unsafe fn to_f32(a: Self::I) -> Self::V;
    /// Loads `LANES` unsigned bytes as numbers.
    unsafe fn load_u8(from: *const u8) -> Self::V;
    /// Loads `LANES` signed bytes as numbers.
    unsafe fn load_i8(from: *const i8) -> Self::V;
}

/// e^x with a relative error below 3e-7: x = n·ln 2 + r, e^r by the degree-6 polynomial of Cephes' `expf`
/// (S. L. Moshier, *Methods and Programs for Mathematical Functions*, 1989). Below −87 it gives 0 to within 1e-38.
///
/// # Safety
/// As for the trait.
#[inline(always)]
pub(super) unsafe fn exp<S: Simd>(x: S::V) -> S::V {
    // SAFETY: the caller has the instruction set.
    unsafe {
        let x = S::max(S::min(x, S::splat(88.0)), S::splat(-87.0));
        let n = S::round(S::mul(x, S::splat(std::f32::consts::LOG2_E)));
        let r = S::fma(n, S::splat(-0.693_359_4), x);
        let r = S::fma(n, S::splat(2.121_944_4e-4), r);
        let mut p = S::splat(1.987_569_1e-4);
        for c in [1.398_2e-3, 8.333_452e-3, 4.166_579_6e-2, 1.666_666_5e-1, 5e-1] {
            p = S::fma(p, r, S::splat(c));
        }
        let p = S::fma(S::mul(p, r), r, S::add(r, S::splat(1.0)));
        S::scale2(p, n)
    }
}

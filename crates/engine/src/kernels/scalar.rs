//! Plain Rust: the reference that every other instruction set is tested against.

use super::simd::{Bytes, Simd};

/// Four lanes that the compiler may turn into whatever the target's baseline has.
#[derive(Clone, Copy)]
pub(super) struct Scalar;

impl Simd for Scalar {
    type V = [f32; 4];
    const LANES: usize = 4;
    const TILE_ROWS: usize = 6;

    #[inline(always)]
    unsafe fn zero() -> Self::V {
        [0.0; 4]
    }
    #[inline(always)]
    unsafe fn splat(value: f32) -> Self::V {
        [value; 4]
    }
    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self::V {
        // SAFETY: valid for four values by the trait's contract.
        unsafe { from.cast::<[f32; 4]>().read_unaligned() }
    }
    #[inline(always)]
    unsafe fn load_bf16(from: *const u16) -> Self::V {
        // SAFETY: valid for four values by the trait's contract.
        unsafe { from.cast::<[u16; 4]>().read_unaligned() }.map(|bits| f32::from_bits(u32::from(bits) << 16))
    }
    #[inline(always)]
    unsafe fn load_pairs(from: *const u32) -> [Self::V; 2] {
        // SAFETY: valid for four pairs by the trait's contract.
        let pairs = unsafe { from.cast::<[u32; 4]>().read_unaligned() };
        [pairs.map(|pair| f32::from_bits(pair << 16)), pairs.map(|pair| f32::from_bits(pair & 0xffff_0000))]
    }
    #[inline(always)]
    unsafe fn load_f16(from: *const u16) -> Self::V {
        // SAFETY: valid for four values by the trait's contract.
        unsafe { from.cast::<[u16; 4]>().read_unaligned() }.map(|bits| half::f16::from_bits(bits).to_f32())
    }
    #[inline(always)]
    unsafe fn store(to: *mut f32, value: Self::V) {
        // SAFETY: valid for four values by the trait's contract.
        unsafe { to.cast::<[f32; 4]>().write_unaligned(value) }
    }
    #[inline(always)]
    unsafe fn add(a: Self::V, b: Self::V) -> Self::V {
        std::array::from_fn(|i| a[i] + b[i])
    }
    #[inline(always)]
    unsafe fn sub(a: Self::V, b: Self::V) -> Self::V {
        std::array::from_fn(|i| a[i] - b[i])
    }
    #[inline(always)]
    unsafe fn mul(a: Self::V, b: Self::V) -> Self::V {
        std::array::from_fn(|i| a[i] * b[i])
    }
    #[inline(always)]
    unsafe fn div(a: Self::V, b: Self::V) -> Self::V {
        std::array::from_fn(|i| a[i] / b[i])
    }
    #[inline(always)]
    unsafe fn max(a: Self::V, b: Self::V) -> Self::V {
        std::array::from_fn(|i| if a[i] > b[i] { a[i] } else { b[i] })
    }
    #[inline(always)]
    unsafe fn min(a: Self::V, b: Self::V) -> Self::V {
        std::array::from_fn(|i| if a[i] < b[i] { a[i] } else { b[i] })
    }
    #[inline(always)]
    unsafe fn fma(a: Self::V, b: Self::V, c: Self::V) -> Self::V {
        // Not `mul_add`: without the instruction that is a slow library call.
        std::array::from_fn(|i| a[i] * b[i] + c[i])
    }
    #[inline(always)]
    unsafe fn round(a: Self::V) -> Self::V {
        // Adding and taking away 1.5 · 2^23 rounds to an integer in the current mode (nearest, ties to even).
        const MAGIC: f32 = 12_582_912.0;
        a.map(|x| (x + MAGIC) - MAGIC)
    }
    #[inline(always)]
    unsafe fn scale2(a: Self::V, n: Self::V) -> Self::V {
        std::array::from_fn(|i| a[i] * f32::from_bits(((n[i] as i32 + 127) as u32) << 23))
    }
    #[inline(always)]
    unsafe fn reduce_add(a: Self::V) -> f32 {
        (a[0] + a[1]) + (a[2] + a[3])
    }
    #[inline(always)]
    unsafe fn reduce_max(a: Self::V) -> f32 {
        a[0].max(a[1]).max(a[2].max(a[3]))
    }
}

impl Bytes for Scalar {
    /// Four lanes of four bytes.
    type I = [u32; 4];

    #[inline(always)]
    unsafe fn int_zero() -> Self::I {
        [0; 4]
    }
    #[inline(always)]
    unsafe fn load_bytes(from: *const u8) -> Self::I {
        // SAFETY: valid for 16 bytes by the trait's contract.
        unsafe { from.cast::<[u32; 4]>().read_unaligned() }
    }
    #[inline(always)]
    unsafe fn splat4(from: *const i8) -> Self::I {
        // SAFETY: valid for four bytes by the trait's contract.
        [unsafe { from.cast::<u32>().read_unaligned() }; 4]
    }
    #[inline(always)]
    unsafe fn low_nibbles(a: Self::I) -> Self::I {
        a.map(|lane| lane & 0x0f0f_0f0f)
    }
    #[inline(always)]
    unsafe fn high_nibbles(a: Self::I) -> Self::I {
        a.map(|lane| (lane >> 4) & 0x0f0f_0f0f)
    }
    #[inline(always)]
    unsafe fn shr<const N: i32>(a: Self::I) -> Self::I {
        a.map(|lane| lane >> N)
    }
    #[inline(always)]
    unsafe fn shl<const N: i32>(a: Self::I) -> Self::I {
        a.map(|lane| lane << N)
    }
    #[inline(always)]
    unsafe fn and(a: Self::I, mask: u8) -> Self::I {
        a.map(|lane| lane & (u32::from(mask) * 0x0101_0101))
    }
    #[inline(always)]
    unsafe fn or(a: Self::I, b: Self::I) -> Self::I {
        std::array::from_fn(|i| a[i] | b[i])
    }
    #[inline(always)]
    unsafe fn dot_unsigned(sums: Self::I, w: Self::I, x: Self::I) -> Self::I {
        // Weights below 64 are the same signed.
        // SAFETY: no instruction beyond the baseline.
        unsafe { Self::dot_signed(sums, w, x) }
    }
    #[inline(always)]
    unsafe fn settle(sums: Self::I) -> Self::I {
        sums
    }
    #[inline(always)]
    unsafe fn dot_signed(sums: Self::I, w: Self::I, x: Self::I) -> Self::I {
        let products = |w: u32, x: u32| -> i32 {
            w.to_le_bytes()
                .into_iter()
                .zip(x.to_le_bytes())
                .map(|(w, x)| i32::from(w.cast_signed()) * i32::from(x.cast_signed()))
                .sum()
        };
        std::array::from_fn(|i| sums[i].wrapping_add_signed(products(w[i], x[i])))
    }
    #[inline(always)]
    unsafe fn to_f32(a: Self::I) -> Self::V {
        a.map(|lane| lane.cast_signed() as f32)
    }
    #[inline(always)]
    unsafe fn load_u8(from: *const u8) -> Self::V {
        // SAFETY: valid for four bytes by the trait's contract.
        unsafe { from.cast::<[u8; 4]>().read_unaligned() }.map(f32::from)
    }
    #[inline(always)]
    unsafe fn load_i8(from: *const i8) -> Self::V {
        // SAFETY: valid for four bytes by the trait's contract.
        unsafe { from.cast::<[i8; 4]>().read_unaligned() }.map(f32::from)
    }
}

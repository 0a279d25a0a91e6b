//! AArch64: NEON, which every such processor has.

use std::arch::aarch64::*;

use super::simd::{Bytes, Simd};

/// NEON: 4 lanes, 32 registers.
#[derive(Clone, Copy)]
pub(super) struct Neon;

/// Forwards trait methods to intrinsics of the same shape.
macro_rules! forward {
    ($($name:ident($($arg:ident: $type:ty),*) -> $result:ty = $body:expr;)*) => {$(
        #[inline(always)]
        #[allow(unused_unsafe, reason = "intrinsics of the baseline are safe where they touch no memory")]
        unsafe fn $name($($arg: $type),*) -> $result {
            // SAFETY: the trait's contract: pointers are valid for all lanes; NEON is part of the baseline.
            unsafe { $body }
        }
    )*};
}

impl Simd for Neon {
    type V = float32x4_t;
    const LANES: usize = 4;
    const TILE_ROWS: usize = 6;

    forward! {
        zero() -> float32x4_t = vdupq_n_f32(0.0);
        splat(value: f32) -> float32x4_t = vdupq_n_f32(value);
        load(from: *const f32) -> float32x4_t = vld1q_f32(from);
        load_bf16(from: *const u16) -> float32x4_t = vreinterpretq_f32_u32(vshll_n_u16::<16>(vld1_u16(from)));
        load_pairs(from: *const u32) -> [float32x4_t; 2] = {
            let pairs = vld1q_u32(from);
            let upper = vandq_u32(pairs, vdupq_n_u32(0xffff_0000));
            [vreinterpretq_f32_u32(vshlq_n_u32::<16>(pairs)), vreinterpretq_f32_u32(upper)]
        };
        // The bits of a half moved into those of a single; the factor makes up for the exponents' different bias, also of
        // subnormal numbers. Infinity becomes 2^16, which no weight is.
        load_f16(from: *const u16) -> float32x4_t = {
            let bits = vmovl_u16(vld1_u16(from));
            let sign = vshlq_n_u32::<16>(vandq_u32(bits, vdupq_n_u32(0x8000)));
            let rest = vshlq_n_u32::<13>(vandq_u32(bits, vdupq_n_u32(0x7fff)));
            let size = vmulq_f32(vreinterpretq_f32_u32(rest), vdupq_n_f32(f32::from_bits(0x7780_0000)));
            vreinterpretq_f32_u32(vorrq_u32(vreinterpretq_u32_f32(size), sign))
        };
        store(to: *mut f32, value: float32x4_t) -> () = vst1q_f32(to, value);
        add(a: float32x4_t, b: float32x4_t) -> float32x4_t = vaddq_f32(a, b);
        sub(a: float32x4_t, b: float32x4_t) -> float32x4_t = vsubq_f32(a, b);
        mul(a: float32x4_t, b: float32x4_t) -> float32x4_t = vmulq_f32(a, b);
        div(a: float32x4_t, b: float32x4_t) -> float32x4_t = vdivq_f32(a, b);
        max(a: float32x4_t, b: float32x4_t) -> float32x4_t = vmaxq_f32(a, b);
        min(a: float32x4_t, b: float32x4_t) -> float32x4_t = vminq_f32(a, b);
        fma(a: float32x4_t, b: float32x4_t, c: float32x4_t) -> float32x4_t = vfmaq_f32(c, a, b);
        round(a: float32x4_t) -> float32x4_t = vrndnq_f32(a);
        scale2(a: float32x4_t, n: float32x4_t) -> float32x4_t = {
            let bits = vshlq_n_s32::<23>(vaddq_s32(vcvtq_s32_f32(n), vdupq_n_s32(127)));
            vmulq_f32(a, vreinterpretq_f32_s32(bits))
        };
        reduce_add(a: float32x4_t) -> f32 = vaddvq_f32(a);
        reduce_max(a: float32x4_t) -> f32 = vmaxvq_f32(a);
    }
}

impl Bytes for Neon {
    type I = uint8x16_t;

    forward! {
        int_zero() -> uint8x16_t = vdupq_n_u8(0);
        load_bytes(from: *const u8) -> uint8x16_t = vld1q_u8(from);
        splat4(from: *const i8) -> uint8x16_t =
            vreinterpretq_u8_u32(vdupq_n_u32(from.cast::<u32>().read_unaligned()));
        low_nibbles(a: uint8x16_t) -> uint8x16_t = vandq_u8(a, vdupq_n_u8(15));
        high_nibbles(a: uint8x16_t) -> uint8x16_t = vshrq_n_u8::<4>(a);
        and(a: uint8x16_t, mask: u8) -> uint8x16_t = vandq_u8(a, vdupq_n_u8(mask));
        or(a: uint8x16_t, b: uint8x16_t) -> uint8x16_t = vorrq_u8(a, b);
        // Weights below 64 are the same signed.
        dot_unsigned(sums: uint8x16_t, w: uint8x16_t, x: uint8x16_t) -> uint8x16_t = Self::dot_signed(sums, w, x);
        settle(sums: uint8x16_t) -> uint8x16_t = sums;
        dot_signed(sums: uint8x16_t, w: uint8x16_t, x: uint8x16_t) -> uint8x16_t = {
            let (w, x) = (vreinterpretq_s8_u8(w), vreinterpretq_s8_u8(x));
            let low = vpaddlq_s16(vmull_s8(vget_low_s8(w), vget_low_s8(x)));
            let high = vpaddlq_s16(vmull_high_s8(w, x));
            vreinterpretq_u8_s32(vaddq_s32(vreinterpretq_s32_u8(sums), vpaddq_s32(low, high)))
        };
        to_f32(a: uint8x16_t) -> float32x4_t = vcvtq_f32_s32(vreinterpretq_s32_u8(a));
        load_u8(from: *const u8) -> float32x4_t = {
            let four = vcreate_u8(u64::from(from.cast::<u32>().read_unaligned()));
            vcvtq_f32_u32(vmovl_u16(vget_low_u16(vmovl_u8(four))))
        };
        load_i8(from: *const i8) -> float32x4_t = {
            let four = vcreate_s8(u64::from(from.cast::<u32>().read_unaligned()));
            vcvtq_f32_s32(vmovl_s16(vget_low_s16(vmovl_s8(four))))
        };
    }

    #[inline(always)]
    unsafe fn shr<const N: i32>(a: uint8x16_t) -> uint8x16_t {
        // SAFETY: NEON is part of the baseline.
        unsafe { vshrq_n_u8::<N>(a) }
    }
    #[inline(always)]
    unsafe fn shl<const N: i32>(a: uint8x16_t) -> uint8x16_t {
        // SAFETY: NEON is part of the baseline.
        unsafe { vshlq_n_u8::<N>(a) }
    }
}

//! AArch64: NEON, which every such processor has.

use std::arch::aarch64::*;

use super::simd::Simd;

/// NEON: 4 lanes, 32 registers.
#[derive(Clone, Copy)]
pub(super) struct Neon;

/// Forwards trait methods to intrinsics of the same shape.
macro_rules! forward {
    ($($name:ident($($arg:ident: $type:ty),*) -> $result:ty = $body:expr;)*) => {$(
        #[inline(always)]
        unsafe fn $name($($arg: $type),*) -> $result {
            // SAFETY: the trait's contract: pointers are valid for all lanes; NEON is part of the baseline.
            unsafe { $body }
        }
    )*};
}

impl Simd for Neon {
    type V = float32x4_t;
    const LANES: usize = 4;
    const WIDE: bool = true;

    forward! {
        zero() -> float32x4_t = vdupq_n_f32(0.0);
        splat(value: f32) -> float32x4_t = vdupq_n_f32(value);
        load(from: *const f32) -> float32x4_t = vld1q_f32(from);
        load_bf16(from: *const u16) -> float32x4_t = vreinterpretq_f32_u32(vshll_n_u16::<16>(vld1_u16(from)));
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

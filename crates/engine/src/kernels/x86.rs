//! x86-64: AVX2 with FMA and F16C, and AVX-512, also with its dot products of bytes and of bfloat16.

use std::arch::x86_64::*;

use super::simd::{Bytes, Simd};
use super::{brain, matmul};

/// AVX2, FMA and F16C: 8 lanes, 16 registers.
#[derive(Clone, Copy)]
pub(super) struct Avx2;

/// AVX-512 F, BW, DQ and VL: 16 lanes, 32 registers. With `VNNI`, also its dot products of bytes.
#[derive(Clone, Copy)]
pub(super) struct Avx512<const VNNI: bool>;

/// Forwards trait methods to intrinsics of the same shape.
macro_rules! forward {
    ($($name:ident($($arg:ident: $type:ty),*) -> $result:ty = $body:expr;)*) => {$(
        #[inline(always)]
        unsafe fn $name($($arg: $type),*) -> $result {
            // SAFETY: the trait's contract: the processor has the instruction set, pointers are valid for all lanes.
            unsafe { $body }
        }
    )*};
}

impl Simd for Avx2 {
    type V = __m256;
    const LANES: usize = 8;
    const TILE_ROWS: usize = 6;

    forward! {
        zero() -> __m256 = _mm256_setzero_ps();
        splat(value: f32) -> __m256 = _mm256_set1_ps(value);
        load(from: *const f32) -> __m256 = _mm256_loadu_ps(from);
        load_bf16(from: *const u16) -> __m256 =
            _mm256_castsi256_ps(_mm256_slli_epi32::<16>(_mm256_cvtepu16_epi32(_mm_loadu_si128(from.cast()))));
        load_pairs(from: *const u32) -> [__m256; 2] = {
            let pairs = _mm256_loadu_si256(from.cast());
            let upper = _mm256_and_si256(pairs, _mm256_set1_epi32(0xffff_0000_u32.cast_signed()));
            [_mm256_castsi256_ps(_mm256_slli_epi32::<16>(pairs)), _mm256_castsi256_ps(upper)]
        };
        load_f16(from: *const u16) -> __m256 = _mm256_cvtph_ps(_mm_loadu_si128(from.cast()));
        prefetch(at: *const u8) -> () = _mm_prefetch::<_MM_HINT_T0>(at.cast());
        store(to: *mut f32, value: __m256) -> () = _mm256_storeu_ps(to, value);
        add(a: __m256, b: __m256) -> __m256 = _mm256_add_ps(a, b);
        sub(a: __m256, b: __m256) -> __m256 = _mm256_sub_ps(a, b);
        mul(a: __m256, b: __m256) -> __m256 = _mm256_mul_ps(a, b);
        div(a: __m256, b: __m256) -> __m256 = _mm256_div_ps(a, b);
        max(a: __m256, b: __m256) -> __m256 = _mm256_max_ps(a, b);
        min(a: __m256, b: __m256) -> __m256 = _mm256_min_ps(a, b);
        fma(a: __m256, b: __m256, c: __m256) -> __m256 = _mm256_fmadd_ps(a, b, c);
        round(a: __m256) -> __m256 = _mm256_round_ps::<{ _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC }>(a);
        scale2(a: __m256, n: __m256) -> __m256 = {
            let bits = _mm256_slli_epi32::<23>(_mm256_add_epi32(_mm256_cvtps_epi32(n), _mm256_set1_epi32(127)));
            _mm256_mul_ps(a, _mm256_castsi256_ps(bits))
        };
        reduce_add(a: __m256) -> f32 = {
            let four = _mm_add_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps::<1>(a));
            let two = _mm_add_ps(four, _mm_movehl_ps(four, four));
            _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)))
        };
        reduce_max(a: __m256) -> f32 = {
            let four = _mm_max_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps::<1>(a));
            let two = _mm_max_ps(four, _mm_movehl_ps(four, four));
            _mm_cvtss_f32(_mm_max_ss(two, _mm_movehdup_ps(two)))
        };
    }
}

impl<const VNNI: bool> Simd for Avx512<VNNI> {
    type V = __m512;
    const LANES: usize = 16;
    const TILE_ROWS: usize = 12;

    forward! {
        zero() -> __m512 = _mm512_setzero_ps();
        splat(value: f32) -> __m512 = _mm512_set1_ps(value);
        load(from: *const f32) -> __m512 = _mm512_loadu_ps(from);
        load_bf16(from: *const u16) -> __m512 =
            _mm512_castsi512_ps(_mm512_slli_epi32::<16>(_mm512_cvtepu16_epi32(_mm256_loadu_si256(from.cast()))));
        load_pairs(from: *const u32) -> [__m512; 2] = {
            let pairs = _mm512_loadu_si512(from.cast());
            let upper = _mm512_and_si512(pairs, _mm512_set1_epi32(0xffff_0000_u32.cast_signed()));
            [_mm512_castsi512_ps(_mm512_slli_epi32::<16>(pairs)), _mm512_castsi512_ps(upper)]
        };
        load_f16(from: *const u16) -> __m512 = _mm512_cvtph_ps(_mm256_loadu_si256(from.cast()));
        prefetch(at: *const u8) -> () = _mm_prefetch::<_MM_HINT_T0>(at.cast());
        store(to: *mut f32, value: __m512) -> () = _mm512_storeu_ps(to, value);
        add(a: __m512, b: __m512) -> __m512 = _mm512_add_ps(a, b);
        sub(a: __m512, b: __m512) -> __m512 = _mm512_sub_ps(a, b);
        mul(a: __m512, b: __m512) -> __m512 = _mm512_mul_ps(a, b);
        div(a: __m512, b: __m512) -> __m512 = _mm512_div_ps(a, b);
        max(a: __m512, b: __m512) -> __m512 = _mm512_max_ps(a, b);
        min(a: __m512, b: __m512) -> __m512 = _mm512_min_ps(a, b);
        fma(a: __m512, b: __m512, c: __m512) -> __m512 = _mm512_fmadd_ps(a, b, c);
        round(a: __m512) -> __m512 = _mm512_roundscale_ps::<{ _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC }>(a);
        scale2(a: __m512, n: __m512) -> __m512 = _mm512_scalef_ps(a, n);
        reduce_add(a: __m512) -> f32 = {
            let eight = _mm256_add_ps(_mm512_castps512_ps256(a), _mm512_extractf32x8_ps::<1>(a));
            let four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps::<1>(eight));
            let two = _mm_add_ps(four, _mm_movehl_ps(four, four));
            _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)))
        };
        reduce_max(a: __m512) -> f32 = _mm512_reduce_max_ps(a);
    }

    #[inline(always)]
    unsafe fn load_some(from: *const f32, count: usize) -> __m512 {
        // SAFETY: masked lanes are not read; the rest is valid by the trait's contract.
        unsafe { _mm512_maskz_loadu_ps(((1u32 << count) - 1) as u16, from) }
    }
    #[inline(always)]
    unsafe fn store_some(to: *mut f32, value: __m512, count: usize) {
        // SAFETY: masked lanes are not written; the rest is valid by the trait's contract.
        unsafe { _mm512_mask_storeu_ps(to, ((1u32 << count) - 1) as u16, value) }
    }
}

impl Bytes for Avx2 {
    type I = __m256i;

    forward! {
        int_zero() -> __m256i = _mm256_setzero_si256();
        load_bytes(from: *const u8) -> __m256i = _mm256_loadu_si256(from.cast());
        splat4(from: *const i8) -> __m256i = _mm256_set1_epi32(from.cast::<i32>().read_unaligned());
        low_nibbles(a: __m256i) -> __m256i = _mm256_and_si256(a, _mm256_set1_epi8(15));
        high_nibbles(a: __m256i) -> __m256i = _mm256_and_si256(_mm256_srli_epi16::<4>(a), _mm256_set1_epi8(15));
        and(a: __m256i, mask: u8) -> __m256i = _mm256_and_si256(a, _mm256_set1_epi8(mask.cast_signed()));
        or(a: __m256i, b: __m256i) -> __m256i = _mm256_or_si256(a, b);
        // Sums are of 16 bits: eight times twice 15 · 127, four times twice 31 · 127 or twice twice 63 · 127 fit.
        dot_unsigned(sums: __m256i, w: __m256i, x: __m256i) -> __m256i =
            _mm256_add_epi16(sums, _mm256_maddubs_epi16(w, x));
        settle(sums: __m256i) -> __m256i = _mm256_madd_epi16(sums, _mm256_set1_epi16(1));
        // The instruction wants one side unsigned: the sign of `w` goes over to `x`. Twice 128 · 127 fit into 16 bits.
        dot_signed(sums: __m256i, w: __m256i, x: __m256i) -> __m256i = {
            let pairs = _mm256_maddubs_epi16(_mm256_abs_epi8(w), _mm256_sign_epi8(x, w));
            _mm256_add_epi32(sums, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)))
        };
        to_f32(a: __m256i) -> __m256 = _mm256_cvtepi32_ps(a);
        load_u8(from: *const u8) -> __m256 =
            _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_loadl_epi64(from.cast())));
        load_i8(from: *const i8) -> __m256 =
            _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64(from.cast())));
    }

    #[inline(always)]
    unsafe fn shr<const N: i32>(a: __m256i) -> __m256i {
        // SAFETY: the processor has the instruction set.
        unsafe { _mm256_srli_epi16::<N>(a) }
    }
    #[inline(always)]
    unsafe fn shl<const N: i32>(a: __m256i) -> __m256i {
        // SAFETY: the processor has the instruction set.
        unsafe { _mm256_slli_epi16::<N>(a) }
    }
}

impl<const VNNI: bool> Bytes for Avx512<VNNI> {
    type I = __m512i;

    forward! {
        int_zero() -> __m512i = _mm512_setzero_si512();
        load_bytes(from: *const u8) -> __m512i = _mm512_loadu_si512(from.cast());
        splat4(from: *const i8) -> __m512i = _mm512_set1_epi32(from.cast::<i32>().read_unaligned());
        low_nibbles(a: __m512i) -> __m512i = _mm512_and_si512(a, _mm512_set1_epi8(15));
        high_nibbles(a: __m512i) -> __m512i = _mm512_and_si512(_mm512_srli_epi16::<4>(a), _mm512_set1_epi8(15));
        and(a: __m512i, mask: u8) -> __m512i = _mm512_and_si512(a, _mm512_set1_epi8(mask.cast_signed()));
        or(a: __m512i, b: __m512i) -> __m512i = _mm512_or_si512(a, b);
        dot_unsigned(sums: __m512i, w: __m512i, x: __m512i) -> __m512i = if VNNI {
            _mm512_dpbusd_epi32(sums, w, x)
        } else {
            _mm512_add_epi16(sums, _mm512_maddubs_epi16(w, x))
        };
        settle(sums: __m512i) -> __m512i =
            if VNNI { sums } else { _mm512_madd_epi16(sums, _mm512_set1_epi16(1)) };
        dot_signed(sums: __m512i, w: __m512i, x: __m512i) -> __m512i = {
            let turned = _mm512_mask_sub_epi8(x, _mm512_movepi8_mask(w), _mm512_setzero_si512(), x);
            if VNNI {
                _mm512_dpbusd_epi32(sums, _mm512_abs_epi8(w), turned)
            } else {
                let pairs = _mm512_maddubs_epi16(_mm512_abs_epi8(w), turned);
                _mm512_add_epi32(sums, _mm512_madd_epi16(pairs, _mm512_set1_epi16(1)))
            }
        };
        to_f32(a: __m512i) -> __m512 = _mm512_cvtepi32_ps(a);
        load_u8(from: *const u8) -> __m512 =
            _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(_mm_loadu_si128(from.cast())));
        load_i8(from: *const i8) -> __m512 =
            _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128(from.cast())));
    }

    #[inline(always)]
    unsafe fn shr<const N: i32>(a: __m512i) -> __m512i {
        // SAFETY: the processor has the instruction set.
        unsafe { _mm512_srl_epi16(a, _mm_cvtsi32_si128(N)) }
    }
    #[inline(always)]
    unsafe fn shl<const N: i32>(a: __m512i) -> __m512i {
        // SAFETY: the processor has the instruction set.
        unsafe { _mm512_sll_epi16(a, _mm_cvtsi32_si128(N)) }
    }
}

/// bfloat16 weights with activations rounded to the same, two inputs at a time (AVX-512 BF16).
pub(super) struct Bf16Dot;

impl brain::Step for Bf16Dot {
    type S = Avx512<true>;
    type Activations = u32;
    type X = __m512bh;
    type W = __m512bh;

    #[inline(always)]
    unsafe fn row(job: matmul::Job, row: usize) -> *const u32 {
        // SAFETY: the row exists.
        unsafe { job.x.rounded.row(row) }
    }
    #[inline(always)]
    unsafe fn activations(x: *const u32, pair: usize, _inputs: usize) -> __m512bh {
        // SAFETY: rounded rows are filled up to whole pairs; any bits are numbers.
        unsafe { std::mem::transmute(_mm512_set1_epi32(x.add(pair).read().cast_signed())) }
    }
    #[inline(always)]
    unsafe fn weights(from: *const u32) -> __m512bh {
        // SAFETY: valid for 16 pairs by the trait's contract; any bits are numbers.
        unsafe { std::mem::transmute(_mm512_loadu_si512(from.cast())) }
    }
    #[inline(always)]
    unsafe fn add(sum: __m512, x: __m512bh, w: __m512bh) -> __m512 {
        // SAFETY: the processor has the instruction set by the trait's contract.
        unsafe { _mm512_dpbf16_ps(sum, x, w) }
    }
}

/// Rounds one row to bfloat16, to the nearest, ties to even. `out` has room for `x` filled up with a zero to whole pairs.
///
/// # Safety
/// The processor must have AVX-512 BF16.
#[target_feature(enable = "avx512f,avx512bf16")]
pub(super) unsafe fn round_bf16(x: &[f32], out: &mut [u32]) {
    let (many, rest) = x.as_chunks::<32>();
    let (places, rest_out) = out.split_at_mut(16 * many.len());
    for (x, out) in many.iter().zip(places.as_chunks_mut::<16>().0) {
        // SAFETY: both hold 32 numbers.
        unsafe {
            let both = _mm512_cvtne2ps_pbh(_mm512_loadu_ps(x.as_ptr().add(16)), _mm512_loadu_ps(x.as_ptr()));
            _mm512_storeu_si512(out.as_mut_ptr().cast(), std::mem::transmute::<__m512bh, __m512i>(both));
        }
    }
    for (x, out) in rest.chunks(2).zip(rest_out) {
        let bits = |at: usize| x.get(at).map_or(0, |&x| u32::from(half::bf16::from_f32(x).to_bits()));
        *out = bits(0) | (bits(1) << 16);
    }
}

//! What is done to one row of activations at a time.

use super::simd::{Simd, exp};

/// Sum of `f(x[i])` in one fixed order.
#[inline(always)]
unsafe fn sum_by<S: Simd>(x: &[f32], f: impl Fn(S::V) -> S::V, f1: impl Fn(f32) -> f32) -> f32 {
    let whole = x.len() / S::LANES * S::LANES;
    // SAFETY: loads stay within `x`; the caller has the instruction set.
    unsafe {
        let mut sum = S::zero();
        let mut i = 0;
        while i < whole {
            sum = S::add(sum, f(S::load(x.as_ptr().add(i))));
            i += S::LANES;
        }
        x[whole..].iter().fold(S::reduce_add(sum), |sum, &value| sum + f1(value))
    }
}

/// `x = x / rms(x) * weight`, B. Zhang and R. Sennrich, *Root Mean Square Layer Normalization*, 2019.
///
/// # Safety
/// The processor must have `S`. The slices have one length.
#[inline(always)]
pub(super) unsafe fn rms_norm<S: Simd>(x: &mut [f32], weight: &[f32], eps: f32) {
    // SAFETY: the caller has the instruction set.
    let squares = unsafe { sum_by::<S>(x, |v| S::mul(v, v), |v| v * v) };
    let scale = 1.0 / (squares / x.len() as f32 + eps).sqrt();
    for (x, &weight) in x.iter_mut().zip(weight) {
        *x = *x * scale * weight;
    }
}

/// `out = (x − mean) / sqrt(var + eps) * weight + bias`, J. Ba et al., *Layer Normalization*, 2016.
///
/// # Safety
/// As for [`rms_norm`].
#[inline(always)]
pub(super) unsafe fn layer_norm<S: Simd>(x: &[f32], weight: &[f32], bias: &[f32], eps: f32, out: &mut [f32]) {
    // SAFETY: the caller has the instruction set.
    unsafe {
        let mean = sum_by::<S>(x, |v| v, |v| v) / x.len() as f32;
        let means = S::splat(mean);
        let squares = sum_by::<S>(
            x,
            |v| {
                let d = S::sub(v, means);
                S::mul(d, d)
            },
            |v| (v - mean) * (v - mean),
        );
        let scale = 1.0 / (squares / x.len() as f32 + eps).sqrt();
        for (((out, &x), &weight), &bias) in out.iter_mut().zip(x).zip(weight).zip(bias) {
            *out = (x - mean) * scale * weight + bias;
        }
    }
}

/// Replaces every `x[i]` by `f(x[i])`.
#[inline(always)]
unsafe fn map<S: Simd>(x: &mut [f32], f: impl Fn(S::V) -> S::V) {
    let whole = x.len() / S::LANES * S::LANES;
    let rest = x.len() - whole;
    let xs = x.as_mut_ptr();
    // SAFETY: accesses stay within `x`; the caller has the instruction set.
    unsafe {
        let mut i = 0;
        while i < whole {
            S::store(xs.add(i), f(S::load(xs.add(i))));
            i += S::LANES;
        }
        if rest > 0 {
            S::store_some(xs.add(whole), f(S::load_some(xs.add(whole), rest)), rest);
        }
    }
}

/// `x = silu(x) * y`. The slices have one length.
///
/// # Safety
/// As for [`rms_norm`].
#[inline(always)]
pub(super) unsafe fn silu_mul<S: Simd>(x: &mut [f32], y: &[f32]) {
    // SAFETY: the caller has the instruction set.
    unsafe { map::<S>(x, |x| S::div(x, S::add(S::splat(1.0), exp::<S>(S::sub(S::zero(), x))))) };
    for (x, &y) in x.iter_mut().zip(y) {
        *x *= y;
    }
}

/// `x = gelu(x)` by the tanh approximation, D. Hendrycks and K. Gimpel, *Gaussian Error Linear Units*, 2016.
/// With tanh(u) = 1 − 2/(e^2u + 1), it is x − x/(e^2u + 1).
///
/// # Safety
/// As for [`rms_norm`].
#[inline(always)]
pub(super) unsafe fn gelu_tanh<S: Simd>(x: &mut [f32]) {
    const TWICE_SQRT_2_OVER_PI: f32 = 1.595_769;
    // SAFETY: the caller has the instruction set.
    unsafe {
        map::<S>(x, |x| {
            let cubic = S::mul(S::mul(x, x), S::mul(x, S::splat(0.044_715)));
            let twice = S::mul(S::add(x, cubic), S::splat(TWICE_SQRT_2_OVER_PI));
            S::sub(x, S::div(x, S::add(exp::<S>(twice), S::splat(1.0))))
        });
    }
}

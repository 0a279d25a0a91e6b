//! What is done to one row of activations at a time.

use super::simd::{Simd, exp};

/// What is done to each number. A trait and not a closure, since a closure is not compiled for the instruction set of the
/// function that it stands in.
trait Each<S: Simd> {
    unsafe fn apply(&self, x: S::V) -> S::V;
}

/// `(x − mean)²`.
struct SquareAround<S: Simd>(S::V);
impl<S: Simd> Each<S> for SquareAround<S> {
    #[inline(always)]
    unsafe fn apply(&self, x: S::V) -> S::V {
        // SAFETY: the caller has the instruction set.
        unsafe {
            let difference = S::sub(x, self.0);
            S::mul(difference, difference)
        }
    }
}

struct Same;
impl<S: Simd> Each<S> for Same {
    #[inline(always)]
    unsafe fn apply(&self, x: S::V) -> S::V {
        x
    }
}

/// `x · sigmoid(x)`.
struct Silu;
impl<S: Simd> Each<S> for Silu {
    #[inline(always)]
    unsafe fn apply(&self, x: S::V) -> S::V {
        // SAFETY: the caller has the instruction set.
        unsafe { S::div(x, S::add(S::splat(1.0), exp::<S>(S::sub(S::zero(), x)))) }
    }
}

/// The tanh approximation, with tanh(u) = 1 − 2/(e^2u + 1): x − x/(e^2u + 1).
struct GeluTanh;
impl<S: Simd> Each<S> for GeluTanh {
    #[inline(always)]
    unsafe fn apply(&self, x: S::V) -> S::V {
        const TWICE_SQRT_2_OVER_PI: f32 = 1.595_769;
        // SAFETY: the caller has the instruction set.
        unsafe {
            let cubic = S::mul(S::mul(x, x), S::mul(x, S::splat(0.044_715)));
            let twice = S::mul(S::add(x, cubic), S::splat(TWICE_SQRT_2_OVER_PI));
            S::sub(x, S::div(x, S::add(exp::<S>(twice), S::splat(1.0))))
        }
    }
}

/// Sum of `f(x[i])` in one fixed order.
#[inline(always)]
unsafe fn sum_by<S: Simd, F: Each<S>>(x: &[f32], f: F) -> f32 {
    let whole = x.len() / S::LANES * S::LANES;
    let rest = x.len() - whole;
    // SAFETY: loads stay within `x`; the caller has the instruction set.
    unsafe {
        let mut sum = S::zero();
        let mut i = 0;
        while i < whole {
            sum = S::add(sum, f.apply(S::load(x.as_ptr().add(i))));
            i += S::LANES;
        }
        let mut total = S::reduce_add(sum);
        if rest > 0 {
            let mut lanes = [0.0f32; 16];
            S::store(lanes.as_mut_ptr(), f.apply(S::load_some(x.as_ptr().add(whole), rest)));
            for value in &lanes[..rest] {
                total += value;
            }
        }
        total
    }
}

/// `x = x / rms(x) * weight`, B. Zhang and R. Sennrich, *Root Mean Square Layer Normalization*, 2019.
///
/// # Safety
/// The processor must have `S`. The slices have one length.
#[inline(always)]
pub(super) unsafe fn rms_norm<S: Simd>(x: &mut [f32], weight: &[f32], eps: f32) {
    // SAFETY: the caller has the instruction set.
    let squares = unsafe { sum_by(x, SquareAround::<S>(S::zero())) };
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
        let mean = sum_by::<S, _>(x, Same) / x.len() as f32;
        let squares = sum_by(x, SquareAround::<S>(S::splat(mean)));
        let scale = 1.0 / (squares / x.len() as f32 + eps).sqrt();
        for (((out, &x), &weight), &bias) in out.iter_mut().zip(x).zip(weight).zip(bias) {
            *out = (x - mean) * scale * weight + bias;
        }
    }
}

/// Replaces every `x[i]` by `f(x[i])`.
#[inline(always)]
unsafe fn map<S: Simd, F: Each<S>>(x: &mut [f32], f: F) {
    let whole = x.len() / S::LANES * S::LANES;
    let rest = x.len() - whole;
    let xs = x.as_mut_ptr();
    // SAFETY: accesses stay within `x`; the caller has the instruction set.
    unsafe {
        let mut i = 0;
        while i < whole {
            S::store(xs.add(i), f.apply(S::load(xs.add(i))));
            i += S::LANES;
        }
        if rest > 0 {
            S::store_some(xs.add(whole), f.apply(S::load_some(xs.add(whole), rest)), rest);
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
    unsafe { map::<S, _>(x, Silu) };
    for (x, &y) in x.iter_mut().zip(y) {
        *x *= y;
    }
}

/// `x = gelu(x)` by the tanh approximation, D. Hendrycks and K. Gimpel, *Gaussian Error Linear Units*, 2016.
///
/// # Safety
/// As for [`rms_norm`].
#[inline(always)]
pub(super) unsafe fn gelu_tanh<S: Simd>(x: &mut [f32]) {
    // SAFETY: the caller has the instruction set.
    unsafe { map::<S, _>(x, GeluTanh) };
}

//! The feed-forward layer.

use sagellm_model::Activation;

use super::Linear;
use crate::kernels::{Input, Kernels};

/// What lies between the projections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Activate {
    /// One projection up, an activation.
    Plain(Activation),
    /// Two projections side by side, gate and up: silu(gate) · up.
    SiluGate,
}

/// Up (or gate and up), activation, down.
pub(crate) struct Mlp {
    /// `[up]`, or `[gate, up]`.
    pub(crate) up: Vec<Linear>,
    pub(crate) activate: Activate,
    pub(crate) down: Linear,
}

impl Mlp {
    /// Rows that are computed together: what lies between the projections is wide, and takes memory for so many only.
    pub(crate) const ROWS: usize = 256;

    /// Width of what the first projections give.
    pub(crate) fn inner(&self) -> usize {
        self.up.iter().map(Linear::outputs).sum()
    }

    /// Adds the layer's output for `rows` packed rows of `x` to `residual`. `inner` is scratch.
    pub(crate) fn apply(&self, kernels: &mut Kernels, x: &[f32], rows: usize, inner: &mut [f32], residual: &mut [f32]) {
        let (from, to) = (x.len() / rows.max(1), residual.len() / rows.max(1));
        for (x, residual) in x.chunks(Self::ROWS * from.max(1)).zip(residual.chunks_mut(Self::ROWS * to.max(1))) {
            self.apply_part(kernels, Input::packed(x, x.len() / from), inner, residual);
        }
    }

    fn apply_part(&self, kernels: &mut Kernels, x: Input<'_>, inner: &mut [f32], residual: &mut [f32]) {
        let (width, rows) = (self.inner(), x.rows);
        let inner = &mut inner[..rows * width];
        let products: Vec<_> = self.up.iter().map(Linear::product).collect();
        kernels.matmul(x, &products, inner, width, false);
        match self.activate {
            Activate::SiluGate => kernels.silu_gate(inner, width),
            Activate::Plain(Activation::GeluTanh) => kernels.gelu_tanh(inner, width),
            Activate::Plain(Activation::Relu) => each(kernels, inner, rows, width, |x| x.max(0.0)),
            Activate::Plain(Activation::Gelu) => each(kernels, inner, rows, width, gelu),
            Activate::Plain(Activation::Silu) => each(kernels, inner, rows, width, |x| x / (1.0 + (-x).exp())),
        }
        let hidden = Input { numbers: inner, rows, stride: width };
        kernels.matmul(hidden, &[self.down.product()], residual, self.down.outputs(), true);
    }
}

/// Replaces every value.
fn each(kernels: &mut Kernels, x: &mut [f32], rows: usize, width: usize, f: impl Fn(f32) -> f32 + Sync) {
    kernels.for_rows(x, rows, width, &|_, x| x.iter_mut().for_each(|x| *x = f(*x)));
}

/// GELU by the error function: x · (1 + erf(x/√2)) / 2.
fn gelu(x: f32) -> f32 {
    let x = f64::from(x);
    (x * 0.5 * erfc(-x * std::f64::consts::FRAC_1_SQRT_2)) as f32
}

/// Complementary error function with a relative error below 1.2e-7, the rational Chebyshev fit of W. H. Press et al.,
/// *Numerical Recipes*, 2nd edition, section 6.2.
fn erfc(x: f64) -> f64 {
    const C: [f64; 10] = [
        -1.265_512_23,
        1.000_023_68,
        0.374_091_96,
        0.096_784_18,
        -0.186_288_06,
        0.278_868_07,
        -1.135_203_98,
        1.488_515_87,
        -0.822_152_23,
        0.170_872_77,
    ];
    let t = 1.0 / (1.0 + 0.5 * x.abs());
    let poly = C.iter().rev().fold(0.0, |sum, c| sum * t + c);
    let tail = t * (-x * x + poly).exp();
    if x >= 0.0 { tail } else { 2.0 - tail }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gelu_agrees_with_the_definition() {
        // erf(1) = 0.842700792949715, erf(0.5) = 0.520499877813047 (Abramowitz and Stegun, table 7.1).
        for (x, erf) in [
            (std::f64::consts::SQRT_2, 0.842_700_792_949_715),
            (std::f64::consts::FRAC_1_SQRT_2, 0.520_499_877_813_047),
        ] {
            let expected = x * 0.5 * (1.0 + erf);
            assert!((f64::from(gelu(x as f32)) - expected).abs() < 3e-7 * expected);
        }
        assert_eq!(gelu(0.0), 0.0);
        assert!((gelu(10.0) - 10.0).abs() < 1e-6 && gelu(-10.0).abs() < 1e-6);
    }
}

//! Norms.

use crate::kernels::Kernels;

/// A norm with its weights.
pub(crate) enum Norm {
    /// Root mean square.
    Rms { weight: Vec<f32>, eps: f32 },
    /// Mean and variance.
    Layer { weight: Vec<f32>, bias: Vec<f32>, eps: f32 },
}

impl Norm {
    /// Normalises every packed row of `x` into `out`.
    pub(crate) fn apply(&self, kernels: &mut Kernels, x: &[f32], out: &mut [f32]) {
        match self {
            Self::Rms { weight, eps } => kernels.rms_norm(x, weight, *eps, out),
            Self::Layer { weight, bias, eps } => kernels.layer_norm(x, weight, bias, *eps, out),
        }
    }
}

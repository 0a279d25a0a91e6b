//! A projection with an optional bias.

use crate::kernels::{Input, Kernels, Product};
use crate::weights::Matrix;

/// `y = W x + b`.
pub(crate) struct Linear {
    pub(crate) weight: Matrix,
    pub(crate) bias: Option<Vec<f32>>,
}

impl Linear {
    /// Output features.
    pub(crate) fn outputs(&self) -> usize {
        self.weight.rows()
    }

    /// The product for [`Kernels::matmul`].
    pub(crate) fn product(&self) -> Product<'_> {
        Product { weight: &self.weight, bias: self.bias.as_deref() }
    }

    /// Applies it to `rows` packed rows; results are packed in `out`, or added to it.
    pub(crate) fn apply(&self, kernels: &mut Kernels, x: &[f32], rows: usize, out: &mut [f32], add: bool) {
        kernels.matmul(Input::packed(x, rows), &[self.product()], out, self.outputs(), add);
    }
}

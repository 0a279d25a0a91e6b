//! Weights as the kernels read them.

use half::bf16;
use sagellm_model::{Bytes, Checkpoint, Dtype, Tensor};

use crate::EngineError;

/// A matrix of `rows` output features by `columns` input features, row-major.
pub(crate) struct Matrix {
    rows: usize,
    columns: usize,
    store: Store,
}

enum Store {
    /// The file's own bytes.
    MappedF32(Bytes),
    MappedBf16(Bytes),
    F32(Vec<f32>),
    Bf16(Vec<bf16>),
}

/// The elements of a matrix.
#[derive(Clone, Copy)]
pub(crate) enum Elements<'a> {
    F32(&'a [f32]),
    Bf16(&'a [bf16]),
}

/// The type that weights are computed in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ComputeDtype {
    /// IEEE single precision.
    F32,
    /// bfloat16 weights, widened in registers; sums are single precision.
    Bf16,
}

impl ComputeDtype {
    /// What `auto` means for a checkpoint: its own type where there are kernels for it, single precision for the rest,
    /// which loses nothing.
    pub fn auto(checkpoint: &Checkpoint) -> Self {
        match checkpoint.dtype() {
            Dtype::Bf16 => Self::Bf16,
            _ => Self::F32,
        }
    }

    /// Name in options and results.
    pub fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::Bf16 => "bf16",
        }
    }
}

impl Matrix {
    /// Takes the tensor `name`, which must have the shape `[rows, columns]`, as `dtype`. A file's bytes are used in place
    /// when they have that type and lie aligned.
    pub(crate) fn load(
        checkpoint: &Checkpoint,
        name: &str,
        rows: usize,
        columns: usize,
        dtype: ComputeDtype,
    ) -> Result<Self, EngineError> {
        let tensor = checkpoint.tensor(name)?;
        expect_shape(name, &tensor, &[rows, columns])?;
        let store = match (dtype, tensor.dtype) {
            (ComputeDtype::F32, Dtype::F32) if bytemuck::try_cast_slice::<u8, f32>(&tensor.data).is_ok() => {
                Store::MappedF32(tensor.data)
            }
            (ComputeDtype::Bf16, Dtype::Bf16) if bytemuck::try_cast_slice::<u8, bf16>(&tensor.data).is_ok() => {
                Store::MappedBf16(tensor.data)
            }
            (ComputeDtype::F32, _) => Store::F32(tensor.to_f32()),
            (ComputeDtype::Bf16, _) => Store::Bf16(tensor.to_f32().into_iter().map(bf16::from_f32).collect()),
        };
        Ok(Self { rows, columns, store })
    }

    /// A matrix of given values.
    #[cfg(test)]
    pub(crate) fn from_f32(rows: usize, columns: usize, values: Vec<f32>, dtype: ComputeDtype) -> Self {
        assert_eq!(values.len(), rows * columns);
        let store = match dtype {
            ComputeDtype::F32 => Store::F32(values),
            ComputeDtype::Bf16 => Store::Bf16(values.into_iter().map(bf16::from_f32).collect()),
        };
        Self { rows, columns, store }
    }

    pub(crate) fn rows(&self) -> usize {
        self.rows
    }

    pub(crate) fn columns(&self) -> usize {
        self.columns
    }

    pub(crate) fn elements(&self) -> Elements<'_> {
        match &self.store {
            // Length and alignment were checked when the matrix was made.
            Store::MappedF32(bytes) => Elements::F32(bytemuck::cast_slice(bytes)),
            Store::MappedBf16(bytes) => Elements::Bf16(bytemuck::cast_slice(bytes)),
            Store::F32(values) => Elements::F32(values),
            Store::Bf16(values) => Elements::Bf16(values),
        }
    }

    /// Copies row `index`, widened, to `out`.
    pub(crate) fn row(&self, index: usize, out: &mut [f32]) {
        let range = index * self.columns..(index + 1) * self.columns;
        match self.elements() {
            Elements::F32(values) => out.copy_from_slice(&values[range]),
            Elements::Bf16(values) => {
                for (out, value) in out.iter_mut().zip(&values[range]) {
                    *out = value.to_f32();
                }
            }
        }
    }
}

/// The tensor `name` of shape `[len]` in single precision: norms and biases.
pub(crate) fn load_vector(checkpoint: &Checkpoint, name: &str, len: usize) -> Result<Vec<f32>, EngineError> {
    let tensor = checkpoint.tensor(name)?;
    expect_shape(name, &tensor, &[len])?;
    Ok(tensor.to_f32())
}

fn expect_shape(name: &str, tensor: &Tensor, shape: &[usize]) -> Result<(), EngineError> {
    if tensor.shape == shape {
        return Ok(());
    }
    Err(EngineError::Shape { name: name.to_owned(), expected: shape.to_vec(), found: tensor.shape.clone() })
}

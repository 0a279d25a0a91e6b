//! Weights as the kernels read them: packed once, in the order in which they are read ([`format`]).

mod format;
mod pack;
#[cfg(test)]
mod tests;

use sagellm_model::{Checkpoint, Tensor};

pub(crate) use format::Format;

use crate::EngineError;
use crate::kernels::{Arena, Buffer, PANEL};

/// The type that weights are computed in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ComputeDtype {
    /// IEEE single precision.
    F32,
    /// bfloat16 weights, widened in registers; sums are single precision.
    Bf16,
    /// IEEE half precision weights, widened in registers; sums are single precision.
    F16,
    /// Weights and activations in 8 bits with a scale for every 32; sums are integers inside those.
    Int8,
}

impl ComputeDtype {
    /// Name in options and results.
    pub fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::Bf16 => "bf16",
            Self::F16 => "f16",
            Self::Int8 => "int8",
        }
    }

    fn format(self) -> Format {
        match self {
            Self::F32 => Format::F32,
            Self::Bf16 => Format::Bf16,
            Self::F16 => Format::F16,
            Self::Int8 => Format::Q8_0,
        }
    }
}

/// A matrix of `rows` output features by `columns` input features, packed in panels.
pub(crate) struct Matrix {
    rows: usize,
    columns: usize,
    format: Format,
    data: Buffer,
}

impl Matrix {
    /// Packs a tensor of two dimensions: in `dtype`, or as it is stored.
    pub(crate) fn pack(tensor: &Tensor, dtype: Option<ComputeDtype>, arena: &Arena) -> std::io::Result<Self> {
        let (rows, columns) = (tensor.shape[0], tensor.shape[1]);
        let format = dtype.map_or(Format::of(tensor.dtype), ComputeDtype::format);
        let panel_bytes = format.panel_bytes(columns);
        let mut data = arena.take(rows.div_ceil(PANEL) * panel_bytes)?;
        for (panel, out) in data.chunks_exact_mut(panel_bytes.max(1)).enumerate() {
            pack::panel(tensor, panel * PANEL, columns, format, out);
        }
        Ok(Self { rows, columns, format, data })
    }

    pub(crate) fn rows(&self) -> usize {
        self.rows
    }

    pub(crate) fn columns(&self) -> usize {
        self.columns
    }

    pub(crate) fn format(&self) -> Format {
        self.format
    }

    /// Panels that it is divided into.
    pub(crate) fn panels(&self) -> usize {
        self.rows.div_ceil(PANEL)
    }

    /// Bytes of one panel.
    pub(crate) fn panel_bytes(&self) -> usize {
        self.format.panel_bytes(self.columns)
    }

    /// The packed panels, one after another.
    pub(crate) fn data(&self) -> &[u8] {
        &self.data
    }

    /// Writes row `index` as numbers to `out`.
    pub(crate) fn row(&self, index: usize, out: &mut [f32]) {
        let bytes = self.panel_bytes();
        let panel = &self.data[index / PANEL * bytes..][..bytes];
        pack::row(self.format, panel, index % PANEL, &mut out[..self.columns]);
    }

    /// Names its tensor in the error when its shape is not `[rows, columns]`.
    pub(crate) fn expect(self, name: &str, rows: usize, columns: usize) -> Result<Self, EngineError> {
        expect_shape(name, &[self.rows, self.columns], &[rows, columns])?;
        Ok(self)
    }
}

/// A matrix that rows are only looked up in: it stays as it is stored.
pub(crate) struct Table(Tensor);

impl Table {
    /// The tensor `name`, which must have the shape `[rows, columns]`.
    pub(crate) fn load(checkpoint: &Checkpoint, name: &str, rows: usize, columns: usize) -> Result<Self, EngineError> {
        let tensor = checkpoint.tensor(name)?;
        expect_shape(name, &tensor.shape, &[rows, columns])?;
        Ok(Self(tensor))
    }

    pub(crate) fn columns(&self) -> usize {
        self.0.shape[1]
    }

    /// Writes row `index` as numbers to `out`.
    pub(crate) fn row(&self, index: usize, out: &mut [f32]) {
        let bytes = self.0.row_bytes();
        let out = &mut out[..self.0.shape[1]];
        self.0.dtype.dequantize(&self.0.data[index * bytes..(index + 1) * bytes], out);
    }
}

/// The tensor `name` of shape `[len]` in single precision: norms and biases.
pub(crate) fn load_vector(checkpoint: &Checkpoint, name: &str, len: usize) -> Result<Vec<f32>, EngineError> {
    let tensor = checkpoint.tensor(name)?;
    expect_shape(name, &tensor.shape, &[len])?;
    Ok(tensor.to_f32())
}

fn expect_shape(name: &str, found: &[usize], expected: &[usize]) -> Result<(), EngineError> {
    if found == expected {
        return Ok(());
    }
    Err(EngineError::Shape { name: name.to_owned(), expected: expected.to_vec(), found: found.to_vec() })
}

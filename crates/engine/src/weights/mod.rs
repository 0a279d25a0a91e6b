//! Weights as the kernels read them: packed once, in the order in which they are read ([`format`]).

mod format;
mod load;
mod pack;
#[cfg(test)]
mod tests;

use std::ops::Range;

use sagellm_model::{Checkpoint, Tensor};

pub(crate) use format::Format;
pub(crate) use load::load_matrices;

use crate::EngineError;
use crate::kernels::{Arena, Buffer, PANEL};

/// The type that weights are computed in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ComputeDtype {
    /// IEEE single precision.
    F32,
    /// bfloat16 weights, widened in registers, or multiplied with activations rounded to bfloat16 where the processor has an
    /// instruction for that; sums are single precision.
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

    pub(crate) fn format(self) -> Format {
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
    /// A matrix of zeros, to be packed into.
    pub(crate) fn zeros(rows: usize, columns: usize, format: Format, arena: &Arena) -> std::io::Result<Self> {
        let data = arena.take(rows.div_ceil(PANEL) * format.panel_bytes(columns))?;
        Ok(Self { rows, columns, format, data })
    }

    /// Its parts of `panels` panels, and the rows that each holds.
    pub(crate) fn parts(&mut self, panels: usize) -> impl Iterator<Item = (Range<usize>, &mut [u8])> {
        let (all, bytes) = (self.rows, (panels * self.panel_bytes()).max(1));
        let rows = move |part: usize| part * panels * PANEL..((part + 1) * panels * PANEL).min(all);
        self.data.chunks_mut(bytes).enumerate().map(move |(part, out)| (rows(part), out))
    }

    /// A packed tensor, in parts of one panel.
    #[cfg(test)]
    pub(crate) fn pack(tensor: &Tensor, format: Format) -> Self {
        let mut matrix = Self::zeros(tensor.shape[0], tensor.shape[1], format, &Arena::default()).unwrap();
        for (rows, out) in matrix.parts(1) {
            let data = tensor.data[rows.start * tensor.row_bytes()..rows.end * tensor.row_bytes()].to_vec();
            let part = Tensor { dtype: tensor.dtype, shape: vec![rows.len(), tensor.shape[1]], data: data.into() };
            pack::panels(&part, format, out);
        }
        matrix
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
    let numbers = tensor.to_f32();
    checkpoint.release(name, 0..len);
    Ok(numbers)
}

fn expect_shape(name: &str, found: &[usize], expected: &[usize]) -> Result<(), EngineError> {
    if found == expected {
        return Ok(());
    }
    Err(EngineError::Shape { name: name.to_owned(), expected: expected.to_vec(), found: found.to_vec() })
}

//! The formats that weights are computed in, and how a panel of them lies in memory.
//!
//! A panel holds 16 rows of a matrix (output features); the last one is filled up with zeros. Along the columns (inputs) it
//! is a sequence of blocks, in the order in which they are read. A *step* is four inputs of all 16 rows, row by row: 64
//! values. Quantized formats have groups of 32 inputs, eight steps; of steps with four bits a value, the steps `2 n` (low
//! nibbles) and `2 n + 1` (high nibbles) share 64 bytes.
//!
//! | format | inputs of a block | a block of a panel, in bytes |
//! |---|---|---|
//! | f32, f16 | 1 | 16 numbers |
//! | bf16 | 2 | 16 pairs of numbers |
//! | q8_0 | 32 | 16 f16 scales, 8 steps of i8 |
//! | q4_0 | 32 | 16 f16 scales, 4 double steps |
//! | q4_1 | 32 | 16 f16 scales, 16 f16 minima, 4 double steps |
//! | q5_0 | 32 | 16 f16 scales, 64 bytes of fifth bits, 4 double steps |
//! | q5_1 | 32 | 16 f16 scales, 16 f16 minima, 64 bytes of fifth bits, 4 double steps |
//! | q4_k | 256 | 16 f16 scales, 16 f16 minima; 8 × (16 u8 factors of the scale, 16 of the minimum, 4 double steps) |
//! | q5_k | 256 | the same with 64 bytes of fifth bits before the double steps |
//! | q6_k | 256 | 16 f16 scales; 8 × (16 i8 factors for each half group, 128 bytes of upper bits, 4 double steps) |
//!
//! No format takes more than 3 % more than it does in a file.

use half::{bf16, f16};
use sagellm_model::Dtype;

use crate::kernels::{GROUP, PANEL};

/// How weights are stored for the kernels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    F32,
    F16,
    Bf16,
    Q8_0,
    Q4_0,
    Q4_1,
    Q5_0,
    Q5_1,
    Q4K,
    Q5K,
    Q6K,
}

impl Format {
    /// Of a stored type: its own.
    pub(crate) fn of(dtype: Dtype) -> Self {
        match dtype {
            Dtype::F32 => Self::F32,
            Dtype::F16 => Self::F16,
            Dtype::Bf16 => Self::Bf16,
            Dtype::Q8_0 => Self::Q8_0,
            Dtype::Q4_0 => Self::Q4_0,
            Dtype::Q4_1 => Self::Q4_1,
            Dtype::Q5_0 => Self::Q5_0,
            Dtype::Q5_1 => Self::Q5_1,
            Dtype::Q4K => Self::Q4K,
            Dtype::Q5K => Self::Q5K,
            Dtype::Q6K => Self::Q6K,
        }
    }

    /// Whether products are of integers, which asks for quantized activations.
    pub(crate) fn is_quantized(self) -> bool {
        !matches!(self, Self::F32 | Self::F16 | Self::Bf16)
    }

    /// Inputs of a block.
    pub(super) fn block_inputs(self) -> usize {
        match self {
            Self::F32 | Self::F16 => 1,
            Self::Bf16 => 2,
            Self::Q8_0 | Self::Q4_0 | Self::Q4_1 | Self::Q5_0 | Self::Q5_1 => GROUP,
            Self::Q4K | Self::Q5K | Self::Q6K => 8 * GROUP,
        }
    }

    /// Bytes of a block of a panel.
    pub(super) fn block_bytes(self) -> usize {
        let of_row = match self {
            Self::F32 | Self::Bf16 => 4,
            Self::F16 => 2,
            Self::Q8_0 => 2 + 32,
            Self::Q4_0 => 2 + 16,
            Self::Q4_1 => 4 + 16,
            Self::Q5_0 => 2 + 4 + 16,
            Self::Q5_1 => 4 + 4 + 16,
            Self::Q4K => 4 + 8 * (2 + 16),
            Self::Q5K => 4 + 8 * (2 + 4 + 16),
            Self::Q6K => 2 + 8 * (2 + 8 + 16),
        };
        of_row * PANEL
    }

    /// Bytes of a panel with `columns` inputs.
    pub(crate) fn panel_bytes(self, columns: usize) -> usize {
        columns.div_ceil(self.block_inputs()) * self.block_bytes()
    }
}

/// What is in one block of one row of a quantized format, value by value: between a file's layout and a panel's.
pub(super) struct Block {
    /// Unsigned as stored; for Q8_0 the bits of an i8.
    pub(super) quants: [u8; 256],
    pub(super) scale: f16,
    /// Minimum (Q4_1, Q5_1) or scale of the minima (K formats).
    pub(super) least: f16,
    /// Factors of the scale, for each group or (Q6_K, bits of an i8) half group.
    pub(super) factors: [u8; 16],
    /// Factors of the minimum.
    pub(super) least_factors: [u8; 8],
}

impl Block {
    pub(super) const ZERO: Self =
        Self { quants: [0; 256], scale: f16::ZERO, least: f16::ZERO, factors: [0; 16], least_factors: [0; 8] };

    /// The numbers that it stands for.
    pub(super) fn numbers(&self, format: Format, out: &mut [f32]) {
        let (scale, least) = (self.scale.to_f32(), self.least.to_f32());
        for (i, (out, &quant)) in out.iter_mut().zip(&self.quants).enumerate() {
            let (group, half) = (i / GROUP, i / (GROUP / 2));
            let value = f32::from(quant);
            *out = match format {
                Format::Q8_0 => scale * f32::from(quant.cast_signed()),
                Format::Q4_0 => scale * (value - 8.0),
                Format::Q5_0 => scale * (value - 16.0),
                Format::Q4_1 | Format::Q5_1 => scale * value + least,
                Format::Q6K => scale * f32::from(self.factors[half].cast_signed()) * (value - 32.0),
                Format::Q4K | Format::Q5K => {
                    scale * f32::from(self.factors[group]) * value - least * f32::from(self.least_factors[group])
                }
                Format::F32 | Format::F16 | Format::Bf16 => unreachable!("not a quantized format"),
            };
        }
    }

    /// 32 numbers in 8 bits each.
    pub(super) fn of_numbers(numbers: &[f32]) -> Self {
        let mut block = Self::ZERO;
        let top = numbers.iter().fold(0.0f32, |top, number| top.max(number.abs()));
        block.scale = f16::from_f32(top / 127.0);
        let inverse = if block.scale.to_f32() > 0.0 { 1.0 / block.scale.to_f32() } else { 0.0 };
        for (quant, number) in block.quants.iter_mut().zip(numbers) {
            *quant = ((number * inverse).round_ties_even().clamp(-127.0, 127.0) as i8).cast_unsigned();
        }
        block
    }
}

/// A number in one of the floating-point formats.
pub(super) fn write_number(format: Format, number: f32, out: &mut [u8]) {
    match format {
        Format::F32 => out.copy_from_slice(&number.to_le_bytes()),
        Format::F16 => out.copy_from_slice(&f16::from_f32(number).to_le_bytes()),
        Format::Bf16 => out.copy_from_slice(&bf16::from_f32(number).to_le_bytes()),
        _ => unreachable!("a quantized format"),
    }
}

/// The number that [`write_number`] wrote.
pub(super) fn read_number(format: Format, from: &[u8]) -> f32 {
    match format {
        Format::F32 => f32::from_le_bytes([from[0], from[1], from[2], from[3]]),
        Format::F16 => f16::from_le_bytes([from[0], from[1]]).to_f32(),
        Format::Bf16 => bf16::from_le_bytes([from[0], from[1]]).to_f32(),
        _ => unreachable!("a quantized format"),
    }
}

//! From stored elements to `f32`, after the block layouts of ggml (`ggml-common.h`, `ggml-quants.c`).

use half::{bf16, f16};

use crate::Dtype;

impl Dtype {
    /// Elements in one block: the smallest run that can be stored.
    pub fn block_elements(self) -> usize {
        match self {
            Self::F32 | Self::F16 | Self::Bf16 => 1,
            Self::Q8_0 | Self::Q4_0 | Self::Q4_1 | Self::Q5_0 | Self::Q5_1 => 32,
            Self::Q4K | Self::Q5K | Self::Q6K => 256,
        }
    }

    /// Bytes of one block.
    pub fn block_bytes(self) -> usize {
        match self {
            Self::F32 => 4,
            Self::F16 | Self::Bf16 => 2,
            Self::Q8_0 => 2 + 32,
            Self::Q4_0 => 2 + 16,
            Self::Q4_1 => 4 + 16,
            Self::Q5_0 => 2 + 4 + 16,
            Self::Q5_1 => 4 + 4 + 16,
            Self::Q4K => 4 + 12 + 128,
            Self::Q5K => 4 + 12 + 32 + 128,
            Self::Q6K => 128 + 64 + 16 + 2,
        }
    }

    /// Bytes of `elements` elements; `None` when they are no whole number of blocks or the size overflows.
    pub fn bytes(self, elements: usize) -> Option<usize> {
        if !elements.is_multiple_of(self.block_elements()) {
            return None;
        }
        (elements / self.block_elements()).checked_mul(self.block_bytes())
    }

    /// Name as people write it, such as `bf16` or `q4_k`.
    pub fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::F16 => "f16",
            Self::Bf16 => "bf16",
            Self::Q8_0 => "q8_0",
            Self::Q4_0 => "q4_0",
            Self::Q4_1 => "q4_1",
            Self::Q5_0 => "q5_0",
            Self::Q5_1 => "q5_1",
            Self::Q4K => "q4_k",
            Self::Q5K => "q5_k",
            Self::Q6K => "q6_k",
        }
    }

    /// Turns the blocks in `data` into numbers.
    ///
    /// # Panics
    /// When `data` is not exactly the bytes of `out.len()` elements.
    pub fn dequantize(self, data: &[u8], out: &mut [f32]) {
        assert_eq!(Some(data.len()), self.bytes(out.len()), "{} elements of {}", out.len(), self.name());
        match self {
            Self::F32 => blocks::<4, 1>(data, out, |data, out| out[0] = f32::from_le_bytes(*data)),
            Self::F16 => blocks::<2, 1>(data, out, |data, out| out[0] = f16::from_le_bytes(*data).to_f32()),
            Self::Bf16 => blocks::<2, 1>(data, out, |data, out| out[0] = bf16::from_le_bytes(*data).to_f32()),
            Self::Q8_0 => blocks(data, out, q8_0),
            Self::Q4_0 => blocks(data, out, q4_0),
            Self::Q4_1 => blocks(data, out, q4_1),
            Self::Q5_0 => blocks(data, out, q5_0),
            Self::Q5_1 => blocks(data, out, q5_1),
            Self::Q4K => blocks(data, out, q4_k),
            Self::Q5K => blocks(data, out, q5_k),
            Self::Q6K => blocks(data, out, q6_k),
        }
    }
}

fn blocks<const BYTES: usize, const ELEMENTS: usize>(
    data: &[u8],
    out: &mut [f32],
    block: impl Fn(&[u8; BYTES], &mut [f32; ELEMENTS]),
) {
    for (data, out) in data.as_chunks::<BYTES>().0.iter().zip(out.as_chunks_mut::<ELEMENTS>().0) {
        block(data, out);
    }
}

fn half_at(data: &[u8], at: usize) -> f32 {
    f16::from_le_bytes([data[at], data[at + 1]]).to_f32()
}

fn q8_0(data: &[u8; 34], out: &mut [f32; 32]) {
    let scale = half_at(data, 0);
    for (out, &quant) in out.iter_mut().zip(&data[2..]) {
        *out = scale * f32::from(quant.cast_signed());
    }
}

fn q4_0(data: &[u8; 18], out: &mut [f32; 32]) {
    let scale = half_at(data, 0);
    let (low, high) = out.split_at_mut(16);
    for ((low, high), &pair) in low.iter_mut().zip(high).zip(&data[2..]) {
        *low = scale * (f32::from(pair & 15) - 8.0);
        *high = scale * (f32::from(pair >> 4) - 8.0);
    }
}

fn q4_1(data: &[u8; 20], out: &mut [f32; 32]) {
    let (scale, minimum) = (half_at(data, 0), half_at(data, 2));
    let (low, high) = out.split_at_mut(16);
    for ((low, high), &pair) in low.iter_mut().zip(high).zip(&data[4..]) {
        *low = scale * f32::from(pair & 15) + minimum;
        *high = scale * f32::from(pair >> 4) + minimum;
    }
}

fn q5_0(data: &[u8; 22], out: &mut [f32; 32]) {
    let scale = half_at(data, 0);
    fifth_bits(&data[2..], out, |quant| scale * (quant - 16.0));
}

fn q5_1(data: &[u8; 24], out: &mut [f32; 32]) {
    let (scale, minimum) = (half_at(data, 0), half_at(data, 2));
    fifth_bits(&data[4..], out, |quant| scale * quant + minimum);
}

/// Four bytes with the fifth bit of every element, then two elements' low four bits a byte.
fn fifth_bits(data: &[u8], out: &mut [f32; 32], number: impl Fn(f32) -> f32) {
    let high = u32::from_le_bytes([data[0], data[1], data[2], data[3]]);
    for (at, out) in out.iter_mut().enumerate() {
        let low = (data[4 + at % 16] >> (4 * (at / 16))) & 15;
        let quant = low | (((high >> at) & 1) << 4) as u8;
        *out = number(f32::from(quant));
    }
}

fn q4_k(data: &[u8; 144], out: &mut [f32; 256]) {
    groups_k(&data[..16], &[0; 32], &data[16..], out);
}

fn q5_k(data: &[u8; 176], out: &mut [f32; 256]) {
    groups_k(&data[..16], &data[16..48], &data[48..], out);
}

/// Eight groups of 32, each with a 6-bit scale and a 6-bit minimum packed in 12 bytes. The low four bits of two groups
/// share 32 bytes; the bytes of `high` hold a fifth bit for each group.
fn groups_k(head: &[u8], high: &[u8], low: &[u8], out: &mut [f32; 256]) {
    let (scale, minimum) = (half_at(head, 0), half_at(head, 2));
    let packed = &head[4..];
    for (group, out) in out.chunks_exact_mut(32).enumerate() {
        let (own_scale, own_minimum) = if group < 4 {
            (packed[group] & 63, packed[group + 4] & 63)
        } else {
            (
                (packed[group + 4] & 15) | ((packed[group - 4] >> 6) << 4),
                (packed[group + 4] >> 4) | ((packed[group] >> 6) << 4),
            )
        };
        let (scale, minimum) = (scale * f32::from(own_scale), minimum * f32::from(own_minimum));
        let low = &low[32 * (group / 2)..32 * (group / 2 + 1)];
        for ((out, &low), &high) in out.iter_mut().zip(low).zip(high) {
            let quant = ((low >> (4 * (group % 2))) & 15) | (((high >> group) & 1) << 4);
            *out = scale * f32::from(quant) - minimum;
        }
    }
}

/// Two halves of 128; the low four bits and the high two bits lie apart, with an 8-bit scale for every 16 elements.
fn q6_k(data: &[u8; 210], out: &mut [f32; 256]) {
    let scale = half_at(data, 208);
    for (half, out) in out.chunks_exact_mut(128).enumerate() {
        let low = &data[64 * half..64 * (half + 1)];
        let high = &data[128 + 32 * half..128 + 32 * (half + 1)];
        let scales = &data[192 + 8 * half..192 + 8 * (half + 1)];
        for (at, out) in out.iter_mut().enumerate() {
            let (quarter, column) = (at / 32, at % 32);
            let low = low[32 * (quarter % 2) + column];
            let nibble = if quarter < 2 { low & 15 } else { low >> 4 };
            let quant = nibble | (((high[column] >> (2 * quarter)) & 3) << 4);
            let group = f32::from(scales[2 * quarter + column / 16].cast_signed());
            *out = scale * group * (f32::from(quant) - 32.0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(hex: &str) -> Vec<u8> {
        hex.as_bytes()
            .as_chunks::<2>()
            .0
            .iter()
            .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
            .collect()
    }

    #[test]
    fn blocks_give_the_numbers_of_the_reference_code() {
        let cases: serde_json::Value = serde_json::from_str(include_str!("../tests/data/quants.json")).unwrap();
        for dtype in
            [Dtype::Q8_0, Dtype::Q4_0, Dtype::Q4_1, Dtype::Q5_0, Dtype::Q5_1, Dtype::Q4K, Dtype::Q5K, Dtype::Q6K]
        {
            let case = &cases[dtype.name()];
            let blocks = bytes(case["blocks"].as_str().unwrap());
            let mut expected = vec![0.0; 2 * dtype.block_elements()];
            Dtype::F32.dequantize(&bytes(case["numbers"].as_str().unwrap()), &mut expected);
            let mut numbers = vec![0.0; expected.len()];
            dtype.dequantize(&blocks, &mut numbers);
            for (at, (ours, reference)) in numbers.iter().zip(&expected).enumerate() {
                let tolerance = 1e-6 * reference.abs().max(1e-3);
                assert!((ours - reference).abs() <= tolerance, "{dtype:?} {at}: {ours} for {reference}");
            }
        }
    }

    #[test]
    fn halves_become_numbers() {
        let mut numbers = [0.0; 3];
        Dtype::F16.dequantize(&[0x00, 0x3c, 0x00, 0xc0, 0x01, 0x00], &mut numbers);
        assert_eq!(numbers, [1.0, -2.0, 2.0_f32.powi(-24)]);
        Dtype::Bf16.dequantize(&[0x80, 0x3f, 0x00, 0xc0, 0x80, 0x7f], &mut numbers);
        assert_eq!(numbers, [1.0, -2.0, f32::INFINITY]);
    }

    #[test]
    fn partial_blocks_have_no_size() {
        assert_eq!(Dtype::Q4K.bytes(512), Some(288));
        assert_eq!(Dtype::Q4K.bytes(300), None);
        assert_eq!(Dtype::F32.bytes(usize::MAX), None);
    }
}

//! Packing loses nothing.

use sagellm_model::{Bytes, Dtype, Tensor};

use super::*;

/// Numbers without a pattern.
fn bytes(count: usize) -> Vec<u8> {
    (0..count as u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect()
}

#[test]
fn packed_rows_are_the_stored_ones() {
    let (rows, columns) = (37, 512);
    for dtype in [
        Dtype::F32,
        Dtype::F16,
        Dtype::Bf16,
        Dtype::Q8_0,
        Dtype::Q4_0,
        Dtype::Q4_1,
        Dtype::Q5_0,
        Dtype::Q5_1,
        Dtype::Q4K,
        Dtype::Q5K,
        Dtype::Q6K,
    ] {
        let mut data = bytes(dtype.bytes(rows * columns).unwrap());
        // No scale or number with an exponent of all ones, which would be none.
        let width = dtype.block_bytes().min(4);
        for block in data.chunks_exact_mut(dtype.block_bytes()) {
            for at in [1, 3, 209] {
                if at < block.len() {
                    block[at] &= 0xbb;
                }
            }
        }
        assert!(width > 0);
        let tensor = Tensor { dtype, shape: vec![rows, columns], data: data.into() };
        let packed = Matrix::pack(&tensor, Format::of(dtype));
        assert_eq!(packed.format(), Format::of(dtype));
        let stored = tensor.to_f32();
        let (stored_bytes, packed_bytes) = (dtype.bytes(48 * columns).unwrap(), packed.data().len());
        assert!(packed_bytes <= stored_bytes + stored_bytes / 32, "{dtype:?}: {packed_bytes} for {stored_bytes}");
        let table = Table(tensor);
        for row in 0..rows {
            let mut got = vec![0.0; columns];
            packed.row(row, &mut got);
            assert_eq!(got, stored[row * columns..(row + 1) * columns], "{dtype:?} row {row}");
            table.row(row, &mut got);
            assert_eq!(got, stored[row * columns..(row + 1) * columns]);
        }
    }
}

#[test]
fn eight_bits_round_to_a_254th_of_the_largest_of_a_group() {
    // A width that is no whole number of groups.
    let (rows, columns) = (17, 45);
    let numbers: Vec<f32> = (0..rows * columns).map(|i| (i as f32 * 0.7).sin() * (1.0 + i as f32)).collect();
    let tensor = Tensor { dtype: Dtype::F32, shape: vec![rows, columns], data: Bytes::from(numbers.clone()) };
    let packed = Matrix::pack(&tensor, Format::Q8_0);
    for (row, numbers) in numbers.chunks(columns).enumerate() {
        let mut got = vec![0.0; columns];
        packed.row(row, &mut got);
        for (got, numbers) in got.chunks(32).zip(numbers.chunks(32)) {
            let top = numbers.iter().fold(0.0f32, |top, x| top.max(x.abs()));
            // The scale is a half: its own error counts 127 times.
            assert!(got.iter().zip(numbers).all(|(a, b)| (a - b).abs() <= top * (0.5 / 127.0 + 1.0 / 2048.0)));
        }
    }
}

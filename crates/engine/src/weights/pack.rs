//! From a tensor as it is stored to panels as they are read, and back.

use half::f16;
use sagellm_model::Tensor;

use super::format::{Block, Format, read_number, write_number};
use crate::kernels::{GROUP, PANEL};

/// Four inputs of every row of a panel.
const STEP: usize = 4 * PANEL;

/// Packs a matrix of whole rows into panels of zeros. A tensor stored in another format is converted.
pub(super) fn panels(tensor: &Tensor, format: Format, out: &mut [u8]) {
    let columns = tensor.shape.last().copied().unwrap_or(0);
    let row_bytes = tensor.row_bytes();
    let rows: Vec<&[u8]> = tensor.data.chunks_exact(row_bytes.max(1)).collect();
    let own = Format::of(tensor.dtype) == format;
    for (rows, out) in rows.chunks(PANEL).zip(out.chunks_exact_mut(format.panel_bytes(columns).max(1))) {
        match (own, format.is_quantized()) {
            // A pair of halves lies as one number of four bytes.
            (true, false) if format == Format::Bf16 => interleave_pairs(rows, out),
            (true, false) if format == Format::F32 => interleave::<4>(rows, out),
            (true, false) => interleave::<2>(rows, out),
            (true, true) => {
                for (lane, row) in rows.iter().enumerate() {
                    let stored = row.chunks_exact(tensor.dtype.block_bytes());
                    for (block, out) in stored.zip(out.chunks_exact_mut(format.block_bytes())) {
                        write_block(format, &stored_block(format, block), lane, out);
                    }
                }
            }
            (false, quantized) => {
                let mut numbers = vec![0.0; columns];
                for (lane, row) in rows.iter().enumerate() {
                    tensor.dtype.dequantize(row, &mut numbers);
                    let groups = numbers.chunks(format.block_inputs());
                    let width = format.block_bytes() / PANEL;
                    for (numbers, out) in groups.zip(out.chunks_exact_mut(format.block_bytes())) {
                        if quantized {
                            write_block(format, &Block::of_numbers(numbers), lane, out);
                        } else {
                            let places =
                                out[lane * width..(lane + 1) * width].chunks_mut(width / format.block_inputs());
                            for (number, place) in numbers.iter().zip(places) {
                                write_number(format, *number, place);
                            }
                        }
                    }
                }
            }
        }
    }
}

/// Reads row `lane` of a panel.
pub(super) fn row(format: Format, panel: &[u8], lane: usize, out: &mut [f32]) {
    let blocks = panel.chunks_exact(format.block_bytes());
    if format.is_quantized() {
        for (block, out) in blocks.zip(out.chunks_mut(format.block_inputs())) {
            read_block(format, block, lane).numbers(format, out);
        }
    } else {
        let width = format.block_bytes() / PANEL;
        for (block, out) in blocks.zip(out.chunks_mut(format.block_inputs())) {
            let places = block[lane * width..(lane + 1) * width].chunks(width / format.block_inputs());
            for (place, out) in places.zip(out) {
                *out = read_number(format, place);
            }
        }
    }
}

/// Puts numbers of `WIDTH` bytes side by side: the first of every row, then the second of every row.
fn interleave<const WIDTH: usize>(rows: &[&[u8]], out: &mut [u8]) {
    /// Columns at a time: a cache line of every row, or half of one.
    const TILE: usize = 16;
    let places = out.as_chunks_mut::<WIDTH>().0.as_chunks_mut::<PANEL>().0;
    for (tile, places) in places.chunks_mut(TILE).enumerate() {
        for (lane, row) in rows.iter().enumerate() {
            let numbers = &row.as_chunks::<WIDTH>().0[tile * TILE..];
            for (place, number) in places.iter_mut().zip(numbers) {
                place[lane] = *number;
            }
        }
    }
}

/// Puts pairs of two-byte numbers side by side; the last may be half a pair.
fn interleave_pairs(rows: &[&[u8]], out: &mut [u8]) {
    interleave::<4>(rows, out);
    for (lane, row) in rows.iter().enumerate() {
        let rest = row.as_chunks::<4>().1;
        if !rest.is_empty() {
            let last = out.len() - 4 * (PANEL - lane);
            out[last..last + rest.len()].copy_from_slice(rest);
        }
    }
}

fn half_at(bytes: &[u8], at: usize) -> f16 {
    f16::from_le_bytes([bytes[at], bytes[at + 1]])
}

/// Takes apart one block of one row as GGUF stores it (`ggml-common.h`).
fn stored_block(format: Format, bytes: &[u8]) -> Block {
    let mut block = Block::ZERO;
    block.scale = half_at(bytes, 0);
    match format {
        Format::Q8_0 => block.quants[..GROUP].copy_from_slice(&bytes[2..]),
        Format::Q4_0 => split_nibbles(&bytes[2..], &mut block.quants[..GROUP]),
        Format::Q4_1 => {
            block.least = half_at(bytes, 2);
            split_nibbles(&bytes[4..], &mut block.quants[..GROUP]);
        }
        Format::Q5_0 => fifth_bits(&bytes[2..], &mut block.quants[..GROUP]),
        Format::Q5_1 => {
            block.least = half_at(bytes, 2);
            fifth_bits(&bytes[4..], &mut block.quants[..GROUP]);
        }
        Format::Q4K | Format::Q5K => {
            block.least = half_at(bytes, 2);
            k_factors(&bytes[4..16], &mut block);
            let (upper, lower) = bytes[16..].split_at(if format == Format::Q5K { GROUP } else { 0 });
            for (two, lower) in lower.chunks_exact(GROUP).enumerate() {
                split_nibbles(lower, &mut block.quants[2 * GROUP * two..2 * GROUP * (two + 1)]);
            }
            if !upper.is_empty() {
                for (i, quant) in block.quants.iter_mut().enumerate() {
                    *quant |= ((upper[i % GROUP] >> (i / GROUP)) & 1) << 4;
                }
            }
        }
        Format::Q6K => {
            block.scale = half_at(bytes, 208);
            block.factors.copy_from_slice(&bytes[192..208]);
            for (i, quant) in block.quants.iter_mut().enumerate() {
                let (half, quarter, column) = (i / 128, i % 128 / GROUP, i % GROUP);
                let low = bytes[64 * half + GROUP * (quarter % 2) + column] >> (4 * (quarter / 2));
                let high = bytes[128 + GROUP * half + column] >> (2 * quarter);
                *quant = (low & 15) | ((high & 3) << 4);
            }
        }
        Format::F32 | Format::F16 | Format::Bf16 => unreachable!("not a quantized format"),
    }
    block
}

/// Low nibbles to the first half of `out`, high ones to the second.
fn split_nibbles(bytes: &[u8], out: &mut [u8]) {
    let (low, high) = out.split_at_mut(bytes.len());
    for ((low, high), byte) in low.iter_mut().zip(high).zip(bytes) {
        (*low, *high) = (byte & 15, byte >> 4);
    }
}

/// Four bytes with the fifth bit of every value, then their low four bits.
fn fifth_bits(bytes: &[u8], out: &mut [u8]) {
    let (upper, lower) = bytes.split_at(GROUP / 8);
    split_nibbles(lower, out);
    for (i, quant) in out.iter_mut().enumerate() {
        *quant |= ((upper[i / 8] >> (i % 8)) & 1) << 4;
    }
}

/// The 6-bit factors of eight groups in 12 bytes.
fn k_factors(packed: &[u8], block: &mut Block) {
    for group in 0..4 {
        block.factors[group] = packed[group] & 63;
        block.least_factors[group] = packed[group + 4] & 63;
        block.factors[group + 4] = (packed[group + 8] & 15) | ((packed[group] >> 6) << 4);
        block.least_factors[group + 4] = (packed[group + 8] >> 4) | ((packed[group + 4] >> 6) << 4);
    }
}

/// Where a group's double steps lie, and its upper bits.
struct Places {
    /// Of the group's own factors.
    factors: usize,
    /// Of its upper bits.
    upper: usize,
    /// Of its steps.
    steps: usize,
}

fn places(format: Format, group: usize) -> Places {
    let halves = 2 * PANEL;
    let head = match format {
        Format::Q8_0 | Format::Q4_0 | Format::Q5_0 | Format::Q6K => halves,
        _ => 2 * halves,
    };
    let upper = match format {
        Format::Q5_0 | Format::Q5_1 | Format::Q5K => STEP,
        Format::Q6K => 2 * STEP,
        _ => 0,
    };
    let own = if matches!(format, Format::Q4K | Format::Q5K | Format::Q6K) { 2 * PANEL } else { 0 };
    let factors = head + group * (own + upper + 4 * STEP);
    Places { factors, upper: factors + own, steps: factors + own + upper }
}

fn write_block(format: Format, block: &Block, lane: usize, out: &mut [u8]) {
    let groups = format.block_inputs() / GROUP;
    let halves = 2 * PANEL;
    out[2 * lane..][..2].copy_from_slice(&block.scale.to_le_bytes());
    if matches!(format, Format::Q4_1 | Format::Q5_1 | Format::Q4K | Format::Q5K) {
        out[halves + 2 * lane..][..2].copy_from_slice(&block.least.to_le_bytes());
    }
    for group in 0..groups {
        let place = places(format, group);
        match format {
            Format::Q4K | Format::Q5K => {
                out[place.factors + lane] = block.factors[group];
                out[place.factors + PANEL + lane] = block.least_factors[group];
            }
            Format::Q6K => {
                out[place.factors + lane] = block.factors[2 * group];
                out[place.factors + PANEL + lane] = block.factors[2 * group + 1];
            }
            _ => {}
        }
        let quants = block.quants[group * GROUP..(group + 1) * GROUP].as_chunks::<4>().0;
        if format == Format::Q8_0 {
            for (step, quants) in quants.iter().enumerate() {
                out[place.steps + step * STEP + 4 * lane..][..4].copy_from_slice(quants);
            }
            continue;
        }
        for (double, pair) in quants.as_chunks::<2>().0.iter().enumerate() {
            let to = &mut out[place.steps + double * STEP + 4 * lane..][..4];
            for ((to, low), high) in to.iter_mut().zip(pair[0]).zip(pair[1]) {
                *to = (low & 15) | ((high & 15) << 4);
            }
        }
        for (step, quants) in quants.iter().enumerate() {
            let (at, shift, bits) = upper_bits(format, step);
            for (i, quant) in quants.iter().enumerate().take(if bits == 0 { 0 } else { 4 }) {
                out[place.upper + at + 4 * lane + i] |= (quant >> 4) << shift;
            }
        }
    }
}

fn read_block(format: Format, from: &[u8], lane: usize) -> Block {
    let mut block = Block::ZERO;
    let groups = format.block_inputs() / GROUP;
    let halves = 2 * PANEL;
    block.scale = half_at(from, 2 * lane);
    // Formats without a minimum have something else there, and do not look at it.
    block.least = half_at(from, halves + 2 * lane);
    for group in 0..groups {
        let place = places(format, group);
        match format {
            Format::Q4K | Format::Q5K => {
                block.factors[group] = from[place.factors + lane];
                block.least_factors[group] = from[place.factors + PANEL + lane];
            }
            Format::Q6K => {
                block.factors[2 * group] = from[place.factors + lane];
                block.factors[2 * group + 1] = from[place.factors + PANEL + lane];
            }
            _ => {}
        }
        for i in 0..GROUP {
            let (step, byte) = (i / 4, 4 * lane + i % 4);
            block.quants[group * GROUP + i] = if format == Format::Q8_0 {
                from[place.steps + step * STEP + byte]
            } else {
                let (at, shift, bits) = upper_bits(format, step);
                let low = (from[place.steps + step / 2 * STEP + byte] >> (4 * (step % 2))) & 15;
                let high = if bits == 0 { 0 } else { (from[place.upper + at + byte] >> shift) & ((1 << bits) - 1) };
                low | (high << 4)
            };
        }
    }
    block
}

/// Where the bits beyond the fourth of a step lie: offset, shift, number of bits.
fn upper_bits(format: Format, step: usize) -> (usize, usize, usize) {
    match format {
        Format::Q5_0 | Format::Q5_1 | Format::Q5K => (0, (step + 4) % 8, 1),
        Format::Q6K => (step / 4 * STEP, (2 * (step % 4) + 4) % 8, 2),
        _ => (0, 0, 0),
    }
}

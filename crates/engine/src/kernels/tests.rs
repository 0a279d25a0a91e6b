//! Every instruction set against plain double-precision arithmetic, on sizes that no vector length divides.

use proptest::prelude::*;

use super::*;
use crate::weights::{ComputeDtype, Format, Matrix};
use sagellm_model::{Bytes, Dtype, Tensor};

/// Deterministic values in −1..1.
fn values(count: usize, seed: u64) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let next = |_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    };
    (0..count).map(next).collect()
}

fn close(got: f32, want: f64, scale: f64) -> bool {
    (f64::from(got) - want).abs() <= 2e-6 * scale.max(1e-3)
}

fn each_isa(mut test: impl FnMut(&mut Kernels)) {
    for isa in Isa::available() {
        for threads in [1, 2] {
            test(&mut Kernels::new(Some(isa), threads, Clock::start()).unwrap());
        }
    }
}

/// A matrix of given values.
fn matrix(rows: usize, columns: usize, values: Vec<f32>, dtype: ComputeDtype) -> Matrix {
    let tensor = Tensor { dtype: Dtype::F32, shape: vec![rows, columns], data: Bytes::from(values) };
    Matrix::pack(&tensor, dtype.format())
}

/// A matrix of random blocks of a GGUF type; its scales are halves between −0.1 and 0.1.
fn random_blocks(rows: usize, columns: usize, dtype: Dtype, seed: u64) -> Matrix {
    let halves: &[usize] = match dtype {
        Dtype::Q8_0 | Dtype::Q4_0 | Dtype::Q5_0 => &[0],
        Dtype::Q6K => &[208],
        _ => &[0, 2],
    };
    let bytes = dtype.bytes(rows * columns).unwrap();
    let mut data: Vec<u8> = values(bytes, seed).into_iter().map(|value| (value * 4096.0) as i32 as u8).collect();
    for (block, value) in data.chunks_exact_mut(dtype.block_bytes()).zip(values(bytes, seed + 1)) {
        for at in halves {
            block[*at..at + 2].copy_from_slice(&f16::from_f32(0.1 * value).to_le_bytes());
        }
    }
    let tensor = Tensor { dtype, shape: vec![rows, columns], data: data.into() };
    Matrix::pack(&tensor, Format::of(tensor.dtype))
}

fn check_matmul(rows: usize, k: usize, outputs: &[usize], dtype: ComputeDtype) {
    let made = outputs.iter().enumerate().map(|(i, &n)| matrix(n, k, values(n * k, 2 + i as u64), dtype));
    check_product(rows, k, &made.collect::<Vec<_>>());
}

/// Activations as integer kernels see them: rounded to 127ths of the largest of their group.
fn as_quantized(x: &[f32]) -> Vec<f32> {
    let group = |group: &[f32]| {
        let scale = group.iter().fold(0.0f32, |top, x| top.max(x.abs())) / 127.0;
        group.iter().map(|x| if scale > 0.0 { (x * (1.0 / scale)).round_ties_even() * scale } else { 0.0 }).collect()
    };
    x.chunks(GROUP).flat_map(|numbers| -> Vec<f32> { group(numbers) }).collect()
}

fn check_product(rows: usize, k: usize, weights: &[Matrix]) {
    let outputs: Vec<usize> = weights.iter().map(Matrix::rows).collect();
    let x = values(rows * k, 1);
    let biases: Vec<Vec<f32>> = outputs.iter().map(|&n| values(n, 9)).collect();
    let products: Vec<Product<'_>> = weights
        .iter()
        .zip(&biases)
        .enumerate()
        .map(|(i, (weight, bias))| Product { weight, bias: (i % 2 == 0).then_some(bias.as_slice()) })
        .collect();
    let width: usize = outputs.iter().sum();
    each_isa(|kernels| {
        let start = values(rows * width, 5);
        let mut out = start.clone();
        kernels.matmul(Input::packed(&x, rows), &products, &mut out, width, true);
        let mut row_of = vec![0.0; k];
        let mut column = 0;
        for product in &products {
            let quantized = product.weight.format().is_quantized();
            // A number half way between two steps may go to either.
            let slack = if quantized { 1.0 + 40.0 / k as f64 } else { 1.0 };
            let rounds = kernels.isa() == Isa::Avx512Bf16 && product.weight.format() == Format::Bf16;
            let seen: Vec<f32> = match quantized {
                true => x.chunks_exact(k).flat_map(as_quantized).collect(),
                false if rounds => x.iter().map(|&x| bf16::from_f32(x).to_f32()).collect(),
                false => x.clone(),
            };
            for c in 0..product.weight.rows() {
                product.weight.row(c, &mut row_of);
                for r in 0..rows {
                    let terms =
                        seen[r * k..(r + 1) * k].iter().zip(&row_of).map(|(&a, &b)| f64::from(a) * f64::from(b));
                    let (sum, size) = terms.fold((0.0, 0.0), |(sum, size), term| (sum + term, size + term.abs()));
                    let place = r * width + column;
                    let want = f64::from(start[place]) + sum + f64::from(product.bias.map_or(0.0, |b| b[c]));
                    assert!(
                        close(out[place], want, slack * (size + 2.0)),
                        "{} rows {rows} k {k}: row {r} column {column}: {} for {want}",
                        kernels.isa(),
                        out[place]
                    );
                }
                column += 1;
            }
        }
    });
}

#[test]
fn matmul_on_odd_sizes() {
    for dtype in [ComputeDtype::F32, ComputeDtype::Bf16, ComputeDtype::F16, ComputeDtype::Int8] {
        check_matmul(1, 2, &[2, 6], dtype);
        check_matmul(1, 37, &[131], dtype);
        check_matmul(3, 48, &[5, 9, 9], dtype);
        check_matmul(7, 129, &[50], dtype);
        check_matmul(70, 33, &[17, 3], dtype);
        check_matmul(100, 600, &[33], dtype);
    }
    // The vocabulary of GPT-2.
    check_matmul(2, 9, &[50257], ComputeDtype::F32);
}

const BLOCKS: [Dtype; 8] =
    [Dtype::Q8_0, Dtype::Q4_0, Dtype::Q4_1, Dtype::Q5_0, Dtype::Q5_1, Dtype::Q4K, Dtype::Q5K, Dtype::Q6K];

#[test]
fn matmul_in_the_formats_of_gguf() {
    for dtype in BLOCKS {
        for (rows, outputs) in [(1, 50), (2, 16), (3, 7), (9, 40), (70, 17)] {
            check_product(rows, 512, &[random_blocks(outputs, 512, dtype, 3), random_blocks(5, 512, Dtype::Q8_0, 9)]);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]
    #[test]
    fn matmul_on_any_size(rows in 1usize..20, k in 1usize..80, n in 1usize..60) {
        check_matmul(rows, k, &[n], ComputeDtype::F32);
        check_matmul(rows, k, &[n], ComputeDtype::Bf16);
        check_matmul(rows, k, &[n], ComputeDtype::Int8);
    }
}

#[test]
fn a_row_does_not_depend_on_the_rows_beside_it() {
    let (k, n) = (512, 45);
    let numbers = [ComputeDtype::F32, ComputeDtype::Bf16, ComputeDtype::F16, ComputeDtype::Int8];
    let made = numbers.map(|dtype| matrix(n, k, values(n * k, 3), dtype));
    let x = values(130 * k, 4);
    for weight in made.into_iter().chain(BLOCKS.map(|dtype| random_blocks(n, k, dtype, 5))) {
        each_isa(|kernels| {
            let product = [Product { weight: &weight, bias: None }];
            let mut together = vec![0.0; 130 * n];
            kernels.matmul(Input::packed(&x, 130), &product, &mut together, n, false);
            for count in [1, 2, 3, 5, 10, 14, 40] {
                let mut some = vec![0.0; count * n];
                kernels.matmul(Input::packed(&x[7 * k..(7 + count) * k], count), &product, &mut some, n, false);
                assert_eq!(some, together[7 * n..(7 + count) * n], "{} {:?}", kernels.isa(), weight.format());
            }
        });
    }
}

/// Checks the attention of tokens that attend to `lens` tokens of one sequence; neighbours share reads.
fn check_attention((heads, kv_heads, head_dim): (usize, usize, usize), lens: &[usize], dtype: KvDtype) {
    let longest = lens.iter().copied().max().unwrap();
    let shape = AttentionShape { heads, kv_heads, head_dim, scale: 1.0 / (head_dim as f32).sqrt() };
    let (used, part) = (longest.div_ceil(BLOCK), shape.block_part());
    // Of two layers, the second; the blocks lie in reverse after an unused one.
    let place = KvPlace { dtype, block_stride: 4 * part, layer_offset: 2 * part };
    let blocks: Vec<u32> = (1..=u32::try_from(used).unwrap()).rev().collect();
    let (q_width, kv_width) = (heads * head_dim, kv_heads * head_dim);
    let written = values(longest * 2 * kv_width, 6);
    let q: Vec<f32> = values(lens.len() * q_width, 8).into_iter().map(|v| v * 4.0).collect();
    let rounded = |v: f32| match dtype {
        KvDtype::F32 => f64::from(v),
        KvDtype::F16 => f16::from_f32(v).to_f64(),
        KvDtype::Bf16 => bf16::from_f32(v).to_f64(),
    };
    each_isa(|kernels| {
        let mut kv = Arena::default().take((used + 1) * place.block_stride * dtype.bytes()).unwrap();
        let all: Vec<_> = (1..=longest).map(|len| AttentionRow { blocks: &blocks, len }).collect();
        kernels.write_kv(shape, &mut kv, place, &all, &written, 2 * kv_width, 0);
        let rows: Vec<_> = lens.iter().map(|&len| AttentionRow { blocks: &blocks, len }).collect();
        let mut out = vec![0.0; lens.len() * q_width];
        kernels.attention(shape, &kv, place, &rows, &q, q_width, &mut out);
        for (r, &len) in lens.iter().enumerate() {
            let mut alone = vec![0.0; q_width];
            kernels.attention(shape, &kv, place, &rows[r..=r], &q[r * q_width..], q_width, &mut alone);
            assert_eq!(alone, out[r * q_width..(r + 1) * q_width], "{} alone, len {len}", kernels.isa());
            for h in 0..heads {
                let of = |t: usize, d: usize| t * 2 * kv_width + h / (heads / kv_heads) * head_dim + d;
                let key = |t: usize, d: usize| rounded(written[of(t, d)]);
                let value = |t: usize, d: usize| rounded(written[of(t, d) + kv_width]);
                let q = &q[r * q_width + h * head_dim..][..head_dim];
                let score =
                    |t: usize| (0..head_dim).map(|d| f64::from(q[d]) * key(t, d)).sum::<f64>() * f64::from(shape.scale);
                let scores: Vec<f64> = (0..len).map(score).collect();
                let top = scores.iter().copied().fold(f64::MIN, f64::max);
                let total: f64 = scores.iter().map(|s| (s - top).exp()).sum();
                for d in 0..head_dim {
                    let want: f64 = (0..len).map(|t| (scores[t] - top).exp() / total * value(t, d)).sum();
                    let got = out[r * q_width + h * head_dim + d];
                    let isa = kernels.isa();
                    assert!(close(got, want, 1.0), "{isa} {heads}/{kv_heads} len {len}: {got} for {want}");
                }
            }
        }
    });
}

#[test]
fn attention_is_a_softmax_weighted_mean() {
    for shape in [(1, 1, 1), (9, 3, 64), (4, 4, 8), (10, 2, 24), (6, 1, 40), (14, 2, 64)] {
        check_attention(shape, &[1, 15, 16, 17, 50, 64], KvDtype::F32);
    }
    for dtype in [KvDtype::F32, KvDtype::F16, KvDtype::Bf16] {
        // Neighbours across the end of a block and of a stretch, and the first token of another stretch alone.
        let lens: Vec<usize> = (250..262).chain(15..18).chain([513, 700]).collect();
        check_attention((6, 2, 32), &lens, dtype);
    }
}

#[test]
fn norms_and_activations() {
    let width = 37;
    let x: Vec<f32> = values(40 * width, 1).into_iter().map(|v| v * 6.0).collect();
    let (weight, bias) = (values(width, 2), values(width, 3));
    each_isa(|kernels| {
        let mut rms = vec![0.0; x.len()];
        kernels.rms_norm(&x, &weight, 1e-5, &mut rms);
        let mut layer = vec![0.0; x.len()];
        kernels.layer_norm(&x, &weight, &bias, 1e-5, &mut layer);
        for (r, row) in x.chunks(width).enumerate() {
            let n = width as f64;
            let mean = row.iter().map(|&v| f64::from(v)).sum::<f64>() / n;
            let var = row.iter().map(|&v| (f64::from(v) - mean).powi(2)).sum::<f64>() / n;
            let square = row.iter().map(|&v| f64::from(v).powi(2)).sum::<f64>() / n;
            for (i, &v) in row.iter().enumerate() {
                let (v, w) = (f64::from(v), f64::from(weight[i]));
                assert!(close(rms[r * width + i], v / (square + 1e-5).sqrt() * w, 4.0));
                assert!(close(layer[r * width + i], (v - mean) / (var + 1e-5).sqrt() * w + f64::from(bias[i]), 4.0));
            }
        }
        let mut gelu = x[..2 * width].to_vec();
        kernels.gelu_tanh(&mut gelu, width);
        let mut gated = x[..2 * width].to_vec();
        kernels.silu_gate(&mut gated, 2 * width);
        for i in 0..width {
            let v = f64::from(x[i]);
            let tanh = ((2.0 / std::f64::consts::PI).sqrt() * (v + 0.044_715 * v.powi(3))).tanh();
            assert!(close(gelu[i], 0.5 * v * (1.0 + tanh), v.abs() + 1.0), "{} for {v}", gelu[i]);
            assert!(close(gated[i], v / (1.0 + (-v).exp()) * f64::from(x[width + i]), 36.0));
        }
    });
}

#[test]
fn a_missing_instruction_set_is_refused_by_name() {
    let missing = if cfg!(target_arch = "aarch64") { Isa::Avx2 } else { Isa::Neon };
    let error = Kernels::new(Some(missing), 1, Clock::start()).err().expect("this processor has no such instructions");
    assert!(error.to_string().contains(&missing.to_string()));
}

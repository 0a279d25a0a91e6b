//! Every instruction set against plain double-precision arithmetic, on sizes that no vector length divides.

use proptest::prelude::*;

use super::*;
use crate::weights::ComputeDtype;

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
            test(&mut Kernels::new(Some(isa), threads).unwrap());
        }
    }
}

fn check_matmul(rows: usize, k: usize, outputs: &[usize], dtype: ComputeDtype) {
    let x = values(rows * k, 1);
    let weights: Vec<Matrix> =
        outputs.iter().enumerate().map(|(i, &n)| Matrix::from_f32(n, k, values(n * k, 2 + i as u64), dtype)).collect();
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
        kernels.matmul(&x, rows, &products, &mut out, width, true);
        let mut row_of = vec![0.0; k];
        let mut column = 0;
        for product in &products {
            for c in 0..product.weight.rows() {
                product.weight.row(c, &mut row_of);
                for r in 0..rows {
                    let terms = x[r * k..(r + 1) * k].iter().zip(&row_of).map(|(&a, &b)| f64::from(a) * f64::from(b));
                    let (sum, size) = terms.fold((0.0, 0.0), |(sum, size), term| (sum + term, size + term.abs()));
                    let place = r * width + column;
                    let want = f64::from(start[place]) + sum + f64::from(product.bias.map_or(0.0, |b| b[c]));
                    assert!(
                        close(out[place], want, size + 2.0),
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
    for dtype in [ComputeDtype::F32, ComputeDtype::Bf16] {
        check_matmul(1, 2, &[2, 6], dtype);
        check_matmul(1, 37, &[131], dtype);
        check_matmul(3, 48, &[5, 9, 9], dtype);
        check_matmul(7, 129, &[50], dtype);
        check_matmul(70, 33, &[17, 3], dtype);
    }
    // The vocabulary of GPT-2.
    check_matmul(2, 9, &[50257], ComputeDtype::F32);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]
    #[test]
    fn matmul_on_any_size(rows in 1usize..20, k in 1usize..80, n in 1usize..60) {
        check_matmul(rows, k, &[n], ComputeDtype::F32);
    }
}

#[test]
fn a_row_does_not_depend_on_the_rows_beside_it() {
    let (k, n) = (83, 45);
    let weight = Matrix::from_f32(n, k, values(n * k, 3), ComputeDtype::F32);
    let x = values(130 * k, 4);
    each_isa(|kernels| {
        let product = [Product { weight: &weight, bias: None }];
        let mut together = vec![0.0; 130 * n];
        kernels.matmul(&x, 130, &product, &mut together, n, false);
        for r in 0..130 {
            let mut alone = vec![0.0; n];
            kernels.matmul(&x[r * k..(r + 1) * k], 1, &product, &mut alone, n, false);
            assert_eq!(alone, together[r * n..(r + 1) * n], "{} row {r}", kernels.isa());
        }
    });
}

#[test]
fn attention_is_a_softmax_weighted_mean() {
    for (heads, kv_heads, head_dim) in [(1, 1, 1), (9, 3, 64), (4, 4, 8), (10, 2, 24), (6, 1, 40)] {
        let blocks = 5;
        let stride = kv_heads * head_dim * BLOCK;
        let (keys, vals) = (values(blocks * stride, 6), values(blocks * stride, 7));
        let shape = AttentionShape { heads, kv_heads, head_dim, scale: 1.0 / (head_dim as f32).sqrt() };
        let table = [3u32, 0, 4, 1];
        let lens = [1usize, 15, 16, 17, 50, 64];
        let width = heads * head_dim;
        let q: Vec<f32> = values(lens.len() * width, 8).into_iter().map(|v| v * 4.0).collect();
        each_isa(|kernels| {
            let rows: Vec<_> = lens.iter().map(|&len| AttentionRow { blocks: &table, len }).collect();
            let mut out = vec![0.0; lens.len() * width];
            let kv = KvLayer { keys: &keys, values: &vals, block_stride: stride };
            kernels.attention(shape, kv, &rows, &q, width, &mut out, &mut Scores::default());
            for (r, &len) in lens.iter().enumerate() {
                for h in 0..heads {
                    let part =
                        |t: usize| table[t / BLOCK] as usize * stride + h / (heads / kv_heads) * head_dim * BLOCK;
                    let key = |t: usize, d: usize| f64::from(keys[part(t) + d * BLOCK + t % BLOCK]);
                    let value = |t: usize, d: usize| f64::from(vals[part(t) + t % BLOCK * head_dim + d]);
                    let q = &q[r * width + h * head_dim..][..head_dim];
                    let score = |t: usize| {
                        (0..head_dim).map(|d| f64::from(q[d]) * key(t, d)).sum::<f64>() * f64::from(shape.scale)
                    };
                    let scores: Vec<f64> = (0..len).map(score).collect();
                    let top = scores.iter().copied().fold(f64::MIN, f64::max);
                    let total: f64 = scores.iter().map(|s| (s - top).exp()).sum();
                    for d in 0..head_dim {
                        let want: f64 = (0..len).map(|t| (scores[t] - top).exp() / total * value(t, d)).sum();
                        let got = out[r * width + h * head_dim + d];
                        assert!(
                            close(got, want, 1.0),
                            "{} {heads}/{kv_heads} len {len}: {got} for {want}",
                            kernels.isa()
                        );
                    }
                }
            }
        });
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
        let mut gated = vec![0.0; width];
        kernels.silu_gate(&x[..2 * width], width, &mut gated);
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
    let error = Kernels::new(Some(missing), 1).err().expect("this processor has no such instructions");
    assert!(error.to_string().contains(&missing.to_string()));
}

//! Rotary position embedding, J. Su et al., *RoFormer*, 2021, in the half-split layout of Hugging Face models.

use sagellm_model::{Config, RopeScaling};

/// Cosines and sines of every position that can occur.
pub(crate) struct Rope {
    half: usize,
    /// `positions × half` pairs.
    table: Vec<(f32, f32)>,
}

impl Rope {
    /// The table of `positions` positions.
    pub(crate) fn new(config: &Config, positions: usize) -> Self {
        let half = config.head_dim / 2;
        let frequencies: Vec<f32> = (0..half)
            .map(|i| {
                let exponent = (2 * i) as f32 / config.head_dim as f32;
                scaled(1.0 / config.rope_theta.powf(exponent), config.rope_scaling)
            })
            .collect();
        let table = (0..positions)
            .flat_map(|position| {
                frequencies.iter().map(move |frequency| {
                    let angle = position as f32 * frequency;
                    (angle.cos(), angle.sin())
                })
            })
            .collect();
        Self { half, table }
    }

    /// Rotates every head of one token in place.
    pub(crate) fn rotate(&self, heads: &mut [f32], position: usize) {
        let angles = &self.table[position * self.half..(position + 1) * self.half];
        for head in heads.chunks_exact_mut(2 * self.half) {
            let (low, high) = head.split_at_mut(self.half);
            for ((low, high), (cos, sin)) in low.iter_mut().zip(high).zip(angles) {
                (*low, *high) = (*low * cos - *high * sin, *high * cos + *low * sin);
            }
        }
    }
}

fn scaled(frequency: f32, scaling: RopeScaling) -> f32 {
    match scaling {
        RopeScaling::None => frequency,
        RopeScaling::Linear { factor } => frequency / factor,
        RopeScaling::Llama3 { factor, low_freq_factor, high_freq_factor, original_context } => {
            let wavelength = 2.0 * std::f32::consts::PI / frequency;
            if wavelength > original_context / low_freq_factor {
                frequency / factor
            } else if wavelength < original_context / high_freq_factor {
                frequency
            } else {
                let smooth = (original_context / wavelength - low_freq_factor) / (high_freq_factor - low_freq_factor);
                (1.0 - smooth) * frequency / factor + smooth * frequency
            }
        }
    }
}

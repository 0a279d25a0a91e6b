//! From logits to a token.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use sagellm_core::Sampling;

/// Chooses the tokens of one request. Its generator is its own, so what it draws does not depend on other requests.
#[derive(Debug)]
pub(crate) struct Sampler {
    settings: Sampling,
    generator: ChaCha8Rng,
}

impl Sampler {
    pub(crate) fn new(settings: &Sampling) -> Self {
        Self { settings: settings.clone(), generator: ChaCha8Rng::seed_from_u64(settings.seed) }
    }

    /// The next token. `candidates` is scratch.
    pub(crate) fn next(&mut self, logits: &[f32], candidates: &mut Vec<(f32, u32)>) -> u32 {
        let Sampling { temperature, top_p, top_k, .. } = self.settings;
        if temperature <= 0.0 {
            return argmax(logits);
        }
        candidates.clear();
        candidates.extend(logits.iter().zip(0u32..).map(|(&logit, id)| (logit, id)));
        let by_logit = |a: &(f32, u32), b: &(f32, u32)| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1));
        if top_k > 0 && (top_k as usize) < candidates.len() {
            candidates.select_nth_unstable_by(top_k as usize - 1, by_logit);
            candidates.truncate(top_k as usize);
        }
        candidates.sort_unstable_by(by_logit);
        let top = candidates[0].0;
        let mut total = 0.0f64;
        for (weight, _) in candidates.iter_mut() {
            *weight = ((*weight - top) / temperature).exp();
            total += f64::from(*weight);
        }
        if top_p < 1.0 {
            // The smallest set whose share reaches top_p; never empty.
            let (limit, mut sum) = (f64::from(top_p) * total, 0.0);
            let kept = candidates.iter().take_while(|(weight, _)| {
                let take = sum < limit;
                sum += f64::from(*weight);
                take
            });
            let kept = kept.count().max(1);
            candidates.truncate(kept);
            total = candidates.iter().map(|(weight, _)| f64::from(*weight)).sum();
        }
        let mut left = uniform(&mut self.generator) * total;
        for &(weight, id) in candidates.iter() {
            left -= f64::from(weight);
            if left < 0.0 {
                return id;
            }
        }
        candidates[candidates.len() - 1].1
    }
}

/// The most likely token, the first of equals. First the value, in lanes, then its place: that is several times faster than
/// both at once.
fn argmax(logits: &[f32]) -> u32 {
    let (chunks, rest) = logits.as_chunks::<32>();
    let mut lanes = [f32::NEG_INFINITY; 32];
    for chunk in chunks {
        for (lane, &logit) in lanes.iter_mut().zip(chunk) {
            *lane = if logit > *lane { logit } else { *lane };
        }
    }
    let best = lanes.iter().chain(rest).fold(f32::NEG_INFINITY, |best, &logit| if logit > best { logit } else { best });
    logits.iter().zip(0u32..).find(|(logit, _)| **logit == best).map_or(0, |(_, id)| id)
}

/// A number in [0, 1) with 53 random bits.
fn uniform(generator: &mut ChaCha8Rng) -> f64 {
    (generator.next_u64() >> 11) as f64 / (1u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn draw(settings: Sampling, logits: &[f32], count: usize) -> Vec<u32> {
        let mut sampler = Sampler::new(&settings);
        let mut scratch = Vec::new();
        (0..count).map(|_| sampler.next(logits, &mut scratch)).collect()
    }

    #[test]
    fn temperature_zero_takes_the_first_of_the_best() {
        assert_eq!(draw(Sampling::default(), &[0.0, 3.0, 3.0, 1.0], 3), [1, 1, 1]);
    }

    #[test]
    fn frequencies_follow_the_softmax() {
        let logits = [1.0f32, 0.0, 2.0];
        let drawn = draw(Sampling { temperature: 1.0, seed: 7, ..Sampling::default() }, &logits, 30_000);
        let total: f32 = logits.iter().map(|l| l.exp()).sum();
        for (id, logit) in logits.iter().enumerate() {
            let expected = logit.exp() / total;
            let share = drawn.iter().filter(|&&d| d as usize == id).count() as f32 / 30_000.0;
            // Five standard errors of a share near 1/2.
            assert!((share - expected).abs() < 5.0 * (0.25f32 / 30_000.0).sqrt(), "{id}: {share} for {expected}");
        }
    }

    #[test]
    fn top_k_and_top_p_keep_only_the_head() {
        let logits = [0.0f32, 1.0, 2.0, 3.0];
        let sampling = Sampling { temperature: 2.0, seed: 1, ..Sampling::default() };
        let k = draw(Sampling { top_k: 2, ..sampling.clone() }, &logits, 500);
        assert!(k.iter().all(|&id| id >= 2) && k.contains(&2) && k.contains(&3));
        let p = draw(Sampling { top_p: 0.01, ..sampling }, &logits, 100);
        assert!(p.iter().all(|&id| id == 3));
    }

    #[test]
    fn a_seed_gives_the_same_tokens() {
        let logits: Vec<f32> = (0..50).map(|i| (i as f32 * 0.37).sin()).collect();
        let sampling = Sampling { temperature: 1.0, seed: 42, ..Sampling::default() };
        assert_eq!(draw(sampling.clone(), &logits, 40), draw(sampling.clone(), &logits, 40));
        assert_ne!(draw(sampling.clone(), &logits, 40), draw(Sampling { seed: 43, ..sampling }, &logits, 40));
    }
}

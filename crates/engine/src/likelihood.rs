//! How well a model foresees a text: what number formats are judged by.

use sagellm_core::{Clock, NoProgress};
use sagellm_model::Model;

use crate::backend::kv_dtype;
use crate::kernels::{BLOCK, Kernels};
use crate::kv::KvStorage;
use crate::nn::{Row, Workspace};
use crate::weights::ComputeDtype;
use crate::{EngineError, Isa, models};

/// Tokens computed at a time: the logits of all of them are held.
const STEP: usize = 64;

/// How likely tokens were to a model.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Likelihood {
    /// Tokens that it had to foresee: all of a window but the first.
    pub tokens: usize,
    /// Sum of their negative logarithmic probabilities, in nats.
    pub nats: f64,
}

impl Likelihood {
    /// As many tokens, equally likely, would be as hard to foresee.
    pub fn perplexity(&self) -> f64 {
        (self.nats / self.tokens as f64).exp()
    }
}

/// How likely the tokens of `windows` are to `model` in `dtype`, each window seen by itself and from its beginning.
///
/// # Errors
/// As [`CpuEngine::start`](crate::CpuEngine::start), and for a window beyond the model's context or vocabulary.
pub fn likelihood(
    model: &Model,
    dtype: Option<ComputeDtype>,
    isa: Option<Isa>,
    threads: usize,
    windows: &[&[u32]],
) -> Result<Likelihood, EngineError> {
    let longest = windows.iter().map(|window| window.len()).max().unwrap_or(0);
    let vocab = model.config.vocab_size;
    if longest > model.config.context_length || windows.iter().any(|w| w.iter().any(|&id| id as usize >= vocab)) {
        return Err(EngineError::Setting("a window does not fit the model's context or vocabulary".into()));
    }
    let mut kernels = Kernels::new(isa, threads, Clock::start())?;
    let decoder = models::load(model, dtype, longest, threads, &NoProgress)?;
    let table: Vec<u32> = (0..).take(longest.div_ceil(BLOCK)).collect();
    let kv_dtype = kv_dtype(dtype, model.checkpoint.dtype());
    let mut kv = KvStorage::new(table.len(), decoder.blocks.len(), decoder.attention, kv_dtype)?;
    let mut work = Workspace::new(&decoder, STEP, STEP)?;
    let mut sum = Likelihood::default();
    for window in windows {
        for first in (0..window.len()).step_by(STEP) {
            let row = |position| Row { sequence: 0, token: window[position], position, logits: true };
            let rows: Vec<Row> = (first..window.len().min(first + STEP)).map(row).collect();
            let logits = decoder.forward(&mut kernels, &rows, &[&table], &mut kv, &mut work);
            // What follows the last token is not known.
            for (logits, next) in logits.chunks_exact(vocab).zip(&window[first + 1..]) {
                sum.tokens += 1;
                sum.nats += surprise(logits, *next as usize);
            }
        }
    }
    Ok(sum)
}

/// The negative logarithm of the probability that `logits` give to `token`.
fn surprise(logits: &[f32], token: usize) -> f64 {
    let top = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let total: f64 = logits.iter().map(|logit| f64::from(logit - top).exp()).sum();
    total.ln() - f64::from(logits[token] - top)
}

//! Whether something beside the workload had a part in its figures.

use sagellm_core::Source;

use super::{Judge, MOST_DISTURBANCE, percent};
use crate::validity::Code;

/// More prompt tokens from the cache than the prompts share, as a share of all, are left from something else.
const MOST_FROM_ELSEWHERE: f64 = 0.05;

impl Judge<'_> {
    pub(super) fn surroundings(&mut self) {
        self.other_load();
        self.warm_cache();
    }

    fn other_load(&mut self) {
        let Some(share) = self.summary.get("other_cpu_share").filter(|share| *share > MOST_DISTURBANCE) else { return };
        let message = format!("others used {} of the machine's processor time while it was measured", percent(share));
        let remedy = "stop other programs, or measure on a machine of its own";
        self.warn(Code::OtherLoad, message, remedy.into());
    }

    fn warm_cache(&mut self) {
        let Some(hits) = self.summary.get("prefix_hit_rate") else { return };
        // What is computed again after a preemption is in the cache by rights.
        let recomputed = self.summary.get("preemptions").is_some_and(|count| count > 0.0);
        let Some(shared) = self.shared().filter(|_| !recomputed) else { return };
        if hits > shared + MOST_FROM_ELSEWHERE {
            let message = format!(
                "the prefix cache was warm already: {} of the prompt tokens came from it, and the prompts share no more \
                 than {}",
                percent(hits),
                percent(shared)
            );
            let remedy = "clear the server's prefix cache or start it anew before a run, or give another `--seed`";
            self.warn(Code::WarmCache, message, remedy.into());
        }
    }

    /// The share of prompt tokens that the prompts of the plan have in common, as far as their source tells: the planned
    /// beginning, and what a chat template adds to every prompt.
    fn shared(&self) -> Option<f64> {
        let (shared, whole) = match self.sample.header.workload.source {
            Source::Text { input_tokens, shared_prefix_tokens, .. } => (shared_prefix_tokens, input_tokens),
            Source::Random { input_tokens, prefix_tokens, .. } => {
                (prefix_tokens, input_tokens.saturating_add(prefix_tokens))
            }
            Source::PrefixRepetition { prefix_tokens, suffix_tokens, .. } => {
                (prefix_tokens, prefix_tokens.saturating_add(suffix_tokens))
            }
            Source::SharedPrefix { system_tokens, question_tokens, .. } => {
                (system_tokens, system_tokens.saturating_add(question_tokens))
            }
            _ => return None,
        };
        let planned = f64::from(shared) / f64::from(whole.max(1));
        let prompts = &self.sample.stimulus.prompts;
        let added = prompts.counted.saturating_sub(prompts.planned) as f64 / prompts.counted.max(1) as f64;
        Some(planned * (1.0 - added) + added)
    }
}

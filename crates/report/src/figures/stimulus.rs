//! What was offered, beside the plan.

use super::Figures;
use crate::sample::Sample;
use crate::stimulus::{ENOUGH, ENOUGH_SECONDS, Pattern};

pub(super) fn compute(figures: &mut Figures, sample: &Sample) {
    let few = format!("fewer than {ENOUGH} arrivals, or all at one time");
    let short = format!("arrivals do not fill {ENOUGH_SECONDS} s with {ENOUGH_SECONDS} in each");
    let patterns = sample.stimulus.patterns();
    let (few, short) = match patterns {
        Some(_) => (&*few, &*short),
        None => ("the workload has no arrival process", "the workload has no arrival process"),
    };
    let none = Pattern { rate: None, cv: None, dispersion: None };
    let [planned, sent] = patterns.unwrap_or([none, none]);
    for (prefix, pattern) in [("planned_", planned), ("", sent)] {
        figures.set(&format!("{prefix}arrival_rate_rps"), pattern.rate, few);
        figures.set(&format!("{prefix}arrival_cv"), pattern.cv, few);
        figures.set(&format!("{prefix}arrival_dispersion"), pattern.dispersion, short);
    }
    let reason = "the server does not count prompt tokens, or the plan does not";
    figures.set("prompt_tokens_discrepancy", sample.stimulus.prompts.discrepancy(), reason);
}

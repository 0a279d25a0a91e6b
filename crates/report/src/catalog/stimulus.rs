//! The entries about what was offered, beside the plan.

use super::List;
use crate::registry::{Better, Group, Unit};

impl List {
    pub(super) fn stimulus(&mut self) {
        const FEW: &str = "the workload has no arrival process, or fewer than 30 arrivals";
        let short = format!("{FEW}, or they do not fill ten seconds with ten each");
        let patterns = [
            (
                "arrival_rate_rps",
                Unit::RequestsPerSecond,
                "gaps per second between the first and the last arrival: requests, or first turns of conversations, as \
                 they were sent",
                FEW,
            ),
            ("arrival_cv", Unit::Ratio, "standard deviation of the gaps between arrivals / their mean", FEW),
            (
                "arrival_dispersion",
                Unit::Ratio,
                "variance of the arrivals per whole second / their mean; 1 for a Poisson process",
                &short,
            ),
        ];
        for (key, unit, definition, undefined) in patterns {
            self.add(Group::Load, key, unit, Better::Neither, definition, undefined);
            let definition = format!("`{key}` of the times at which the plan wanted the same requests sent");
            self.add(Group::Load, &format!("planned_{key}"), unit, Better::Neither, &definition, undefined);
        }
        self.add(
            Group::Load,
            "prompt_tokens_discrepancy",
            Unit::Share,
            Better::Lower,
            "how far the prompt tokens that the server counted are from those of the plan / those of the plan, over the \
             successful requests where both are known",
            "the server does not count, or the prompts were not tokenized before",
        );
    }
}

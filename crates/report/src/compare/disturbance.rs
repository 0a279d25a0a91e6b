//! What makes two sides differ for another reason than the one that is looked for. What it disturbs is not judged.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Side;
use super::change::{known, median};
use crate::render::number;
use crate::validity::{Code, Finding};

/// Share of prompt tokens found in the prefix cache by which the sides may differ.
const MAX_HIT_RATE_DIFFERENCE: f64 = 0.05;

/// Warnings that disturb every latency and every throughput of a workload.
const DISTURBING: [Code; 2] = [Code::WarmCache, Code::OtherLoad];

/// Warnings that reports show elsewhere: at the head, or as marks at the percentiles.
const SHOWN_ELSEWHERE: [Code; 2] = [Code::SyntheticWeights, Code::FewSamples];

/// A warning about one side.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SideWarning {
    /// What kind.
    pub code: Code,
    /// The workload; `null` when it concerns the run as a whole.
    pub workload: Option<String>,
    /// What was found, in the first run that has it.
    pub message: String,
    /// What to do about it.
    pub remedy: String,
    /// The number of runs that have it.
    pub runs: u64,
}

/// The warnings of one run.
pub(super) fn warnings(findings: &[Finding]) -> Vec<SideWarning> {
    let mut warnings = Vec::new();
    for finding in findings.iter().filter(|finding| !SHOWN_ELSEWHERE.contains(&finding.code)) {
        let Finding { code, workload, message, remedy } = finding.clone();
        add(&mut warnings, SideWarning { code, workload, message, remedy, runs: 1 }, false);
    }
    warnings
}

/// Adds a warning of another run, or, with `count` unset, of the same one.
pub(super) fn add(warnings: &mut Vec<SideWarning>, warning: SideWarning, count: bool) {
    match warnings.iter_mut().find(|known| known.code == warning.code && known.workload == warning.workload) {
        Some(known) => known.runs += if count { warning.runs } else { 0 },
        None => warnings.push(warning),
    }
}

/// Returns for each disturbed workload why its figures are not judged.
pub(super) fn disturbances(first: &Side, side: &Side) -> BTreeMap<String, String> {
    let workloads = super::change::shared(first, side).into_iter();
    workloads.filter_map(|workload| Some((workload.to_owned(), disturbance(first, side, workload)?))).collect()
}

fn disturbance(first: &Side, side: &Side, workload: &str) -> Option<String> {
    let sides = [first, side];
    if let Some(invalid) = sides.iter().find(|side| side.invalid.is_some()) {
        return Some(format!("{} is INVALID", invalid.name));
    }
    for code in DISTURBING {
        if let [Some((side, message)), None] | [None, Some((side, message))] =
            sides.map(|side| Some((side, side.mostly_warned(code, workload)?)))
        {
            return Some(format!("only {} has this warning: {message}", side.name));
        }
    }
    let rates = sides.map(|side| median(&known(&side.values(workload, "prefix_hit_rate"))));
    match rates {
        [Some(before), Some(now)] if (before - now).abs() > MAX_HIT_RATE_DIFFERENCE => Some(format!(
            "the prefix cache held {} of the prompt tokens in {}, and {} in {}",
            number::percent(before),
            first.name,
            number::percent(now),
            side.name
        )),
        _ => None,
    }
}

impl Side {
    /// The warning of this kind about a workload, when more than half of the runs have it.
    fn mostly_warned(&self, code: Code, workload: &str) -> Option<&str> {
        let about = |warning: &&SideWarning| {
            warning.code == code && warning.workload.as_deref().is_none_or(|name| name == workload)
        };
        let warning = self.warnings.iter().find(about)?;
        (2 * warning.runs > self.runs() as u64).then_some(warning.message.as_str())
    }
}

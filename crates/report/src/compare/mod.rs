//! Two or more results side by side: what changed, how surely, and a verdict.
//!
//! A [`Side`] is one result: a folder with the records of a run, a folder of repeated runs, a summary, or the file of
//! another tool. The first side is what the others are compared with. Where a side was repeated, runs are compared; where
//! there are records of one run each, these; where there are figures only, no verdict is given.

mod change;
mod disturbance;
mod gate;
mod import;
mod junit;
mod observe;
pub(crate) mod render;
mod semantics;
mod side;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Error;
use change::{changes, failures, overall};
pub use disturbance::SideWarning;
use disturbance::disturbances;
pub(crate) use gate::lines as gate_lines;
pub use gate::{Gate, GateReport};
pub use side::Side;

/// What a comparison is to heed.
#[derive(Clone, Debug)]
pub struct CompareOptions {
    /// A change within this share of the former value is no difference: 0.02 is 2 %.
    pub margin: f64,
    /// Conditions under which the comparison fails.
    pub gates: Vec<Gate>,
    /// Whether figures are judged although a side is INVALID, or something else than the change that is looked for makes the
    /// sides differ: a warm prefix cache, a different hit rate, other load.
    pub judge_disturbed: bool,
}

/// The result of a comparison.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Comparison {
    /// Version of this format.
    pub schema_version: u32,
    /// What everything is compared with.
    pub before: String,
    /// Why that is INVALID; `null` when it is not.
    #[serde(default)]
    pub before_invalid: Option<String>,
    /// Warnings about it.
    #[serde(default)]
    pub before_warnings: Vec<SideWarning>,
    /// The others, in their order.
    pub sides: Vec<Compared>,
    /// A change within this share is no difference.
    pub margin: f64,
    /// What to bear in mind.
    pub notes: Vec<String>,
}

/// One side compared with the first.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Compared {
    /// Its name.
    pub name: String,
    /// Why it is INVALID; `null` when it is not.
    #[serde(default)]
    pub invalid: Option<String>,
    /// Warnings about it.
    #[serde(default)]
    pub warnings: Vec<SideWarning>,
    /// The verdict over all figures.
    pub verdict: Overall,
    /// The figures, workload by workload.
    pub figures: Vec<FigureChange>,
    /// Gates that passed, in words.
    #[serde(default)]
    pub passed_gates: Vec<String>,
    /// Gates that failed, in words.
    pub failed_gates: Vec<String>,
    /// Gates of which it is not known whether they failed, in words: why, and what would tell.
    #[serde(default)]
    pub undecided_gates: Vec<String>,
}

/// The verdict over all figures.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Overall {
    /// Something is better and nothing is worse.
    Faster,
    /// Something is worse and nothing is better.
    Slower,
    /// Some figures are better and some worse.
    Mixed,
    /// Every figure is the same within the margin.
    NoDifference,
    /// There are too few data to tell.
    Inconclusive,
    /// Nothing was judged, since a side is INVALID or something else than the change that is looked for disturbs the figures.
    NotJudged,
}

/// How one figure changed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct FigureChange {
    /// The workload.
    pub workload: String,
    /// The figure, by its key.
    pub key: String,
    /// Its value on the first side; of repeated runs, the median.
    pub before: f64,
    /// Its value on this side.
    pub now: f64,
    /// Change as a share of the former value; `null` where that is 0.
    pub change: Option<f64>,
    /// 95 % interval of the change; `null` where only figures are at hand, or too few requests or runs.
    pub interval: Option<(f64, f64)>,
    /// Probability of a change so large if there were none, adjusted for all figures compared: of repeated runs by the
    /// step-down max-T permutation of Westfall and Young over the labels of the runs, of one run each by Holm.
    pub p_value: Option<f64>,
    /// What is compared.
    pub basis: Basis,
    /// Better, worse, equal, inconclusive, or not judged.
    pub verdict: ChangeVerdict,
    /// Why it is inconclusive or not judged, and what would settle it; `null` when it is judged.
    #[serde(default)]
    pub reason: Option<String>,
    /// How many more runs on either side (or, of one run each, times as many requests) would probably settle it.
    pub further: Option<u64>,
}

/// What two sides are compared by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Basis {
    /// Repeated runs: Hodges–Lehmann shift, permutation of the runs.
    Runs,
    /// The records of one run each: block bootstrap and order statistics, allowing for correlated neighbours.
    Records,
    /// Two numbers: no interval.
    Figures,
}

/// What became of one figure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ChangeVerdict {
    /// Better than before.
    Better,
    /// Worse than before.
    Worse,
    /// The same within the margin.
    Equal,
    /// Not known.
    Inconclusive,
    /// Shown, and not judged: a share of failures, a figure that is 0, of which there is no change in percent, or one that
    /// something else than the change that is looked for disturbs.
    NotJudged,
}

/// Compares `others` with `first`.
///
/// # Errors
/// When there is no figure for one of the gates to judge.
pub fn compare(first: &Side, others: &[Side], options: &CompareOptions) -> Result<Comparison, Error> {
    let mut notes: Vec<String> = options.gates.iter().filter_map(Gate::doubt).collect();
    let mut sides = Vec::new();
    for side in others {
        notes.extend(side.notes_against(first));
        let disturbed = if options.judge_disturbed { Default::default() } else { disturbances(first, side) };
        let changes = changes(first, side, options, &disturbed);
        notes.extend(failures(first, side));
        let mut gates = GateReport::default();
        for gate in &options.gates {
            gate.judge(first, side, &changes)?.into_iter().for_each(|outcome| gates.push(outcome));
        }
        let GateReport { passed, failed, undecided } = gates;
        let verdict = overall(&changes);
        sides.push(Compared {
            name: side.name.clone(),
            invalid: side.invalid.clone(),
            warnings: side.warnings.clone(),
            verdict,
            figures: changes.into_iter().map(|change| change.figure).collect(),
            passed_gates: passed,
            failed_gates: failed,
            undecided_gates: undecided,
        });
    }
    Ok(Comparison {
        schema_version: sagellm_core::SCHEMA_VERSION,
        before: first.name.clone(),
        before_invalid: first.invalid.clone(),
        before_warnings: first.warnings.clone(),
        sides,
        margin: options.margin,
        notes,
    })
}

impl Comparison {
    /// Whether a gate failed.
    pub fn gate_failed(&self) -> bool {
        self.sides.iter().any(|side| !side.failed_gates.is_empty())
    }

    /// Whether nothing can be said of a side, or a gate is undecided.
    pub fn inconclusive(&self) -> bool {
        self.sides.iter().any(|side| {
            matches!(side.verdict, Overall::Inconclusive | Overall::NotJudged) || !side.undecided_gates.is_empty()
        })
    }

    /// As text for a terminal.
    pub fn table(&self) -> String {
        render::table(self)
    }

    /// As a page for a browser, which loads nothing.
    ///
    /// # Errors
    /// None that a user can cause.
    pub fn html(&self) -> Result<String, Error> {
        crate::export::html::comparison(self)
    }

    /// As JUnit XML: a test suite for each side, a test for each gate.
    pub fn junit(&self) -> String {
        junit::junit(self)
    }

    /// As Markdown, good as a comment on GitHub.
    pub fn markdown(&self) -> String {
        render::markdown(self)
    }
}

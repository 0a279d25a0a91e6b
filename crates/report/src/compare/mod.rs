//! Two or more results side by side: what changed, how surely, and a verdict.
//!
//! A [`Side`] is one result: a folder with the records of a run, a folder of repeated runs, a summary, or the file of
//! another tool. The first side is what the others are compared with. Where both sides were repeated, runs are compared;
//! where there are records of one run each, these; where there are figures only, no verdict is given.

mod gate;
mod import;
mod observe;
pub(crate) mod render;
mod side;

use std::collections::BTreeMap;

use sagellm_stats as stats;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Error;
use crate::registry::{self, Better};
pub use gate::Gate;
use observe::Observations;

pub use side::Side;

/// What a comparison is to heed.
#[derive(Clone, Debug)]
pub struct CompareOptions {
    /// A change within this share of the former value is no difference: 0.02 is 2 %.
    pub margin: f64,
    /// Conditions under which the comparison fails.
    pub gates: Vec<Gate>,
}

/// The result of a comparison.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Comparison {
    /// Version of this format.
    pub schema_version: u32,
    /// What everything is compared with.
    pub before: String,
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
    /// The verdict over all figures.
    pub verdict: Overall,
    /// The figures, workload by workload.
    pub figures: Vec<FigureChange>,
    /// Gates that failed, in words.
    pub failed_gates: Vec<String>,
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
    /// Change as a share of the former value.
    pub change: f64,
    /// 95 % interval of the change; `null` where only figures are at hand.
    pub interval: Option<(f64, f64)>,
    /// Probability of a change so large if there were none, adjusted for all figures compared (Holm).
    pub p_value: Option<f64>,
    /// What is compared.
    pub basis: Basis,
    /// Better, worse, equal or inconclusive.
    pub verdict: ChangeVerdict,
    /// How many more runs (or, of one run each, times as many requests) would probably settle it.
    pub further: Option<u64>,
}

/// What two sides are compared by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Basis {
    /// Repeated runs: Hodges–Lehmann and Mann–Whitney.
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
}

/// Fewest runs on either side for a verdict by runs: fewer cannot be significant.
const FEWEST_RUNS: usize = 4;

/// Compares `others` with `first`.
pub fn compare(first: &Side, others: &[Side], options: &CompareOptions) -> Comparison {
    let mut notes = Vec::new();
    let sides = others
        .iter()
        .map(|side| {
            notes.extend(side.notes_against(first));
            let mut figures = changes(first, side);
            adjust(&mut figures, options.margin);
            let failed_gates = options.gates.iter().flat_map(|gate| gate.failures(&figures)).collect();
            Compared {
                name: side.name.clone(),
                verdict: overall(&figures),
                figures: figures.into_iter().map(|raw| raw.figure).collect(),
                failed_gates,
            }
        })
        .collect();
    Comparison {
        schema_version: sagellm_core::SCHEMA_VERSION,
        before: first.name.clone(),
        sides,
        margin: options.margin,
        notes,
    }
}

impl Comparison {
    /// Whether a gate failed.
    pub fn gate_failed(&self) -> bool {
        self.sides.iter().any(|side| !side.failed_gates.is_empty())
    }

    /// Whether nothing can be said of a side.
    pub fn inconclusive(&self) -> bool {
        self.sides.iter().any(|side| side.verdict == Overall::Inconclusive)
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

    /// As Markdown, good as a comment on GitHub.
    pub fn markdown(&self) -> String {
        render::markdown(self)
    }
}

/// A change before the p-values of all figures are adjusted.
struct Raw {
    figure: FigureChange,
    /// Observations on the smaller side, in whose number the further ones are counted.
    n: u64,
}

/// The figures that both sides have.
fn changes(first: &Side, side: &Side) -> Vec<Raw> {
    let mut all = Vec::new();
    for (workload, before) in &first.workloads {
        let Some(now) = side.workloads.get(workload) else { continue };
        for metric in registry::all().iter().filter(|metric| metric.headline && metric.better != Better::Neither) {
            all.extend(change(workload, &metric.key, before, now));
        }
    }
    all
}

fn change(workload: &str, key: &str, before: &[Observations], now: &[Observations]) -> Option<Raw> {
    let figure = |before: f64, now: f64, basis| FigureChange {
        workload: workload.to_owned(),
        key: key.to_owned(),
        before,
        now,
        change: now / before - 1.0,
        interval: None,
        p_value: None,
        basis,
        verdict: ChangeVerdict::Inconclusive,
        further: None,
    };
    let values =
        |runs: &[Observations]| runs.iter().filter_map(|run| run.figures.get(key).copied()).collect::<Vec<_>>();
    let (was, is) = (values(before), values(now));
    let positive = |values: &[f64]| values.iter().all(|value| *value > 0.0 && value.is_finite());
    if was.is_empty() || is.is_empty() || !positive(&was) || !positive(&is) {
        return None;
    }
    let n = was.len().min(is.len());
    if n >= FEWEST_RUNS {
        let logarithms = |values: &[f64]| values.iter().map(|value| value.ln()).collect::<Vec<_>>();
        let (a, b) = (logarithms(&was), logarithms(&is));
        let shift = stats::hodges_lehmann(&a, &b)?;
        let mut figure = figure(median(&was)?, median(&is)?, Basis::Runs);
        figure.change = shift.shift.exp_m1();
        figure.interval = shift.interval.map(|interval| (interval.low.exp_m1(), interval.high.exp_m1()));
        figure.p_value = stats::mann_whitney(&a, &b).map(|test| test.p_value);
        return Some(Raw { figure, n: n as u64 });
    }
    let mut plain = figure(median(&was)?, median(&is)?, Basis::Figures);
    if let ([before], [now]) = (before, now)
        && let (Some(old), Some(new)) = (before.estimate(key), now.estimate(key))
        && let Some(change) = new.change_from(&old)
    {
        plain.basis = Basis::Records;
        plain.change = change.ratio - 1.0;
        plain.interval = Some((change.ratio_interval.low - 1.0, change.ratio_interval.high - 1.0));
        plain.p_value = Some(change.p_value);
    }
    Some(Raw { figure: plain, n: n as u64 })
}

fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    stats::quantile(&sorted, 0.5)
}

/// Adjusts the p-values for their number and gives the verdicts.
fn adjust(all: &mut [Raw], margin: f64) {
    let p_values: Vec<f64> = all.iter().filter_map(|raw| raw.figure.p_value).collect();
    let mut adjusted = stats::holm(&p_values).into_iter();
    for Raw { figure, n } in all {
        let Some(p_value) = figure.p_value.and_then(|_| adjusted.next()) else { continue };
        figure.p_value = Some(p_value);
        let Some((low, high)) = figure.interval else { continue };
        let higher_is_better = registry::find(&figure.key).is_some_and(|metric| metric.better == Better::Higher);
        let interval = stats::Interval { low, high };
        figure.verdict = match stats::verdict(figure.change, interval, p_value, margin, higher_is_better, *n) {
            stats::Verdict::Better => ChangeVerdict::Better,
            stats::Verdict::Worse => ChangeVerdict::Worse,
            stats::Verdict::Equal => ChangeVerdict::Equal,
            stats::Verdict::Inconclusive { further } => {
                figure.further = Some(further).filter(|further| *further < 1_000_000);
                ChangeVerdict::Inconclusive
            }
        };
    }
}

fn overall(all: &[Raw]) -> Overall {
    let count = |verdict| all.iter().filter(|raw| raw.figure.verdict == verdict).count();
    match (count(ChangeVerdict::Better), count(ChangeVerdict::Worse)) {
        (0, 0) if !all.is_empty() && count(ChangeVerdict::Equal) == all.len() => Overall::NoDifference,
        (0, 0) => Overall::Inconclusive,
        (_, 0) => Overall::Faster,
        (0, _) => Overall::Slower,
        _ => Overall::Mixed,
    }
}

/// Runs of a side by workload.
type Runs = BTreeMap<String, Vec<Observations>>;

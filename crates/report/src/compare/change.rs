//! How the figures of two sides differ: estimate, interval, p-value, verdict.

use std::collections::{BTreeMap, BTreeSet};

use sagellm_stats as stats;

use super::observe::Observations;
use super::{Basis, ChangeVerdict, CompareOptions, FigureChange, Overall, Side};
use crate::registry::{self, Better, Metric};

/// Seed of the permutations: a comparison of the same files is the same every time.
const SEED: u64 = 0;

/// Share of failures: nearly always 0, of which there is no change in percent.
pub(super) const ERROR_RATE: &str = "error_rate";

/// A figure of both sides, and what its verdict rests on.
pub(super) struct Change {
    pub(super) figure: FigureChange,
    /// Observations on the smaller side, in whose number the further ones are counted.
    pub(super) n: u64,
    /// Of repeated runs, what `step_down` looks at, and how many runs are missing for any verdict.
    logarithms: Vec<Option<f64>>,
    missing: u64,
    /// Of one run each, the smallest p-value that can be told.
    least_p: f64,
    /// Why there is no interval.
    pub(super) why: Option<String>,
    /// Whether something else than the change that is looked for has a part in it.
    pub(super) is_disturbed: bool,
}

/// The figures that both sides have: those that a run is judged by, the share of failures, and those of the gates.
/// `disturbed` says for workloads why nothing of them is judged.
pub(super) fn changes(
    first: &Side,
    side: &Side,
    options: &CompareOptions,
    disturbed: &BTreeMap<String, String>,
) -> Vec<Change> {
    let gated = |metric: &Metric| options.gates.iter().any(|gate| gate.key() == metric.key);
    let wanted = |metric: &&Metric| {
        metric.better != Better::Neither && (metric.headline || metric.key == ERROR_RATE || gated(metric))
    };
    let metrics: Vec<&Metric> = registry::all().iter().filter(wanted).collect();
    let mut all = Vec::new();
    for workload in shared(first, side) {
        all.extend(metrics.iter().filter_map(|metric| change(workload, &metric.key, first, side)));
    }
    for change in &mut all {
        if let Some(reason) = disturbed.get(&change.figure.workload) {
            change.disturb(reason);
        }
    }
    judge(&mut all, first.runs(), options.margin);
    all
}

/// Names of the workloads that both have.
pub(super) fn shared<'a>(first: &'a Side, side: &'a Side) -> BTreeSet<&'a str> {
    first.workloads().intersection(&side.workloads()).copied().collect()
}

/// Where requests failed, in words: latencies are those of the others.
pub(super) fn failures(first: &Side, side: &Side) -> Vec<String> {
    let of = |side: &Side, workload: &str| median(&known(&side.values(workload, ERROR_RATE)));
    let words = |workload: &str| {
        let (before, now) = (of(first, workload)?, of(side, workload)?);
        (before > 0.0 || now > 0.0).then(|| {
            format!(
                "of the requests of {workload}, {:.1} % failed in {} and {:.1} % in {}: all other figures are of those that \
                 succeeded",
                100.0 * before,
                first.name,
                100.0 * now,
                side.name
            )
        })
    };
    shared(first, side).into_iter().filter_map(words).collect()
}

/// Values of the runs that have one.
pub(super) fn known(values: &[Option<f64>]) -> Vec<f64> {
    values.iter().flatten().copied().filter(|value| value.is_finite()).collect()
}

fn change(workload: &str, key: &str, first: &Side, side: &Side) -> Option<Change> {
    let (before, now) = (first.values(workload, key), side.values(workload, key));
    let (was, is) = (known(&before), known(&now));
    let (old, new) = (median(&was)?, median(&is)?);
    let bare = |side: &Side| side.runs() == 1 && side.observed(workload).flatten().any(Observations::is_bare);
    let basis = match (first.runs(), side.runs()) {
        _ if bare(first) || bare(side) => Basis::Figures,
        (1, 1) => Basis::Records,
        _ => Basis::Runs,
    };
    let mut change = Change {
        figure: FigureChange {
            workload: workload.to_owned(),
            key: key.to_owned(),
            before: old,
            now: new,
            change: (old > 0.0).then(|| new / old - 1.0),
            interval: None,
            p_value: None,
            basis,
            verdict: ChangeVerdict::Inconclusive,
            reason: None,
            further: None,
        },
        n: was.len().min(is.len()) as u64,
        logarithms: Vec::new(),
        missing: 0,
        least_p: 0.0,
        why: None,
        is_disturbed: false,
    };
    let positive = |values: &[f64]| values.iter().all(|value| *value > 0.0);
    if key == ERROR_RATE || !positive(&was) || !positive(&is) {
        change.figure.verdict = ChangeVerdict::NotJudged;
        let zero = "a change from or to 0 has no percentage";
        change.figure.reason = (key != ERROR_RATE && old != new).then(|| zero.to_owned());
        return Some(change);
    }
    match basis {
        Basis::Runs => {
            let logarithms = |values: &[f64]| values.iter().map(|value| value.ln()).collect::<Vec<_>>();
            change.by_runs(&logarithms(&was), &logarithms(&is));
            change.logarithms = before.iter().chain(&now).map(|value| value.map(f64::ln)).collect();
        }
        Basis::Records => {
            change.by_records(first.observed(workload).flatten().next()?, side.observed(workload).flatten().next()?)
        }
        Basis::Figures => {
            change.why = Some("a result without records says nothing of how exact its figures are".into())
        }
    }
    Some(change)
}

impl Change {
    /// Shows the change and does not judge it. It is no test among the others.
    fn disturb(&mut self, reason: &str) {
        self.is_disturbed = true;
        self.logarithms.clear();
        self.figure.verdict = ChangeVerdict::NotJudged;
        self.figure.p_value = None;
        self.figure.further = None;
        self.figure.reason = Some(reason.to_owned());
    }

    fn by_runs(&mut self, was: &[f64], is: &[f64]) {
        let Some(shift) = stats::hodges_lehmann(was, is) else { return };
        self.missing = stats::runs_missing(was.len(), is.len());
        self.figure.change = Some(shift.shift.exp_m1());
        self.figure.interval = shift
            .interval
            .filter(|_| self.missing == 0)
            .map(|interval| (interval.low.exp_m1(), interval.high.exp_m1()));
        if self.missing > 0 {
            self.figure.further = Some(self.missing);
            self.why = Some(format!(
                "{} and {} runs are too few to tell a change from chance: {} more on either side can",
                was.len(),
                is.len(),
                self.missing
            ));
        }
    }

    fn by_records(&mut self, before: &Observations, now: &Observations) {
        let key = &self.figure.key;
        let (old, new) = (before.estimate(key), now.estimate(key));
        if let (Some(old), Some(new)) = (old, new)
            && let Some(change) = new.change_from(&old)
        {
            self.figure.change = Some(change.ratio - 1.0);
            self.figure.interval = Some((change.ratio_interval.low - 1.0, change.ratio_interval.high - 1.0));
            self.figure.p_value = Some(change.p_value);
            self.least_p = old.least_p.max(new.least_p);
            return;
        }
        let without = [before, now].map(|run| run.no_interval(key));
        self.figure.further = without.iter().flatten().filter_map(|it| it.further).max();
        let one_each = || "one run each has no interval of it: repeat the runs (`run --repeat 5`)".into();
        self.why = without.into_iter().flatten().map(|it| it.reason).next().or_else(|| Some(one_each()));
    }
}

pub(super) fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    stats::quantile(&sorted, 0.5)
}

/// Adjusts the p-values for their number and gives the verdicts. The runs of the first side are `before` many.
fn judge(all: &mut [Change], before: usize, margin: f64) {
    let logarithms: Vec<Vec<Option<f64>>> =
        all.iter().map(|change| change.logarithms.clone()).filter(|runs| !runs.is_empty()).collect();
    let mut of_runs = stats::step_down(&logarithms, before, SEED).into_iter();
    let of_records: Vec<f64> = all.iter().filter_map(|change| change.figure.p_value).collect();
    let tests = of_records.len() as f64;
    let mut of_records = stats::holm(&of_records).into_iter();
    for change in all {
        let adjusted = match change.figure.basis {
            Basis::Runs if !change.logarithms.is_empty() => of_runs.next().filter(|_| change.n > 1),
            _ => change.figure.p_value.and_then(|_| of_records.next()),
        };
        let figure = &mut change.figure;
        figure.p_value = adjusted;
        if figure.verdict == ChangeVerdict::NotJudged {
            continue;
        }
        let (Some(p_value), Some(share), Some((low, high))) = (adjusted, figure.change, figure.interval) else {
            let why = change.why.clone().unwrap_or_else(|| "it has no interval".into());
            figure.reason = Some(format!("{why}{}", settle(figure)));
            continue;
        };
        let higher_is_better = registry::find(&figure.key).is_some_and(|metric| metric.better == Better::Higher);
        let interval = stats::Interval { low, high };
        figure.verdict = match stats::verdict(share, interval, p_value, margin, higher_is_better, change.n) {
            stats::Verdict::Better => ChangeVerdict::Better,
            stats::Verdict::Worse => ChangeVerdict::Worse,
            stats::Verdict::Equal => ChangeVerdict::Equal,
            stats::Verdict::Inconclusive { further } => {
                let further = further.max(more_for_a_percentile(change.least_p, tests));
                figure.further = Some(further).filter(|further| *further < 1_000_000);
                let why = if low > 0.0 || high < 0.0 {
                    format!("the change may be chance among the metrics compared (adjusted p = {p_value:.2})")
                } else {
                    let margin = 100.0 * margin;
                    format!("the 95 % interval holds both no change and changes beyond the margin of {margin} %")
                };
                figure.reason = Some(format!("{why}{}", settle(figure)));
                ChangeVerdict::Inconclusive
            }
        };
    }
}

/// What would settle an inconclusive figure, as the end of a sentence; nothing where the reason says it already.
fn settle(figure: &FigureChange) -> String {
    match (figure.basis, figure.further, figure.interval) {
        (Basis::Figures, ..) => "; compare the folders of two runs".into(),
        // The reason says how many runs are missing.
        (Basis::Runs, Some(_), None) => String::new(),
        (Basis::Runs, Some(1), _) => "; about 1 more run on either side would settle it".into(),
        (Basis::Runs, Some(more), _) => format!("; about {more} more runs on either side would settle it"),
        (Basis::Records, Some(more), _) => format!("; about {} times the requests would settle it", more + 1),
        (_, None, Some(_)) => "; no practical number of requests or runs would settle it".into(),
        (_, None, None) => String::new(),
    }
}

/// How many times more requests the p-value of a percentile needs to be significant among so many tests: the smallest that
/// can be told is 2 qⁿ, and n is what has to grow.
fn more_for_a_percentile(least_p: f64, tests: f64) -> u64 {
    let wanted = stats::SIGNIFICANCE / tests;
    if least_p < wanted {
        return 0;
    }
    ((wanted / 2.0).ln() / (least_p / 2.0).ln()).ceil() as u64 - 1
}

pub(super) fn overall(all: &[Change]) -> Overall {
    let count = |verdict| all.iter().filter(|change| change.figure.verdict == verdict).count();
    let judged = all.len() - count(ChangeVerdict::NotJudged);
    if judged == 0 && all.iter().any(|change| change.is_disturbed) {
        return Overall::NotJudged;
    }
    match (count(ChangeVerdict::Better), count(ChangeVerdict::Worse)) {
        (0, 0) if judged > 0 && count(ChangeVerdict::Equal) == judged => Overall::NoDifference,
        (0, 0) => Overall::Inconclusive,
        (_, 0) => Overall::Faster,
        (0, _) => Overall::Slower,
        _ => Overall::Mixed,
    }
}

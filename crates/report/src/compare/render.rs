//! A comparison as text.

use super::{Basis, ChangeVerdict, Compared, Comparison, FigureChange, Overall};
use crate::registry;
use crate::render::markdown::escape;
use crate::render::number;

impl Overall {
    /// In words.
    pub(crate) fn words(self) -> &'static str {
        match self {
            Self::Faster => "faster",
            Self::Slower => "slower",
            Self::Mixed => "better in some figures, worse in others",
            Self::NoDifference => "no difference",
            Self::Inconclusive => "inconclusive",
        }
    }
}

pub(super) fn table(comparison: &Comparison) -> String {
    let mut text = String::new();
    for side in &comparison.sides {
        text.push_str(&headline(comparison, side));
        text.push('\n');
        for workload in workloads(side) {
            text.push_str(&format!("\n{workload:<24}{:>11}{:>10} {:>9}  95 % interval\n", "before", "now", "change"));
            for figure in side.figures.iter().filter(|figure| figure.workload == workload) {
                text.push_str(&format!(
                    "{:<24}{:>11}{:>10} {:>9}  {:<18} {}\n",
                    figure.key,
                    number::figure(figure.before),
                    number::figure(figure.now),
                    change(figure),
                    interval(figure),
                    verdict(figure)
                ));
            }
        }
        text.push('\n');
        side.failed_gates.iter().for_each(|gate| text.push_str(&format!("GATE FAILED  {gate}\n")));
        side.undecided_gates.iter().for_each(|gate| text.push_str(&format!("GATE UNDECIDED  {gate}\n")));
    }
    footnotes(comparison).iter().for_each(|note| text.push_str(&format!("- {note}\n")));
    text
}

pub(super) fn markdown(comparison: &Comparison) -> String {
    let mut text = String::new();
    for side in &comparison.sides {
        text.push_str(&format!("### {}\n\n", escape(&headline(comparison, side))));
        side.failed_gates.iter().for_each(|gate| text.push_str(&format!("- ❌ gate failed: {}\n", escape(gate))));
        side.undecided_gates.iter().for_each(|gate| text.push_str(&format!("- ❔ gate undecided: {}\n", escape(gate))));
        if !side.failed_gates.is_empty() || !side.undecided_gates.is_empty() {
            text.push('\n');
        }
        text.push_str("| workload | figure | before | now | change | 95 % interval | verdict |\n");
        text.push_str("|---|---|---:|---:|---:|---|---|\n");
        for figure in &side.figures {
            let unit = registry::find(&figure.key).map_or("", |metric| metric.unit.symbol());
            text.push_str(&format!(
                "| {} | {} ({unit}) | {} | {} | {} | {} | {} |\n",
                escape(&figure.workload),
                figure.key,
                number::figure(figure.before),
                number::figure(figure.now),
                change(figure),
                interval(figure),
                verdict(figure)
            ));
        }
        text.push('\n');
    }
    footnotes(comparison).iter().for_each(|note| text.push_str(&format!("- {}\n", escape(note))));
    text
}

fn headline(comparison: &Comparison, side: &Compared) -> String {
    let counts = counts(side, comparison.margin);
    format!("{} against {}: {} ({counts})", side.name, comparison.before, side.verdict.words())
}

/// How many figures had each verdict.
pub(crate) fn counts(side: &Compared, margin: f64) -> String {
    let count = |verdict| side.figures.iter().filter(|figure| figure.verdict == verdict).count();
    format!(
        "{} better, {} worse, {} equal within {} %, {} inconclusive",
        count(ChangeVerdict::Better),
        count(ChangeVerdict::Worse),
        count(ChangeVerdict::Equal),
        100.0 * margin,
        count(ChangeVerdict::Inconclusive)
    )
}

pub(crate) fn workloads(side: &Compared) -> Vec<&str> {
    let mut names: Vec<&str> = side.figures.iter().map(|figure| figure.workload.as_str()).collect();
    names.dedup();
    names
}

pub(crate) fn verdict(figure: &FigureChange) -> String {
    match (figure.verdict, figure.further) {
        (ChangeVerdict::Better, _) => "better".into(),
        (ChangeVerdict::Worse, _) => "worse".into(),
        (ChangeVerdict::Equal, _) => "equal".into(),
        (ChangeVerdict::NotJudged, _) => "not judged".into(),
        (ChangeVerdict::Inconclusive, _) if figure.basis == Basis::Figures => "no interval".into(),
        (ChangeVerdict::Inconclusive, Some(further)) => match figure.basis {
            Basis::Runs if further == 1 => "inconclusive (1 more run)".into(),
            Basis::Runs => format!("inconclusive ({further} more runs)"),
            _ => format!("inconclusive ({}x the requests)", further + 1),
        },
        (ChangeVerdict::Inconclusive, None) => "inconclusive".into(),
    }
}

pub(crate) fn interval(figure: &FigureChange) -> String {
    figure.interval.map_or_else(|| "-".into(), |(low, high)| format!("{} to {}", percent(low), percent(high)))
}

pub(crate) fn change(figure: &FigureChange) -> String {
    figure.change.map_or_else(|| "-".into(), percent)
}

pub(crate) fn percent(share: f64) -> String {
    format!("{:+.1} %", 100.0 * share)
}

pub(crate) fn footnotes(comparison: &Comparison) -> Vec<String> {
    let any = |basis| comparison.sides.iter().flat_map(|side| &side.figures).any(|figure| figure.basis == basis);
    let mut notes = comparison.notes.clone();
    if any(Basis::Runs) {
        notes.push(
            "runs are compared: shift of Hodges and Lehmann; p-values by permutation of the runs, over all figures at once \
             (Westfall and Young)"
                .into(),
        );
    }
    if any(Basis::Records) {
        notes.push(
            "one run each: p-values adjusted by Holm; intervals allow for correlated requests, but not for what differs \
             from run to run: `run --repeat 5` on either side does"
                .into(),
        );
    }
    if any(Basis::Figures) {
        notes.push("no interval: a result without records; there is no verdict".into());
    }
    notes
}

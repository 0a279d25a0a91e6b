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
            Self::NotJudged => "not judged",
        }
    }
}

pub(super) fn table(comparison: &Comparison) -> String {
    let mut text = String::new();
    for side in &comparison.sides {
        text.push_str(&headline(comparison, side));
        text.push('\n');
        findings(comparison, side).iter().for_each(|(kind, words)| text.push_str(&format!("{kind}  {words}\n")));
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
            reasons(side, workload).iter().for_each(|reason| text.push_str(&format!("  {reason}\n")));
        }
        text.push('\n');
        gate_lines(side).iter().for_each(|line| text.push_str(&format!("{line}\n")));
    }
    footnotes(comparison).iter().for_each(|note| text.push_str(&format!("- {note}\n")));
    text
}

pub(super) fn markdown(comparison: &Comparison) -> String {
    let mut text = String::new();
    for side in &comparison.sides {
        text.push_str(&format!("### {}\n\n", escape(&headline(comparison, side))));
        for (kind, words) in findings(comparison, side) {
            text.push_str(&format!("- **{kind}** {}\n", escape(&words)));
        }
        side.failed_gates.iter().for_each(|gate| text.push_str(&format!("- ❌ gate failed: {}\n", escape(gate))));
        side.undecided_gates.iter().for_each(|gate| text.push_str(&format!("- ❔ gate undecided: {}\n", escape(gate))));
        side.passed_gates.iter().for_each(|gate| text.push_str(&format!("- ✅ gate passed: {}\n", escape(gate))));
        if !text.ends_with("\n\n") {
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
        for workload in workloads(side) {
            let reasons = reasons(side, workload);
            reasons
                .iter()
                .for_each(|reason| text.push_str(&format!("- {}\n", escape(&format!("{workload}: {reason}")))));
        }
    }
    footnotes(comparison).iter().for_each(|note| text.push_str(&format!("- {}\n", escape(note))));
    text
}

pub(super) fn headline(comparison: &Comparison, side: &Compared) -> String {
    let counts = counts(side, comparison.margin);
    let [now, before] = names(comparison, side);
    format!("{now} against {before}: {} ({counts})", side.verdict.words())
}

/// The names of a side and of the first one, with a mark at those that are INVALID.
pub(crate) fn names(comparison: &Comparison, side: &Compared) -> [String; 2] {
    [(&side.name, &side.invalid), (&comparison.before, &comparison.before_invalid)].map(|(name, invalid)| match invalid
    {
        Some(_) => format!("{name} (INVALID)"),
        None => name.clone(),
    })
}

/// Why the sides are INVALID, and their warnings, by kind. A warning of both sides is shown once.
pub(crate) fn findings(comparison: &Comparison, side: &Compared) -> Vec<(&'static str, String)> {
    let mut findings = Vec::new();
    let sides = [
        (&comparison.before, &comparison.before_invalid, &comparison.before_warnings),
        (&side.name, &side.invalid, &side.warnings),
    ];
    for (name, invalid, _) in sides {
        findings.extend(invalid.iter().map(|reason| ("INVALID", format!("{name}: {reason}"))));
    }
    for (nth, (name, _, warnings)) in sides.into_iter().enumerate() {
        let others = sides[1 - nth].2;
        for warning in warnings {
            let of_both = others.iter().any(|other| other.code == warning.code && other.workload == warning.workload);
            if of_both && nth > 0 {
                continue;
            }
            let who = if of_both { "both".to_owned() } else { name.clone() };
            let workload = warning.workload.as_ref().map_or_else(String::new, |workload| format!(", {workload}"));
            let runs = if warning.runs > 1 { format!(" ({} runs)", warning.runs) } else { String::new() };
            findings.push(("WARNING", format!("{who}{workload}{runs}: {}", warning.message)));
        }
    }
    findings
}

/// What became of the gates of a side, line by line.
pub(crate) fn gate_lines(side: &Compared) -> Vec<String> {
    super::gate::lines(&side.passed_gates, &side.failed_gates, &side.undecided_gates)
}

/// Why figures of a workload are inconclusive or not judged; those of one reason together.
pub(crate) fn reasons(side: &Compared, workload: &str) -> Vec<String> {
    let of_workload: Vec<&FigureChange> = side.figures.iter().filter(|it| it.workload == workload).collect();
    let mut reasons: Vec<(ChangeVerdict, &str, Vec<&str>)> = Vec::new();
    for figure in &of_workload {
        let Some(reason) = &figure.reason else { continue };
        match reasons.iter_mut().find(|(verdict, known, _)| *verdict == figure.verdict && known == reason) {
            Some((_, _, keys)) => keys.push(&figure.key),
            None => reasons.push((figure.verdict, reason, vec![&figure.key])),
        }
    }
    let line = |(verdict, reason, keys): (ChangeVerdict, &str, Vec<&str>)| {
        let verdict = if verdict == ChangeVerdict::NotJudged { "not judged" } else { "inconclusive" };
        let which = if keys.len() == of_workload.len() { "all".to_owned() } else { keys.join(", ") };
        format!("{verdict}: {which}: {reason}")
    };
    reasons.into_iter().map(line).collect()
}

/// How many figures had each verdict.
pub(crate) fn counts(side: &Compared, margin: f64) -> String {
    let count = |verdict| side.figures.iter().filter(|figure| figure.verdict == verdict).count();
    let not_judged =
        side.figures.iter().filter(|it| it.verdict == ChangeVerdict::NotJudged && it.reason.is_some()).count();
    let not_judged = if not_judged > 0 { format!(", {not_judged} not judged") } else { String::new() };
    format!(
        "{} better, {} worse, {} equal within {} %, {} inconclusive{not_judged}",
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
            Basis::Runs if further == 1 => "inconclusive (needs 1 more run)".into(),
            Basis::Runs => format!("inconclusive (needs {further} more runs)"),
            _ => format!("inconclusive (needs {}x the requests)", further + 1),
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

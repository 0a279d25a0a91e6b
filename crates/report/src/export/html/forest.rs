//! The words and places of a comparison's page: a forest plot per workload.

use serde::Serialize;

use crate::compare::render as words;
use crate::compare::{ChangeVerdict, Compared, Comparison, FigureChange, Overall};
use crate::registry;
use crate::render::number;

/// Half the width of a plot, in its own units, and a place left free at its ends.
const HALF: f64 = 150.0;
const FREE: f64 = 8.0;
/// A change beyond this, as a share, does not widen the plot: it lies at the edge.
const WIDEST: f64 = 2.0;

/// What the template reads.
#[derive(Debug, Serialize)]
pub(super) struct Page {
    before: String,
    margin: String,
    sides: Vec<Side>,
    notes: Vec<String>,
}

#[derive(Debug, Serialize)]
struct Side {
    name: String,
    before: String,
    findings: Vec<(&'static str, String)>,
    passed_gates: Vec<String>,
    verdict: &'static str,
    mood: &'static str,
    counts: String,
    failed_gates: Vec<String>,
    undecided_gates: Vec<String>,
    workloads: Vec<Workload>,
}

#[derive(Debug, Serialize)]
struct Workload {
    name: String,
    least: String,
    most: String,
    reasons: Vec<String>,
    zero: f64,
    margin_from: f64,
    margin_width: f64,
    figures: Vec<Figure>,
}

#[derive(Debug, Serialize)]
struct Figure {
    key: String,
    tip: String,
    before: String,
    now: String,
    change: String,
    interval: String,
    at: Option<f64>,
    low: Option<f64>,
    high: Option<f64>,
    mood: &'static str,
    verdict: String,
    detail: String,
}

pub(super) fn page(comparison: &Comparison) -> Page {
    Page {
        before: comparison.before.clone(),
        margin: number::percent(comparison.margin),
        sides: comparison.sides.iter().map(|of| side(comparison, of)).collect(),
        notes: words::footnotes(comparison),
    }
}

fn side(comparison: &Comparison, of: &Compared) -> Side {
    let margin = comparison.margin;
    let [name, before] = words::names(comparison, of);
    let workloads = words::workloads(of).into_iter().map(|name| {
        let figures: Vec<&FigureChange> = of.figures.iter().filter(|figure| figure.workload == name).collect();
        workload(name, &figures, margin, words::reasons(of, name))
    });
    Side {
        name,
        before,
        findings: words::findings(comparison, of),
        passed_gates: of.passed_gates.clone(),
        verdict: of.verdict.words(),
        mood: match of.verdict {
            _ if !of.failed_gates.is_empty() || of.invalid.is_some() || comparison.before_invalid.is_some() => "bad",
            Overall::Faster => "good",
            Overall::Slower => "bad",
            Overall::Mixed => "warn",
            Overall::NotJudged => "warn",
            Overall::NoDifference | Overall::Inconclusive => "even",
        },
        counts: words::counts(of, margin),
        failed_gates: of.failed_gates.clone(),
        undecided_gates: of.undecided_gates.clone(),
        workloads: workloads.collect(),
    }
}

fn workload(name: &str, figures: &[&FigureChange], margin: f64, reasons: Vec<String>) -> Workload {
    let ends = |figure: &&FigureChange| {
        let change = figure.change.unwrap_or(0.0);
        let (low, high) = figure.interval.unwrap_or((change, change));
        low.abs().max(high.abs()).max(change.abs())
    };
    let reach = figures.iter().map(ends).fold(2.0 * margin, f64::max).clamp(0.001, WIDEST);
    let place = |share: f64| {
        let place = HALF + (HALF - FREE) * (share / reach).clamp(-1.0, 1.0);
        (place * 10.0).round() / 10.0
    };
    let figures = figures.iter().map(|figure| {
        let metric = registry::find(&figure.key);
        Figure {
            key: figure.key.clone(),
            tip: metric.map(|it| format!("{} [{}]", it.definition, it.unit.symbol())).unwrap_or_default(),
            before: number::figure(figure.before),
            now: number::figure(figure.now),
            change: words::change(figure),
            interval: words::interval(figure),
            at: figure.change.map(place),
            low: figure.interval.map(|(low, _)| place(low)),
            high: figure.interval.map(|(_, high)| place(high)),
            mood: match figure.verdict {
                ChangeVerdict::Better => "good",
                ChangeVerdict::Worse => "bad",
                ChangeVerdict::Equal | ChangeVerdict::Inconclusive | ChangeVerdict::NotJudged => "even",
            },
            verdict: words::verdict(figure),
            detail: match figure.p_value {
                _ if figure.reason.is_some() => figure.reason.clone().unwrap_or_default(),
                Some(p) => format!("95 % interval: {}\np = {p:.2e}, adjusted for all figures", words::interval(figure)),
                None => "no interval".into(),
            },
        }
    });
    let width = place(margin) - place(-margin);
    Workload {
        name: name.to_owned(),
        least: words::percent(-reach),
        most: words::percent(reach),
        reasons,
        zero: HALF,
        margin_from: place(-margin),
        margin_width: (width * 10.0).round() / 10.0,
        figures: figures.collect(),
    }
}

//! The words and numbers of a report's page.

use serde::Serialize;

use super::course::{Course, Data};
use crate::glossary::title;
use crate::registry::{self, Metric, Stat};
use crate::render::{environment, grouped, number, subject, synthetic_note};
use crate::validity::Finding;
use crate::{Manifest, Summary, Verdict, WorkloadSummary};

/// What the template of a report reads.
#[derive(Debug, Serialize)]
pub(super) struct Page {
    title: String,
    verdict: &'static str,
    valid: bool,
    model: Option<String>,
    backend: Option<String>,
    facts: String,
    note: Option<&'static str>,
    reasons: Vec<Found>,
    warnings: Vec<Found>,
    notes: Vec<Found>,
    workloads: Vec<Workload>,
    environment: Vec<(String, String)>,
    settings: Vec<(String, String)>,
    command: Option<String>,
    plans: Vec<(String, String)>,
    seeds: Vec<(String, String)>,
}

#[derive(Debug, Serialize)]
struct Found {
    who: String,
    message: String,
    remedy: String,
}

#[derive(Debug, Serialize)]
struct Workload {
    name: String,
    verdict: &'static str,
    valid: bool,
    outline: String,
    headline: Vec<Card>,
    columns: Vec<&'static str>,
    percentiles: Vec<Row>,
    /// What each percentile marked as doubtful lacks.
    doubts: Vec<String>,
    outcomes: Vec<Outcome>,
    groups: Vec<Group>,
    /// Its place among the data, where it has any.
    data: Option<usize>,
    left_out: Vec<String>,
}

/// Requests that ended in one way.
#[derive(Debug, Serialize)]
struct Outcome {
    kind: String,
    count: u64,
    share: String,
    /// Why the first of them did.
    reason: Option<String>,
}

/// One of the figures to look at first.
#[derive(Debug, Serialize)]
struct Card {
    label: &'static str,
    value: String,
    unit: &'static str,
    interval: String,
    tip: String,
    doubtful: bool,
}

/// A latency in the table of percentiles.
#[derive(Debug, Serialize)]
struct Row {
    label: &'static str,
    tip: String,
    cells: Vec<Cell>,
}

#[derive(Debug, Serialize)]
struct Cell {
    text: String,
    doubtful: bool,
}

#[derive(Debug, Serialize)]
struct Group {
    title: &'static str,
    figures: Vec<Figure>,
}

#[derive(Debug, Serialize)]
struct Figure {
    key: String,
    value: String,
    unit: &'static str,
    tip: String,
    reason: Option<String>,
}

const HEADLINE: [(&str, &str); 8] = [
    ("TTFT p50", "p50_ttft_ms"),
    ("TTFT p99", "p99_ttft_ms"),
    ("TBT mean", "avg_tbt_ms"),
    ("E2E mean", "avg_e2e_ms"),
    ("Output", "output_throughput_tps"),
    ("Requests", "request_throughput_rps"),
    ("One user", "avg_throughput_tps"),
    ("Errors", "error_rate"),
];

const LATENCIES: [(&str, &str); 6] = [
    ("TTFT", "ttft"),
    ("TBT = TPOT of vLLM/SGLang", "tbt"),
    ("TPOT incl. first token", "tpot"),
    ("ITL", "itl"),
    ("E2E", "e2e"),
    ("TTFT from schedule", "ttft_from_schedule"),
];

/// What the page says, and what its scripts read.
pub(super) fn page(summary: &Summary, courses: Vec<Course>) -> (Page, Vec<Data>) {
    let parts = courses.len();
    let mut data = Vec::new();
    let mut courses: Vec<Option<Course>> = courses.into_iter().map(Some).collect();
    let mut workloads = Vec::new();
    for workload in summary.workloads.iter() {
        let mut page = of_workload(workload);
        // A name can be there twice, from another run in the same folder.
        let ours =
            |course: &Course| course.name == workload.name() && course.clock_started == workload.details.started_at;
        if let Some(course) = courses.iter_mut().find(|course| course.as_ref().is_some_and(ours)).and_then(Option::take)
        {
            page.data = Some(data.len());
            for outcome in &mut page.outcomes {
                outcome.reason = course.reasons.get(outcome.kind.as_str()).cloned();
            }
            let (shown, left_out) = course.finish(parts);
            data.push(shown);
            page.left_out = left_out;
        }
        workloads.push(page);
    }
    let subject = subject(summary);
    let (model, backend, facts) = match subject {
        Some((model, backend, facts)) => (Some(model), Some(backend), facts),
        None => (None, None, String::new()),
    };
    let manifest = summary.environment.as_ref();
    let page = Page {
        title: model.clone().unwrap_or_else(|| "results".into()),
        verdict: summary.validity.verdict.word(),
        valid: summary.validity.verdict == Verdict::Valid,
        model,
        backend,
        facts,
        note: synthetic_note(summary),
        reasons: found(summary, &summary.validity.reasons),
        warnings: found(summary, &summary.validity.warnings),
        notes: found(summary, &summary.validity.notes),
        workloads,
        environment: manifest.map(facts_of).unwrap_or_default(),
        settings: manifest.map(|manifest| manifest.backend.settings.clone().into_iter().collect()).unwrap_or_default(),
        command: manifest.filter(|it| !it.command_line.is_empty()).map(Manifest::shell_line),
        plans: manifest.map(|manifest| manifest.hashes.plans.clone().into_iter().collect()).unwrap_or_default(),
        seeds: manifest
            .map(|manifest| manifest.seeds.iter().map(|(name, seed)| (name.clone(), seed.to_string())).collect())
            .unwrap_or_default(),
    };
    (page, data)
}

fn facts_of(manifest: &Manifest) -> Vec<(String, String)> {
    let rows = environment::rows(manifest).into_iter().map(|(name, value)| (name.to_owned(), value));
    rows.chain(manifest.metadata.clone()).collect()
}

fn found(summary: &Summary, findings: &[Finding]) -> Vec<Found> {
    grouped(summary, findings)
        .into_iter()
        .map(|(who, finding)| Found { who, message: finding.message.clone(), remedy: finding.remedy.clone() })
        .collect()
}

fn of_workload(workload: &WorkloadSummary) -> Workload {
    let details = &workload.details;
    let stats = Stat::ALL;
    let total: u64 = details.outcomes.values().sum();
    Workload {
        name: workload.name().to_owned(),
        verdict: details.validity.verdict.word(),
        valid: details.validity.verdict == Verdict::Valid,
        outline: outline(workload),
        headline: HEADLINE.iter().filter_map(|(label, key)| card(workload, label, key)).collect(),
        columns: stats.iter().map(|stat| stat.prefix()).collect(),
        percentiles: LATENCIES
            .iter()
            .filter(|(_, quantity)| workload.get(&Stat::Avg.key(quantity)).is_some())
            .map(|(label, quantity)| Row {
                label,
                tip: registry::find(&Stat::Avg.key(quantity)).map(tip).unwrap_or_default(),
                cells: stats.iter().map(|stat| cell(workload, &stat.key(quantity), *stat)).collect(),
            })
            .collect(),
        doubts: details
            .tail_samples
            .iter()
            .filter(|(_, tail)| tail.missing > 0)
            .map(|(name, tail)| format!("{name} needs {} more", tail.missing))
            .collect(),
        outcomes: details
            .outcomes
            .iter()
            .map(|(kind, count)| Outcome {
                kind: kind.clone(),
                count: *count,
                share: number::percent(*count as f64 / total.max(1) as f64),
                reason: None,
            })
            .collect(),
        groups: groups(workload),
        data: None,
        left_out: Vec::new(),
    }
}

fn outline(workload: &WorkloadSummary) -> String {
    let details = &workload.details.workload;
    let arrival = match details.arrival {
        sagellm_core::Arrival::Constant { rate } => format!("{rate} requests/s, evenly"),
        sagellm_core::Arrival::Poisson { rate } => format!("{rate} requests/s, Poisson"),
        sagellm_core::Arrival::Gamma { rate, burstiness } => {
            format!("{rate} requests/s, gamma with shape {burstiness}")
        }
        sagellm_core::Arrival::Immediate => "as fast as they are taken".into(),
        _ => "arrivals of their own".into(),
    };
    let cap = details.max_concurrency.map_or(String::new(), |cap| format!(", at most {cap} at once"));
    let count = workload.get("total_requests").unwrap_or(0.0);
    format!("{count:.0} requests, {arrival}{cap}, seed {}", details.seed)
}

fn card(workload: &WorkloadSummary, label: &'static str, key: &str) -> Option<Card> {
    let metric = registry::find(key)?;
    let share = metric.unit == registry::Unit::Share;
    let shown = |value: f64| if share { number::percent(value) } else { number::figure(value) };
    let value = workload.get(key)?;
    let interval = workload.details.intervals.get(key).and_then(|it| it.low.zip(it.high));
    let interval = match interval {
        Some((low, high)) => format!("{} – {}", shown(low), shown(high)),
        None => workload.details.intervals.get(key).and_then(|it| it.reason.clone()).unwrap_or_default(),
    };
    Some(Card {
        label,
        value: shown(value),
        unit: if share { "" } else { metric.unit.symbol() },
        interval,
        tip: tip(metric),
        doubtful: workload.lacks_samples(key.split('_').next().unwrap_or_default()),
    })
}

fn cell(workload: &WorkloadSummary, key: &str, stat: Stat) -> Cell {
    let value = workload.get(key);
    Cell {
        text: value.map_or_else(|| "–".into(), number::figure),
        doubtful: value.is_some() && workload.lacks_samples(stat.prefix()),
    }
}

fn groups(workload: &WorkloadSummary) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::new();
    for metric in registry::all() {
        let title = title(metric.group);
        if groups.last().is_none_or(|group| group.title != title) {
            groups.push(Group { title, figures: Vec::new() });
        }
        let value = workload.get(&metric.key);
        let figure = Figure {
            key: metric.key.clone(),
            value: value.map_or_else(
                || "–".into(),
                |value| if metric.unit.is_whole() { format!("{value:.0}") } else { number::figure(value) },
            ),
            unit: metric.unit.symbol(),
            tip: tip(metric),
            reason: value.is_none().then(|| workload.reason(&metric.key).to_owned()),
        };
        if let Some(group) = groups.last_mut() {
            group.figures.push(figure);
        }
    }
    groups
}

fn tip(metric: &Metric) -> String {
    format!("{}: {} [{}]", metric.key, metric.definition, metric.unit.symbol())
}
